"""How numbers and foreign words look."""

from decimal import ROUND_CEILING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.alerts.numbers import (
    amount_text,
    dollars_text,
    duration_text,
    health_text,
    plain,
    symbol_text,
    threshold_text,
)
from keeper.units import UINT256_MAX, Base, Raw, Wad
from tests.alerts.build import wad


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (Wad(wad("1") - 1), "0.999"),
        (wad("1.0499999"), "1.049"),
        (wad("1.142857"), "1.142"),
        (wad("9.9999"), "9.999"),
        (wad("12.3456"), "12.3"),
        (wad("1000"), "over 1\u202f000"),
        (Wad(UINT256_MAX), "no debt"),
        (Wad(0), "0.000"),
    ],
)
def test_a_health_factor_is_floored(health: Wad, text: str) -> None:
    assert health_text(health) == text


@given(st.integers(min_value=0, max_value=999 * 10**18))
def test_a_shown_health_factor_is_never_above_the_real_one(health: int) -> None:
    whole, _, fraction = health_text(Wad(health)).partition(".")

    assert int(whole) * 10**18 + int(fraction.ljust(18, "0")) <= health


def test_a_threshold_is_shown_exactly() -> None:
    assert threshold_text(wad("1.05")) == "1.05"
    assert threshold_text(wad("1.5")) == "1.50"
    assert threshold_text(wad("1.125")) == "1.125"
    assert threshold_text(wad("2")) == "2.00"


@pytest.mark.parametrize(
    ("amount", "decimals", "down", "up"),
    [
        (14_600_123456, 6, "14\u202f600", "14\u202f601"),
        (8_900000000000000000, 18, "8.9", "8.9"),
        (8_901000000000000001, 18, "8.9", "8.91"),
        (3_149000000000000, 18, "0.0031", "0.0032"),
        (999_999_999, 6, "999.99", "1\u202f000"),
        (1, 18, "less than 0.00000001", "0.00000001"),
        (0, 6, "0", "0"),
        (UINT256_MAX, 0, "115\u202f792", None),
        (1, 255, "less than 0.00000001", "0.00000001"),
    ],
)
def test_amounts_have_the_digits_a_person_needs(
    amount: int, decimals: int, down: str, up: str | None
) -> None:
    assert amount_text(Raw(amount), decimals).startswith(down)
    if up is not None:
        assert amount_text(Raw(amount), decimals, rounding=ROUND_CEILING) == up


def test_dollars_have_cents_only_where_they_matter() -> None:
    assert dollars_text(Base(2291_40000000)) == "$2\u202f291"
    assert dollars_text(Base(99990000)) == "$0.9999"
    assert dollars_text(Base(12_34567890)) == "$12.34"
    assert dollars_text(Base(0)) == "$0.00"


def test_durations_use_the_unit_a_person_would() -> None:
    assert [duration_text(one) for one in (14, 119, 4260, 7199, 90_314, 200_000)] == [
        "14 s",
        "119 s",
        "71 min",
        "119 min",
        "25 h",
        "2 d",
    ]


def test_what_cannot_be_seen_is_taken_out() -> None:
    assert (
        plain("main\u202e\u2066gpj.exe\u200b\x00\x1b[31m\nsecond", 64) == "maingpj.exe[31m second"
    )
    assert plain("z\u0301\u0301\u0301\u0301\u0301algo", 64).count("\u0301") <= 2
    assert plain("x" * 10_000, 32) == "x" * 31 + "…"


def test_letters_of_a_right_to_left_script_stay() -> None:
    assert plain("ראשי", 32) == "ראשי"


def test_a_symbol_can_be_neither_link_nor_command_nor_mention() -> None:
    assert symbol_text("USDC.e") == "USDC.e"
    assert symbol_text("ETH / USD") == "ETH/USD"
    assert symbol_text("claim.io") == "claim·io"
    assert symbol_text("@scam /start") == "?scam start"
    assert symbol_text("https://evil.com/x?y=<b>") == "https?//evil·co…"
    assert symbol_text("\u202e\u200b") == "?"


@given(st.text(max_size=80))
def test_no_symbol_holds_anything_invisible_or_a_line_break(symbol: str) -> None:
    shown = symbol_text(symbol)

    assert shown
    assert len(shown) <= 16
    assert shown.isprintable()
