"""Adding collateral to a position before it can be liquidated."""

from dataclasses import dataclass

from keeper.model import (
    Address,
    Assessment,
    Decision,
    Hold,
    Holdings,
    IntentKind,
    Refuse,
    Side,
    Unassessable,
)
from keeper.ports import MarketView, Wallet
from keeper.strategies.protect import Bounds, Offer, candidates, protect
from keeper.strategies.text import health


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """Supplies collateral on behalf of the accounts it protects, and of nobody else.

    One asset an action, only one that the account uses as collateral already.  What it does when
    the wallet cannot reach the target: `keeper.strategies.protect`.
    """

    accounts: tuple[Address, ...]
    """Whom it protects: supplying is a gift to whoever owns the position."""
    bounds: Bounds
    name: str = "top_up"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        """Hold above `bounds.below`; Act with the least supply that reaches `bounds.target`.

        Refuse where the health is unknown and where no allowed asset suffices.  The amount is
        rounded up: the health factor after it is never below the target, as of this block.
        """
        position = assessment.position
        if position.account not in self.accounts:
            return Hold(position=position, reason="not an account that it tops up")
        if isinstance(assessment, Unassessable):
            return Refuse(position=position, reason=assessment.reason)
        bounds = self.bounds
        if assessment.health_factor >= bounds.below:
            return Hold(
                position=position,
                reason=f"health factor {health(assessment.health_factor)} is not below "
                f"{health(bounds.below)}",
            )
        enough = bounds.enough(assessment.health_factor)
        offers = tuple(
            Offer(
                leg=leg,
                for_target=view.supply_to_reach(holdings, leg, bounds.target),
                for_enough=view.supply_to_reach(holdings, leg, enough),
            )
            for leg in candidates(assessment, Side.COLLATERAL, bounds, wallet)
        )
        if not offers:
            return Refuse(
                position=position,
                reason=f"health factor {health(assessment.health_factor)} is below "
                f"{health(bounds.below)}: none of its collaterals may be topped up",
            )
        return protect(IntentKind.TOP_UP, assessment, offers, bounds, wallet)
