"""How 0x and 1inch are asked, and what of their answers is taken; a stand-in at the transport."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import structlog
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain.aggregator import BODY_CAP, REST_AFTER, Aggregator, Terms
from keeper.chain.aggregators import KINDS, MOST_DATA, VALID_S, OneInch, ZeroEx
from keeper.errors import BadAnswer, ConfigError, ExecutionError
from keeper.model import Address, BlockRef, Hash, Offer, Sought
from keeper.units import Bps, Wei

WETH = Address("0x" + "e1" * 20)
USDC = Address("0x" + "dc" * 20)
LIQUIDATOR = Address("0x" + "11" * 20)
SIGNER = Address("0x" + "51" * 20)
HOLDER = Address("0x" + "ab" * 20)
OTHER = Address("0x" + "0b" * 20)
KEY = "s3cr3t-key-of-nobody"
SOUGHT = Sought(
    chain_id=8453,
    sell=WETH,
    buy=USDC,
    amount=5_123_456_789_012_345_678,
    block=BlockRef(
        number=7,
        hash=Hash("0x" + "07" * 32),
        parent_hash=Hash("0x" + "06" * 32),
        timestamp=1_790_000_017,
        base_fee_wei=Wei(7),
    ),
    caller=LIQUIDATOR,
    origin=SIGNER,
    max_slippage=Bps(105),
)
ZERO_EX: Mapping[str, Any] = {
    "liquidityAvailable": True,
    "sellToken": WETH,
    "buyToken": "0x" + "DC" * 20,
    "sellAmount": "5123456789012345678",
    "buyAmount": "14030123457",
    "allowanceTarget": HOLDER,
    "issues": {"allowance": {"actual": "0", "spender": HOLDER}, "balance": {"actual": "0"}},
    "transaction": {"to": HOLDER, "data": "0x2213bc0b07", "value": "0", "gas": "288079"},
}
ONE_INCH: Mapping[str, Any] = {
    "dstAmount": "14030123457",
    "tx": {"from": LIQUIDATOR, "to": HOLDER, "data": "0x07ed2379", "value": "0", "gas": 0},
}


def test_0x_is_asked_for_what_the_contract_would_do() -> None:
    request = ZeroEx().request(SOUGHT, KEY)

    assert request.path == "/swap/allowance-holder/quote"
    assert request.query == {
        "chainId": "8453",
        "sellToken": WETH,
        "buyToken": USDC,
        "sellAmount": "5123456789012345678",
        "taker": LIQUIDATOR,
        "txOrigin": SIGNER,
        "slippageBps": "105",
    }
    assert request.headers == {"0x-version": "v2", "0x-api-key": KEY}


def test_1inch_is_asked_for_what_the_contract_would_do() -> None:
    request = OneInch().request(SOUGHT, KEY)

    assert request.path == "/swap/v6.0/8453/swap"
    assert request.query == {
        "src": WETH,
        "dst": USDC,
        "amount": "5123456789012345678",
        "from": LIQUIDATOR,
        "origin": SIGNER,
        "slippage": "1.05",
        "disableEstimate": "true",
        "allowPartialFill": "false",
    }
    assert request.headers == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(("kind", "answer", "data"), [
    ("0x", ZERO_EX, "2213bc0b07"), ("1inch", ONE_INCH, "07ed2379"),
])  # fmt: skip
def test_what_they_offer_is_read(kind: str, answer: Mapping[str, Any], data: str) -> None:
    assert KINDS[kind].offer(answer, SOUGHT) == Offer(
        source=kind,
        bought=14_030_123_457,
        target=HOLDER,
        spender=HOLDER,
        data=bytes.fromhex(data),
        valid_until=1_790_000_017 + VALID_S,
    )


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("0x", {"sellToken": OTHER}, "its sellToken is another one"),
    ("0x", {"buyToken": OTHER}, "its buyToken is another one"),
    ("0x", {"sellAmount": "5123456789012345679"}, "another amount"),
    ("0x", {"allowanceTarget": None}, "its allowanceTarget is no address"),
    ("0x", {"issues": {"allowance": {"spender": OTHER}}}, "its spender is another one"),
    ("0x", {"buyAmount": "-3"}, "its buyAmount is no amount"),
    ("0x", {"buyAmount": 3.7}, "its buyAmount is no amount"),
    ("0x", {"buyAmount": True}, "its buyAmount is no amount"),
    ("0x", {"buyAmount": "9" * 79}, "its buyAmount is no amount"),
    ("0x", {"buyAmount": str(2**256)}, "its buyAmount is no amount"),
    ("0x", {"transaction": None}, "its answer has no transaction"),
    ("1inch", {"tx": {**ONE_INCH["tx"], "value": "1"}}, "wants to be sent the chain's coin"),
    ("1inch", {"tx": {**ONE_INCH["tx"], "to": "0x12"}}, "its to is no address"),
    ("1inch", {"tx": {**ONE_INCH["tx"], "from": OTHER}}, "its from is another one"),
    ("1inch", {"tx": {**ONE_INCH["tx"], "data": "0x1"}}, "its data is no call data"),
    ("1inch", {"tx": {**ONE_INCH["tx"], "data": "0x" + "00" * (MOST_DATA + 1)}}, "call data"),
    ("1inch", {"srcAmount": "1"}, "another amount"),
    ("1inch", {"dstAmount": "1 000"}, "its dstAmount is no amount"),
]


@pytest.mark.parametrize(("kind", "change", "said"), BROKEN)
def test_what_cannot_be_is_refused(kind: str, change: dict[str, Any], said: str) -> None:
    answer = {**(ZERO_EX if kind == "0x" else ONE_INCH), **change}

    with pytest.raises(BadAnswer, match=said):
        KINDS[kind].offer(answer, SOUGHT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(st.sampled_from(["0x", "1inch"]), st.data())
def test_no_answer_breaks_the_reader(kind: str, data: st.DataObject) -> None:
    good = ZERO_EX if kind == "0x" else ONE_INCH
    key = data.draw(st.sampled_from(sorted(good)))
    inner = good[key]
    value = data.draw(JSON)
    if isinstance(inner, Mapping) and data.draw(st.booleans()):
        value = {**inner, data.draw(st.sampled_from(sorted(inner))): value}

    try:
        offer = KINDS[kind].offer({**good, key: value}, SOUGHT)
    except (BadAnswer, ExecutionError):
        return
    assert offer.target == offer.spender == HOLDER
    assert 0 <= offer.bought < 2**256


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[str]:
    """A loopback server that gives every request to `answer`; its URL."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def terms(url: str, **more: Any) -> Terms:
    whole = Terms(
        url=url,
        key=KEY,
        targets=frozenset({HOLDER}),
        spenders=frozenset({HOLDER}),
        timeout_s=2.0,
        calls_per_second=1_000.0,
    )
    return replace(whole, **more)


