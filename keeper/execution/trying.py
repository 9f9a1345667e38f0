"""One intent's ways of being funded, each simulated whole, and the best of them.

Uniswap v3's pools are asked at the block; once they answered the others are, while the whole
transaction over the pools is simulated.  What others offer is simulated by the same path at the
same hash.  Whatever is wrong with them costs the pools' sale their patience and nothing else.
"""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import structlog

from keeper.errors import ExecutionError, KeeperError
from keeper.execution.choosing import Tried, Way, choose, proved
from keeper.execution.data_fee import data_fee
from keeper.execution.flash import GAS_GUESS, Funded, gas_cost
from keeper.execution.lenders import Lender, Rivalled
from keeper.execution.node import Footing, Node
from keeper.execution.planning import ExecutionSettings
from keeper.execution.pricing import Pricing
from keeper.execution.rivals import Refused
from keeper.execution.simulate import Simulator
from keeper.model import Address, Call, Funding, Intent, Plan
from keeper.ports import MarketView
from keeper.units import Wei

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What an intent's preparation starts from."""

    call: Call
    """The market's own."""
    ground: Footing
    pending: Sequence[Plan]
    tip: Wei
    price: Wei
    """Base fee and tip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is to be done, where, by whom and after what."""

    intent: Intent
    view: MarketView
    sender: Address
    start: Start
    in_flight: tuple[Call, ...]


class Trial:
    """Simulates ways of doing something, for one chain."""

    def __init__(
        self,
        *,
        node: Node,
        simulator: Simulator,
        pricing: Pricing,
        settings: ExecutionSettings,
        chain_id: int,
        flash: Lender | None,
    ) -> None:
        self._node = node
        self._simulator = simulator
        self._pricing = pricing
        self._settings = settings
        self._chain_id = chain_id
        self._flash = flash

    def asks_others(self, intent: Intent, view: MarketView, price_wei: Wei) -> bool:
        """Tell whether anybody besides Uniswap v3's pools could still be asked for its sale.

        Nobody is where a sale that costs nothing would not be worth its gas either, nor once the
        block's time for asking is over.
        """
        lender = self._lender(intent, view, price_wei)
        return lender is not None and lender.may_answer(intent.kind, view.block)

    async def best(self, case: Case, first: Funded | ExecutionError | None) -> Tried:
        """Return the way that leaves most, simulated.

        `first`: over Uniswap v3's pools, or why not; None for what borrows nothing.
        Raises what is wrong with it where no other will do.
        """
        lender = self._lender(case.intent, case.view, case.start.price)
        if lender is None:
            if isinstance(first, ExecutionError):
                raise first
            return await self._try(case, first)
        over_pools, others = await asyncio.gather(
            self._try_or_say(case, first), self._others(lender, case, first)
        )
        if isinstance(over_pools, ExecutionError) and not others:  # asked only now
            others = await self._others(lender, case, over_pools)
        return choose(over_pools, others, case.start.price)

    def _lender(self, intent: Intent, view: MarketView, price_wei: Wei) -> Rivalled | None:
        lender = self._flash
        if intent.funding is Funding.OWN or not isinstance(lender, Rivalled):
            return None
        gas = gas_cost(GAS_GUESS, price_wei, self._pricing.native(view))
        worth_it = intent.expected_profit - gas >= (self._settings.floor or 0)
        return lender if worth_it and lender.has_rivals(intent.kind) else None

    async def _try(self, case: Case, funded: Funded | None) -> Tried:
        """Simulate it as it would be sent.  Raises `SimulationReverted`."""
        view = case.view
        intent = case.intent if funded is None else funded.intent
        call = case.start.call if funded is None else funded.call
        simulated, fee = await asyncio.gather(
            self._simulator.run(
                case.sender,
                call,
                self._pricing.health_call(intent),
                view.block,
                case.in_flight,
                state=assumed(intent, view),
            ),
            data_fee(self._node, self._settings.data_fee, call, self._chain_id, view.block),
        )
        # Some nodes of such rollups count it already: then the limit is a little wider.
        simulated = replace(simulated, gas_used=simulated.gas_used + fee.gas)
        return Tried(call=call, simulated=simulated, fee=fee, funded=funded)

    async def _try_or_say(
        self, case: Case, funded: Funded | ExecutionError | None
    ) -> Tried | ExecutionError:
        """Simulate and judge it, or return why not: then another may do."""
        if isinstance(funded, ExecutionError):
            return funded
        try:
            tried = await self._try(case, funded)
            if funded is not None:
                funded.judge(tried.simulated.gas_used, case.start.price, tried.fee.wei)
        except ExecutionError as error:
            return error
        return tried

    async def _others(
        self, lender: Rivalled, case: Case, first: Funded | ExecutionError | None
    ) -> list[Way]:
        """Return what others offer, simulated, or why nothing came of it."""
        try:
            found = await lender.rivals(
                case.intent,
                case.view,
                first=None if isinstance(first, ExecutionError) else first,
                pool=case.start.call.to,
                sender=case.sender,
                price_wei=case.start.price,
                native_price=self._pricing.native(case.view),
                deadline=case.view.block.timestamp + self._settings.deadline_s,
            )
            ways = list(await asyncio.gather(*(self._prove(case, one) for one in found)))
        except KeeperError as error:
            ways = [Refused(source="all of them", reason=str(error))]
        for way in ways:
            if isinstance(way, Refused):
                log.info("route.refused", source=way.source, reason=way.reason)
        return ways

    async def _prove(self, case: Case, found: Funded | Refused) -> Way:
        if isinstance(found, Refused):
            return found
        try:
            tried = await self._try(case, found)
        except KeeperError as error:
            return Refused(source=found.source, reason=str(error))
        return proved(tried, case.start.price)


def assumed(intent: Intent, view: MarketView) -> Hashable:
    """Return what a simulation of `intent` stands on: everything that it was sized by.

    The health before it follows from every price, index and balance of the account, to the wad: a
    block in which the supposed update is missing, or another came, has another one.  The prices of
    what is paid and seized are there for themselves: of both moving together health says nothing.
    """
    assets = (intent.asset, intent.collateral)
    return (
        intent.kind,
        intent.position,
        intent.amount,
        intent.covers,
        intent.seized,
        intent.health_before,
        intent.value_at_risk,
        intent.expected_profit,
        tuple(None if asset is None else view.price_of(asset.address) for asset in assets),
    )
