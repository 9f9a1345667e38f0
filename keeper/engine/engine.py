"""One chain's engine: for each block, in this order and no other.

    heads -> logs and one packed read -> judge oracles -> screen -> exact -> decide -> submit
          -> settle what is on its way -> alerts -> record, in one database transaction

A pass that cannot be finished (`ObservationError`) leaves the book as it was last known and is
made up for at the next block: whom it would have read stays on the list.  What is on its way is
looked after all the same.

One class, though it is long: the order of a pass, and what may end it, is read in one place.
"""

import asyncio
import math
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from keeper.alerts.measures import Gauges
from keeper.engine.anticipate import Anticipated, anticipate
from keeper.engine.chronicle import Chronicle, Telling
from keeper.engine.decide import Decider, Hand, by_debt, doubted, unread
from keeper.engine.looks import Look
from keeper.engine.market import KEPT_AT_ONCE, Reading, WatchedMarket
from keeper.engine.misses import Misses
from keeper.engine.observe import BlockLogs, Observer
from keeper.engine.pace import Pace
from keeper.engine.passes import Pass
from keeper.errors import ObservationError
from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    BlockRef,
    Decision,
    Declined,
    Funding,
    Intent,
    IntentKind,
    Inventory,
    MarketId,
    Outcome,
    PositionId,
    Submission,
    Submitted,
    Unknown,
    Watch,
    Why,
)
from keeper.ports import Advance, Executor, Reader, Records
from keeper.strategies.queue import queue
from keeper.units import Wad

log = structlog.get_logger()

AT_ONCE = 8
"""Intents that are simulated side by side."""


