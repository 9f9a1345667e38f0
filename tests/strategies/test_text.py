import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model import Asset
from keeper.strategies.text import have, health, need, symbol, usd
from keeper.units import ENDLESS, UINT256_MAX, WAD, Base, Raw, Wad
from tests.strategies.fakes import USDC, WETH


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**18 - 1, "0.999"),
        (10**18, "1.000"),
        (1_061_060_494_595_665_214, "1.061"),
        (12_345 * 10**18 + 678_900_000_000_000_000, "12,345.678"),
        (UINT256_MAX, "infinite (no debt)"),
        (0, "0.000"),
    ],
)
def test_a_health_factor_is_floored(value: int, shown: str) -> None:
    assert health(Wad(value)) == shown


def test_what_is_needed_is_rounded_up_and_what_is_there_down() -> None:
    # 14,600.001 USDC
    assert need(Raw(14_600_001_000), USDC) == "14,600.01 USDC"
    assert have(Raw(14_600_001_000), USDC) == "14,600.00 USDC"


def test_small_amounts_keep_their_digits() -> None:
    assert have(Raw(8_934_567_890_123_456_789), WETH) == "8.9345 WETH"
    assert have(Raw(1_234_567_890_123), WETH) == "0.00000123 WETH"
    assert have(Raw(0), WETH) == "0.00 WETH"


def test_the_largest_integer_does_not_lose_a_digit() -> None:
    asset = Asset(address=USDC.address, symbol="X", decimals=0)

    assert have(Raw(ENDLESS - 1), asset).replace(",", "") == f"{ENDLESS - 1}.00 X"
    assert have(Raw(ENDLESS), asset) == have(Raw(UINT256_MAX), asset) == "unlimited X"


def test_losses_are_written_with_their_sign() -> None:
    assert usd(Base(-310_500_000)) == "-3.10 USD"
    assert usd(Base(310_500_000)) == "3.10 USD"


def test_a_hostile_symbol_is_cut_to_what_prints() -> None:
    asset = Asset(address=USDC.address, symbol="US\u202eD\nC" + "x" * 500, decimals=6)

    assert symbol(asset) == "USDCxxxxxxxxxxxx"


@given(st.integers(0, UINT256_MAX))
def test_no_health_below_one_reads_as_one(value: int) -> None:
    shown = health(Wad(value))

    if value < WAD:
        assert shown.startswith("0.")
