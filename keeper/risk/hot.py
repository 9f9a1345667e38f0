"""Who can be endangered by a small move: the rest is left out by a certificate, not looked at.

The certificate.  At the weights of its making every account left out had, for a bound B::

    C0 >= band * B * D0 + 2 * slack0        C, D: its two sums; slack0: more than its own

Let m be the least ratio of a collateral weight to what it was then, and M the greatest of a debt
weight.  All terms are positive, so ``C >= m * C0`` and ``D <= M * D0``, and as long as
``m * band >= M`` and no slack has outgrown ``2 * m`` times what it was::

    C - B * D >= B * D0 * (m * band - M) + 2 * m * slack0 >= slack

which is what `keeper.risk.screen` asks of an account before it leaves it out.  Weights hold price,
index, decimals and threshold, so accrual and governance count like any price.  When it does not
hold, or a weight has lost or found its price, it has expired.  Accounts edited since are
nobody's: who uses this asks about them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.risk.shapes import Floats, Shape
from keeper.units import Wad

SLACK_TIMES: Final = 2.0
MARGIN: Final = 1e-12
"""Far more than the float64 ratios can be off by."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """One number for each kind, collateral and debt; NaN where there is no price."""

    collateral: Floats
    debt: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """What was true of all accounts left out, and of which weights."""

    band: float
    collateral: Floats
    debt: Floats
    """float64[kinds] at its making; kinds that are numbered later only occur in edited accounts."""
    collateral_slack: float
    debt_slack: float
    """The greatest of one entry at its making."""

    def holds(self, weights: Sides, collateral_slack: float, debt_slack: float) -> bool:
        """Return whether those left out are still to be left out at these weights and slacks."""
        collateral = weights.collateral[: len(self.collateral)]
        debt = weights.debt[: len(self.debt)]
        if _changed(collateral, self.collateral) or _changed(debt, self.debt):
            return False
        with np.errstate(divide="ignore", invalid="ignore"):
            least = float(np.fmin.reduce(collateral / self.collateral, initial=np.inf))
            most = float(np.fmax.reduce(debt / self.debt, initial=0.0))
        spare = SLACK_TIMES * least
        return (
            least * self.band * (1 - MARGIN) >= most
            and spare * self.collateral_slack >= collateral_slack
            and spare * self.debt_slack >= debt_slack
        )

    def risen(self, weights: Sides) -> float:
        """Return by what factor health factors may have risen since, at the most."""
        with np.errstate(divide="ignore", invalid="ignore"):
            most = float(
                np.fmax.reduce(
                    weights.collateral[: len(self.collateral)] / self.collateral, initial=0.0
                )
            )
            least = float(
                np.fmin.reduce(weights.debt[: len(self.debt)] / self.debt, initial=np.inf)
            )
        return most / least if least > 0 else np.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tier:
    """The accounts that one certificate does not leave out."""

    certificate: Certificate
    shapes: Sequence[Shape]
    """Copies, so that they lie side by side."""
    sunk: Rows
    """Rows that were below already: taken as they are, not asked again."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.sunk.nbytes + sum(s.nbytes for s in self.shapes)


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


def _changed(now: Floats, then: Floats) -> bool:
    """Return whether a price came or went, or a weight that was zero counts now.

    A collateral that counts now does no harm; to a debt it does, and one rule is enough.
    """
    return bool((np.isnan(now) != np.isnan(then)).any() or (now[then == 0] > 0).any())
