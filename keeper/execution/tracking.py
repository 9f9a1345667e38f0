"""Carries out what `progress` says for every open plan, at one head.

At start this is recovery: the same steps, with claims of the dead process given up.

One class, though it is long: what a plan's end is, says and leaves behind is decided by one look.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import structlog

from keeper.errors import KeeperError, ObservationError, SimulationReverted
from keeper.execution.arming import Arming
from keeper.execution.liquidator import decode_results
from keeper.execution.node import Footing, Node, nonce_at_height, parse_bytes, pinned_to
from keeper.execution.pricing import Pricing
from keeper.execution.progress import (
    Bump,
    Cancel,
    MarkMined,
    NonceHole,
    NonceStolen,
    ProgressRules,
    Rebroadcast,
    Settle,
    Situation,
    Stuck,
    Unmine,
    Wait,
    deep_enough,
    instead_of,
    next_step,
)
from keeper.execution.sending import Failpoint, Sender
from keeper.execution.simulate import Simulator, estimate
from keeper.execution.together import ends
from keeper.execution.transaction import cancellation, cancelling, transaction
from keeper.model import (
    Abandoned,
    AuditEvent,
    Call,
    Confirmed,
    Ended,
    Intent,
    IntentKind,
    Message,
    OpenPlan,
    Outcome,
    Plan,
    Receipt,
    Reverted,
    TxState,
    Unknown,
)
from keeper.ports import Journal
from keeper.units import Rounding, Wad, mul_div

log = structlog.get_logger()

OnSettled = Callable[[Outcome, Wad | None], tuple[Sequence[Message], Sequence[AuditEvent]]]
"""Pure: the messages and audit rows that are written with the end of an intent, and with the health
at the end of the block that it was mined in: None where nothing was done or it was not read."""

SELLING: Final = frozenset({IntentKind.LIQUIDATE, IntentKind.DELEVERAGE})
"""What is outdated when somebody else was faster or an exchange moved."""
AT_ONCE: Final = 32
"""Plans that the node is asked about side by side."""
HEALTH_PATIENCE_S: Final = 2.0
"""How long a settlement waits for a health that is only said."""
MOST_STEPS: Final = 6
"""Per plan and head: unmine, mark, settle and one send; more would be a loop."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What all plans of one pass share."""

    footing: Footing
    plans: tuple[OpenPlan, ...]
    recovering: bool

    @cached_property
    def lowest_open(self) -> int:
        """Lowest nonce of all open plans."""
        return min(plan.nonce for plan in self.plans)

    @cached_property
    def highest_signed(self) -> int | None:
        """Highest nonce of those that were signed."""
        return max((plan.nonce for plan in self.plans if plan.attempts), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the chain says of one plan at this head."""

    receipts: tuple[Receipt, ...]
    deep_nonce: int | None
    """Of the signer some blocks ago, where the nonce is used and nothing of ours used it."""
    healths: Mapping[str, Wad]
    """By intent, at the end of the block that it was mined in, once that is deep enough."""


class Tracker:
    """Follows open plans to their end."""

    def __init__(
        self,
        *,
        node: Node,
        journal: Journal,
        sender: Sender,
        arming: Arming,
        rules: ProgressRules,
        pricing: Pricing,
        on_settled: OnSettled,
        failpoint: Failpoint,
    ) -> None:
        self._node = node
        self._journal = journal
        self._sender = sender
        self._arming = arming
        self._rules = rules
        self._pricing = pricing
        self._on_settled = on_settled
        self._failpoint = failpoint
        self._simulator = Simulator(node)
        self._doubts: dict[str, tuple[int, str]] = {}
        self._told: dict[str, set[str]] = {}
        self.dead_claims: set[str] = set()
        """Intents whose claim this process gave up without being able to say so."""

    @property
    def in_doubt(self) -> str:
        """Return why no new nonce may be taken although the key is still armed, or nothing."""
        if not self._doubts:
            return ""
        return (
            "the signer's nonce does not agree with the journal; it is looked at again next block"
        )

    async def run(self, shared: Pass) -> tuple[Outcome, ...]:
        """Take every plan as far as this head allows; what ended, and what newly is unclear."""
        self.forget_all_but({plan.plan.intent.intent_id for plan in shared.plans})
        outcomes: list[Outcome] = []
        for start in range(0, len(shared.plans), AT_ONCE):
            some = shared.plans[start : start + AT_ONCE]
            seen = await asyncio.gather(
                *(self._seen(plan, shared) for plan in some), return_exceptions=True
            )
            for plan, answer in zip(some, seen, strict=True):
                outcomes += await self._follow(plan, answer, shared)
        return tuple(outcomes)

    def forget_all_but(self, known: AbstractSet[str]) -> None:
        """Drop what is remembered of intents that are not open any more."""
        self._doubts = {k: v for k, v in self._doubts.items() if k in known}
        self._told = {k: v for k, v in self._told.items() if k in known}
        self.dead_claims &= known

    async def _follow(
        self, plan: OpenPlan, seen: Seen | BaseException, shared: Pass
    ) -> tuple[Outcome, ...]:
        """Return the outcome of each intent that ended, or that newly is not known."""
        intent_id = plan.plan.intent.intent_id
        try:
            if isinstance(seen, BaseException):
                raise seen
            situation = self._situation(plan, seen, shared)
            outcome = await self._steps(plan, situation, shared, seen.healths)
        except KeeperError as error:
            log.warning("plan.unfollowed", intent=intent_id, nonce=plan.nonce, reason=str(error))
            outcome = Unknown(plan=plan.plan, reason=str(error))
        if not isinstance(outcome, Unknown):
            return outcome
        told = self._told.setdefault(intent_id, set())
        if outcome.reason in told:
            return ()
        told.add(outcome.reason)
        return (outcome,)

    async def _steps(  # noqa: C901, PLR0911, PLR0912 - one arm per step
        self, plan: OpenPlan, situation: Situation, shared: Pass, healths: Mapping[str, Wad]
    ) -> tuple[Outcome, ...] | Unknown:
        """Apply steps until there is nothing more to do at this head."""
        intent_id, block = plan.plan.intent.intent_id, shared.footing.block
        for _ in range(MOST_STEPS):
            step = next_step(plan, situation, self._rules)
            if not isinstance(step, (NonceStolen, NonceHole)):
                self._doubts.pop(intent_id, None)
            match step:
                case MarkMined(receipt):
                    plan = await self._mark_mined(plan, receipt)
                case Unmine():
                    log.warning("tx.orphaned", intent=intent_id, nonce=plan.nonce)
                    await self._journal.unmined(intent_id)
                    self._failpoint("plan.unmined")
                    plan = replace(plan, state=TxState.SENT, receipt=None)
                case Settle(state, receipt, reason):
                    return await self._settle(plan, state, receipt, reason, healths)
                case NonceStolen(reason, final):
                    return await self._doubt(plan, shared, reason, final=final)
                case NonceHole(reason):
                    return await self._doubt(plan, shared, reason, final=False)
                case Wait():
                    return ()
                case Stuck(reason):
                    log.warning("tx.stuck", intent=intent_id, nonce=plan.nonce, reason=reason)
                    return Unknown(plan=plan.plan, reason=f"Not mined: {reason}.", stuck=True)
                case Rebroadcast() | Bump() | Cancel():
                    if refusal := self._arming.refusal():
                        return Unknown(
                            plan=plan.plan, reason=f"Left as it is: {refusal}.", stuck=True
                        )
                    if not isinstance(step, Cancel) and await self._outdated(plan, situation):
                        step = instead_of(plan, situation)
                    if isinstance(step, Stuck):
                        return Unknown(
                            plan=plan.plan, reason=f"Not mined: {step.reason}.", stuck=True
                        )
                    await self._send(plan, step, shared)
                    return ()
        raise AssertionError(f"{intent_id}: no end of steps at block {block.number}")

    async def _outdated(self, plan: OpenPlan, now: Situation) -> bool:
        """Whether what sells would revert by now: somebody else was faster, or prices moved.

        So is what carries several of which one would fail: what it may cost was sized by all of
        them.  A node that cannot say leaves it as it is.
        """
        intent = plan.plan.intent
        if intent.kind not in SELLING or plan.attempts[-1].tx_hash in now.cancelling:
            return False
        call = Call(to=plan.plan.to, data=plan.plan.data)
        try:
            seen = await self._simulator.run(plan.signer, call, None, now.block)
            several = len(plan.plan.shares)
            if not several or all(order.done for order in decode_results(seen.output, several)):
                return False
            log.warning(
                "tx.outdated",
                intent=intent.intent_id,
                nonce=plan.nonce,
                reason="not every order in it would be done any more",
            )
        except SimulationReverted as error:
            log.warning("tx.outdated", intent=intent.intent_id, nonce=plan.nonce, reason=str(error))
        except ObservationError:
            return False
        return True

    async def _seen(self, plan: OpenPlan, shared: Pass) -> Seen:
        """Ask for receipts only where the nonce says that there must be one."""
        footing, deep = shared.footing, None
        receipts: tuple[Receipt, ...] = ()
        if plan.nonce < footing.nonce:
            answers = await asyncio.gather(
                *(self._node.receipt(attempt.tx_hash) for attempt in plan.attempts)
            )
            receipts = tuple(answer for answer in answers if answer is not None)
            if not receipts:
                depth = footing.block.number - self._rules.confirmations + 1
                deep = await nonce_at_height(self._node, plan.signer, depth)
        healths = await self._healths(plan, receipts, shared)
        return Seen(receipts=receipts, deep_nonce=deep, healths=healths)

    async def _healths(
        self, plan: OpenPlan, receipts: Sequence[Receipt], shared: Pass
    ) -> dict[str, Wad]:
        """Read what became of each position, by the market's own contract in the very block.

        Without an answer nothing is said of it: the health of another block may be of other prices.
        """
        deep = (r for r in receipts if deep_enough(r, shared.footing.block, self._rules))
        mined = next(deep, None)
        if mined is None or not mined.succeeded or mined.tx_hash in cancelling(plan):
            return {}
        intents = plan.plan.intents
        found = await asyncio.gather(*(self._health(intent, mined) for intent in intents))
        return {
            intent.intent_id: health
            for intent, health in zip(intents, found, strict=True)
            if health is not None
        }

    async def _health(self, intent: Intent, mined: Receipt) -> Wad | None:
        try:
            call = self._pricing.health_call(intent)
            if call is None:
                return None
            asked = [{"to": call.to, "data": "0x" + call.data.hex()}, pinned_to(mined.block_hash)]
            async with asyncio.timeout(HEALTH_PATIENCE_S):
                answer = await self._node.call("eth_call", asked)
            return self._pricing.health(parse_bytes(answer, f"health of {intent.position}"))
        except (KeeperError, TimeoutError, LookupError, ValueError) as error:
            log.info("health.unread", intent=intent.intent_id, reason=str(error) or "no answer")
            return None

    def _situation(self, plan: OpenPlan, seen: Seen, shared: Pass) -> Situation:
        footing, intent_id = shared.footing, plan.plan.intent.intent_id
        return Situation(
            block=footing.block,
            nonce=footing.nonce,
            pending_nonce=footing.pending_nonce,
            tip_wei=footing.tip_wei,
            receipts=seen.receipts,
            deep_nonce=seen.deep_nonce,
            cancelling=cancelling(plan),
            lowest_open=shared.lowest_open,
            highest_signed=shared.highest_signed,
            doubts=self._doubts.get(intent_id, (0, ""))[0],
            claim_is_dead=shared.recovering or intent_id in self.dead_claims,
        )

    async def _mark_mined(self, plan: OpenPlan, receipt: Receipt) -> OpenPlan:
        intent_id = plan.plan.intent.intent_id
        if plan.state is TxState.MINED:
            await self._journal.unmined(intent_id)
        if plan.state is TxState.SIGNED:
            await self._journal.sent(intent_id, receipt.block_number)
        await self._journal.mined(intent_id, receipt)
        log.info(
            "tx.mined",
            intent=intent_id,
            tx=receipt.tx_hash,
            block=receipt.block_number,
            succeeded=receipt.succeeded,
            gas_used=receipt.gas_used,
        )
        self._failpoint("plan.mined")
        return replace(plan, state=TxState.MINED, receipt=receipt)

    async def _settle(
        self,
        plan: OpenPlan,
        state: TxState,
        receipt: Receipt | None,
        reason: str,
        healths: Mapping[str, Wad],
    ) -> tuple[Outcome, ...]:
        """End a plan, each of the intents that it carries by itself, all in one transaction."""
        intent_id = plan.plan.intent.intent_id
        outcomes, further = [], []
        messages: list[Message] = []
        audit: list[AuditEvent] = []
        for part, end, why in _ends(plan.plan, state, receipt):
            outcome = _outcome(part, end, why or reason)
            health = healths.get(end.intent_id) if isinstance(outcome, Confirmed) else None
            told, facts = self._on_settled(outcome, health)
            messages += told
            audit += facts
            outcomes.append(outcome)
            further.append(replace(end, health_after=health))
        first, *others = further
        self._failpoint("plan.settling")
        await self._journal.settle(
            intent_id,
            first.state,
            first.receipt,
            messages,
            audit,
            further=others,
            health_after=first.health_after,
        )
        self._failpoint("plan.settled")
        self.dead_claims.discard(intent_id)
        for end in further:
            log.info(
                "plan.settled",
                intent=end.intent_id,
                state=str(end.state),
                nonce=plan.nonce,
                reason=reason,
            )
        return tuple(outcomes)

    async def _doubt(
        self, plan: OpenPlan, shared: Pass, reason: str, *, final: bool
    ) -> tuple[Outcome, ...] | Unknown:
        """Count a look; on enough of them disarm; on a deep one end the plan."""
        intent_id, block = plan.plan.intent.intent_id, shared.footing.block
        looks, last = self._doubts.get(intent_id, (0, ""))
        looks += last != block.hash
        self._doubts[intent_id] = (looks, block.hash)
        log.error("nonce.doubtful", intent=intent_id, nonce=plan.nonce, looks=looks, reason=reason)
        if looks >= self._rules.looks:
            self._arming.disarm(
                f"{reason}; find out who else uses the key, then set adopt_nonce and arm again"
            )
        if final:
            del self._doubts[intent_id]
            return await self._settle(plan, TxState.ABANDONED, None, reason, {})
        return Unknown(plan=plan.plan, reason=f"Not known: {reason}.", stuck=True)

    async def _send(self, plan: OpenPlan, step: Rebroadcast | Bump | Cancel, shared: Pass) -> None:
        intent_id = plan.plan.intent.intent_id
        footing = shared.footing
        match step:
            case Rebroadcast():
                log.info("tx.rebroadcast", intent=intent_id, nonce=plan.nonce)
                await self._sender.rebroadcast(plan, footing.block)
            case Bump(fees):
                log.info(
                    "tx.bumped", intent=intent_id, nonce=plan.nonce, max_fee_wei=fees.max_fee_wei
                )
                tx = transaction(plan.plan, footing.chain_id, plan.nonce, fees)
                await self._sender.dispatch(plan, tx, footing.block)
            case Cancel(fees):
                log.warning(
                    "tx.cancelled", intent=intent_id, nonce=plan.nonce, max_fee_wei=fees.max_fee_wei
                )
                gas = await estimate(self._node, plan.signer, plan.signer, footing.block)
                limit = min(mul_div(gas, 13, 10, Rounding.UP), plan.plan.gas_limit)
                tx = cancellation(plan.signer, footing.chain_id, plan.nonce, fees, limit)
                await self._sender.dispatch(plan, tx, footing.block)


def _ends(
    plan: Plan, state: TxState, receipt: Receipt | None
) -> tuple[tuple[Plan, Ended, str], ...]:
    """Return each intent as a plan, how it ends, and why if its own order says so."""
    if not plan.shares:
        end = Ended(intent_id=plan.intent.intent_id, state=state, receipt=receipt)
        return ((plan, end, ""),)
    ended = ends(plan, state, receipt)
    return tuple((part, end, why) for part, (end, why) in zip(plan.parts, ended, strict=True))


def _outcome(plan: Plan, end: Ended, reason: str) -> Outcome:
    if end.state is TxState.CONFIRMED and end.receipt is not None:
        return Confirmed(plan=plan, receipt=end.receipt)
    if end.state is TxState.REVERTED and end.receipt is not None:
        return Reverted(plan=plan, receipt=end.receipt, reason=reason)
    return Abandoned(plan=plan, reason=f"Not done: {reason}.", receipt=end.receipt)
