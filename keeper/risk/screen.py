"""Which accounts can be below a health factor, by floats with a rigorous error bound.

The screen decides nothing: it leaves out only what exact integers would certainly leave out, and
`keeper.risk.exact` asks the contract's own arithmetic about the rest.

The bound.  An account's two sums, ``C = sum(weight * scaled)`` and the same for debt ``D``, have
only positive terms; with n of them, each product and each addition correctly rounded and the
weights off by a few roundings themselves, both are within a factor ``1 +- gamma(n + 16)`` of the
real ones (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1).  The contract's
integer rounding then moves them by at most the slack of each entry.  Hence::

    health factor >= (C (1 - gamma) - slack) / (D (1 + gamma) + slack) - 1 wad unit

First everybody in float32, both sums in one: with collateral weights lowered and debt weights
raised by gamma, ``S = sum(weight * scaled)``, debts negative, is never more than ``C - bound * D``
however it was rounded, so that S at or above a slack that is enough for anybody clears an account.
Gamma of float32 is about 1e-6; whom it cannot tell apart is asked about in float64, with his own
slack.  Products may underflow: each is then off by at most 2**-150, which the slack takes in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model import Side, Weights
from keeper.risk.book import Book, Kinds
from keeper.risk.hot import SLACK_TIMES, Certificate, Hot, Sides, Tier
from keeper.risk.shapes import SHRINK, Floats, Floats32, Shape
from keeper.units import WAD, Wad

UNIT_ROUNDOFF: Final = 2.0**-53
SHORT_ROUNDOFF: Final = 2.0**-24
EXTRA_ROUNDINGS: Final = 16
"""Scaled, weight (two divisions and two products), the product, and the comparison itself."""
UNDERFLOW: Final = 2.0**-148
OUTER_BAND: Final = 1.05
INNER_BAND: Final = 1.01

Rows = NDArray[np.int64]
_NO_ROWS: Final[Rows] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a screen could not rule out, by row: can be below, and of unknown health."""

    below: Rows
    unknown: Rows


