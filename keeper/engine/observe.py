"""From a change of the head to readings of every market at it: logs, then one packed read.

Blocks whose logs could not be heard stay on a list, so that a node that stumbles costs time and
nothing else.  A market that cannot be read costs itself only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from keeper.alerts.lookahead import worst
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import KeeperError, ObservationError
from keeper.model import Address, BlockRef, Hash, Inventory, Log, LogFilter
from keeper.ports import Advance, Reader, Steps

log = structlog.get_logger()

REMEMBERED = 64
"""Blocks kept to claim as a checkpoint's: the oldest of them is buried deep enough."""


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
        self._recent: dict[Hash, BlockRef] = {}

    @property
    def oldest(self) -> BlockRef | None:
        """The oldest canonical block remembered, for checkpoints."""
        return next(iter(self._recent.values()), None)

    async def observe(
        self, advance: Advance, watched: Mapping[str, frozenset[Address]]
    ) -> Observed:
        """Follow `advance` and read every market at its head.

        `watched`: accounts to keep in each book, debt or not.  Raises ObservationError when the
        logs or the block as a whole cannot be had; nothing is forgotten then.
        """
        calls_before = self._rpc_calls()
        head = advance.adopted[-1]
        pending = {block.hash for block in self._unheard}
        for block in advance.orphaned:
            self._recent.pop(block.hash, None)
            self._unheard = [b for b in self._unheard if b.hash != block.hash]
            for market in self.markets:
                # where its logs are still waited for nothing was read at it or after it either
                if block.hash not in pending or market.heard(block):
                    market.unhear(block)
        self._unheard += advance.adopted
        await self._hear()
        for market in self.markets:
            market.watch(watched[market.id.name])

        unread = await self.discover(head)
        there = tuple(m for m in self.markets if m.id.name not in unread)
        answers = await self._reader.run_all_settled(self._steps(there, head), head)
        readings: dict[str, Reading] = {}
        inventories: dict[str, Inventory] = {}
        for market, (seen, rounds, inventory) in zip(there, _threes(answers), strict=True):
            name = market.id.name
            failed = next((a for a in (seen, rounds) if isinstance(a, KeeperError)), None)
            if failed is not None:
                unread[name] = str(failed)
                market.must_discover = True
                continue
            readings[name] = market.take(head, seen, rounds)
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
        self._logs.wanted = union([m.log_filter for m in self.markets])
        while self._unheard:
            block = self._unheard[0]
            logs = await self._logs.at(block)
            for market in self.markets:
                market.hear(block, logs)
            self._recent[block.hash] = block
            self._unheard.pop(0)
        while len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _steps(
        self, markets: Sequence[WatchedMarket[Any, Any]], head: BlockRef
    ) -> list[Steps[Any]]:
        """Three reads a market, all of which go into one request."""
        steps: list[Steps[Any]] = []
        for market in markets:
            owner = self._owners[market.id.name]
            inventory = (
                _nothing()
                if owner is None
                else market.adapter.inventory(market.market, owner, head)
            )
            steps += [market.observe(), market.rounds(), inventory]
        return steps


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


def _threes(answers: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    return list(zip(answers[0::3], answers[1::3], answers[2::3], strict=True))


def union(filters: Sequence[LogFilter]) -> LogFilter:
    """Return one filter that lets through what any of `filters` does."""
    return LogFilter(
        addresses=tuple(dict.fromkeys(a for f in filters for a in f.addresses)),
        topics0=tuple(dict.fromkeys(t for f in filters for t in f.topics0)),
    )
