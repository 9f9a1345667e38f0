"""From a change of the head to readings of every market at it: its logs and one packed read.

Both are asked for at once: what is read at each block does not depend on its logs.  Whoever they
speak of is read after them, at the same block; at most blocks of most markets that is nobody.

Blocks whose logs could not be heard stay on a list, so that a node that stumbles costs time and
nothing else.  A market that cannot be read costs itself only.

Blocks that are heard while a market has to be learnt again may speak of tokens that nobody knows
yet: of a reserve they list, or one before them did.  If it turns out to have more to listen to,
they are heard once more, and no checkpoint claims them before that.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from keeper.alerts.lookahead import worst
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import KeeperError, ObservationError
from keeper.model import Address, BlockRef, Hash, Inventory, Log, LogFilter, ReadAccounts
from keeper.ports import Advance, Reader, Steps

log = structlog.get_logger()

REMEMBERED = 64
"""Blocks kept to claim as a checkpoint's: the oldest of them is buried deep enough."""
HEARD_AGAIN: Final = 32
"""Half-heard blocks that are heard again at one head: each is a request that the head waits for."""
NOBODY: Final = ReadAccounts(holdings=(), unreadable=())

_Answers = dict[WatchedMarket[Any, Any], tuple[Any, Any, Any]]
"""By market: its observation, its oracles' rounds and the inventory, or what failed of them."""


