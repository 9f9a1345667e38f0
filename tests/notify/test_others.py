"""Other channels by apprise, against local stand-ins."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from keeper.errors import ConfigError, DeliveryError
from keeper.model import Severity
from keeper.notify.others import OtherChannels
from tests.notify.build import message

pytest.importorskip("apprise", reason="keeper[channels] is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # apprise's own

TEXT = "🔴 main: health factor 1.043 (critical < 1.05)\nAave v3 · Ethereum · block 21 034 511"


class Provider:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((request.path, (await request.read()).decode()))
        return web.json_response({"id": "1"}, status=self.status)


@asynccontextmanager
async def provider() -> AsyncIterator[tuple[Provider, str]]:
    there = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", there.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield there, f"{host}:{port}"
    finally:
        await runner.cleanup()


async def test_ntfy_and_a_webhook_take_a_message() -> None:
    async with provider() as (there, at):
        channel = OtherChannels({"phone": f"ntfy://{at}/keeper", "hook": f"json://{at}/alerts"})
        for name in ("phone", "hook"):
            await channel.send(message(TEXT, chat=f"apprise:{name}", severity=Severity.CRITICAL))

    (_, ntfy), (path, hook) = there.heard
    assert "1.043" in ntfy
    assert path == "/alerts"
    told: dict[str, Any] = json.loads(hook)
    assert told["title"] == TEXT.splitlines()[0]
    assert told["message"] == TEXT.splitlines()[1]
    assert told["type"] == "failure"


async def test_a_provider_that_says_no_is_tried_again() -> None:
    async with provider() as (there, at):
        there.status = 500
        channel = OtherChannels({"hook": f"json://{at}/alerts"})
        with pytest.raises(DeliveryError, match="apprise:hook did not take the message") as failed:
            await channel.send(message(TEXT, chat="apprise:hook"))

    assert not failed.value.permanent


async def test_a_name_nobody_configured_is_said() -> None:
    with pytest.raises(DeliveryError, match="No channel is called 'pager'"):
        await OtherChannels({}).send(message(TEXT, chat="apprise:pager"))


def test_an_url_of_nothing_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match=r"alerts\.channels\.x is not an URL") as refused:
        OtherChannels({"x": "s3cret"})

    assert "s3cret" not in str(refused.value)
