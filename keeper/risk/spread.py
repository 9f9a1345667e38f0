"""How the health factors of a whole book lie, in floats, for who looks on: metrics and the page.

Nothing is decided by it.  Whoever is within a few units of 10**-15 of a bound may be counted on the
other side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keeper.risk.screen import Rows, Screen
from keeper.units import WAD, Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One book at one block."""

    block_number: int
    accounts: int
    """In the book, debt or not."""
    below: tuple[tuple[Wad, int], ...]
    """How many are below each bound, the lowest bound first; who is below one is below the next."""
    unknown: int
    """Who uses a price that is not to be relied upon, or could not be read."""
    lowest: float
    """Infinite where nobody owes anything that counts; NaN where it is known of nobody who may."""


def spread(
    seen: Screen, bounds: Sequence[Wad], unread: Rows, *, accounts: int, block_number: int
) -> Spread:
    """Return how many are below each of `bounds`, ascending; `unread`: rows that are unknown."""
    found, book = seen.found(bounds[-1]), seen.book
    left_out = np.zeros(book.rows, dtype=np.bool_)
    left_out[found.unknown] = left_out[unread] = True
    unknown = int(np.count_nonzero(left_out))
    known = found.below[~left_out[found.below]]
    if known.size == 0:  # the lowest is of somebody above the last bound
        known = book.live(np.flatnonzero(~left_out))
    collateral, debt = seen.sums(known)
    owing = debt > 0
    healths = np.sort(collateral[owing] / debt[owing])
    counts = np.searchsorted(healths, [bound / WAD for bound in bounds])
    nobody = math.nan if unknown else math.inf
    return Spread(
        block_number=block_number,
        accounts=accounts,
        below=tuple(zip(bounds, counts.tolist(), strict=True)),
        unknown=unknown,
        lowest=float(healths[0]) if healths.size else nobody,
    )
