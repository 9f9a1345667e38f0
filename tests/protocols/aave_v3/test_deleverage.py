"""Collateral sold and debt repaid, by the forward arithmetic with other rounding."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from keeper.model import Assessed, Deleverage, Holdings, Side
from keeper.protocols.aave_v3.math import scaled_for
from keeper.protocols.aave_v3.view import View
from keeper.strategies.deleverage import most_sold
from keeper.units import BPS, RAY, UINT256_MAX, WAD, Base, Bps, Raw, Wad

from . import builders as b

REVISIONS = (1, 5, 7, 8, 9, 10, 11)


def assessed(view: View, holdings: Holdings) -> Assessed:
    found = view.assess(holdings)
    assert isinstance(found, Assessed), found
    return found


def health_of(view: View, holdings: Holdings, way: Deleverage, sells_permille: int = 1_000) -> Wad:
    """The health factor when the chain did what `way` says, rounded as the chain does.

    `sells_permille`: how much of what may be sold it took.
    """
    entries = []
    for entry in holdings.entries:
        scaled = entry.scaled
        now = view.reserves[entry.reserve]
        if entry.side is Side.COLLATERAL and entry.reserve == way.collateral.reserve:
            scaled -= -(-(way.sells * sells_permille // 1_000) * RAY // now.liquidity_index)
        if entry.side is Side.DEBT and entry.reserve == way.debt.reserve:
            scaled -= scaled_for(way.repay, now.debt_index, view.of.rules.repay_scaled)
        entries.append(replace(entry, scaled=max(0, scaled)))
    return assessed(view, replace(holdings, entries=tuple(entries))).health_factor


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    weth=st.integers(10**16, 10**23),
    lst=st.integers(0, 10**22),
    owed_permille=st.integers(600, 820),
    dai=st.integers(0, 10**20),
    permille=st.integers(1_010, 1_400),
    cost=st.integers(0, 300),
)
def test_it_reaches_the_target_and_little_less_does_not(
    revision: int,
    weth: int,
    lst: int,
    owed_permille: int,
    dai: int,
    permille: int,
    cost: int,
) -> None:
    view = b.view(revision)
    alone = b.holdings(b.collateral(b.WETH, weth), b.collateral(b.LST, lst), b.debt(b.USDC, 10**5))
    worth = assessed(view, alone).collateral
    usdc = worth * owed_permille // 1_000 * 10**6 // 10**8
    holdings = b.holdings(
        b.collateral(b.WETH, weth),
        b.collateral(b.LST, lst),
        b.debt(b.USDC, usdc),
        b.debt(b.DAI, dai),
    )
    found = assessed(view, holdings)
    target = Wad(found.health_factor * permille // 1_000)
    weth_leg, debt = found.legs[0], next(x for x in found.legs if x.side is Side.DEBT)
    assume(found.debt > 10**10)

    way = view.deleverage_to_reach(holdings, weth_leg, debt, target, Bps(cost))

    assume(way is not None)
    assert way is not None
    assert way.health >= target
    # the chain's own rounding is never worse for the account than what was said
    assert health_of(view, holdings, way) >= way.health
    assert 0 < way.repay <= debt.balance
    assert way.sells <= weth_leg.balance
    # what is sold is worth what is repaid and the cost, and no more than a unit or two besides
    paid = way.repay * debt.price * 10**18 * (BPS + cost)
    assert paid <= way.sells * weth_leg.price * 10**6 * BPS
    assert (way.sells - 2) * weth_leg.price * 10**6 * BPS <= paid
    if view.of.rules.one_division_health:
        less = view.deleveraged(holdings, weth_leg, debt, Raw(way.repay - 1), Bps(cost))
        assert less is None or less.health < target


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    weth=st.integers(10**17, 10**19),
    dai=st.integers(10**21, 4 * 10**22),
    nearness=st.integers(1_001, 1_050),
    target=st.integers(1_060, 1_400),
    sells_permille=st.integers(940, 1_000),
)
@example(
    weth=4_821_810_200_654_424_093,
    dai=24_835_396_274_455_965_813_717,
    nearness=1_041,
    target=1_064,
    sells_permille=999,
)
def test_to_sell_less_than_is_said_or_another_collateral_never_ends_below_the_target(
    revision: int, weth: int, dai: int, nearness: int, target: int, sells_permille: int
) -> None:
    """Up to 3.4 the more is left of a collateral, the lower may the average threshold be."""
    view = b.view(revision)
    two = (b.collateral(b.WETH, weth), b.collateral(b.DAI, dai))
    one = assessed(view, b.holdings(*two, b.debt(b.USDC, 10**9)))
    holdings = b.holdings(
        *two, b.debt(b.USDC, 10**9 * one.health_factor * 1_000 // (WAD * nearness))
    )
    wanted = Wad(WAD * target // 1_000)
    for leg in assessed(view, holdings).legs[:2]:
        debt = assessed(view, holdings).legs[2]
        way = view.deleverage_to_reach(holdings, leg, debt, wanted, Bps(53))

        if way is not None:
            assert health_of(view, holdings, way, sells_permille) >= way.health >= wanted


def test_a_whole_debt_leaves_none() -> None:
    view = b.view()
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    collateral, debt = assessed(view, holdings).legs

    way = view.deleveraged(holdings, collateral, debt, debt.balance, Bps(100))

    assert way is not None
    assert way.health == UINT256_MAX
    assert view.deleveraged(holdings, collateral, debt, Raw(debt.balance + 1), Bps(100)) is None
    assert view.deleveraged(holdings, collateral, debt, Raw(0), Bps(100)) is None


def test_what_is_not_there_is_not_sold() -> None:
    view = b.view()
    holdings = b.holdings(
        b.collateral(b.WETH, 10**18), b.collateral(b.DAI, 10**18), b.debt(b.USDC, 2 * 10**9)
    )
    weth, dai, debt = assessed(view, holdings).legs

    assert view.deleveraged(holdings, dai, debt, Raw(10**9), Bps(0)) is None
    assert view.deleverage_to_reach(holdings, dai, debt, Wad(3 * WAD), Bps(0)) is None
    assert view.deleverage_to_reach(holdings, debt, weth, Wad(3 * WAD), Bps(0)) is None


def test_a_sale_that_costs_more_health_than_it_brings_is_none() -> None:
    """Below the threshold times its cost, every unit sold makes it worse."""
    view = b.view()
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    found = assessed(view, holdings)
    collateral, debt = found.legs
    owed = found.collateral * 10**6 // 10**8 * 110 // 100
    deep = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, owed))
    health = assessed(view, deep).health_factor
    assert health < WAD * collateral.liquidation_threshold // BPS

    assert view.deleverage_to_reach(deep, collateral, debt, Wad(health + 1), Bps(0)) is None
    assert view.deleverage_to_reach(holdings, collateral, debt, found.health_factor, Bps(0)) is None


@pytest.mark.parametrize("revision", [1, 8, 10])
@given(
    weth=st.integers(10**17, 10**22),
    lst=st.integers(0, 10**21),
    owed_permille=st.integers(400, 700),
    fall_permille=st.integers(700, 1_000),
    target_permille=st.integers(1_100, 1_600),
    cost=st.integers(0, 300),
)
def test_what_is_said_to_do_until_some_health_factor_does(
    revision: int,
    weth: int,
    lst: int,
    owed_permille: int,
    fall_permille: int,
    target_permille: int,
    cost: int,
) -> None:
    view = b.view(revision)
    fallen = {n: (b.PRICES[n] or 0) * fall_permille // 1_000 for n in (b.WETH, b.LST)}
    later = b.view(revision, prices=fallen)
    alone = b.holdings(b.collateral(b.WETH, weth), b.collateral(b.LST, lst), b.debt(b.USDC, 10**5))
    usdc = assessed(view, alone).collateral * owed_permille // 1_000 * 10**6 // 10**8
    holdings = b.holdings(
        b.collateral(b.WETH, weth), b.collateral(b.LST, lst), b.debt(b.USDC, usdc)
    )
    now, then = assessed(view, holdings), assessed(later, holdings)
    target = Wad(WAD * target_permille // 1_000)
    assume(now.debt > 10**10)
    assume(now.health_factor > then.health_factor > WAD)
    assume(target > then.health_factor + WAD // 50)
    debt = next(x for x in then.legs if x.side is Side.DEBT)

    said = most_sold(now, now.legs[0], start=then.health_factor, target=target, cost=Bps(cost))
    way = later.deleverage_to_reach(holdings, then.legs[0], debt, target, Bps(cost))

    if way is None:
        assert said == now.legs[0].balance
        return
    assert way.sells < said or said == now.legs[0].balance
    # and not much more than that: least allowance
    assert said <= way.sells * 104 // 100 + 10**13
    half = most_sold(
        now, now.legs[0], start=then.health_factor, target=target, cost=Bps(cost),
        most=Base(max(1, way.repay * debt.price // 10**6 // 2)),
    )  # fmt: skip
    assert half <= said
    assert half <= way.sells * 53 // 100 + 10**13


def test_nothing_needs_to_be_sold_without_debt_or_above_the_target() -> None:
    view = b.view()
    rich = assessed(view, b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**8)))
    free = assessed(view, b.holdings(b.collateral(b.WETH, 10**18)))

    for found, start in ((rich, Wad(UINT256_MAX)), (free, WAD)):
        assert most_sold(found, found.legs[0], start=start, target=Wad(WAD), cost=Bps(0)) == 0


WORTHLESS = replace(b.CONFIGURATIONS[b.WETH], ltv=Bps(0))


def released(view: View, e_mode: int = 0) -> list[str]:
    """Which collateral may be sold of somebody with three of them."""
    holdings = replace(
        b.holdings(
            b.collateral(b.WETH, 10**18),
            b.collateral(b.WBTC, 10**7),
            b.collateral(b.LST, 10**18),
            b.debt(b.USDC, 10**9),
        ),
        e_mode=e_mode,
    )
    *sold, debt = assessed(view, holdings).legs
    ways = [view.deleveraged(holdings, leg, debt, Raw(10**6), Bps(50)) for leg in sold]
    return [way.collateral.asset.symbol for way in ways if way is not None]


@pytest.mark.parametrize("revision", REVISIONS)
def test_collateral_with_a_loan_to_value_of_0_goes_first(revision: int) -> None:
    states = {b.WETH: b.state(b.WETH, WORTHLESS)}

    assert released(b.view(revision)) == ["WETH", "WBTC", "wstETH"]
    assert released(b.view(revision, states=states)) == ["WETH"]


@pytest.mark.parametrize(
    ("revision", "ltv", "zero", "free"),
    [
        # until 3.5 the reserve's own loan to value decides in an e-mode too
        (9, 9_300, 0, ["WETH"]),
        # from 3.6 on that of the category, except for those it takes out
        (10, 9_300, 0, ["WETH", "WBTC", "wstETH"]),
        (10, 9_300, 1 << b.LST, ["wstETH"]),
        (10, 0, 0, ["WETH", "wstETH"]),
        (11, 9_300, 1 << b.WETH | 1 << b.LST, ["WETH", "wstETH"]),
    ],
)
def test_in_an_e_mode_its_loan_to_value_decides_from_3_6_on(
    revision: int, ltv: int, zero: int, free: list[str]
) -> None:
    made = b.market(revision).e_modes[b.ETH_CORRELATED]
    category = replace(made, ltv=Bps(ltv), ltv_zero_bitmap=zero)
    market = b.market(revision, e_modes={b.ETH_CORRELATED: category})
    view = replace(b.view(revision, states={b.WETH: b.state(b.WETH, WORTHLESS)}), of=market)

    assert released(view, b.ETH_CORRELATED) == free


@pytest.mark.parametrize("shut", [{"paused": True}, {"active": False}])
def test_nothing_is_sold_or_repaid_of_a_reserve_that_is_shut(shut: dict[str, Any]) -> None:
    sold = b.state(b.WBTC, replace(b.CONFIGURATIONS[b.WBTC], **shut))
    owed = b.state(b.USDC, replace(b.CONFIGURATIONS[b.USDC], **shut))

    assert released(b.view(states={b.WBTC: sold})) == ["WETH", "wstETH"]
    assert released(b.view(states={b.USDC: owed})) == []
