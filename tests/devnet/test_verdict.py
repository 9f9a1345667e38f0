"""The demo's verdict: each fault it names can be found."""

from dataclasses import replace

from keeper.devnet.demo.story import Chronicle
from keeper.devnet.demo.verdict import Deed, _out_of_order, _twice
from keeper.model import Address, IntentKind
from keeper.units import WAD

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


def test_without_passes_nothing_is_out_of_order() -> None:
    assert _out_of_order(Chronicle()) == []
