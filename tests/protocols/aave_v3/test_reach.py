"""Inverses, by computing forwards again: reached, and by no less."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keeper.model import Assessed, Holdings, IntentKind, Leg, Side, Way
from keeper.protocols.aave_v3.math import scaled_for
from keeper.protocols.aave_v3.reach import least
from keeper.protocols.aave_v3.view import View
from keeper.units import RAY, UINT256_MAX, WAD, Bps, Raw, Wad

from . import builders as b

REVISIONS = (1, 5, 7, 8, 9, 10, 11)


def assessed(view: View, holdings: Holdings) -> Assessed:
    found = view.assess(holdings)
    assert isinstance(found, Assessed), found
    return found


def after(view: View, holdings: Holdings, leg: Leg, amount: int) -> Wad:
    """The health factor after supplying into or repaying `leg`, by the forward arithmetic."""
    rules, now = view.of.rules, view.reserves[leg.reserve]
    entries = []
    for entry in holdings.entries:
        scaled = entry.scaled
        if (entry.reserve, entry.side) == (leg.reserve, leg.side):
            if leg.side is Side.COLLATERAL:
                scaled += scaled_for(amount, now.liquidity_index, rules.supply_scaled)
            else:
                scaled -= min(scaled, scaled_for(amount, now.debt_index, rules.repay_scaled))
        entries.append(replace(entry, scaled=scaled))
    return assessed(view, replace(holdings, entries=tuple(entries))).health_factor


def leg_of(found: Assessed, reserve: int, side: Side) -> Leg:
    return next(x for x in found.legs if (x.reserve, x.side) == (reserve, side))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_least_finds_the_first_that_holds(first: int, low: int) -> None:
    found = least(low, 10**9, lambda n: n >= first)

    assert found == max(first, low)


def test_least_is_none_where_nothing_holds() -> None:
    assert least(0, 1_000, lambda n: n > 1_000) is None


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    weth=st.integers(10**15, 10**23),
    lst=st.integers(0, 10**22),
    usdc=st.integers(10**5, 10**13),
    permille=st.integers(1_001, 4_000),
    e_mode=st.sampled_from([0, b.ETH_CORRELATED]),
)
def test_the_least_supply_reaches_the_target(
    revision: int, weth: int, lst: int, usdc: int, permille: int, e_mode: int
) -> None:
    view = b.view(revision)
    holdings = b.holdings(
        b.collateral(b.WETH, weth), b.debt(b.USDC, usdc), b.collateral(b.LST, lst), e_mode=e_mode
    )
    found = assessed(view, holdings)
    target = Wad(found.health_factor * permille // 1_000)
    assume(10**9 < target < 10**27)
    for reserve in (b.WETH, b.LST):
        leg = leg_of(found, reserve, Side.COLLATERAL)

        amount = view.supply_to_reach(holdings, leg, target)

        assert amount is not None
        assert after(view, holdings, leg, amount) >= target
        assert amount == 0 or after(view, holdings, leg, amount - 1) < target


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    weth=st.integers(10**15, 10**23),
    usdc=st.integers(10**5, 10**13),
    dai=st.integers(0, 10**22),
    permille=st.integers(1_001, 9_000),
)
def test_the_least_repayment_reaches_the_target_or_is_the_whole_balance(
    revision: int, weth: int, usdc: int, dai: int, permille: int
) -> None:
    view = b.view(revision)
    holdings = b.holdings(b.collateral(b.WETH, weth), b.debt(b.USDC, usdc), b.debt(b.DAI, dai))
    found = assessed(view, holdings)
    target = Wad(found.health_factor * permille // 1_000)
    for reserve in (b.USDC, b.DAI):
        leg = leg_of(found, reserve, Side.DEBT)

        amount = view.repay_to_reach(holdings, leg, target)

        assert amount is not None
        assert 0 <= amount <= leg.balance
        if amount < leg.balance:
            assert after(view, holdings, leg, amount) >= target
        assert amount == 0 or after(view, holdings, leg, amount - 1) < target


def test_up_to_3_4_a_supply_of_a_lower_threshold_can_lower_the_health_factor() -> None:
    """Why the inverse goes from step to step of the floored average threshold."""
    view = b.view(8)
    holdings = b.holdings(
        b.collateral(b.WETH, 10**18), b.collateral(b.DAI, 10**18), b.debt(b.USDC, 10**9)
    )
    leg = leg_of(assessed(view, holdings), b.DAI, Side.COLLATERAL)
    path = [after(view, holdings, leg, a) for a in range(0, 40 * 10**18, 10**16)]
    assert any(y < x for x, y in pairwise(path))
    target = Wad(path[0] + 3 * 10**15)

    amount = view.supply_to_reach(holdings, leg, target)

    assert amount
    assert after(view, holdings, leg, amount) >= target
    assert all(after(view, holdings, leg, a) < target for a in range(0, amount, amount // 977))


def test_nothing_is_needed_where_the_target_is_reached() -> None:
    view = b.view()
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    found = assessed(view, holdings)
    supplied, owed = found.legs

    assert view.supply_to_reach(holdings, supplied, found.health_factor) == 0
    assert view.repay_to_reach(holdings, owed, found.health_factor) == 0
    assert view.repay_to_reach(holdings, owed, Wad(UINT256_MAX)) == owed.balance


@pytest.mark.parametrize("flag", ["frozen", "paused", "inactive"])
def test_no_supply_goes_into_a_reserve_that_takes_none(flag: str) -> None:
    changed: dict[str, Any] = {"active": False} if flag == "inactive" else {flag: True}
    config = replace(b.CONFIGURATIONS[b.WETH], **changed)
    view = b.view(states={b.WETH: b.state(b.WETH, config)})
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    leg = assessed(view, holdings).legs[0]

    assert view.supply_to_reach(holdings, leg, Wad(4 * WAD)) is None


def test_no_supply_goes_over_the_cap() -> None:
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    free = b.view()
    leg = assessed(free, holdings).legs[0]
    wanted = free.supply_to_reach(holdings, leg, Wad(4 * WAD))
    assert wanted
    supplied = free.reserves[b.WETH].liquidity_index * (10**24 + 10**15 + 7) // 10**27
    enough = -(-(supplied + wanted + 2) // 10**18)

    def capped(tokens: int) -> Raw | None:
        config = replace(b.CONFIGURATIONS[b.WETH], supply_cap=tokens)
        view = b.view(states={b.WETH: b.state(b.WETH, config)})
        return view.supply_to_reach(holdings, leg, Wad(4 * WAD))

    assert capped(enough) == wanted
    assert capped(enough - 1) is None


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    supply=st.integers(1, 10**27),
    debt=st.integers(0, 10**27),
    stable=st.integers(0, 10**20),
    factor=st.integers(0, 10_000),
    elapsed_s=st.integers(0, 10**7),
)
def test_the_treasurys_share_of_interest_not_minted_yet_counts_towards_the_cap(
    revision: int, supply: int, debt: int, stable: int, factor: int, elapsed_s: int
) -> None:
    cap = 10**10
    config = replace(b.CONFIGURATIONS[b.WETH], supply_cap=cap, reserve_factor=Bps(factor))
    state = b.state(
        b.WETH,
        config,
        scaled_supply=supply,
        scaled_debt=debt,
        stable_interest=stable,
        updated_at=b.NOW - elapsed_s,
    )
    now = b.view(revision, states={b.WETH: state}).reserves[b.WETH]

    # what the Pool compares with the cap, nothing of it rounded:
    # (supply + minted to the treasury at the next supply) x index, and of the interest since the
    # last update, debt x (index now - index then), the reserve factor is the treasury's
    interest = Fraction(debt * (now.debt_index - state.debt_index), RAY) + stable
    unminted = state.accrued_to_treasury * Fraction(now.liquidity_index, RAY)
    used = Fraction(supply * now.liquidity_index, RAY) + unminted + interest * factor / 10_000
    room = cap * 10**18 - used
    assert now.headroom is not None
    assert room - 6 <= now.headroom <= room


@pytest.mark.parametrize("unknown", ["scaled_supply", "scaled_debt", "stable_interest"])
def test_a_cap_that_cannot_be_reckoned_leaves_no_room_and_no_cap_needs_no_reckoning(
    unknown: str,
) -> None:
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    leg = assessed(b.view(), holdings).legs[0]

    def reaches(cap: int) -> Raw | None:
        config = replace(b.CONFIGURATIONS[b.WETH], supply_cap=cap)
        state = b.state(b.WETH, config, **{unknown: None})
        view = b.view(states={b.WETH: state})
        assert isinstance(view.assess(holdings), Assessed)
        return view.supply_to_reach(holdings, leg, Wad(4 * WAD))

    assert reaches(10**9) is None
    assert reaches(0) == b.view().supply_to_reach(holdings, leg, Wad(4 * WAD))


def test_a_leg_the_account_does_not_have_is_no_way_out() -> None:
    view = b.view()
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    other = assessed(view, b.holdings(b.collateral(b.DAI, 1), b.debt(b.DAI, 1))).legs

    assert view.supply_to_reach(holdings, other[0], Wad(4 * WAD)) is None
    assert view.repay_to_reach(holdings, other[1], Wad(4 * WAD)) is None


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("shut", [{"paused": True}, {"active": False}])
def test_a_reserve_that_is_shut_takes_no_repayment_and_the_other_debt_does(
    revision: int, shut: dict[str, Any]
) -> None:
    closed = b.state(b.USDC, replace(b.CONFIGURATIONS[b.USDC], **shut))
    view = b.view(revision, states={b.USDC: closed})
    holdings = b.holdings(
        b.collateral(b.WETH, 10**20), b.debt(b.USDC, 10**11), b.debt(b.DAI, 10**23)
    )
    found = assessed(view, holdings)
    target = Wad(found.health_factor + WAD // 100)

    assert view.repay_to_reach(holdings, leg_of(found, b.USDC, Side.DEBT), target) is None
    assert view.repay_to_reach(holdings, leg_of(found, b.DAI, Side.DEBT), target)
    there = found.health_factor
    assert view.repay_to_reach(holdings, leg_of(found, b.USDC, Side.DEBT), there) == 0


def test_what_was_tried_in_vain_is_not_possible_and_all_else_is_as_before() -> None:
    view = b.view()
    holdings = b.holdings(
        b.collateral(b.WETH, 10**18), b.collateral(b.WBTC, 10**6), b.debt(b.USDC, 39 * 10**8)
    )
    found = assessed(view, holdings)
    assert found.health_factor < WAD
    weth, wbtc, usdc = found.legs
    target, cost = Wad(2 * WAD), Bps(50)

    def way(kind: IntentKind, asset: Leg, collateral: Leg | None = None) -> Way:
        seized = None if collateral is None else collateral.asset.address
        return Way(kind=kind, asset=asset.asset.address, collateral=seized)

    def pairs(of: View) -> list[str]:
        return [one.collateral.asset.symbol for one in of.liquidations(holdings)]

    assert view.avoiding(frozenset()) == view
    topped = view.avoiding(frozenset({way(IntentKind.TOP_UP, weth)}))
    assert topped.supply_to_reach(holdings, weth, target) is None
    assert topped.supply_to_reach(holdings, wbtc, target) is not None
    repaid = view.avoiding(frozenset({way(IntentKind.REPAY, usdc)}))
    assert repaid.repay_to_reach(holdings, usdc, target) is None
    assert topped.repay_to_reach(holdings, usdc, target) is not None
    assert sorted(pairs(view)) == ["WBTC", "WETH"]
    seized = view.avoiding(frozenset({way(IntentKind.LIQUIDATE, usdc, weth)}))
    assert pairs(seized) == ["WBTC"]
    least = view.liquidations(holdings)[0].debt_to_cover
    [of] = [one for one in view.liquidations(holdings) if one.collateral == weth]
    assert seized.liquidation_at_most(holdings, of, least) is None
    sold = view.avoiding(frozenset({way(IntentKind.DELEVERAGE, usdc, weth)}))
    assert view.deleveraged(holdings, weth, usdc, Raw(10**6), cost) is not None
    assert sold.deleveraged(holdings, weth, usdc, Raw(10**6), cost) is None
    assert sold.deleveraged(holdings, wbtc, usdc, Raw(10**6), cost) is not None
