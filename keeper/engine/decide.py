"""What one pass decides: who is in danger, and what each one's strategy says to do about it.

Memory is only in `Pace`; no I/O.  Protected accounts are asked before everybody else, so that
protection never finds the purse emptied by a liquidation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.engine.market import Reading, WatchedMarket
from keeper.engine.pace import Pace
from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    BlockRef,
    Decision,
    Declined,
    Funding,
    Hold,
    Holdings,
    Inventory,
    MarketId,
    PositionId,
    Refuse,
    Submission,
    Unassessable,
    Watch,
    Why,
)
from keeper.ports import Strategy
from keeper.risk.exact import endangered
from keeper.strategies.holding import held_back
from keeper.strategies.purse import Purse
from keeper.units import WAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What the keeper may do in one market: with which account, and by which strategy."""

    owner: Address | None
    """The keeper's own account; None when it watches only."""
    protections: Mapping[Address, Strategy]
    """By protected account."""
    otherwise: Strategy
    """For everybody else."""
    ours: frozenset[Address] = frozenset()
    """Accounts and contracts whose liquidations are the keeper's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Decides for every position of one chain, one pass at a time."""

    markets: Mapping[str, WatchedMarket[Any, Any]]
    """By name."""
    hands: Mapping[str, Hand]
    """By market name."""
    pace: Pace

    def watched(self, watches: Sequence[Watch]) -> dict[str, frozenset[Address]]:
        """Return the accounts that each market's book must hold, debt or not."""
        asked = frozenset(w.account for w in watches)
        return {name: asked | frozenset(hand.protections) for name, hand in self.hands.items()}

    def assess(self, readings: Mapping[str, Reading]) -> dict[PositionId, Assessment]:
        """Watched and protected accounts, and all that can be below 1; the greatest debt first.

        An account that could not be read is unknown, whatever the book still holds of it.
        """
        found: list[Assessment] = []
        for name, reading in readings.items():
            found += _assessed(self.markets[name], reading)
        found.sort(key=lambda a: (-a.debt if isinstance(a, Assessed) else 1, str(a.position)))
        return {a.position: a for a in found}

    def decide(
        self,
        readings: Mapping[str, Reading],
        inventories: Mapping[str, Inventory],
        assessments: Mapping[PositionId, Assessment],
    ) -> tuple[Decision, ...]:
        """Ask each position's strategy, nothing being spent twice.

        `inventories` by market name; a market without one is not known well enough to act in.
        """
        self.pace.forget_all_but(assessments)
        purses = self._purses(inventories)
        decisions: list[Decision] = []
        for assessment in sorted(assessments.values(), key=self._unprotected):
            name, position = assessment.position.market.name, assessment.position
            if (purse := purses.get(name)) is None:
                decisions += self._penniless(assessment)
                continue
            held = self.markets[name].holdings(position.account)
            if position in self.pace.open or held is None:
                continue
            decision = self._ask(readings[name], held, assessment, purse)
            if isinstance(decision, Hold):
                self.pace.recovered(position)
            if self.pace.held(position, assessment.block.number):
                continue
            if isinstance(decision, Act) and decision.intent.funding is Funding.OWN:
                purse.take(decision.intent.asset.address, decision.intent.amount)
            decisions.append(decision)
        return tuple(decisions)

    def _purses(self, inventories: Mapping[str, Inventory]) -> dict[str, Purse]:
        """Return what is left of each inventory after what is on its way already."""
        purses = {name: Purse(inventory) for name, inventory in inventories.items()}
        for intent in self.pace.open.values():
            purse = purses.get(intent.position.market.name)
            if purse is not None and intent.funding is Funding.OWN:
                purse.take(intent.asset.address, intent.amount)
        return purses

    def _unprotected(self, assessment: Assessment) -> bool:
        position = assessment.position
        return position.account not in self.hands[position.market.name].protections

    def _ask(
        self, reading: Reading, holdings: Holdings, assessment: Assessment, purse: Purse
    ) -> Decision:
        """Return the decision of the account's strategy, on prices as far as they may serve it."""
        hand = self.hands[reading.view.market.name]
        if (strategy := hand.protections.get(holdings.account)) is not None:
            known = _by_protocol(reading, holdings, assessment)
            return strategy.decide(reading.protecting, holdings, known, purse)
        decision = hand.otherwise.decide(reading.view, holdings, assessment, purse)
        return held_back(decision, assessment, reading.held)

    def _penniless(self, assessment: Assessment) -> tuple[Refuse, ...]:
        """Refuse what would have to be done, where the keeper's own balances are not known."""
        position = assessment.position
        hand = self.hands[position.market.name]
        below = isinstance(assessment, Assessed) and assessment.health_factor < WAD
        if hand.owner is None or not (below or position.account in hand.protections):
            return ()
        why = "the keeper's own balances could not be read"
        return (Refuse(position=position, reason=why),)


def doubted(decisions: Sequence[Decision], doubt: str) -> tuple[Submission, ...]:
    """Decline everything; no cool-down, so that the next head that is agreed on acts."""
    reason = f"the nodes do not agree on this block: {doubt}"
    return tuple(
        Declined(intent=d.intent, reason=reason, why=Why.HELD)
        for d in decisions
        if isinstance(d, Act)
    )


def _assessed(market: WatchedMarket[Any, Any], reading: Reading) -> Iterator[Assessment]:
    view, unknown = reading.view, dict(reading.unreadable)
    danger = frozenset(endangered(market.book, view.weights(), WAD))
    for account in market.believed((market.watched | danger).difference(unknown)):
        if (holdings := market.book.get(account)) is not None:
            yield view.assess(holdings)
    for account, why in unknown.items():
        yield unread(market.id, reading.block, account, why)


def _by_protocol(reading: Reading, holdings: Holdings, assessment: Assessment) -> Assessment:
    """Return the health that a protection goes by: a doubted price may serve, an account that
    could not be read may not."""
    if assessment.ok or holdings.account in dict(reading.unreadable):
        return assessment
    return reading.protecting.assess(holdings)


def unread(market: MarketId, block: BlockRef, account: Address, why: str) -> Unassessable:
    position = PositionId(market=market, account=account)
    return Unassessable(position=position, block=block, reason=why)
