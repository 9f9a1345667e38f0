"""Who can be endangered by a small move: the rest is left out by a certificate, not looked at.

The claim.  A certificate of band b that spares r slacks says that at the weights of its making
every account left out had, for a bound B on the health factor::

    C0 >= b * B * D0 + r * slack0        C, D: its two sums; slack0: not less than its own

or no debt at all: it can become unknown, but never endangered.

What follows.  Let m be the least ratio of a collateral weight to what it was then, and M the
greatest of a debt weight.  All terms are positive, so ``C >= m * C0`` and ``D <= M * D0``; hence
for any b' with ``m * b >= M * b'``::

    C - b' * B * D >= B * D0 * (m * b - M * b') + r * m * slack0 >= r * m * slack0

An account's slack is ``c * s + B * d * t``, for its numbers of entries c and d and the greatest
slacks of one entry s and t, so it is at most k times slack0 if neither s nor t outgrew k.

* With b' = 1 and ``r * m >= k`` the account has at least its slack to spare, which is what
  `keeper.risk.screen` asks before it leaves anybody out: the certificate *holds*.
* With b' = 1.01 and ``r * m >= 2 * k`` it has what a new certificate of band 1.01 that spares two
  slacks claims: whom the outer tier left out, the certificate of an inner tier made of it speaks
  for too.  So only that one is checked at a block.

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
from keeper.risk.product import Matrix, nbytes
from keeper.risk.shapes import Floats
from keeper.units import Wad

MARGIN: Final = 1e-12
MOST_RISE: Final = 2.0**20

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slacks:
    """The greatest slack of one entry on either side."""

    collateral: float
    debt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How far weights have moved: ratios to what they were."""

    least_collateral: float
    most_collateral: float
    least_debt: float
    most_debt: float

    @property
    def risen(self) -> float:
        """By what factor health factors have risen, at the most."""
        return self.most_collateral / self.least_debt if self.least_debt > 0 else np.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """What was true of all accounts left out, and of which weights."""

    band: float
    spares: float
    """How many times their slack they had to spare."""
    slacks: Slacks
    collaterals: int
    """How many of `kinds` are collateral; they come first."""
    kinds: NDArray[np.intp]
    """Those that had a weight."""
    reciprocal: Floats
    """float64[kinds]: of their weights."""
    nothing: NDArray[np.intp]
    """Kinds whose weight was zero."""

    @classmethod
    def of(
        cls,
        weights: ByKind,
        used: NDArray[np.bool_],
        slacks: Slacks,
        *,
        band: float,
        spares: float,
    ) -> Self:
        """Remember `weights`; `used`: which numbers are of a kind."""
        numbers = np.flatnonzero(used)
        values = weights.values[numbers]
        some = numbers[values > 0]
        kinds = np.concatenate((some[some % 2 == 0], some[some % 2 == 1]))
        with np.errstate(over="ignore"):  # of a subnormal: infinite, and it ends at once
            reciprocal = 1.0 / weights.values[kinds]
        return cls(
            band=band,
            spares=spares,
            slacks=slacks,
            collaterals=int((some % 2 == 0).sum()),
            kinds=kinds,
            reciprocal=reciprocal,
            nothing=numbers[values == 0],
        )

    def moved(self, weights: ByKind) -> Moved | None:
        """Return how far weights have moved; None where a price has gone or a zero counts now."""
        values = weights.values
        if self.nothing.size and not np.maximum.reduce(values.take(self.nothing)) <= 0:
            return None
        ratios = values.take(self.kinds)
        ratios *= self.reciprocal
        collateral, debt = ratios[: self.collaterals], ratios[self.collaterals :]
        moved = Moved(
            least_collateral=float(np.minimum.reduce(collateral, initial=np.inf)),
            most_collateral=float(np.maximum.reduce(collateral, initial=0.0)),
            least_debt=float(np.minimum.reduce(debt, initial=np.inf)),
            most_debt=float(np.maximum.reduce(debt, initial=0.0)),
        )
        # NaN is propagated, and is not at least or at most anything
        return moved if moved.least_collateral > 0 and moved.most_debt <= MOST_RISE else None

    def holds(self, moved: Moved, slacks: Slacks) -> bool:
        """Return whether those left out are still to be left out."""
        return self.reaches(moved, slacks, 1.0, 1.0)

    def reaches(self, moved: Moved, slacks: Slacks, band: float, spares: float) -> bool:
        """Return whether a certificate of `band` that spares so many would be true of them now."""
        spare = self.spares * moved.least_collateral
        return (
            moved.least_collateral * self.band * (1 - MARGIN) >= moved.most_debt * band
            and spare * self.slacks.collateral >= spares * slacks.collateral
            and spare * self.slacks.debt >= spares * slacks.debt
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tier:
    """The accounts that one certificate does not leave out, copied so that they lie together."""

    certificate: Certificate
    row: Rows
    """int64[places]: whose place it is."""
    matrix: Matrix
    """float32[places, kinds]: scaled amounts times 2**-64."""
    signs: Floats
    """float64[kinds]: what a weight is multiplied by for the signed sums."""
    unit: float
    """What a base unit is in those sums."""
    most_collaterals: int
    most_debts: int
    """Of any account in it."""
    sunk: Rows
    """Rows that were below already: taken as they are, not asked again."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.sunk.nbytes + self.row.nbytes + self.signs.nbytes + nbytes(self.matrix)


@dataclass(slots=True, kw_only=True, eq=False)
class Hot:
    """Two tiers: the inner one is made of the outer one, again and again."""

    threshold: Wad
    outer: Tier
    inner: Tier

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
