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
    Change,
    Event,
    severity_of,
)
from keeper.alerts.render import (
    FAULT_MARK,
    LEVEL_MARK,
    ORACLE_MARK,
    clip,
    level_word,
    many,
)
from keeper.alerts.room import Notice
from keeper.alerts.speech import ENGLISH, Speech, SpeechOf, english
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


def messages_of(
    notices: Iterable[Notice], instant: str, speech: SpeechOf = english
) -> tuple[Message, ...]:
    """Return one message per notice, or one per group where a chat would get more than five.

    Each in the language of the chat that hears it.
    """
    groups: dict[tuple[str, str, bool], list[Notice]] = {}
    for notice in notices:
        good = notice.event.change is Change.RESOLVED
        groups.setdefault((notice.chat, notice.group, good), []).append(notice)
    messages: list[Message] = []
    for (chat, group, _), members in groups.items():
        if len(members) > AT_ONCE and not chat.startswith(ONE_BY_ONE):
            messages.append(_grouped(chat, group, members, instant, speech(chat)))
        else:
            messages.extend(_single(notice, instant, speech(chat)) for notice in members)
    return tuple(messages)


def _single(notice: Notice, instant: str, say: Speech) -> Message:
    event = notice.event
    return Message(
        key=key_of_message(notice, instant),
        chat=notice.chat,
        severity=severity_of(event),
        text=clip(notice.text(say)),
        kind=_kind(event),
        buttons=buttons_of(event, say),
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


def buttons_of(event: Event, say: Speech = ENGLISH) -> tuple[Button, ...]:
    """Return what can be pressed under an alert that goes on; nothing once it is over.

    The data name the alert's episode: an old message's buttons do nothing to a new one.
    """
    if event.change is Change.RESOLVED or event.state.rule in (REFUSED, REHEARSED):
        return ()
    name = alert_id(event.state)
    pressed = [
        Button(label=say("Ack"), data=f"ack:{name}"),
        Button(label=say("Snooze 1h"), data=f"zzz:{name}"),
    ]
    if event.state.rule == HEALTH:
        pressed.append(Button(label=say("Chart"), data=f"chart:{name}"))
        pressed.append(Button(label=say("Top up..."), data=f"top:{name}"))
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


def _grouped(chat: str, group: str, members: list[Notice], instant: str, say: Speech) -> Message:
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
        text=clip(
            many(_headline(group, members, say), tuple(one.line(say) for one in members), say=say)
        ),
        kind=_kind(first) if group in (KEEPER, REFUSED, REHEARSED) else kind.value,
    )


def _headline(group: str, members: list[Notice], say: Speech) -> str:
    number = len(members)
    if members[0].event.change is Change.RESOLVED:
        mark = ORACLE_MARK if group == ORACLE else LEVEL_MARK[AlertLevel.CLEAR]
        return f"{mark} {_over(group, number, say)}"
    if group == HEALTH:
        mark, tally = LEVEL_MARK[members[0].event.state.level], _tally(members, say)
        told = say.plural(
            "{n} position needs a look: {tally}",
            "{n} positions need a look: {tally}",
            number,
            tally=tally,
        )
        return f"{mark} {told}"
    return _many(group, number, say)


def _over(group: str, number: int, say: Speech) -> str:
    match group:
        case "oracle":
            return say.plural("{n} oracle is back:", "{n} oracles are back:", number)
        case "keeper":
            return say.plural("{n} fault is over:", "{n} faults are over:", number)
        case "rule":
            return say.plural("{n} of your rules is over:", "{n} of your rules are over:", number)
        case _:
            return say.plural("{n} alert is over:", "{n} alerts are over:", number)


def _many(group: str, number: int, say: Speech) -> str:
    match group:
        case "oracle":
            told = say.plural(
                "{n} oracle cannot be used; automatic actions held:",
                "{n} oracles cannot be used; automatic actions held:",
                number,
            )
            return f"{ORACLE_MARK} {told}"
        case "refused":
            return "❌ " + say.plural("{n} action not sent:", "{n} actions not sent:", number)
        case "rehearsed":
            return "✏️ " + say.plural(
                "{n} action rehearsed, nothing was sent:",
                "{n} actions rehearsed, nothing was sent:",
                number,
            )
        case "keeper":
            return f"{FAULT_MARK} " + say.plural(
                "Keeper: {n} fault:", "Keeper: {n} faults:", number
            )
        case _:
            return "🟠 " + say.plural(
                "{n} of your rules says something:",
                "{n} of your rules say something:",
                number,
            )


_ORDER: Final = (AlertLevel.CRITICAL, None, AlertLevel.WARNING, AlertLevel.INFO)
"""Of a tally, the worst first; None stands for unknown."""


def _tally(members: list[Notice], say: Speech) -> str:
    """Return ``7 critical, 3 warning, 2 unknown``."""
    found = [
        None if one.event.state.rule == HEALTH_UNKNOWN else one.event.state.level for one in members
    ]
    words = ((found.count(one), one) for one in _ORDER if one in found)
    return ", ".join(
        f"{number} {say('unknown') if one is None else level_word(one, say)}"
        for number, one in words
    )
