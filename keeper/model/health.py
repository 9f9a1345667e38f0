"""How an account stands: its legs, its health factor or why that is unknown.

And one sum over its legs, `price_factor`: here, since what values accounts and what tells people of
them may not know each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from keeper.model.chain import Address, BlockRef
from keeper.model.market import Asset, PositionId, Side
from keeper.units import WAD, Base, Bps, Raw, Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One reserve of one account, valued at one block exactly as the contract values it."""

    side: Side
    reserve: int
    asset: Asset
    balance: Raw
    """Interest accrued to the block's timestamp; rounding as the contract's revision rounds."""
    value: Base
    price: Base
    """Base units per whole token."""
    liquidation_threshold: Bps
    """The one that applies to this account, e-mode included; 0 on a debt leg."""
    liquidation_bonus: Bps
    """10_500 is a bonus of 5 %; 0 on a debt leg."""


def price_factor(
    health_factor: Wad, legs: Iterable[Leg], hangs_on: Mapping[Address, int]
) -> Wad | None:
    """Return the fraction of today's prices to which all collateral together may fall.

    Assets that hang on the same number have one price; one that is not in `hangs_on` has its own.
    Of what is owed at one price as much falls with it as is held at it, and the rest stands still:
    so that a raw unit more that is held or owed moves the answer by no more than its worth.

    Wad, exact but for `health_factor`'s own rounding, and rounded up; 0 without debt and where no
    fall is one too many; above 1 for an account below health 1; None where no price brings it to 1.
    """
    held, owed = (defaultdict[int | Address, Fraction](Fraction) for _ in range(2))
    value = defaultdict[int | Address, int](int)
    for leg in legs:
        price = hangs_on.get(leg.asset.address, leg.asset.address)
        amounts = held if leg.side is Side.COLLATERAL else owed
        amounts[price] += Fraction(leg.balance * leg.price, 10**leg.asset.decimals)
        if leg.side is Side.DEBT:
            value[price] += leg.value
    debt = sum(value.values())
    along = sum((value[p] * _part(held[p], owed[p]) for p in owed), Fraction())
    still = debt - along
    if debt == 0 or (still == 0 and health_factor >= WAD):
        return Wad(0)
    # health x debt is what the collateral counts, c: at the fraction x, c x = still + along x
    left = health_factor * debt - WAD * along
    return Wad(ceil(still * WAD * WAD / left)) if still and left > 0 else None


def _part(held: Fraction, owed: Fraction) -> Fraction:
    return held / owed if held < owed else Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """A position whose health factor equals what the deployed contract answers at `block`."""

    position: PositionId
    block: BlockRef
    health_factor: Wad
    """`UINT256_MAX` without debt, as the contract has it."""
    collateral: Base
    debt: Base
    legs: tuple[Leg, ...]
    e_mode: int = 0

    @property
    def ok(self) -> bool:
        """True: the health factor is known.  `Unassessable` answers False."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassessable:
    """A position whose health is unknown, which is never good health."""

    position: PositionId
    block: BlockRef
    reason: str

    @property
    def ok(self) -> bool:
        """False: nothing may be decided from this."""
        return False


Assessment = Assessed | Unassessable


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractHealth:
    """What the contract itself answers at a block, stale prices or not."""

    health_factor: Wad
    collateral: Base
    debt: Base


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """What one scaled unit is worth at one block, for the float screen.

    Contribution to the health factor's two sums: ``sum(collateral[e_mode, reserve] * scaled)``
    over ``sum(debt[reserve] * scaled)``.  NaN marks a reserve without a price: one
    that is stale or suspicious keeps its weight, since the protocol liquidates by it all the same.
    The slacks bound what the contract's integer rounding of one entry can add or take away.
    """

    collateral: NDArray[np.float64]
    """[e-mode rows, reserves]: base units x liquidation threshold (a fraction) per scaled unit."""
    debt: NDArray[np.float64]
    """[reserves]: base units per scaled unit."""
    collateral_slack: NDArray[np.float64]
    """[e-mode rows, reserves], in the same unit as the collateral sum, per entry."""
    debt_slack: NDArray[np.float64]
    """[reserves], in base units, per entry."""
    collateral_excess: float = 0.0
    """By what fraction the collateral sum may be higher still: weights are never too high."""
