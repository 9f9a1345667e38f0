"""First fees, bumps, and what an action may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.execution.fees import (
    AtCap,
    bump,
    gas_cap,
    initial_fees,
    leave_room,
    suggested,
)
from keeper.model import Fees
from keeper.units import Base, Bps, Wei

WEI = st.integers(min_value=0, max_value=10**15)


def fees(max_fee: int, tip: int) -> Fees:
    return Fees(max_fee_wei=Wei(max_fee), priority_fee_wei=Wei(tip))


@pytest.mark.parametrize(
    ("base_fee", "tip", "cap", "expected"),
    [
        (10_000_000_007, 1_000_000_003, 10**12, fees(21_000_000_017, 1_000_000_003)),
        (10_000_000_007, 1_000_000_003, 15_000_000_001, fees(15_000_000_001, 1_000_000_003)),
        (10, 50, 20, fees(20, 20)),  # the tip is never above the maximum
        (0, 0, 5, fees(1, 0)),  # a chain without a base fee
        (7, 0, 7, fees(7, 0)),
        (8, 0, 7, AtCap(needed_wei=Wei(8), cap_wei=Wei(7))),
        (0, 0, 0, AtCap(needed_wei=Wei(1), cap_wei=Wei(0))),
    ],
)
def test_first_fees_leave_room_for_the_base_fee_to_double_under_the_cap(
    base_fee: int, tip: int, cap: int, expected: Fees | AtCap
) -> None:
    assert initial_fees(Wei(base_fee), Wei(tip), Wei(cap)) == expected


@pytest.mark.parametrize(
    ("old", "suggestion", "cap", "expected"),
    [
        # 801 * 9 / 8 = 901.125 -> 902; 9 * 9 / 8 = 10.125 -> 11
        (fees(801, 9), fees(0, 0), 10_000, fees(902, 11)),
        (fees(800, 8), fees(0, 0), 10_000, fees(900, 9)),  # exact eighths are not raised further
        (fees(1, 0), fees(0, 0), 10_000, fees(2, 1)),  # at least one wei more, or it is no bump
        (fees(801, 9), fees(5_000, 70), 10_000, fees(5_000, 70)),  # the suggestion, if greater
        (fees(801, 9), fees(50_000, 70), 10_000, fees(10_000, 70)),  # clamped to the cap
        (fees(801, 9), fees(50_000, 20_000), 10_000, fees(10_000, 10_000)),
        (fees(801, 9), fees(0, 0), 902, fees(902, 11)),
        (fees(801, 9), fees(0, 0), 901, AtCap(needed_wei=Wei(902), cap_wei=Wei(901))),
    ],
)
def test_a_bump_raises_both_fees_by_an_eighth_rounded_up(
    old: Fees, suggestion: Fees, cap: int, expected: Fees | AtCap
) -> None:
    assert bump(old, suggestion, Wei(cap)) == expected


@given(WEI, WEI, WEI, WEI, WEI)
def test_a_bump_is_always_one_that_geth_takes_and_never_above_the_cap(
    old_max: int, old_tip: int, base_fee: int, tip: int, cap: int
) -> None:
    old = fees(max(old_max, old_tip), old_tip)

    raised = bump(old, suggested(Wei(base_fee), Wei(tip)), Wei(cap))

    if isinstance(raised, AtCap):
        assert raised.needed_wei > cap
        return
    for new, before in (
        (raised.max_fee_wei, old.max_fee_wei),
        (raised.priority_fee_wei, old.priority_fee_wei),
    ):
        assert new > before
        assert 1000 * new >= 1125 * before
    assert raised.priority_fee_wei <= raised.max_fee_wei <= cap


@given(WEI, WEI, WEI, st.lists(WEI, max_size=6))
def test_above_an_actions_fees_a_cancellation_always_fits(
    base_fee: int, tip: int, cap: int, later_base_fees: list[int]
) -> None:
    room = leave_room(Wei(cap))
    offered = initial_fees(Wei(base_fee), Wei(tip), room)
    if isinstance(offered, AtCap):
        return
    for later in later_base_fees:
        raised = bump(offered, suggested(Wei(later), Wei(tip)), room)
        offered = offered if isinstance(raised, AtCap) else raised

    assert isinstance(bump(offered, fees(0, 0), Wei(cap)), Fees)


def test_the_gas_cap_is_a_share_of_what_is_at_stake_rounded_down() -> None:
    # 971.90550123 USD * 50 % = 485.95275061 USD; at 2,000.00000017 USD: 0.242976375... ETH
    cap = gas_cap(Base(97_190_550_123), Bps(5_000), Base(200_000_000_017), 471_113)

    assert cap == (48_595_275_061 * 10**18 // 200_000_000_017) // 471_113
    assert cap * 471_113 * 200_000_000_017 <= 48_595_275_061 * 10**18


def test_nothing_at_stake_is_worth_no_gas() -> None:
    assert gas_cap(Base(0), Bps(5_000), Base(200_000_000_017), 471_113) == 0
