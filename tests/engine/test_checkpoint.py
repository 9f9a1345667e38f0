"""What a checkpoint may claim, and what is believed of one."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import structlog

from keeper.engine import coverage
from keeper.engine.chronicle import CHECKPOINT_EVERY_BLOCKS
from keeper.engine.coverage import Progress, cover
from keeper.engine.observe import REMEMBERED
from keeper.errors import ObservationError
from keeper.model import Address, BlockRef, Checkpoint, Hash, Log, LogFilter
from tests.engine.fakes import (
    ALICE,
    BOB,
    CAROL,
    MARKET,
    POOL,
    Chain,
    Records,
    Story,
    done,
    watched_market,
)

HEALTHY = (3, 1_517)


class History:
    """A chain's past in ranges of three blocks; satisfies `coverage.History`."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.asked: list[tuple[int, int]] = []
        self.bisected = 0
        self.fails_after: int | None = None
        self.silent = 0
        """How often nodes do not answer for a block."""
        self.behind_at: int | None = None
        """The last block that the nodes have, where they are behind."""

    async def backfill(
        self, wanted: LogFilter, from_block: int, to_block: int
    ) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
        for first in range(from_block, to_block + 1, 3):
            last = min(first + 2, to_block)
            if self.fails_after is not None and last > self.fails_after:
                raise ObservationError("the node has had enough")
            self.asked.append((first, last))
            blocks = [b for b in self.chain.canonical if first <= b.number <= last]
            logs = tuple(log for b in blocks for log in self.chain.states[b.hash].logs)
            yield first, last, tuple(log for log in logs if log.topics[0] in wanted.topics0)

    async def deployment_block(self, address: Address) -> int:
        self.bisected += 1
        return self.chain.canonical[0].number

    async def block(self, number: int) -> BlockRef:
        for block in self.chain.canonical:
            if block.number == number:
                return block
        raise ObservationError(f"there is no block {number}")

    async def compared(self, block: BlockRef) -> BlockRef | None:
        if self.silent:
            self.silent -= 1
            raise ObservationError("no node answers")
        numbers = {b.number: b for b in self.chain.canonical}
        late = self.behind_at is not None and block.number > self.behind_at
        return None if late else numbers.get(block.number)


async def covered(
    chain: Chain, records: Records, history: History, start_block: int | None = None
) -> tuple[set[Address], list[Progress]]:
    """Cover a fresh market; return whom it knows and what was said on the way."""
    market = watched_market()
    market._market = "discovered"
    said: list[Progress] = []
    await cover(
        market,
        history,
        records,
        upto=chain.head,
        start_block=start_block,
        on_progress=said.append,
    )
    return set(market.known()), said


def grown() -> Chain:
    """Ten blocks; ALICE borrows in the second and BOB in the eighth."""
    chain = Chain()
    for n in range(1, 10):
        chain.mine(moved={2: {ALICE: HEALTHY}, 8: {BOB: HEALTHY}}.get(n, {}))
    return chain


# --- history ----------------------------------------------------------------------------------


async def test_history_finds_every_borrower_and_leaves_a_checkpoint_of_them() -> None:
    chain, records = grown(), Records([])
    history = History(chain)

    known, said = await covered(chain, records, history)

    assert known == {ALICE, BOB}
    assert history.asked == [(100, 102), (103, 105), (106, 108), (109, 109)]
    [kept] = records.checkpoints
    assert kept == Checkpoint(
        market=MARKET, anchor=POOL, block=chain.head, accounts=tuple(sorted(known))
    )
    assert (said[0].fraction, said[-1].fraction, said[-1].complete) == (0.0, 1.0, True)
    assert not said[0].resumed


async def test_a_start_block_that_is_told_is_not_looked_for() -> None:
    chain = grown()
    history = History(chain)

    await covered(chain, Records([]), history, start_block=104)

    assert history.bisected == 0
    assert history.asked[0] == (104, 106)


async def test_it_resumes_after_the_checkpoints_block_with_its_accounts() -> None:
    chain, records = grown(), Records([])
    there = chain.canonical[6]
    await records.save_checkpoint(
        Checkpoint(market=MARKET, anchor=POOL, block=there, accounts=(ALICE, CAROL))
    )
    history = History(chain)

    known, said = await covered(chain, records, history)

    assert history.asked == [(107, 109)]
    assert known == {ALICE, BOB, CAROL}
    assert said[0].resumed


