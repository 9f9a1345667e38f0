"""What waits to be mined: oracle updates are decided on beforehand, changes of parameters foretold.

Nothing is ever sent because of what waits: `Engine.take` decides anew at the block that brings it,
and finds the simulation ready if everything is as it was supposed to be.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from keeper.alerts.lookahead import Outlook
from keeper.alerts.numbers import short
from keeper.app.chain import OpenChain
from keeper.app.lookahead import LookAhead, foresee
from keeper.chain.pending import PendingTransactions, PendingTx, mentions
from keeper.chain.suppose import SupposingReader
from keeper.engine.anticipate import Anticipated
from keeper.engine.engine import Engine
from keeper.errors import KeeperError
from keeper.execution.executor import TxExecutor
from keeper.execution.pair import PairedExecutor
from keeper.model import Address, Supposed
from keeper.ports import ComparingAdapter

log = structlog.get_logger()

WAITING_MOST: Final = 64
PREPARED_MOST: Final = 8
"""Intents simulated for one update: more would not be ready in time."""


class Anticipation:
    """Takes what waits and gets ready for it, one transaction at a time."""

    def __init__(
        self,
        *,
        chain: OpenChain,
        engine: Engine,
        executor: TxExecutor | PairedExecutor,
        ahead: LookAhead,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._engine = engine
        self._executor = executor
        self._ahead = ahead
        self._clock = clock
        self._waiting: asyncio.Queue[PendingTx] = asyncio.Queue(WAITING_MOST)

    def subscription(self) -> PendingTransactions:
        """Return what is to run beside `run`."""
        config = self._chain.config
        return PendingTransactions(
            config.pushing, config.chain_id, concerns=self.concerns, take=self.take
        )

    def concerns(self, runs: Supposed) -> bool:
        """Whether a transaction may move a price or a parameter of ours."""
        return runs.to in self._governing() or mentions(runs, self._aggregators())

    def take(self, pending: PendingTx) -> None:
        """Put it into the queue; what finds it full is dropped, its block will tell."""
        if not self._waiting.full():
            self._waiting.put_nowait(pending)

    async def run(self) -> None:
        """Get ready for ever; what cannot be supposed costs itself only."""
        while True:
            pending = await self._waiting.get()
            try:
                await self.consider(pending)
            except KeeperError as error:
                log.info("update.unanticipated", tx=pending.hash, reason=str(error))

    async def consider(self, pending: PendingTx) -> Anticipated | None:
        """Get ready for one transaction; return what was decided if it moves a price."""
        if pending.runs.to in self._governing():
            await self._foretell(pending)
            return None
        return await self._prepare(pending)

    async def _foretell(self, pending: PendingTx) -> None:
        if self._engine.last is None:
            return
        block = self._engine.last.block
        outlook = Outlook(name=f"transaction {short(pending.hash)}", from_s=None)
        for market in self._chain.markets.values():
            changed = await foresee(self._chain, market, (pending.runs,), accounts=market.watched)
            if changed is not None:
                await self._ahead.tell(changed, block, outlook)

    async def _prepare(self, pending: PendingTx) -> Anticipated | None:
        if self._engine.last is None:
            return None
        began = self._clock()
        parent, after = self._engine.last.block, (pending.runs,)
        next_at = parent.timestamp + max(1, round(self._chain.config.block_time_s))
        reader = SupposingReader(self._chain.rpc, after, next_at)
        found = await self._engine.anticipate(reader, reader.supposed(parent))
        ready = [
            await self._executor.prepare(intent, view, parent=parent, after=after)
            for intent, view in found.intents[:PREPARED_MOST]
        ]
        log.info(
            "update.anticipated",
            tx=pending.hash,
            parent=parent.number,
            endangered=len(found.endangered),
            intents=len(found.intents),
            ready=sum(ready),
            took_ms=round((self._clock() - began) * 1e3),
        )
        return found

    def _aggregators(self) -> frozenset[Address]:
        return frozenset(
            feed.aggregator or feed.address
            for market in self._chain.markets.values()
            for feed in market.feeds
        )

    def _governing(self) -> frozenset[Address]:
        controller = self._chain.config.payloads_controller
        return frozenset(
            address
            for market in self._chain.markets.values()
            if isinstance(market.adapter, ComparingAdapter)
            for address in market.adapter.governed_by(market.market)
        ) | (frozenset() if controller is None else frozenset({controller}))
