"""What can be typed into a devnet, and what is said of what cannot."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

import pytest

from keeper.devnet import __main__ as stays
from keeper.devnet.deployment import DeployedFeed
from keeper.devnet.network import Devnet
from keeper.devnet.typed import HELP, Typed, share_of, worst
from keeper.errors import ConfigError
from keeper.model import Address
from keeper.units import WAD
from tests.devnet.test_crowd import DEPLOYMENT

PRICE = Decimal("3512.3728")
WORDS = ("price", "wait", "mine", "freeze", "thaw", "feeds", "positions", "help", "quit")


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


class _Bare(Typed):
    """Two feeds and no chain."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        feeds = tuple(SimpleNamespace(name=name) for name in ("ETH/USD", "USDC/USD"))
        there = replace(DEPLOYMENT, feeds=cast("tuple[DeployedFeed, ...]", feeds))
        self.devnet = cast("Devnet", SimpleNamespace(deployment=there))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("price", "The devnet has ETH/USD, USDC/USD: name one."),
        ("thaw DAI/USD", "The devnet has no feed 'DAI/USD', it has ETH/USD, USDC/USD."),
        ("feeds ETH/USD", "feeds stands alone, without 'ETH/USD'."),
        ("positions 3", "positions stands alone, without '3'."),
        (
            "sell",
            f"'sell' is no word here: {', '.join(WORDS)}.",
        ),
    ],
)
async def test_what_cannot_be_done_is_said_with_what_can(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await _Bare().carry_out(line)

    assert str(caught.value) == said


def test_a_price_of_nothing_is_said_to_be_too_little() -> None:
    with pytest.raises(ConfigError, match="to more than 0"):
        share_of(PRICE, "0")


@pytest.mark.parametrize("word", ["quit", " EXIT "])
async def test_a_devnet_is_ended_by_a_word(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(f"{word}\nsell\n".encode())

    await asyncio.wait_for(stays._until_end(reader, _Bare()), 5)

    assert capsys.readouterr() == ("", "")


def test_the_help_says_how_to_end_it() -> None:
    assert "quit " in HELP


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
