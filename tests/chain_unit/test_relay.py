"""What a private relay is told, and what is made of its answers.

The relay is a stand-in that runs in the test: block builders' own are not to be had here.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from keeper.chain.relay import HttpRelay, Method
from keeper.errors import ConfigError, RpcError

AUTH = "0x" + "4b" * 32
RAW = bytes.fromhex("02f8") + bytes(range(90))


class StandIn:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.signers: list[str] = []
        self.answer: web.Response = web.json_response({"jsonrpc": "2.0", "id": 1, "result": "0x1"})
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append(json.loads(body))
        who, _, signature = request.headers["X-Flashbots-Signature"].partition(":")
        digest = encode_defunct(text="0x" + keccak(body).hex())
        assert Account.recover_message(digest, signature=signature) == who
        self.signers.append(who)
        return self.answer


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    relay = StandIn()
    app = web.Application()
    app.router.add_post("/KEYKEYKEY", relay.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    relay.url = f"http://127.0.0.1:{port}/KEYKEYKEY"
    try:
        yield relay
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_sendPrivateTransaction", {"tx": "0x" + RAW.hex(), "maxBlockNumber": "0x7d"}),
        ("eth_sendBundle", {"txs": ["0x" + RAW.hex()], "blockNumber": "0x65"}),
    ],
)
async def test_it_is_told_the_bytes_and_the_blocks_by_whom_it_knows(
    method: Method, params: dict[str, Any]
) -> None:
    async with (
        standing_in() as there,
        HttpRelay(there.url, method=method, auth_key=AUTH) as relay,
    ):
        await relay.send_private(RAW, 100)

        [asked] = there.asked
        assert (asked["method"], asked["params"]) == (method, [params])
        assert there.signers == [Account.from_key(AUTH).address]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.json_response({"error": {"message": "nonce\ntoo low"}}), "refused .*nonce\\?too low"),
        (web.json_response({"error": {"message": "no KEYKEYKEY"}}), r"refused .*: no \*\*\*\."),
        (web.Response(text="<html>"), "not JSON"),
        (web.Response(text="[" * 60_000), "not JSON"),
        (web.Response(text="1" * 70_000), "more than 65,536 bytes"),
        (web.json_response([1]), "not JSON-RPC"),
        (web.json_response({"id": 1}), "not JSON-RPC"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}), "not JSON"),
    ],
)
async def test_any_other_answer_is_an_error_in_words_without_the_key(
    answer: web.Response, words: str
) -> None:
    async with (
        standing_in() as there,
        HttpRelay(there.url, method="eth_sendBundle", auth_key=AUTH) as relay,
    ):
        there.answer = answer
        with pytest.raises(RpcError, match=words) as caught:
            await relay.send_private(RAW, 100)
        assert "KEYKEYKEY" not in str(caught.value)


async def test_one_that_is_away_is_said_without_the_key() -> None:
    async with HttpRelay("http://127.0.0.1:9/KEYKEYKEY", method="eth_sendBundle") as relay:
        with pytest.raises(RpcError, match="did not answer") as caught:
            await relay.check()
    assert "KEYKEYKEY" not in str(caught.value)


async def test_what_cannot_be_a_key_or_a_relay_is_refused() -> None:
    with pytest.raises(ConfigError, match="relay_auth_key") as caught:
        HttpRelay("https://relay.example", method="eth_sendBundle", auth_key="not a key at all")
    assert "not a key at all" not in str(caught.value)
    with pytest.raises(ConfigError, match="metadata"):
        HttpRelay("http://169.254.169.254/", method="eth_sendBundle")
