"""The WebSocket that brings heads: what it says when it does not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from keeper.chain import subscription
from keeper.chain.subscription import Mailbox, Subscription
from keeper.errors import BadAnswer, RpcError
from tests.chain_unit.standin import Node, Refusal


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
    """Takes each subscription and ends it after the seconds that `lasts_s` says, from the first."""

    def __init__(self, *lasts_s: float) -> None:
        self.lasts_s = list(lasts_s)
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
