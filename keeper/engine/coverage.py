"""Who is in the book: history read once, in ranges, resumed from a verified checkpoint.

A checkpoint says "every borrower up to this block is in this list".  The list may hold more than
that, so a checkpoint may always claim an older block than it could: ours claim one that is buried
deep enough not to be reorganised away, or the head that history was read up to if it is canonical
afterwards.  Of any other block the logs that were read may be those of another branch.

It is a cache: when it is of other contracts, its block is no longer canonical, its checksum is
wrong, or a sample of its balances is not what the chain says, history is read again from the
market's deployment.  Until that is proved it is kept: nodes that do not answer, or are behind,
prove nothing, and none that claims less takes its place.

The balances in it are those that nothing had touched since its block, so that with everything
touched since left out they are those of now.  They are put into the book at once and not believed:
everybody is read again, 2,000 a block; whoever seems to be in danger before that, at the next block
and before anything is decided about him.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from keeper.engine.market import KEPT_AT_ONCE, WatchedMarket
from keeper.errors import JournalError, ObservationError
from keeper.model import Address, BlockRef, Checkpoint, Log, LogFilter, MarketId
from keeper.ports import Reader, Records

log = structlog.get_logger()

SAVE_EVERY_RANGES = 25
BURIED = 64
"""Blocks below the head that a range must end for it to be claimed under way."""
SAMPLE = 64
"""Accounts of a checkpoint that are read again before any of it is used."""
MOST_MISSED_BLOCKS = 100_000
"""Balances of an older checkpoint are not used: too many were touched since."""


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

    async def compared(self, block: BlockRef) -> BlockRef | None:
        """What enough nodes have of the number of `block`; None where enough have nothing there.

        Raises ObservationError where too few say the same.
        """
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
    reader: Reader | None = None,
) -> Progress:
    """Admit every account that ever borrowed in `market` up to and including `upto`.

    `start_block`: the market's deployment, or None to find it by bisection of `eth_getCode`.
    `reader`: verifies a checkpoint's balances at `upto`; without one they are not used.
    """
    found: set[Address] = set()
    checkpoint, least = await _held_to(
        history, _of_this(market, await records.checkpoint(market.id))
    )
    balances = _Balances(market, checkpoint, reader, upto)
    if checkpoint is not None and await balances.falsified(history):
        checkpoint, least = None, 0
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
            if ranges % SAVE_EVERY_RANGES == 0 and least <= last <= upto.number - BURIED:
                await _save(market, records, await history.block(last), found)
    if not await balances.restore() and upto.number >= least and await _stands(history, upto):
        await _save(market, records, upto, found)
    return progress


class _Balances:
    """What a checkpoint says that accounts hold, on its way into the book."""

    def __init__(
        self,
        market: WatchedMarket[Any, Any],
        checkpoint: Checkpoint | None,
        reader: Reader | None,
        upto: BlockRef,
    ) -> None:
        self._market = market
        self._reader = reader
        self._upto = upto
        self._since = 0 if checkpoint is None else checkpoint.block.number
        usable = (
            checkpoint is not None
            and reader is not None
            and checkpoint.layout == market.layout
            and 0 <= upto.number - self._since <= MOST_MISSED_BLOCKS
        )
        self._kept = checkpoint.holdings if checkpoint is not None and usable else ()

    async def falsified(self, history: History) -> bool:
        """Leave out whom blocks since touched; say whether a sample of the others is wrong.

        Where that cannot be read, no balance is used, and the accounts are as good as before.
        """
        if not self._kept or self._reader is None:
            return False
        try:
            await self._leave_out_touched(history)
            wrong = await self._sampled(self._reader)
        except ObservationError as error:
            log.warning("checkpoint.unverified", market=self._market.id.name, reason=str(error))
            self._kept = ()
            return False
        if wrong is None:
            return False
        log.warning(
            "checkpoint.discarded",
            reason="an account does not hold what it says",
            market=self._market.id.name,
            account=wrong,
        )
        self._kept = ()
        return True

    async def _leave_out_touched(self, history: History) -> None:
        market, touched = self._market, set[Address]()
        if self._since < self._upto.number:
            async for _, _, logs in history.backfill(
                market.log_filter, self._since + 1, self._upto.number
            ):
                said = market.adapter.touched(market.market, logs)
                touched |= said.accounts | said.borrowers
        self._kept = tuple(h for h in self._kept if h.account not in touched)

    async def _sampled(self, reader: Reader) -> Address | None:
        """Return an account that does not hold what is said; None if all of the sample do."""
        chance = random.SystemRandom()
        sample = chance.sample(self._kept, min(SAMPLE, len(self._kept)))
        said = {holdings.account: holdings for holdings in sample}
        steps = self._market.adapter.observe(self._market.market, tuple(said), said.get)
        seen = await reader.run(steps, self._upto)
        return next((h.account for h in seen.holdings if h != said[h.account]), None)

    async def restore(self) -> int:
        """Put them into the book, some at a time; return how many it took."""
        put = 0
        for at in range(0, len(self._kept), KEPT_AT_ONCE):
            put += self._market.restore(self._kept[at : at + KEPT_AT_ONCE])
            await asyncio.sleep(0)
        if self._kept:
            log.info("checkpoint.restored", market=self._market.id.name, accounts=put)
        return put


async def save(records: Records, checkpoint: Checkpoint) -> None:
    """Save `checkpoint`.  One that the database does not take is warned of and not missed.

    It is a cache: the one before it stays, and another is saved when it is due.
    """
    try:
        await records.save_checkpoint(checkpoint)
    except JournalError as error:
        log.warning(
            "checkpoint.unsaved",
            market=checkpoint.market.name,
            block=checkpoint.block.number,
            reason=str(error),
        )


async def _save(
    market: WatchedMarket[Any, Any], records: Records, block: BlockRef, accounts: set[Address]
) -> None:
    checkpoint = Checkpoint(
        market=market.id,
        anchor=market.anchor,
        block=block,
        accounts=tuple(sorted(accounts)),
    )
    await save(records, checkpoint)


async def _stands(history: History, block: BlockRef) -> bool:
    """Whether `block` is known to be canonical; the next checkpoint is not far where it is not."""
    try:
        there = await history.compared(block)
    except ObservationError:
        return False
    return there is not None and there.hash == block.hash


def _of_this(market: WatchedMarket[Any, Any], checkpoint: Checkpoint | None) -> Checkpoint | None:
    """None for one that was made before the configuration named this market's contracts."""
    if checkpoint is None or checkpoint.anchor == market.anchor:
        return checkpoint
    log.warning(
        "checkpoint.discarded",
        reason=f"it is of the market of {checkpoint.anchor}, and this one is of {market.anchor}",
        market=market.id.name,
    )
    return None


async def _held_to(
    history: History, checkpoint: Checkpoint | None
) -> tuple[Checkpoint | None, int]:
    """Return the checkpoint if its block is canonical, and the least that another may claim.

    Raises ObservationError where that cannot be told.
    """
    if checkpoint is None:
        return None, 0
    block = checkpoint.block
    there = await history.compared(block)
    if there is None:
        log.warning("checkpoint.set_aside", market=checkpoint.market.name, block=block.number)
        return None, block.number
    if there.hash != block.hash:
        log.warning(
            "checkpoint.discarded",
            reason="its block is not canonical",
            market=checkpoint.market.name,
            block=block.number,
        )
        return None, 0
    return checkpoint, block.number
