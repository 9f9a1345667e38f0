"""A restart with balances from a checkpoint: quick, and none of them believed unread."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import structlog

from keeper.engine import coverage, market
from keeper.engine.chronicle import CHECKPOINT_EVERY_BLOCKS
from keeper.engine.coverage import Progress, cover
from keeper.engine.market import READ_PER_BLOCK
from keeper.errors import JournalError, ObservationError
from keeper.model import Address, Checkpoint, Entry, Hash, Holdings, Side
from tests.engine.fakes import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    MARKET,
    POOL,
    Records,
    Story,
    done,
    holdings,
)
from tests.engine.test_checkpoint import History

HEALTHY = (3, 1_517)
SICK = (3, 3_111)
"""At 1,013 a piece: 3,039 of collateral."""


def people(count: int) -> list[Address]:
    return [Address(f"0x{0x0B0000 + n:040x}") for n in range(count)]


class Restart:
    """A keeper that begins again where another one left a checkpoint."""

    def __init__(self, held: dict[Address, tuple[int, int]], **story: Any) -> None:
        self.story = Story(**story)
        chain = self.story.chain
        chain.mine(moved=held)
        chain.mine()
        self.history = History(chain)
        self.saved_at = chain.head
        self.said: list[Progress] = []

    def leaves(self, *kept: Holdings, also: tuple[Address, ...] = (), **changes: Any) -> None:
        accounts = tuple(sorted({*(h.account for h in kept), *also}))
        self.story.market._market = "discovered"
        self.story.records.checkpoints = [
            replace(
                Checkpoint(
                    market=MARKET,
                    anchor=POOL,
                    block=self.saved_at,
                    accounts=accounts,
                    holdings=kept,
                    layout=self.story.market.layout,
                ),
                **changes,
            )
        ]

    async def begins(self) -> None:
        await self.story.engine.start(self.story.chain.head)
        await cover(
            self.story.market,
            self.history,
            self.story.records,
            upto=self.story.chain.head,
            start_block=None,
            on_progress=self.said.append,
            reader=self.story.reader,
        )
        self.story.engine.covered = True

    @property
    def in_book(self) -> set[Address]:
        return set(self.story.market.book.accounts())


async def test_everybody_is_in_the_book_at_once_and_nothing_is_said_of_him_unread() -> None:
    everybody = people(READ_PER_BLOCK + 7)
    restart = Restart(dict.fromkeys(everybody, HEALTHY))
    restart.leaves(*(holdings(a, *HEALTHY) for a in everybody))
    with structlog.testing.capture_logs() as logs:
        await restart.begins()

    assert restart.in_book == set(everybody)
    assert restart.story.market.holdings(everybody[0]) is None
    assert [e["accounts"] for e in logs if e["event"] == "checkpoint.restored"] == [2_007]
    await restart.story.mine()  # reads 2,000 of them
    known = [a for a in everybody if restart.story.market.holdings(a) is not None]
    assert len(known) == READ_PER_BLOCK
    await restart.story.mine()
    assert all(restart.story.market.holdings(a) for a in everybody)
    assert restart.story.market.backlog == 0


async def test_who_was_touched_since_the_checkpoint_is_read_and_not_restored() -> None:
    restart = Restart({ALICE: HEALTHY, BOB: HEALTHY})
    restart.leaves(holdings(ALICE, *HEALTHY), holdings(BOB, *HEALTHY))
    restart.story.chain.mine(moved={BOB: SICK})
    await restart.begins()

    assert restart.in_book == {ALICE}
    await restart.story.mine()
    assert restart.story.market.holdings(BOB) == holdings(BOB, *SICK)


async def test_who_is_touched_while_history_is_read_is_not_restored() -> None:
    restart = Restart({ALICE: HEALTHY, BOB: HEALTHY})
    restart.leaves(holdings(ALICE, *HEALTHY), holdings(BOB, *HEALTHY))
    there, chain = restart.story.market, restart.story.chain
    block = chain.mine(moved={BOB: SICK})
    there.hear(block, chain.states[block.hash].logs)

    assert there.restore([holdings(ALICE, *HEALTHY), holdings(BOB, *HEALTHY)]) == 1
    assert restart.in_book == {ALICE}


async def test_a_newer_reading_is_not_replaced_by_an_older_one() -> None:
    story = Story()
    await story.begin({ALICE: SICK})
    story.market._heard.clear()

    assert story.market.restore([holdings(ALICE, *HEALTHY)]) == 0
    assert story.market.holdings(ALICE) == holdings(ALICE, *SICK)


async def test_one_falsified_balance_in_the_sample_discards_all_of_it() -> None:
    restart = Restart({ALICE: HEALTHY, BOB: HEALTHY})
    restart.leaves(holdings(ALICE, *HEALTHY), holdings(BOB, 3, 1_516), also=(CAROL,))
    with structlog.testing.capture_logs() as logs:
        await restart.begins()

    [said] = [e for e in logs if e["event"] == "checkpoint.discarded"]
    assert said["account"] == BOB
    assert restart.in_book == set()
    assert restart.history.bisected == 1  # history is read again from the deployment
    assert set(restart.story.market.known()) == {ALICE, BOB}


async def test_one_that_the_sample_missed_is_found_and_the_rest_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coverage, "SAMPLE", 0)
    everybody = people(READ_PER_BLOCK + 50)
    restart = Restart(dict.fromkeys(everybody, HEALTHY))
    kept = [holdings(a, *HEALTHY) for a in everybody]
    restart.leaves(holdings(everybody[0], 9, 1), *kept[1:])
    await restart.begins()
    with structlog.testing.capture_logs() as logs:
        passed = done(await restart.story.mine())

    [reading] = passed.readings
    assert reading.repaired == (everybody[0],)
    assert reading.distrusted == 50
    assert len(restart.in_book) == READ_PER_BLOCK
    events = [e["event"] for e in logs]
    assert "book.repaired" in events
    assert "checkpoint.discarded" in events
    await restart.story.mine()
    assert restart.in_book == set(everybody)


async def test_who_seems_in_danger_is_read_before_anything_is_decided_about_him(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market, "READ_PER_BLOCK", 5)
    everybody = people(40)
    held = dict.fromkeys(everybody, HEALTHY) | {DAVE: SICK}
    restart = Restart(held)
    restart.leaves(*(holdings(a, *h) for a, h in held.items()))
    await restart.begins()
    del restart.story.market._backlog[DAVE]
    restart.story.market._backlog[DAVE] = None  # the last of all

    first = done(await restart.story.mine())
    assert first.assessments == ()
    assert restart.story.acted_on() == []
    second = done(await restart.story.mine())

    assert [a.position.account for a in second.assessments] == [DAVE]
    assert restart.story.acted_on() == [DAVE]


@pytest.mark.parametrize(
    "changes",
    [{"layout": "0x" + "11" * 32}, {"block": None}],
    ids=["another layout", "too old"],
)
async def test_balances_that_may_mean_something_else_by_now_are_not_used(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = Restart({ALICE: HEALTHY})
    if "block" in changes:
        monkeypatch.setattr(coverage, "MOST_MISSED_BLOCKS", 0)
        restart.story.chain.mine()
        changes = {}
    restart.leaves(holdings(ALICE, *HEALTHY), **changes)
    await restart.begins()

    assert restart.in_book == set()
    assert restart.said[0].resumed
    assert restart.story.market.known() == (ALICE,)


async def test_where_the_sample_cannot_be_read_everybody_is_read_afresh() -> None:
    restart = Restart({ALICE: HEALTHY})
    restart.leaves(holdings(ALICE, *HEALTHY))
    await restart.story.engine.start(restart.story.chain.head)
    restart.story.reader.failures.append(ObservationError("the node has had enough"))
    with structlog.testing.capture_logs() as logs:
        await cover(
            restart.story.market,
            restart.history,
            restart.story.records,
            upto=restart.story.chain.head,
            start_block=None,
            on_progress=restart.said.append,
            reader=restart.story.reader,
        )

    assert [e["event"] for e in logs] == ["checkpoint.unverified"]
    assert restart.in_book == set()
    assert restart.story.market.known() == (ALICE,)
    assert restart.said[0].resumed


async def test_a_checkpoint_of_an_orphaned_block_restores_nobody() -> None:
    restart = Restart({ALICE: HEALTHY})
    other = replace(restart.saved_at, hash=Hash("0x" + "0f" * 32))
    restart.leaves(holdings(ALICE, 9, 1), block=other)
    await restart.begins()

    assert restart.in_book == set()
    assert not restart.said[0].resumed


# --- what is saved ----------------------------------------------------------------------------


async def test_balances_are_saved_of_those_whom_nothing_touched_lately() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY, CAROL: HEALTHY})
    story.market._heard.clear()  # as if that had been long ago
    await story.mine(moved={BOB: SICK})
    story.engine.covered = True
    await story.mine(unreadable=frozenset({CAROL}), moved={CAROL: HEALTHY})

    await story.engine.save_checkpoints()

    [saved] = story.records.checkpoints
    assert saved.accounts == tuple(sorted((ALICE, BOB, CAROL)))
    assert saved.holdings == (holdings(ALICE, *HEALTHY),)
    assert saved.layout == story.market.layout


async def test_what_came_from_a_checkpoint_unread_is_never_saved_as_read() -> None:
    everybody = people(READ_PER_BLOCK + 3)
    restart = Restart(dict.fromkeys(everybody, HEALTHY))
    restart.leaves(*(holdings(a, *HEALTHY) for a in everybody))
    await restart.begins()
    await restart.story.mine()

    await restart.story.engine.save_checkpoints()

    saved = restart.story.records.checkpoints[-1]
    assert len(saved.accounts) == READ_PER_BLOCK + 3
    assert len(saved.holdings) == READ_PER_BLOCK


async def test_a_book_of_very_many_is_saved_without_balances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market, "MOST_KEPT", 2)
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY, CAROL: HEALTHY})
    story.market._heard.clear()
    story.engine.covered = True

    await story.engine.save_checkpoints()

    [saved] = story.records.checkpoints
    assert (len(saved.accounts), saved.holdings) == (3, ())


async def test_a_great_book_is_saved_beside_the_passes() -> None:
    everybody = people(1_001)
    story = Story()
    await story.begin(dict.fromkeys(everybody, HEALTHY))
    story.market._heard.clear()
    story.engine.covered = True
    story.engine._chronicle._since_checkpoint = 10**6

    await story.mine()
    assert story.records.checkpoints == []
    assert story.engine._saving is not None
    await story.engine._saving

    [saved] = story.records.checkpoints
    assert len(saved.holdings) == 1_001


async def test_closing_waits_for_what_is_being_saved_and_saves_once_more() -> None:
    story = Story()
    await story.begin(dict.fromkeys(people(1_001), HEALTHY))
    story.engine.covered = True
    story.engine._chronicle._since_checkpoint = 10**6
    await story.mine()
    assert story.records.checkpoints == []
    beside = story.engine._saving

    await story.engine.close()

    assert beside is not None
    assert beside.done()
    assert [len(saved.accounts) for saved in story.records.checkpoints] == [1_001, 1_001]


class FullDisk(Records):
    """Takes no checkpoint while it is `full`."""

    def __init__(self, order: list[str]) -> None:
        super().__init__(order)
        self.full = True
        self.refused = 0

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        if self.full:
            self.refused += 1
            raise JournalError("the disk is full")
        await super().save_checkpoint(checkpoint)


async def on_a_full_disk(count: int) -> tuple[Story, FullDisk]:
    """A book of so many, whose checkpoint is due at the next block."""
    disk = FullDisk([])
    story = Story(records=disk)
    await story.begin(dict.fromkeys(people(count), HEALTHY))
    story.engine.covered = True
    story.engine._chronicle._since_checkpoint = CHECKPOINT_EVERY_BLOCKS
    return story, disk


@pytest.mark.parametrize("count", [3, 1_001], ids=["at once", "beside"])
async def test_a_checkpoint_that_is_not_taken_is_said_and_tried_again_when_next_due(
    count: int,
) -> None:
    story, disk = await on_a_full_disk(count)
    with structlog.testing.capture_logs() as logs:
        for _ in range(CHECKPOINT_EVERY_BLOCKS):
            done(await story.mine())
    disk.full = False
    assert disk.refused == 1
    for _ in range(2):
        done(await story.mine())
    assert story.engine._saving is not None
    await story.engine._saving

    said = [e for e in logs if e["event"] == "checkpoint.unsaved"]
    assert [(e["log_level"], e["reason"]) for e in said] == [("warning", "the disk is full")]
    assert [len(saved.accounts) for saved in disk.checkpoints] == [count]


async def test_closing_goes_on_where_no_checkpoint_is_taken() -> None:
    story, disk = await on_a_full_disk(1_001)
    await story.mine()
    with structlog.testing.capture_logs() as logs:
        await story.engine.close()

    assert disk.refused == 2
    assert [e["event"] for e in logs] == ["checkpoint.unsaved"] * 2


async def test_history_is_read_on_where_no_checkpoint_of_it_is_taken() -> None:
    restart = Restart({ALICE: HEALTHY}, records=FullDisk([]))

    await restart.begins()

    assert restart.said[-1].complete
    assert restart.story.market.known() == (ALICE,)


async def test_a_pass_that_is_cancelled_while_it_saves_ends_as_cancelled() -> None:
    saving = asyncio.Event()

    class Slow(Records):
        async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
            saving.set()
            await asyncio.Event().wait()

    story = Story(records=Slow([]))
    await story.begin({ALICE: HEALTHY})
    story.engine.covered = True
    story.engine._chronicle._since_checkpoint = CHECKPOINT_EVERY_BLOCKS
    taken = asyncio.create_task(story.mine())
    await saving.wait()
    taken.cancel()

    with pytest.raises(asyncio.CancelledError):
        await taken
    assert story.engine._saving is not None
    assert story.engine._saving.cancelled()


@pytest.mark.parametrize(
    "bad",
    [
        {"e_mode": 256},
        {"entries": (Entry(reserve=0, side=Side.COLLATERAL, scaled=2**128),)},
        {"entries": (Entry(reserve=1, side=Side.DEBT, scaled=-1),)},
        {"entries": (Entry(reserve=2**16, side=Side.DEBT, scaled=5),)},
        {"entries": (Entry(reserve=1, side=Side.DEBT, scaled=5),) * 2},
    ],
    ids=["e-mode", "too much", "negative", "no reserve", "twice"],
)
async def test_a_kept_balance_that_cannot_be_is_read_and_costs_nobody_else_his(
    bad: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "SAMPLE", 0)
    restart = Restart({ALICE: SICK, BOB: HEALTHY})
    restart.leaves(replace(holdings(ALICE, *SICK), **bad), holdings(BOB, *HEALTHY))
    await restart.begins()

    assert restart.in_book == {BOB}
    assert restart.story.market.known() == tuple(sorted((ALICE, BOB)))
    passed = done(await restart.story.mine())
    assert restart.story.market.holdings(ALICE) == holdings(ALICE, *SICK)
    assert restart.story.market.holdings(BOB) == holdings(BOB, *HEALTHY)
    assert passed.readings[0].repaired == ()  # it was never restored, so nothing was put right
    assert [(a.position.account, a.ok) for a in passed.assessments] == [(ALICE, True)]
