"""Units that integers are in, and the one division everything exact is built on.

A `Wad` has 18 decimals, a `Ray` 27, `Bps` are ten-thousandths, `Base` is a market's
base currency (8 decimals of US dollars on Aave v3), `Raw` is a token's smallest unit,
`Wei` the chain's.  They are `int` at run time and distinct to the type checker.
"""

from enum import Enum
from typing import Final, NewType

Wad = NewType("Wad", int)
Ray = NewType("Ray", int)
Bps = NewType("Bps", int)
Base = NewType("Base", int)
Raw = NewType("Raw", int)
Wei = NewType("Wei", int)

WAD: Final = Wad(10**18)
RAY: Final = Ray(10**27)
BPS: Final = Bps(10_000)
UINT256_MAX: Final = 2**256 - 1
ENDLESS: Final = 2**255
"""An allowance from here on is without limit."""
SECONDS_PER_YEAR: Final = 365 * 24 * 3600


class Rounding(Enum):
    """Which way a division goes when it does not come out even."""

    DOWN = "down"
    UP = "up"
    HALF_UP = "half up"


def mul_div(x: int, y: int, denominator: int, rounding: Rounding) -> int:
    """Return ``x * y / denominator`` rounded as told, with no intermediate overflow.

    Half up is ``(x * y + denominator // 2) // denominator``, as Solidity libraries write it.
    Raises ValueError for a negative operand and ZeroDivisionError for a zero denominator:
    contracts revert on both.
    """
    if x < 0 or y < 0 or denominator < 0:
        raise ValueError(f"mul_div takes unsigned integers, not {x} * {y} / {denominator}")
    product = x * y
    match rounding:
        case Rounding.DOWN:
            return product // denominator
        case Rounding.UP:
            return -(-product // denominator)
        case Rounding.HALF_UP:
            return (product + denominator // 2) // denominator
