"""What can be typed into a devnet, and what is said of what cannot."""

import asyncio
from decimal import Decimal

import pytest

from keeper.devnet import __main__ as stays
from keeper.devnet.typed import Typed, share_of, worst
from keeper.errors import ConfigError
from keeper.model import Address
from keeper.units import WAD

PRICE = Decimal("3512.3728")


@pytest.mark.parametrize(
    ("to", "left"),
    [
        ("-20%", "0.8"),
        ("+7.25 %", "1.0725"),
        ("-99%", "0.01"),
        ("+9900%", "100"),
        ("3512.3728", "1"),
        ("7,024.7456", "2"),
        ("1_756.1864", "0.5"),
    ],
)
def test_a_price_moves_by_a_share_or_to_a_price(to: str, left: str) -> None:
    assert share_of(PRICE, to) == Decimal(left)


@pytest.mark.parametrize("to", ["", "20", "-100%", "-99.5%", "+9901%", "0", "1e9", "35", "nan%"])
def test_a_price_that_is_none_or_out_of_all_bounds_is_not_taken(to: str) -> None:
    with pytest.raises(ConfigError, match="A price moves"):
        share_of(PRICE, to)


def test_the_worst_come_first_and_nobody_at_just_one_counts_as_below() -> None:
    healths = {Address(f"0x{n:040x}"): WAD + (n - 3) for n in range(9)}

    lines = worst(healths).splitlines()

    assert lines[0] == "  9 with debt, 3 below 1; the worst:"
    assert [line.split()[0][-1] for line in lines[1:]] == ["0", "1", "2", "3", "4"]
    assert lines[1].endswith("0.999")
    assert worst({}) == "  0 with debt, 0 below 1; the worst:"


class _Breaks(Typed):
    def __init__(self) -> None: ...

    async def carry_out(self, line: str) -> str:
        raise KeyError(line.strip())


async def test_a_word_that_breaks_in_a_way_nobody_thought_of_is_said_and_the_next_is_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"one\ntwo\n")
    reader.feed_eof()

    await stays._until_end(reader, _Breaks())

    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"devnet: that went wrong (KeyError: '{word}'); the chain goes on"
        for word in ("one", "two")
    ]
