from dataclasses import dataclass, replace

from keeper.model import (
    Assessed,
    Deleverage,
    Entry,
    Funding,
    Holdings,
    IntentKind,
    Leg,
    Refuse,
    Side,
)
from keeper.strategies.deleverage import Deleveraging
from keeper.strategies.protect import Bounds, loss_if_liquidated
from keeper.units import UINT256_MAX, WAD, Base, Bps, Raw, Wad
from tests.strategies.fakes import (
    ALICE,
    BOB,
    DAI,
    USDC,
    WBTC,
    WETH,
    FakeMarket,
    acted,
    held,
    holdings,
    leg_of,
    purse,
    refused,
    unassessable,
    wad,
)


@dataclass(kw_only=True)
class Exchanging(FakeMarket):
    """The market of plain arithmetic, that can also say what a sale leaves."""

    def deleveraged(
        self, holdings: Holdings, collateral: Leg, debt: Leg, repay: Raw, cost: Bps
    ) -> Deleverage | None:
        value = repay * debt.price * (10_000 + cost) // 10_000 // 10**debt.asset.decimals + 1
        sells = value * 10**collateral.asset.decimals // collateral.price + 1
        if not 0 < repay <= debt.balance or sells > collateral.balance:
            return None
        gone = {
            (collateral.reserve, Side.COLLATERAL): sells,
            (debt.reserve, Side.DEBT): repay,
        }
        entries = tuple(
            Entry(
                reserve=e.reserve, side=e.side, scaled=e.scaled - gone.get((e.reserve, e.side), 0)
            )
            for e in holdings.entries
        )
        health = self.assess(replace(holdings, entries=entries)).health_factor
        return Deleverage(
            collateral=collateral,
            debt=debt,
            repay=repay,
            sells=Raw(sells),
            sold_value=Base(value),
            health=health,
        )

    def deleverage_to_reach(
        self, holdings: Holdings, collateral: Leg, debt: Leg, target: Wad, cost: Bps
    ) -> Deleverage | None:
        low, high = 1, debt.balance + 1
        while low < high:
            middle = (low + high) // 2
            way = self.deleveraged(holdings, collateral, debt, Raw(middle), cost)
            low, high = (low, middle) if way is None or way.health >= target else (middle + 1, high)
        way = self.deleveraged(holdings, collateral, debt, Raw(low), cost)
        return way if way is not None and way.health >= target else None


VIEW = Exchanging()
BOUNDS = Bounds(below=wad("1.1"), target=wad("1.5"))
SELL = Deleveraging(accounts=(ALICE,), bounds=BOUNDS, cost=Bps(100))
# 10 WETH at 2,500 with 80 %: 20,000 against 19,047.62 USDC is 1.05
THIN = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 19_047_620_000))
TWO = holdings(
    (WETH, Side.COLLATERAL, 5 * 10**18),
    (WBTC, Side.COLLATERAL, 21_300_000),
    (USDC, Side.DEBT, 18_600_000_000),
)
NOTHING = purse({})


def test_an_unknown_health_is_never_read_as_good_health() -> None:
    decision = SELL.decide(VIEW, THIN, unassessable("USDC/USD is stale"), NOTHING)

    assert isinstance(decision, Refuse)
    assert decision.reason == "USDC/USD is stale"


def test_nobody_elses_collateral_is_sold() -> None:
    stranger = replace(THIN, account=BOB)

    decision = SELL.decide(VIEW, stranger, VIEW.assess(stranger), NOTHING)

    assert held(decision) == "not an account that it deleverages"


def test_at_the_bound_it_holds() -> None:
    at_bound = holdings((WETH, Side.COLLATERAL, 11 * 10**18), (USDC, Side.DEBT, 20_000_000_000))
    assert VIEW.assess(at_bound).health_factor == BOUNDS.below

    assert "is not below 1.100" in held(SELL.decide(VIEW, at_bound, VIEW.assess(at_bound), NOTHING))


