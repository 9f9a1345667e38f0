"""Liquidations in blocks that were not watched: between the last one watched and the start.

Read from the logs of those blocks, once, beside the heads.  What the market was like before them is
not known any more, so that of none it is said since when it was possible: only that it happened
while nobody looked.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from keeper.engine.decide import Hand
from keeper.engine.market import WatchedMarket
from keeper.engine.misses import idle, profit_of
from keeper.engine.observe import REMEMBERED
from keeper.errors import ObservationError
from keeper.model import BlockRef, Hash, Liquidated, Log, LogFilter, Reckoned, Taken
from keeper.ports import LendingView, Reader

log = structlog.get_logger()

MOST_BLOCKS: Final = 1_000_000
"""Of a longer absence only the last so many blocks are looked through."""
MOST_PRICED: Final = 200
"""Blocks whose prices are read, the newest first: of what happened in others no profit is said."""


class Past(Protocol):
    """What is asked of the chain."""

    def every_log(
        self, wanted: LogFilter, from_block: int, to_block: int
    ) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
        """Yield complete ranges in order, with every log of them."""
        ...

    async def block(self, number: int) -> BlockRef:
        """The canonical block of that number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatched:
    """What happened in one market while nobody looked."""

    first: int
    """The blocks looked through, both included; the first few may have been watched."""
    last: int
    found: tuple[Reckoned, ...]


async def unwatched(
    market: WatchedMarket[Any, Any],
    hand: Hand,
    past: Past,
    reader: Reader,
    *,
    watched_to: BlockRef,
    back_at: BlockRef,
) -> Unwatched:
    """Account for the liquidations after `watched_to` and before `back_at`.

    Looks a little further back: blocks may have been replaced meanwhile.  Raises ObservationError.
    """
    first = max(0, watched_to.number + 1 - REMEMBERED, back_at.number - MOST_BLOCKS)
    last = back_at.number - 1
    heard: list[Liquidated] = []
    if first <= last:
        wanted = market.adapter.liquidation_filter(market.market)
        async for _, _, logs in past.every_log(wanted, first, last):
            heard += await _heard(market, past, logs)
    views = await _views(market, reader, heard)
    found = tuple(_reckoned(one, hand, views, watched_to, back_at) for one in heard)
    log.info(
        "stopped.reckoned",
        market=market.id.name,
        from_block=watched_to.number + 1,
        to_block=last,
        liquidations=len(found),
    )
    return Unwatched(first=first, last=last, found=found)


async def replaced(past: Past, known: Iterable[tuple[int, Hash]]) -> tuple[Hash, ...]:
    """Return those of the blocks `known`, by number and hash, that are not canonical any more."""
    return tuple([hash_ for number, hash_ in known if (await past.block(number)).hash != hash_])


async def _heard(
    market: WatchedMarket[Any, Any], past: Past, logs: tuple[Log, ...]
) -> list[Liquidated]:
    by_block: dict[int, list[Log]] = {}
    for one in logs:
        by_block.setdefault(one.block_number, []).append(one)
    found: list[Liquidated] = []
    for number, there in sorted(by_block.items()):
        block = await past.block(number)
        if any(one.block_hash != block.hash for one in there):
            raise ObservationError(f"Block {number} was replaced while its logs were read.")
        found += market.adapter.liquidations(market.market, block, there)
    return found


async def _views(
    market: WatchedMarket[Any, Any], reader: Reader, heard: list[Liquidated]
) -> dict[Hash, LendingView]:
    """Return the prices at the end of each block, as far as a node still has its state."""
    views: dict[Hash, LendingView] = {}
    blocks = {one.block.hash: one.block for one in reversed(heard)}
    for block in list(blocks.values())[:MOST_PRICED]:
        try:
            seen = await reader.run(
                market.adapter.observe(market.market, (), market.holdings), block
            )
        except ObservationError:
            break  # older ones are gone as well
        views[block.hash] = market.adapter.view(market.market, seen, block, {})
    return views


def _reckoned(
    heard: Liquidated,
    hand: Hand,
    views: dict[Hash, LendingView],
    watched_to: BlockRef,
    back_at: BlockRef,
) -> Reckoned:
    view = views.get(heard.block.hash)
    why = (
        f"the keeper was stopped: the last block known to be watched was {watched_to.number:,},"
        f" the next one {back_at.number:,}"
    )
    taken = Taken.STOPPED
    if heard.liquidator in hand.ours:
        taken, why = Taken.OURS, f"ours, sent before {why}"
    elif reason := idle(hand):
        taken, why = Taken.WATCH_ONLY, f"{reason}, and {why}"
    return Reckoned(
        liquidated=heard,
        taken=taken,
        reason=why,
        possible_after=None,
        possible_by=heard.block.number,
        seen_block=None,
        profit=None if view is None else profit_of(heard, view),
    )
