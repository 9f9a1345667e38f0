"""Quiet hours and the hour of the digest, in the chat's own time zone.  Pure.

In quiet hours only what is critical is said, and that something critical is over; the rest waits
for the digest.  An interval includes its first minute and not its last.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from keeper.model import ChatHours

DAY_MIN: Final = 24 * 60


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of that IANA name.  Raises ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name} is no time zone: send one such as Europe/Berlin.") from error


def local(hours: ChatHours, now: int) -> datetime:
    """Return the instant as the chat's clock shows it; UTC where its zone is not known here."""
    try:
        return datetime.fromtimestamp(now, zone_of(hours.zone))
    except ValueError:
        return datetime.fromtimestamp(now, UTC)


def quiet(hours: ChatHours | None, now: int) -> bool:
    """Whether the chat wants to be left alone at `now`, seconds since the epoch."""
    if hours is None or hours.quiet_from is None or hours.quiet_to is None:
        return False
    here = local(hours, now)
    minute = here.hour * 60 + here.minute
    if hours.quiet_from <= hours.quiet_to:
        return hours.quiet_from <= minute < hours.quiet_to
    return minute >= hours.quiet_from or minute < hours.quiet_to


def digest_hour(hours: ChatHours, now: int) -> int | None:
    """Return the last instant at or before `now` at which a digest was due; None without any.

    Due at the digest's own minute, and at the end of quiet hours.
    """
    minutes = {one for one in (hours.digest_at, hours.quiet_to) if one is not None}
    here = local(hours, now)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    instants = [
        int((midnight + timedelta(days=day, minutes=minute)).timestamp())
        for minute in minutes
        for day in (-1, 0)
    ]
    return max((one for one in instants if one <= now), default=None)


def daily(hours: ChatHours, instant: int) -> bool:
    """Whether `instant` is the digest's own minute: then it says how everything is."""
    if hours.digest_at is None:
        return False
    here = local(hours, instant)
    return here.hour * 60 + here.minute == hours.digest_at


def clock_text(minute: int) -> str:
    """Return ``07:05``."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
