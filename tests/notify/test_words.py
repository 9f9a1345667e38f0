"""What people type."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model import Address, Thresholds
from keeper.notify.words import (
    BadWord,
    WatchRequest,
    parse_address,
    parse_command,
    parse_thresholds,
    parse_watch,
)
from keeper.units import Wad
from tests.notify.build import ME, ME_SHOWN

TIGHT = Thresholds(
    info=Wad(1_300000000000000000), warning=Wad(1_15 * 10**16), critical=Wad(1_05 * 10**16)
)


@pytest.mark.parametrize("typed", [ME_SHOWN, ME, "0x" + ME[2:].upper()])
def test_an_address_is_taken_in_any_honest_spelling(typed: str) -> None:
    assert parse_address(typed) == ME


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("0x12", "0x12 is not an address: it must be 0x and 40 hexadecimal digits."),
        (ME[2:], f"{ME[2:]} is not an address: it must be 0x and 40 hexadecimal digits."),
        ("vitalik.eth", "vitalik.eth is a name: send the account's 0x address instead."),
        (
            ME_SHOWN.replace("aA", "AA"),
            (
                "The capital letters of 0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed do not match "
                "its checksum, so a character may be wrong: copy it again."
            ),
        ),
        (
            "0x" + "0" * 40,
            "The zero address holds no position: send the account's own address.",
        ),
    ],
)
def test_a_wrong_address_is_answered_with_what_is_wrong(typed: str, reply: str) -> None:
    with pytest.raises(BadWord) as caught:
        parse_address(typed)

    assert str(caught.value) == reply


def test_full_width_digits_are_not_digits() -> None:
    with pytest.raises(BadWord):
        parse_address("0x" + "\uff11" * 40)
    with pytest.raises(BadWord):
        parse_thresholds("\uff11.30/1.15/1.05")


def test_thresholds_are_read_exactly() -> None:
    assert parse_thresholds("1.30/1.15/1.05") == TIGHT
    assert parse_thresholds("2/1.5/1.000000000000000001").critical == 10**18 + 1


@pytest.mark.parametrize(
    ("typed", "begins"),
    [
        ("1.05/1.15/1.30", "The thresholds 1.05/1.15/1.30 are out of order"),
        ("1.30/1.30/1.05", "The thresholds 1.30/1.30/1.05 are out of order"),
        ("1.3/1.1/1.0", "The last threshold of 1.3/1.1/1.0 must be above 1"),
        ("1.3/1.1", "1.3/1.1 are not thresholds: send three"),
        ("1e3/1.1/1.05", "1e3/1.1/1.05 are not thresholds: send three"),
        ("inf/nan/-1", "inf/nan/-1 are not thresholds: send three"),
    ],
)
def test_wrong_thresholds_are_answered_with_what_is_wrong(typed: str, begins: str) -> None:
    with pytest.raises(BadWord) as caught:
        parse_thresholds(typed)

    assert str(caught.value).startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "label", "thresholds"),
    [
        ((ME,), "", None),
        ((ME, "main"), "main", None),
        ((ME, "my", "cold", "wallet"), "my cold wallet", None),
        ((ME, "1.30/1.15/1.05"), "", TIGHT),
        ((ME, "main", "1.30/1.15/1.05"), "main", TIGHT),
        ((ME, "ma\u202ein"), "main", None),
        ((ME, "ראשי"), "ראשי", None),
    ],
)
def test_watch_takes_label_and_thresholds_in_any_combination(
    arguments: tuple[str, ...], label: str, thresholds: Thresholds | None
) -> None:
    assert parse_watch(arguments) == WatchRequest(
        account=Address(ME), label=label, thresholds=thresholds
    )


@pytest.mark.parametrize("label", ["x" * 10_000, "\u202e\u200b", "0xdeadbeef"])
def test_a_label_that_cannot_be_one_is_refused(label: str) -> None:
    with pytest.raises(BadWord):
        parse_watch((ME, label))


def test_a_command_is_read_with_its_bot_and_arguments() -> None:
    command = parse_command("/Watch@keeper_bot   a  b\nc")

    assert command is not None
    assert (command.name, command.bot, command.arguments) == (
        "watch",
        "keeper_bot",
        ("a", "b", "c"),
    )
    assert parse_command("watch") is None
    assert parse_command("/") is None
    assert parse_command("/ватч x") is None


@given(st.lists(st.text(max_size=60), max_size=5))
def test_no_arguments_break_watch(arguments: list[str]) -> None:
    with contextlib.suppress(BadWord):
        label = parse_watch((ME, *arguments)).label
        assert label.isprintable()
        assert len(label) <= 32
