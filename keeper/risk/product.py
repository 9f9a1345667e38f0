"""One product of many accounts with one vector of weights: a sparse matrix in rows.

The work is scipy's; the arrays are the book's.  A matrix is only a look at them, so that an edit in
place is seen by the next product and nothing is built anew.  Rows of equal length, side by side,
are what makes it fast: the processor then foresees where each ends.
"""

from functools import cache
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

CHUNK: Final = 196_608
"""Rows valued at a time: their sums stay in the cache.  Not fewer, for what two threads share."""

Floats32 = NDArray[np.float32]
Columns = NDArray[np.int32]
Places = NDArray[np.intp]


class Matrix(Protocol):
    """float32[rows, kinds], as scipy has it."""

    data: Floats32
    indices: Columns
    indptr: Columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def __matmul__(self, weights: Floats32) -> Floats32:
        """Return the sum of each row, its terms added in float32 from the left."""
        ...

    def __getitem__(self, rows: Places) -> "Matrix":
        """Return a copy of these rows."""
        ...


def equal_rows(kinds: Columns, scaled: Floats32, width: int) -> Matrix:
    """Look at int32[rows, n] and float32[rows, n], each contiguous; nothing is copied.

    `width`: how many kinds there are weights for.
    """
    rows, length = kinds.shape
    return _look(kinds.reshape(-1), scaled.reshape(-1), _starts(length)[: rows + 1], width)


def stacked(parts: list[tuple[Columns, Floats32]], width: int) -> Matrix:
    """Return a copy of all `parts`, each as in `equal_rows`, one below the other."""
    lengths = [np.full(len(kinds), kinds.shape[1], dtype=np.int32) for kinds, _ in parts]
    starts = np.zeros(1 + sum(map(len, lengths)), dtype=np.int32)
    if lengths:
        np.cumsum(np.concatenate(lengths), out=starts[1:])
    kinds = [kinds.reshape(-1) for kinds, _ in parts] or [np.zeros(0, dtype=np.int32)]
    scaled = [scaled.reshape(-1) for _, scaled in parts] or [np.zeros(0, dtype=np.float32)]
    return _look(np.concatenate(kinds), np.concatenate(scaled), starts, width)


def head(matrix: Matrix, rows: int) -> Matrix:
    """Look at the first `rows` of `matrix`; nothing is copied."""
    starts = matrix.indptr[: rows + 1]
    end = int(starts[-1])
    return _look(matrix.indices[:end], matrix.data[:end], starts, matrix.shape[1])


def nbytes(matrix: Matrix) -> int:
    """Bytes of all arrays."""
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


def _look(kinds: Columns, scaled: Floats32, starts: Columns, width: int) -> Matrix:
    # the constructor would copy what is a small part of a greater array: it gets its arrays after
    made: Any = csr_array((len(starts) - 1, width), dtype=np.float32)
    made.data, made.indices, made.indptr = scaled, kinds, starts
    return cast("Matrix", made)


@cache
def _starts(length: int) -> Columns:
    """Return where each row of a chunk starts: the same for every chunk of that length."""
    return np.arange(0, (CHUNK + 1) * length, max(1, length), dtype=np.int32)[: CHUNK + 1]
