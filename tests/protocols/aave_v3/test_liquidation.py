"""Close factor, seizure and dust by numbers; the chain's own answers are in tests/chain."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keeper.protocols.aave_v3.liquidation import (
    MIN_LEFTOVER_BASE,
    Pair,
    Seizure,
    largest,
    least_limited,
    leaves_dust,
    most_debt,
    seizure,
)
from keeper.protocols.aave_v3.rules import rules_for
from keeper.units import Base, Bps, Raw, Wad

V3_2, V3_3, V3_4, V3_6, V3_7 = (rules_for(r) for r in (5, 7, 8, 10, 11))
USD = 10**8

BIG = Pair(
    collateral=Raw(10**19),
    collateral_value=Base(35_123_72819530),
    collateral_price=Base(351_237_281_953),
    collateral_unit=10**18,
    bonus=Bps(10_500),
    protocol_fee=Bps(1_000),
    debt=Raw(30_000_123_457),
    debt_value=Base(29_997_68551307),
    debt_price=Base(99_991_873),
    debt_unit=10**6,
)
ABOVE_95, AT_95 = Wad(950_000_000_000_000_001), Wad(950_000_000_000_000_000)


def test_up_to_3_2_half_of_that_debt_until_health_095() -> None:
    assert most_debt(V3_2, BIG, ABOVE_95, Base(BIG.debt_value * 3)) == 15_000_061_729  # half up
    assert most_debt(V3_2, BIG, AT_95, BIG.debt_value) == BIG.debt


def test_from_3_3_half_of_the_total_debt_of_big_positions() -> None:
    # half of 29,997.68551307 dollars is 14,998.842756535 -> ...54 half up, in USDC, floored
    assert most_debt(V3_6, BIG, ABOVE_95, BIG.debt_value) == 1_499_884_275_654 * 10**6 // 99_991_873
    assert most_debt(V3_6, BIG, AT_95, BIG.debt_value) == BIG.debt
    # the reserve's debt is no more than half of the total: all of it
    assert most_debt(V3_6, BIG, ABOVE_95, Base(BIG.debt_value * 2)) == BIG.debt


@pytest.mark.parametrize("small", ["collateral_value", "debt_value"])
def test_from_3_3_nothing_protects_what_is_below_two_thousand(small: str) -> None:
    bound: dict[str, Any] = {small: Base(2_000 * USD)}
    less: dict[str, Any] = {small: Base(2_000 * USD - 1)}
    at, below = replace(BIG, **bound), replace(BIG, **less)

    assert most_debt(V3_6, below, ABOVE_95, BIG.debt_value) == BIG.debt
    assert most_debt(V3_6, at, ABOVE_95, Base(2_000 * USD)) < BIG.debt


def test_a_seizure_takes_the_bonus_and_the_fee_is_of_the_bonus_only() -> None:
    # 1,000 USDC at 0.99991873 buy 0.284684663... WETH, with 5 % 0.298918896...
    base = 99_991_873 * 10**9 * 10**18 // (351_237_281_953 * 10**6)
    taken = (base * 10_500 + 5_000) // 10_000
    bonus = taken - (taken * 10_000 + 5_250) // 10_500
    fee = (bonus * 1_000 + 5_000) // 10_000

    of = seizure(V3_6, BIG, Raw(10**9))

    assert (of.debt, of.seized, of.fee) == (10**9, taken - fee, fee)


def test_too_little_collateral_limits_the_debt_rounded_up_from_3_5() -> None:
    poor = replace(BIG, collateral=Raw(10**18 + 1))
    # 3,512.37281953 dollars of WETH are 3,512.658282... USDC, less the bonus 3,345.388840...
    worth = 351_237_281_953 * (10**18 + 1) * 10**6 // (99_991_873 * 10**18)

    before, after = seizure(V3_4, poor, poor.debt), seizure(V3_6, poor, poor.debt)

    assert after.debt == -(-worth * 10_000 // 10_500)
    assert before.debt == (worth * 10_000 + 5_250) // 10_500
    assert after.seized + after.fee == poor.collateral


def test_the_fee_and_the_bonus_it_is_of_are_rounded_half_up_to_3_6() -> None:
    pair = replace(BIG, collateral_price=Base(1), debt_price=Base(1), debt_unit=1)
    pair = replace(pair, collateral_unit=1, collateral=Raw(10**9), bonus=Bps(10_625))

    # 1,000 with 6.25 % is 1,063 (1062.5 up); less 1,063/1.0625 = 1000.47 -> 1,000: bonus 63;
    # a tenth of it 6.3 -> 6
    assert seizure(V3_6, pair, Raw(1_000)).fee == 6
    # 1,040 -> 1,105; 1,105/1.0625 = 1,040: bonus 65, a tenth 6.5 -> 7
    assert seizure(V3_6, pair, Raw(1_040)).fee == 7
    # 1,010 -> 1,073 (1073.125); /1.0625 = 1009.88 -> 1,010: bonus 63; 64 if floored, and half
    # of 63 is 31.5 -> 32
    half = replace(pair, protocol_fee=Bps(5_000))
    assert seizure(V3_6, half, Raw(1_010)).fee == 32
    assert seizure(V3_6, replace(pair, protocol_fee=Bps(10_000)), Raw(1_010)).fee == 63


def test_3_7_floors_the_bonus() -> None:
    pair = replace(BIG, protocol_fee=Bps(0), collateral_unit=1, debt_unit=1)
    pair = replace(pair, collateral_price=Base(1), debt_price=Base(1), collateral=Raw(10**9))

    # 30 * 1.05 = 31.5
    assert seizure(V3_6, pair, Raw(30)).seized == 32
    assert seizure(V3_7, pair, Raw(30)).seized == 31


def test_dust_is_no_concern_before_3_3() -> None:
    almost = seizure(V3_2, BIG, Raw(BIG.debt - 1))

    assert not leaves_dust(V3_2, BIG, almost)
    assert leaves_dust(V3_3, BIG, almost)


def test_a_thousand_of_each_must_be_left() -> None:
    even = replace(BIG, debt_price=Base(10**8), collateral_price=Base(10**8), debt_unit=1)
    even = replace(even, collateral_unit=1, debt=Raw(3_000), collateral=Raw(3_000))

    def leaves(debt_left: int, collateral_left: int) -> bool:
        of = Seizure(debt=Raw(3_000 - debt_left), seized=Raw(2_993 - collateral_left), fee=Raw(7))
        return leaves_dust(V3_6, even, of)

    assert not leaves(1_000, 1_000)
    assert leaves(999, 1_000)
    assert leaves(1_000, 999)
    assert not leaves(0, 1)
    assert not leaves(1, 0)


def test_all_of_the_debt_or_all_of_the_collateral_leaves_no_dust() -> None:
    poor = replace(BIG, collateral=Raw(10**18))

    assert not leaves_dust(V3_6, BIG, seizure(V3_6, BIG, BIG.debt))
    assert not leaves_dust(V3_6, poor, seizure(V3_6, poor, poor.debt))


@pytest.mark.parametrize("revision", [1, 3, 5, 7, 8, 9, 10, 11])
@given(
    collateral=st.integers(1, 10**22),
    debt=st.integers(1, 10**13),
    share=st.integers(1, 10_000),
    price=st.integers(1, 10**14),
)
def test_the_largest_seizure_is_legal_and_within_its_limit(
    revision: int, collateral: int, debt: int, share: int, price: int
) -> None:
    rules = rules_for(revision)
    pair = replace(BIG, collateral=Raw(collateral), debt=Raw(debt), collateral_price=Base(price))
    limit = Raw(debt * share // 10_000)

    of = largest(rules, pair, limit)

    if of is None:
        return
    assert 0 < of.debt <= limit
    assert 0 < of.seized <= of.seized + of.fee <= collateral
    assert not leaves_dust(rules, pair, of)


@given(debt=st.integers(10**10, 10**12), cut=st.integers(1, 2 * 10**9))
def test_a_wei_more_than_the_largest_part_would_leave_dust(debt: int, cut: int) -> None:
    pair = replace(BIG, debt=Raw(debt), collateral=Raw(10**24))
    limit = Raw(debt - cut)

    of = largest(V3_6, pair, limit)

    assert of is not None
    assume(of.debt < limit)
    assert leaves_dust(V3_6, pair, seizure(V3_6, pair, Raw(of.debt + 1)))
    left = -(-(debt - of.debt) * BIG.debt_price // BIG.debt_unit)
    assert left >= MIN_LEFTOVER_BASE


@pytest.mark.parametrize("broken", ["collateral_price", "debt_price", "bonus"])
def test_nothing_is_legal_at_a_price_or_a_bonus_of_zero(broken: str) -> None:
    zero: dict[str, Any] = {broken: 0}

    assert largest(V3_6, replace(BIG, **zero), BIG.debt) is None


@given(
    collateral=st.integers(1, 10**20),
    prices=st.tuples(st.integers(1, 10**13), st.integers(1, 10**13)),
    bonus=st.integers(10_000, 11_500),
    revision=st.sampled_from((1, 7, 10, 11)),
)
def test_from_the_least_limited_debt_on_the_collateral_is_all_and_the_debt_the_same(
    collateral: int, prices: tuple[int, int], bonus: int, revision: int
) -> None:
    rules = rules_for(revision)
    pair = replace(
        BIG,
        collateral=Raw(collateral),
        collateral_price=Base(prices[0]),
        debt_price=Base(prices[1]),
        bonus=Bps(bonus),
    )
    least = least_limited(rules, pair)
    at, later = (seizure(rules, pair, Raw(amount)) for amount in (least, 2 * least + 1))

    assert at == later
    assert at.seized + at.fee == collateral
    just_below = seizure(rules, pair, Raw(least - 1))
    assert just_below.debt == least - 1  # not limited: all of what is passed is taken


def test_of_thirty_raw_units_a_thousandth_more_is_not_enough_to_be_limited() -> None:
    # found on the deployed v3.6: a unit of collateral is worth 3 % of it
    pair = replace(
        BIG,
        collateral=Raw(30),
        collateral_price=Base(1_291_852_571_903),
        collateral_unit=10**6,
        bonus=Bps(10_000),
        protocol_fee=Bps(10_000),
        debt=Raw(208_438_542_667_776_783),
        debt_price=Base(4_282_908),
        debt_unit=10**12,
    )
    needed = seizure(V3_6, pair, pair.debt).debt

    assert needed == 9_048_893_218_600
    assert seizure(V3_6, pair, Raw(needed + needed // 1_000)).debt > needed
    assert seizure(V3_6, pair, least_limited(V3_6, pair)).debt == needed
    assert least_limited(V3_6, pair) > needed * 103 // 100
