"""The demo's verdict: each fault it names can be found."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from keeper.devnet.bot_api import Said
from keeper.devnet.demo.story import Chronicle
from keeper.devnet.demo.verdict import Deed, _twice, out_of_order, told_after
from keeper.engine.passes import Pass
from keeper.model import Address, IntentKind, Submitted
from keeper.units import WAD, Base, Wad
from tests.alerts.build import assessed
from tests.engine.test_pace import submitted
from tests.notify.build import message

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


def told(*submissions: Submitted, in_danger: tuple[Address, ...] = ()) -> Pass:
    block = submissions[0].intent.block
    found = [assessed(Wad(WAD - 1), account=who) for who in in_danger]
    done = SimpleNamespace(block=block, submissions=submissions, assessments=tuple(found))
    return cast("Pass", done)


def test_the_largest_value_at_risk_first_is_in_order() -> None:
    assert out_of_order([told(sent(5, 900), sent(6, 30), sent(7, 30))]) == []


def test_a_smaller_one_with_the_lower_nonce_is_a_fault() -> None:
    [fault] = out_of_order([told(sent(6, 900), sent(5, 30))])

    assert fault.endswith("not by value at risk")


def test_who_was_in_danger_before_may_come_after_who_is_new() -> None:
    second = told(sent(5, 30), sent(6, 900), sent(7, 40))
    account = sent(6, 900).intent.position.account

    assert out_of_order([told(sent(4, 1), in_danger=(account,)), second]) == []
    assert len(out_of_order([told(sent(4, 1)), second])) == 1


def test_values_rise_once_at_most() -> None:
    second = told(sent(5, 30), sent(6, 900), sent(7, 40), sent(8, 50))
    account = sent(6, 900).intent.position.account

    assert len(out_of_order([told(sent(4, 1), in_danger=(account,)), second])) == 1


def test_a_warning_is_timed_from_its_block_to_the_stand_in_s_hearing() -> None:
    done = cast(
        "Pass",
        SimpleNamespace(
            block=submitted().intent.block,
            messages=(
                replace(message("main: 1.1\nmore", chat="telegram:7"), kind="fired"),
                replace(message("main: 1.0", chat="telegram:7"), kind="worse"),
                replace(message("nobody asked", chat="telegram:7"), kind="reply"),
                replace(message("logged", chat="log:"), kind="fired"),
            ),
        ),
    )
    chronicle = Chronicle(passes=[done], mined_at={done.block.hash: 100.0})
    heard = [
        Said(chat_id=chat, text=text, by_bot=True, message_id=1, at=at, silent=False)
        for chat, text, at in ((7, "main: 1.1 again", 90.0), (8, "main: 1.1", 101.0))
    ]
    heard.append(replace(heard[0], at=102.5))

    assert told_after(chronicle, heard) == [2.5, math.inf]
