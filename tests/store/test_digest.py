"""A digest is written once, when the night is over, and says what the night kept back."""

from dataclasses import replace

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.app.digest import write_digests
from keeper.model import ChatHours, HeldLine, PassRecord
from keeper.store.database import Database
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople
from keeper.store.records import SqlRecords
from keeper.store.watches import SqlWatches
from tests.store.builders import Clock, block

MIDNIGHT = 1_795_132_800  # 2026-11-20 00:00 UTC
HOURS = ChatHours(chat="telegram:7", quiet_from=23 * 60, quiet_to=7 * 60, digested_at=MIDNIGHT)
LINE = HeldLine(
    chat=HOURS.chat, at=MIDNIGHT + 3 * 3600 + 300, key="k", text="🟠 main: health factor 1.142"
)


async def written(database: Database, hour: float) -> int:
    return await write_digests(
        (),
        SqlPeople(database),
        SqlWatches(database),
        DEFAULT_THRESHOLDS,
        MIDNIGHT + int(hour * 3600),
    )


async def test_what_the_night_kept_back_is_said_in_the_morning_and_once(
    database: Database, clock: Clock
) -> None:
    await SqlPeople(database).set_hours(HOURS)
    await SqlRecords(database).record(PassRecord(block=block(), held=(LINE,)))

    assert [await written(database, hour) for hour in (6.99, 7, 7.01, 12)] == [0, 1, 0, 0]
    (row,) = await SqlOutbox(database).due(clock.at, 9)
    assert row.message.kind == "digest"
    assert row.message.text == (
        "☀️ Digest\nWhile it was quiet (1):\n03:05 🟠 main: health factor 1.142"
    )


async def test_a_night_in_which_nothing_happened_makes_no_message(database: Database) -> None:
    await SqlPeople(database).set_hours(HOURS)

    assert await written(database, 7) == 0
    assert (await SqlPeople(database).hours(HOURS.chat)).digested_at == MIDNIGHT + 7 * 3600


async def test_lines_of_a_chat_that_ended_its_quiet_hours_are_not_lost(
    database: Database, clock: Clock
) -> None:
    people = SqlPeople(database)
    await people.set_hours(replace(HOURS, quiet_from=None, quiet_to=None))
    await SqlRecords(database).record(PassRecord(block=block(), held=(LINE,)))

    assert await written(database, 4) == 1
    assert len(await SqlOutbox(database).due(clock.at, 9)) == 1
