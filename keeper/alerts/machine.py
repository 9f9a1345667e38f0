"""When people are told: one alert's step from one block to the next.  Pure.

An alert fires below its threshold T and clears above T plus a margin for a while (hysteresis), so
that a health factor that trembles around T speaks once.  It speaks again when it is worse, and on
repeat while it lasts, and ends with exactly one resolve.  "Worse" is measured from the health
factor people were last *told*, never from the previous block: many small steps add up.

Caveat: an alert in its hysteresis band (below T + margin, above T) keeps its level.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from keeper.alerts.hush import due_escalations, silent, woken
from keeper.model import AlertLevel, AlertState, Hush, Severity, Thresholds
from keeper.units import WAD, Wad

HEALTH: Final = "health"
HEALTH_UNKNOWN: Final = "health_unknown"
ORACLE: Final = "oracle"
KEEPER: Final = "keeper"
REFUSED: Final = "refused"
REHEARSED: Final = "rehearsed"
RULE: Final = "rule"

DEFAULT_THRESHOLDS: Final = Thresholds(
    info=Wad(1_300_000_000_000_000_000),
    warning=Wad(1_150_000_000_000_000_000),
    critical=Wad(1_050_000_000_000_000_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient the alerts are.  Durations are seconds of the clock that `now` is read from."""

    clear_margin: Wad = Wad(WAD // 20)  # noqa: RUF009 - a NewType of int is immutable
    """How far above its threshold a health factor must be before its alert can clear: 0.05."""
    clear_for_s: int = 600
    """For how long it must stay there."""
    worse_by: Wad = Wad(WAD // 50)  # noqa: RUF009 - a NewType of int is immutable
    """A fall of this much since it was last told is told again: 0.02."""
    rule_worse_bps: int = 500
    """A rule's reading that is worse by this share is told again: 5 %; see `worse_reading`."""
    repeat_critical_s: int = 900
    repeat_warning_s: int = 4 * 3600
    unknown_clear_s: int = 60
    """For how long a health factor must be known again."""
    oracle_clear_s: int = 0
    """A feed is back with its first good answer."""
    fault_clear_s: int = 60
    escalate_to: tuple[str, ...] = ()
    """Chats that are called in, one after the other, while a critical is not acknowledged."""
    escalate_after_s: int = 900

    def repeat_s(self, level: AlertLevel) -> int | None:
        """Seconds between reminders at `level`; None where it is said once."""
        match level:
            case AlertLevel.CRITICAL:
                return self.repeat_critical_s
            case AlertLevel.WARNING:
                return self.repeat_warning_s
            case AlertLevel.INFO | AlertLevel.CLEAR:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKey:
    """Who is told about what."""

    chat: str
    rule: str
    subject: str


def key_of(state: AlertState) -> AlertKey:
    """Return the key of a stored alert."""
    return AlertKey(chat=state.chat, rule=state.rule, subject=state.subject)


class Change(StrEnum):
    """What happened to an alert; each is one message, and the `Message.kind` it gets."""

    FIRED = "fired"
    WORSE = "worse"
    REPEATED = "repeated"
    EASED = "eased"
    RESOLVED = "resolved"
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to be said."""

    change: Change
    before: AlertState | None
    """The alert before this step; None when it fired."""
    state: AlertState
    """The alert after it; level CLEAR when it resolved."""
    health: Wad | None = None
    """The health factor of this step, or what a rule measured; None for what has no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Outcome of one step: the state to keep and what to say."""

    state: AlertState | None
    """None: there is no alert and there was none.  Level CLEAR: it has just ended."""
    events: tuple[Event, ...] = ()


def level_of(health: Wad, thresholds: Thresholds) -> AlertLevel:
    """Return the level a health factor is at, hysteresis aside; equal to a threshold is above."""
    if health < thresholds.critical:
        return AlertLevel.CRITICAL
    if health < thresholds.warning:
        return AlertLevel.WARNING
    if health < thresholds.info:
        return AlertLevel.INFO
    return AlertLevel.CLEAR


def level_word(level: AlertLevel, health: Wad | None) -> str:
    """Return what a position at `level` is called: ``liquidatable`` below 1, as in the metrics."""
    below = health is not None and health < WAD
    return "liquidatable" if below else level.name.lower()


def threshold_of(level: AlertLevel, thresholds: Thresholds) -> Wad:
    """Return the threshold that `level` lies below.  Raises ValueError for CLEAR: it has none."""
    match level:
        case AlertLevel.CRITICAL:
            return thresholds.critical
        case AlertLevel.WARNING:
            return thresholds.warning
        case AlertLevel.INFO:
            return thresholds.info
        case AlertLevel.CLEAR:
            raise ValueError("a clear alert lies below no threshold")


def severity_of(event: Event) -> Severity:
    """Return how loud an event is: by its level; a resolve is information."""
    match event.state.level:
        case AlertLevel.CRITICAL:
            return Severity.CRITICAL
        case AlertLevel.WARNING:
            return Severity.WARNING
        case AlertLevel.INFO | AlertLevel.CLEAR:
            return Severity.INFO


def step_health(
    key: AlertKey,
    state: AlertState | None,
    health: Wad,
    *,
    thresholds: Thresholds,
    now: int,
    policy: Policy,
    hush: Hush | None = None,
) -> Step:
    """Take one exact health factor.  `now` is the block's timestamp.

    Said: a first crossing; a worse level; a fall of `policy.worse_by` since last told, or across
    1; a reminder while it lasts and `hush` lets it; one ease when the level has lost its ground
    for long enough; one resolve.  A clock that steps back (a reorg) only delays.
    """
    raw = level_of(health, thresholds)
    if state is None or state.level is AlertLevel.CLEAR:
        return _fire(key, raw, health, now) if raw is not AlertLevel.CLEAR else Step(state=None)

    lowest = health if state.lowest is None else min(health, state.lowest)
    kept = replace(state, lowest=lowest)
    if raw > state.level or _fell(state.said_health, health, policy):
        worse = _at_level(replace(kept, clear_since=None), max(raw, state.level), now)
        return _say(Change.WORSE, state, worse, health, now)

    if health > threshold_of(state.level, thresholds) + policy.clear_margin:
        since = now if state.clear_since is None else min(now, state.clear_since)
        if now - since < policy.clear_for_s:
            return Step(state=replace(kept, clear_since=since))
        change = Change.RESOLVED if raw is AlertLevel.CLEAR else Change.EASED
        eased = _at_level(replace(kept, clear_since=None), raw, now)
        return _say(change, state, eased, health, now)

    kept = replace(kept, clear_since=None)
    due = _reminder_due(state, now, policy, hush)
    return _say(Change.REPEATED, state, kept, health, now) if due else Step(state=kept)


def hold(state: AlertState | None) -> Step:
    """Take a block in which the subject is unknown: nothing clears and nothing is said.

    The time above the clearing bound starts anew: unknown is not evidence of good health.
    """
    if state is None or state.level is AlertLevel.CLEAR:
        return Step(state=None)
    return Step(state=replace(state, clear_since=None))


def step_condition(
    key: AlertKey,
    state: AlertState | None,
    level: AlertLevel,
    *,
    clear_for_s: int,
    now: int,
    policy: Policy,
    hush: Hush | None = None,
    reading: Wad | None = None,
    worse: bool = False,
) -> Step:
    """Take one block's verdict of a rule that is on or off: an oracle, a fault, a refusal.

    `level` is CLEAR where the condition does not hold.  A lower level than the one that was said
    keeps it; a higher one is said as worse.  Resolves after `clear_for_s` without the condition.
    `reading`: what a rule measured, remembered as what people were told; `worse`: it went on to
    get worse by enough to be said again at the same level.
    """
    if state is None or state.level is AlertLevel.CLEAR:
        fires = level is not AlertLevel.CLEAR
        return _fire(key, level, reading, now) if fires else Step(state=None)
    if level is AlertLevel.CLEAR:
        since = now if state.clear_since is None else min(now, state.clear_since)
        if now - since < clear_for_s:
            return Step(state=replace(state, clear_since=since))
        ended = _at_level(replace(state, clear_since=None), AlertLevel.CLEAR, now)
        return _say(Change.RESOLVED, state, ended, reading, now)
    kept = state if state.clear_since is None else replace(state, clear_since=None)
    if level > state.level or worse:
        louder = _at_level(kept, max(level, state.level), now)
        return _say(Change.WORSE, state, louder, reading, now)
    if _reminder_due(state, now, policy, hush):
        return _say(Change.REPEATED, state, kept, reading, now)
    return Step(state=kept)


def call_in(
    state: AlertState | None,
    *,
    now: int,
    policy: Policy,
    hush: Hush | None = None,
    health: Wad | None = None,
) -> Step:
    """Take a state after its step: call in the chats that are due because nobody answered.

    One event for all of them: those from ``before.escalated`` to ``state.escalated``.
    """
    if state is None:
        return Step(state=None)
    due = due_escalations(
        state, hush, chats=len(policy.escalate_to), after_s=policy.escalate_after_s, now=now
    )
    if due <= state.escalated:
        return Step(state=state)
    called = replace(state, escalated=due, serial=state.serial + 1)
    event = Event(change=Change.ESCALATED, before=state, state=called, health=health)
    return Step(state=called, events=(event,))


def called_in(event: Event, policy: Policy) -> tuple[str, ...]:
    """Return the chats besides its own that hear an event: whoever was called in hears the end."""
    before = event.before.escalated if event.before is not None else 0
    first = before if event.change is Change.ESCALATED else 0
    last = max(before, event.state.escalated)
    chats = dict.fromkeys(policy.escalate_to[first:last])
    return tuple(chat for chat in chats if chat != event.state.chat)


def due_again(states: tuple[AlertState, ...], now: int) -> tuple[AlertState, ...]:
    """Return the states as a restart should take them: what still fires is said again once.

    Alerts that spoke in the last five minutes are left as they are, so that a crash loop does not
    repeat them every few seconds.  What no longer fires says nothing but its resolve.
    """
    return tuple(
        replace(state, said_at=0) if now - state.said_at >= 300 else state for state in states
    )


def _fell(said: Wad | None, health: Wad, policy: Policy) -> bool:
    """Whether it is worth a word that the health factor went from `said` to `health`."""
    if said is None:
        return False
    return health <= said - policy.worse_by or health < WAD <= said


def _at_level(state: AlertState, level: AlertLevel, now: int) -> AlertState:
    """Return `state` at `level`; who was called in for a critical is done when it is none."""
    if level is state.level:
        return state
    escalated = state.escalated if level is AlertLevel.CRITICAL else 0
    return replace(state, level=level, level_at=now, escalated=escalated)


def _reminder_due(state: AlertState, now: int, policy: Policy, hush: Hush | None) -> bool:
    if silent(hush, now):
        return False
    if state.said_at == 0 or woken(hush, state.said_at, now):  # 0: see `due_again`
        return True
    interval = policy.repeat_s(state.level)
    return interval is not None and now - state.said_at >= interval


def _fire(key: AlertKey, level: AlertLevel, health: Wad | None, now: int) -> Step:
    state = AlertState(
        chat=key.chat,
        rule=key.rule,
        subject=key.subject,
        level=level,
        fired_at=now,
        said_at=now,
        said_health=health,
        lowest=health,
        serial=1,
        level_at=now,
    )
    event = Event(change=Change.FIRED, before=None, state=state, health=health)
    return Step(state=state, events=(event,))


def _say(
    change: Change, before: AlertState, after: AlertState, health: Wad | None, now: int
) -> Step:
    state = replace(after, said_at=now, said_health=health, serial=before.serial + 1)
    return Step(
        state=state,
        events=(Event(change=change, before=before, state=state, health=health),),
    )
