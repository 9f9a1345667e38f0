"""Liquidations of blocks that nobody watched: whose they were, and that it was not looked at."""

from collections.abc import AsyncIterator

import pytest

from keeper.engine.decide import Hand
from keeper.engine.stopped import Unwatched, replaced, unwatched
from keeper.errors import ObservationError
from keeper.model import Address, BlockRef, Hash, Log, LogFilter, Taken
from keeper.ports import Strategy
from keeper.strategies.alert_only import AlertOnly
from tests.engine.fakes import ALICE, BOB, LIQUIDATE, OWNER, Chain, Reader, watched_market

RIVAL = Address("0x" + "f0" * 20)


class Past:
    """A chain's past in ranges of three blocks; satisfies `stopped.Past`."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.asked: list[tuple[int, int]] = []

    async def every_log(
        self, wanted: LogFilter, from_block: int, to_block: int
    ) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
        for first in range(from_block, to_block + 1, 3):
            last = min(first + 2, to_block)
            self.asked.append((first, last))
            blocks = [b for b in self.chain.canonical if first <= b.number <= last]
            logs = tuple(log for b in blocks for log in self.chain.states[b.hash].logs)
            yield first, last, tuple(log for log in logs if log.topics[0] in wanted.topics0)

    async def block(self, number: int) -> BlockRef:
        for block in self.chain.canonical:
            if block.number == number:
                return block
        raise ObservationError(f"there is no block {number}")


class Forgetful(Reader):
    """A node that keeps no old state."""

    async def run(self, steps: object, block: BlockRef) -> object:  # type: ignore[override]
        raise ObservationError(f"the state of block {block.number} is gone")


def taken_meanwhile() -> tuple[Chain, BlockRef]:
    """A rival takes ALICE and ours takes BOB, in the second and fourth block after the last."""
    chain = Chain()
    chain.mine(moved={ALICE: (3, 1_517), BOB: (3, 1_517)})
    watched_to = chain.head
    for taken in ({}, {ALICE: RIVAL}, {}, {BOB: OWNER}, {}):
        chain.mine(liquidated=taken)
    return chain, watched_to


async def look(
    chain: Chain,
    watched_to: BlockRef,
    otherwise: Strategy = LIQUIDATE,
    reader: Reader | None = None,
) -> Unwatched:
    market = watched_market()
    market._market = "discovered"
    return await unwatched(
        market,
        Hand(owner=OWNER, protections={}, otherwise=otherwise, ours=frozenset({OWNER})),
        Past(chain),
        reader or Reader(chain, []),
        watched_to=watched_to,
        back_at=chain.head,
    )


async def test_each_is_told_with_whose_it_was_and_that_nobody_looked() -> None:
    chain, watched_to = taken_meanwhile()

    seen = await look(chain, watched_to)

    theirs, ours = seen.found
    assert (theirs.taken, ours.taken) == (Taken.STOPPED, Taken.OURS)
    assert theirs.reason == (
        f"the keeper was stopped: the last block known to be watched was {watched_to.number:,},"
        f" the next one {chain.head.number:,}"
    )
    assert (theirs.liquidated.liquidator, ours.liquidated.liquidator) == (RIVAL, OWNER)
    assert (theirs.possible_after, theirs.possible_by, theirs.seen_block) == (
        None,
        watched_to.number + 2,
        None,
    )
    assert theirs.profit == 3 * 1_013 - 1_000
    assert seen.last == chain.head.number - 1


async def test_one_who_only_watches_is_told_so_and_that_it_was_stopped() -> None:
    chain, watched_to = taken_meanwhile()

    theirs, _ = (await look(chain, watched_to, AlertOnly())).found

    assert theirs.taken is Taken.WATCH_ONLY
    assert theirs.reason.startswith("liquidating is not enabled, and the keeper was stopped")


async def test_without_old_state_no_profit_is_said() -> None:
    chain, watched_to = taken_meanwhile()

    found = (await look(chain, watched_to, reader=Forgetful(chain, []))).found

    assert [one.profit for one in found] == [None, None]


async def test_a_block_that_is_replaced_while_it_is_read_is_read_again() -> None:
    chain, watched_to = taken_meanwhile()
    there = Past(chain)

    class Moving(Past):
        async def block(self, number: int) -> BlockRef:
            block = await super().block(number)
            return BlockRef(
                number=number,
                hash=Hash("0x" + "0f" * 32),
                parent_hash=block.parent_hash,
                timestamp=block.timestamp,
            )

    market = watched_market()
    market._market = "discovered"
    with pytest.raises(ObservationError, match="was replaced while its logs were read"):
        await unwatched(
            market,
            Hand(owner=OWNER, protections={}, otherwise=LIQUIDATE, ours=frozenset()),
            Moving(chain),
            Reader(chain, []),
            watched_to=watched_to,
            back_at=chain.head,
        )
    canonical = await there.block(watched_to.number)
    other = Hash("0x" + "0f" * 32)
    known = [(watched_to.number, canonical.hash), (watched_to.number, other)]
    assert await replaced(there, known) == (other,)
