"""What is left of a pass: who is told what, and what is kept, in one database transaction."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.alerts.actions import PROTECTION, Refusal, outcome_messages, refusal
from keeper.alerts.lookahead import Told, change_messages
from keeper.alerts.machine import AlertKey, Policy, due_again, key_of
from keeper.alerts.measures import Gauges
from keeper.alerts.passes import pass_alerts
from keeper.alerts.render import Remedies
from keeper.alerts.rules import OF_ACCOUNTS
from keeper.alerts.speech import SpeechOf, english
from keeper.engine import coverage
from keeper.engine.market import Reading, WatchedMarket
from keeper.engine.passes import Pass
from keeper.engine.prices import PriceLog, RoundLog
from keeper.engine.remedies import remedies
from keeper.engine.standing import Standing
from keeper.engine.survey import Surveyor
from keeper.model import (
    Act,
    Address,
    AlertState,
    Assessed,
    Assessment,
    AuditEvent,
    BlockRef,
    Checkpoint,
    Declined,
    Hash,
    Holdings,
    Inventory,
    Manners,
    MarketId,
    Message,
    PassRecord,
    PositionId,
    PriceVerdict,
    Refuse,
    Rehearsed,
    Rule,
    Thresholds,
    Unassessable,
    Unknown,
    Watch,
    Why,
)
from keeper.ports import LendingView, Reader, Records
from keeper.units import Wei

CHECKPOINT_EVERY_BLOCKS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Who is told, when."""

    operators: tuple[str, ...]
    thresholds: Thresholds
    policy: Policy
    rules: Callable[[Sequence[Watch]], tuple[Rule, ...]] = lambda _: ()
    """Of the configuration, by what is watched now; people's own are read with every pass."""
    gas_wei: Callable[[], Wei | None] = lambda: None
    """What the keeper's account has for gas, as last read."""
    speech: SpeechOf = english
    """The language of each chat."""
    shown: Callable[[tuple[Watch, ...]], tuple[Watch, ...]] = lambda watches: watches
    """Watches as people know them: accounts' own names in place of missing labels.  From memory."""


async def checkpoint_of(market: WatchedMarket[Any, Any], block: BlockRef) -> Checkpoint:
    """Return what is known of `market`, claiming `block`: one deep enough to stay.

    Gathers a great book in parts, letting others go first.
    """
    gathered: list[Holdings] = []
    for some in market.kept():
        gathered += some
        await asyncio.sleep(0)
    return Checkpoint(
        market=market.id,
        anchor=market.anchor,
        block=block,
        accounts=market.known(),
        holdings=market.untouched(gathered),
        layout=market.layout,
    )


