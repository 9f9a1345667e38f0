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
from keeper.alerts.machine import (
    KEEPER,
    AlertKey,
    Event,
    Policy,
    key_of,
    step_condition,
)
from keeper.alerts.messages import messages_of
from keeper.alerts.oracle_rule import oracle_notices
from keeper.alerts.position_rules import drop_unheard, position_notices
from keeper.alerts.render import (
    Remedies,
    fault_line,
)
from keeper.alerts.room import Ledger, Notice, Room, troubles
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    Assessment,
    BlockRef,
    MarketId,
    Message,
    PositionId,
    PriceVerdict,
    Rehearsed,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with the keeper itself."""

    part: str
    """``heads``, ``database``, ``signer 0x52ab..9f01``: with the scope it is the subject."""
    sentence: str
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
    rehearsals: Iterable[Rehearsed] = (),
    remedies: Callable[[Assessed], Remedies | None] = lambda _: None,
    policy: Policy | None = None,
) -> AlertPass:
    """Return the changed alerts and the messages of one block.

    * `prices`: every market of this pass with all its price verdicts.  Only alerts of these
      markets are touched; a feed that is in none of them is taken as no longer used.
    * `assessments`: at least those of the watched accounts; one that is missing changes nothing.
    * `thresholds`: for watches without their own.
    * `uses`: the assets each unassessable position holds, by `PositionId`; without it a cause is
      recognised by the price's reason standing in the position's.
    * `remedies`: called only for positions that something is said about.
    """
    room = Room(
        block=block,
        prices=prices,
        watches=tuple({(watch.chat, watch.account): watch for watch in watches}.values()),
        operators=tuple(dict.fromkeys(operators)),
        thresholds=thresholds,
        uses=uses or {},
        remedies=remedies,
        policy=policy or Policy(),
        ledger=Ledger(states={key_of(state): state for state in states}),
        troubles=troubles(prices),
    )
    known = tuple(
        assessment for assessment in assessments if assessment.position.market in room.prices
    )
    notices = [
        *oracle_notices(room, known),
        *position_notices(room, known),
        *refusal_notices(room, refusals, known),
        *rehearsal_notices(room, rehearsals),
    ]
    drop_unheard(room)
    return AlertPass(
        states=tuple(room.ledger.changed.values()),
        messages=messages_of(notices, block.hash),
        events=tuple(notice.event for notice in notices),
    )


def pass_faults(
    *,
    scope: str,
    faults: Iterable[Fault],
    states: Iterable[AlertState],
    operators: tuple[str, ...],
    now: int,
    policy: Policy | None = None,
) -> AlertPass:
    """Return the changed alerts and messages about the keeper itself.

    `scope` names whose faults these are (``ethereum``, ``outbox``): only its alerts are touched,
    and one whose fault is not in `faults` is on its way to clear.  `now` is seconds of the wall
    clock: without heads there is no chain time.
    """
    rules = policy or Policy()
    ledger = Ledger(states={key_of(state): state for state in states})
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
        step = step_condition(
            key,
            ledger.states.get(key),
            fault.level if fault else AlertLevel.CLEAR,
            clear_for_s=rules.fault_clear_s,
            now=now,
            policy=rules,
        )
        ledger.take(key, step)
        for event in step.events:
            part = key.subject.replace(":", " ", 1)
            line = fault_line(event, part, fault.sentence if fault else "", now=now)
            notices.append(Notice(event=event, line=line, text=line, group=KEEPER, rank=rank))
    return AlertPass(
        states=tuple(ledger.changed.values()),
        messages=messages_of(notices, str(now)),
        events=tuple(notice.event for notice in notices),
    )
