"""The account of liquidations: whose each one was, since when it was possible, why it was not ours.

After each pass it remembers who was below 1 and what was made of it; when a liquidation is heard of
later, that memory is its explanation.  Only what was known before the liquidation's block counts:
an account that fell and was taken within one block was never ours to see.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.engine.decide import Hand
from keeper.engine.market import Reading, WatchedMarket
from keeper.engine.pace import Pace
from keeper.model import (
    Act,
    Assessed,
    Assessment,
    BlockRef,
    Decision,
    Declined,
    Hash,
    Liquidated,
    PositionId,
    Reckoned,
    Refuse,
    Rehearsed,
    Submission,
    Submitted,
    Taken,
    Why,
)
from keeper.ports import MarketView
from keeper.strategies.alert_only import AlertOnly
from keeper.units import WAD, Base

log = structlog.get_logger()

_WHY = {
    Why.REFUSED: Taken.REFUSED,
    Why.UNPROFITABLE: Taken.UNPROFITABLE,
    Why.TOO_SMALL: Taken.UNPROFITABLE,
    Why.HELD: Taken.HELD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Below:
    """An account below 1, or of unknown health, and what was last made of it."""

    after: int | None
    since: int | None
    """The block of the pass that first saw it; None while its health is unknown."""
    taken: Taken
    reason: str
    intent_id: str | None = None
    expected: Base | None = None


class Misses:
    """Remembers between passes; `reckon` before `remember` at each of them."""

    def __init__(
        self,
        *,
        markets: Mapping[str, WatchedMarket[Any, Any]],
        hands: Mapping[str, Hand],
        pace: Pace,
    ) -> None:
        """`markets` and `hands` by market name."""
        self._markets = markets
        self._hands = hands
        self._pace = pace
        self._below: dict[PositionId, _Below] = {}
        self._read_at: dict[str, int | None] = {}
        """The last block at which everybody known of a market was judged."""
        self._orphaned: list[Hash] = []

    def orphan(self, blocks: Iterable[BlockRef]) -> None:
        """Note blocks that are not canonical any more, whether their pass ends well or not."""
        self._orphaned += [block.hash for block in blocks]

    def orphaned(self) -> tuple[Hash, ...]:
        """Hand over what was noted since this was last asked."""
        gone, self._orphaned = tuple(self._orphaned), []
        return gone

    def reckon(self, readings: Mapping[str, Reading]) -> tuple[Reckoned, ...]:
        """Return the account of every liquidation heard of since the last pass."""
        found = []
        for name, reading in readings.items():
            for heard in self._markets[name].liquidated():
                done = self._reckoned(heard, reading)
                log.info(
                    "liquidation.seen",
                    position=str(heard.position),
                    block=heard.block.number,
                    liquidator=heard.liquidator,
                    taken=str(done.taken),
                    reason=done.reason,
                )
                found.append(done)
        return tuple(found)

    def remember(
        self,
        block: BlockRef,
        assessments: Mapping[PositionId, Assessment],
        decisions: Sequence[Decision],
        submissions: Sequence[Submission],
        readings: Mapping[str, Reading],
        *,
        carried: Container[PositionId] = (),
    ) -> None:
        """Take in who is below 1 at `block` and what was decided and done about it.

        `carried`: who still is, but was not looked at: he stays as he was.
        """
        decided = {_position(decision): decision for decision in decisions}
        done = {submission.intent.position: submission for submission in submissions}
        below: dict[PositionId, _Below] = {}
        for position, assessed in assessments.items():
            known = isinstance(assessed, Assessed)
            if isinstance(assessed, Assessed) and assessed.health_factor >= WAD:
                continue
            before = self._below.get(position)
            start = _Below(
                after=before.after if before else self._read_at.get(position.market.name),
                since=(before.since if before else None) or (block.number if known else None),
                taken=before.taken if before else Taken.HELD,
                reason=before.reason if before else "nothing was decided about it yet",
                intent_id=before.intent_id if before else None,
                expected=before.expected if before else None,
            )
            below[position] = self._verdict(start, position, decided.get(position), done, block)
        # an account of a market that was not read stays as it was
        kept = {
            p: b for p, b in self._below.items() if p.market.name not in readings or p in carried
        }
        self._below = kept | below
        for name in readings:
            complete = not self._markets[name].backlog
            self._read_at[name] = block.number if complete else None

    def _verdict(
        self,
        start: _Below,
        position: PositionId,
        decision: Decision | None,
        done: Mapping[PositionId, Submission],
        block: BlockRef,
    ) -> _Below:
        hand = self._hands[position.market.name]
        if position.account not in hand.protections and (why_idle := idle(hand)):
            return replace(start, taken=Taken.WATCH_ONLY, reason=why_idle)
        match decision:
            case Act(intent=intent):
                mine = replace(
                    start,
                    intent_id=intent.intent_id,
                    expected=intent.expected_profit,
                )
                return _of_submission(mine, done.get(position), block)
            case Refuse(reason=reason, why=why):
                return replace(start, taken=_WHY[why], reason=reason)
            case None:
                if start.intent_id is None and (why_not := self._pace.held(position, block.number)):
                    return replace(start, reason=why_not)
                return start
            case _:
                return replace(start, taken=Taken.HELD, reason=decision.reason)

    def _reckoned(self, heard: Liquidated, reading: Reading) -> Reckoned:
        name = heard.position.market.name
        below = self._below.get(heard.position)
        after = self._read_at.get(name)
        if below is not None:
            after = below.after
        elif self._markets[name].holdings(heard.position.account) is None:
            after = None
        taken, reason = self._whose(heard, below)
        seen = None if below is None else below.since
        return Reckoned(
            liquidated=heard,
            taken=taken,
            reason=reason,
            possible_after=after,
            possible_by=heard.block.number if seen is None else seen,
            seen_block=seen,
            profit=profit_of(heard, reading.view),
            expected=None if below is None else below.expected,
            intent_id=None if below is None else below.intent_id,
        )

    def _whose(self, heard: Liquidated, below: _Below | None) -> tuple[Taken, str]:
        hand, account = self._hands[heard.position.market.name], heard.position.account
        if heard.liquidator in hand.ours:
            return Taken.OURS, "ours"
        if below is not None:
            return below.taken, below.reason
        if self._markets[heard.position.market.name].holdings(account) is None:
            return Taken.NOT_COVERED, "the borrower was not in the book"
        if why_idle := idle(hand):
            return Taken.WATCH_ONLY, why_idle
        return Taken.LATE, "it fell below 1 and was taken before a block could be looked at"


def idle(hand: Hand) -> str:
    """Return why nobody is liquidated with this hand at all, or nothing."""
    if isinstance(hand.otherwise, AlertOnly):
        return "liquidating is not enabled"
    return "no key is configured" if hand.owner is None else ""


def _of_submission(mine: _Below, submission: Submission | None, block: BlockRef) -> _Below:
    match submission:
        case Submitted(open_plan=plan):
            expected = plan.plan.intent.expected_profit
            why = f"ours was sent at block {block.number} with nonce {plan.nonce}; theirs was first"
            return replace(mine, taken=Taken.LATE, reason=why, expected=expected)
        case Rehearsed(plan=plan):
            why = f"nothing is armed: rehearsed at block {block.number}"
            expected = plan.intent.expected_profit
            return replace(mine, taken=Taken.WATCH_ONLY, reason=why, expected=expected)
        case Declined(reason=reason, why=why_not):
            return replace(mine, taken=_WHY[why_not], reason=reason)
        case None:
            return replace(mine, taken=Taken.HELD, reason="it was decided and not carried out")


def profit_of(heard: Liquidated, view: MarketView) -> Base | None:
    """Return what the liquidator took more than it covered, rounded down; None without a price."""
    got, paid = (view.price_of(a.address) for a in (heard.collateral, heard.debt))
    if got is None or paid is None:
        return None
    value = heard.seized * got * 10**heard.debt.decimals
    cost = heard.covered * paid * 10**heard.collateral.decimals
    return Base((value - cost) // 10 ** (heard.collateral.decimals + heard.debt.decimals))


def _position(decision: Decision) -> PositionId:
    return decision.intent.position if isinstance(decision, Act) else decision.position