async def test_a_checkpoint_of_a_block_that_is_not_canonical_is_discarded() -> None:
    chain, records = grown(), Records([])
    other = replace(chain.canonical[6], hash=Hash("0x" + "0f" * 32))
    await records.save_checkpoint(
        Checkpoint(market=MARKET, anchor=POOL, block=other, accounts=(CAROL,))
    )
    history = History(chain)

    with structlog.testing.capture_logs() as logs:
        known, said = await covered(chain, records, history)

    assert known == {ALICE, BOB}
    assert history.asked[0] == (100, 102)
    assert not said[0].resumed
    assert [entry["event"] for entry in logs] == ["checkpoint.discarded"]


async def test_a_checkpoint_nobody_can_be_asked_about_is_neither_used_nor_replaced() -> None:
    chain, records = grown(), Records([])
    kept = Checkpoint(market=MARKET, anchor=POOL, block=chain.canonical[6], accounts=(ALICE, CAROL))
    await records.save_checkpoint(kept)
    history = History(chain)
    history.silent = 1

    with pytest.raises(ObservationError, match="no node answers"):
        await covered(chain, records, history)

    assert records.checkpoints == [kept]
    assert history.asked == []
    known, said = await covered(chain, records, history)  # as the next try goes
    assert known == {ALICE, BOB, CAROL}
    assert (said[0].resumed, history.asked) == (True, [(107, 109)])


async def test_a_checkpoint_ahead_of_the_head_that_was_opened_is_used_and_kept() -> None:
    chain, records = grown(), Records([])
    kept = Checkpoint(market=MARKET, anchor=POOL, block=chain.head, accounts=(ALICE, BOB))
    await records.save_checkpoint(kept)
    market = watched_market()
    market._market = "discovered"
    history = History(chain)

    done = await cover(
        market,
        history,
        records,
        upto=chain.canonical[5],
        start_block=None,
        on_progress=lambda _: None,
    )

    assert (done.resumed, done.complete, done.fraction) == (True, True, 1.0)
    assert history.asked == []
    assert set(market.known()) == {ALICE, BOB}
    assert records.checkpoints == [kept]


async def test_nodes_that_are_behind_a_checkpoint_do_not_have_it_replaced_by_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coverage, "SAVE_EVERY_RANGES", 1)
    monkeypatch.setattr(coverage, "BURIED", 0)
    chain, records = grown(), Records([])
    ahead = replace(chain.head, number=chain.head.number + 1)
    kept = Checkpoint(market=MARKET, anchor=POOL, block=ahead, accounts=(CAROL,))
    await records.save_checkpoint(kept)

    with structlog.testing.capture_logs() as logs:
        known, said = await covered(chain, records, History(chain))

    assert known == {ALICE, BOB}
    assert not said[0].resumed
    assert records.checkpoints == [kept]
    assert [entry["event"] for entry in logs] == ["checkpoint.set_aside"]


async def test_a_checkpoint_whose_block_the_nodes_lack_is_replaced_once_as_much_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coverage, "SAVE_EVERY_RANGES", 1)
    monkeypatch.setattr(coverage, "BURIED", 0)
    chain, records = grown(), Records([])
    kept = Checkpoint(market=MARKET, anchor=POOL, block=chain.canonical[7], accounts=(CAROL,))
    await records.save_checkpoint(kept)
    history = History(chain)
    history.behind_at = 106

    known, _ = await covered(chain, records, history)

    assert known == {ALICE, BOB}
    assert {c.block.number for c in records.checkpoints[1:]} <= {107, 108, 109}
    assert records.checkpoints[-1].block == chain.head


async def test_a_checkpoint_of_other_contracts_is_discarded_whatever_its_name() -> None:
    chain, records = grown(), Records([])
    there = chain.canonical[8]  # block 108, where BOB borrows: ALICE did in 102
    corrected = Address("0x2f39d218133afab8f2b819b1066c7e434ad94e9e")  # once written wrongly
    await records.save_checkpoint(
        Checkpoint(market=MARKET, anchor=corrected, block=there, accounts=(CAROL,))
    )
    history = History(chain)

    with structlog.testing.capture_logs() as logs:
        known, said = await covered(chain, records, history)

    assert known == {ALICE, BOB}
    assert history.asked[0] == (100, 102)
    assert not said[0].resumed
    assert records.checkpoints[-1].anchor == POOL
    [line] = logs
    assert line["event"] == "checkpoint.discarded"
    assert line["reason"] == f"it is of the market of {corrected}, and this one is of {POOL}"


