"""What a liquidation leaves, by the market's own prices.  Pure."""

from dataclasses import dataclass

from keeper.model import Asset
from keeper.units import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The two tokens that it may leave, and what they are worth."""

    collateral: Asset
    collateral_price: Base
    """Base units per whole token."""
    debt: Asset
    debt_price: Base

    def of(self, left: int, surplus: int) -> Base:
        """Return what so much of the collateral and of the debt are worth, rounded down."""
        return Base(
            left * self.collateral_price // 10**self.collateral.decimals
            + surplus * self.debt_price // 10**self.debt.decimals
        )