class Chronicle:
    """Remembers which alerts stand and which prices were kept; writes each pass down once."""

    def __init__(
        self,
        *,
        records: Records,
        markets: Mapping[str, WatchedMarket[Any, Any]],
        telling: Telling,
        reader: Reader,
    ) -> None:
        """`markets` by name.  `reader`: for what only people's rules ask of a market."""
        self._records = records
        self._markets = markets
        self._telling = telling
        self._surveyor = Surveyor(reader=reader, markets=markets, gas_wei=telling.gas_wei)
        self._states: dict[AlertKey, AlertState] = {}
        self._prices: dict[MarketId, tuple[PriceVerdict, ...]] = {}
        self._price_log = PriceLog()
        self._round_log = RoundLog()
        self._standing = Standing()
        self._since_checkpoint = 0

    async def resume(self, block: BlockRef) -> None:
        """Take up the alerts that stood when the keeper stopped."""
        left = due_again(await self._records.alert_states(), block.timestamp)
        self._states = {key_of(state): state for state in left}

    def asked_for(self, watches: Sequence[Watch]) -> frozenset[Address]:
        """Return the accounts that rules of the configuration are about, watched or not."""
        rules = self._telling.rules(watches)
        return frozenset(Address(rule.of) for rule in rules if rule.gauge in OF_ACCOUNTS)

    async def gauges(self, block: BlockRef) -> Mapping[MarketId, Gauges]:
        """Return what rules measure at `block`, the last one written."""
        return await self._surveyor.facts(block)

    async def write(
        self,
        done: Pass,
        readings: Mapping[str, Reading],
        watches: tuple[Watch, ...],
        inventories: Mapping[str, Inventory],
        orphaned: tuple[Hash, ...] = (),
    ) -> tuple[Message, ...]:
        """Record one pass and return what people are told because of it.

        `orphaned`: blocks whose liquidations did not happen after all.
        """
        configured = self._telling.rules(watches)
        watches = self._telling.shown(watches)
        manners = await self._records.manners()
        rules = (*configured, *manners.rules)
        self._prices |= {r.view.market: r.prices for r in readings.values()}
        aside = _Asides(markets=self._markets, readings=readings)
        changes = self._changes(done, watches, manners)
        told = pass_alerts(
            block=done.block,
            prices=self._prices,
            assessments=done.assessments,
            watches=watches,
            states=self._states.values(),
            operators=self._telling.operators,
            thresholds=self._telling.thresholds,
            uses=self._uses(done.assessments),
            refusals=_refusals(done),
            carried=(one.position for one in done.carried),
            rehearsals=tuple(s for s in done.submissions if isinstance(s, Rehearsed)),
            remedies=aside.remedies,
            policy=self._telling.policy,
            manners=manners,
            interest=aside.seconds_to_liquidation,
            rules=configured,
            gauges=await self._surveyor.survey(done, readings, inventories, rules),
            speech=self._telling.speech,
        )
        self._remember(told.states)
        messages = (*changes.messages, *told.messages, *self._of_stuck(done, watches))
        history, decisions = self._worth_keeping(done, orphaned)
        await self._records.record(
            PassRecord(
                block=done.block,
                history=history,
                prices=tuple(
                    kept
                    for r in done.readings
                    for kept in self._price_log.worth_keeping(r.view.market, r.block, r.prices)
                ),
                rounds=tuple(
                    kept
                    for r in done.readings
                    for kept in self._round_log.worth_keeping(r.view.market.chain_id, r.feeds)
                ),
                decisions=decisions,
                alerts=told.states,
                messages=messages,
                audit=_audit(done),
                held=(*changes.held, *told.held),
                liquidations=done.liquidations,
                orphaned=orphaned,
                chain_id=next((m.id.chain_id for m in self._markets.values()), None),
            )
        )
        self._standing.kept()
        self._since_checkpoint += 1
        return messages

    def _worth_keeping(
        self, done: Pass, orphaned: tuple[Hash, ...]
    ) -> tuple[tuple[Assessment, ...], tuple[Act | Refuse, ...]]:
        if orphaned:  # in this pass, or in one before it that was skipped
            self._standing.forget()
        names = (reading.view.market.name for reading in done.readings)
        return self._standing.worth_keeping(
            done.block,
            done.assessments,
            done.decisions,
            watched={name: self._markets[name].watched for name in names},
            acted={
                *(submission.intent.position for submission in done.submissions),
                *(outcome.plan.intent.position for outcome in done.outcomes),
            },
            carried={one.position for one in done.carried},
        )

    def _of_stuck(self, done: Pass, watches: tuple[Watch, ...]) -> tuple[Message, ...]:
        """Return what is said of transactions that cannot get on; an intent's first time only."""
        return tuple(
            message
            for outcome in done.outcomes
            if isinstance(outcome, Unknown) and outcome.stuck
            for message in outcome_messages(
                outcome, watches, self._telling.operators, speech=self._telling.speech
            )
        )

    def _changes(self, done: Pass, watches: tuple[Watch, ...], manners: Manners) -> Told:
        """Return what is said of parameters that changed: before the alerts they lead to."""
        told = [
            change_messages(
                reading.changed,
                block=reading.block,
                watches=watches,
                operators=self._telling.operators,
                thresholds=self._telling.thresholds,
                manners=manners,
                speech=self._telling.speech,
            )
            for reading in done.readings
            if reading.changed is not None
        ]
        return Told(
            messages=tuple(message for one in told for message in one.messages),
            held=tuple(line for one in told for line in one.held),
        )

    def _remember(self, states: Iterable[AlertState]) -> None:
        for state in states:
            if state.level:
                self._states[key_of(state)] = state
            else:
                self._states.pop(key_of(state), None)

    def _uses(self, assessments: Sequence[Assessment]) -> dict[PositionId, frozenset[Address]]:
        """Return the assets of each position whose health is unknown."""
        return {
            a.position: self._markets[a.position.market.name].assets_of(a.position.account)
            for a in assessments
            if isinstance(a, Unassessable)
        }

    @property
    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        return self._since_checkpoint >= CHECKPOINT_EVERY_BLOCKS

    async def save_checkpoints(self, block: BlockRef) -> None:
        """Save who is in each book, as known at `block`: one that is deep enough to stay.

        What the database does not take is tried again when the next one is due.
        """
        self._since_checkpoint = 0
        for market in self._markets.values():
            await coverage.save(self._records, await checkpoint_of(market, block))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asides:
    """What a warning adds about a position, computed only where a message is written."""

    markets: Mapping[str, WatchedMarket[Any, Any]]
    readings: Mapping[str, Reading]

    def remedies(self, assessed: Assessed) -> Remedies | None:
        view, holdings = self._found(assessed)
        return None if holdings is None else remedies(view, holdings, assessed)

    def seconds_to_liquidation(self, assessed: Assessed) -> int | None:
        view, holdings = self._found(assessed)
        return None if holdings is None else view.seconds_to_liquidation(holdings)

    def _found(self, assessed: Assessed) -> tuple[LendingView, Holdings | None]:
        name, account = assessed.position.market.name, assessed.position.account
        return self.readings[name].view, self.markets[name].holdings(account)


def _audit(done: Pass) -> tuple[AuditEvent, ...]:
    """What is to be found later: reorganisations, repaired balances, changed parameters."""
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
    changed = (
        AuditEvent(
            event="parameters.changed",
            fields={"market": reading.view.market.name, "change": str(change)},
        )
        for reading in done.readings
        if reading.changed is not None
        for change in reading.changed.changes
    )
    return (*reorganised, *repaired, *changed)


def _refusals(done: Pass) -> tuple[Refusal, ...]:
    """Declined by the executor, or refused by a strategy; protections first: many are bundled.

    What is too small for the operator's own floor is no news to him.
    """
    refused = (
        *(refusal(s) for s in done.submissions if isinstance(s, Declined)),
        *(
            refusal(d)
            for d in done.decisions
            if isinstance(d, Refuse) and d.why is not Why.TOO_SMALL
        ),
    )
    return tuple(sorted(refused, key=lambda one: one.kind not in PROTECTION))