class BlockLogs(Protocol):
    """Event logs of one chain."""

    wanted: LogFilter

    async def at(self, block: BlockRef) -> tuple[Log, ...]:
        """The wanted logs of one block, asked for by its hash."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was read at one head."""

    readings: Mapping[str, Reading]
    """By market name; a market that could not be read is missing."""
    inventories: Mapping[str, Inventory]
    """By market name, where the keeper has an account."""
    unread: Mapping[str, str]
    """Markets that could not be read, and why."""
    rpc_calls: int
    """Requests it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _HalfHeard:
    """Blocks that were heard while a market was to be learnt again."""

    wanted: LogFilter
    """What the market listened to at the first of them."""
    blocks: list[BlockRef]
    """Oldest first: up to the last one heard, less those that were heard again."""


class Observer:
    """Keeps the books of one chain at its head."""

    def __init__(
        self,
        *,
        markets: Sequence[WatchedMarket[Any, Any]],
        owners: Mapping[str, Address | None],
        logs: BlockLogs,
        reader: Reader,
        rpc_calls: Callable[[], int],
    ) -> None:
        """`owners`: the keeper's own account by market; `rpc_calls` counts requests so far."""
        self.markets = tuple(markets)
        self._owners = owners
        self._logs = logs
        self._reader = reader
        self._rpc_calls = rpc_calls
        self._unheard: list[BlockRef] = []
        self._half_heard: dict[WatchedMarket[Any, Any], _HalfHeard] = {}
        self._recent: dict[Hash, BlockRef] = {}
        self._doubted_from = math.inf
        """Number of the lowest block that was taken in doubt and is not beyond it since."""

    @property
    def oldest(self) -> BlockRef | None:
        """The oldest canonical block remembered, for checkpoints.

        None if it was half heard, or taken in doubt: it may be what one node made up.
        """
        oldest = next(iter(self._recent.values()), None)
        if oldest is None or oldest.number >= self._doubted_from:
            return None
        return None if any(oldest in half.blocks for half in self._half_heard.values()) else oldest

    async def observe(
        self, advance: Advance, watching: Awaitable[Mapping[str, frozenset[Address]]]
    ) -> Observed:
        """Follow `advance` and read every market at its head.

        `watching`: accounts to keep in each book, debt or not; awaited while the node is asked.
        Raises what that raises, and ObservationError when the logs or the block as a whole cannot
        be had; nothing is forgotten then.
        """
        calls_before = self._rpc_calls()
        head = advance.adopted[-1]
        self._follow(advance)
        read = await self._hear_and_read(head, watching)
        stale = tuple(m for m in self.markets if m.must_discover)  # what was read is for nothing
        unread = await self.discover(head)
        unread |= await self._hear_again()
        read = {market: answers for market, answers in read.items() if market not in stale}
        read |= await self._read(tuple(m for m in stale if m.id.name not in unread), head)
        besides = await self._read_besides(read, head)
        readings: dict[str, Reading] = {}
        inventories: dict[str, Inventory] = {}
        for market, (seen, rounds, inventory) in read.items():
            name = market.id.name
            failed = next((a for a in (seen, rounds) if isinstance(a, KeeperError)), None)
            more = besides.get(market, NOBODY)
            if failed is not None or isinstance(more, KeeperError):
                unread[name] = str(failed or more)
                market.must_discover = True
                continue
            readings[name] = market.take(head, seen, rounds, more)
            if isinstance(inventory, KeeperError):
                log.warning("inventory.unread", market=name, reason=str(inventory))
            elif inventory is not None:
                inventories[name] = inventory
        _report(head, readings, unread)
        if not readings:
            raise ObservationError(next(iter(unread.values()), "there is no market"))
        return Observed(
            readings=readings,
            inventories=inventories,
            unread=unread,
            rpc_calls=self._rpc_calls() - calls_before,
        )

    def _follow(self, advance: Advance) -> None:
        """Take back what was orphaned and put what was adopted on the list."""
        lowest = min(self._doubted_from, advance.adopted[0].number)
        self._doubted_from = lowest if advance.doubt else math.inf
        pending = {block.hash for block in self._unheard}
        for block in advance.orphaned:
            self._recent.pop(block.hash, None)
            self._unheard = [b for b in self._unheard if b.hash != block.hash]
            for half in self._half_heard.values():
                half.blocks[:] = [b for b in half.blocks if b.hash != block.hash]
            for market in self.markets:
                # where its logs are still waited for nothing was read at it or after it either
                if block.hash not in pending or market.heard(block):
                    market.unhear(block)
        self._unheard += advance.adopted
        self._logs.wanted = union([m.log_filter for m in self.markets])

    async def _hear_and_read(
        self, head: BlockRef, watching: Awaitable[Mapping[str, frozenset[Address]]]
    ) -> _Answers:
        """Take the logs, read the markets that are known, and take what is watched: all at once."""
        reading = asyncio.ensure_future(self._read(self.markets, head))  # the longest: first
        hearing = asyncio.ensure_future(self._hear())
        watches = asyncio.ensure_future(watching)
        try:
            await hearing
            watched = await watches
            read = await reading
        finally:
            await _over(reading, hearing, watches)
        for market in self.markets:
            market.watch(watched[market.id.name])
        return read

    async def discover(self, block: BlockRef) -> dict[str, str]:
        """Learn again every market that must be; return those that could not be, and why."""
        failed: dict[str, str] = {}
        for market in self.markets:
            if not market.must_discover:
                continue
            try:
                await self._reader.run(market.discover(), block)
            except KeeperError as error:
                failed[market.id.name] = str(error)
                continue
            log.info(
                "market.discovered",
                market=market.id.name,
                block=block.number,
                feeds=len(market.feeds),
            )
        return failed

    async def _hear(self) -> None:
        """Take the logs of every block not heard yet, oldest first."""
        while self._unheard:
            block = self._unheard[0]
            logs = await self._logs.at(block)
            for market in self.markets:
                market.hear(block, logs)
                if market.must_discover:
                    fresh = _HalfHeard(wanted=market.log_filter, blocks=[])
                    self._half_heard.setdefault(market, fresh).blocks.append(block)
            self._recent[block.hash] = block
            self._unheard.pop(0)
        while len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]

    async def _hear_again(self) -> dict[str, str]:
        """Hear half-heard blocks of markets that were learnt and have more to listen to than then.

        `HEARD_AGAIN` of them at a head, so that nobody waits for long; one request a block, as when
        they were missed altogether.  Return the markets for which it failed, and why: they are
        learnt again at the next head, and go on from there.
        """
        failed: dict[str, str] = {}
        self._logs.wanted = union([m.log_filter for m in self.markets])
        for market, half in tuple(self._half_heard.items()):
            if market.must_discover:
                continue
            if half.blocks and _lets_more_through(market.log_filter, half.wanted):
                try:
                    await self._hear_half(market, half.blocks)
                except KeeperError as error:
                    market.must_discover = True
                    failed[market.id.name] = str(error)
                    continue
                if half.blocks:
                    continue
            del self._half_heard[market]
        return failed

    async def _hear_half(self, market: WatchedMarket[Any, Any], blocks: list[BlockRef]) -> None:
        log.info(
            "logs.heard_again", market=market.id.name, first=blocks[0].number, blocks=len(blocks)
        )
        for _ in range(min(HEARD_AGAIN, len(blocks))):
            market.hear(blocks[0], await self._logs.at(blocks[0]))
            blocks.pop(0)
        market.must_discover = False  # what they say of parameters was learnt at the head

    async def _read(self, markets: Sequence[WatchedMarket[Any, Any]], head: BlockRef) -> _Answers:
        """Read those that are known, all in one request: three reads each.

        What fails of one stands in the place of its answer.
        """
        steps: list[Steps[Any]] = []
        known = tuple(market for market in markets if not market.must_discover)
        for market in known:
            owner = self._owners[market.id.name]
            inventory = (
                _nothing()
                if owner is None
                else market.adapter.inventory(market.market, owner, head)
            )
            steps += [market.observe(whole=False), market.rounds(), inventory]
        if not steps:
            return {}
        answers = await self._reader.run_all_settled(steps, head)
        threes = zip(answers[0::3], answers[1::3], answers[2::3], strict=True)
        return dict(zip(known, threes, strict=True))

    async def _read_besides(
        self, read: _Answers, head: BlockRef
    ) -> Mapping[WatchedMarket[Any, Any], ReadAccounts | KeeperError]:
        """Read whom the logs and the watches put on the lists meanwhile, and who was left."""
        some = tuple(
            market
            for market, (seen, _, _) in read.items()
            if not isinstance(seen, KeeperError) and market.left_over(seen)
        )
        if not some:
            return {}
        answers = await self._reader.run_all_settled([m.observe_besides() for m in some], head)
        return dict(zip(some, answers, strict=True))


