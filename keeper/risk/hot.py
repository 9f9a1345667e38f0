"""Who can be endangered by a small move: the rest is left out by a certificate, not looked at.

The claim.  A certificate of band b that spares r slacks says that at the weights of its making
every account left out had, for a bound B on the health factor::

    C0 >= b * B * D0 + r * slack0        C, D: its two sums; slack0: not less than its own

or no debt at all: it can become unknown, but never endangered.

What follows.  Let m be the least ratio of a collateral weight to what it was then, and M the
greatest of a debt weight.  All terms are positive, so ``C >= m * C0`` and ``D <= M * D0``; hence
for any b' with ``m * b >= M * b'``::

    C - b' * B * D >= B * D0 * (m * b - M * b') + r * m * slack0 >= r * m * slack0

An account's slack is the sum of its entries' slacks, so it is at most k times what it was, for the
greatest ratio k of a kind's slack to what it was.

* With b' = 1 and ``r * m >= k`` the account has at least its slack to spare, which is what
  `keeper.risk.screen` asks before it leaves anybody out: the certificate *holds*.
* With b' = 1.01 and ``r * m >= 2 * k`` it has what a new certificate of band 1.01 that spares two
  slacks claims: whom the outer tier left out, the certificate of an inner tier made of it speaks
  for too.  So only that one is checked at a block.

A tier is in rings, the accounts nearest the line first, each ring with the band that those beyond
it had.  The same inequality with that band for b: as long as ``m * band >= M``, nobody beyond the
ring is asked.

What counts as a move.  A weight holds price, index, decimals and liquidation threshold: accrual,
governance, an e-mode's parameters and a price source that is replaced all count like any price.
A weight that was zero takes no part in the ratios, so it must have stayed zero.  One that was NaN,
without a price, is of accounts that were not left out, so it does not matter what became of it; one
that is NaN now ends the certificate, since those who use it are of unknown health now.  Accounts
edited since are nobody's, and kinds numbered since are theirs alone: who uses this asks about them
apart.

How much the floats are off.  A ratio is a product with a reciprocal: three roundings, 4e-16; the
margin of 1e-12 is far more.  Beyond `MOST_RISE` float32 sums could overflow, and it ends too.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.risk.kinds import COLLATERALS, DEBTS, ByKind
from keeper.risk.product import Floats32, Matrix, nbytes
from keeper.risk.shapes import Floats
from keeper.units import Wad

MARGIN: Final = 1e-12
MOST_RISE: Final = 2.0**20
LIMIT_SLACKS: Final = 2.0
LEAST_SLACK: Final = 1e-9
"""Base units of an entry: what a ratio of slacks is taken to where there was none."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How far weights have moved: ratios to what they were."""

    least_collateral: float
    most_collateral: float
    least_debt: float
    most_debt: float
    slack: float
    """The greatest ratio of a slack."""

    @property
    def risen(self) -> float:
        """By what factor health factors have risen, at the most."""
        return self.most_collateral / self.least_debt if self.least_debt > 0 else np.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtOnce:
    """All ratios of a certificate in one gather, one product and two reductions."""

    width: int
    """How many kinds there were."""
    where: NDArray[np.intp]
    """Collaterals, debts, then slacks, in the vector of both."""
    reciprocal: Floats
    """float64[where]: of what was there."""
    starts: NDArray[np.intp]
    """Where each of the three begins; none is empty."""

    def moved(self, both: Floats) -> Moved:
        """Return how far weights have moved; NaN where one of them is."""
        ratios = both.take(self.where)
        ratios *= self.reciprocal
        least_collateral, least_debt, _ = np.minimum.reduceat(ratios, self.starts).tolist()
        most_collateral, most_debt, slack = np.maximum.reduceat(ratios, self.starts).tolist()
        return Moved(
            least_collateral=least_collateral,
            most_collateral=most_collateral,
            least_debt=least_debt,
            most_debt=most_debt,
            slack=slack,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """What was true of all accounts left out, and of which weights."""

    band: float
    spares: float
    """How many times their slack they had to spare."""
    collaterals: int
    """How many of `kinds` are collateral; they come first."""
    kinds: NDArray[np.intp]
    """Those that had a weight that is not zero."""
    reciprocal: Floats
    """float64[kinds]: of their weights."""
    nothing: NDArray[np.intp]
    """Kinds whose weight was zero."""
    slack_kinds: NDArray[np.intp]
    """Those that had a weight."""
    slack_reciprocal: Floats
    """float64[slack_kinds]: of their slacks, or of `LEAST_SLACK` where that is greater."""
    at_once: AtOnce | None
    """The same for one look at all of them; None where one of the three has no kind."""

    @classmethod
    def of(
        cls,
        weights: ByKind,
        used: NDArray[np.bool_],
        *,
        band: float,
        spares: float,
    ) -> Self:
        """Remember `weights`; `used`: which numbers are of a kind."""
        numbers = np.flatnonzero(used)
        values = weights.values[numbers]
        some = numbers[values > 0]
        kinds = np.concatenate((some[some % 2 == 0], some[some % 2 == 1]))
        known = numbers[values >= 0]
        with np.errstate(over="ignore"):  # of a subnormal: infinite, and it ends at once
            reciprocal = 1.0 / weights.values[kinds]
        collaterals = int((some % 2 == 0).sum())
        slack_reciprocal = 1.0 / np.maximum(weights.slack[known], LEAST_SLACK)
        starts = np.array((0, collaterals, len(kinds)))
        return cls(
            band=band,
            spares=spares,
            collaterals=collaterals,
            kinds=kinds,
            reciprocal=reciprocal,
            nothing=numbers[values == 0],
            slack_kinds=known,
            slack_reciprocal=slack_reciprocal,
            at_once=(
                AtOnce(
                    width=len(weights.values),
                    where=np.concatenate((kinds, known + len(weights.values))),
                    reciprocal=np.concatenate((reciprocal, slack_reciprocal)),
                    starts=starts,
                )
                if 0 < collaterals < len(kinds) and len(known)
                else None
            ),
        )

    def moved(self, weights: ByKind) -> Moved | None:
        """Return how far weights have moved; None where a price has gone or a zero counts now."""
        values = weights.values
        if self.nothing.size and not np.maximum.reduce(values.take(self.nothing)) <= 0:
            return None
        if self.at_once is not None and self.at_once.width == len(values):
            moved = self.at_once.moved(weights.both)
        else:
            moved = self._moved_apart(weights)
        # NaN is propagated, and is not at least or at most anything
        return moved if moved.least_collateral > 0 and moved.most_debt <= MOST_RISE else None

    def _moved_apart(self, weights: ByKind) -> Moved:
        """Look at collaterals, debts and slacks apart, each of which may be none."""
        ratios = weights.values.take(self.kinds)
        ratios *= self.reciprocal
        slacks = weights.slack.take(self.slack_kinds)
        slacks *= self.slack_reciprocal
        collateral, debt = ratios[: self.collaterals], ratios[self.collaterals :]
        return Moved(
            least_collateral=float(np.minimum.reduce(collateral, initial=np.inf)),
            most_collateral=float(np.maximum.reduce(collateral, initial=0.0)),
            least_debt=float(np.minimum.reduce(debt, initial=np.inf)),
            most_debt=float(np.maximum.reduce(debt, initial=0.0)),
            slack=float(np.maximum.reduce(slacks, initial=0.0)),
        )

    def holds(self, moved: Moved) -> bool:
        """Return whether those left out are still to be left out, and `Tier.limits` suffice."""
        return moved.slack <= LIMIT_SLACKS and self.reaches(moved, 1.0, 1.0)

    def reaches(self, moved: Moved, band: float, spares: float) -> bool:
        """Return whether a certificate of `band` that spares so many would be true of them now."""
        least = moved.least_collateral * (1 - MARGIN)
        return (
            least * self.band >= moved.most_debt * band
            and least * self.spares >= moved.slack * spares
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ring:
    """Accounts up to some distance from the line, those of nearer rings included."""

    band: float
    matrix: Matrix
    """The first rows of the tier's."""

    def clears_beyond(self, moved: Moved) -> bool:
        """Return whether a move leaves everybody out who is beyond this ring."""
        return moved.least_collateral * self.band * (1 - MARGIN) >= moved.most_debt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tier:
    """The accounts that one certificate does not leave out, copied so that they lie together."""

    certificate: Certificate
    row: Rows
    """int64[places]: whose place it is."""
    matrix: Matrix
    """float32[places, kinds]: scaled amounts times 2**-64."""
    rings: tuple[Ring, ...]
    """From the line outwards; beyond the last of them is the rest, by the certificate."""
    signs: Floats
    """float64[kinds]: what a weight is multiplied by for the signed sums."""
    slack: Floats
    """float64[places]: not less than each account's own, base units."""
    limits: Floats32
    """float32[places]: `LIMIT_SLACKS` times as much, in the unit of the signed sums."""
    sunk: Rows
    """Rows that were below already: taken as they are, not asked again."""

    def __len__(self) -> int:
        return len(self.row)

    def within(self, moved: Moved | None) -> Matrix:
        """Return the rows that must be asked after this move: the first so many of all."""
        if moved is not None:
            for ring in self.rings:
                if ring.clears_beyond(moved):
                    return ring.matrix
        return self.matrix

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        beside = self.sunk.nbytes + self.row.nbytes + self.signs.nbytes
        return beside + self.slack.nbytes + self.limits.nbytes + nbytes(self.matrix)


@dataclass(slots=True, kw_only=True, eq=False)
class Hot:
    """Two tiers: the inner one is made of the outer one, again and again."""

    threshold: Wad
    outer: Tier
    inner: Tier
    edited: int = 0
    """How many rows had been edited when it was last asked."""
    idle: int = 0
    """How often in a row it was asked since with some edited, but nobody anew."""

    def asked(self, edited: int) -> None:
        """Note that it is asked, so many rows having been edited since it was made."""
        self.idle = self.idle + 1 if 0 < edited == self.edited else 0
        self.edited = edited

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.outer.nbytes + self.inner.nbytes


def signs(width: int, collateral: float, debt: float) -> Floats:
    """Return a vector by kind with `collateral` and the negative of `debt`."""
    made = np.empty(width)
    made[COLLATERALS] = collateral
    made[DEBTS] = -debt
    return made
