"""From an intent to a plan that could be signed: encoded, funded, simulated, priced and capped.

Nothing here is written and nothing is signed: armed or not, every intent walks this path, so that a
rehearsal says what a submission would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.errors import (
    ExecutionError,
    GasTooDear,
    PolicyViolation,
)
from keeper.execution.arming import Arming
from keeper.execution.choosing import Tried
from keeper.execution.fees import AtCap, initial_fees, leave_room
from keeper.execution.flash import Funded, gas_cost
from keeper.execution.ledger import Ledger
from keeper.execution.lenders import REMEMBERED, Lender, Rivalled
from keeper.execution.node import Footing, Ground, Node
from keeper.execution.planning import ExecutionSettings, bid, draft, fee_cap
from keeper.execution.policy import SigningPolicy
from keeper.execution.pricing import Pricing
from keeper.execution.sending import Failpoint
from keeper.execution.simulate import Simulator
from keeper.execution.trying import Case, Start, Trial, assumed
from keeper.model import (
    Abandoned,
    Address,
    BlockRef,
    Call,
    Confirmed,
    Cost,
    Fees,
    Funding,
    Intent,
    IntentKind,
    OpenPlan,
    Outcome,
    Plan,
    Rehearsed,
    Supposed,
    Unknown,
)
from keeper.ports import MarketView
from keeper.strategies.text import usd
from keeper.units import Base, Wad, Wei

ZERO: Base = Base(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An intent that was encoded, simulated and planned."""

    plan: Plan
    fees: Fees
    health_after: Wad | None
    cost: Cost
    footing: Footing
    funded: Funded | None = None
    each_health_after: tuple[Wad | None, ...] = ()
    """Of a plan that carries several intents, in their order: after all of them."""

    @property
    def healths(self) -> tuple[Wad | None, ...]:
        """After it, of each intent that the plan carries."""
        return self.each_health_after or (self.health_after,)

    @property
    def rehearsed(self) -> Rehearsed:
        """What is said of it where nothing is sent."""
        return Rehearsed(plan=self.plan, health_after=self.health_after, cost=self.cost)


