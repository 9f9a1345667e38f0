"""How long until interest alone makes a position liquidatable.  Pure; an estimate for people.

At the block's rates and prices, compounded continuously, all else unmoved: rates change with every
block, so the answer is given in the unit a person would use and never decided upon.
"""

from collections.abc import Callable
from math import exp
from typing import Final

from keeper.model import Assessed, Leg, Side
from keeper.units import RAY, SECONDS_PER_YEAR, WAD

LONGEST_YEARS: Final = 10.0
"""Beyond this nobody wants to know."""


def seconds_to_one(assessed: Assessed, rate_ray: Callable[[Leg], int]) -> int | None:
    """Return in how many seconds the health factor is 1, floored; None if not in ten years.

    `rate_ray`: what a leg earns or costs, ray per year.  0 where it is below 1 already.
    """
    if assessed.debt == 0:
        return None
    if assessed.health_factor < WAD:
        return 0
    grows = [
        (
            leg.value * leg.liquidation_threshold / 10_000
            if leg.side is Side.COLLATERAL
            else -float(leg.value),
            rate_ray(leg) / RAY,
        )
        for leg in assessed.legs
    ]

    def room(years: float) -> float:
        return sum(weight * exp(min(rate, 50.0) * years) for weight, rate in grows)

    low, high = 0.0, LONGEST_YEARS
    if room(high) >= 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        if room(middle) >= 0:
            low = middle
        else:
            high = middle
    return int(low * SECONDS_PER_YEAR)