async def test_an_offer_comes_over_the_wire_with_the_key_in_its_header() -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(ZERO_EX)

    async with serving(answer) as url, Aggregator(ZeroEx(), terms(f"{url}/")) as source:
        offer = await source.offer(SOUGHT)

    assert offer.bought == 14_030_123_457
    assert seen[0].path == "/swap/allowance-holder/quote"
    assert seen[0].headers["0x-api-key"] == KEY
    assert KEY not in repr(source)


async def test_who_is_not_on_the_list_is_refused() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(ZERO_EX)

    async with serving(answer) as url:
        for lists, said in (
            ({"targets": frozenset({OTHER})}, "to be called, which targets does not list"),
            ({"spenders": frozenset({OTHER})}, "approved, which spenders does not list"),
        ):
            async with Aggregator(ZeroEx(), terms(url, **lists)) as source:
                with pytest.raises(ExecutionError, match=said):
                    await source.offer(SOUGHT)


async def test_after_some_failures_it_is_left_alone_and_one_success_forgives() -> None:
    asked: list[int] = []
    good = {2}

    async def answer(_: web.Request) -> web.Response:
        asked.append(1)
        return web.json_response(ZERO_EX if len(asked) in good else {})

    async with serving(answer) as url, Aggregator(ZeroEx(), terms(url)) as source:
        with structlog.testing.capture_logs() as logs:
            outcomes = []
            for _ in range(2 + REST_AFTER + 2):
                try:
                    await source.offer(SOUGHT)
                    outcomes.append("offer")
                except ExecutionError as error:
                    outcomes.append("left alone" if "left alone" in str(error) else "refused")

    assert outcomes == ["refused", "offer", *["refused"] * REST_AFTER, "left alone", "left alone"]
    assert len(asked) == 2 + REST_AFTER
    assert [(e["event"], e["reason"]) for e in logs] == [
        ("route.resting", f"{REST_AFTER} failures in a row")
    ]


