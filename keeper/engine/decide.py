"""What one pass decides: who is in danger, and what each one's strategy says to do about it.

Memory is only in `Pace`; no I/O.  Protected accounts are asked before everybody else, so that
protection never finds the purse emptied by a liquidation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from keeper.engine.looks import LOT, Look, by_wait
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
    Way,
    Why,
)
from keeper.ports import AvoidingView, LendingView, Strategy
from keeper.risk.exact import value_at_risk
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
class Turn:
    """Some accounts that were looked at, and what was decided about them."""

    assessments: tuple[Assessment, ...]
    decisions: tuple[Decision, ...]
    standing: bool = False
    """Whether these, and all who come after them, were below 1 before: they may wait."""


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

    def looks(self, readings: Mapping[str, Reading]) -> tuple[Look, ...]:
        """Return whom to look at in each market that was read."""
        for name, reading in readings.items():
            over = (p for p in self.pace.over(reading.block.number) if p.market.name == name)
            self.markets[name].unsettle(position.account for position in over)
        return tuple(Look.at(self.markets[name], reading) for name, reading in readings.items())

    def turns(self, looks: Sequence[Look], inventories: Mapping[str, Inventory]) -> Iterator[Turn]:
        """Yield what is found and decided, in turns: what one of them decides is done before the
        next is asked for.  Nothing is spent twice in all of them.

        The first: watched and protected accounts, those that could not be read, and who is newly in
        danger, the greatest debt first, up to the first one that is to be acted upon.  Then all
        others who are newly in danger, then those who were before, which may be ended at any turn
        of theirs.  `inventories` by market name; a market without one is not known well enough to
        act in.
        """
        purses = self._purses(inventories)
        by_name = {look.name: look for look in looks}
        fresh = _merged(looks)
        yield self._first(by_name, purses, fresh)
        others = (one for look in by_wait(looks) for one in look.others())
        for of in (fresh, others):
            while some := tuple(islice(of, LOT)):
                yield self._turn(by_name, purses, some, standing=of is others)

    def assessed(self, looks: Sequence[Look]) -> dict[PositionId, Assessment]:
        """Return what all turns would find, where nothing is to be decided."""
        found = [a for look in looks for a in (*_unread(look), *(a for _, a in look.named()))]
        found += [a for look in looks for _, a in (*look.fresh_ones(), *look.others())]
        return by_debt(found)

    def _first(
        self,
        looks: Mapping[str, Look],
        purses: Mapping[str, Purse],
        fresh: Iterator[tuple[Holdings, Assessment]],
    ) -> Turn:
        named: list[tuple[Holdings | None, Assessment]] = [
            one for look in looks.values() for one in look.named()
        ]
        named += [
            (look.market.holdings(a.position.account), a)
            for look in looks.values()
            for a in _unread(look)
        ]
        named.sort(key=lambda one: (self._unprotected(one[1]), *value_at_risk(one[1])))
        assessments = [assessment for _, assessment in named]
        decisions = [d for held, a in named for d in self._decided(looks, purses, held, a)]
        if not any(isinstance(decision, Act) for decision in decisions):
            for held, assessment in fresh:
                assessments.append(assessment)
                decided = self._decided(looks, purses, held, assessment)
                decisions += decided
                if any(isinstance(decision, Act) for decision in decided):
                    break
        return Turn(assessments=tuple(assessments), decisions=tuple(decisions))

    def _turn(
        self,
        looks: Mapping[str, Look],
        purses: Mapping[str, Purse],
        some: Sequence[tuple[Holdings, Assessment]],
        *,
        standing: bool,
    ) -> Turn:
        return Turn(
            assessments=tuple(assessment for _, assessment in some),
            decisions=tuple(d for held, a in some for d in self._decided(looks, purses, held, a)),
            standing=standing,
        )

    def _decided(
        self,
        looks: Mapping[str, Look],
        purses: Mapping[str, Purse],
        held: Holdings | None,
        assessment: Assessment,
    ) -> tuple[Decision, ...]:
        """Ask the position's strategy, if there is anything to ask; at most one answer."""
        position = assessment.position
        name = position.market.name
        if (purse := purses.get(name)) is None:
            return self._penniless(assessment)
        if position in self.pace.open or held is None:
            return ()
        decision = self._ask(looks[name].reading, held, assessment, purse)
        if isinstance(decision, Hold):
            self.pace.recovered(position)
        if self.pace.held(position, assessment.block.number):
            return ()
        if isinstance(decision, Act) and decision.intent.funding is Funding.OWN:
            purse.take(decision.intent.asset.address, decision.intent.amount)
        return (decision,)

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
        tried = self.pace.tried(assessment.position, assessment.block.number)
        if (strategy := hand.protections.get(holdings.account)) is not None:
            known = _by_protocol(reading, holdings, assessment)
            return _decide(strategy, reading.protecting, holdings, known, purse, tried=tried)
        decision = _decide(hand.otherwise, reading.view, holdings, assessment, purse, tried=tried)
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


def _decide(
    strategy: Strategy,
    view: LendingView,
    holdings: Holdings,
    assessment: Assessment,
    purse: Purse,
    *,
    tried: frozenset[Way],
) -> Decision:
    """Ask `strategy`: for another way than those tried in vain where it has one."""
    if tried and isinstance(view, AvoidingView):
        another = strategy.decide(view.avoiding(tried), holdings, assessment, purse)
        if isinstance(another, Act):
            return another
    return strategy.decide(view, holdings, assessment, purse)


def doubted(decisions: Sequence[Decision], doubt: str) -> tuple[Submission, ...]:
    """Decline everything; no cool-down, so that the next head that is agreed on acts."""
    reason = f"the nodes do not agree on this block: {doubt}"
    return tuple(
        Declined(intent=d.intent, reason=reason, why=Why.HELD)
        for d in decisions
        if isinstance(d, Act)
    )


def by_debt(found: Iterable[Assessment]) -> dict[PositionId, Assessment]:
    """Return assessments by position: the greatest debt first, the unknown last."""
    return {a.position: a for a in sorted(found, key=value_at_risk)}


def _merged(looks: Sequence[Look]) -> Iterator[tuple[Holdings, Assessment]]:
    """Yield who is newly in danger: the greatest debt first, over all markets."""
    if len(looks) == 1:
        return looks[0].fresh_ones()
    return merge(*(look.fresh_ones() for look in looks), key=lambda one: value_at_risk(one[1]))


def _unread(look: Look) -> Iterator[Unassessable]:
    for account, why in look.unread.items():
        yield unread(look.market.id, look.reading.block, account, why)


def _by_protocol(reading: Reading, holdings: Holdings, assessment: Assessment) -> Assessment:
    """Return the health that a protection goes by: a doubted price may serve, an account that
    could not be read may not."""
    if assessment.ok or holdings.account in dict(reading.unreadable):
        return assessment
    return reading.protecting.assess(holdings)


def unread(market: MarketId, block: BlockRef, account: Address, why: str) -> Unassessable:
    position = PositionId(market=market, account=account)
    return Unassessable(position=position, block=block, reason=why)
