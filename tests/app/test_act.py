"""Amounts as a person types them, in raw units or refused."""

import pytest

from keeper.app.act import parse_amount
from keeper.errors import ConfigError
from keeper.model import Address, Asset

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
