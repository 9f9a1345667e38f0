"""One chain's engine: for each block, in this order and no other.

    heads -> logs -> one packed read -> judge oracles -> screen -> exact -> decide -> submit
          -> settle what is on its way -> alerts -> record, in one database transaction

A pass that cannot be finished (`ObservationError`) leaves the book as it was last known and is
made up for at the next block: whom it would have read stays on the list.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.alerts.actions import Refusal, refusal
from keeper.alerts.interest import seconds_to_one
from keeper.alerts.machine import AlertKey, Policy, due_again, key_of
from keeper.alerts.passes import pass_alerts
from keeper.alerts.render import Remedies
from keeper.engine.market import Reading, WatchedMarket
from keeper.engine.observe import BlockLogs, Observer
from keeper.engine.pace import Pace
from keeper.engine.prices import PriceLog
from keeper.engine.remedies import remedies
from keeper.errors import ObservationError
from keeper.model import (
    Act,
    Address,
    AlertState,
    Assessed,
    Assessment,
    AuditEvent,
    BlockRef,
    Checkpoint,
    Decision,
    Declined,
    Funding,
    Hold,
    Holdings,
    Intent,
    Inventory,
    MarketId,
    Message,
    Outcome,
    PassRecord,
    PositionId,
    PriceVerdict,
    Refuse,
    Rehearsed,
    Submission,
    Submitted,
    Thresholds,
    Unassessable,
    Watch,
)
from keeper.ports import Advance, Executor, RatedView, Reader, Records, Strategy
from keeper.risk.exact import endangered
from keeper.strategies.holding import held_back
from keeper.strategies.purse import Purse
from keeper.strategies.queue import queue
from keeper.units import WAD, Wad

log = structlog.get_logger()

CHECKPOINT_EVERY_BLOCKS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What the keeper may do in one market: with which account, and by which strategy."""

    owner: Address | None
    """The keeper's own account; None when it watches only."""
    protections: Mapping[Address, Strategy]
    """By protected account."""
    otherwise: Strategy
    """For everybody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Who is told, when."""

    operators: tuple[str, ...]
    thresholds: Thresholds
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass did, for metrics, the status page and the demo's verdict."""

    block: BlockRef
    orphaned: int
    readings: tuple[Reading, ...]
    unread: Mapping[str, str]
    """Markets that could not be read, and why: nothing is decided about them."""
    behind_s: float
    """Age of the block by the machine's clock: a node that is not synced serves old ones."""
    assessments: tuple[Assessment, ...]
    """Watched, protected and liquidatable positions."""
    decisions: tuple[Decision, ...]
    submissions: tuple[Submission, ...]
    outcomes: tuple[Outcome, ...]
    messages: tuple[Message, ...]
    """What people are told because of this pass."""
    decision_s: float
    """From the head's arrival to the last decision."""
    broadcast_s: float | None
    """From the head's arrival to the first transaction handed to the node; None without one."""
    rpc_calls: int
    """Requests that observing cost: logs and packed reads; sends and receipts left out."""


