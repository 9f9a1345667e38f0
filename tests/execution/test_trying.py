"""One intent's ways, tried: whom it asks, in which order, and what a bad one costs."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from keeper.errors import ExecutionError, RpcError, SimulationReverted
from keeper.execution.flash import Funded
from keeper.execution.liquidator import word
from keeper.execution.node import Footing
from keeper.execution.planning import ExecutionSettings
from keeper.execution.rivals import Refused
from keeper.execution.simulate import Simulated
from keeper.execution.trying import Case, Start, Trial
from keeper.model import BlockRef, Call, Funding, IntentKind
from keeper.units import Base, Wei
from tests.execution.fakes import SIGNER, TARGET, FakeChain, FakeView
from tests.execution.rig import PRICING
from tests.execution.test_rivals import PRICE, funded, over

OVER_POOLS = b"pools"
OVER_OTHER = b"other"


@dataclass
class FakeSimulator:
    """Answers by what is called; an error is raised."""

    answers: dict[bytes, bytes | Exception]
    ran: list[bytes] = field(default_factory=list)

    async def run(self, _sender: object, call: Call, *_: object, **__: object) -> Simulated:
        self.ran.append(call.data)
        answer = self.answers[call.data]
        if isinstance(answer, Exception):
            raise answer
        return Simulated(gas_used=500_000, probe=None, output=answer)


@dataclass
class FakeLender:
    """Asks somebody else always, or only where it is given nothing first."""

    found: tuple[Funded | Refused, ...]
    only_otherwise: bool = False
    fault: Exception | None = None
    firsts: list[Funded | None] = field(default_factory=list)

    def has_rivals(self, kind: IntentKind) -> bool:
        return kind is IntentKind.LIQUIDATE

    async def rivals(self, *_: object, **how: Any) -> tuple[Funded | Refused, ...]:
        self.firsts.append(how["first"])
        if self.fault is not None:
            raise self.fault
        return () if self.only_otherwise and how["first"] is not None else self.found

    def may_answer(self, kind: IntentKind, block: BlockRef) -> bool:
        return True

    def ask_again(self, block: BlockRef) -> None: ...

    def mined(self, kind: IntentKind, source: str, *, succeeded: bool) -> None:
        raise AssertionError("nothing is mined here")


def way(source: str, data: bytes) -> Funded:
    return replace(funded(source, 20 * 10**8), call=Call(to=TARGET, data=data))


def case(profit: int = 50 * 10**8) -> Case:
    head = FakeChain().head
    intent = replace(
        funded("").intent, expected_profit=Base(profit), funding=Funding.FLASH, block=head
    )
    footing = Footing(
        block=head, chain_id=1, nonce=0, pending_nonce=0, balance_wei=Wei(1), tip_wei=Wei(1)
    )
    return Case(
        intent=intent,
        view=FakeView(head),
        sender=SIGNER.address,
        start=Start(
            call=Call(to=TARGET, data=b""), ground=footing, pending=(), tip=Wei(1), price=PRICE
        ),
        in_flight=(),
    )


def trial(simulator: FakeSimulator, lender: FakeLender) -> Trial:
    return Trial(
        node=None,  # type: ignore[arg-type]  # nothing is read: the chain charges nothing for data
        simulator=simulator,  # type: ignore[arg-type]  # what of it is used
        pricing=PRICING,
        settings=ExecutionSettings(floor=Base(10**8)),
        chain_id=1,
        flash=lender,  # type: ignore[arg-type]  # what of it is used
    )


async def test_a_sale_that_would_revert_lets_others_be_asked_after_it() -> None:
    simulator = FakeSimulator(
        {OVER_POOLS: SimulationReverted("It would revert: no."), OVER_OTHER: over(9)}
    )
    lender = FakeLender((way("0x", OVER_OTHER),), only_otherwise=True)
    first = way("Uniswap v3", OVER_POOLS)

    best = await trial(simulator, lender).best(case(), first)

    assert best.call.data == OVER_OTHER
    assert lender.firsts == [first, None]


async def test_a_sale_that_stands_asks_nobody_where_others_are_asked_otherwise_only() -> None:
    simulator = FakeSimulator({OVER_POOLS: word(10**16), OVER_OTHER: over(99)})
    lender = FakeLender((way("0x", OVER_OTHER),), only_otherwise=True)

    best = await trial(simulator, lender).best(case(), way("Uniswap v3", OVER_POOLS))

    assert best.call.data == OVER_POOLS
    assert simulator.ran == [OVER_POOLS]


@pytest.mark.parametrize("fault", [RpcError("The node is gone."), ExecutionError("No loans.")])
async def test_whatever_goes_wrong_with_others_costs_the_pools_sale_nothing(
    fault: Exception,
) -> None:
    simulator = FakeSimulator({OVER_POOLS: word(10**16), OVER_OTHER: fault})

    asking = trial(simulator, FakeLender((), fault=fault))
    best = await asking.best(case(), way("Uniswap v3", OVER_POOLS))
    trying = trial(simulator, FakeLender((way("0x", OVER_OTHER),)))
    again = await trying.best(case(), way("Uniswap v3", OVER_POOLS))

    assert best.call.data == again.call.data == OVER_POOLS
    assert best.funded is not None
    assert best.funded.intent.reason.endswith(f"others: all of them: {str(fault).rstrip('.')}")
    assert again.funded is not None
    assert again.funded.intent.reason.endswith(f"others: 0x: {str(fault).rstrip('.')}")


async def test_a_node_that_fails_under_the_pools_sale_is_no_reason_for_another() -> None:
    simulator = FakeSimulator({OVER_POOLS: RpcError("The node is gone."), OVER_OTHER: over(9)})

    with pytest.raises(RpcError, match="The node is gone"):
        await trial(simulator, FakeLender((way("0x", OVER_OTHER),))).best(
            case(), way("Uniswap v3", OVER_POOLS)
        )


async def test_nobody_is_asked_for_what_could_never_pay_its_gas() -> None:
    simulator = FakeSimulator({OVER_POOLS: word(10**16)})
    lender = FakeLender((way("0x", OVER_OTHER),))
    # a dollar of gas and a dollar to be left
    poor, enough = case(profit=2 * 10**8 - 1), case(profit=2 * 10**8 + 1_000)

    await trial(simulator, lender).best(poor, way("Uniswap v3", OVER_POOLS))
    asked = len(lender.firsts)
    simulator.answers[OVER_OTHER] = over(9)
    await trial(simulator, lender).best(enough, way("Uniswap v3", OVER_POOLS))

    assert (asked, len(lender.firsts)) == (0, 1)
