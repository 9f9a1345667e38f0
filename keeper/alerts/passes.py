"""The whole alert pass of one block: who hears what.  Pure.

Each watch's chat hears about its account; operators hear about oracles, refused actions and faults
of the keeper.  What a stale feed makes unknown is told once, as the feed; watchers of the accounts
it affects are told about it too.  Nothing here clears an alert because something is unknown.

Caveat: the states handed in may be those of every chain; a pass touches only those whose subject
lies in the markets (or the chain) whose prices it was given.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from keeper.alerts.action_rules import refusal_notices, rehearsal_notices
from keeper.alerts.actions import Refusal
from keeper.alerts.gauge_rules import rule_notices
from keeper.alerts.hours import quiet
from keeper.alerts.hush import hushes_of
from keeper.alerts.machine import (
    KEEPER,
    AlertKey,
    Change,
    Event,
    Policy,
    call_in,
    key_of,
    step_condition,
)
from keeper.alerts.measures import Gauges
from keeper.alerts.messages import key_of_message, messages_of
from keeper.alerts.oracle_rule import oracle_notices
from keeper.alerts.position_rules import drop_unheard, position_notices
from keeper.alerts.render import (
    Remedies,
    fault_line,
)
from keeper.alerts.room import Ledger, Notice, Room, relayed, troubles
from keeper.alerts.speech import Phrase, Saying, SpeechOf, english
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    Assessment,
    BlockRef,
    HeldLine,
    Manners,
    MarketId,
    Message,
    PositionId,
    PriceVerdict,
    Rehearsed,
    Rule,
    Thresholds,
    Watch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPass:
    """What one pass leaves: for `PassRecord.alerts` and `PassRecord.messages`."""

    states: tuple[AlertState, ...]
    """The changed ones; level CLEAR removes."""
    messages: tuple[Message, ...]
    events: tuple[Event, ...]
    """Each change that is said, also where one message says many."""
    held: tuple[HeldLine, ...] = ()
    """What quiet hours keep back, for `PassRecord.held`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with the keeper itself."""

    part: str
    """``heads``, ``database``, ``signer 0x52ab..9f01``: with the scope it is the subject."""
    sentence: str | Saying
    level: AlertLevel = AlertLevel.CRITICAL


def pass_alerts(
    *,
    block: BlockRef,
    prices: Mapping[MarketId, tuple[PriceVerdict, ...]],
    assessments: Iterable[Assessment],
    watches: Iterable[Watch],
    states: Iterable[AlertState],
    operators: tuple[str, ...],
    thresholds: Thresholds,
    uses: Mapping[PositionId, frozenset[Address]] | None = None,
    refusals: Iterable[Refusal] = (),
    carried: Iterable[PositionId] = (),
    rehearsals: Iterable[Rehearsed] = (),
    remedies: Callable[[Assessed], Remedies | None] = lambda _: None,
    policy: Policy | None = None,
    manners: Manners | None = None,
    interest: Callable[[Assessed], int | None] = lambda _: None,
    rules: Iterable[Rule] = (),
    gauges: Mapping[MarketId, Gauges] | None = None,
    speech: SpeechOf = english,
) -> AlertPass:
    """Return the changed alerts and the messages of one block.

    * `prices`: every market of this pass with all its price verdicts.  Only alerts of these
      markets are touched; a feed that is in none of them is taken as no longer used.
    * `assessments`: at least those of the watched accounts; one that is missing changes nothing.
    * `thresholds`: for watches without their own.
    * `uses`: the assets each unassessable position holds, by `PositionId`; without it a cause is
      recognised by the price's reason standing in the position's.
    * `carried`: positions that nothing was decided about in this pass: what was refused for them
      stays refused.
    * `remedies`: called only for positions that something is said about.
    * `interest`: seconds until interest alone brings a position to 1; called as `remedies` is.
    * `manners`: what people acknowledged, their quiet hours, and their rules.
    * `rules`: those of the configuration, besides people's own; their accounts need no watch.
    * `gauges`: what rules measure, of every market that was read in this pass.
    * `speech`: the language of each chat.
    """
    once = tuple({(watch.chat, watch.account): watch for watch in watches}.values())
    room = Room(
        block=block,
        prices=prices,
        watches=once,
        watching=_by_account(once),
        prefixes=tuple(f"{market.name}:" for market in prices),
        operators=tuple(dict.fromkeys(operators)),
        thresholds=thresholds,
        uses=uses or {},
        remedies=remedies,
        policy=policy or Policy(),
        ledger=Ledger(states={key_of(state): state for state in states}),
        troubles=troubles(prices),
        hushes=hushes_of(manners.hushes if manners else ()),
        interest=interest,
    )
    known = tuple(
        assessment for assessment in assessments if assessment.position.market in room.prices
    )
    notices = [
        *oracle_notices(room, known),
        *position_notices(room, known),
        *refusal_notices(room, refusals, known, carried),
        *rehearsal_notices(room, rehearsals),
        *rule_notices(room, rules, manners.rules if manners else (), gauges or {}),
    ]
    drop_unheard(room)
    return _told(
        notices,
        room.ledger,
        policy=room.policy,
        manners=manners,
        instant=block.hash,
        now=room.now,
        speech=speech,
    )


def _by_account(watches: Iterable[Watch]) -> dict[Address, tuple[Watch, ...]]:
    found: dict[Address, list[Watch]] = {}
    for watch in watches:
        found.setdefault(watch.account, []).append(watch)
    return {account: tuple(mine) for account, mine in found.items()}


def _told(
    notices: list[Notice],
    ledger: Ledger,
    *,
    policy: Policy,
    manners: Manners | None,
    instant: str,
    now: int,
    speech: SpeechOf,
) -> AlertPass:
    """Return a pass's end: relayed to whoever was called in, kept back where it is quiet."""
    hours = {one.chat: one for one in manners.hours} if manners else {}
    said: list[Notice] = []
    held: list[HeldLine] = []
    for notice in (one for told in notices for one in relayed(told, policy)):
        if quiet(hours.get(notice.chat), now) and not passes_quiet(notice.event):
            held.extend(_held(notice, instant, now, speech))
        else:
            said.append(notice)
    return AlertPass(
        states=tuple(ledger.changed.values()),
        messages=messages_of(said, instant, speech),
        events=tuple(notice.event for notice in notices),
        held=tuple(held),
    )


