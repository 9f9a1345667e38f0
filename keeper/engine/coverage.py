"""Who is in the book: history read once, in ranges, resumed from a verified checkpoint.

A checkpoint says "every borrower up to this block is in this list".  The list may hold more than
that, so a checkpoint may always claim an older block than it could: ours claim one that is buried
deep enough not to be reorganised away.  It is a cache: when its block is no longer canonical or its
checksum is wrong, history is read again from the market's deployment.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from keeper.engine.market import WatchedMarket
from keeper.errors import ObservationError
from keeper.model import Address, BlockRef, Checkpoint, Log, LogFilter, MarketId
from keeper.ports import Records

log = structlog.get_logger()

SAVE_EVERY_RANGES = 25


class History(Protocol):
    """What coverage asks of the chain."""

    def backfill(
        self, wanted: LogFilter, from_block: int, to_block: int
    ) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
        """Yield complete ranges in order; a range that was yielded is not asked for again."""
        ...

    async def deployment_block(self, address: Address) -> int:
        """The first block at which `address` has code."""
        ...

    async def block(self, number: int) -> BlockRef:
        """The canonical block of that number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far history has been read."""

    market: MarketId
    from_block: int
    done_block: int
    to_block: int
    borrowers: int
    resumed: bool

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        span = self.to_block - self.from_block + 1
        return 1.0 if span <= 0 else min(1.0, (self.done_block - self.from_block + 1) / span)

    @property
    def complete(self) -> bool:
        """Whether every borrower up to `to_block` is known."""
        return self.done_block >= self.to_block


async def cover(
    market: WatchedMarket[Any, Any],
    history: History,
    records: Records,
    *,
    upto: BlockRef,
    start_block: int | None,
    on_progress: Callable[[Progress], None],
) -> Progress:
    """Admit every account that ever borrowed in `market` up to and including `upto`.

    `start_block`: the market's deployment, or None to find it by bisection of `eth_getCode`.
    """
    found: set[Address] = set()
    checkpoint = await _canonical(await records.checkpoint(market.id), history, upto)
    if checkpoint is not None:
        found |= set(checkpoint.accounts)
        market.admit(checkpoint.accounts)
        first = checkpoint.block.number + 1
    elif start_block is not None:
        first = start_block
    else:
        first = await history.deployment_block(market.anchor)

    progress = Progress(
        market=market.id,
        from_block=first,
        done_block=first - 1,
        to_block=upto.number,
        borrowers=len(found),
        resumed=checkpoint is not None,
    )
    on_progress(progress)
    ranges = 0
    if first <= upto.number:
        wanted = market.backfill_filter
        async for _, last, logs in history.backfill(wanted, first, upto.number):
            new = market.adapter.touched(market.market, logs).borrowers - found
            found |= new
            market.admit(new)
            progress = Progress(
                market=market.id,
                from_block=first,
                done_block=last,
                to_block=upto.number,
                borrowers=len(found),
                resumed=checkpoint is not None,
            )
            on_progress(progress)
            ranges += 1
            if ranges % SAVE_EVERY_RANGES == 0:
                await _save(market.id, records, await history.block(last), found)
    await _save(market.id, records, upto, found)
    return progress


async def _save(
    market: MarketId, records: Records, block: BlockRef, accounts: set[Address]
) -> None:
    await records.save_checkpoint(
        Checkpoint(market=market, block=block, accounts=tuple(sorted(accounts)))
    )


async def _canonical(
    checkpoint: Checkpoint | None, history: History, upto: BlockRef
) -> Checkpoint | None:
    if checkpoint is None:
        return None
    if checkpoint.block.number > upto.number:
        log.warning("checkpoint.discarded", reason="it is ahead of the chain")
        return None
    try:
        there = await history.block(checkpoint.block.number)
    except ObservationError as error:
        log.warning("checkpoint.discarded", reason=str(error))
        return None
    if there.hash != checkpoint.block.hash:
        log.warning(
            "checkpoint.discarded",
            reason="its block is not canonical",
            block=checkpoint.block.number,
        )
        return None
    return checkpoint
