"""The arithmetic against numbers worked out by hand with fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.protocols.aave_v3.math import (
    collateral_balance,
    debt_balance,
    debt_index_at,
    debt_value,
    health_factor,
    least_amount_for,
    liquidity_index_at,
    percent_div,
    percent_mul,
    ray_div,
    ray_mul,
    scaled_for,
)
from keeper.protocols.aave_v3.rules import rules_for
from keeper.units import RAY, SECONDS_PER_YEAR, UINT256_MAX, WAD, Base, Rounding

V3_0, V3_4, V3_6 = rules_for(1), rules_for(8), rules_for(10)
UINT128 = st.integers(0, 2**128 - 1)
INDEX = st.integers(RAY, 100 * RAY)


def test_half_up_rounds_a_half_up() -> None:
    assert ray_mul(RAY // 2, 1) == 1
    assert ray_mul(RAY // 2 - 1, 1) == 0
    assert ray_div(1, 2 * RAY) == 1  # half a unit
    assert percent_mul(1, 5_000) == 1
    assert percent_mul(1, 4_999) == 0
    assert percent_div(10_501, 10_500) == 10_001  # 10000.952


def test_supply_interest_is_linear() -> None:
    # 3.1 % a year, a quarter of a year, on an index of 1.2
    index = 12 * RAY // 10
    quarter = SECONDS_PER_YEAR // 4

    assert liquidity_index_at(index, 31 * RAY // 1_000, quarter) == (
        1_209_300_000_000_000_000_000_000_000
    )
    assert liquidity_index_at(index, 31 * RAY // 1_000, 0) == index


@given(st.integers(0, RAY), st.integers(1, SECONDS_PER_YEAR))
def test_debt_interest_stays_between_linear_and_exponential(rate: int, elapsed_s: int) -> None:
    x = Fraction(rate * elapsed_s, SECONDS_PER_YEAR * RAY)
    to_the_third = (1 + x + x**2 / 2 + x**3 / 6) * RAY
    linear = (1 + x) * RAY

    taylor = debt_index_at(V3_4, RAY, rate, elapsed_s)
    binomial = debt_index_at(V3_0, RAY, rate, elapsed_s)

    assert abs(taylor - to_the_third) <= 4
    # the binomial floors the rate's square to rays per second squared: it loses a little more
    assert linear - 2 <= binomial <= taylor + 2


def test_the_binomial_to_its_last_digit() -> None:
    # 90 % a year for 100,003 seconds: three terms of (1 + rate / year) ** seconds
    rate, elapsed = 9 * RAY // 10, 100_003
    square = 81 * RAY // 100 // SECONDS_PER_YEAR**2
    cube = (square * 9 + 5) // 10 // SECONDS_PER_YEAR
    second = 100_003 * 100_002 * square // 2
    third = 100_003 * 100_002 * 100_001 * cube // 6

    assert debt_index_at(V3_0, RAY, rate, elapsed) == (
        RAY + rate * elapsed // SECONDS_PER_YEAR + second + third
    )


def test_a_second_has_no_second_term_and_two_no_third() -> None:
    rate = 40 * RAY
    square = 1_600 * RAY // SECONDS_PER_YEAR**2

    assert debt_index_at(V3_0, RAY, rate, 1) == RAY + rate // SECONDS_PER_YEAR
    assert debt_index_at(V3_0, RAY, rate, 2) == RAY + 2 * rate // SECONDS_PER_YEAR + square


def test_nothing_compounds_in_no_time() -> None:
    for revision in (1, 8, 10):
        assert debt_index_at(rules_for(revision), RAY + 7, RAY, 0) == RAY + 7


def test_a_balance_rounds_by_revision() -> None:
    # 3 * 1.5 = 4.5
    half = RAY + RAY // 2
    assert (collateral_balance(V3_0, 3, half), debt_balance(V3_0, 3, half)) == (5, 5)
    assert (collateral_balance(V3_6, 3, half), debt_balance(V3_6, 3, half)) == (4, 5)
    # 1 * 1.1 = 1.1
    tenth = RAY * 11 // 10
    assert (collateral_balance(V3_0, 1, tenth), debt_balance(V3_0, 1, tenth)) == (1, 1)
    assert (collateral_balance(V3_6, 1, tenth), debt_balance(V3_6, 1, tenth)) == (1, 2)


def test_the_value_of_a_debt_is_rounded_up_from_3_5() -> None:
    assert debt_value(V3_4, 1, 99_991_873, 10**6) == 99
    assert debt_value(V3_6, 1, 99_991_873, 10**6) == 100


def test_no_debt_is_the_greatest_health() -> None:
    assert health_factor(V3_6, Base(0), 0, Base(0)) == UINT256_MAX
    assert health_factor(V3_0, Base(5), 5 * 8_300, Base(0)) == UINT256_MAX


def test_no_collateral_is_health_zero() -> None:
    assert health_factor(V3_6, Base(0), 0, Base(3)) == 0
    assert health_factor(V3_0, Base(0), 0, Base(3)) == 0


def test_up_to_3_4_the_average_threshold_is_floored_first() -> None:
    # 100 at 83 % and 50 at 77.01 %: average 8100.33 -> 8100; 150 * 81 % = 121.5 -> 122 half up
    collateral, weighted, debt = Base(150), 100 * 8_300 + 50 * 7_701, Base(107)

    assert health_factor(V3_4, collateral, weighted, debt) == (122 * WAD + 53) // 107
    # one division: 1215050 / 10000 / 107
    assert health_factor(V3_6, collateral, weighted, debt) == 1_215_050 * WAD // 107 // 10_000


@given(st.integers(1, 10**30), st.integers(1, 10**30))
def test_the_decision_at_one_in_integers(weighted: int, debt: int) -> None:
    below = health_factor(V3_6, Base(1), weighted, Base(debt)) < WAD

    assert below == (weighted * WAD + debt // 2 < 10**22 * debt)


@pytest.mark.parametrize("rounding", list(Rounding))
@given(scaled=st.integers(0, 2**100), index=INDEX)
def test_the_least_amount_for_a_scaled_amount_is_the_least(
    rounding: Rounding, scaled: int, index: int
) -> None:
    amount = least_amount_for(scaled, index, rounding)

    assert scaled_for(amount, index, rounding) >= scaled
    assert amount == 0 or scaled_for(amount - 1, index, rounding) < scaled


@given(scaled=UINT128, index=INDEX)
def test_repaying_the_balance_burns_exactly_what_is_owed(scaled: int, index: int) -> None:
    for rules in (V3_0, V3_4, V3_6):
        balance = debt_balance(rules, scaled, index)

        assert scaled_for(balance, index, rules.repay_scaled) == scaled
