"""Repaying debt of a position before it can be liquidated."""

from dataclasses import dataclass, replace
from typing import Final

from keeper.model import (
    Address,
    Assessed,
    Assessment,
    Decision,
    Holdings,
    IntentKind,
    Leg,
    Side,
)
from keeper.ports import MarketView, Wallet
from keeper.strategies.protect import Bounds, Offer, candidates, in_danger, nothing_allowed, protect
from keeper.units import Raw, Wad

SLACK: Final = 1_000
"""A whole debt is repaid with one part in this many more: it grows until the transaction is
included, and the market takes no more than what is owed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repay:
    """Repays debt on behalf of the accounts it protects, and of nobody else.

    One asset an action.  What it does when the wallet cannot reach the target:
    `keeper.strategies.protect`.
    """

    accounts: tuple[Address, ...]
    """Whom it protects: repaying is a gift to whoever owes."""
    bounds: Bounds
    name: str = "repay"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        """Hold above `bounds.below`; Act with the least repayment that reaches `bounds.target`.

        Refuse where the health is unknown and where no allowed asset suffices.  The amount is
        rounded up: the health factor after it is never below the target, as of this block.
        """
        bounds = self.bounds
        danger = in_danger(assessment, self.accounts, bounds, "repays for")
        if not isinstance(danger, Assessed):
            return danger
        enough = bounds.enough(danger.health_factor)
        offers = tuple(
            Offer(
                leg=leg,
                for_target=_that_reaches(view, holdings, leg, bounds.target, least),
                for_enough=_that_reaches(
                    view, holdings, leg, enough, view.repay_to_reach(holdings, leg, enough)
                ),
                most=Raw(leg.balance + leg.balance // SLACK + 1),
            )
            for leg in candidates(danger, Side.DEBT, bounds, wallet)
            if (least := view.repay_to_reach(holdings, leg, bounds.target)) is not None
        )
        if not offers:
            return nothing_allowed(danger, bounds, "none of its debts may be repaid")
        return protect(IntentKind.REPAY, danger, offers, bounds, wallet)


def _that_reaches(
    view: MarketView, holdings: Holdings, leg: Leg, target: Wad, amount: Raw | None
) -> Raw | None:
    """Return `amount`, the view's answer; None if even all of the debt does not reach `target`.

    The view answers the whole balance in both cases, so that the whole is looked at again: the
    same holdings without that debt.
    """
    if amount is None or amount < leg.balance:
        return amount
    kept = tuple(e for e in holdings.entries if (e.reserve, e.side) != (leg.reserve, Side.DEBT))
    after = view.assess(replace(holdings, entries=kept))
    if isinstance(after, Assessed) and after.health_factor >= target:
        return leg.balance
    return None
