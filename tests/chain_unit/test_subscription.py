"""The WebSocket that brings heads: what it says when it does not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from keeper.chain import pushed, subscription
from keeper.chain.subscription import Mailbox, Subscription
from keeper.errors import BadAnswer, RpcError
from tests.chain_unit.standin import Chain, Node, Refusal, header


@asynccontextmanager
async def server(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Serve every GET by `answer`; yields ``127.0.0.1:PORT``."""
    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Closing:
    """Takes each subscription and ends it after the seconds that `lasts_s` says, from the first.

    `says`: whether it brings a head.
    """

    def __init__(self, *lasts_s: float, says: bool = True) -> None:
        self.lasts_s = list(lasts_s)
        self.says = says
        self.dialled = 0
        self.five_times = asyncio.Event()

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        self.dialled += 1
        if self.dialled == 5:
            self.five_times.set()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for result in ("0x7a69", "0x5eed"):
            asked = await socket.receive_json()
            await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": result})
        if self.says:
            params = {"subscription": "0x5eed", "result": header(Chain(3).head)}
            await socket.send_json({"jsonrpc": "2.0", "params": params})
        await asyncio.sleep(self.lasts_s.pop(0) if self.lasts_s else 0.0)
        await socket.close(code=1013, message=b"try again later")
        return socket


async def dialled_five_times(closing: Closing) -> list[Any]:
    """Return what was logged until then."""
    async with server(closing.answer) as at:
        return await logged_until(closing.five_times, f"ws://{at}/")


async def logged_until(event: asyncio.Event, url: str) -> list[Any]:
    with capture_logs() as logs:
        task = asyncio.create_task(Subscription([url], 31337, Mailbox()).run())
        async with asyncio.timeout(10):
            await event.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return logs


async def test_a_node_that_ends_each_subscription_at_once_is_dialled_ever_less_often() -> None:
    logs = await dialled_five_times(Closing())

    lost = [line for line in logs if line["event"] == "ws.lost"]
    assert [(line["times"], line["retry_s"]) for line in lost] == [(1, 0.1), (2, 0.2), (4, 0.8)]
    # once more after each loss that was told, the last one perhaps not yet
    assert len(logs) - len(lost) in (3, 4)


async def test_a_subscription_that_lasted_is_replaced_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "LASTING_S", 0.2)

    logs = await dialled_five_times(Closing(0.0, 0.0, 0.3))

    lost = [line for line in logs if line["event"] == "ws.lost"]
    assert [(line["times"], line["retry_s"]) for line in lost] == [
        (1, 0.1),
        (2, 0.2),
        (1, 0.1),
        (2, 0.2),
    ]


async def test_a_subscription_that_brought_nothing_did_not_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "LASTING_S", 0.1)

    logs = await dialled_five_times(Closing(0.2, 0.2, 0.2, 0.2, says=False))

    lost = [line for line in logs if line["event"] == "ws.lost"]
    assert [(line["times"], line["retry_s"]) for line in lost] == [(1, 0.1), (2, 0.2), (4, 0.8)]


async def test_the_key_is_taken_out_of_what_a_node_says_over_a_websocket() -> None:
    def refuses(_: list[object]) -> object:
        raise Refusal(-32000, "project SECRETKEY0123456789 is out of credits")

    async with Node() as node:
        node.answers["eth_chainId"] = refuses

        with pytest.raises(RpcError, match=r"refused eth_chainId: 'project \*\*\* is out of"):
            await Subscription.prove(node.ws_url, 31337)


async def test_the_key_is_not_shown_where_a_websocket_says_it_for_a_number() -> None:
    async with Node() as node:
        node.answers["eth_chainId"] = lambda _: "no such project: SECRETKEY0123456789"

        with pytest.raises(BadAnswer, match="something that is no number") as caught:
            await Subscription.prove(node.ws_url, 31337)

        assert "SECRETKEY" not in str(caught.value)


async def test_a_websocket_that_redirects_is_not_followed() -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="secret")

    async with server(elsewhere) as there:

        async def redirects(_: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://{there}/internal/admin")

        async with server(redirects) as at:
            with pytest.raises(RpcError):
                await Subscription.prove(f"ws://{at}/key", 31337)

    assert asked == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "opens no WebSocket (HTTP status 200)"),
        (302, "redirects elsewhere (HTTP status 302), which is not followed"),
        (401, "refuses the key of its URL (HTTP status 401)"),
        (403, "refuses the key of its URL (HTTP status 403)"),
        (404, "has no WebSocket at the path of its URL (HTTP status 404)"),
        (429, "asks to be called less often (429)"),
        (503, "opens no WebSocket (HTTP status 503)"),
    ],
)
async def test_an_answer_that_is_no_websocket_is_told_with_its_status(
    status: int, words: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/"} if status == 302 else None)

    async with server(answer) as at:
        with pytest.raises(RpcError) as caught:
            await Subscription.prove(f"ws://{at}/SECRETKEY0123456789", 31337)
        lost = await first_loss(f"ws://{at}/SECRETKEY0123456789")

    assert str(caught.value) == f"ws://{at} {words}."
    assert lost == words


async def first_loss(url: str) -> str:
    """Return why the first connection was lost."""
    with capture_logs() as logs:
        task = asyncio.create_task(Subscription([url], 31337, Mailbox()).run())
        async with asyncio.timeout(5):
            while not logs:  # noqa: ASYNC110 - nothing tells of a line of the log
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return str(logs[0]["reason"])


async def test_one_that_does_not_answer_is_told_with_what_it_was_asked_and_for_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(pushed, "OPEN_TIMEOUT_S", 0.05)

    async def no_handshake(_: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response()

    async def no_word(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.receive()
        return socket

    async with server(no_handshake) as at:
        with pytest.raises(RpcError, match=rf"ws://{at} did not answer within 0\.05 s\.$"):
            await Subscription.prove(f"ws://{at}/", 31337)
    async with server(no_word) as at:
        with pytest.raises(RpcError, match=r"did not answer eth_chainId within 0\.05 s\.$"):
            await Subscription.prove(f"ws://{at}/", 31337)
