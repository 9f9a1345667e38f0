"""How ``keeper explain`` says at which price a position is liquidated."""

from keeper.cli.explain import _point


def test_a_price_below_which_it_is_liquidated_is_said_with_the_way_there() -> None:
    # 291,012,345,678 / 351,237,281,953 is 82.85 %
    assert _point("WETH", 351_237_281_953, 291_012_345_678) == (
        "liquidation price of WETH: 2,910.12 (-17.2 % from 3,512.37)"
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
