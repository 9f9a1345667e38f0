"""Accounts with the same number of collaterals and debts, side by side in columns.

Equal lengths need no row pointers and no branches: the signed sum of all of them is a gather, a
product and an addition per column.  A place that falls free is filled with the last account, so
that an edit moves at most one account and the columns stay dense.

A scaled amount is kept twice over: as float32 times 2**-64 (so that 2**128 fits) for the screen,
and what the float leaves out as int64, so that the two together are exact below 2**87.  Greater
amounts are beyond what an int64 can put right, and `Book` keeps them aside.
"""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

CHUNK: Final = 32_768
"""Places valued at a time: its buffers stay in the second-level cache."""
SHRINK: Final = 2.0**-64
STRETCH: Final = 2.0**64
REST_BOUND: Final = 1 << 63
WIDTHS: Final = (0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
GROWTH: Final = 8
"""Columns grow by an eighth: memory matters more than the copying."""

T = TypeVar("T", bound=np.generic)

Places = NDArray[np.intp]
Floats32 = NDArray[np.float32]
Floats = NDArray[np.float64]


def width_for(entries: int) -> int:
    """Return how many columns `entries` take: few widths, so that there are few shapes."""
    for width in WIDTHS:
        if entries <= width:
            return width
    return 1 << (entries - 1).bit_length()


def split(scaled: int) -> tuple[float, int | None]:
    """Return `scaled` as float32 times 2**-64 and what that leaves out; None if out of int64."""
    short = float(np.float32(float(scaled) * SHRINK))
    rest = scaled - int(short * STRETCH)
    return short, rest if -REST_BOUND < rest < REST_BOUND else None


class Shape:
    """Accounts with up to `collaterals` and `debts` entries: collateral columns, then debt ones.

    Columns that an account does not use have kind 0 and a scaled amount of 0.
    """

    def __init__(self, collaterals: int, debts: int, capacity: int = 4) -> None:
        """`capacity`: accounts to make room for; it grows by itself."""
        columns = collaterals + debts
        self.collaterals = collaterals
        self.debts = debts
        self.size = 0
        self.row: NDArray[np.int32] = np.zeros(capacity, dtype=np.int32)
        """int32[places]: whose place it is."""
        self.kind: NDArray[np.uint16] = np.zeros((columns, capacity), dtype=np.uint16)
        """uint16[columns, places]: which (e-mode, reserve), as the book numbers them."""
        self.scaled: Floats32 = np.zeros((columns, capacity), dtype=np.float32)
        """float32[columns, places]: scaled amounts times 2**-64, correctly rounded."""
        self.rest: NDArray[np.int64] = np.zeros((columns, capacity), dtype=np.int64)
        """int64[columns, places]: what the float leaves out, in scaled units."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, room for growth included."""
        return self.row.nbytes + self.kind.nbytes + self.scaled.nbytes + self.rest.nbytes

    def append(self, row: int) -> int:
        """Take a new place at the end for `row`; its columns hold nothing that counts."""
        if self.size == len(self.row):
            more = max(4, self.size // GROWTH)
            self.row = np.concatenate([self.row, np.zeros(more, dtype=np.int32)])
            self.kind = _widened(self.kind, more)
            self.scaled = _widened(self.scaled, more)
            self.rest = _widened(self.rest, more)
        self.row[self.size] = row
        self.size += 1
        return self.size - 1

    def drop(self, place: int) -> int:
        """Free `place`, the last account moving there; return the row that is there now."""
        self.size -= 1
        last = self.size
        if place != last:
            self.row[place] = self.row[last]
            self.kind[:, place] = self.kind[:, last]
            self.scaled[:, place] = self.scaled[:, last]
            self.rest[:, place] = self.rest[:, last]
        return int(self.row[place])

    def write(self, place: int, kinds: list[int], scaled: list[float], rest: list[int]) -> None:
        """Replace what `place` holds; lists are as long as there are columns."""
        self.kind[:, place] = kinds
        self.scaled[:, place] = scaled
        self.rest[:, place] = rest

    def picked(self, places: Places) -> "Shape":
        """Return a copy of these places only."""
        copy = Shape(self.collaterals, self.debts, 0)
        copy.size = len(places)
        copy.row = self.row[places]
        copy.kind = self.kind[:, places]
        copy.scaled = self.scaled[:, places]
        copy.rest = self.rest[:, places]
        return copy

    def short_of(
        self, limit: np.float32, collateral: Floats32, debt: Floats32
    ) -> tuple[Places, Floats32]:
        """Return the places whose signed sum is not at least `limit`, and the sums.

        ``sum(collateral[kind] * scaled) + sum(debt[kind] * scaled)`` in float32, in order of the
        columns: debt weights are negative.  NaN is not at least anything.  A shape without
        columns has nothing to be short of.
        """
        if len(self.kind) == 0:
            return _NOBODY, _NOTHING
        room = min(self.size, CHUNK)
        total, term = np.empty(room, dtype=np.float32), np.empty(room, dtype=np.float32)
        kinds = np.empty(room, dtype=np.intp)
        parts = [
            self._short_of(start, (kinds, total, term), limit, collateral, debt)
            for start in range(0, self.size, CHUNK)
        ] or [(_NOBODY, _NOTHING)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([p for p, _ in parts]), np.concatenate([s for _, s in parts])

    def _short_of(
        self,
        start: int,
        room: tuple[Places, Floats32, Floats32],
        limit: np.float32,
        collateral: Floats32,
        debt: Floats32,
    ) -> tuple[Places, Floats32]:
        end = min(self.size, start + CHUNK)
        kinds = room[0][: end - start]
        total, term = room[1][: end - start], room[2][: end - start]
        for column in range(len(self.kind)):
            weights = collateral if column < self.collaterals else debt
            out = term if column else total
            # numpy would make these indices itself, in memory that it asks for each time;
            # they are always in the table: clip only spares it a copy
            kinds[:] = self.kind[column, start:end]
            weights.take(kinds, out=out, mode="clip")
            out *= self.scaled[column, start:end]
            if column:
                total += term
        places = np.flatnonzero(~(total >= limit))
        return places + start, total[places]

    def sums(self, places: Places, collateral: Floats, debt: Floats) -> tuple[Floats, Floats]:
        """Return the two sums of `places` in float64, at float64 weights by kind."""
        kinds = self.kind[:, places]
        scaled = self.scaled[:, places].astype(np.float64) * STRETCH + self.rest[:, places]
        split_at = self.collaterals
        return (
            (collateral[kinds[:split_at]] * scaled[:split_at]).sum(axis=0),
            (debt[kinds[split_at:]] * scaled[split_at:]).sum(axis=0),
        )

    def counts(self, places: Places, collateral: Floats, debt: Floats) -> tuple[Floats, Floats]:
        """Return what the entries of `places` add up to if each counts once."""
        kinds = self.kind[:, places]
        split_at = self.collaterals
        return collateral[kinds[:split_at]].sum(axis=0), debt[kinds[split_at:]].sum(axis=0)


def _widened(columns: NDArray[T], more: int) -> NDArray[T]:
    new = np.zeros((columns.shape[0], columns.shape[1] + more), dtype=columns.dtype)
    new[:, : columns.shape[1]] = columns
    return new


_NOBODY: Final[Places] = np.zeros(0, dtype=np.intp)
_NOTHING: Final[Floats32] = np.zeros(0, dtype=np.float32)
