"""Amounts as a person types them, in raw units or refused."""

from dataclasses import replace

import pytest

from keeper.app.act import at_most_owed, parse_amount
from keeper.errors import ConfigError
from keeper.model import Address, Asset, Leg, Side
from keeper.units import Raw
from tests.alerts.build import leg

USDC = Asset(address=Address("0x" + "d1" * 20), symbol="USDC", decimals=6)


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("1250.5", 1_250_500_000),
        ("1,250.5", 1_250_500_000),
        (" 7 ", 7_000_000),
        ("0.000001", 1),
        (".25", 250_000),
        ("0", 0),
    ],
)
def test_an_amount_is_exact(text: str, raw: int) -> None:
    assert parse_amount(text, USDC) == raw


@pytest.mark.parametrize(
    "text", ["", "-1", "1e6", "1.", "one", "1.2.3", "0x10", "\uff11\uff12", "."]
)
def test_what_is_not_an_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an amount of USDC: write it like 1250\.5"):
        parse_amount(text, USDC)


def test_an_amount_finer_than_the_token_is_refused_and_never_rounded() -> None:
    with pytest.raises(ConfigError, match="is finer than the token: it has 6 decimals"):
        parse_amount("0.0000001", USDC)


def owed(raw: int) -> Leg:
    return replace(leg(USDC, Side.DEBT, 9_736, 1_00000000), balance=Raw(raw))


def test_more_than_the_debt_is_capped_at_it_and_said() -> None:
    amount, said = at_most_owed(Raw(999_999_999_000_000), owed(9_736_120_000))

    # a thousandth more, and one: the debt grows until it is paid
    assert amount == 9_736_120_000 + 9_736_120 + 1
    assert said == (
        "asked for       999,999,999.00 USDC, and 9,736.12 USDC is owed: all of it is repaid",
    )


@pytest.mark.parametrize("raw", [1, 9_736_120_000, 9_745_856_121])
def test_no_more_than_the_debt_is_exactly_what_was_asked_for(raw: int) -> None:
    assert at_most_owed(Raw(raw), owed(9_736_120_000)) == (raw, ())
