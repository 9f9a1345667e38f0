"""What a health factor would be if one price moved: an estimate from the block's own values.  Pure.

All legs whose price hangs on the same feed move together, as in `keeper.alerts.distance`.  Floored;
it is not the contract's answer, which rounds each leg at the new price, and it says "about".
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keeper.alerts.distance import drivers, names_of
from keeper.alerts.numbers import symbol_text
from keeper.model import Address, Assessed, PriceVerdict, Side
from keeper.units import UINT256_MAX, WAD, Wad

ALL: Final = "all"
"""Every collateral."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stressed:
    """One position under one shock."""

    health: Wad
    moved: tuple[str, ...]
    """Names of what moved; empty when nothing of the position hangs on it."""
    symbols: tuple[str, ...] = ()
    """The position's assets that moved: all that hang on the same feed as the one named."""


def named(prices: Iterable[PriceVerdict], word: str) -> str | None:
    """Return how what `word` names is written; None where no market has it."""
    known = {name.casefold(): name for one in prices for name in names_of(one)}
    return known.get(word.casefold(), word if word.casefold() == ALL else None)


def nearest(prices: Iterable[PriceVerdict], word: str) -> tuple[str, ...]:
    """Return up to three names that are like `word`, the nearest first."""
    known = {name.casefold(): name for one in prices for name in names_of(one)}
    near = difflib.get_close_matches(word.casefold(), known, n=3, cutoff=0.5)
    return tuple(known[name] for name in near)


def stressed(
    assessed: Assessed, prices: Iterable[PriceVerdict], name: str, permille: int
) -> Stressed:
    """Return the health factor after `name` (a feed's base or a symbol; ``all``: every collateral)
    moved by `permille`, which is above -1000.
    """
    wanted = name.casefold()
    moving: set[Address] = set()
    moved: list[str] = []
    along: dict[str, None] = {}
    for driver in drivers(assessed, {one.asset.address: one for one in prices}):
        symbols = {leg.asset.symbol for leg in assessed.legs if leg.asset.address in driver.assets}
        if wanted in {driver.name.casefold(), *(symbol.casefold() for symbol in symbols)}:
            moving |= driver.assets
            moved.append(driver.name)
            along |= dict.fromkeys(sorted(symbol_text(symbol) for symbol in symbols))
    every = wanted == ALL
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
    if every:
        return Stressed(health=health, moved=("all collateral",))
    return Stressed(health=health, moved=tuple(moved), symbols=tuple(along))
