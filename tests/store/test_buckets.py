"""What a chart is drawn from: the worst of each stretch."""

from dataclasses import replace

from keeper.model import BlockRef, PassRecord
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.records import SqlRecords
from tests.store.builders import assessed, block, position, unassessable

FIRST = 21_034_511


def at(number: int) -> BlockRef:
    return block(FIRST + number)


async def test_a_dip_is_not_lost_among_many_points(database: Database) -> None:
    records, history = SqlRecords(database), SqlHistory(database)
    for number in range(40):
        health = 1_031_000_000_000_000_003 if number == 17 else 1_300_000_000_000_000_000 + number
        await records.record(
            PassRecord(block=at(number), history=(assessed(health, at=at(number)),))
        )

    found = await history.buckets(position(), since=at(0).timestamp, buckets=4)

    assert [one.health for one in found] == [
        1_300_000_000_000_000_000,
        1_031_000_000_000_000_003,
        1_300_000_000_000_000_020,
        1_300_000_000_000_000_030,
    ]
    assert found[-1].at == at(39).timestamp == await history.newest(position())


async def test_a_stretch_that_was_never_known_is_a_gap(database: Database) -> None:
    records, history = SqlRecords(database), SqlHistory(database)
    for number in range(4):
        known = assessed(at=at(number))
        seen = unassessable("USDC/USD is stale", at=at(number)) if number == 1 else known
        await records.record(PassRecord(block=at(number), history=(seen,)))

    found = await history.buckets(position(), since=at(0).timestamp, buckets=4)

    assert [one.health is None for one in found] == [False, True, False, False]


async def test_an_account_without_history_has_nothing_to_draw(database: Database) -> None:
    history = SqlHistory(database)
    other = replace(position(), account=position(0xB0B).account)

    assert await history.newest(other) is None
    assert await history.buckets(other, since=0, buckets=4) == ()
