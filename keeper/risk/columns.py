"""One side of the book in columns: entries of all accounts in one pool, edited in place.

An account's entries are a chain through `next`; freed places form another.  A freed place keeps
row 0 with a scaled amount of 0 in kind 0, so that sums over the whole pool need no mask.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

END: Final = -1
FREE_KIND: Final = 0
LOW_BITS: Final = 64
LOW_MASK: Final = (1 << LOW_BITS) - 1


class Columns:
    """Entries: row int32, kind uint16, scaled as float64 and as two uint64, next int32."""

    def __init__(self, rows: int, capacity: int) -> None:
        """`rows`: accounts to make room for; `capacity`: entries.  Both grow."""
        self._row: NDArray[np.int32] = np.zeros(capacity, dtype=np.int32)
        self._kind: NDArray[np.uint16] = np.zeros(capacity, dtype=np.uint16)
        self._scaled: NDArray[np.float64] = np.zeros(capacity, dtype=np.float64)
        self._high: NDArray[np.uint64] = np.zeros(capacity, dtype=np.uint64)
        self._low: NDArray[np.uint64] = np.zeros(capacity, dtype=np.uint64)
        self._next: NDArray[np.int32] = np.full(capacity, END, dtype=np.int32)
        self._head: NDArray[np.int32] = np.full(rows, END, dtype=np.int32)
        self._size = 0
        self._free = END
        self.most = 0
        """The most entries any account has had on this side."""

    @property
    def row(self) -> NDArray[np.int32]:
        """int32[entries]: whose entry it is.  A view."""
        return self._row[: self._size]

    @property
    def kind(self) -> NDArray[np.uint16]:
        """uint16[entries]: which (e-mode, reserve), as the book numbers them.  A view."""
        return self._kind[: self._size]

    @property
    def scaled(self) -> NDArray[np.float64]:
        """float64[entries]: scaled amounts, each correctly rounded.  A view."""
        return self._scaled[: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(
            a.nbytes
            for a in (
                self._row,
                self._kind,
                self._scaled,
                self._high,
                self._low,
                self._next,
                self._head,
            )
        )

    def put(self, row: int, entries: tuple[tuple[int, int], ...]) -> None:
        """Replace the entries of `row` by (kind, scaled) pairs, places reused where they are."""
        if row >= len(self._head):
            more = max(64, row + 1 - len(self._head), len(self._head) // 2)
            self._head = np.concatenate([self._head, np.full(more, END, dtype=np.int32)])
        self.clear(row)
        for kind, scaled in reversed(entries):
            place = self._take()
            self._row[place] = row
            self._kind[place] = kind
            self._scaled[place] = float(scaled)
            self._high[place] = scaled >> LOW_BITS
            self._low[place] = scaled & LOW_MASK
            self._next[place] = self._head[row]
            self._head[row] = place
        self.most = max(self.most, len(entries))

    def clear(self, row: int) -> None:
        """Free the entries of `row`."""
        place = int(self._head[row])
        while place != END:
            following = int(self._next[place])
            self._row[place] = 0
            self._kind[place] = FREE_KIND
            self._scaled[place] = 0.0
            self._high[place] = self._low[place] = 0
            self._next[place] = self._free
            self._free = place
            place = following
        self._head[row] = END

    def of(self, row: int) -> Iterator[tuple[int, int]]:
        """Yield (kind, scaled) of `row`, scaled exact, in the order they were put."""
        place = int(self._head[row])
        while place != END:
            scaled = int(self._high[place]) << LOW_BITS | int(self._low[place])
            yield int(self._kind[place]), scaled
            place = int(self._next[place])

    def _take(self) -> int:
        if self._free != END:
            place = self._free
            self._free = int(self._next[place])
            return place
        if self._size == len(self._row):
            self._grow(max(64, self._size // 2))
        self._size += 1
        return self._size - 1

    def _grow(self, more: int) -> None:
        self._row = np.concatenate([self._row, np.zeros(more, dtype=np.int32)])
        self._kind = np.concatenate([self._kind, np.zeros(more, dtype=np.uint16)])
        self._scaled = np.concatenate([self._scaled, np.zeros(more, dtype=np.float64)])
        self._high = np.concatenate([self._high, np.zeros(more, dtype=np.uint64)])
        self._low = np.concatenate([self._low, np.zeros(more, dtype=np.uint64)])
        self._next = np.concatenate([self._next, np.full(more, END, dtype=np.int32)])
