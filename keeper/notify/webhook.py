"""Webhook mode of the bot: Telegram hands updates over instead of being asked for them.

A small server, on loopback by default, behind the operator's own reverse proxy with TLS.  Only a
request that carries the secret token we gave to Telegram is looked at; the comparison takes the
same time whatever was sent.  An update is answered with 200 once it was handled and remembered:
whatever a crash cuts off Telegram sends again, and an update that was handled is handled once.
Updates are taken one at a time, in the order they come.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from telegram import Update
from telegram.error import TelegramError

from keeper.listening import cannot_listen
from keeper.notify.bot import REPLAY_SPAN, TelegramBot
from keeper.notify.desk import Desk
from keeper.notify.telegram import TelegramApi

log = structlog.get_logger(__name__)

PATH: Final = "/telegram"
HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
MOST_BYTES: Final = 256 * 1024
RETRY_S: Final = 30.0


class Webhook:
    """The server.  `run` it in the place of the bot's own polling."""

    def __init__(
        self,
        api: TelegramApi,
        bot: TelegramBot,
        desk: Desk,
        *,
        url: str,
        secret: str,
        host: str = "127.0.0.1",
        port: int = 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`url`: where Telegram finds it, with https; `secret`: what Telegram shows us."""
        self._api = api
        self._bot = bot
        self._desk = desk
        self._url = url
        self._secret = secret.encode()
        self._host = host
        self._port = port
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._last: int | None = None
        self.listening = asyncio.Event()
        self.address = ""
        """``http://host:port/telegram``, once it listens."""

    async def run(self) -> None:
        """Listen until cancelled; Telegram is told where, again and again until it knows.

        Raises Unavailable while the port is taken, ConfigError where it never can be had.
        """
        self._last = await self._desk.last_update()
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post(PATH, self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, self._host, self._port).start()
            except OSError as error:
                raise cannot_listen("telegram", self._host, self._port, error) from error
            host, port = runner.addresses[0][:2]
            self.address = f"http://{host}:{port}{PATH}"
            self.listening.set()
            log.info("telegram.listening", host=host, port=port)
            await self._announce()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _announce(self) -> None:
        while True:
            try:
                await self._bot.introduce()
                await self._api.bot.set_webhook(
                    url=self._url or self.address,
                    secret_token=self._secret.decode(),
                    allowed_updates=["message", "callback_query"],
                    max_connections=1,
                )
            except TelegramError as error:
                said = self._api.redact(str(error)).replace(self._secret.decode(), "***")
                log.warning("telegram.unreachable", error=said, failures=1, wait_s=RETRY_S)
                await self._sleep(RETRY_S)
            else:
                return

    async def _take(self, request: web.Request) -> web.Response:
        shown = request.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, self._secret):
            log.warning("telegram.forged", peer=request.remote)
            return web.Response(status=403)
        try:
            update = Update.de_json(json.loads(await request.read()), self._api.bot)
            if not isinstance(update.update_id, int):
                raise TypeError("an update is known by its number")  # noqa: TRY301 - one way out
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            log.warning("telegram.garbled", peer=request.remote)
            return web.Response(status=200)  # the same would come again, and again
        async with self._turn:
            last = self._last
            if last is None or not last - REPLAY_SPAN < update.update_id <= last:
                await self._bot.take(update)
                self._last = update.update_id
        return web.Response(status=200)
