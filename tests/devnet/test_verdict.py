"""The demo's verdict: each fault it names can be found."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from keeper.devnet.demo.story import Chronicle
from keeper.devnet.demo.verdict import Deed, _out_of_order, _twice
from keeper.engine.passes import Pass
from keeper.model import Address, IntentKind, Submitted
from keeper.units import WAD, Base
from tests.engine.test_pace import submitted

VICTIM = Address("0x" + "a1" * 20)


def deed(health_before: int, kind: IntentKind = IntentKind.LIQUIDATE) -> Deed:
    return Deed(
        intent="5dc27b516ffca6bf",
        kind=kind,
        position=VICTIM,
        tx="0x" + "7a" * 32,
        block=91,
        gas=381_944,
        profit_usd=72.25,
        health_before=health_before,
        health_after=WAD,
    )


def test_a_second_action_on_a_position_that_was_cured_is_a_fault() -> None:
    again = replace(deed(WAD), intent="6666666666666666")

    assert _twice([deed(WAD - 1), again]) == [f"{VICTIM} was acted on twice: 6666666666666666"]


def test_a_second_action_on_a_position_that_is_in_danger_still_is_none() -> None:
    assert _twice([deed(WAD - 1), deed(WAD - 1)]) == []


def sent(nonce: int, value_at_risk: int) -> Submitted:
    one = submitted()
    plan = one.open_plan.plan
    intent = replace(plan.intent, value_at_risk=Base(value_at_risk))
    return replace(
        one, open_plan=replace(one.open_plan, nonce=nonce, plan=replace(plan, intent=intent))
    )


def told(*submissions: Submitted) -> Chronicle:
    block = submissions[0].intent.block
    done = SimpleNamespace(block=block, submissions=submissions)
    return Chronicle(passes=[cast("Pass", done)])


def test_the_largest_value_at_risk_first_is_in_order() -> None:
    assert _out_of_order(told(sent(5, 900), sent(6, 30), sent(7, 30))) == []


def test_a_smaller_one_with_the_lower_nonce_is_a_fault() -> None:
    [fault] = _out_of_order(told(sent(6, 900), sent(5, 30)))

    assert fault.endswith("not by value at risk")
