"""Exchanges as a server on this machine plays them: up, down, slow and talking nonsense.

The shapes of the answers are those of the exchanges' documentation; the servers themselves cannot
run here and are stood in for at the transport.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from keeper.app.oracles import board_of
from keeper.errors import BadAnswer, ConfigError
from keeper.model import Quote, Silent
from keeper.oracles.references import ReferenceRules, combine
from keeper.reference import board as board_module
from keeper.reference.board import Board
from keeper.reference.exchanges import EXCHANGES, price_in
from keeper.settings import load
from keeper.settings.oracles import EXCHANGES as CONFIGURABLE

BODIES = {
    "coinbase": b'{"ask":"3512.40","price":"3512.37281953","volume":"1203.9"}',
    "kraken": b'{"error":[],"result":{"XETHZUSD":{"a":["1","1","1"],"c":["3512.37281953","0.1"]}}}',
    "bitstamp": b'{"last":"3512.37281953","volume":"877.1","timestamp":"1763680121"}',
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_each_exchange_is_read_as_it_documents_itself(name: str) -> None:
    assert price_in(EXCHANGES[name], BODIES[name], "ETH") == 351_237_281_953


def test_what_can_be_configured_is_what_there_is() -> None:
    assert tuple(EXCHANGES) == CONFIGURABLE


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"price":null,"last":null,"result":{"XETHZUSD":{"c":[null]}}}',
        b'{"price":"NaN","last":"NaN","result":{"XETHZUSD":{"c":["NaN"]}}}',
        b'{"price":"-1","last":"-1","result":{"XETHZUSD":{"c":["-1"]}}}',
        b'{"price":"1e99","last":"1e99","result":{"XETHZUSD":{"c":["1e99"]}}}',
        b'{"price":true,"last":[],"result":{"XETHZUSD":{"c":[{}]},"Y":1}}',
        b"[" * 60_000,
    ],
)
def test_nonsense_is_no_price(name: str, body: bytes) -> None:
    with pytest.raises(BadAnswer, match=r"^it answered"):
        price_in(EXCHANGES[name], body, "ETH")


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    runners = []

    async def start(answer: Answer) -> str:
        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def board(*hosts: str, clock: Callable[[], float] = lambda: 0.0) -> Board:
    names = tuple(EXCHANGES)[: len(hosts)]
    playing = [replace(EXCHANGES[n], host=h) for n, h in zip(names, hosts, strict=True)]
    return Board(playing, {"WETH": "ETH"}, every_s=15, clock=clock)


def answering(body: bytes, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    return answer


async def test_quotes_have_the_age_of_the_last_answer(serve: Callable[..., Awaitable[str]]) -> None:
    now = [100.0]
    there = board(await serve(answering(BODIES["coinbase"])), clock=lambda: now[0])

    before = there.quotes()
    await there.ask_once()
    now[0] = 141.9

    assert before == {"WETH": (Silent(source="coinbase", reason="it was not asked yet"),)}
    assert there.quotes() == {
        "WETH": (Quote(source="coinbase", price=351_237_281_953, age_s=41),)  # type: ignore[arg-type]
    }


async def test_the_ticker_is_asked_for_by_the_exchanges_own_name(
    serve: Callable[..., Awaitable[str]],
) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(body=BODIES["kraken"])

    url = await serve(answer)
    playing = [replace(one, host=url) for one in EXCHANGES.values()]
    await Board(playing, {"WBTC": "BTC"}, every_s=15).ask_once()

    assert sorted(asked) == [
        "/0/public/Ticker?pair=XBTUSD",
        "/api/v2/ticker/btcusd/",
        "/products/BTC-USD/ticker",
    ]


async def test_one_that_fails_is_silent_with_the_reason_and_the_others_speak(
    serve: Callable[..., Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "TIMEOUT_S", 0.3)

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    for bad, reason in (
        (answering(b"{}"), "it answered something that is no ticker"),
        (answering(b"", 503), "it answered HTTP status 503"),
        (answering(b"", 302), "it answered HTTP status 302"),
        (answering(b"", 429), "it asks for fewer requests: raise references.every_s"),
        (answering(b"9" * 70_000), "it answered more than 65,536 bytes"),
        (slow, "it did not answer within 0.3 s"),
    ):
        there = board(await serve(bad), await serve(answering(BODIES["kraken"])))

        await there.ask_once()

        silent, heard = there.quotes()["WETH"]
        assert silent == Silent(source="coinbase", reason=reason)
        assert isinstance(heard, Quote)


async def test_an_exchange_that_falls_silent_is_said_once_and_when_it_is_heard_again(
    serve: Callable[..., Awaitable[str]],
) -> None:
    answers = [b"{}", b"{}", BODIES["coinbase"], BODIES["coinbase"]]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=answers.pop(0))

    there = board(await serve(answer))
    with capture_logs() as logs:
        for _ in range(4):
            await there.ask_once()

    assert [entry["event"] for entry in logs] == ["exchange.silent", "exchange.heard"]


async def test_one_that_is_gone_cannot_be_reached() -> None:
    there = board("http://127.0.0.1:9")

    await there.ask_once()

    (silent,) = there.quotes()["WETH"]
    assert isinstance(silent, Silent)
    assert silent.reason == "it cannot be reached (ClientConnectorError)"


def test_only_listed_assets_with_a_known_ticker_are_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "keeper.toml"
    config.write_text(
        '[references]\nexchanges = ["kraken"]\ntickers = { XIS = "XIS" }\n', encoding="utf-8"
    )
    settings = load(config, {}, env_file=None)

    board = board_of(settings, frozenset({"WETH", "XIS", "wstETH"}))

    assert board is not None
    assert set(board.quotes()) == {"WETH", "XIS"}
    assert board_of(settings, frozenset({"wstETH"})) is None


def test_nobody_is_asked_unless_an_exchange_is_named(tmp_path: Path) -> None:
    (tmp_path / "keeper.toml").write_text("", encoding="utf-8")

    assert board_of(load(tmp_path / "keeper.toml", {}, env_file=None), frozenset({"WETH"})) is None


def test_an_exchange_that_nobody_knows_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "keeper.toml"
    config.write_text('[references]\nexchanges = ["ftx"]\n', encoding="utf-8")

    with pytest.raises(ConfigError, match="'ftx': there is coinbase, kraken, bitstamp"):
        load(config, {}, env_file=None)


@pytest.mark.parametrize("pair", ["XXBTZUSD", "XETHZEUR", "ETHXBT", "METHUSD", "", "\u202eX" * 40])
def test_kraken_speaking_of_another_pair_is_no_price(pair: str) -> None:
    body = json.dumps({"error": [], "result": {pair: {"c": ["97431.5", "1"]}}}).encode()

    with pytest.raises(BadAnswer, match=r"it answered about the pair .*, not ETHUSD") as refused:
        price_in(EXCHANGES["kraken"], body, "ETH")

    assert "\u202e" not in str(refused.value)


@pytest.mark.parametrize(
    ("ticker", "pair"),
    [("ETH", "XETHZUSD"), ("BTC", "XXBTZUSD"), ("USDT", "USDTZUSD"), ("USDC", "USDCUSD")],
)
def test_krakens_own_names_of_pairs_are_known(ticker: str, pair: str) -> None:
    body = json.dumps({"error": [], "result": {pair: {"c": ["1.5", "1"]}}}).encode()

    assert price_in(EXCHANGES["kraken"], body, ticker) == 150_000_000


def test_kraken_that_names_an_error_or_two_pairs_is_no_price() -> None:
    for body in (
        b'{"error":["EQuery:Unknown asset pair"]}',
        b'{"error":[],"result":{"XETHZUSD":{"c":["1"]},"ETHUSD":{"c":["1"]}}}',
    ):
        with pytest.raises(BadAnswer, match="no ticker"):
            price_in(EXCHANGES["kraken"], body, "ETH")


async def test_ten_megabytes_are_not_read_and_neither_are_they_when_packed(
    serve: Callable[..., Awaitable[str]],
) -> None:
    sent = [0]

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(160):
            try:
                await response.write(b" " * 65_536)
            except ConnectionError:
                break
            sent[0] += 65_536
        return response

    async def bomb(_: web.Request) -> web.Response:
        packed = gzip.compress(b" " * 10_000_000)
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    there = board(await serve(flood), await serve(bomb))
    await there.ask_once()

    for silent in there.quotes()["WETH"]:
        assert isinstance(silent, Silent)
        assert silent.reason == "it answered more than 65,536 bytes"


async def test_an_answer_that_drips_is_given_up(
    serve: Callable[..., Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "TIMEOUT_S", 0.3)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(40):
            try:
                await response.write(b" ")
            except ConnectionError:
                break
            await asyncio.sleep(0.05)
        return response

    there = board(await serve(drip))
    await there.ask_once()

    assert there.quotes()["WETH"] == (
        Silent(source="coinbase", reason="it did not answer within 0.3 s"),
    )


@pytest.mark.parametrize("lie", [b"0.00028471", b"97431.5"])
async def test_a_price_upside_down_or_of_something_else_is_outvoted_or_makes_no_reference(
    serve: Callable[..., Awaitable[str]], lie: bytes
) -> None:
    """Coinbase names no pair: what it says of another can only be seen beside the others."""
    liar = await serve(answering(b'{"price":"%s"}' % lie))
    good = [await serve(answering(BODIES[name])) for name in ("kraken", "bitstamp")]
    three, two = board(liar, *good), board(liar, good[0])
    for there in (three, two):
        await there.ask_once()

    outvoted = combine(three.quotes()["WETH"], ReferenceRules(agree_bps=300))
    undecided = combine(two.quotes()["WETH"], ReferenceRules(agree_bps=300))

    assert outvoted.price == 351_237_281_953
    assert undecided.price is None
    assert undecided.reason.startswith("the sources contradict one another: ")
