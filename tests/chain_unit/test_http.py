"""What a header of an answer says, whatever is in it."""

import pytest

from keeper.chain.http import RETRY_AFTER_CAP_S, retry_after_s


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, None),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("1e9", RETRY_AFTER_CAP_S),
        ("nan", None),
        ("soon", None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", RETRY_AFTER_CAP_S),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2001 00:00:00", None),
    ],
)
def test_a_wish_to_be_left_alone_is_a_number_of_seconds_or_nothing(
    said: str | None, seconds: float | None
) -> None:
    assert retry_after_s(said) == seconds
