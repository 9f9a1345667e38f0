"""Adding collateral to a position before it can be liquidated."""

from dataclasses import dataclass

from keeper.model import (
    Address,
    Assessed,
    Assessment,
    Decision,
    Holdings,
    IntentKind,
    Side,
)
from keeper.ports import MarketView, Wallet
from keeper.strategies.protect import Bounds, Offer, candidates, in_danger, nothing_allowed, protect


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
        bounds = self.bounds
        danger = in_danger(assessment, self.accounts, bounds, "tops up")
        if not isinstance(danger, Assessed):
            return danger
        enough = bounds.enough(danger.health_factor)
        offers = tuple(
            Offer(
                leg=leg,
                for_target=view.supply_to_reach(holdings, leg, bounds.target),
                for_enough=view.supply_to_reach(holdings, leg, enough),
            )
            for leg in candidates(danger, Side.COLLATERAL, bounds, wallet)
        )
        if not offers:
            return nothing_allowed(danger, bounds, "none of its collaterals may be topped up")
        return protect(IntentKind.TOP_UP, danger, offers, bounds, wallet)
