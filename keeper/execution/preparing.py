"""From an intent to a plan that could be signed: encoded, funded, simulated, priced and capped.

Nothing here is written and nothing is signed: armed or not, every intent walks this path, so that a
rehearsal says what a submission would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.errors import ExecutionError, PolicyViolation
from keeper.execution.arming import Arming
from keeper.execution.fees import AtCap, initial_fees, leave_room
from keeper.execution.flash import FlashLoans, Funded
from keeper.execution.node import Footing, Ground, Node
from keeper.execution.planning import ExecutionSettings, draft, fee_cap
from keeper.execution.policy import SigningPolicy
from keeper.execution.pricing import Pricing
from keeper.execution.sending import Failpoint
from keeper.execution.simulate import Simulator
from keeper.model import Address, Call, Fees, Funding, Intent, IntentKind, Plan
from keeper.ports import Journal, MarketView
from keeper.units import Base, Wad, Wei

ZERO: Base = Base(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An intent that was encoded, simulated and planned."""

    plan: Plan
    fees: Fees
    health_after: Wad | None
    footing: Footing
    funded: Funded | None = None
    gas_wei: Wei | None = None
    """What it would cost at the block's own fee, as simulated."""


class Preparation:
    """Makes intents ready for one chain."""

    def __init__(
        self,
        *,
        node: Node,
        ground: Ground,
        journal: Journal | None,
        policy: SigningPolicy,
        arming: Arming,
        chain_id: int,
        pricing: Pricing,
        settings: ExecutionSettings,
        flash: FlashLoans | None,
        failpoint: Failpoint,
    ) -> None:
        """`journal`: where plans in flight are; None without a key, when there are none."""
        self._ground = ground
        self._journal = journal
        self._policy = policy
        self._arming = arming
        self._chain_id = chain_id
        self._pricing = pricing
        self._settings = settings
        self._flash = flash
        self._failpoint = failpoint
        self._simulator = Simulator(node)

    async def ready(self, intent: Intent, view: MarketView, sender: Address) -> Ready:
        """Encode, simulate, cap.  Nothing is written.  Raises what `submit` turns into words."""
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
        plans = await self._journal.open_plans(sender) if self._journal else ()
        busy = [p for p in plans if p.plan.intent.position == intent.position]
        if busy:
            raise PolicyViolation(
                f"{intent.position} has an action in flight: {busy[0].plan.intent.intent_id}."
            )
        pending = [p.plan for p in plans if p.nonce >= ground.nonce]
        tip = Wei(max(ground.tip_wei, self._settings.min_tip_wei))
        price = Wei(block.base_fee_wei + tip)
        funded = await self._fund(
            intent, view, pool=to, sender=sender, pending=pending, price_wei=price
        )
        if funded is not None:
            intent = funded.intent
        call = Call(to=to, data=data) if funded is None else funded.call
        simulated = await self._simulator.run(
            sender,
            call,
            self._pricing.health_call(intent, view),
            block,
            tuple(
                Call(to=p.to, data=p.data) for p in pending[-self._settings.simulate_in_flight :]
            ),
        )
        health_after = None if simulated.probe is None else self._pricing.health(simulated.probe)
        if _protects(intent) and health_after is not None and health_after <= intent.health_before:
            raise ExecutionError(
                f"It would not help: health would be {health_after} wad after it, it is"
                f" {intent.health_before} now."
            )
        if funded is not None:
            funded.judge(simulated.gas_used, price)
        self._failpoint("intent.simulated")
        cap = fee_cap(
            intent,
            simulated.gas_limit,
            self._policy.max_gas_wei if self._arming.armed else None,
            self._pricing.native(view),
            self._settings,
        )
        fees = initial_fees(block.base_fee_wei, tip, leave_room(cap))
        if isinstance(fees, AtCap):
            raise ExecutionError(
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
        )
        return Ready(
            plan=plan,
            fees=fees,
            health_after=health_after,
            footing=ground,
            funded=funded,
            gas_wei=Wei(simulated.gas_used * price),
        )

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
            raise ExecutionError("It needs a flash loan and no liquidator contract is configured.")
        return await self._flash.fund(
            intent,
            view,
            pool=pool,
            sender=sender,
            in_flight=frozenset(plan.intent.intent_id for plan in pending),
            price_wei=price_wei,
            native_price=self._pricing.native(view),
            deadline=view.block.timestamp + self._settings.deadline_s,
        )

    def note_sale(self, ready: Ready) -> None:
        if self._flash is not None and ready.funded is not None:
            block = ready.footing.block
            self._flash.took(ready.plan.intent.intent_id, block, ready.funded.sale)

    def _spends(self, intent: Intent, view: MarketView) -> Base:
        if intent.kind in (IntentKind.APPROVE, IntentKind.DEPLOY):
            return ZERO
        if intent.funding is Funding.FLASH:
            return ZERO
        spends = self._pricing.spends(intent, view)
        if spends is None:
            raise PolicyViolation(
                f"What {intent.amount} of {intent.asset.address} is worth is not known, so no cap"
                " can be kept."
            )
        return spends


def _protects(intent: Intent) -> bool:
    return intent.kind in (IntentKind.TOP_UP, IntentKind.REPAY)
