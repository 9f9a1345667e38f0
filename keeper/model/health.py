"""How an account stands: its legs, its health factor or why that is unknown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keeper.model.chain import BlockRef
from keeper.model.market import Asset, PositionId, Side
from keeper.units import Base, Bps, Raw, Wad


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
