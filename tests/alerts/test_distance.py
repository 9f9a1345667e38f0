"""How far a position is from liquidation."""

import re
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from keeper.alerts.distance import LiquidationPoint, all_together, liquidation_points
from keeper.alerts.render import point_line
from keeper.alerts.stress import named, nearest, stressed
from keeper.model import Address, Asset, Side
from keeper.units import Base, Raw
from tests.alerts.build import (
    ETH_USD,
    USDC,
    USDC_USD,
    WETH,
    WSTETH,
    assessed,
    feed_verdict,
    leg,
    price,
    wad,
)

DAI = Asset(address=Address("0x" + "da" * 20), symbol="DAI", decimals=18)
ETH_FEED = feed_verdict(ETH_USD, answer=2500_00000000)
USDC_FEED = feed_verdict(USDC_USD, answer=1_00000000)
PRICES = (price(WETH, ETH_FEED), price(WSTETH, ETH_FEED), price(USDC, USDC_FEED))


def test_collateral_that_hangs_on_one_feed_falls_together() -> None:
    position = assessed(
        wad("1.2"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
            leg(WSTETH, Side.COLLATERAL, 10_000, 3000_00000000, 8000),
            leg(USDC, Side.DEBT, 13_000, 1_00000000),
        ),
    )
    eth, usdc = liquidation_points(position, PRICES)

    assert eth.assets == {WETH.address, WSTETH.address}
    # 0.8 x 20000 x f = 13000 at f = 0.8125: 2031.25; WETH alone would have said 0.625
    assert (eth.name, eth.price, eth.permille, eth.rises) == ("ETH", 2031_25000000, -187, False)
    # and the debt: 16000 / 13000 = 1.2307..
    assert (usdc.name, usdc.price, usdc.rises) == ("USDC", 1_23076923, True)


def test_a_short_position_is_liquidated_above_a_price() -> None:
    position = assessed(
        wad("1.2"),
        legs=(
            leg(USDC, Side.COLLATERAL, 10_000, 1_00000000, 7800),
            leg(WETH, Side.DEBT, 6_000, 2500_00000000),
        ),
    )
    lines = [shown(point) for point in liquidation_points(position, PRICES)]

    assert lines == [
        "Liquidated if USDC < $0.7693 (-23.0 %), now $1.00",
        "Liquidated if ETH > $3 250 (+30.0 %), now $2 500",
    ]


def shown(point: LiquidationPoint) -> str:
    return point_line(point).replace("\u202f", " ")


def falls(price: int, now: int, permille: int = 0) -> LiquidationPoint:
    return LiquidationPoint(
        name="ETH", price=Base(price), now=Base(now), rises=False, permille=permille
    )


def test_while_health_is_at_least_1_the_price_is_never_shown_above_what_it_is_now() -> None:
    # health 1.0000006: both are 2 809.9 at four places of cents
    near = falls(2809_89831407, 2809_90000000)

    assert shown(near) == "Liquidated if ETH < $2 809.899 (-0.0 %), now $2 809.900"
    assert shown(falls(2809_10000000, 2809_90000000)) == (
        "Liquidated if ETH < $2 809.1 (-0.0 %), now $2 809.9"
    )
    assert shown(falls(2500_00000000, 2500_00000000)) == (
        "Liquidated if ETH < $2 500 (-0.0 %), now $2 500"
    )
    assert shown(falls(99_991_811, 99_991_812)) == (
        "Liquidated if ETH < $0.99991811 (-0.0 %), now $0.99991812"
    )
    rising = replace(near, price=Base(2809_90168593), rises=True)
    assert shown(rising) == "Liquidated if ETH > $2 809 (+0.0 %), now $2 809"


@given(st.integers(1, 10**14), st.integers(0, 10**13))
def test_no_price_to_fall_to_reads_above_the_price_now(price: int, more: int) -> None:
    line = shown(falls(price, price + more)).replace(" ", "")

    told = re.fullmatch(r"LiquidatedifETH<\$([0-9.]+)\(-0\.0%\),now\$([0-9.]+)", line)
    assert told is not None
    assert Decimal(told[1]) <= Decimal(told[2])
    assert Decimal(told[1]) * 10**8 >= price


def test_at_a_health_of_1_the_price_to_fall_to_is_not_above_the_price_now() -> None:
    # 1 base unit short: half up makes a health factor of 1 of it
    legs = (
        replace(leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000)),
        replace(leg(DAI, Side.DEBT, 8_000, 1_00000000), value=Base(8_000_00000001)),
    )

    eth, *_ = liquidation_points(assessed(wad("1"), legs=legs), PRICES)

    assert eth.price == eth.now


def test_one_asset_against_itself_has_no_price_at_which_it_is_liquidated() -> None:
    position = assessed(
        wad("1.2"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 9300),
            leg(WETH, Side.DEBT, 5_000, 2500_00000000),
        ),
    )

    assert liquidation_points(position, PRICES) == ()


