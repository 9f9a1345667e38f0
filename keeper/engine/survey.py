"""What people's rules measure, gathered at the end of a pass.

Prices, positions and the keeper's own balances are those of the pass.  Rates, liquidity and caps
are read besides, pinned to the same block, only where a rule asks for them and only after
everything was decided and sent: they cost one request a block then, and never a millisecond before.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from keeper.alerts.measures import Balances, Gauges, collateral_of
from keeper.alerts.rules import FROM_FACTS
from keeper.engine.market import Reading, WatchedMarket
from keeper.engine.passes import Pass
from keeper.errors import KeeperError
from keeper.model import Address, BlockRef, Inventory, MarketId, ReserveFacts, Rule
from keeper.ports import Metered, Reader
from keeper.units import Wei

log = structlog.get_logger()


class Surveyor:
    """Remembers the collateral of the block before: what moved is the difference."""

    def __init__(
        self,
        *,
        reader: Reader,
        markets: Mapping[str, WatchedMarket[Any, Any]],
        gas_wei: Callable[[], Wei | None],
    ) -> None:
        """`markets` by name; `gas_wei` is what the keeper's account has for gas, as last read."""
        self.last: dict[MarketId, Gauges] = {}
        self._reader = reader
        self._markets = markets
        self._gas_wei = gas_wei
        self._before: dict[MarketId, Balances] = {}
        self._known: dict[MarketId, frozenset[Address]] = {}

    async def survey(
        self,
        done: Pass,
        readings: Mapping[str, Reading],
        inventories: Mapping[str, Inventory],
        rules: Sequence[Rule],
    ) -> Mapping[MarketId, Gauges]:
        """Return the gauges of every market that was read in this pass."""
        wanted = any(rule.gauge in FROM_FACTS for rule in rules)
        found: dict[MarketId, Gauges] = {}
        for name, reading in readings.items():
            market = reading.view.market
            here = tuple(a for a in done.assessments if a.position.market == market)
            facts, unread = await self._facts(name, done.block) if wanted else (None, "")
            inventory = inventories.get(name)
            found[market] = Gauges(
                prices=reading.prices,
                assessments={a.position.account: a for a in here},
                facts=facts,
                unread=unread,
                balances=None if inventory is None else inventory.balances,
                gas_wei=self._gas_wei(),
                before=self._before.get(market),
                known_before=self._known.get(market, frozenset()),
            )
            now = collateral_of(here)
            # An account that is unknown at this block keeps what it had: what moved is told later.
            # Nor was who is carried over looked at.
            unknown = {a.position.account for a in here if not a.ok}
            unknown |= {a.position.account for a in done.carried if a.position.market == market}
            kept = {k: v for k, v in self._before.get(market, {}).items() if k[0] in unknown}
            self._before[market] = {**kept, **now}
            readable = {a.position.account for a in here if a.ok}
            self._known[market] = frozenset(readable | {account for account, _ in kept})
        self.last |= found
        return found

    async def facts(self, block: BlockRef) -> dict[MarketId, Gauges]:
        """Return the last gauges with what reserves have room for, read at `block`.

        For a rule that is written while none of its kind was asked for.
        """
        found = {}
        for market, gauges in self.last.items():
            facts, unread = gauges.facts, gauges.unread
            if facts is None:
                facts, unread = await self._facts(market.name, block)
            found[market] = Gauges(
                prices=gauges.prices,
                assessments=gauges.assessments,
                facts=facts,
                unread=unread,
                balances=gauges.balances,
                gas_wei=self._gas_wei(),
                before=gauges.before,
                known_before=gauges.known_before,
            )
        return found

    async def _facts(
        self, name: str, block: BlockRef
    ) -> tuple[Mapping[Address, ReserveFacts] | None, str]:
        """Return a market's reserves, or why they are not known."""
        market = self._markets[name]
        if not isinstance(market.adapter, Metered):
            return None, f"{market.id.protocol} does not say"
        try:
            facts = await self._reader.run(market.adapter.facts(market.market), block)
        except KeeperError as error:
            log.warning("reserves.unread", market=name, block=block.number, reason=str(error))
            return None, str(error)
        return {one.asset.address: one for one in facts}, ""