async def test_a_checkpoint_of_the_head_leaves_nothing_to_read() -> None:
    chain, records = grown(), Records([])
    await records.save_checkpoint(
        Checkpoint(market=MARKET, anchor=POOL, block=chain.head, accounts=(ALICE, BOB))
    )
    history = History(chain)

    known, said = await covered(chain, records, history)

    assert history.asked == []
    assert known == {ALICE, BOB}
    assert said[-1].complete


async def test_a_history_that_breaks_off_claims_nothing_it_has_not_read() -> None:
    chain, records = grown(), Records([])
    history = History(chain)
    history.fails_after = 105

    with pytest.raises(ObservationError, match="had enough"):
        await covered(chain, records, history)

    assert records.checkpoints == []


async def test_no_block_near_the_head_is_claimed_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "SAVE_EVERY_RANGES", 1)
    monkeypatch.setattr(coverage, "BURIED", 4)
    chain, records = grown(), Records([])
    history = History(chain)
    history.fails_after = 108

    with pytest.raises(ObservationError, match="had enough"):
        await covered(chain, records, history)

    # the head is 109: 105 is four blocks below it, 108 is not
    assert [c.block for c in records.checkpoints] == [chain.canonical[2], chain.canonical[5]]


async def test_a_head_that_was_undone_while_history_was_read_is_not_claimed() -> None:
    chain, records = grown(), Records([])
    there = chain.canonical[6]
    kept = Checkpoint(market=MARKET, anchor=POOL, block=there, accounts=(ALICE,))
    await records.save_checkpoint(kept)
    undone = chain.drop(2)[0]
    chain.mine(moved={CAROL: HEALTHY})
    chain.mine()
    market = watched_market()
    market._market = "discovered"

    await cover(
        market,
        History(chain),
        records,
        upto=undone,
        start_block=None,
        on_progress=lambda _: None,
    )

    assert undone.number == chain.head.number
    assert records.checkpoints == [kept]


async def test_a_head_that_nobody_can_be_asked_about_is_not_claimed_and_history_is_read() -> None:
    chain, records = grown(), Records([])
    history = History(chain)
    history.silent = 1

    known, said = await covered(chain, records, history)

    assert known == {ALICE, BOB}
    assert said[-1].complete
    assert records.checkpoints == []


# --- as blocks pass ---------------------------------------------------------------------------


async def test_a_checkpoint_claims_a_block_that_is_buried_deep() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.engine.covered = True
    for _ in range(CHECKPOINT_EVERY_BLOCKS):
        await story.mine()

    [kept] = story.records.checkpoints
    head = story.records.kept[-1].block.number
    assert (kept.accounts, kept.anchor) == ((ALICE,), POOL)
    assert head - kept.block.number >= REMEMBERED - 2


async def test_no_block_is_claimed_that_was_taken_in_doubt() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.engine.covered = True
    last_sure = await story.mine()
    for _ in range(2):
        for _ in range(REMEMBERED - 2):
            await story.take(story.chain.mine(), doubt="one of two agrees")
        await story.engine.save_checkpoints()

    [kept] = story.records.checkpoints
    assert kept.block.number <= done(last_sure).block.number

    await story.mine()
    await story.engine.save_checkpoints()
    assert story.records.checkpoints[-1].block.number > kept.block.number


async def test_nothing_is_claimed_before_history_is_covered() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    for _ in range(CHECKPOINT_EVERY_BLOCKS + 1):
        await story.mine()
    await story.engine.save_checkpoints()

    assert story.records.checkpoints == []


async def test_an_orphaned_block_is_never_claimed() -> None:
    story = Story()
    await story.engine.start(story.chain.head)
    await story.mine(moved={ALICE: HEALTHY})
    story.engine.covered = True
    orphaned = story.chain.drop(1)
    await story.take(story.chain.mine(), orphaned=orphaned)

    await story.engine.save_checkpoints()

    [kept] = story.records.checkpoints
    assert kept.block == story.chain.head


async def test_those_still_waiting_to_be_read_are_in_the_checkpoint() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.engine.covered = True
    story.market.admit((BOB,))

    await story.engine.save_checkpoints()

    assert set(story.records.checkpoints[-1].accounts) == {ALICE, BOB}
