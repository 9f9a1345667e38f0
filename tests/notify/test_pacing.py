"""How fast and in which order."""

from keeper.model import Pending, Severity
from keeper.notify.pacing import Pace, backoff_s, next_of
from tests.notify.build import CHAT, OTHER, message


def row(at: int, thread: str, severity: Severity) -> Pending:
    return Pending(id=at, message=message(f"m{at}", thread=thread, severity=severity), attempts=0)


def test_backoff_doubles_up_to_a_cap_that_is_lower_for_criticals() -> None:
    assert [backoff_s(at, Severity.WARNING) for at in (1, 2, 3, 9, 10, 500)] == [
        1,
        2,
        4,
        256,
        300,
        300,
    ]
    assert backoff_s(500, Severity.CRITICAL) == 60


def test_the_loudest_goes_first() -> None:
    rows = (row(1, "a", Severity.INFO), row(2, "b", Severity.CRITICAL))

    assert next_of(rows).id == 2


def test_the_loudest_does_not_pass_an_older_one_about_the_same_thing() -> None:
    rows = (
        row(1, "a", Severity.WARNING),
        row(2, "b", Severity.INFO),
        row(3, "b", Severity.CRITICAL),
    )

    assert next_of(rows).id == 2


def test_a_message_about_everything_keeps_its_place() -> None:
    before = (row(1, "*", Severity.INFO), row(2, "a", Severity.CRITICAL))
    after = (row(1, "a", Severity.INFO), row(2, "*", Severity.CRITICAL))

    assert next_of(before).id == 1
    assert next_of(after).id == 1


def test_a_chat_gets_one_a_second_a_group_one_in_three_and_all_thirty_a_second() -> None:
    pace = Pace()
    pace.took(CHAT, 10.0)
    pace.took("telegram:-100", 10.0)

    assert pace.ready_at(CHAT) == 11.0
    assert pace.ready_at("telegram:-100") == 13.0
    assert 10.06 < pace.ready_at(OTHER) < 10.07
    assert pace.ready_at("log:") == 0.0


def test_a_flood_answer_for_a_second_chat_pauses_all() -> None:
    pace = Pace()
    pace.flooded(CHAT, 10.0, 30.0)
    alone = pace.ready_at(OTHER)
    pace.flooded(OTHER, 11.0, 30.0)

    assert alone == 0.0
    assert pace.ready_at("telegram:99") == 41.0