def test_it_sells_the_least_that_reaches_the_target() -> None:
    intent = acted(SELL.decide(VIEW, THIN, VIEW.assess(THIN), NOTHING))

    # (25,000 - 1.01 x) * 0.8 = 1.5 * (19,047.62 - x): x = 8,571.43 / 0.692 = 12,386.46
    assert 12_386 * 10**6 < intent.amount < 12_387 * 10**6
    # 12,386.46 * 1.01 / 2,500
    assert 5_004_000 * 10**12 < intent.seized < 5_004_500 * 10**12
    assert (intent.kind, intent.funding) == (IntentKind.DELEVERAGE, Funding.FLASH)
    assert (intent.asset, intent.collateral) == (USDC, WETH)
    assert intent.value_at_risk == loss_if_liquidated(VIEW.assess(THIN))
    assert intent.reason == (
        "health factor 1.049 is below 1.100: repay 12,386.46 USDC with at most 5.0041 WETH of its"
        " own to reach 1.500"
    )


def test_of_several_collaterals_the_one_that_sells_least_is_taken() -> None:
    """WBTC counts for 75 %, WETH for 80: the less it counts, the less it costs to sell it."""
    bounds = replace(BOUNDS, target=wad("1.2"))
    intent = acted(replace(SELL, bounds=bounds).decide(VIEW, TWO, VIEW.assess(TWO), NOTHING))
    only = replace(bounds, assets=(WETH.address,))
    other = acted(replace(SELL, bounds=only).decide(VIEW, TWO, VIEW.assess(TWO), NOTHING))

    assert intent.collateral == WBTC
    assert other.collateral == WETH
    assert other.amount > intent.amount


def test_where_the_cap_is_below_the_target_it_does_what_it_may() -> None:
    bounds = replace(BOUNDS, max_value=Base(3_000 * 10**8))

    intent = acted(replace(SELL, bounds=bounds).decide(VIEW, THIN, VIEW.assess(THIN), NOTHING))

    assert intent.amount == 3_000 * 10**6
    assert intent.reason.endswith("of its own, all it may, towards 1.500")


def test_what_is_not_enough_is_refused() -> None:
    bounds = replace(BOUNDS, max_value=Base(100 * 10**8))

    reason = refused(replace(SELL, bounds=bounds).decide(VIEW, THIN, VIEW.assess(THIN), NOTHING))

    assert reason == (
        "health factor 1.049 is below 1.100: no collateral that may be sold repays enough for"
        " 1.059 within the bounds"
    )


def test_a_collateral_that_is_also_the_debt_is_not_sold_for_itself() -> None:
    same = holdings((USDC, Side.COLLATERAL, 25_000 * 10**6), (USDC, Side.DEBT, 18_571 * 10**6))
    assert VIEW.assess(same).health_factor < BOUNDS.below

    assert "no collateral that may be sold" in refused(
        SELL.decide(VIEW, same, VIEW.assess(same), NOTHING)
    )


def test_a_market_that_knows_no_sales_is_said() -> None:
    plain = FakeMarket()

    assert refused(SELL.decide(plain, THIN, plain.assess(THIN), NOTHING)).endswith(
        "this market knows no deleverage"
    )


def test_what_it_says_is_reached_for_every_debt() -> None:
    both = holdings(
        (WETH, Side.COLLATERAL, 10 * 10**18),
        (USDC, Side.DEBT, 9_000 * 10**6),
        (DAI, Side.DEBT, 10_047 * 10**18),
    )
    found = VIEW.assess(both)
    bounds = replace(BOUNDS, target=wad("1.3"))

    intent = acted(replace(SELL, bounds=bounds).decide(VIEW, both, found, NOTHING))

    debt = leg_of(found, intent.asset)
    way = VIEW.deleveraged(both, leg_of(found, WETH), debt, intent.amount, Bps(100))
    assert isinstance(found, Assessed)
    assert way is not None
    assert wad("1.3") <= way.health < wad("1.3") + WAD // 10**6 < UINT256_MAX
