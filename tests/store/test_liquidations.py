"""Liquidations come back as they were written, once, and go with the block they were in."""

from dataclasses import replace

import pytest

from keeper.model import PassRecord, Reckoned, Taken
from keeper.store.database import Database
from keeper.store.liquidations import SqlLiquidations
from keeper.store.records import MARKED_EVERY, SqlRecords
from keeper.units import Base
from tests.store.builders import block, liquidation


@pytest.fixture
def rows(database: Database) -> SqlLiquidations:
    return SqlLiquidations(database)


async def write(database: Database, *liquidations: Reckoned) -> None:
    await SqlRecords(database).record(PassRecord(block=block(), liquidations=liquidations))


async def test_it_comes_back_with_every_digit_whatever_is_unknown(
    database: Database, rows: SqlLiquidations
) -> None:
    whole = liquidation()
    bare = liquidation(
        4,
        possible_after=None,
        seen_block=None,
        profit=None,
        expected=None,
        intent_id=None,
        taken=Taken.NOT_COVERED,
    )
    loss = liquidation(5, profit=Base(-3))

    await write(database, whole, bare, loss)

    assert await rows.last(10) == (loss, bare, whole)


async def test_the_same_pass_twice_is_one_row_and_another_block_of_that_number_replaces_it(
    database: Database, rows: SqlLiquidations
) -> None:
    await write(database, liquidation())
    await write(database, liquidation())
    assert len(await rows.last(10)) == 1

    again = liquidation(at=block(fork=1), taken=Taken.OURS)
    await write(database, again)

    assert await rows.last(10) == (again,)


async def test_an_orphaned_block_takes_its_liquidations_with_it(
    database: Database, rows: SqlLiquidations
) -> None:
    gone, stays = block(21_034_512), block(21_034_511)
    await write(database, liquidation(at=gone), liquidation(at=stays))

    await SqlRecords(database).record(PassRecord(block=block(), orphaned=(gone.hash,)))

    assert await rows.last(10) == (liquidation(at=stays),)


async def test_the_tally_leaves_ours_and_losses_out_of_what_others_took(
    database: Database, rows: SqlLiquidations
) -> None:
    old = block(21_000_000)
    await write(
        database,
        liquidation(1),
        liquidation(2, profit=Base(-5)),
        liquidation(3, profit=None),
        liquidation(4, taken=Taken.OURS),
        liquidation(5, taken=Taken.WATCH_ONLY, profit=Base(7)),
        liquidation(1, at=old),
    )

    whole = await rows.tally()
    late = await rows.tally(since=old.timestamp + 1)

    assert whole.counts[0] == (Taken.LATE, 4)
    assert whole.profit_of_others == 2 * 14_713_000_009 + 7
    assert dict(late.counts) == {Taken.LATE: 3, Taken.OURS: 1, Taken.WATCH_ONLY: 1}
    assert late.profit_of_others == 14_713_000_009 + 7
    assert len(await rows.last(10, others_only=True)) == 5


async def test_what_is_read_afterwards_leaves_alone_what_a_pass_said(
    database: Database, rows: SqlLiquidations
) -> None:
    said, gone = liquidation(at=block(21_034_511)), liquidation(at=block(21_034_512, fork=1))
    later = liquidation(3, at=block(21_034_513), taken=Taken.STOPPED, profit=None)
    again = replace(said, taken=Taken.STOPPED, reason="the keeper was stopped")
    instead = liquidation(at=block(21_034_512), taken=Taken.STOPPED)
    await write(database, said, gone)
    records = SqlRecords(database)

    known = await records.liquidated_in(said.liquidated.position.market, 21_034_512, 21_034_512)
    assert known == {(21_034_512, gone.liquidated.block.hash)}
    for _ in range(2):
        await records.account_for((again, instead, later), [gone.liquidated.block.hash])

    assert set(await rows.last(10)) == {said, instead, later}


async def test_how_far_a_chain_was_watched_is_known_to_a_few_blocks(database: Database) -> None:
    records = SqlRecords(database)
    assert await records.watched_to(31337) is None

    await records.record(PassRecord(block=block(7), chain_id=31337, liquidations=(liquidation(),)))
    await records.record(PassRecord(block=block(8), liquidations=(liquidation(4),)))
    known = await records.watched_to(31337)
    assert known is not None
    assert (known.number, known.hash, known.timestamp) == (
        7,
        block(7).hash,
        block(7).timestamp,
    )
    for number in range(9, 9 + MARKED_EVERY):  # passes with nothing to write
        await records.record(PassRecord(block=block(number), chain_id=31337))
    known = await records.watched_to(31337)
    assert known is not None
    assert known.number > 8
    await records.watched(31337, block(99))
    known = await SqlRecords(database).watched_to(31337)
    assert known is not None
    assert known.number == 99
    assert await records.watched_to(10) is None
