"""Accounts with the same number of collaterals and debts, one below the other.

Equal lengths make the signed sum of all of them one product (`keeper.risk.product`).  A place that
falls free is filled with the last account, so that an edit moves at most one account and the rows
stay dense.

A scaled amount is kept twice over: as float32 times 2**-64 (so that 2**128 fits) for the screen,
and what the float leaves out as int64, so that the two together are exact below 2**87.  Greater
amounts are beyond what an int64 can put right, and `Book` keeps them aside.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from keeper.risk.product import CHUNK, Columns, Floats32, Matrix, Places, equal_rows

SHRINK: Final = 2.0**-64
STRETCH: Final = 2.0**64
REST_BOUND: Final = 1 << 63
WIDTHS: Final = (0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
GROWTH: Final = 8
"""Arrays grow by an eighth: memory matters more than the copying."""

T = TypeVar("T", bound=np.generic)

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
        self.kind: Columns = np.zeros((capacity, columns), dtype=np.int32)
        """int32[places, columns]: which (side, e-mode, reserve), as the book numbers them."""
        self.scaled: Floats32 = np.zeros((capacity, columns), dtype=np.float32)
        """float32[places, columns]: scaled amounts times 2**-64, correctly rounded."""
        self.rest: NDArray[np.int64] = np.zeros((capacity, columns), dtype=np.int64)
        """int64[places, columns]: what the float leaves out, in scaled units."""
        self._matrices: list[Matrix] = []
        self._seen = (0, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, room for growth included."""
        return self.row.nbytes + self.kind.nbytes + self.scaled.nbytes + self.rest.nbytes

    def append(self, row: int) -> int:
        """Take a new place at the end for `row`; its columns hold nothing that counts."""
        if self.size == len(self.row):
            more = max(4, self.size // GROWTH)
            self.row = _lengthened(self.row, more)
            self.kind = _lengthened(self.kind, more)
            self.scaled = _lengthened(self.scaled, more)
            self.rest = _lengthened(self.rest, more)
            self._matrices, self._seen = [], (0, 0)  # they look at arrays that are no more
        self.row[self.size] = row
        self.size += 1
        return self.size - 1

    def drop(self, place: int) -> int:
        """Free `place`, the last account moving there; return the row that is there now."""
        self.size -= 1
        last = self.size
        if place != last:
            self.row[place] = self.row[last]
            self.kind[place] = self.kind[last]
            self.scaled[place] = self.scaled[last]
            self.rest[place] = self.rest[last]
        return int(self.row[place])

    def write(self, place: int, kinds: list[int], scaled: list[float], rest: list[int]) -> None:
        """Replace what `place` holds; lists are as long as there are columns."""
        self.kind[place] = kinds
        self.scaled[place] = scaled
        self.rest[place] = rest

    def looks(self, width: int) -> Iterator[tuple[int, Matrix]]:
        """Yield a matrix for each chunk of places, with the first of them.

        Times float32[width] weights by kind, those of debts negative, it is the signed sum of each
        place, its terms in order of the columns.  Nothing is yielded of a shape without columns.
        """
        if self.kind.shape[1]:
            for number, matrix in enumerate(self._looks(width)):
                yield number * CHUNK, matrix

    def _looks(self, width: int) -> list[Matrix]:
        """Return a matrix for each chunk of places; those of unchanged chunks are kept."""
        if self._seen != (self.size, width):
            whole = self.size // CHUNK
            kept = [m for m in self._matrices[:whole] if m.shape == (CHUNK, width)]
            self._matrices = kept + [
                equal_rows(self.kind[start:end], self.scaled[start:end], width)
                for start in range(len(kept) * CHUNK, self.size, CHUNK)
                for end in (min(self.size, start + CHUNK),)
            ]
            self._seen = (self.size, width)
        return self._matrices

    def sums(self, places: Places, weights: Floats, slack: Floats) -> Floats:
        """Return float64[4, places]: collateral, debt, and the slack of each; both by kind.

        Of the weights what the entries are worth, of the slack that of each entry once.
        """
        kinds = self.kind[places]
        scaled = self.scaled[places].astype(np.float64) * STRETCH + self.rest[places]
        values, slacks = weights.take(kinds) * scaled, slack.take(kinds)
        at = self.collaterals
        found = np.empty((4, len(places)))
        for out, terms in zip(
            found, (values[:, :at], values[:, at:], slacks[:, :at], slacks[:, at:]), strict=True
        ):
            np.add.reduce(terms, axis=1, out=out)
        return found


def _lengthened(rows: NDArray[T], more: int) -> NDArray[T]:
    return np.concatenate([rows, np.zeros((more, *rows.shape[1:]), dtype=rows.dtype)])
