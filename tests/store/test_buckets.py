"""What a chart is drawn from: the end of each stretch, and how low and high it went."""

from dataclasses import replace

from keeper.model import BlockRef, PassRecord
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.records import SqlRecords
from keeper.units import Base
from tests.store.builders import assessed, block, position, unassessable

FIRST = 21_034_511


def at(number: int) -> BlockRef:
    return block(FIRST + number)


async def test_neither_a_dip_nor_a_rise_is_lost_among_many_points(database: Database) -> None:
    records, history = SqlRecords(database), SqlHistory(database)
    odd = {17: 1_031_000_000_000_000_003, 22: 1_900_000_000_000_000_007}
    for number in range(40):
        health = odd.get(number, 1_300_000_000_000_000_000 + number)
        await records.record(
            PassRecord(block=at(number), history=(assessed(health, at=at(number)),))
        )

    found = await history.buckets(position(), since=at(0).timestamp, buckets=4)

    usual = 1_300_000_000_000_000_000
    assert [one.lowest for one in found] == [usual, odd[17], usual + 20, usual + 30]
    assert [one.highest for one in found] == [usual + 9, usual + 19, odd[22], usual + 39]
    assert [one.health for one in found] == [usual + 9, usual + 19, usual + 29, usual + 39]
    assert found[-1].at == at(39).timestamp == await history.newest(position())


async def test_the_last_of_a_chart_is_what_is_so_now(database: Database) -> None:
    records, history = SqlRecords(database), SqlHistory(database)
    healths = (1_000_412_000_000_000_000, 1_103_000_000_000_000_000, 1_249_000_000_000_000_001)
    for number, health in enumerate(healths):  # a fall, then a top-up, within half a minute
        here = replace(
            assessed(health, at=at(number)), collateral=Base(7_000 + number), debt=Base(90 - number)
        )
        await records.record(PassRecord(block=at(number), history=(here,)))

    [found] = await history.buckets(position(), since=at(2).timestamp - 7 * 86_400, buckets=400)

    assert (found.lowest, found.health, found.highest) == (healths[0], healths[2], healths[2])
    assert (found.collateral, found.debt) == (7_002, 88)


async def test_a_stretch_that_ends_unknown_says_so(database: Database) -> None:
    records, history = SqlRecords(database), SqlHistory(database)
    for number in range(8):
        known = assessed(at=at(number))
        seen = unassessable("USDC/USD is stale", at=at(number)) if number in {2, 3, 5} else known
        await records.record(PassRecord(block=at(number), history=(seen,)))

    found = await history.buckets(position(), since=at(0).timestamp, buckets=4)

    assert [one.health is None for one in found] == [False, True, True, False]
    assert [one.lowest is None for one in found] == [False, True, False, False]


async def test_an_account_without_history_has_nothing_to_draw(database: Database) -> None:
    history = SqlHistory(database)
    other = replace(position(), account=position(0xB0B).account)

    assert await history.newest(other) is None
    assert await history.buckets(other, since=0, buckets=4) == ()