def _held(notice: Notice, instant: str, now: int, speech: SpeechOf) -> tuple[HeldLine, ...]:
    """Return the line for the digest; a reminder is not worth one."""
    if notice.event.change is Change.REPEATED:
        return ()
    key = key_of_message(notice, instant)
    return (HeldLine(chat=notice.chat, at=now, key=key, text=notice.line(speech(notice.chat))),)


def passes_quiet(event: Event) -> bool:
    """Whether an event is said in quiet hours: what is critical, and the end of what was."""
    before = event.before.level if event.before is not None else AlertLevel.CLEAR
    return AlertLevel.CRITICAL in (before, event.state.level)


def pass_faults(
    *,
    scope: str,
    faults: Iterable[Fault],
    states: Iterable[AlertState],
    operators: tuple[str, ...],
    now: int,
    policy: Policy | None = None,
    manners: Manners | None = None,
    speech: SpeechOf = english,
) -> AlertPass:
    """Return the changed alerts and messages about the keeper itself.

    `scope` names whose faults these are (``ethereum``, ``outbox``): only its alerts are touched,
    and one whose fault is not in `faults` is on its way to clear.  `now` is seconds of the wall
    clock: without heads there is no chain time.
    """
    rules = policy or Policy()
    ledger = Ledger(states={key_of(state): state for state in states})
    hushes = hushes_of(manners.hushes if manners else ())
    by_subject = {f"{scope}:{fault.part}": fault for fault in faults}
    keys = {
        AlertKey(chat=chat, rule=KEEPER, subject=subject): None
        for subject in by_subject
        for chat in operators
    } | {
        key: None
        for key in ledger.states
        if key.rule == KEEPER and key.subject.startswith(f"{scope}:")
    }
    notices = []
    for rank, key in enumerate(keys):
        if key.chat not in operators:
            ledger.drop(ledger.states[key])
            continue
        fault = by_subject.get(key.subject)
        before = ledger.states.get(key)
        step = step_condition(
            key,
            before,
            fault.level if fault else AlertLevel.CLEAR,
            clear_for_s=rules.fault_clear_s,
            now=now,
            policy=rules,
            hush=hushes.of(before) if before else None,
        )
        hush = hushes.of(step.state) if step.state else None
        called = call_in(step.state, now=now, policy=rules, hush=hush)
        ledger.take(key, called)
        for event in (*step.events, *called.events):
            part = key.subject.replace(":", " ", 1)
            line = _fault(event, part, fault.sentence if fault else "", now)
            notices.append(Notice(event=event, line=line, text=line, group=KEEPER, rank=rank))
    return _told(
        notices,
        ledger,
        policy=rules,
        manners=manners,
        instant=str(now),
        now=now,
        speech=speech,
    )


def _fault(event: Event, part: str, sentence: str | Saying, now: int) -> Phrase:
    return lambda say: fault_line(event, part, sentence, now=now, say=say)