class Engine:
    """Watches every market of one chain, one pass a block."""

    def __init__(
        self,
        *,
        markets: Sequence[WatchedMarket[Any, Any]],
        hands: Mapping[str, Hand],
        logs: BlockLogs,
        reader: Reader,
        records: Records,
        executor: Executor,
        telling: Telling,
        rpc_calls: Callable[[], int],
        behind_after_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`hands` by market name; `rpc_calls` counts the requests that observing made so far.

        `behind_after_s`: nothing is decided on a head that is older than this by `wall`.
        """
        self.markets = tuple(markets)
        self.last: Pass | None = None
        self.readings: dict[str, Reading] = {}
        self._hands = hands
        self._observer = Observer(
            markets=markets,
            owners={name: hand.owner for name, hand in hands.items()},
            logs=logs,
            reader=reader,
            rpc_calls=rpc_calls,
        )
        self._records = records
        self._executor = executor
        self._telling = telling
        self._clock = clock
        self._wall = wall
        self._behind_after_s = behind_after_s
        self._pace = Pace()
        self._states: dict[AlertKey, AlertState] = {}
        self._watches: tuple[Watch, ...] = ()
        self._prices: dict[MarketId, tuple[PriceVerdict, ...]] = {}
        self._price_log = PriceLog()
        self._since_checkpoint = 0
        self.covered = False

    async def start(self, block: BlockRef) -> None:
        """Reconcile what was on its way, and learn every market, before the first block.

        Raises ObservationError when a market cannot be learnt.
        """
        for outcome in await self._executor.recover(block):
            self._pace.ended(outcome, block.number)
        for intent in self._executor.open_intents():
            self._pace.open[intent.position] = intent
        left = due_again(await self._records.alert_states(), block.timestamp)
        self._states = {key_of(state): state for state in left}
        for reason in (await self._observer.discover(block)).values():
            raise ObservationError(reason)

    async def take(self, advance: Advance) -> Pass | None:
        """Take one change of the head; None when the block could not be observed."""
        head = advance.adopted[-1]
        self._watches = await self._records.watches()
        try:
            observed = await self._observer.observe(advance, self._watched())
        except ObservationError as error:
            log.warning("pass.skipped", block=head.number, reason=str(error))
            return None
        self.readings = dict(observed.readings)
        self._prices |= {r.view.market: r.prices for r in self.readings.values()}
        assessments = self._assess()
        behind_s = self._wall() - head.timestamp
        if behind_s > self._behind_after_s:
            log.warning("head.behind", block=head.number, behind_s=round(behind_s))
            decisions: tuple[Decision, ...] = ()
        else:
            decisions = self._decide(observed.inventories, assessments)
        decided_at = self._clock()
        if advance.doubt:  # warned of, but neither acted upon nor believed of a transaction
            submissions, broadcast_at = self._doubted(decisions, advance.doubt), None
            outcomes: tuple[Outcome, ...] = ()
        else:
            submissions, broadcast_at = await self._submit(decisions, head)
            outcomes = await self._executor.settle(head)
        for outcome in outcomes:
            self._pace.ended(outcome, head.number)

        done = Pass(
            block=head,
            orphaned=len(advance.orphaned),
            readings=tuple(self.readings.values()),
            unread=observed.unread,
            behind_s=max(0.0, behind_s),
            assessments=tuple(assessments.values()),
            decisions=decisions,
            submissions=submissions,
            outcomes=outcomes,
            messages=(),
            decision_s=decided_at - advance.received_at,
            broadcast_s=None if broadcast_at is None else broadcast_at - advance.received_at,
            rpc_calls=observed.rpc_calls,
        )
        done = replace(done, messages=await self._record(done))
        self.last = done
        return done

    def _watched(self) -> dict[str, frozenset[Address]]:
        """Return the accounts that each book must hold, debt or not."""
        watched = frozenset(w.account for w in self._watches)
        return {name: watched | frozenset(hand.protections) for name, hand in self._hands.items()}

    # --- deciding -----------------------------------------------------------------------------

    def _assess(self) -> dict[PositionId, Assessment]:
        """Watched and protected accounts, and all that can be below 1; the greatest debt first.

        An account that could not be read is unknown, whatever the book still holds of it.
        """
        found: list[Assessment] = []
        for market in self._read():
            reading = self.readings[market.id.name]
            view, unread = reading.view, dict(reading.unreadable)
            danger = frozenset(endangered(market.book, view.weights(), WAD))
            readable = (market.watched | danger).difference(unread)
            found += [view.assess(h) for a in readable if (h := market.book.get(a)) is not None]
            found += [_unread(market.id, reading.block, a, why) for a, why in unread.items()]
        found.sort(key=lambda a: (-a.debt if isinstance(a, Assessed) else 1, str(a.position)))
        return {a.position: a for a in found}

    def _decide(
        self,
        inventories: Mapping[str, Inventory],
        assessments: Mapping[PositionId, Assessment],
    ) -> tuple[Decision, ...]:
        decisions: list[Decision] = []
        self._pace.forget_all_but(assessments)
        purses = {name: Purse(inventory) for name, inventory in inventories.items()}
        for intent in self._pace.open.values():
            purse = purses.get(intent.position.market.name)
            if purse is not None and intent.funding is Funding.OWN:
                purse.take(intent.asset.address, intent.amount)
        protected = {
            (name, account) for name, hand in self._hands.items() for account in hand.protections
        }
        first = sorted(
            assessments.values(),
            key=lambda a: (a.position.market.name, a.position.account) not in protected,
        )
        for assessment in first:
            name, account = assessment.position.market.name, assessment.position.account
            if (purse := purses.get(name)) is None:
                decisions += self._penniless(assessment)
                continue
            market = self._market(name)
            position, block = assessment.position, assessment.block.number
            if position in self._pace.open or (held := market.holdings(account)) is None:
                continue
            decision = self._ask(name, held, assessment, purse)
            if isinstance(decision, Hold):
                self._pace.recovered(position)
            if self._pace.held(position, block):
                continue
            if isinstance(decision, Act) and decision.intent.funding is Funding.OWN:
                purse.take(decision.intent.asset.address, decision.intent.amount)
            decisions.append(decision)
        return tuple(decisions)

    def _ask(self, name: str, holdings: Holdings, assessment: Assessment, purse: Purse) -> Decision:
        """Return the decision of the account's strategy, on prices as far as they may serve it."""
        reading, hand = self.readings[name], self._hands[name]
        if (strategy := hand.protections.get(holdings.account)) is not None:
            known = _by_protocol(reading, holdings, assessment)
            return strategy.decide(reading.protecting, holdings, known, purse)
        decision = hand.otherwise.decide(reading.view, holdings, assessment, purse)
        return held_back(decision, assessment, reading.held)

    def _penniless(self, assessment: Assessment) -> tuple[Refuse, ...]:
        """Refuse what would have to be done, where the keeper's own balances are not known."""
        position = assessment.position
        hand = self._hands[position.market.name]
        below = isinstance(assessment, Assessed) and assessment.health_factor < WAD
        if hand.owner is None or not (below or position.account in hand.protections):
            return ()
        why = "the keeper's own balances could not be read"
        return (Refuse(position=position, reason=why),)

    async def _submit(
        self, decisions: Sequence[Decision], head: BlockRef
    ) -> tuple[tuple[Submission, ...], float | None]:
        submissions: list[Submission] = []
        broadcast_at: float | None = None
        for intent in queue(tuple(d.intent for d in decisions if isinstance(d, Act))):
            view = self.readings[intent.position.market.name].view
            submission = await self._executor.submit(intent, view)
            if isinstance(submission, Submitted) and broadcast_at is None:
                broadcast_at = self._clock()
            self._pace.began(submission, head.number)
            submissions.append(submission)
        return tuple(submissions), broadcast_at

    @staticmethod
    def _doubted(decisions: Sequence[Decision], doubt: str) -> tuple[Submission, ...]:
        """Decline everything; no cool-down, so that the next head that is agreed on acts."""
        reason = f"the nodes do not agree on this block: {doubt}"
        return tuple(
            Declined(intent=d.intent, reason=reason) for d in decisions if isinstance(d, Act)
        )

    # --- telling and recording ----------------------------------------------------------------

    async def _record(self, done: Pass) -> tuple[Message, ...]:
        told = pass_alerts(
            block=done.block,
            prices=self._prices,
            assessments=done.assessments,
            watches=self._watches,
            states=self._states.values(),
            operators=self._telling.operators,
            thresholds=self._telling.thresholds,
            uses=self._uses(done.assessments),
            refusals=_refusals(done),
            rehearsals=tuple(s for s in done.submissions if isinstance(s, Rehearsed)),
            remedies=self._remedies,
            policy=self._telling.policy,
            manners=await self._records.manners(),
            interest=self._interest,
        )
        for state in told.states:
            if state.level:
                self._states[key_of(state)] = state
            else:
                self._states.pop(key_of(state), None)
        audit = _audit(done)
        await self._records.record(
            PassRecord(
                block=done.block,
                history=done.assessments,
                prices=tuple(
                    kept
                    for r in done.readings
                    for kept in self._price_log.worth_keeping(r.view.market, r.block, r.prices)
                ),
                decisions=tuple(d for d in done.decisions if isinstance(d, Act | Refuse)),
                alerts=told.states,
                messages=told.messages,
                audit=audit,
                held=told.held,
            )
        )
        await self._checkpoint()
        return told.messages

    def _uses(self, assessments: Sequence[Assessment]) -> dict[PositionId, frozenset[Address]]:
        """Return the assets of each position whose health is unknown."""
        return {
            a.position: self._market(a.position.market.name).assets_of(a.position.account)
            for a in assessments
            if isinstance(a, Unassessable)
        }

    def _remedies(self, assessed: Assessed) -> Remedies | None:
        market = self._market(assessed.position.market.name)
        holdings = market.holdings(assessed.position.account)
        if holdings is None:
            return None
        return remedies(self.readings[market.id.name].view, holdings, assessed)

    def _interest(self, assessed: Assessed) -> int | None:
        view = self.readings[assessed.position.market.name].view
        return seconds_to_one(assessed, view.rate) if isinstance(view, RatedView) else None

    async def _checkpoint(self) -> None:
        """Save who is in each book, claiming a block deep enough to stay."""
        self._since_checkpoint += 1
        if self.covered and self._since_checkpoint >= CHECKPOINT_EVERY_BLOCKS:
            await self.save_checkpoints()

    async def save_checkpoints(self) -> None:
        """Save every market's checkpoint now; nothing happens before history is covered."""
        oldest = self._observer.oldest
        if not self.covered or oldest is None:
            return
        self._since_checkpoint = 0
        for market in self.markets:
            await self._records.save_checkpoint(
                Checkpoint(market=market.id, block=oldest, accounts=market.known())
            )

    async def act(self, intent: Intent) -> Submission:
        """Submit what a person decided, at the block that `intent` names: the last one taken."""
        reading = self.readings[intent.position.market.name]
        submission = await self._executor.submit(intent, reading.view)
        self._pace.began(submission, reading.block.number)
        return submission

    # --- what others ask -----------------------------------------------------------------------

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Who watches what, as of the last pass."""
        return self._watches

    def assessments_of(self, account: Address) -> tuple[Assessment, ...]:
        """Return the account in every market whose book has it, at the last block taken."""
        return tuple(
            self.readings[market.id.name].view.assess(holdings)
            for market in self.markets
            if market.id.name in self.readings and (holdings := market.holdings(account))
        )

    def health_of(self, position: PositionId) -> Wad | None:
        """Return a position's health factor at the last block taken; None if it is unknown."""
        for assessment in self.assessments_of(position.account):
            if assessment.position == position and isinstance(assessment, Assessed):
                return assessment.health_factor
        return None

    def _read(self) -> tuple[WatchedMarket[Any, Any], ...]:
        """Return the markets that were read at the last head."""
        return tuple(m for m in self.markets if m.id.name in self.readings)

    def _market(self, name: str) -> WatchedMarket[Any, Any]:
        return next(m for m in self.markets if m.id.name == name)


def _by_protocol(reading: Reading, holdings: Holdings, assessment: Assessment) -> Assessment:
    """Return the health that a protection goes by: a doubted price may serve, an account that
    could not be read may not."""
    if assessment.ok or holdings.account in dict(reading.unreadable):
        return assessment
    return reading.protecting.assess(holdings)


def _unread(market: MarketId, block: BlockRef, account: Address, why: str) -> Unassessable:
    position = PositionId(market=market, account=account)
    return Unassessable(position=position, block=block, reason=why)


def _audit(done: Pass) -> tuple[AuditEvent, ...]:
    """What is to be found later: reorganisations, and accounts whose balances were put right."""
    reorganised = (
        (AuditEvent(event="block.reorganised", fields={"depth": done.orphaned}),)
        if done.orphaned
        else ()
    )
    repaired = (
        AuditEvent(
            event="book.repaired", fields={"market": reading.view.market.name, "account": account}
        )
        for reading in done.readings
        for account in reading.repaired
    )
    return (*reorganised, *repaired)


def _refusals(done: Pass) -> tuple[Refusal, ...]:
    """Refused by a strategy, or declined by the executor."""
    return (
        *(refusal(d) for d in done.decisions if isinstance(d, Refuse)),
        *(refusal(s) for s in done.submissions if isinstance(s, Declined)),
    )