class Screen:
    """One book at the weights of one block; each threshold is one pass.  Made by `screen`."""

    def __init__(self, book: Book, weights: Weights) -> None:
        """Look the weights up by kind; nothing is summed yet."""
        self.book = book
        self.weights = weights
        self.sides = Sides(
            collateral=_by_kind(book.collateral_kinds, weights.collateral),
            debt=_by_kind(book.debt_kinds, weights.debt),
        )
        self._slack = Sides(
            collateral=_by_kind(book.collateral_kinds, weights.collateral_slack, missing=0.0),
            debt=_by_kind(book.debt_kinds, weights.debt_slack, missing=0.0),
        )
        self._most_collateral_slack = float(self._slack.collateral.max())
        self._most_debt_slack = float(self._slack.debt.max())
        self._unpriced = bool(
            np.isnan(self.sides.collateral).any() or np.isnan(self.sides.debt).any()
        )
        self._gamma = _gamma(book.most, UNIT_ROUNDOFF)

    # --- everybody ----------------------------------------------------------------------------

    def found(self, threshold: Wad) -> Found:
        """Return what can be below `threshold` and what is unknown, in one pass over the book."""
        return self._found(self.book.shapes, threshold)

    def can_be_below(self, threshold: Wad) -> Rows:
        """Return the rows whose exact health factor can be below `threshold`: a superset.

        Rows of unknown health are not among them; see `unknown`.  Rows without debt never are.
        """
        return self.found(threshold).below

    def unknown(self) -> Rows:
        """Return the rows that use a reserve without any price, or an e-mode not in the weights."""
        return self.found(Wad(0)).unknown

    def surely_below(self, threshold: Wad) -> Rows:
        """Return rows whose exact health factor is certainly below `threshold`: a subset."""
        rows = self.can_be_below(threshold)
        if rows.size == 0:
            return rows
        bound = np.nextafter((threshold - 1) / WAD, 0)
        (collateral, debt), (own_collateral, own_debt) = self.sums(rows), self._own_slack(rows)
        excess = (1 + self._gamma) * (1 + self.weights.collateral_excess)
        with np.errstate(invalid="ignore"):
            high = collateral * excess + own_collateral
        low = debt * (1 - self._gamma) - own_debt
        below: NDArray[np.bool_] = (high * (1 + self._gamma) < bound * low) & (debt > 0)
        return rows[below]

    def sums(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return collateral (base units times threshold) and debt of `rows` in float64."""
        collateral, debt = np.zeros(len(rows)), np.zeros(len(rows))
        for shape, which, places in self.book.by_shape(rows):
            collateral[which], debt[which] = shape.sums(
                places, self.sides.collateral, self.sides.debt
            )
        if self.book.great:
            for at in np.flatnonzero([int(row) in self.book.great for row in rows]):
                collateral[at], debt[at] = self._great_sums(int(rows[at]))
        return collateral, debt

    # --- through the hot set --------------------------------------------------------------------

    def found_by(self, hot: Hot) -> Found:
        """Return the same through `hot`, which must be `current`; it may be a few rows more.

        Who was below when its inner tier was made is found again; a health factor that has come
        back since is at most the inner band above the threshold.
        """
        seen = self.found_in(hot.inner, hot.threshold)
        edited = self.book.edited
        below = np.concatenate([hot.inner.sunk, seen.below])
        if not edited:
            return Found(below=below, unknown=seen.unknown)
        again = np.fromiter(edited, dtype=np.int64, count=len(edited))
        own = self._trimmed(self.book.live(again), hot.threshold)
        return Found(
            below=np.concatenate([_without(below, again), own.below]),
            unknown=np.concatenate([_without(seen.unknown, again), own.unknown]),
        )

    def found_in(self, tier: Tier, threshold: Wad) -> Found:
        """Return what a pass over the accounts of `tier` finds; who has sunk is not among them.

        In float32 alone: to ask the few it cannot tell apart in float64 costs more than to ask
        them exactly.
        """
        if self._unpriced:
            return self._found(tier.shapes, threshold)
        near = [s.row[places] for s, places, _, _ in self._near(tier.shapes, threshold, 1.0, 1.0)]
        below = np.concatenate([_NO_ROWS, *near])
        return Found(below=below, unknown=_NO_ROWS)

    def heat(self, threshold: Wad) -> Hot:
        """Return a hot set of the book at these weights.  Whoever keeps it forgets the edits."""
        outer = self._tier(self.book.shapes, threshold, OUTER_BAND)
        return Hot(
            threshold=threshold,
            outer=outer,
            inner=self._tier(outer.shapes, threshold, INNER_BAND, sink=True),
        )

    def current(self, hot: Hot) -> bool:
        """Return whether `hot` can be used at these weights; its inner tier is made anew for it."""
        if not self._holds(hot.outer.certificate):
            return False
        inner = hot.inner.certificate
        if not self._holds(inner) or inner.risen(self.sides) > INNER_BAND:
            hot.inner = self._tier(hot.outer.shapes, hot.threshold, INNER_BAND, sink=True)
        return True

    def _holds(self, certificate: Certificate) -> bool:
        return certificate.holds(self.sides, self._most_collateral_slack, self._most_debt_slack)

    def _tier(
        self, shapes: Sequence[Shape], threshold: Wad, band: float, *, sink: bool = False
    ) -> Tier:
        """Return those of `shapes` that cannot be left out by `band`.

        `sink`: who is below already is only remembered by row.
        """
        picked, sunk = [], [_NO_ROWS]
        for shape, places, _, _ in self._near(shapes, threshold, band, SLACK_TIMES):
            copy = shape.picked(places)
            if sink:
                under = np.zeros(copy.size, dtype=np.bool_)
                for _, at, sums, limit in self._near([copy], threshold, 1.0, 1.0):
                    under[at[sums < -limit]] = True
                sunk.append(copy.row[under].astype(np.int64))
                copy = copy.picked(np.flatnonzero(~under))
            picked.append(copy)
        return Tier(
            certificate=Certificate(
                band=band,
                collateral=self.sides.collateral,
                debt=self.sides.debt,
                collateral_slack=self._most_collateral_slack,
                debt_slack=self._most_debt_slack,
            ),
            shapes=picked,
            sunk=np.concatenate(sunk),
        )

    # --- the two steps ------------------------------------------------------------------------

    def _found(self, shapes: Sequence[Shape], threshold: Wad) -> Found:
        """Ask in float32; in float64 only of those near the line."""
        surely, unclear = [_NO_ROWS], [_NO_ROWS]
        for shape, places, sums, limit in self._near(shapes, threshold, 1.0, 1.0):
            rows = shape.row[places].astype(np.int64)
            under = sums < -limit
            surely.append(rows[under])
            unclear.append(rows[~under])
        seen = self._trimmed(np.concatenate(unclear), threshold)
        return Found(below=np.concatenate([*surely, seen.below]), unknown=seen.unknown)

    def _near(
        self, shapes: Iterable[Shape], threshold: Wad, band: float, slack_times: float
    ) -> Iterable[tuple[Shape, NDArray[np.intp], Floats32, np.float32]]:
        """Yield, where there are any, the places not cleared, their signed sums and the slack."""
        bound = _bound(threshold)
        collateral, debt, unit = self._signed(bound * band)
        for shape in shapes:
            if shape.debts:
                slack = (
                    shape.collaterals * self._most_collateral_slack
                    + bound * shape.debts * self._most_debt_slack
                )
                limit = _up(slack * slack_times * unit + self.book.most * UNDERFLOW)
            elif self._unpriced:
                limit = np.float32(-np.inf)
            else:
                continue
            places, sums = shape.short_of(limit, collateral, debt)
            if places.size:
                yield shape, places, sums, limit

    def _signed(self, bound: float) -> tuple[Floats32, Floats32, float]:
        """Return float32 weights by kind, debts negative, and what a base unit is in their sums.

        In units of the greatest weight, so that nothing overflows.
        """
        gamma = _gamma(self.book.most, SHORT_ROUNDOFF)
        collateral = self.sides.collateral * (1 - gamma)
        debt = self.sides.debt * (bound * (1 + gamma))
        top = max(np.fmax.reduce(collateral), np.fmax.reduce(debt))
        scale = float(np.ldexp(1.0, -int(np.frexp(top)[1])))
        low = np.nextafter((collateral * scale).astype(np.float32), np.float32(-np.inf))
        high = np.nextafter((debt * scale).astype(np.float32), np.float32(np.inf))
        return low, -high, scale * SHRINK

    def _trimmed(self, rows: Rows, threshold: Wad) -> Found:
        """Return what float64 and each row's own slack leave of `rows`."""
        if rows.size == 0:
            return Found(below=rows, unknown=rows)
        bound = _bound(threshold)
        (collateral, debt), (own_collateral, own_debt) = self.sums(rows), self._own_slack(rows)
        unknown = np.isnan(collateral) | np.isnan(debt)
        low = collateral * (1 - self._gamma) - own_collateral
        high = debt * (1 + self._gamma) + own_debt
        below = (low < bound * high) & (debt > 0) & ~unknown
        return Found(below=rows[below], unknown=rows[unknown])

    def _own_slack(self, rows: Rows) -> tuple[Floats, Floats]:
        collateral, debt = np.zeros(len(rows)), np.zeros(len(rows))
        for shape, which, places in self.book.by_shape(rows):
            collateral[which], debt[which] = shape.counts(
                places, self._slack.collateral, self._slack.debt
            )
        widen = 1 + self._gamma
        return collateral * widen, debt * widen

    def _great_sums(self, row: int) -> tuple[float, float]:
        held, book = self.book.great[row], self.book
        collateral = debt = 0.0
        for entry in held.entries:
            kind = (held.e_mode, entry.reserve)
            if entry.side is Side.COLLATERAL:
                weight = self.sides.collateral[book.collateral_kinds.number(kind)]
                collateral += float(weight) * entry.scaled
            else:
                debt += float(self.sides.debt[book.debt_kinds.number(kind)]) * entry.scaled
        return collateral, debt


def screen(book: Book, weights: Weights) -> Screen:
    """Bind `book` to the weights of one block; it must not be edited while that is used."""
    return Screen(book, weights)


def _bound(threshold: Wad) -> float:
    return float(np.nextafter((threshold + 1) / WAD, np.inf))


def _gamma(terms: int, roundoff: float) -> float:
    rounding = (terms + EXTRA_ROUNDINGS) * roundoff
    return rounding / (1 - rounding)


def _up(value: float) -> np.float32:
    return np.float32(np.nextafter(np.float32(value), np.float32(np.inf)))


def _without(rows: Rows, left_out: Rows) -> Rows:
    return rows[~np.isin(rows, left_out)]


def _by_kind(kinds: Kinds, table: Floats, missing: float = np.nan) -> Floats:
    """Return the table's value of each kind; `missing` for what it lacks, 0 for unused columns."""
    e_modes, reserves = kinds.table()
    bound = table.shape[-1]
    if table.ndim == 2:
        known = (reserves < bound) & (e_modes < table.shape[0])
        values: Floats = table.ravel().take(e_modes * bound + reserves, mode="clip")
    else:
        known = reserves < bound
        values = table.take(reserves, mode="clip")
    values[~known] = missing
    if not np.isnan(missing):
        values[np.isnan(values)] = missing
    values[0] = 0.0
    return values