@dataclass(slots=True, kw_only=True)
class _Did:
    """What one pass decided and sent, so far."""

    decisions: list[Decision] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    decided_at: float = 0.0
    """When the first was decided that is acted upon; where there is none, when all was decided."""
    broadcast_at: float | None = None
    standing_since: float = 0.0
    """When the first of those who were below 1 before had been looked at."""
    left: bool = False
    """Whether some of those who were below 1 before had no turn."""


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
        most_together: int = 1,
        overtaken: Callable[[], bool] = lambda: False,
        patience_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`hands` by market name; `rpc_calls` counts the requests that observing made so far.

        `behind_after_s`: nothing is decided on a head that is older than this by `wall`.
        `most_together`: liquidations with borrowed money that one transaction may carry.
        `overtaken`: whether the next head has come already.  `patience_s`: how long those who were
        below 1 before are looked at in one pass, at the most; the next passes go on with them.
        """
        self.markets = tuple(markets)
        self.last: Pass | None = None
        self.readings: dict[str, Reading] = {}
        self.covered = False
        by_name = {market.id.name: market for market in markets}
        self._observer = Observer(
            markets=markets,
            owners={name: hand.owner for name, hand in hands.items()},
            logs=logs,
            reader=reader,
            rpc_calls=rpc_calls,
        )
        self._pace = Pace()
        self._decider = Decider(markets=by_name, hands=hands, pace=self._pace)
        self._misses = Misses(markets=by_name, hands=hands, pace=self._pace)
        self._chronicle = Chronicle(
            records=records, markets=by_name, telling=telling, reader=reader
        )
        self._records = records
        self._executor = executor
        self._clock = clock
        self._wall = wall
        self._overtaken = overtaken
        self._patience_s = patience_s
        self._behind_after_s = behind_after_s
        self._most_together = most_together
        self._watches: tuple[Watch, ...] = ()
        self._saving: asyncio.Task[None] | None = None
        self._unfit = ""
        """Why nothing may be sent because of the last head taken; empty: something may."""
        self._owed: list[Outcome] = []
        """Outcomes that no pass told of yet."""

    async def start(self, block: BlockRef) -> None:
        """Reconcile what was on its way, and learn every market, before the first block.

        Raises ObservationError when a market cannot be learnt.
        """
        self._watches = await self._records.watches()  # by what to call whom something ended for
        for outcome in await self._executor.recover(block):
            self._pace.ended(outcome, block.number)
            if isinstance(outcome, Unknown):  # what ended was told by its own settlement
                self._owed.append(outcome)
        for intent in self._executor.open_intents():
            self._pace.open[intent.position] = intent
        await self._chronicle.resume(block)
        if unread := await self._observer.discover(block):
            raise ObservationError(next(iter(unread.values())))

    async def take(self, advance: Advance) -> Pass | None:
        """Take one change of the head; None when the block could not be observed."""
        head = advance.adopted[-1]
        self._misses.orphan(advance.orphaned)
        try:
            observed = await self._observer.observe(advance, self._watched())
        except ObservationError as error:
            log.warning("pass.skipped", block=head.number, reason=str(error))
            self._owed += await self._settle(advance)
            return None
        self.readings = dict(observed.readings)
        looks = self._decider.looks(self.readings)
        behind_s = self._wall() - head.timestamp
        self._unfit = ""
        if advance.doubt:
            self._unfit = f"the nodes do not agree on this block: {advance.doubt}"
        elif behind_s > self._behind_after_s:
            self._unfit = f"the last block is {round(behind_s)} s old"
        carried: dict[PositionId, Assessment] = {}
        if behind_s > self._behind_after_s:
            log.warning("head.behind", block=head.number, behind_s=round(behind_s))
            assessments = self._decider.assessed(looks)
            did = _Did(decided_at=self._clock())
        else:
            assessments, did = await self._act_on(looks, observed.inventories, advance)
            carried = self._let_stand(looks, assessments, did)
            self._pace.forget_all_but(ChainMap(assessments, carried))
        decisions, submissions = tuple(did.decisions), tuple(did.submissions)
        liquidations = self._misses.reckon(self.readings)
        self._misses.remember(
            head, assessments, decisions, submissions, self.readings, carried=carried
        )
        outcomes, owed = await self._settle(advance), tuple(self._owed)
        self._owed.clear()
        done = Pass(
            block=head,
            orphaned=len(advance.orphaned),
            readings=tuple(self.readings.values()),
            unread=observed.unread,
            behind_s=max(0.0, behind_s),
            assessments=tuple(assessments.values()),
            carried=tuple(carried.values()),
            decisions=decisions,
            submissions=submissions,
            outcomes=(*owed, *outcomes),
            messages=(),
            decision_s=did.decided_at - advance.received_at,
            broadcast_s=(
                None if did.broadcast_at is None else did.broadcast_at - advance.received_at
            ),
            rpc_calls=observed.rpc_calls,
            liquidations=liquidations,
        )
        messages = await self._chronicle.write(
            done,
            self.readings,
            self._watches,
            observed.inventories,
            self._misses.orphaned(),
        )
        self.last = done = replace(done, messages=messages)
        if self._chronicle.checkpoint_due:
            await self._save_beside()
        return done

    async def _watched(self) -> Mapping[str, frozenset[Address]]:
        """Read what people watch now, and what rules of the configuration are about."""
        self._watches = await self._records.watches()
        asked = self._chronicle.asked_for(self._watches)
        watched = self._decider.watched(self._watches)
        return {name: accounts | asked for name, accounts in watched.items()}

    async def _act_on(
        self, looks: Sequence[Look], inventories: Mapping[str, Inventory], advance: Advance
    ) -> tuple[dict[PositionId, Assessment], _Did]:
        """Look at everybody, in turns: what one of them decides is sent before the next begins.

        The last of them may wait for the next pass: decision 033.
        """
        found: list[Assessment] = []
        did = _Did()
        for turn in self._decider.turns(looks, inventories):
            found += turn.assessments
            did.decisions += turn.decisions
            if any(isinstance(decision, Act) for decision in turn.decisions):
                did.decided_at = did.decided_at or self._clock()
            if advance.doubt:  # warned of, but neither acted upon nor believed of a transaction
                did.submissions += doubted(turn.decisions, advance.doubt)
                continue
            submissions, broadcast_at = await self._submit(
                turn.decisions, advance.adopted[-1], first_alone=not did.submissions
            )
            did.submissions += submissions
            did.broadcast_at = did.broadcast_at or broadcast_at
            await asyncio.sleep(0)  # thousands may follow: others of the process get their turn
            if turn.standing and self._may_leave(did):
                did.left = True
                break
        did.decided_at = did.decided_at or self._clock()
        return by_debt(found), did

    def _may_leave(self, did: _Did) -> bool:
        """Whether the rest waits; never after a reorg: what was found before it is not carried."""
        did.standing_since = did.standing_since or self._clock()
        late = self._overtaken() or self._clock() - did.standing_since > self._patience_s
        return late and not any(market.reorganised for market in self.markets)

    def _let_stand(
        self, looks: Sequence[Look], assessments: Mapping[PositionId, Assessment], did: _Did
    ) -> dict[PositionId, Assessment]:
        """Note who was looked at; return those whose turn did not come, as they were before."""
        acted = [d.intent.position for d in did.decisions if isinstance(d, Act)]
        left = [one for look in looks for one in look.stand(acted, left=did.left)]
        return {one.position: one for one in left if one.position not in assessments}

    async def _submit(
        self, decisions: Sequence[Decision], head: BlockRef, *, first_alone: bool
    ) -> tuple[tuple[Submission, ...], float | None]:
        submissions: list[Submission] = []
        broadcast_at: float | None = None
        acts = queue(tuple(d.intent for d in decisions if isinstance(d, Act)))
        for some in _together(acts, self._most_together, first_alone=first_alone):
            done = await self._submit_some(some)
            if broadcast_at is None and any(isinstance(one, Submitted) for one in done):
                broadcast_at = self._clock()
            for submission in done:
                self._pace.began(submission, head.number)
            submissions += done
        return tuple(submissions), broadcast_at

    async def _submit_some(self, some: Sequence[Intent]) -> Sequence[Submission]:
        """Submit what may be prepared at once: in one transaction, or side by side."""
        if len(some) > 1 and some[0].funding is not Funding.OWN:
            view = self.readings[some[0].position.market.name].view
            return await self._executor.submit_together(some, view)
        return await asyncio.gather(
            *(self._executor.submit(i, self.readings[i.position.market.name].view) for i in some)
        )

    async def _settle(self, advance: Advance) -> tuple[Outcome, ...]:
        """Look after what is on its way; a head that is doubted is not believed of it."""
        if advance.doubt:
            return ()
        head = advance.adopted[-1]
        outcomes = await self._executor.settle(head)
        for outcome in outcomes:
            self._pace.ended(outcome, head.number)
        return outcomes

    async def act(self, intent: Intent) -> Submission:
        """Submit what a person decided, at the block that `intent` names: the last one taken.

        On a head that nothing is decided on automatically, nothing is sent for a person either.
        """
        if self._unfit:
            return Declined(intent=intent, reason=self._unfit, why=Why.HELD)
        reading = self.readings[intent.position.market.name]
        submission = await self._executor.submit(intent, reading.view)
        self._pace.began(submission, reading.block.number)
        return submission

    async def anticipate(self, reader: Reader, supposed: BlockRef) -> Anticipated:
        """Decide what would be done at `supposed`, a block that does not exist; do none of it.

        `reader` reads that block on top of the last one taken.  Raises ObservationError.
        """
        return await anticipate(self._decider, self.readings, reader, supposed)

    async def _save_beside(self) -> None:
        """Save small books at once, great ones beside the passes that follow."""
        if self._saving is not None:
            await self._saving
        self._saving = asyncio.create_task(self.save_checkpoints())
        if all(len(market.book) <= KEPT_AT_ONCE for market in self.markets):
            await self._saving

    async def close(self) -> None:
        """Save every checkpoint for the last time, after one that is being saved."""
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        await self.save_checkpoints()

    async def save_checkpoints(self) -> None:
        """Save every market's checkpoint now; nothing happens before history is covered."""
        if self.covered and (oldest := self._observer.oldest) is not None:
            await self._chronicle.save_checkpoints(oldest)

    # --- what others ask -----------------------------------------------------------------------

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Who watches what, as of the last pass."""
        return self._watches

    async def gauges(self) -> Mapping[MarketId, Gauges]:
        """Return what rules measure, at the last block taken; nothing before the first."""
        return {} if self.last is None else await self._chronicle.gauges(self.last.block)

    def assessments_of(self, account: Address) -> tuple[Assessment, ...]:
        """Return the account in every market whose book has it, at the last block taken."""
        found: list[Assessment] = []
        for market in self.markets:
            reading, holdings = self.readings.get(market.id.name), market.holdings(account)
            if reading is None or holdings is None or not market.believed({account}):
                continue
            why = dict(reading.unreadable).get(account)
            known = reading.view.assess(holdings)
            found.append(unread(market.id, reading.block, account, why) if why else known)
        return tuple(found)

    def health_of(self, position: PositionId) -> Wad | None:
        """Return a position's health factor at the last block taken; None if it is unknown."""
        for assessment in self.assessments_of(position.account):
            if assessment.position == position and isinstance(assessment, Assessed):
                return assessment.health_factor
        return None


def _together(
    intents: Sequence[Intent], most: int, *, first_alone: bool
) -> Iterator[Sequence[Intent]]:
    """Yield them in order, those at once that may be prepared side by side or go in one
    transaction, of which there are `most` at the most.

    The first of a block goes alone, for nothing may hold it up.  A sale of borrowed collateral is
    found after the sales before it: such an intent goes alone too, or with others of its market.
    """
    some: list[Intent] = []
    for number, intent in enumerate(intents):
        if some and not (_alike(some[-1], intent) and len(some) < _room(intent, most)):
            yield some
            some = []
        some.append(intent)
        if number == 0 and first_alone:
            yield some
            some = []
    if some:
        yield some


def _room(intent: Intent, most: int) -> int:
    """With how many, itself included, it may go."""
    if intent.funding is Funding.OWN:
        return AT_ONCE
    return most if intent.kind is IntentKind.LIQUIDATE else 1


def _alike(one: Intent, other: Intent) -> bool:
    """Whether both may go at once: of one's own money any two, else of one kind and market."""
    if one.funding is not other.funding:
        return False
    same = one.kind is other.kind and one.position.market == other.position.market
    return one.funding is Funding.OWN or same
