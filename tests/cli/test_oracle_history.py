"""``keeper oracles --history`` from a store that the engine's own record filled."""

import asyncio
import importlib.util
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.cli.oracle_history import sparkline
from keeper.model import (
    Asset,
    BlockRef,
    Cause,
    Feed,
    FeedState,
    FeedVerdict,
    MarketId,
    PassRecord,
    PriceVerdict,
    Quote,
    Reference,
    Source,
    Stance,
    Suspicion,
)
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from keeper.units import Base
from tests.cli.calling import Keeper
from tests.store.builders import address, block

MARKET = MarketId(chain_id=31337, name="aave-v3-local", protocol="aave_v3")
FEED = Feed(address=address(0xFE), description="ETH/USD", decimals=8, heartbeat_s=3_600)
WETH = Asset(address=address(0xE7), symbol="WETH", decimals=18)
STALE = "ETH/USD: last answer 3725 s old, heartbeat is 3600 s"
ANSWERS = (351_237_281_953, 349_812_000_000, 349_812_000_000, 352_000_000_001)


def at(nth: int, now: int) -> BlockRef:
    return replace(block(), number=1_000 + nth, timestamp=now - 4_000 + 900 * nth)


def feed(nth: int, now: int) -> FeedVerdict:
    stale = nth == 2
    return FeedVerdict(
        feed=FEED,
        block=at(nth, now),
        state=FeedState.STALE if stale else FeedState.USABLE,
        cause=Cause.STALE if stale else None,
        reason=STALE if stale else "",
        answer=ANSWERS[nth],
        age_s=3_725 if stale else 41,
        round_id=(5 << 64) | nth,
    )


def price(nth: int, reference: int | None) -> PriceVerdict:
    doubt = Suspicion(cause=Cause.DISAGREES, stance=Stance.HOLD_LIQUIDATIONS, reason="WETH: no")
    return PriceVerdict(
        asset=WETH,
        source=Source(asset=WETH, address=address(1), path=(), feeds=()),
        price=Base(ANSWERS[nth]),
        feeds=(),
        reason="",
        suspicions=(doubt,) if nth == 2 else (),
        reference=Reference(
            price=None if reference is None else Base(reference),
            quotes=(Quote(source="kraken", price=Base(1)),),
            reason="" if reference else "kraken is silent",
        ),
    )


@pytest.fixture
def store(tmp_path: Path) -> None:
    async def write() -> None:
        now = int(time.time())
        async with await Database.open(str(tmp_path / "keeper.sqlite3")) as database:
            for nth, reference in enumerate(
                (351_237_281_953, None, 340_000_000_000, 352_000_000_001)
            ):
                record = PassRecord(
                    block=at(nth, now),
                    rounds=((31337, feed(nth, now)),),
                    prices=((MARKET, price(nth, reference)),),
                )
                await SqlRecords(database).record(record)

    asyncio.run(write())


@pytest.mark.usefixtures("store")
def test_a_feed_is_shown_by_its_changes_of_verdict_without_asking_a_node(cli: Keeper) -> None:
    said = cli("oracles", "--history", "eth / usd")

    assert said.code == 0, said.err
    assert "ETH/USD on local: 4 rounds kept" in said.out
    assert "3,498.12 to 3,520" in said.out
    rows = [line for line in said.out.splitlines() if " 1,00" in line]
    assert [row.split()[2] for row in rows] == ["1,000", "1,002", "1,003"]
    assert "last answer 3725 s old, heartbeat is 3600 s" in rows[1]
    assert rows[0].rstrip().endswith("usable")
    assert rows[2].rstrip().endswith("usable")


@pytest.mark.usefixtures("store")
def test_an_asset_is_shown_with_its_reference_in_basis_points(cli: Keeper) -> None:
    out = cli("oracles", "--history", "WETH").out

    assert "WETH in aave-v3-local: 4 points kept" in out
    # 3498.12 / 3400 - 1 = 288.58.. bps
    [doubted] = [line for line in out.splitlines() if "disagrees" in line]
    assert " +288 " in doubted
    assert "+0 to +288 bps" in out


@pytest.mark.usefixtures("store")
def test_all_of_it_is_in_the_document_to_the_digit(cli: Keeper) -> None:
    [feed_] = cli("oracles", "--history", FEED.address, "--json").json["history"]
    [asset] = cli("oracles", "--history", "weth", "--json").json["history"]

    assert [point["answer"] for point in feed_["rounds"]] == [str(a) for a in ANSWERS]
    assert feed_["rounds"][2]["cause"] == "stale"
    assert feed_["rounds"][2]["round_id"] == str((5 << 64) | 2)
    assert [point["difference_bps"] for point in asset["prices"]] == [0, None, 288, 0]
    assert asset["prices"][1]["sources"] == "kraken is silent"


@pytest.mark.usefixtures("store")
def test_a_shorter_time_shows_less(cli: Keeper) -> None:
    [found] = cli("oracles", "--history", "ETH/USD", "--since", "30m", "--json").json["history"]

    assert [point["block"] for point in found["rounds"]] == [1_003]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--history", "BTC/USD"), "no history of 'BTC/USD' is kept: there is ETH/USD, WETH"),
        (("--history", "x" * 500), f"no history of '{'x' * 60}' is kept: there is ETH/USD, WETH"),
        (("--history", "ETH/USD", "--since", "ever"), "--since: ever is not a duration"),
        (("--history", "ETH/USD", "--since", "9999d"), "--since: 9999d is too long"),
        (("--history", "ETH/USD", "--market", "nowhere"), "no market 'nowhere' is configured"),
    ],
)
def test_bad_input_is_one_sentence(cli: Keeper, words: tuple[str, ...], sentence: str) -> None:
    said = cli("oracles", *words)

    assert said.code == 2
    assert said.sentence.startswith(sentence)


def test_an_empty_store_says_when_there_will_be_something(cli: Keeper) -> None:
    assert "it is kept while `keeper run` runs" in cli("oracles", "--history", "ETH/USD").sentence


@pytest.mark.usefixtures("store")
@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="keeper[charts] is not installed"
)
@pytest.mark.parametrize("name", ["ETH/USD", "WETH"])
def test_it_is_drawn_into_a_file(cli: Keeper, tmp_path: Path, name: str) -> None:
    drawn = tmp_path / "history.png"

    assert cli("oracles", "--history", name, "--png", str(drawn)).code == 0

    png = drawn.read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (900, 380)
    said = cli("oracles", "--history", name, "--png", str(tmp_path / "no" / "such" / "folder"))
    assert "cannot be written (No such file or directory): name another" in said.sentence


def test_a_sparkline_is_as_wide_as_it_may_be_and_blank_where_nothing_is_known() -> None:
    assert sparkline([1.0, 2.0, None, 3.0]) == "▁▅ █"
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert sparkline([None]) == " "
    assert sparkline([]) == ""
    assert len(sparkline([float(n) for n in range(1_000)], width=40)) == 40
