"""What a health factor would be if one price moved: an estimate from the block's own values.  Pure.

All legs whose price hangs on the same feed move together, as in `keeper.alerts.distance`.  Floored;
it is not the contract's answer, which rounds each leg at the new price, and it says "about".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from keeper.alerts.distance import drivers
from keeper.model import Address, Assessed, PriceVerdict, Side
from keeper.units import UINT256_MAX, WAD, Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class Stressed:
    """One position under one shock."""

    health: Wad
    moved: tuple[str, ...]
    """Names of what moved; empty when nothing of the position hangs on it."""


def stressed(
    assessed: Assessed, prices: Iterable[PriceVerdict], name: str, permille: int
) -> Stressed:
    """Return the health factor after `name` (a feed's base or a symbol; ``all``: every collateral)
    moved by `permille`, which is above -1000.
    """
    wanted = name.casefold()
    moving: set[Address] = set()
    moved: list[str] = []
    for driver in drivers(assessed, {one.asset.address: one for one in prices}):
        symbols = {leg.asset.symbol for leg in assessed.legs if leg.asset.address in driver.assets}
        if wanted in {driver.name.casefold(), *(symbol.casefold() for symbol in symbols)}:
            moving |= driver.assets
            moved.append(driver.name)
    every = wanted == "all"
    collateral = debt = 0
    for leg in assessed.legs:
        is_collateral = leg.side is Side.COLLATERAL
        moves = leg.asset.address in moving or (every and is_collateral)
        factor = 1000 + permille if moves else 1000
        if is_collateral:
            collateral += leg.value * leg.liquidation_threshold * factor
        else:
            debt += leg.value * 10_000 * factor
    health = Wad(collateral * WAD // debt) if debt else Wad(UINT256_MAX)
    return Stressed(health=health, moved=("all collateral",) if every else tuple(moved))
