"""How fast and in which order messages go: pure, the clock is handed in.

Telegram takes about one message a second in a chat, twenty a minute in a group, thirty a second
overall.  Order: the loudest first, but never past an older message of the same thread, so that the
last thing a chat reads about a position is the last thing that happened to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from keeper.model import Pending, Severity

PER_CHAT_S: Final = 1.0
PER_GROUP_S: Final = 3.0
OVERALL_S: Final = 1 / 30
FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 300.0
LONGEST_CRITICAL_BACKOFF_S: Final = 60.0
EVERYTHING: Final = "*"
"""The thread that keeps its order with every other one of its chat."""

_LOUDEST_FIRST: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def backoff_s(attempts: int, severity: Severity) -> float:
    """Return the wait after the `attempts`-th failure in a row (from 1): doubled, up to a cap."""
    cap = LONGEST_CRITICAL_BACKOFF_S if severity is Severity.CRITICAL else LONGEST_BACKOFF_S
    return float(min(cap, FIRST_BACKOFF_S * 2 ** min(max(attempts - 1, 0), 16)))


def thread_of(key: str) -> str:
    """Return what a message is about: the part of its key before the ``#``, or all of it."""
    return key.partition("#")[0]


def loudness(pending: Pending) -> tuple[int, int]:
    """Return the sorting key: critical first, then the order of writing."""
    return _LOUDEST_FIRST[pending.message.severity], pending.id


def next_of(rows: Sequence[Pending]) -> Pending:
    """Return which of one chat's rows goes next.  Raises ValueError for no rows.

    The loudest, unless an older one must come before it: then that one.
    """
    wanted = min(rows, key=loudness)
    thread = thread_of(wanted.message.key)
    return min(
        (
            row
            for row in rows
            if row.id <= wanted.id
            and (thread_of(row.message.key) in (thread, EVERYTHING) or thread == EVERYTHING)
        ),
        key=lambda row: row.id,
    )


@dataclass(slots=True)
class Pace:
    """When each chat may be written to again, in seconds of a monotonic clock."""

    _free_at: dict[str, float] = field(default_factory=dict)
    _paused_until: dict[str, float] = field(default_factory=dict)
    _all_free_at: float = 0.0
    _all_paused_until: float = 0.0

    def ready_at(self, chat: str) -> float:
        """Return the earliest instant at which `chat` may be written to."""
        if chat.startswith("log:"):
            return 0.0
        return max(
            self._free_at.get(chat, 0.0),
            self._paused_until.get(chat, 0.0),
            self._all_free_at,
            self._all_paused_until,
        )

    def took(self, chat: str, now: float) -> None:
        """Count a message that goes out now."""
        if chat.startswith("log:"):
            return
        self._free_at[chat] = now + (PER_GROUP_S if chat.startswith("telegram:-") else PER_CHAT_S)
        self._all_free_at = max(now, self._all_free_at) + OVERALL_S
        if len(self._free_at) > 10_000:
            self._free_at = {one: at for one, at in self._free_at.items() if at > now}

    def pause(self, chat: str, until: float) -> None:
        """Leave `chat` alone: a message to it has just failed."""
        self._paused_until[chat] = max(until, self._paused_until.get(chat, 0.0))

    def flooded(self, chat: str, now: float, retry_after_s: float) -> None:
        """Honour a 429.  A second chat that gets one meanwhile says it is about all of them."""
        others = any(until > now for one, until in self._paused_until.items() if one != chat)
        self.pause(chat, now + retry_after_s)
        if others:
            self._all_paused_until = max(self._all_paused_until, now + retry_after_s)

    def resumed(self, chat: str) -> None:
        """A message to `chat` was acknowledged."""
        self._paused_until.pop(chat, None)
