"""One pass, one transaction; the same pass twice is one pass."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select, text, update

from keeper.model import (
    Act,
    Address,
    AlertLevel,
    AuditEvent,
    BlockRef,
    Checkpoint,
    Hash,
    Hush,
    PassRecord,
    Refuse,
    Thresholds,
)
from keeper.ports import Records
from keeper.store.audit import Verified, verify
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople
from keeper.store.records import SqlRecords
from keeper.store.tables import CheckpointRow, Table
from keeper.store.types import Unfit
from keeper.store.watches import SqlWatches
from keeper.units import UINT256_MAX, Wad
from tests.store.builders import (
    MARKET,
    address,
    alert,
    assessed,
    block,
    intent,
    message,
    position,
    unassessable,
    watch,
)


@pytest.fixture
def records(database: Database) -> SqlRecords:
    return SqlRecords(database)


async def counted(database: Database) -> dict[str, int]:
    async with database.read("test.counts") as session:
        return {
            name: int(await session.scalar(select(func.count()).select_from(table)) or 0)
            for name, table in Table.metadata.tables.items()
        }


def whole_pass(at: BlockRef | None = None) -> PassRecord:
    at = at or block()
    return PassRecord(
        block=at,
        history=(assessed(at=at), unassessable("USDC/USD is stale", 0xB0B, at=at)),
        decisions=(Act(intent=intent()), Refuse(position=position(0xB0B), reason="stale")),
        alerts=(alert(), alert(subject="USDC/USD", rule="oracle", said_health=None, lowest=None)),
        messages=(message("a"), message("b")),
        audit=(AuditEvent(event="intent.decided", fields={"intent": "i-1", "n": UINT256_MAX}),),
    )


def test_it_keeps_records() -> None:
    check: type[Records] = SqlRecords

    assert check is SqlRecords


async def test_a_pass_leaves_everything_it_holds(records: SqlRecords, database: Database) -> None:
    await records.record(whole_pass())

    assert set(await records.alert_states()) == set(whole_pass().alerts)
    due = await SqlOutbox(database).due(database.now(), 10)
    assert tuple(item.message for item in due) == whole_pass().messages
    (point,) = await SqlHistory(database).of(position())
    assert (point.health_factor, point.reason) == (1_042_000_000_000_000_007, "")
    (blind,) = await SqlHistory(database).latest(address(0xB0B))
    assert (blind.health_factor, blind.debt, blind.reason) == (None, None, "USDC/USD is stale")
    refused, acted = await SqlHistory(database).decisions(10)
    assert (refused.verdict, refused.reason, refused.intent_id) == ("refuse", "stale", None)
    assert (acted.verdict, acted.intent_id) == ("act", "i-1")


async def test_the_same_pass_twice_is_harmless(records: SqlRecords, database: Database) -> None:
    await records.record(whole_pass())
    before = await counted(database)
    await records.record(whole_pass())

    assert await counted(database) == before
    assert before["outbox"] == 2
    assert before["audit"] == 1
    assert isinstance(await verify(database), Verified)


async def test_a_pass_without_anything_writes_nothing(
    records: SqlRecords, database: Database
) -> None:
    before = await counted(database)
    await records.record(PassRecord(block=block()))

    assert await counted(database) == before


async def test_a_pass_with_one_bad_value_leaves_nothing_at_all(
    records: SqlRecords, database: Database
) -> None:
    before = await counted(database)
    bad = replace(whole_pass(), alerts=(alert(lowest=Wad(-1)),))

    with pytest.raises(Unfit, match=r"alerts\.lowest: -1"):
        await records.record(bad)
    assert await counted(database) == before


async def test_health_without_debt_survives(records: SqlRecords, database: Database) -> None:
    await records.record(PassRecord(block=block(), history=(assessed(UINT256_MAX),)))

    (point,) = await SqlHistory(database).of(position())
    assert point.health_factor == UINT256_MAX


async def test_after_a_reorg_the_history_is_that_of_the_new_block(
    records: SqlRecords, database: Database
) -> None:
    await records.record(PassRecord(block=block(), history=(assessed(11),)))
    other = block(fork=1)
    await records.record(PassRecord(block=other, history=(assessed(22, at=other),)))

    (point,) = await SqlHistory(database).of(position())
    assert (point.health_factor, point.block_hash) == (22, other.hash)


async def test_an_alert_changes_and_goes_when_it_is_clear(records: SqlRecords) -> None:
    await records.record(PassRecord(block=block(), alerts=(alert(),)))
    worse = alert(AlertLevel.CRITICAL, serial=4, clear_since=1_794_900_099)
    await records.record(PassRecord(block=block(2), alerts=(worse,)))
    assert await records.alert_states() == (worse,)

    await records.record(PassRecord(block=block(3), alerts=(alert(AlertLevel.CLEAR),)))
    assert await records.alert_states() == ()


async def test_of_many_alerts_that_are_over_at_once_each_goes_and_no_other(
    records: SqlRecords, database: Database
) -> None:
    everybody = [alert(chat=chat, rule=r, subject=s) for chat in "ab" for r in "pq" for s in "xy"]
    people = SqlPeople(database)
    for one in everybody:
        await people.hush(
            Hush(
                chat=one.chat,
                rule=one.rule,
                subject=one.subject,
                fired_at=one.fired_at,
                level=one.level,
                until=None,
            )
        )
    over = (everybody[0], everybody[3], everybody[6])
    await records.record(PassRecord(block=block(), alerts=tuple(everybody)))

    cleared = tuple(replace(one, level=AlertLevel.CLEAR) for one in over)
    await records.record(PassRecord(block=block(2), alerts=cleared))

    left = [one for one in everybody if one not in over]
    assert list(await records.alert_states()) == left
    hushed = {(h.chat, h.rule, h.subject) for h in (await records.manners()).hushes}
    assert hushed == {(one.chat, one.rule, one.subject) for one in left}


async def test_watches_of_disabled_chats_rest(records: SqlRecords, database: Database) -> None:
    own = Thresholds(info=Wad(13 * 10**17), warning=Wad(115 * 10**16), critical=Wad(105 * 10**16))
    await SqlWatches(database).add(watch(thresholds=own))
    await SqlWatches(database).add(watch(chat="telegram:777"))
    await SqlOutbox(database).disable_chat("telegram:777", "403: bot was blocked by the user")
    assert await records.watches() == (watch(thresholds=own),)

    await SqlOutbox(database).enable_chat("telegram:777")
    assert await records.watches() == (watch(thresholds=own), watch(chat="telegram:777"))


# --- checkpoints ----------------------------------------------------------------------------


def checkpoint(number: int = 21_034_511) -> Checkpoint:
    accounts = tuple(address(n * 0x1F3F5F7) for n in range(1_001))
    return Checkpoint(market=MARKET, anchor=address(0xF1), block=block(number), accounts=accounts)


async def test_a_checkpoint_comes_back_and_is_replaced(records: SqlRecords) -> None:
    assert await records.checkpoint(MARKET) is None
    await records.save_checkpoint(checkpoint(1))
    await records.save_checkpoint(checkpoint())

    assert await records.checkpoint(MARKET) == checkpoint()
    assert await records.checkpoint(replace(MARKET, name="other")) is None


async def test_a_checkpoint_of_nobody_is_a_checkpoint(records: SqlRecords) -> None:
    empty = replace(checkpoint(), accounts=())
    await records.save_checkpoint(empty)

    assert await records.checkpoint(MARKET) == empty


@pytest.mark.parametrize("what", ["accounts", "block", "checksum", "json"])
async def test_a_damaged_checkpoint_is_none(
    records: SqlRecords, database: Database, what: str
) -> None:
    await records.save_checkpoint(checkpoint())
    async with database.write("test.damage") as session:
        row = await session.get(CheckpointRow, (MARKET.chain_id, MARKET.name))
        assert row is not None
        match what:
            case "accounts":
                row.accounts = row.accounts[:-9] + b"123456789"
            case "block":
                row.block = {**row.block, "number": 21_034_512}
            case "checksum":
                row.checksum = Hash(f"0x{'0' * 64}")
            case _:
                await session.execute(text("UPDATE checkpoints SET block = '{'"))

    assert await records.checkpoint(MARKET) is None


async def test_a_checkpoint_with_a_malformed_account_is_refused(records: SqlRecords) -> None:
    await records.save_checkpoint(checkpoint())
    for bad in ("0x12", "0x" + "zz" * 20):
        with pytest.raises(Unfit, match=r"checkpoints\.accounts"):
            await records.save_checkpoint(replace(checkpoint(), accounts=(Address(bad),)))

    assert await records.checkpoint(MARKET) == checkpoint()


# --- history --------------------------------------------------------------------------------


async def test_history_is_read_by_time_and_pruned_by_age(
    records: SqlRecords, database: Database
) -> None:
    for number in range(1, 8):
        at = block(number)
        act = Refuse(position=position(), reason=f"reason {number}")
        made = PassRecord(block=at, history=(assessed(number, at=at),), decisions=(act,))
        await records.record(made)
    history = SqlHistory(database)

    points = await history.of(position(), since=block(3).timestamp, limit=4)
    assert [point.health_factor for point in points] == [4, 5, 6, 7]
    assert [point.health_factor for point in await history.latest(address(0xA11CE))] == [7]
    assert await history.prune(block(6).timestamp) == 10
    assert [point.health_factor for point in await history.of(position())] == [6, 7]
    assert [item.reason for item in await history.decisions(9)] == ["reason 7", "reason 6"]


async def test_a_prune_goes_through_more_than_one_batch(
    records: SqlRecords, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeper.store.history._BATCH", 3)
    for number in range(1, 9):
        at = block(number)
        await records.record(PassRecord(block=at, history=(assessed(number, at=at),)))

    assert await SqlHistory(database).prune(block(9).timestamp) == 8


async def test_a_stored_point_that_was_scribbled_on_is_not_believed(
    records: SqlRecords, database: Database
) -> None:
    await records.record(whole_pass())
    async with database.write("test.damage") as session:
        await session.execute(update(CheckpointRow).values(protocol="x"))
        if database.dialect == "sqlite":
            await session.execute(text("UPDATE health_history SET debt = '12' WHERE debt > ''"))

    if database.dialect == "sqlite":
        with pytest.raises(Exception, match=r"health_history\.debt: '12' was not written by kee"):
            await SqlHistory(database).of(position())
