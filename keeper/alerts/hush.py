"""Acknowledging, snoozing, and who is called in when nobody answers.  Pure.

An acknowledgement ends the reminders of one episode at one level; a snooze does so for a while and
ends with one reminder.  Neither silences what gets worse: that speaks as if nothing had been said.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keeper.model import AlertLevel, AlertState, Hush

HushKey = tuple[str, str, str]
"""Chat, rule, subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hushes:
    """The hushes of one pass by the alert they are about."""

    by_key: Mapping[HushKey, Hush] = field(default_factory=dict)

    def of(self, state: AlertState) -> Hush | None:
        """Return the hush that holds for `state` as it is now, spent or not; None without one."""
        hush = self.by_key.get((state.chat, state.rule, state.subject))
        return hush if hush is not None and applies(hush, state) else None


def hushes_of(hushes: Iterable[Hush]) -> Hushes:
    """Return them by key."""
    return Hushes(by_key={(one.chat, one.rule, one.subject): one for one in hushes})


def applies(hush: Hush, state: AlertState) -> bool:
    """Whether it was said of this very episode, at this level or a worse one."""
    return hush.fired_at == state.fired_at and state.level <= hush.level


def silent(hush: Hush | None, now: int) -> bool:
    """Whether reminders rest at `now`."""
    return hush is not None and (hush.until is None or now < hush.until)


def woken(hush: Hush | None, said_at: int, now: int) -> bool:
    """Whether a snooze has ended since the last word."""
    return hush is not None and hush.until is not None and said_at < hush.until <= now


def due_escalations(
    state: AlertState, hush: Hush | None, *, chats: int, after_s: int, now: int
) -> int:
    """Return how many of `chats` must have been called in at `now`: one every `after_s`.

    Counted from when it became critical, or from the end of a snooze.  Never fewer than were.
    """
    if state.level is not AlertLevel.CRITICAL or silent(hush, now):
        return state.escalated
    since = state.level_at or state.fired_at
    if hush is not None and hush.until is not None:
        since = max(since, hush.until)
    return max(state.escalated, min(chats, max(0, now - since) // after_s))


def alert_id(state: AlertState) -> str:
    """Return the short name of one episode of one alert, for buttons: 16 hex digits."""
    told = f"{state.chat}\n{state.rule}\n{state.subject}\n{state.fired_at}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
