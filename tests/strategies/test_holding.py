"""Liquidations wait for a price in doubt; nothing else does."""

from dataclasses import replace

import pytest

from keeper.model import Act, Hold, IntentKind, Refuse, Side
from keeper.strategies.holding import held_back
from tests.alerts.build import USDC, WETH, YOU, assessed, intent, leg, position, wad

LEGS = (leg(WETH, Side.COLLATERAL, 25_000, 2501_37000000, 8300),)
DANGER = assessed(wad("0.97"), legs=LEGS)
ACT = Act(intent=replace(intent(IntentKind.LIQUIDATE), asset=USDC))
WHY = "WETH: the reference disagrees"


def test_a_liquidation_waits_and_says_why() -> None:
    decision = held_back(ACT, DANGER, {WETH.address: WHY})

    assert isinstance(decision, Refuse)
    assert decision.position == ACT.intent.position
    assert decision.reason == f"{ACT.intent.reason}; held while {WHY}"


def test_what_it_pays_with_counts_as_well() -> None:
    assert isinstance(held_back(ACT, DANGER, {USDC.address: "USDC is stale"}), Refuse)


def test_a_doubt_about_something_else_holds_nothing() -> None:
    assert held_back(ACT, DANGER, {YOU: "another asset"}) is ACT
    assert held_back(ACT, DANGER, {}) is ACT


@pytest.mark.parametrize("kind", [IntentKind.TOP_UP, IntentKind.REPAY, IntentKind.APPROVE])
def test_only_liquidations_wait(kind: IntentKind) -> None:
    act = Act(intent=replace(ACT.intent, kind=kind))

    assert held_back(act, DANGER, {WETH.address: WHY}) is act


def test_what_is_no_act_stays_what_it_is() -> None:
    hold = Hold(position=position(), reason="healthy")

    assert held_back(hold, DANGER, {WETH.address: WHY}) is hold
