"""Repaying debt of a position with some of its own collateral, sold in the same transaction."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    Decision,
    Deleverage,
    Funding,
    Holdings,
    Intent,
    IntentKind,
    Leg,
    Refuse,
    Side,
)
from keeper.ports import DeleverageView, MarketView, Wallet
from keeper.strategies.intents import intent_id
from keeper.strategies.protect import Bounds, in_danger, loss_if_liquidated
from keeper.strategies.text import have, health, need
from keeper.units import BPS, WAD, Base, Bps, Raw, Rounding, Wad, mul_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleveraging:
    """Sells collateral of the accounts it protects, as far as they allowed, to repay their debt.

    The keeper's own account pays nothing but gas.  One pair of collateral and debt an action: the
    one that reaches the target by selling least; where none may, the one that helps most within
    the bounds.
    """

    accounts: tuple[Address, ...]
    """Whom it protects; each of them gave the deleverager a mandate and an approval."""
    bounds: Bounds
    """`assets`: what may be sold, empty for any; `max_value`: the most debt repaid at once."""
    cost: Bps
    """How much dearer than the market's prices the exchange may be, its fees included."""
    name: str = "deleverage"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        """Hold above `bounds.below`; Act on the cheapest pair that reaches `bounds.target`.

        Refuse where the health is unknown or no pair is enough.  Sizes are rounded in the
        borrower's favour: the health after it is never below what is said, as of this block and
        if the exchange takes no more than it may.
        """
        del wallet  # the keeper's own tokens are not touched
        danger = in_danger(assessment, self.accounts, self.bounds, "deleverages")
        if not isinstance(danger, Assessed):
            return danger
        position = danger.position
        start = f"health factor {health(danger.health_factor)} is below {health(self.bounds.below)}"
        if not isinstance(view, DeleverageView):
            return Refuse(position=position, reason=f"{start}: this market knows no deleverage")
        return self._best(view, holdings, danger, start)

    def _best(
        self, view: DeleverageView, holdings: Holdings, assessed: Assessed, start: str
    ) -> Act | Refuse:
        whole = tuple(self._to_target(view, holdings, assessed))
        if whole:
            best = min(whole, key=lambda way: (way.sold_value, way.debt.reserve))
            return self._act(assessed, best, f"{start}: {_words(best)} to reach")
        enough = self.bounds.enough(assessed.health_factor)
        ways = self._capped(view, holdings, assessed)
        part = tuple(way for way in ways if way.health >= enough)
        if part:
            best = max(part, key=lambda way: (way.health, -way.sold_value))
            act = self._act(assessed, best, f"{start}: {_words(best)}, all it may, towards")
            return replace(act, partial=True)
        return Refuse(
            position=assessed.position,
            reason=f"{start}: no collateral that may be sold repays enough for"
            f" {health(enough)} within the bounds",
        )

    def _pairs(self, assessed: Assessed) -> Iterator[tuple[Leg, Leg]]:
        for collateral in assessed.legs:
            allowed = not self.bounds.assets or collateral.asset.address in self.bounds.assets
            if collateral.side is not Side.COLLATERAL or not allowed:
                continue
            for debt in assessed.legs:
                if debt.side is Side.DEBT and debt.reserve != collateral.reserve:
                    yield collateral, debt

    def _to_target(
        self, view: DeleverageView, holdings: Holdings, assessed: Assessed
    ) -> Iterator[Deleverage]:
        for collateral, debt in self._pairs(assessed):
            way = view.deleverage_to_reach(
                holdings, collateral, debt, self.bounds.target, self.cost
            )
            if way is not None and way.repay <= self._cap(debt):
                yield way

    def _capped(
        self, view: DeleverageView, holdings: Holdings, assessed: Assessed
    ) -> Iterator[Deleverage]:
        """As much as one transaction may repay: of the cap, the debt, and what is there to sell."""
        for collateral, debt in self._pairs(assessed):
            unit = 10**collateral.asset.decimals * debt.price
            room = collateral.balance * collateral.price * 10**debt.asset.decimals
            paid = room * 10_000 // (unit * (10_000 + self.cost)) - 2 if unit else 0
            amount = min(self._cap(debt), debt.balance, paid)
            way = view.deleveraged(holdings, collateral, debt, Raw(amount), self.cost)
            if way is not None:
                yield way

    def _cap(self, debt: Leg) -> int:
        most = self.bounds.max_value
        if most is None:
            return debt.balance
        return most * 10**debt.asset.decimals // debt.price if debt.price > 0 else 0

    def _act(self, assessed: Assessed, way: Deleverage, words: str) -> Act:
        return Act(intent=deleverage_intent(assessed, way, f"{words} {health(self.bounds.target)}"))


def deleverage_intent(assessed: Assessed, way: Deleverage, reason: str) -> Intent:
    """Return the intent of one deleverage: a strategy's, or one that was asked for by command."""
    return Intent(
        intent_id=intent_id(IntentKind.DELEVERAGE, assessed.position, assessed.block),
        kind=IntentKind.DELEVERAGE,
        position=assessed.position,
        block=assessed.block,
        asset=way.debt.asset,
        amount=way.repay,
        collateral=way.collateral.asset,
        covers=way.repay,
        seized=way.sells,
        funding=Funding.FLASH,
        value_at_risk=loss_if_liquidated(assessed),
        health_before=assessed.health_factor,
        reason=reason,
    )


def _words(way: Deleverage) -> str:
    return (
        f"repay {need(way.repay, way.debt.asset)} with at most"
        f" {have(way.sells, way.collateral.asset)} of its own"
    )


def most_sold(
    assessed: Assessed, leg: Leg, *, start: Wad, target: Wad, cost: Bps, most: Base | None = None
) -> Raw:
    """Return how much of its collateral `leg` an account may have to sell to reach `target`.

    From a health factor of `start`, or where it is if that is lower, all collateral having fallen
    alike until then or the debt having risen: what is repaid is D (t - h) / (t - (1 + c) L), for a
    debt D, from h to t, the sale c dearer than the market's prices and the collateral counting L of
    its value.  `most`: no more debt is repaid at once.  Rounded up, with 0.02 % of health factor
    besides, since earlier revisions cut the average threshold to 0.01 %; all of it where that does
    not reach the target; 0 without debt.
    """
    if not assessed.debt or leg.price <= 0:
        return Raw(0)
    start = min(start, assessed.health_factor)
    if start >= target:
        return Raw(0)
    start = Wad(start - start * 2 // BPS)
    slope = target * BPS * BPS - WAD * (BPS + cost) * leg.liquidation_threshold
    if slope <= 0 or start <= 0:
        return leg.balance
    repaid = mul_div(assessed.debt * (target - start), BPS * BPS, slope, Rounding.UP)
    if most is not None:
        repaid = min(repaid, most)
    sold = mul_div(
        repaid * (BPS + cost) * 10**leg.asset.decimals,
        assessed.health_factor,
        BPS * leg.price * start,
        Rounding.UP,
    )
    return Raw(min(leg.balance, sold + 2))  # the order's own unit of rounding, and the aToken's
