"""A position's own clock: what holds it, for how long, and what sets it free."""

from dataclasses import replace

import pytest

from keeper.engine.pace import (
    AT_ONCE_MOST,
    COOL_DOWN_BLOCKS,
    REHEARSED_BLOCKS,
    TRIED_BLOCKS,
    Pace,
)
from keeper.model import (
    Abandoned,
    Act,
    Address,
    Confirmed,
    Declined,
    Intent,
    IntentKind,
    Inventory,
    OpenPlan,
    Rehearsed,
    Reverted,
    Submitted,
    TxState,
    Unknown,
)
from keeper.strategies.purse import Purse
from keeper.units import Raw
from tests.engine.fakes import (
    ALICE,
    BOB,
    LIQUIDATE,
    MARKET,
    OWNER,
    USD,
    Chain,
    Story,
    View,
    holdings,
    plan_of,
    position,
    receipt,
)

DANGEROUS = (2, 2_027)
WHO = position(ALICE)


def intent() -> Intent:
    block = Chain().head
    view = View(MARKET, block, 1_000, {})
    held = holdings(ALICE, *DANGEROUS)
    there = {USD.address: Raw(1_000)}
    purse = Purse(Inventory(owner=OWNER, block=block, balances=there, allowances=there))
    decision = LIQUIDATE.decide(view, held, view.assess(held), purse)
    assert isinstance(decision, Act)
    return decision.intent


def submitted() -> Submitted:
    open_plan = OpenPlan(plan=plan_of(intent()), signer=OWNER, nonce=1, state=TxState.SENT)
    return Submitted(open_plan=open_plan, health_after=None)


def test_nothing_holds_a_position_that_was_never_acted_on() -> None:
    assert Pace().held(WHO, 100) == ""


def test_what_was_submitted_is_held_by_its_name_for_as_long_as_it_takes() -> None:
    pace = Pace()
    pace.began(submitted(), 100)

    assert pace.held(WHO, 1_000_000) == f"liquidate {intent().intent_id} is on its way"
    assert pace.held(position(BOB), 100) == ""


def test_an_unknown_outcome_frees_nothing() -> None:
    pace = Pace()
    pace.began(submitted(), 100)
    pace.ended(Unknown(plan=plan_of(intent()), reason="the node is silent"), 101)

    assert pace.held(WHO, 1_000_000)


def test_a_success_frees_it_at_once() -> None:
    pace = Pace()
    pace.began(submitted(), 100)
    pace.ended(Confirmed(plan=plan_of(intent()), receipt=receipt(good=True)), 101)

    assert pace.held(WHO, 101) == ""


@pytest.mark.parametrize(
    "outcome",
    [
        Reverted(plan=plan_of(intent()), receipt=receipt(good=False)),
        Abandoned(plan=plan_of(intent()), reason="past its deadline"),
    ],
)
def test_a_failure_waits(outcome: Reverted | Abandoned) -> None:
    pace = Pace()
    pace.began(submitted(), 100)
    pace.ended(outcome, 101)

    assert pace.held(WHO, 101 + COOL_DOWN_BLOCKS - 1) == "the last transaction failed"
    assert pace.held(WHO, 101 + COOL_DOWN_BLOCKS) == ""


def test_what_was_declined_says_why_while_it_waits() -> None:
    pace = Pace()
    pace.began(Declined(intent=intent(), reason="over the cap"), 100)

    assert pace.held(WHO, 104) == "declined: over the cap"
    assert pace.held(WHO, 105) == ""


def test_a_way_that_failed_frees_the_position_for_another_a_few_times() -> None:
    pace, failed = Pace(), Declined(intent=intent(), reason="would revert", this_way=True)

    assert pace.tried(WHO, 100) == frozenset()
    for block in range(100, 100 + AT_ONCE_MOST):
        pace.began(failed, block)
        assert pace.held(WHO, block) == "declined: would revert"
        assert pace.held(WHO, block + 1) == ""
        assert pace.tried(WHO, block + 1) == {intent().way}
    last = 100 + AT_ONCE_MOST
    pace.began(failed, last)
    assert pace.held(WHO, last + COOL_DOWN_BLOCKS - 1)
    assert pace.held(WHO, last + COOL_DOWN_BLOCKS) == ""
    assert pace.tried(WHO, last + TRIED_BLOCKS - 1) == {intent().way}
    assert pace.tried(WHO, last + TRIED_BLOCKS) == frozenset()
    assert pace.tried(position(BOB), 101) == frozenset()


def test_many_ways_that_all_fail_are_not_tried_at_every_block() -> None:
    pace, block, at = Pace(), 100, []
    while block < 200:
        if not pace.held(WHO, block):
            other = replace(intent(), collateral=replace(USD, address=Address(f"0x{block:040x}")))
            pace.began(Declined(intent=other, reason="would revert", this_way=True), block)
            at.append(block)
        block += 1

    assert len(at) == AT_ONCE_MOST + 1 + (99 - AT_ONCE_MOST) // COOL_DOWN_BLOCKS


@pytest.mark.parametrize("kind", [IntentKind.TOP_UP, IntentKind.REPAY, IntentKind.DELEVERAGE])
def test_a_protection_is_turned_to_another_way_by_two_failures_in_a_row(kind: IntentKind) -> None:
    pace = Pace()
    failed = Declined(intent=replace(intent(), kind=kind), reason="would revert", this_way=True)

    pace.began(failed, 100)
    assert (pace.held(WHO, 101), pace.tried(WHO, 101)) == ("", frozenset())
    pace.began(failed, 100 + TRIED_BLOCKS)  # long after: the first is forgotten
    assert pace.tried(WHO, 101 + TRIED_BLOCKS) == frozenset()
    pace.began(failed, 101 + TRIED_BLOCKS)
    assert pace.tried(WHO, 102 + TRIED_BLOCKS) == {failed.intent.way}


@pytest.mark.parametrize("over", ["recovered", "forgotten"])
def test_no_way_is_avoided_longer_than_the_danger(over: str) -> None:
    pace = Pace()
    pace.began(Declined(intent=intent(), reason="would revert", this_way=True), 100)
    if over == "recovered":
        pace.recovered(WHO)
    else:
        pace.forget_all_but({position(BOB)})

    assert pace.tried(WHO, 101) == frozenset()


def test_what_is_not_about_the_way_leaves_no_way_out() -> None:
    pace = Pace()
    pace.began(Declined(intent=intent(), reason="over the cap"), 100)

    assert pace.tried(WHO, 101) == frozenset()


def test_a_rehearsal_is_not_repeated_for_an_hour() -> None:
    pace = Pace()
    pace.began(Rehearsed(plan=plan_of(intent()), health_after=None), 100)

    assert pace.held(WHO, 100 + REHEARSED_BLOCKS - 1) == "rehearsed already"
    assert pace.held(WHO, 100 + REHEARSED_BLOCKS) == ""


def test_a_recovered_position_waits_for_nothing() -> None:
    pace = Pace()
    pace.began(Declined(intent=intent(), reason="over the cap"), 100)
    pace.recovered(WHO)

    assert pace.held(WHO, 101) == ""


async def test_a_cool_down_ends_when_the_position_is_healthy_again() -> None:
    story = Story()
    story.executor.declines = "over the cap"
    await story.begin({ALICE: DANGEROUS})
    await story.mine(price=2_000)  # 2 * 2,000 / 2,027 = 1.97
    await story.mine(price=1_000)

    assert story.acted_on() == [ALICE, ALICE]
