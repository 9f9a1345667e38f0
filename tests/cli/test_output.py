"""Numbers as a terminal shows them: exact, grouped, and never on the better side of 1."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from keeper.cli import output
from keeper.units import UINT256_MAX, Base, Raw, Wad


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_a_health_factor_below_1_never_reads_as_1(value: int) -> None:
    assert output.health(Wad(value)).startswith("0.")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Wad(1_061_999_999_999_999_999), "1.061"),
        (Wad(999_999_999_999_999_999), "0.999"),
        (Wad(1000 * 10**18), "> 1,000"),
        (Wad(UINT256_MAX), "no debt"),
        (None, "unknown"),
    ],
)
def test_health_factors(value: Wad | None, said: str) -> None:
    assert output.health(value) == said


def test_amounts_are_grouped_and_cut() -> None:
    assert output.usd(Base(2_500_000_999_999)) == "25,000.00"
    assert output.usd(Base(-150_000_000)) == "-1.50"
    assert output.usd(None) == "-"
    assert output.token(Raw(2_938_109_999), 6, "USDC") == "2,938.10 USDC"
    assert output.token(Raw(1_234), 6, "USDC") == "0.001234 USDC"
    assert output.amount(UINT256_MAX, 0)[:12] == "115,792,089,"
    assert output.amount(7, 0, 2) == "7"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"),
     (90_314, "25 h"), (172_800, "2 d"), (None, "-")],
)  # fmt: skip
def test_ages(seconds: int | None, said: str) -> None:
    assert output.age(seconds) == said


def test_the_head_line_names_the_block() -> None:
    assert output.block_line("ethereum", 21_400_117, 12) == "Ethereum, block 21,400,117, 12 s ago"


def test_foreign_text_has_no_markup_and_no_control_characters() -> None:
    assert output.escape("[red]US\x1b[2JDC\u202e") == r"\[red]US?[2JDC?"


def test_json_keeps_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    document = output.json_ready({"hf": UINT256_MAX, "block": 7, "legs": ({"ok": True},)})

    output.emit(document, as_json=True, render=lambda _: None)

    read = json.loads(capsys.readouterr().out)
    assert read == {"hf": str(UINT256_MAX), "block": 7, "legs": [{"ok": True}]}


def test_without_json_a_person_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    def render(out: Console) -> None:
        table = output.table("position", "health", right=("health",))
        table.add_row("aave-v3  0x52..9f", "1.061")
        out.print(table)

    output.emit({}, as_json=False, render=render)

    assert "aave-v3  0x52..9f    1.061" in capsys.readouterr().out


def test_addresses_are_shown_as_people_compare_them() -> None:
    address = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"

    assert output.checksummed(address) == "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert output.short(address) == "0x5aaeb..beaed"
