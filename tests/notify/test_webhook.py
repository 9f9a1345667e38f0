"""Webhook mode against the stand-in, which hands updates over as Telegram does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from keeper.devnet.bot_api import TOKEN, BotApi
from keeper.errors import Unavailable
from keeper.notify.bot import TelegramBot
from keeper.notify.telegram import TelegramApi
from keeper.notify.webhook import HEADER, Webhook
from tests.notify.build import CHAT, MemoryDesk, MemoryOutbox

SECRET = "a-secret-of-this-test_01"


@asynccontextmanager
async def listening(server: BotApi, desk: MemoryDesk) -> AsyncIterator[Webhook]:
    async with TelegramApi(TOKEN, server.url) as api:
        bot = TelegramBot(api, desk, allowed=frozenset({CHAT}))
        hook = Webhook(api, bot, desk, url="", secret=SECRET)
        running = asyncio.create_task(hook.run())
        try:
            async with asyncio.timeout(10):
                while server.webhook is None:
                    await asyncio.sleep(0.01)
                    assert not running.done(), running
            yield hook
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def texts(desk: MemoryDesk) -> list[str]:
    return [one.text for one in desk.outbox.rows.values()]


async def post(url: str, body: object, secret: str | None) -> int:
    headers = {} if secret is None else {HEADER: secret}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as answer,
    ):
        return answer.status


async def test_a_command_is_answered_once_however_often_it_is_handed_over() -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with BotApi().serve() as server, listening(server, desk) as hook:
        assert server.webhook == (hook.address, SECRET)
        assert hook.address.startswith("http://127.0.0.1:")
        update_id = await server.say(4711, "/list")
        again = {"update_id": update_id, "message": None}
        assert await post(hook.address, again, SECRET) == 200
        await server.say(4711, "/mode")

    assert texts(desk) == [
        "Nothing is watched for this chat: send /watch ADDRESS.",
        "ethereum: watch-only",
    ]
    assert desk.remembered == [update_id, update_id + 1]


@pytest.mark.parametrize("secret", [None, "", SECRET[:-1], SECRET + "x", SECRET.upper(), "\udc80"])
async def test_who_does_not_know_the_secret_is_turned_away_unread(secret: str | None) -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with BotApi().serve() as server, listening(server, desk) as hook:
        said = (
            None if secret is None else secret.encode("utf-8", "surrogateescape").decode("latin-1")
        )
        status = await post(hook.address, {"update_id": 5, "message": {}}, said)

    assert status == 403
    assert desk.remembered == []
    assert texts(desk) == []


@pytest.mark.parametrize(
    "body", [None, 7, [], {}, {"update_id": "x"}, {"update_id": "x", "message": []}, "text"]
)
async def test_what_cannot_be_read_stops_nothing(body: object) -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with BotApi().serve() as server, listening(server, desk) as hook:
        assert await post(hook.address, body, SECRET) == 200
        await server.say(4711, "/mode")

    assert texts(desk) == ["ethereum: watch-only"]


async def test_a_body_without_end_is_refused() -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with BotApi().serve() as server, listening(server, desk) as hook:
        assert await post(hook.address, {"update_id": 1, "x": "x" * 400_000}, SECRET) == 413


async def test_a_port_that_is_taken_is_one_plain_sentence() -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with BotApi().serve() as server, listening(server, desk) as hook:
        port = int(hook.address.rsplit(":", 1)[1].partition("/")[0])
        async with TelegramApi(TOKEN, server.url) as api:
            bot = TelegramBot(api, desk, allowed=frozenset({CHAT}))
            second = Webhook(api, bot, desk, url="", secret=SECRET, port=port)

            with pytest.raises(Unavailable, match=r"another telegram\.webhook_port, or 0 for any"):
                await second.run()