async def test_having_no_sale_is_no_failure() -> None:
    said: list[web.Response] = []

    async def answer(_: web.Request) -> web.Response:
        return said.pop()

    async with serving(answer) as url:
        for kind, status, body, words in (
            (ZeroEx(), 200, {"liquidityAvailable": False}, "0x: it knows nobody who buys that"),
            (OneInch(), 400, {"description": "insufficient liquidity"}, "1inch: HTTP 400: "),
        ):
            async with Aggregator(kind, terms(url)) as source:
                for _ in range(REST_AFTER + 2):
                    said.append(web.json_response(body, status=status))
                    with pytest.raises(ExecutionError, match=words):
                        await source.offer(SOUGHT)
    assert not said


async def test_a_pause_that_is_asked_for_is_made() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7"})

    async with serving(answer) as url, Aggregator(OneInch(), terms(url)) as source:
        with pytest.raises(ExecutionError, match="HTTP 429"):
            await source.offer(SOUGHT)
        with pytest.raises(ExecutionError, match="1inch is left alone for 7 s more"):
            await source.offer(SOUGHT)


async def test_requests_beyond_the_rate_are_not_made() -> None:
    asked: list[int] = []

    async def answer(_: web.Request) -> web.Response:
        asked.append(1)
        return web.json_response(ZERO_EX)

    slow = {"calls_per_second": 0.01, "timeout_s": 0.2}
    async with serving(answer) as url, Aggregator(ZeroEx(), terms(url, **slow)) as source:
        await source.offer(SOUGHT)
        with pytest.raises(ExecutionError, match="calls_per_second left it no turn within 200 ms"):
            await source.offer(SOUGHT)

    assert len(asked) == 1


async def test_a_server_that_repeats_the_key_in_its_url_does_not_get_it_printed() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=403, text=f"no access: {request.path}")

    async with (
        serving(answer) as url,
        Aggregator(ZeroEx(), terms(f"{url}/v2/s3cr3t-too")) as source,
    ):
        with pytest.raises(ExecutionError, match=r"no access: /v2/\*\*\*/swap"):
            await source.offer(SOUGHT)


async def test_a_server_that_repeats_the_key_does_not_get_it_printed() -> None:
    async def answer(request: web.Request) -> web.Response:
        # cut in the middle of the key, were it cut first
        return web.Response(status=403, text="x" * 110 + request.headers["0x-api-key"])

    async with serving(answer) as url, Aggregator(ZeroEx(), terms(url)) as source:
        with pytest.raises(ExecutionError) as caught:
            await source.offer(SOUGHT)

    assert "***" in str(caught.value)
    assert KEY[:4] not in str(caught.value)


@pytest.mark.parametrize("length", [BODY_CAP + 1, 40 * BODY_CAP])
async def test_a_long_answer_is_not_read_to_its_end(length: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps({**ZERO_EX, "more": "x" * length}))

    async with serving(answer) as url, Aggregator(ZeroEx(), terms(url)) as source:
        with pytest.raises(ExecutionError, match="longer than 256 KiB"):
            await source.offer(SOUGHT)


async def test_deep_json_and_a_redirect_are_refused() -> None:
    said: tuple[dict[str, Any], ...] = (
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"text": "[" * 100_000},
        {"text": "[" * 4_000},
    )
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(**said[len(asked) - 1])

    async with serving(answer) as url, Aggregator(OneInch(), terms(url)) as source:
        with pytest.raises(ExecutionError, match="1inch: HTTP 302"):
            await source.offer(SOUGHT)
        with pytest.raises(ExecutionError, match="1inch: its answer is nested or split up"):
            await source.offer(SOUGHT)
        with pytest.raises(ExecutionError, match="1inch: it answered something that is not JSON"):
            await source.offer(SOUGHT)

    assert asked == ["/swap/v6.0/8453/swap"] * 3


def test_metadata_addresses_and_other_schemes_are_no_aggregators() -> None:
    for url in ("http://169.254.169.254/", "ipc:///tmp/x", "ftp://host"):
        with pytest.raises(ConfigError):
            Aggregator(ZeroEx(), terms(url))
