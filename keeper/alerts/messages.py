"""From notices to outbox messages: keys, kinds, and many said as one.  Pure."""

from collections.abc import Iterable
from typing import Final

from keeper.alerts.hush import alert_id
from keeper.alerts.machine import (
    HEALTH,
    HEALTH_UNKNOWN,
    KEEPER,
    ORACLE,
    REFUSED,
    REHEARSED,
    RULE,
    Change,
    Event,
    severity_of,
)
from keeper.alerts.render import (
    FAULT_MARK,
    LEVEL_MARK,
    LEVEL_WORD,
    ORACLE_MARK,
    clip,
    many,
)
from keeper.alerts.room import Notice
from keeper.model import (
    AlertLevel,
    Button,
    Message,
    PositionId,
    Severity,
)

AT_ONCE: Final = 5
"""More positions than this at once for one chat become one message."""
ONE_BY_ONE: Final = "alertmanager:"
"""Chats of programs that keep each alert by itself until it is resolved by itself."""


def messages_of(notices: Iterable[Notice], instant: str) -> tuple[Message, ...]:
    """Return one message per notice, or one per group where a chat would get more than five."""
    groups: dict[tuple[str, str, bool], list[Notice]] = {}
    for notice in notices:
        good = notice.event.change is Change.RESOLVED
        groups.setdefault((notice.chat, notice.group, good), []).append(notice)
    messages: list[Message] = []
    for (chat, group, _), members in groups.items():
        if len(members) > AT_ONCE and not chat.startswith(ONE_BY_ONE):
            messages.append(_grouped(chat, group, members, instant))
        else:
            messages.extend(_single(notice, instant) for notice in members)
    return tuple(messages)


def _single(notice: Notice, instant: str) -> Message:
    event = notice.event
    return Message(
        key=key_of_message(notice, instant),
        chat=notice.chat,
        severity=severity_of(event),
        text=clip(notice.text),
        kind=_kind(event),
        buttons=buttons_of(event),
        chart=notice.chart if _shown(event) else "",
    )


def key_of_message(notice: Notice, instant: str) -> str:
    """Return the key of the message that says `notice`."""
    state = notice.event.state
    # What stands before the "#" is the thread: the outbox keeps its order.  After it, what makes
    # the event unique: the block, for a reorg may step the clock back to an instant already told.
    told = f"{state.rule}/{state.subject}#{instant}.{state.serial}@{notice.chat}"
    return f"{told}^{state.chat}" if notice.to else told


def _shown(event: Event) -> bool:
    """Whether a picture goes with it: when it becomes critical, or gets worse there."""
    loud = event.state.level is AlertLevel.CRITICAL
    return loud and event.change in (Change.FIRED, Change.WORSE, Change.ESCALATED)


def chart_of(position: PositionId, span_s: int = 86_400) -> str:
    """Return what `Message.chart` says for a position: ``chain/market/account/seconds``."""
    return f"{position.market.chain_id}/{position.market.name}/{position.account}/{span_s}"


def buttons_of(event: Event) -> tuple[Button, ...]:
    """Return what can be pressed under an alert that goes on; nothing once it is over.

    The data name the alert's episode: an old message's buttons do nothing to a new one.
    """
    if event.change is Change.RESOLVED or event.state.rule in (REFUSED, REHEARSED):
        return ()
    name = alert_id(event.state)
    pressed = [
        Button(label="Ack", data=f"ack:{name}"),
        Button(label="Snooze 1h", data=f"zzz:{name}"),
    ]
    if event.state.rule == HEALTH:
        pressed.append(Button(label="Chart", data=f"chart:{name}"))
        pressed.append(Button(label="Top up...", data=f"top:{name}"))
    return tuple(pressed)


def _kind(event: Event) -> str:
    if event.state.rule == KEEPER:
        return "fault"
    if event.state.rule in (REFUSED, REHEARSED):
        return "action"
    return event.change.value


_WORST_FIRST: Final = (
    Change.ESCALATED,
    Change.FIRED,
    Change.WORSE,
    Change.EASED,
    Change.REPEATED,
    Change.RESOLVED,
)
_LOUDNESS: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


def _grouped(chat: str, group: str, members: list[Notice], instant: str) -> Message:
    members = sorted(members, key=lambda one: (-one.event.state.level, one.rank))
    changes = {notice.event.change for notice in members}
    kind = next(change for change in _WORST_FIRST if change in changes)
    severity = max((severity_of(one.event) for one in members), key=_LOUDNESS.__getitem__)
    first = members[0].event
    return Message(
        # "*": a thread that every other one of the chat keeps its order with.
        key=f"*#{group}.{kind.value}.{instant}@{chat}",
        chat=chat,
        severity=severity,
        text=clip(many(_headline(group, members), tuple(one.line for one in members))),
        kind=_kind(first) if group in (KEEPER, REFUSED, REHEARSED) else kind.value,
    )


def _headline(group: str, members: list[Notice]) -> str:
    number = len(members)
    if members[0].event.change is Change.RESOLVED:
        mark = ORACLE_MARK if group == ORACLE else LEVEL_MARK[AlertLevel.CLEAR]
        return f"{mark} {number} {_OVER[group]}:"
    if group == HEALTH:
        mark = LEVEL_MARK[members[0].event.state.level]
        return f"{mark} {number} positions need a look: {_tally(members)}"
    return _MANY[group].format(number)


_OVER: Final = {
    HEALTH: "alerts are over",
    ORACLE: "oracles are back",
    KEEPER: "faults are over",
    RULE: "of your rules are over",
}
_MANY: Final = {
    ORACLE: ORACLE_MARK + " {} oracles cannot be used; automatic actions held:",
    REFUSED: "❌ {} actions not sent:",
    REHEARSED: "✏️ {} actions rehearsed, nothing was sent:",
    KEEPER: FAULT_MARK + " Keeper: {} faults:",
    RULE: "🟠 {} of your rules say something:",
}


def _tally(members: list[Notice]) -> str:
    """Return ``7 critical, 3 warning, 2 unknown``."""
    words = [
        "unknown" if one.event.state.rule == HEALTH_UNKNOWN else LEVEL_WORD[one.event.state.level]
        for one in members
    ]
    order = ("critical", "unknown", "warning", "info")
    return ", ".join(f"{words.count(word)} {word}" for word in order if word in words)
