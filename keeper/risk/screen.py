"""Which accounts can be below a health factor, by float64 with a rigorous error bound.

The screen decides nothing: it leaves out only what exact integers would certainly leave out, and
`keeper.risk.exact` asks the contract's own arithmetic about the rest.

The bound.  An account's two sums, ``C = sum(weight * scaled)`` and the same for debt ``D``, have
only positive terms; with n of them, each product and each addition correctly rounded and the
weights off by a few roundings themselves, both are within a factor ``1 +- gamma(n + 12)`` of the
real ones (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1).  The contract's
integer rounding then moves them by at most the slack of each entry.  Hence::

    health factor >= (C (1 - gamma) - slack) / (D (1 + gamma) + slack) - 1 wad unit

First one slack that is enough for every account, then the survivors' own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model import Weights
from keeper.risk.book import Book, Kinds
from keeper.risk.columns import Columns
from keeper.units import WAD, Wad

UNIT_ROUNDOFF: Final = 2.0**-53
EXTRA_ROUNDINGS: Final = 16
"""Scaled, weight (two divisions and two products), the product, and the comparison itself."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screen:
    """One pass over a book at one block; thresholds are then cheap.  Made by `screen`."""

    book: Book
    weights: Weights
    collateral: Floats
    """float64[rows]: base units times threshold."""
    debt: Floats
    """float64[rows]: base units."""
    gamma: float

    def can_be_below(self, threshold: Wad) -> Rows:
        """Return the rows whose exact health factor can be below `threshold`: a superset.

        Rows of unknown health are not among them; see `unknown`.  Rows without debt never are.
        """
        bound = np.nextafter((threshold + 1) / WAD, np.inf)
        low = self.collateral * (1 - self.gamma)
        high = self.debt * (1 + self.gamma)
        collateral_slack, debt_slack = self._most_slack()
        near = (low - collateral_slack < bound * (high + debt_slack)) & (self.debt > 0)
        rows: Rows = np.flatnonzero(near)
        if rows.size == 0:
            return rows
        own_collateral, own_debt = self._own_slack()
        below: NDArray[np.bool_] = low[rows] - own_collateral[rows] < bound * (
            high[rows] + own_debt[rows]
        )
        return rows[below]

    def surely_below(self, threshold: Wad) -> Rows:
        """Return rows whose exact health factor is certainly below `threshold`: a subset."""
        bound = np.nextafter((threshold - 1) / WAD, 0)
        own_collateral, own_debt = self._own_slack()
        excess = (1 + self.gamma) * (1 + self.weights.collateral_excess)
        with np.errstate(invalid="ignore"):
            high = self.collateral * excess + own_collateral
        low = self.debt * (1 - self.gamma) - own_debt
        return np.flatnonzero((high * (1 + self.gamma) < bound * low) & (self.debt > 0))

    def unknown(self) -> Rows:
        """Return the rows that use a reserve without any price, or an e-mode not in the weights."""
        return np.flatnonzero(np.isnan(self.collateral) | np.isnan(self.debt))

    def _most_slack(self) -> tuple[float, float]:
        book = self.book
        collateral, debt = _slack_by_kind(book, self.weights)
        return (
            float(collateral.max()) * book.collateral.most,
            float(debt.max()) * book.debt.most,
        )

    def _own_slack(self) -> tuple[Floats, Floats]:
        book = self.book
        collateral, debt = _slack_by_kind(book, self.weights)
        widen = 1 + self.gamma
        return (
            _sum(book.collateral, collateral[book.collateral.kind], book.rows) * widen,
            _sum(book.debt, debt[book.debt.kind], book.rows) * widen,
        )


def screen(book: Book, weights: Weights) -> Screen:
    """Value the whole book at `weights`: two gathers, two products, two bincounts."""
    collateral_by_kind = _by_kind(book.collateral_kinds, weights.collateral)
    debt_by_kind = _by_kind(book.debt_kinds, weights.debt)
    terms = max(book.collateral.most, book.debt.most) + EXTRA_ROUNDINGS
    return Screen(
        book=book,
        weights=weights,
        collateral=_sum(
            book.collateral,
            collateral_by_kind[book.collateral.kind] * book.collateral.scaled,
            book.rows,
        ),
        debt=_sum(book.debt, debt_by_kind[book.debt.kind] * book.debt.scaled, book.rows),
        gamma=terms * UNIT_ROUNDOFF / (1 - terms * UNIT_ROUNDOFF),
    )


def _sum(columns: Columns, values: Floats, rows: int) -> Floats:
    sums = np.bincount(columns.row, weights=values, minlength=rows)
    return sums.astype(np.float64, copy=False)


def _slack_by_kind(book: Book, weights: Weights) -> tuple[Floats, Floats]:
    return (
        np.nan_to_num(_by_kind(book.collateral_kinds, weights.collateral_slack)),
        np.nan_to_num(_by_kind(book.debt_kinds, weights.debt_slack)),
    )


def _by_kind(kinds: Kinds, table: Floats) -> Floats:
    """Return the table's value of each kind; NaN for what it does not have, 0 for freed places."""
    e_modes, reserves = kinds.table()
    known = reserves < table.shape[-1]
    if table.ndim == 2:
        known &= e_modes < table.shape[0]
    values = np.full(len(kinds), np.nan)
    if table.ndim == 2:
        values[known] = table[e_modes[known], reserves[known]]
    else:
        values[known] = table[reserves[known]]
    values[0] = 0.0
    return values
