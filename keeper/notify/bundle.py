"""Many reports of one kind to one chat become one message: a person reads one, not forty.  Pure.

Only reports of what was done are bundled, and only when several wait: alerts are grouped where they
are made, and whatever is a warning or worse goes alone.  Each row stays its own in the outbox: all
of a bundle are acknowledged together, or none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from keeper.alerts.render import clip
from keeper.alerts.speech import ENGLISH, Speech, noted
from keeper.model import Message, Pending, Severity
from keeper.notify.pacing import EVERYTHING, thread_of

FROM: Final = 3
"""So many wait before they are said together."""
MOST: Final = 20
SHOWN: Final = 5


def bundle(first: Pending, rows: Sequence[Pending]) -> tuple[Pending, ...]:
    """Return what goes out together with `first`, of one chat's `rows`, oldest first.

    Nothing overtakes a message that keeps its order with all others.
    """
    barrier = min(
        (row.id for row in rows if thread_of(row.message.key) == EVERYTHING), default=None
    )
    alike = sorted(
        (row for row in rows if _plain(row) and (barrier is None or row.id < barrier)),
        key=lambda row: row.id,
    )
    if first not in alike or len(alike) < FROM:
        return (first,)
    return tuple(alike[:MOST])


REPEAT: Final = noted(" (may be a repeat)")
"""Ends the first line of what may have been read already."""


def bundled(rows: Sequence[Pending], say: Speech = ENGLISH) -> Message:
    """Return the one message that says all of `rows`; a single row's own is left as it is, but
    for a mark where the answer to an earlier attempt was lost.
    """
    message = _one(rows, say)
    if not any(row.maybe_taken for row in rows):
        return message
    first, line, rest = message.text.partition("\n")
    return replace(message, text=clip(f"{first}{say(REPEAT)}{line}{rest}"))


def _one(rows: Sequence[Pending], say: Speech) -> Message:
    first = rows[0].message
    if len(rows) == 1:
        return first
    heads = [row.message.text.partition("\n")[0] for row in rows]
    lines = [say.plural("{n} action:", "{n} actions:", len(rows)), *heads[:SHOWN]]
    if len(heads) > SHOWN:
        lines.append(say("... {n} more: keeper actions", n=len(heads) - SHOWN))
    return replace(first, text="\n".join(lines))


def _plain(row: Pending) -> bool:
    message = row.message
    return message.kind == "action" and message.severity is Severity.INFO
