"""Quiet hours and digests by the chat's own clock."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from keeper.alerts.hours import daily, digest_hour, quiet, zone_of
from keeper.model import ChatHours

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = ChatHours(
    chat="telegram:1", quiet_from=23 * 60, quiet_to=7 * 60, digest_at=8 * 60, zone="Europe/Berlin"
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp())


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-21T22:59:59", False),
        ("2026-11-21T23:00:00", True),
        ("2026-11-22T03:00:00", True),
        ("2026-11-22T06:59:59", True),
        ("2026-11-22T07:00:00", False),
        ("2026-07-01T06:59:59", True),  # summer time: the same hours on the clock
        ("2026-07-01T07:00:00", False),
    ],
)
def test_a_night_spans_midnight_on_the_chats_clock(when: str, *, expected: bool) -> None:
    assert quiet(NIGHT, at(when)) is expected


def test_without_hours_it_is_never_quiet() -> None:
    assert not quiet(None, at("2026-11-22T03:00:00"))
    assert not quiet(ChatHours(chat="telegram:1"), at("2026-11-22T03:00:00"))


def test_a_digest_is_due_at_its_minute_and_at_the_end_of_the_night() -> None:
    assert digest_hour(NIGHT, at("2026-11-22T06:59:59")) == at("2026-11-21T08:00:00")
    assert digest_hour(NIGHT, at("2026-11-22T07:00:00")) == at("2026-11-22T07:00:00")
    assert digest_hour(NIGHT, at("2026-11-22T12:00:00")) == at("2026-11-22T08:00:00")
    assert digest_hour(ChatHours(chat="telegram:1"), at("2026-11-22T12:00:00")) is None


def test_only_the_digests_own_minute_says_how_everything_is() -> None:
    assert daily(NIGHT, at("2026-11-22T08:00:00"))
    assert not daily(NIGHT, at("2026-11-22T07:00:00"))


def test_the_day_the_clock_springs_forward_keeps_its_digest() -> None:
    hours = ChatHours(chat="telegram:1", digest_at=2 * 60 + 30, zone="Europe/Berlin")

    # 02:30 does not exist on 29 March 2026: the instant that stands for it is still one of that day
    due = digest_hour(hours, at("2026-03-29T12:00:00"))

    assert due is not None
    assert at("2026-03-29T01:00:00") < due <= at("2026-03-29T04:00:00")


def test_a_zone_that_does_not_exist_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="Mars/Base is no time zone: send one such as"):
        zone_of("Mars/Base")
