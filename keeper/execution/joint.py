"""From several liquidations to one plan that could be signed: the same path, walked together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from keeper.errors import (
    BadAnswer,
    ExecutionError,
    GasTooDear,
    KeeperError,
    PolicyViolation,
    SimulationReverted,
    Unprofitable,
)
from keeper.execution import together
from keeper.execution.data_fee import data_fee
from keeper.execution.fees import AtCap, initial_fees, leave_room
from keeper.execution.flash import Funded
from keeper.execution.lenders import Lender, Rivalled
from keeper.execution.liquidator import Result, decode_results
from keeper.execution.planning import bid, draft, fee_cap
from keeper.execution.preparing import ZERO, Preparation, Ready, cost_of
from keeper.execution.trying import Start
from keeper.model import Address, BlockRef, Call, Cost, Intent
from keeper.ports import MarketView
from keeper.units import Base, Wad, Wei


@dataclass(slots=True, kw_only=True)
class Several:
    """Intents on their way into one transaction."""

    ready: Ready | None = None
    """Of those that can go together; None where fewer than two can."""
    refused: dict[str, KeeperError] = field(default_factory=dict)
    """By intent id: what was taken out, and why."""
    alone: dict[str, KeeperError] = field(default_factory=dict)
    """The same of those that others may be asked for the sale of: they go alone."""
    funded: list[Funded] = field(default_factory=list)
    """Still in."""

    def leave(self, flash: Lender | None, out: Sequence[Funded]) -> None:
        """Take `out` out: their sales will not be."""
        for one in tuple(out):
            self.funded.remove(one)
            if flash is not None:
                flash.left(one.intent.intent_id)


class JointPreparation(Preparation):
    """Makes intents ready, one at a time or several for one transaction."""

    async def ready_together(
        self, intents: Sequence[Intent], view: MarketView, sender: Address
    ) -> Several:
        """Make liquidations with borrowed money ready for one transaction, the first one first.

        Each is found a sale behind those before it, and all are simulated together; those that
        fail or are not worth their part of the gas are taken out, with the reason, and the others
        simulated anew.  Whose sale others may be asked for is not refused where it is taken out: it
        goes alone.  Raises `KeeperError` where they cannot go together, as they are; where fewer
        than two are left there is no plan.
        """
        several = Several()
        try:
            return await self._several(several, intents, view, sender)
        except BaseException:  # undone, then raised on
            several.leave(self._flash, several.funded)
            raise

    async def _several(
        self, several: Several, intents: Sequence[Intent], view: MarketView, sender: Address
    ) -> Several:
        assert self._flash is not None
        block, start = view.block, None
        for intent in intents:
            try:
                start = await self._start(intent, view, sender)
                funded = await self._fund(
                    intent,
                    view,
                    pool=start.call.to,
                    sender=sender,
                    pending=start.pending,
                    price_wei=start.price,
                )
            except (ExecutionError, PolicyViolation, Unprofitable) as error:
                alone = start is not None and self._trial.asks_others(intent, view, start.price)
                out = several.alone if alone else several.refused
                if isinstance(error, PolicyViolation):
                    out = several.refused
                out[intent.intent_id] = error
                continue
            if funded is None or funded.order is None:
                raise ExecutionError("It cannot go with others.")
            self._flash.took(intent.intent_id, block, funded.sale)
            several.funded.append(funded)
        while start is not None and len(several.funded) > 1:
            if await self._tried(several, view, sender, start):
                break
        if several.ready is None:
            several.leave(self._flash, several.funded)
        return several

    async def _tried(
        self, several: Several, view: MarketView, sender: Address, start: Start
    ) -> bool:
        """Simulate them together; plan them if all can stay, else take out those that cannot."""
        block, funded = view.block, tuple(several.funded)
        asked = together.call_of(funded, [together.SIMULATED_GAS] * len(funded))
        simulated, fee = await asyncio.gather(
            self._simulator.run(
                sender,
                asked,
                None,
                block,
                self._in_flight(start.pending),
                further=self._health_calls(funded),
            ),
            data_fee(self._node, self._settings.data_fee, asked, self._chain_id, block),
        )
        results = decode_results(simulated.output, len(funded))
        native = self._pricing.native(view)
        cost = cost_of(simulated.gas_used + fee.gas, start.price, fee.wei, native)
        weights = [result.gas for result in results]
        out: list[Funded] = []
        spares: list[Base] = []
        for one, result, part in zip(funded, results, together.costs(cost, weights), strict=True):
            try:
                spares.append(self._spare_of(one, result, part))
            except (SimulationReverted, Unprofitable) as error:
                out.append(one)
                alone = self._trial.asks_others(one.intent, view, start.price)
                (several.alone if alone else several.refused)[one.intent.intent_id] = error
        if out:
            several.leave(self._flash, out)
            return False
        self._failpoint("intent.simulated")
        cold = await self._gas_alone(funded, sender, view, start)
        limits = [together.order_limit(max(gas)) for gas in zip(weights, cold, strict=True)]
        call = together.call_of(funded, limits)
        limit = together.gas_limit(limits, call.data, simulated.block_gas_limit) + fee.gas
        whole = replace(
            funded[0].intent,
            expected_profit=Base(sum(one.intent.expected_profit for one in funded)),
        )
        cap = fee_cap(
            whole,
            limit,
            self._policy.max_gas_wei if self._arming.armed else self._settings.most_gas_wei,
            native,
            self._settings,
            data_fee_wei=fee.most_wei,
        )
        # What the poorest can pay by itself: the richest may be lost, and its bid with it.
        share = self._settings.bid_share
        bids = [bid(s, share, native, gas) for s, gas in zip(spares, limits, strict=True)]
        fees = initial_fees(block.base_fee_wei, Wei(start.tip + min(bids)), leave_room(cap))
        if isinstance(fees, AtCap):
            raise GasTooDear(
                f"Gas costs {fees.needed_wei} wei a unit and {fees.cap_wei} is the most that these"
                " are worth or that the caps allow."
            )
        plan = draft(
            intent=funded[0].intent,
            call=call,
            simulated=simulated,
            max_fee=cap,
            spends=ZERO,
            block=block,
            settings=self._settings,
            data_fee_wei=fee.most_wei,
        )
        several.ready = Ready(
            plan=replace(plan, gas_limit=limit, shares=together.shares(funded, results)),
            fees=fees,
            health_after=None,
            cost=cost,
            footing=start.ground,
            each_health_after=self._healths(simulated.further) or (None,) * len(funded),
        )
        return True

    def _spare_of(self, one: Funded, result: Result, part: Cost) -> Base:
        """Return what it leaves above the floor.  Raises `SimulationReverted`, `Unprofitable`."""
        if not result.done:
            raise SimulationReverted(together.failure(result))
        one.judge(0, Wei(0), part.wei)
        return self._spare(one.intent, part)

    def _health_calls(self, funded: Sequence[Funded]) -> tuple[Call, ...]:
        """Return the reads of every one's health; nothing where the market has none."""
        calls = [self._pricing.health_call(one.intent) for one in funded]
        return tuple(call for call in calls if call is not None)

    def _healths(self, answers: Sequence[bytes | None]) -> tuple[Wad | None, ...]:
        """Return what they say; None where one says nothing that can be read."""
        return tuple(None if answer is None else self._health(answer) for answer in answers)

    def _health(self, answer: bytes) -> Wad | None:
        try:
            return self._pricing.health(answer)
        except BadAnswer:  # it is for people to read: no reason to give up the others
            return None

    async def _gas_alone(
        self, funded: Sequence[Funded], sender: Address, view: MarketView, start: Start
    ) -> list[int]:
        """Return what each order takes before refunds with none of the others before it.

        One that fails on chain takes back what it warmed (EIP-2929): those behind it then find
        tokens, pools and oracle as dear as the first would have.
        """
        before = self._in_flight(start.pending)
        calls = [together.call_of([one], [together.SIMULATED_GAS]) for one in funded]
        alone = await asyncio.gather(
            *(self._simulator.run(sender, call, None, view.block, before) for call in calls)
        )
        return [decode_results(one.output, 1)[0].gas for one in alone]

    def ask_again(self, block: BlockRef) -> None:
        """Let others be waited for once more, for the sales of those that go alone."""
        if isinstance(self._flash, Rivalled):
            self._flash.ask_again(block)

    def asks_others(self, intent: Intent, block: BlockRef) -> bool:
        """Whether others can still be asked for the sale of one that goes alone."""
        return isinstance(self._flash, Rivalled) and self._flash.may_answer(intent.kind, block)

    def leave(self, ready: Ready) -> None:
        """Forget the sales of what will not be sent after all."""
        if self._flash is not None:
            for intent in ready.plan.intents:
                self._flash.left(intent.intent_id)
