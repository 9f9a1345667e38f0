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
raised by gamma and then rounded down, ``S = sum(weight * scaled)``, debts negative, is never more
than ``C - bound * D``, so that S at or above a slack that is enough for anybody clears an account.
That holds in whatever order the terms are added, and where a product and an addition are fused into
one rounding instead of two: gamma only counts roundings, and there are then fewer.  Gamma of
float32 is about 1e-6; whom it cannot tell apart is asked about in float64, with his own slack.
Products may underflow: each is then off by at most 2**-150, which the slack takes in.

NaN clears nobody: every comparison asks whether an account is at or above, never whether below.

One class, though it is long: the bound above holds for the whole book, for a tier and for a few
rows, and whoever checks it must see all three side by side.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from keeper.model import Side, Weights
from keeper.risk.book import Book
from keeper.risk.hot import LEAST_SLACK, LIMIT_SLACKS, Certificate, Hot, Moved, Ring, Tier, signs
from keeper.risk.kinds import COLLATERALS, DEBTS
from keeper.risk.pieces import one_by_one
from keeper.risk.product import Columns, Floats32, Matrix, Places, head, stacked
from keeper.risk.shapes import SHRINK, Floats, Shape
from keeper.units import WAD, Wad

UNIT_ROUNDOFF: Final = 2.0**-53
SHORT_ROUNDOFF: Final = 2.0**-24
EXTRA_ROUNDINGS: Final = 16
"""Scaled, weight (two divisions and two products), the product, and the comparison itself."""
UNDERFLOW: Final = 2.0**-148
OUTER_BAND: Final = 1.05
INNER_BAND: Final = 1.01
RINGS: Final = (1.001, 1.002, 1.005)
"""Within the inner tier: most updates of a price are smaller than the band."""
MANY: Final = 800_000
"""So many entries are worked at as `Book.each` says; for fewer no other thread is worth waking."""
FEW: Final = 12
"""So many are asked exactly in less time than float64 takes to tell them apart."""
OUTER_SPARES: Final = 4.0
INNER_SPARES: Final = 2.0
MOST_EXPONENT: Final = 1000
DOWN: Final = np.float32(-np.inf)

Rows = NDArray[np.int64]
_NO_ROWS: Final[Rows] = np.zeros(0, dtype=np.int64)
_NO_ONE: Final = np.zeros(0, dtype=np.int32)

