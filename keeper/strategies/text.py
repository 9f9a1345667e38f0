"""How reasons write numbers: grouped thousands, never rounded to the flattering side."""

import unicodedata
from typing import Final

from keeper.model import Asset
from keeper.units import ENDLESS, UINT256_MAX, WAD, Base, Raw, Rounding, Wad, mul_div

BASE_DECIMALS: Final = 8
_SYMBOL_LENGTH: Final = 16


def health(value: Wad) -> str:
    """Return a health factor floored to three decimals: 0.9999 reads 0.999, never 1.000."""
    if value == UINT256_MAX:
        return "infinite (no debt)"
    return _written(value, WAD, 3, Rounding.DOWN)


def have(amount: Raw, asset: Asset) -> str:
    """Return an amount somebody has or may take, rounded down, with its symbol."""
    if amount >= ENDLESS:
        return f"unlimited {symbol(asset)}"
    return f"{number(amount, asset, Rounding.DOWN)} {symbol(asset)}"


def need(amount: Raw, asset: Asset) -> str:
    """Return an amount that is needed, rounded up: it never reads less than what is missing."""
    return f"{number(amount, asset, Rounding.UP)} {symbol(asset)}"


def number(amount: Raw, asset: Asset, rounding: Rounding) -> str:
    """Return whole tokens: two decimals from 100 on, four from 0.01 on, eight below."""
    return _whole(amount, asset.decimals, rounding)


def coins(wei: int, rounding: Rounding) -> str:
    """Return an amount of the chain's own coin, written as one of a token."""
    return _whole(wei, 18, rounding)


def usd(value: Base) -> str:
    """Return base units as US dollars, rounded toward zero to cents."""
    return f"{_written(value, 10**BASE_DECIMALS, 2, Rounding.DOWN)} USD"


def usd_up(value: Base) -> str:
    """Return the same rounded up: what is above a cap never reads as the cap itself."""
    return f"{_written(value, 10**BASE_DECIMALS, 2, Rounding.UP)} USD"


def price(value: Base) -> str:
    """Return the price of one token in US dollars, rounded toward zero: as `keeper oracles` does.

    Cents from 100 dollars on, six places from a cent on, all eight below: what a dollar's price
    is off by is in the fourth place.
    """
    dollar = 10**BASE_DECIMALS
    places = 2 if value >= 100 * dollar else 6 if value * 100 >= dollar else 8
    return f"{_written(value, dollar, places, Rounding.DOWN)} USD"


def symbol(asset: Asset) -> str:
    """Return the token's symbol without anything that does not print, capped."""
    kept = "".join(c for c in asset.symbol[:256] if unicodedata.category(c)[0] not in "CZ")
    return kept[:_SYMBOL_LENGTH] or asset.address


def _whole(amount: int, decimals: int, rounding: Rounding) -> str:
    unit = 10**decimals
    places = 2 if amount >= 100 * unit or not amount else 4 if amount * 100 >= unit else 8
    return _written(amount, unit, places, rounding)


def _written(numerator: int, denominator: int, places: int, rounding: Rounding) -> str:
    scaled = mul_div(abs(numerator), 10**places, denominator, rounding)
    sign = "-" if numerator < 0 and scaled else ""
    return f"{sign}{scaled // 10**places:,}.{scaled % 10**places:0{places}d}"