class Preparation:
    """Makes intents ready for one chain."""

    def __init__(
        self,
        *,
        node: Node,
        ground: Ground,
        ledger: Ledger | None,
        policy: SigningPolicy,
        arming: Arming,
        chain_id: int,
        pricing: Pricing,
        settings: ExecutionSettings,
        flash: Lender | None,
        failpoint: Failpoint,
    ) -> None:
        """`ledger`: what is in flight; None without a key, when there is nothing."""
        self._node = node
        self._ground = ground
        self._ledger = ledger
        self._policy = policy
        self._arming = arming
        self._chain_id = chain_id
        self._pricing = pricing
        self._settings = settings
        self._flash = flash
        self._failpoint = failpoint
        self._simulator = Simulator(node)
        self._offered: dict[str, str] = {}
        """By intent on its way: who offered its sale, where that was not Uniswap v3."""
        self._trial = Trial(
            node=node,
            simulator=self._simulator,
            pricing=pricing,
            settings=settings,
            chain_id=chain_id,
            flash=flash,
        )

    async def ready(self, intent: Intent, view: MarketView, sender: Address) -> Ready:
        """Encode, simulate, cap.  Nothing is written.  Raises what `submit` turns into words."""
        block = view.block
        start = await self._start(intent, view, sender)
        ground, tip, price = start.ground, start.tip, start.price
        tried = await self._way(intent, view, sender, start)
        funded, call, simulated, fee = tried.funded, tried.call, tried.simulated, tried.fee
        if funded is not None:
            intent = funded.intent
        health_after = None if simulated.probe is None else self._pricing.health(simulated.probe)
        if _protects(intent) and health_after is not None and health_after <= intent.health_before:
            raise ExecutionError(
                f"It would not help: health would be {health_after} wad after it, it is"
                f" {intent.health_before} now."
            )
        native = self._pricing.native(view)
        cost = cost_of(simulated.gas_used, price, fee.wei, native)
        if funded is not None:
            funded.judge(simulated.gas_used, price, fee.wei)
        spare = self._spare(intent, cost)
        tip = Wei(tip + bid(spare, self._settings.bid_share, native, simulated.gas_limit))
        self._failpoint("intent.simulated")
        cap = fee_cap(
            intent,
            simulated.gas_limit,
            self._policy.max_gas_wei if self._arming.armed else self._settings.most_gas_wei,
            native,
            self._settings,
            data_fee_wei=fee.most_wei,
        )
        fees = initial_fees(block.base_fee_wei, tip, leave_room(cap))
        if isinstance(fees, AtCap):
            raise GasTooDear(
                f"Gas costs {fees.needed_wei} wei a unit and {fees.cap_wei} is the most that this"
                " is worth or that the caps allow."
            )
        plan = draft(
            intent=intent,
            call=call,
            simulated=simulated,
            max_fee=cap,
            spends=self._spends(intent, view),
            block=block,
            settings=self._settings,
            data_fee_wei=fee.most_wei,
        )
        if funded is not None and funded.until is not None:
            plan = replace(plan, deadline=min(plan.deadline, funded.until))
        return Ready(
            plan=plan,
            fees=fees,
            health_after=health_after,
            cost=cost,
            footing=ground,
            funded=funded,
        )

    async def _way(self, intent: Intent, view: MarketView, sender: Address, start: Start) -> Tried:
        """Return how it is done, simulated: of several sales of the collateral the best one."""
        first: Funded | ExecutionError | None
        case = Case(
            intent=intent,
            view=view,
            sender=sender,
            start=start,
            in_flight=self._in_flight(start.pending),
        )
        try:
            first = await self._fund(
                intent,
                view,
                pool=start.call.to,
                sender=sender,
                pending=start.pending,
                price_wei=start.price,
            )
        except PolicyViolation:
            raise
        except ExecutionError as error:
            first = error
        return await self._trial.best(case, first)

    async def _start(self, intent: Intent, view: MarketView, sender: Address) -> Start:
        """Check that it may be prepared here and now, and read what it starts from."""
        block = view.block
        if intent.block.hash != block.hash:
            raise PolicyViolation(
                f"It was decided at block {intent.block.number}, the market was read at"
                f" {block.number}."
            )
        if intent.position.market.chain_id != self._chain_id:
            raise PolicyViolation(
                f"{intent.position} is on chain {intent.position.market.chain_id},"
                f" this executor acts on chain {self._chain_id}."
            )
        try:
            to, data = view.encode(intent)
        except (ValueError, OverflowError) as error:
            raise ExecutionError(f"It cannot be encoded: {error}.") from error
        ground = await self._ground.at(block, sender)
        plans = await self._plans(block)
        for plan in plans:
            for busy in plan.plan.intents:
                if busy.position == intent.position:
                    raise PolicyViolation(
                        f"{intent.position} has an action in flight: {busy.intent_id}."
                    )
        tip = Wei(max(ground.tip_wei, self._settings.min_tip_wei))
        return Start(
            call=Call(to=to, data=data),
            ground=ground,
            pending=[p.plan for p in plans if p.nonce >= ground.nonce],
            tip=tip,
            price=Wei(block.base_fee_wei + tip),
        )

    def _in_flight(self, pending: Sequence[Plan]) -> tuple[Call, ...]:
        last = pending[-self._settings.simulate_in_flight :]
        return tuple(Call(to=p.to, data=p.data) for p in last)

    def _spare(self, intent: Intent, cost: Cost) -> Base:
        """Return what a liquidation leaves above the floor after `cost`, for a bid to share.

        0 for everything else, and where the coin has no price.  Raises `Unprofitable`.
        """
        floor = self._settings.floor
        if intent.kind is not IntentKind.LIQUIDATE or floor is None or cost.value is None:
            return ZERO
        left = Base(intent.expected_profit - cost.value)
        if left < floor:
            raise GasTooDear(
                f"Not worth it: profit {usd(intent.expected_profit)}, gas about {usd(cost.value)}:"
                f" {usd(left)} is below the floor of {usd(floor)}."
            )
        return Base(left - floor)

    async def _plans(self, block: BlockRef) -> Sequence[OpenPlan]:
        """Return what is in flight, by nonce."""
        if self._ledger is None:
            return ()
        books = await self._ledger.at(block)
        return sorted(books.plans.values(), key=lambda plan: plan.nonce)

    async def rehearse_after(
        self,
        intent: Intent,
        view: MarketView,
        sender: Address,
        *,
        parent: BlockRef,
        after: Sequence[Supposed],
    ) -> bool:
        """Simulate `intent` in a child of `parent` behind `after`, for `ready` to find; or False.

        `view` is of that child, which does not exist yet: nothing is planned and nothing written.
        Loans are left out: their routes are asked for at a real block.  Raises as `ready`.
        """
        if intent.funding is not Funding.OWN:
            return False
        to, data = view.encode(intent)
        probe = self._pricing.health_call(intent)
        call = Call(to=to, data=data)
        await self._simulator.prepare(
            sender,
            call,
            probe,
            parent=parent,
            after=after,
            timestamp=view.block.timestamp,
            state=assumed(intent, view),
        )
        return True

    async def _fund(
        self,
        intent: Intent,
        view: MarketView,
        *,
        pool: Address,
        sender: Address,
        pending: Sequence[Plan],
        price_wei: Wei,
    ) -> Funded | None:
        """Return the loan and the sale of an intent that borrows; None for one that does not."""
        if intent.funding is Funding.OWN:
            return None
        if self._flash is None:
            raise ExecutionError("It needs borrowed money and no contract of ours is configured.")
        return await self._flash.fund(
            intent,
            view,
            pool=pool,
            sender=sender,
            in_flight=frozenset(i.intent_id for plan in pending for i in plan.intents),
            price_wei=price_wei,
            native_price=self._pricing.native(view),
            deadline=view.block.timestamp + self._settings.deadline_s,
        )

    def note_sale(self, ready: Ready) -> None:
        if self._flash is not None and ready.funded is not None:
            block, name = ready.footing.block, ready.plan.intent.intent_id
            self._flash.took(name, block, ready.funded.sale)
            if ready.funded.most is not None:
                self._offered[name] = ready.funded.source
                while len(self._offered) > REMEMBERED:  # a rehearsal never ends
                    del self._offered[next(iter(self._offered))]

    def note_end(self, outcome: Outcome) -> None:
        """Tell whoever offered the sale of a mined transaction what became of it."""
        intent = outcome.plan.intent
        if isinstance(outcome, Unknown):
            return
        source = self._offered.pop(intent.intent_id, None)
        if source is None or isinstance(outcome, Abandoned):
            return
        if isinstance(self._flash, Rivalled):
            self._flash.mined(intent.kind, source, succeeded=isinstance(outcome, Confirmed))

    def _spends(self, intent: Intent, view: MarketView) -> Base:
        if intent.kind in (IntentKind.APPROVE, IntentKind.DEPLOY):
            return ZERO
        if intent.funding is Funding.FLASH and intent.kind is IntentKind.LIQUIDATE:
            return ZERO  # a deleverage spends the borrower's: the caps count it
        spends = self._pricing.spends(intent, view)
        if spends is None:
            raise PolicyViolation(
                f"What {intent.amount} of {intent.asset.address} is worth is not known, so no cap"
                " can be kept."
            )
        return spends


def cost_of(gas_used: int, price_wei: Wei, fee_wei: Wei, native_price: Base | None) -> Cost:
    """Return what a transaction would pay at these prices."""
    value = gas_cost(gas_used, price_wei, native_price, fee_wei) if native_price else None
    return Cost(gas_used=gas_used, wei=Wei(gas_used * price_wei + fee_wei), value=value)


def _protects(intent: Intent) -> bool:
    return intent.kind in (IntentKind.TOP_UP, IntentKind.REPAY, IntentKind.DELEVERAGE)