_Part = tuple[Shape, np.float32, int, Matrix]
"""Some accounts of one shape: the least sum that clears them, the first place, the product."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a screen could not rule out, by row: can be below, and of unknown health."""

    below: Rows
    unknown: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Near:
    """Accounts of one shape that are not cleared."""

    shape: Shape
    places: Places
    sums: Floats32
    limit: np.float32

    def parted(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return whose places these are: who is surely below, and the others."""
        under, rows = self.sums < -self.limit, self.shape.row.take(self.places)
        if under.all():
            return rows, _NO_ONE
        return rows[under], rows[~under]

    def gathered(self) -> tuple[NDArray[np.int32], Columns, Floats32]:
        """Return whose places these are, and copies of what they hold: kinds and amounts."""
        shape, places = self.shape, self.places
        return shape.row.take(places), shape.kind[places], shape.scaled[places]


class Screen:
    """One book at the weights of one block; each threshold is one pass.  Made by `screen`."""

    def __init__(self, book: Book, weights: Weights) -> None:
        """Look the weights up by kind; nothing is summed yet."""
        self.book = book
        self.weights = weights
        self.by_kind = book.kinds.by_kind(weights)
        self._gamma = _gamma(book.most, UNIT_ROUNDOFF)
        self._unpriced = math.isnan(float(np.maximum.reduce(self.by_kind.values)))
        self._moved: tuple[Certificate, Moved | None] | None = None

    # --- everybody ----------------------------------------------------------------------------

    def found(self, threshold: Wad) -> Found:
        """Return what can be below `threshold` and what is unknown, in one pass over the book."""
        parts = self._near(threshold, 1.0, 1.0, _Near.parted)
        seen = self._trimmed(_together(unclear for _, unclear in parts), threshold)
        surely = (below for below, _ in parts)
        return Found(below=_together([*surely, seen.below]), unknown=seen.unknown)

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
        collateral, debt, own_collateral, own_debt = self._summed(rows)
        excess = (1 + self._gamma) * (1 + self.weights.collateral_excess)
        with np.errstate(invalid="ignore"):
            high = collateral * excess + own_collateral
        low = debt * (1 - self._gamma) - own_debt
        below: NDArray[np.bool_] = (high * (1 + self._gamma) < bound * low) & (debt > 0)
        return rows[below]

    def sums(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return collateral (base units times threshold) and debt of `rows` in float64."""
        collateral, debt, _, _ = self._summed(rows)
        return collateral, debt

    # --- through the hot set --------------------------------------------------------------------

    def found_by(self, hot: Hot) -> Found:
        """Return the same through `hot`, which must be `current`; it may be a few rows more.

        Who was below when its inner tier was made is found again; a health factor that has come
        back since is at most the inner band above the threshold.
        """
        rows, surely = self._asked(hot.inner)
        if len(rows) - np.count_nonzero(surely) > FEW:
            seen = self._trimmed(rows[~surely], hot.threshold)
            seen = Found(below=np.concatenate([rows[surely], seen.below]), unknown=seen.unknown)
        else:
            seen = self._known(rows, hot.threshold)
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

        Its certificate must hold.  In float32 alone where nothing is unknown.
        """
        sums, limits = self._sums_of(tier)
        cleared = sums >= limits
        places = np.flatnonzero(np.logical_not(cleared, out=cleared))  # NaN is not cleared
        return self._known(tier.row.take(places), threshold)

    def _asked(self, tier: Tier) -> tuple[Rows, NDArray[np.bool_]]:
        """Return whom float32 does not clear, and which of them it is sure of."""
        all_sums, limits = self._sums_of(tier)
        places, sums = _not_cleared(all_sums, limits)
        return tier.row.take(places), sums < -limits.take(places)

    def _sums_of(self, tier: Tier) -> tuple[Floats32, Floats32]:
        """Return the signed sums of those who must be asked, and their limits."""
        matrix = tier.within(self._moved_since(tier.certificate))
        return matrix @ self._weights(tier.signs, matrix), tier.limits[: matrix.shape[0]]

    def _known(self, rows: Rows, threshold: Wad) -> Found:
        """Tell the unknown among `rows` apart; without any, nothing more is asked."""
        if self._unpriced:
            return self._trimmed(rows, threshold)
        return Found(below=rows, unknown=_NO_ROWS)

    def heat(self, threshold: Wad) -> Hot:
        """Return a hot set of the book at these weights.  Whoever keeps it forgets the edits."""
        outer = self._outer(threshold)
        return Hot(threshold=threshold, outer=outer, inner=self._inner(outer, threshold, 1.0))

    def current(self, hot: Hot) -> bool:
        """Return whether `hot` can be used at these weights; its inner tier is made anew for it."""
        inner = hot.inner.certificate
        moved = self._moved_since(inner)
        if moved is not None and moved.risen <= INNER_BAND and inner.holds(moved):
            return True
        outer = hot.outer.certificate
        moved = self._moved_since(outer)
        if moved is None or not outer.reaches(moved, INNER_BAND, INNER_SPARES):
            return False
        hot.inner = self._inner(hot.outer, hot.threshold, moved.slack)
        return True

    def holds(self, certificate: Certificate) -> bool:
        """Return whether those that `certificate` left out are still to be left out."""
        moved = self._moved_since(certificate)
        return moved is not None and certificate.holds(moved)

    def _moved_since(self, certificate: Certificate) -> Moved | None:
        """Return how far weights have moved; that of the last certificate asked is remembered."""
        if self._moved is None or self._moved[0] is not certificate:
            self._moved = (certificate, certificate.moved(self.by_kind))
        return self._moved[1]

    def _outer(self, threshold: Wad) -> Tier:
        found = self._near(threshold, OUTER_BAND, OUTER_SPARES, _Near.gathered)
        row = _together(rows for rows, _, _ in found)
        _, _, own_collateral, own_debt = self._summed(row)
        return self._tier(
            threshold,
            OUTER_BAND,
            OUTER_SPARES,
            row=row,
            matrix=stacked([(k, scaled) for _, k, scaled in found], self.book.kinds.width),
            slack=own_collateral + _bound(threshold) * own_debt + self.book.most * LEAST_SLACK,
        )

    def _inner(self, outer: Tier, threshold: Wad, grown: float) -> Tier:
        """Return those of `outer` within the inner band, ring by ring.

        Who is below already is only a row.  `grown`: how many times their slack is at the most.
        """
        slack = outer.slack * max(grown, 1.0)
        near = self._within(outer.matrix, slack, threshold, INNER_BAND)
        matrix, row, slack = outer.matrix[near], outer.row[near], slack[near]
        factors, unit = self._signs(_bound(threshold))
        under = matrix @ self._weights(factors, matrix) < -self._limits(slack * unit)
        kept = np.flatnonzero(~under)
        sunk, row, matrix, slack = row[under], row[kept], matrix[kept], slack[kept]
        ring = np.full(len(row), len(RINGS))
        for number, band in reversed(tuple(enumerate(RINGS))):
            ring[self._within(matrix, slack, threshold, band)] = number
        order = np.argsort(ring, kind="stable")
        matrix = matrix[order]
        return self._tier(
            threshold,
            INNER_BAND,
            INNER_SPARES,
            row=row[order],
            matrix=matrix,
            slack=slack[order],
            sunk=sunk,
            rings=tuple(
                Ring(band=band, matrix=head(matrix, int(np.count_nonzero(ring <= number))))
                for number, band in enumerate(RINGS)
            ),
        )

    def _within(self, matrix: Matrix, slack: Floats, threshold: Wad, band: float) -> Places:
        """Return which rows `band` does not clear with `INNER_SPARES` slacks to spare."""
        factors, unit = self._signs(_bound(threshold) * band)
        limits = self._limits(slack * (INNER_SPARES * unit))
        return _not_cleared(matrix @ self._weights(factors, matrix), limits)[0]

    def _weights(self, factors: Floats, matrix: Matrix) -> Floats32:
        """Return the weights for `matrix`, which may be older than the latest kinds."""
        width = matrix.shape[1]
        return _short(self.by_kind.values[:width] * factors[:width])

    def _limits(self, slack: Floats) -> Floats32:
        """Return a sum for each at or above which it has that much to spare."""
        limits: Floats32 = (slack + self.book.most * UNDERFLOW).astype(np.float32)
        return np.nextafter(limits, np.float32(np.inf), out=limits)

    def _tier(
        self,
        threshold: Wad,
        band: float,
        spares: float,
        *,
        row: Rows,
        matrix: Matrix,
        slack: Floats,
        sunk: Rows = _NO_ROWS,
        rings: tuple[Ring, ...] = (),
    ) -> Tier:
        factors, unit = self._signs(_bound(threshold))
        return Tier(
            certificate=Certificate.of(
                self.by_kind, self.book.kinds.used(), band=band, spares=spares
            ),
            row=row,
            matrix=matrix,
            rings=rings,
            signs=factors[: matrix.shape[1]],
            slack=slack,
            limits=self._limits(slack * (LIMIT_SLACKS * unit)),
            sunk=sunk,
        )

    # --- the two steps ------------------------------------------------------------------------

    def _near(
        self, threshold: Wad, band: float, slack_times: float, of: Callable[[_Near], R]
    ) -> list[R]:
        """Return `of` the accounts that are not cleared, where there are any, part by part."""
        bound = _bound(threshold)
        factors, unit = self._signs(bound * band)
        weights = _short(self.by_kind.values * factors)
        collateral, debt = self._most(COLLATERALS), self._most(DEBTS)
        parts: list[_Part] = []
        for shape in self.book.shapes:
            if shape.debts:
                slack = shape.collaterals * collateral + bound * shape.debts * debt
                limit = _up(slack * slack_times * unit + self.book.most * UNDERFLOW)
            elif self._unpriced:
                limit = DOWN
            else:
                continue
            parts += ((shape, limit, *look) for look in shape.looks(len(weights)))
        parts.sort(key=_entries, reverse=True)

        def look(part: _Part) -> list[R]:
            shape, limit, start, matrix = part
            places, sums = _not_cleared(matrix @ weights, limit)
            if not places.size:
                return []
            places += start
            return [of(_Near(shape=shape, places=places, sums=sums, limit=limit))]

        each = self.book.each if sum(map(_entries, parts)) >= MANY else one_by_one
        return list(chain.from_iterable(each(look, parts)))

    def _signs(self, bound: float) -> tuple[Floats, float]:
        """Return what weights are multiplied by, debts negative, and what a base unit is then.

        In units of the greatest weight, so that nothing overflows.
        """
        gamma = _gamma(self.book.most, SHORT_ROUNDOFF)
        factors = signs(self.book.kinds.width, 1 - gamma, bound * (1 + gamma))
        top = float(np.fmax.reduce(np.abs(self.by_kind.values * factors)))
        scale = math.ldexp(1.0, -max(-MOST_EXPONENT, min(MOST_EXPONENT, math.frexp(top)[1])))
        return factors * scale, scale * SHRINK

    def _most(self, side: slice) -> float:
        """Return the greatest slack of one entry whose weight is known."""
        slack = self.by_kind.slack[side]
        most = float(np.maximum.reduce(slack))
        if math.isnan(most):
            known = ~np.isnan(self.by_kind.values[side])
            most = float(np.maximum.reduce(slack, where=known, initial=0.0))
        return math.inf if math.isnan(most) else most

    def _trimmed(self, rows: Rows, threshold: Wad) -> Found:
        """Return what float64 and each row's own slack leave of `rows`."""
        if rows.size == 0:
            return Found(below=rows, unknown=rows)
        bound = _bound(threshold)
        collateral, debt, own_collateral, own_debt = self._summed(rows)
        unknown = np.isnan(collateral) | np.isnan(debt)
        low = collateral * (1 - self._gamma) - own_collateral
        high = debt * (1 + self._gamma) + own_debt
        below = ~(low >= bound * high) & (debt > 0) & ~unknown
        return Found(below=rows[below], unknown=rows[unknown])

    def _summed(self, rows: Rows) -> Floats:
        """Return float64[4, rows]: collateral, debt, and no less than the slack of each."""
        found = np.zeros((4, len(rows)))
        for shape, which, places in self.book.by_shape(rows):
            found[:, which] = shape.sums(places, self.by_kind.values, self.by_kind.slack)
        if self.book.great:
            for at in np.flatnonzero([int(row) in self.book.great for row in rows]):
                found[:2, at] = self._great_sums(int(rows[at]))
        found[2:] *= 1 + self._gamma
        return found

    def _great_sums(self, row: int) -> tuple[float, float]:
        held, book = self.book.great[row], self.book
        collateral = debt = 0.0
        for entry in held.entries:
            kind = book.kinds.number(entry.side, held.e_mode, entry.reserve)
            value = float(self.by_kind.values[kind]) * entry.scaled
            if entry.side is Side.COLLATERAL:
                collateral += value
            else:
                debt += value
        return collateral, debt


def screen(book: Book, weights: Weights) -> Screen:
    """Bind `book` to the weights of one block; it must not be edited while that is used."""
    return Screen(book, weights)


def _not_cleared(sums: Floats32, limit: np.float32 | Floats32) -> tuple[Places, Floats32]:
    """Return where `sums` are not at least `limit`, and those; NaN is not at least anything."""
    cleared = sums >= limit
    places = np.flatnonzero(np.logical_not(cleared, out=cleared))
    return places, sums.take(places)


def _entries(part: _Part) -> int:
    return part[3].data.size


def _short(weights: Floats) -> Floats32:
    """Return float32 weights that are lower: collateral is worth less, debt costs more."""
    short: Floats32 = weights.astype(np.float32)
    return np.nextafter(short, DOWN, out=short)


@lru_cache(maxsize=8)
def _bound(threshold: Wad) -> float:
    return float(np.nextafter((threshold + 1) / WAD, np.inf))


def _gamma(terms: int, roundoff: float) -> float:
    rounding = (terms + EXTRA_ROUNDINGS) * roundoff
    return rounding / (1 - rounding)


def _up(value: float) -> np.float32:
    return np.float32(np.nextafter(np.float32(value), np.float32(np.inf)))


def _together(parts: Iterable[NDArray[np.int32] | Rows]) -> Rows:
    """Return all `parts`, one behind the other."""
    return np.concatenate([_NO_ROWS, *parts], dtype=np.int64)


def _without(rows: Rows, left_out: Rows) -> Rows:
    return rows[~np.isin(rows, left_out)] if rows.size else rows
