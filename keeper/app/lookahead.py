"""What is not so yet: queued decisions of governance, carried out on paper and told beforehand.

Beside the heads, in a task of its own: a node that cannot simulate costs the look-ahead and nothing
else.  What was told is remembered until the process ends: after a restart it is said once more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from keeper.alerts.lookahead import Outlook, Told, change_messages, worst
from keeper.app.chain import OpenChain
from keeper.chain.suppose import SupposingReader
from keeper.engine.chronicle import Telling
from keeper.engine.engine import Engine
from keeper.engine.market import WatchedMarket
from keeper.errors import ExecutionError, KeeperError
from keeper.model import (
    Address,
    BlockRef,
    Changed,
    PassRecord,
    Queued,
    Supposed,
)
from keeper.ports import ComparingAdapter, Records

log = structlog.get_logger()

AGAIN_S: Final = 3_600.0
"""What stays queued is carried out on paper anew this often: positions move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One thing that may come, and what it would make of one market."""

    outlook: Outlook
    changed: Changed | None
    """None: nothing that a position is judged by."""
    fails: str = ""
    """Why it would not do anything, or empty."""


async def queue_of(chain: OpenChain, controller: Address, block: BlockRef) -> tuple[Queued, ...]:
    """Return what governance has queued.  Raises BadAnswer where it is no PayloadsController."""
    for market in chain.markets.values():
        if isinstance(market.adapter, ComparingAdapter):
            return await chain.reader.run(market.adapter.queued(controller), block)
    return ()


async def foresee(
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    runs: Sequence[Supposed],
    *,
    accounts: frozenset[Address],
    at_s: int = 0,
) -> Changed | None:
    """Return what `runs` would change, were they mined after the block that the market was read at
    last, no earlier than `at_s`; None for nothing, and for a market that was not read.

    Raises SimulationReverted when one of them would revert, and ObservationError when the node
    cannot say.
    """
    before = market.last  # of one block with what it is compared with, whatever is read meanwhile
    if before is None:
        return None
    reader = SupposingReader(chain.rpc, runs, max(before.block.timestamp + 1, at_s))
    after = await reader.run(market.suppose(accounts), before.block)
    supposed = reader.supposed(before.block)
    return market.comparison(accounts).would(before, supposed, after)


async def foresee_queued(
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    queued: Queued,
    accounts: frozenset[Address],
) -> Foreseen:
    """Carry one queued decision out on paper, at the first instant at which it could be."""
    outlook = Outlook(name=queued.name, from_s=queued.from_s)
    try:
        changed = await foresee(
            chain, market, (queued.runs,), accounts=accounts, at_s=queued.from_s
        )
    except ExecutionError as error:
        return Foreseen(outlook=outlook, changed=None, fails=str(error))
    return Foreseen(outlook=outlook, changed=changed)


class LookAhead:
    """Asks again and again what is queued, and tells what it would do."""

    def __init__(
        self,
        *,
        chain: OpenChain,
        engine: Engine,
        records: Records,
        telling: Telling,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._engine = engine
        self._records = records
        self._telling = telling
        self._clock = clock
        self._simulated: dict[tuple[str, str], float] = {}
        self._said: set[str] = set()

    async def run(self, controller: Address, every_s: float) -> None:
        """Look for ever; a node that cannot say is asked again the next time."""
        while True:
            try:
                await self.look(controller)
            except KeeperError as error:
                log.warning("lookahead.unread", chain=self._chain.config.name, reason=str(error))
            await asyncio.sleep(every_s)

    async def look(self, controller: Address) -> tuple[Foreseen, ...]:
        """Look once, at the last block taken; return what was simulated."""
        if self._engine.last is None:
            return ()
        block = self._engine.last.block
        due = [
            (market, queued)
            for queued in await queue_of(self._chain, controller, block)
            for market in self._chain.markets.values()
            if self._due(queued.name, market.id.name)
        ]
        return tuple([await self._foresee(market, queued, block) for market, queued in due])

    def _due(self, name: str, market: str) -> bool:
        at = self._simulated.get((name, market))
        return at is None or self._clock() - at >= AGAIN_S

    async def _foresee(
        self, market: WatchedMarket[Any, Any], queued: Queued, block: BlockRef
    ) -> Foreseen:
        foreseen = await foresee_queued(self._chain, market, queued, market.watched)
        first = (queued.name, market.id.name) not in self._simulated
        if foreseen.fails and first:
            log.warning("lookahead.reverts", name=queued.name, reason=foreseen.fails)
        if foreseen.changed is not None:
            await self.tell(foreseen.changed, block, foreseen.outlook)
        # only now: what could not be written down is told at the next look
        self._simulated[queued.name, market.id.name] = self._clock()
        return foreseen

    async def tell(self, changed: Changed, block: BlockRef, outlook: Outlook) -> None:
        """Put what was not said yet into the outbox."""
        told = change_messages(
            changed,
            block=block,
            watches=self._engine.watches,
            operators=self._telling.operators,
            thresholds=self._telling.thresholds,
            manners=await self._records.manners(),
            outlook=outlook,
            speech=self._telling.speech,
        )
        fresh = Told(
            messages=tuple(m for m in told.messages if self._is_new(m.key, block)),
            held=tuple(line for line in told.held if self._is_new(line.key, block)),
        )
        if fresh.messages or fresh.held:
            log.warning("parameters.foreseen", name=outlook.name, **worst(changed))
            record = PassRecord(block=block, messages=fresh.messages, held=fresh.held)
            await self._records.record(record)
            self._said |= {_lasting(message.key, block) for message in fresh.messages}
            self._said |= {_lasting(line.key, block) for line in fresh.held}

    def _is_new(self, key: str, block: BlockRef) -> bool:
        return _lasting(key, block) not in self._said


def _lasting(key: str, block: BlockRef) -> str:
    """A message's key without the block that it was said at."""
    return key.replace(block.hash, "")
