"""The rules ``refused`` and ``rehearsed``: what was not done, told once and not every block.  Pure.

Operators hear all of it; who watches an account hears about its protection.  A refusal whose cause
is a feed in trouble is not told: the feed is, and says that actions are held.  Neither rule says
when it is over: that shows in what is done instead.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from keeper.alerts.actions import PROTECTION, Refusal, refused_line, rehearsed_line
from keeper.alerts.machine import REFUSED, REHEARSED, AlertKey, Change, Event
from keeper.alerts.render import name_of
from keeper.alerts.room import Notice, Room, subject_of
from keeper.alerts.speech import Phrase
from keeper.model import (
    AlertLevel,
    Assessment,
    IntentKind,
    PositionId,
    Rehearsed,
    Unassessable,
)

Wanted = Mapping[AlertKey, Callable[[Event], Phrase]]
"""What is to be said, should the alert speak."""


def refusal_notices(
    room: Room,
    refusals: Iterable[Refusal],
    assessments: Iterable[Assessment],
    carried: Iterable[PositionId] = (),
) -> list[Notice]:
    """Return what is said of refusals; those that a feed explains are held, not said.

    Those of `carried` positions are held too: nothing was decided about them.
    """
    told = {
        one.position for one in assessments if isinstance(one, Unassessable) and room.cause(one)
    }
    wanted: dict[AlertKey, Callable[[Event], Phrase]] = {}
    waiting = {subject_of(position) for position in carried}
    held = {key for key in room.ledger.states if key.rule == REFUSED and key.subject in waiting}
    for refused in refusals:
        explained = refused.position in told or _names_a_trouble(room, refused.reason)
        for key, name in _audience(room, REFUSED, refused.position, refused.kind):
            if explained:
                held.add(key)
            else:
                wanted.setdefault(key, _refused(refused, name))
    for key in held - wanted.keys():
        room.hold(key)
    return _notices(room, REFUSED, wanted, held, AlertLevel.WARNING)


def rehearsal_notices(room: Room, rehearsals: Iterable[Rehearsed]) -> list[Notice]:
    """Return what is said of rehearsals, once per position."""
    wanted: dict[AlertKey, Callable[[Event], Phrase]] = {}
    for rehearsed in rehearsals:
        intent = rehearsed.plan.intent
        for key, name in _audience(room, REHEARSED, intent.position, intent.kind):
            wanted.setdefault(key, _rehearsed(rehearsed, name))
    return _notices(room, REHEARSED, wanted, set(), AlertLevel.INFO)


def _refused(refused: Refusal, name: str) -> Callable[[Event], Phrase]:
    return lambda event: partial(refused_line, event, refused, name)


def _rehearsed(rehearsed: Rehearsed, name: str) -> Callable[[Event], Phrase]:
    return lambda _: partial(rehearsed_line, rehearsed, name)


def _names_a_trouble(room: Room, reason: str) -> bool:
    return any(cause and cause in reason for trouble in room.troubles for cause in trouble.reasons)


def _audience(
    room: Room, rule: str, position: PositionId, kind: IntentKind | None
) -> list[tuple[AlertKey, str]]:
    """Return who hears about an action, and the name they know the position by."""
    named = {watch.chat: name_of(watch.label, watch.account) for watch in room.watchers(position)}
    nameless = name_of("", position.account)
    chats = dict.fromkeys((*room.operators, *(named if kind in PROTECTION else ())))
    subject = subject_of(position)
    return [
        (AlertKey(chat=chat, rule=rule, subject=subject), named.get(chat, nameless))
        for chat in chats
    ]


def _notices(
    room: Room, rule: str, wanted: Wanted, held: set[AlertKey], level: AlertLevel
) -> list[Notice]:
    standing = (key for key in room.ledger.states if key.rule == rule and room.owns(key))
    notices = []
    for rank, key in enumerate(dict.fromkeys((*wanted, *standing))):
        line_of = wanted.get(key)
        if line_of is None and key in held:
            continue
        now = AlertLevel.CLEAR if line_of is None else level
        for event in room.turn(key, now, room.policy.clear_for_s):
            if line_of is not None and event.change is not Change.RESOLVED:
                line = line_of(event)
                notices.append(Notice(event=event, line=line, text=line, group=rule, rank=rank))
    return notices