def _lets_more_through(now: LogFilter, then: LogFilter) -> bool:
    """Whether `now` has an address or a topic that `then` had not; no topic at all is any."""
    topics = then.topics0 and not (now.topics0 and set(now.topics0) <= set(then.topics0))
    return bool(topics) or not set(now.addresses) <= set(then.addresses)


def _report(head: BlockRef, readings: Mapping[str, Reading], unread: Mapping[str, str]) -> None:
    """Log what an operator should know of this read."""
    for name, reading in readings.items():
        for account in reading.repaired:
            log.warning("book.repaired", market=name, account=account, block=head.number)
        if reading.distrusted:
            log.warning(
                "checkpoint.discarded",
                reason="an account does not hold what it says",
                market=name,
                accounts=reading.distrusted,
            )
        for found in reading.rotated:
            log.warning(
                "feed.rotated",
                market=name,
                feed=found.feed.description,
                address=found.feed.address,
                phase=found.phase,
                was=found.was,
                block=head.number,
            )
        if reading.changed is not None:
            log.warning("parameters.changed", block=head.number, **worst(reading.changed))
    for name, reason in unread.items():
        log.warning("market.unread", market=name, block=head.number, reason=reason)


def _nothing() -> Steps[None]:
    """Read nothing."""
    return None
    yield ()


async def _over(*tasks: asyncio.Future[Any]) -> None:
    """End what nobody waits for any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def union(filters: Sequence[LogFilter]) -> LogFilter:
    """Return one filter that lets through what any of `filters` does."""
    return LogFilter(
        addresses=tuple(dict.fromkeys(a for f in filters for a in f.addresses)),
        topics0=tuple(dict.fromkeys(t for f in filters for t in f.topics0)),
    )