def test_below_one_there_is_no_distance_left() -> None:
    position = assessed(
        wad("0.99"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
            leg(USDC, Side.DEBT, 8_100, 1_00000000),
        ),
    )

    assert liquidation_points(position, PRICES) == ()


def test_all_collateral_together_may_fall_less_than_each_alone() -> None:
    # 0.8 x 20000 against 13000 is 1.2307..: all may fall by 18.75 %, floored
    position = assessed(
        wad("1.230769230769230769"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
            leg(USDC, Side.COLLATERAL, 10_000, 1_00000000, 8000),
            leg(DAI, Side.DEBT, 13_000, 1_00000000),
        ),
    )

    assert all_together(position, PRICES) == 187


def test_a_debt_that_hangs_on_the_same_feed_as_collateral_falls_with_it() -> None:
    legs = (
        leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
        leg(USDC, Side.COLLATERAL, 10_000, 1_00000000, 8000),
        leg(WSTETH, Side.DEBT, 5_000, 3000_00000000),
    )
    # 16000 against 13000; with ETH falls what is owed in staked ETH too: 16000 x = 8000 + 5000 x at
    # x = 8000 / 11000, which is 27.27.. % less
    position = assessed(
        wad("1.230769230769230769"), legs=(*legs, leg(DAI, Side.DEBT, 8_000, 1_00000000))
    )
    # and where everything that is owed falls with it, no fall is one too many
    hedged = assessed(wad("3.2"), legs=legs)

    assert all_together(position, PRICES) == 272
    assert all_together(hedged, PRICES) is None


def test_dust_of_what_is_owed_moves_the_distance_of_all_collateral_by_no_more_than_its_worth() -> (
    None
):
    bare = (
        leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
        leg(DAI, Side.COLLATERAL, 10_000, 1_00000000, 8000),
        leg(USDC, Side.DEBT, 13_000, 1_00000000),
    )
    dust = replace(leg(USDC, Side.COLLATERAL, 0, 1_00000000, 7800), balance=Raw(1))
    half = leg(USDC, Side.COLLATERAL, 6_500, 1_00000000, 7800)
    health = wad("1.230769230769230769")

    # 16000 against 13000: 18.75 %; a part of 13000 and a millionth of a dollar are the same
    assert all_together(assessed(health, legs=bare), PRICES) == 187
    assert all_together(assessed(health, legs=(*bare, dust)), PRICES) == 187
    # 6500 of what is owed fall with as much that is held: 21070 x = 6500 + 6500 x at 0.4461..
    more = assessed(wad("1.620769230769230769"), legs=(*bare, half))
    assert all_together(more, PRICES) == 553


def test_one_thing_that_drives_all_collateral_is_said_once() -> None:
    position = assessed(
        wad("1.2"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
            leg(WSTETH, Side.COLLATERAL, 10_000, 3000_00000000, 8000),
            leg(USDC, Side.DEBT, 13_000, 1_00000000),
        ),
    )

    assert all_together(position, PRICES) is None


def test_a_shock_moves_all_that_hangs_on_the_feed() -> None:
    position = assessed(
        wad("1.2307"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
            leg(WSTETH, Side.COLLATERAL, 10_000, 3000_00000000, 8000),
            leg(USDC, Side.DEBT, 13_000, 1_00000000),
        ),
    )
    # 16000 x 0.8 / 13000 = 0.98461..; and dollars 10 % dearer: 16000 / 14300
    assert stressed(position, PRICES, "eth", -200).health == 984_615_384_615_384_615
    assert stressed(position, PRICES, "usdc", 100).health == 1_118_881_118_881_118_881
    assert stressed(position, PRICES, "all", -200).health == 984_615_384_615_384_615
    assert stressed(position, PRICES, "doge", -200).moved == ()


def test_a_shock_says_which_assets_it_moved() -> None:
    position = assessed(
        wad("1.2307"),
        legs=(
            leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
            leg(WSTETH, Side.COLLATERAL, 10_000, 3000_00000000, 8000),
            leg(USDC, Side.DEBT, 13_000, 1_00000000),
        ),
    )

    assert stressed(position, PRICES, "wsteth", -50).symbols == ("WETH", "wstETH")
    assert stressed(position, PRICES, "usdc", -50).symbols == ("USDC",)
    assert stressed(position, PRICES, "all", -50).symbols == ()


def test_what_no_market_has_is_known_by_what_is_like_it() -> None:
    assert [named(PRICES, word) for word in ("ETH", "wsteth", "All", "ethereum")] == [
        "ETH",
        "wstETH",
        "All",
        None,
    ]
    assert nearest(PRICES, "ethereum") == ("ETH", "WETH")
    assert nearest(PRICES, "wstteh") == ("wstETH", "WETH")
    assert nearest(PRICES, "doge") == ()
