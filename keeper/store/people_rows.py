"""Alerts, manners, messages and watches to rows and back.  Pure; see `keeper.store.rows`."""

from itertools import pairwise
from typing import Any, Final

from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Button,
    ChatHours,
    HeldLine,
    Hush,
    Message,
    Severity,
    Thresholds,
    Watch,
)
from keeper.store.tables import (
    AlertRow,
    HeldRow,
    HoursRow,
    HushRow,
    OutboxRow,
    WatchRow,
)
from keeper.store.types import Unfit
from keeper.units import Wad

PRIORITY: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
"""Delivery order; the smaller the sooner."""


def alert_row(state: AlertState) -> AlertRow:
    """The row of an alert that is not clear."""
    return AlertRow(
        chat=state.chat,
        rule=state.rule,
        subject=state.subject,
        level=int(state.level),
        fired_at=state.fired_at,
        said_at=state.said_at,
        said_health=state.said_health,
        lowest=state.lowest,
        clear_since=state.clear_since,
        serial=state.serial,
        level_at=state.level_at,
        escalated=state.escalated,
    )


def alert_state(row: AlertRow) -> AlertState:
    """The alert as it was left."""
    return AlertState(
        chat=row.chat,
        rule=row.rule,
        subject=row.subject,
        level=AlertLevel(row.level),
        fired_at=row.fired_at,
        said_at=row.said_at,
        said_health=None if row.said_health is None else Wad(row.said_health),
        lowest=None if row.lowest is None else Wad(row.lowest),
        clear_since=row.clear_since,
        serial=row.serial,
        level_at=row.level_at,
        escalated=row.escalated,
    )


def hush_row(value: Hush, *, at: float) -> HushRow:
    """The row of an acknowledgement or a snooze."""
    return HushRow(
        chat=value.chat,
        rule=value.rule,
        subject=value.subject,
        fired_at=value.fired_at,
        level=int(value.level),
        until=value.until,
        by=value.by,
        at=at,
    )


def hush(row: HushRow) -> Hush:
    """The hush as it was said."""
    return Hush(
        chat=row.chat,
        rule=row.rule,
        subject=row.subject,
        fired_at=row.fired_at,
        level=AlertLevel(row.level),
        until=row.until,
        by=row.by,
    )


def hours_row(value: ChatHours) -> HoursRow:
    """The row of a chat's hours.  Raises `Unfit` for a minute that no day has."""
    for minute in (value.quiet_from, value.quiet_to, value.digest_at):
        if minute is not None and not 0 <= minute < 24 * 60:
            raise Unfit(f"chat_hours: {minute} is no minute of a day; nothing was written")
    if (value.quiet_from is None) != (value.quiet_to is None):
        raise Unfit("chat_hours: quiet hours need both ends; nothing was written")
    return HoursRow(
        chat=value.chat,
        quiet_from=value.quiet_from,
        quiet_to=value.quiet_to,
        digest_at=value.digest_at,
        zone=value.zone,
        digested_at=value.digested_at,
    )


def hours(row: HoursRow) -> ChatHours:
    """A chat's hours."""
    return ChatHours(
        chat=row.chat,
        quiet_from=row.quiet_from,
        quiet_to=row.quiet_to,
        digest_at=row.digest_at,
        zone=row.zone,
        digested_at=row.digested_at,
    )


def held_row(value: HeldLine) -> HeldRow:
    """The row of a line that waits for the digest."""
    return HeldRow(key=value.key, chat=value.chat, at=value.at, text=value.text)


def held_line(row: HeldRow) -> HeldLine:
    """The line that waits."""
    return HeldLine(chat=row.chat, at=row.at, key=row.key, text=row.text)


def outbox_row(message: Message, *, at: float) -> OutboxRow:
    """The row of a message that nobody has tried to deliver; due at once."""
    if not message.key:
        raise Unfit(f"outbox.key: a message to {message.chat} has none; nothing was written")
    return OutboxRow(
        key=message.key,
        chat=message.chat,
        severity=str(message.severity),
        priority=PRIORITY[message.severity],
        kind=message.kind,
        text=message.text,
        state="pending",
        attempts=0,
        next_attempt_at=at,
        created_at=at,
        error="",
        thread=message.key.partition("#")[0],
        extra=_extra(message),
    )


def _extra(message: Message) -> Any:
    """Return buttons and chart as plain values; None for a message without either."""
    if not message.buttons and not message.chart:
        return None
    return {
        "buttons": [[button.label, button.data] for button in message.buttons],
        "chart": message.chart,
    }


def message(row: OutboxRow) -> Message:
    """The message as it will be sent."""
    extra = row.extra or {}
    return Message(
        key=row.key,
        chat=row.chat,
        severity=Severity(row.severity),
        text=row.text,
        kind=row.kind,
        buttons=tuple(Button(label=label, data=data) for label, data in extra.get("buttons", ())),
        chart=extra.get("chart", ""),
    )


def watch_row(value: Watch, *, at: float) -> WatchRow:
    """The row of a watch.  Raises `Unfit` for thresholds that do not fall."""
    levels = value.thresholds
    if levels is not None and any(
        upper <= lower
        for upper, lower in pairwise((levels.info, levels.warning, levels.critical, 0))
    ):
        raise Unfit(
            f"watches: thresholds {levels.info}, {levels.warning}, {levels.critical} wad do not "
            "fall from info to warning to critical; nothing was written"
        )
    return WatchRow(
        chat=value.chat,
        account=value.account,
        label=value.label,
        label_key=label_key(value.label),
        info=levels.info if levels else None,
        warning=levels.warning if levels else None,
        critical=levels.critical if levels else None,
        changed_at=at,
    )


def label_key(label: str) -> str | None:
    """What makes two labels the same: case and outer blanks do not count; None without one."""
    return label.strip().casefold() or None


def watch(row: Any) -> Watch:
    """The watch of a row or of its columns; without thresholds of its own it takes the market's."""
    thresholds = None
    if row.info is not None and row.warning is not None and row.critical is not None:
        thresholds = Thresholds(
            info=Wad(row.info), warning=Wad(row.warning), critical=Wad(row.critical)
        )
    return Watch(
        chat=row.chat, account=Address(row.account), label=row.label, thresholds=thresholds
    )
