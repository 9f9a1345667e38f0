"""Numbers the kinds of entries that occur: weights are then looked up by one gather.

A kind is (side, e-mode, reserve).  Even numbers are collateral, odd ones debt, so that the two
sides of a vector by kind are its two halves, every second element.  0 and 1 stand for columns that
are not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model import Side, Weights

KINDS_BOUND: Final = 1 << 16
FREE_KIND: Final = 0
ROOM: Final = 64
"""Vectors grow by so much at a time: matrices are only looked up anew when they do."""

Floats = NDArray[np.float64]
Where = NDArray[np.intp]

COLLATERALS: Final = slice(0, None, 2)
DEBTS: Final = slice(1, None, 2)
_TAIL: Final = np.array([np.nan, 0.0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ByKind:
    """The weights of one block by kind, all float64[kinds]."""

    values: Floats
    """Base units per scaled unit; NaN without a price, 0 for columns not used."""
    slack: Floats
    """What integer rounding of one entry may move; NaN where `values` is."""
    both: Floats
    """float64[2 * kinds]: the same two, one behind the other."""


class Kinds:
    """Kinds by number."""

    def __init__(self) -> None:
        """Numbers 0 and 1 are taken by columns not used."""
        self._number: Mapping[Side, dict[tuple[int, int], int]] = {s: {} for s in Side}
        self._kinds: tuple[list[tuple[int, int]], ...] = ([(0, 0)], [(0, 0)])
        self._places: tuple[tuple[int, ...], Where] = ((), np.zeros(0, dtype=np.intp))

    @property
    def width(self) -> int:
        """How long a vector by kind is, room for growth included."""
        most = 2 * max(map(len, self._kinds))
        return (most + ROOM - 1) // ROOM * ROOM

    def reserve(self, number: int) -> int:
        """Return the reserve of a kind."""
        return self._kinds[number % 2][number // 2][1]

    def number(self, side: Side, e_mode: int, reserve: int) -> int:
        """Return the number of a kind, a new one if it has none."""
        numbers = self._number[side]
        found = numbers.get((e_mode, reserve))
        if found is None:
            odd = int(side is Side.DEBT)
            kinds = self._kinds[odd]
            found = 2 * len(kinds) + odd
            if found >= KINDS_BOUND:
                raise ValueError(f"more than {KINDS_BOUND // 2 - 1} pairs of e-mode and reserve")
            numbers[e_mode, reserve] = found
            kinds.append((e_mode, reserve))
        return found

    def used(self) -> NDArray[np.bool_]:
        """Return bool[kinds]: which numbers are of a kind."""
        numbers = np.arange(self.width)
        bounds = np.array([len(kinds) for kinds in self._kinds])
        return (numbers >= 2) & (numbers // 2 < bounds[numbers % 2])

    def by_kind(self, weights: Weights) -> ByKind:
        """Look `weights` up.  A kind beyond them has no price: NaN."""
        flat = np.concatenate(
            (
                weights.collateral.ravel(),
                weights.debt,
                _TAIL,
                weights.collateral_slack.ravel(),
                weights.debt_slack,
                _TAIL,
            )
        )
        found: Floats = flat.take(self._where(weights))
        half = len(found) // 2
        return ByKind(values=found[:half], slack=found[half:], both=found)

    def _where(self, weights: Weights) -> Where:
        """Return where the values and then the slacks of all kinds are in the weights laid flat."""
        e_modes, reserves = weights.collateral.shape
        debts = len(weights.debt)
        key = (*map(len, self._kinds), e_modes, reserves, debts)
        if self._places[0] != key:
            nan, zero = e_modes * reserves + debts, e_modes * reserves + debts + 1
            where = np.full(self.width, zero, dtype=np.intp)
            modes, ids = np.array(self._kinds[0][1:], dtype=np.intp).reshape(-1, 2).T
            known = (modes < e_modes) & (ids < reserves)
            where[2 : 2 * len(self._kinds[0]) : 2] = np.where(known, modes * reserves + ids, nan)
            _, ids = np.array(self._kinds[1][1:], dtype=np.intp).reshape(-1, 2).T
            owed = np.where(ids < debts, e_modes * reserves + ids, nan)
            where[3 : 2 * len(self._kinds[1]) + 1 : 2] = owed
            self._places = (key, np.concatenate((where, where + zero + 1)))
        return self._places[1]
