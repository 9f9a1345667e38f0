"""At which price: of each collateral alone, and of a feed that moves several."""

from dataclasses import replace

from keeper.alerts.distance import liquidation_points
from keeper.app.explain import Explained, LiquidationPrice, shared_feeds
from keeper.cli.explain import _point, price_lines
from keeper.model import Assessed, ContractHealth, PriceVerdict, Side
from keeper.units import Base, Bps, Wad
from tests.alerts.build import (
    ETH_USD,
    ME,
    USDC,
    USDC_USD,
    WETH,
    WSTETH,
    assessed,
    block,
    feed_verdict,
    leg,
    price,
    wad,
)

ETH_FEED = feed_verdict(ETH_USD, answer=2500_00000000)
USDC_FEED = feed_verdict(USDC_USD, answer=1_00000000)
PRICES = (price(WETH, ETH_FEED), price(WSTETH, ETH_FEED), price(USDC, USDC_FEED))
IN_WETH = leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000)
IN_WSTETH = leg(WSTETH, Side.COLLATERAL, 10_000, 3000_00000000, 8000)
BOTH = assessed(wad("1.2"), legs=(IN_WETH, IN_WSTETH, leg(USDC, Side.DEBT, 13_000, 1_00000000)))


def explained(
    found: Assessed, prices: tuple[PriceVerdict, ...], *alone: LiquidationPrice
) -> Explained:
    pool = ContractHealth(
        health_factor=found.health_factor, collateral=found.collateral, debt=found.debt
    )
    return Explained(
        market=found.position.market,
        block=block(),
        account=ME,
        lines=(),
        assessment=found,
        has_position=True,
        prices=prices,
        liquidation_prices=alone,
        shared_feeds=shared_feeds(found, prices),
        price_factor=Wad(0),
        seconds_to_liquidation=0,
        remedies=None,
        ours=pool,
        pool=pool,
    )


def test_assets_on_one_feed_fall_together_as_the_alert_says_and_each_alone_is_named_so() -> None:
    # alone: 0.8 x 10000 x f = 13000 - 8000 at f = 0.625; together 13000 / 16000 = 0.8125
    alone = LiquidationPrice(leg=IN_WETH, price=Base(1562_50000000))

    lines = price_lines(explained(BOTH, PRICES, alone))

    assert lines == [
        "liquidation price of ETH, which moves WETH and wstETH: 2,031.25 (-18.7 % from 2,500.00)",
        "liquidation price of WETH alone, all else unmoved: 1,562.50 (-37.5 % from 2,500.00)",
    ]
    [alert, *_] = liquidation_points(BOTH, PRICES)
    assert (alert.price, alert.permille) == (2031_25000000, -187)


def test_an_asset_with_a_feed_of_its_own_is_not_called_alone() -> None:
    found = replace(BOTH, legs=(IN_WETH, leg(USDC, Side.DEBT, 5_000, 1_00000000)))
    point = LiquidationPrice(leg=IN_WETH, price=Base(1562_50000000))

    assert price_lines(explained(found, PRICES, point)) == [
        "liquidation price of WETH: 1,562.50 (-37.5 % from 2,500.00)"
    ]


def test_collateral_and_debt_on_one_feed_have_no_price_together() -> None:
    # 9300 counted against 8000 owed: both move alike
    looped = (replace(IN_WSTETH, liquidation_threshold=Bps(9300)), replace(IN_WETH, side=Side.DEBT))
    found = replace(BOTH, legs=(looped[0], replace(looped[1], value=Base(8_000 * 10**8))))
    point = LiquidationPrice(leg=looped[0], price=Base(2580_64516130))

    none = "none, its price alone does not lead to 1"
    assert price_lines(explained(found, PRICES, point)) == [
        f"liquidation price of ETH, which moves wstETH and WETH: {none}",
        "liquidation price of wstETH alone, all else unmoved: 2,580.64 (-13.9 % from 3,000.00)",
    ]


def test_a_price_below_which_the_account_is_safe_is_said_as_a_rise() -> None:
    # 20000 x 0.8 in USDC against 6000 in WETH and 4000 in wstETH: at 1.6 times of today's
    legs = (
        leg(USDC, Side.COLLATERAL, 20_000, 1_00000000, 8000),
        leg(WETH, Side.DEBT, 6_000, 2500_00000000),
        leg(WSTETH, Side.DEBT, 4_000, 3000_00000000),
    )

    assert price_lines(explained(replace(BOTH, legs=legs), PRICES)) == [
        "liquidation price of ETH, which moves WETH and wstETH: 4,000.00 (+60.0 % from 2,500.00)"
    ]


def test_a_price_below_which_it_is_liquidated_is_said_with_the_way_there() -> None:
    # 291,012,345,678 / 351,237,281,953 is 82.85 %: 17.15 % less, floored
    assert _point("WETH", 351_237_281_953, 291_012_345_678) == (
        "liquidation price of WETH: 2,910.12 (-17.1 % from 3,512.37)"
    )


def test_a_price_above_which_it_is_liquidated_is_said_to_be_one() -> None:
    # 367,451,234,567 / 351,237,281,953 is 104.61 %
    assert _point("WETH", 351_237_281_953, 367_451_234_567, above=True) == (
        "liquidation price of WETH: above 3,674.51 (+4.6 % from 3,512.37): "
        "more is owed of it than it counts"
    )


def test_no_price_that_leads_to_liquidation_is_said_aloud() -> None:
    assert _point("WETH", 351_237_281_953, None) == (
        "liquidation price of WETH: none, its price alone does not lead to 1"
    )
