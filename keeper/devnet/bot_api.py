"""A local stand-in of Telegram's Bot API, for tests and the demo.

It stands in for what cannot run here: Telegram's servers.  It speaks as much of the HTTP interface
as python-telegram-bot needs, on loopback, and keeps a transcript.  What it does not do: check
rights, filter updates by ``allowed_updates`` (a listener must cope), or keep anything on disk.
It can be told to misbehave the ways the real one does.

One file, though it is long: one server, a short method for each of the real one's.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout, web

TOKEN: Final = "1234567890:AAstand-in-for-tests-and-the-demo-01"  # noqa: S105 - opens nothing
BOT_NAME: Final = "keeper_demo_bot"
_TEXT_UNITS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of the transcript, in either direction."""

    chat_id: int
    text: str
    by_bot: bool
    message_id: int
    at: float
    """Seconds of the event loop's clock."""
    silent: bool = False
    buttons: tuple[tuple[str, str], ...] = ()
    """Label and data of each button under it."""
    photo: bytes = b""
    reply_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """How one call goes wrong."""

    status: int = 500
    """HTTP status and ``error_code``; 429 with `retry_after`, 403 as a blocked bot, 409, 5xx."""
    retry_after: int | None = None
    lost: bool = False
    """The call takes effect, and the connection breaks before the answer."""
    html: bool = False
    """The answer is a proxy's HTML page."""
    migrate_to: int | None = None
    """A 400 that names the group's new chat id."""
    description: str = ""


_DESCRIPTIONS: Final = {
    400: "Bad Request: chat not found",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    409: "Conflict: terminated by other getUpdates request; make sure that only one bot instance "
    "is running",
    429: "Too Many Requests: retry later",
}


class BotApi:
    """The server: `serve` it, point a bot's ``base_url`` at `url`, and talk to it."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.url = ""
        self.transcript: list[Said] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Every call as (method, parameters), also those that went wrong."""
        self.blocked: set[int] = set()
        """Chats that blocked the bot: 403 for good."""
        self.webhook: tuple[str, str] | None = None
        """URL and secret, once a bot has set them: updates are handed over there."""
        self.on_sent: Callable[[Said], None] | None = None
        """Called with each message of the bot as it is accepted."""
        self._ids = itertools.count(1)
        self._update_ids = itertools.count(700_000_001)
        self._updates: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._poll = 0
        self._faults: dict[tuple[str, int | None], deque[Misbehaviour]] = {}

    # --- for the test and the demo ------------------------------------------------------------

    @property
    def sent(self) -> tuple[Said, ...]:
        """What the bot said and the stand-in accepted, oldest first."""
        return tuple(said for said in self.transcript if said.by_bot)

    def texts(self, chat_id: int) -> tuple[str, ...]:
        """The bot's messages of one chat, oldest first."""
        return tuple(said.text for said in self.sent if said.chat_id == chat_id)

    def misbehave(
        self, *how: Misbehaviour, method: str = "sendMessage", chat_id: int | None = None
    ) -> None:
        """Let the next calls of `method` (for `chat_id`, if given) go wrong, one each."""
        self._faults.setdefault((method.lower(), chat_id), deque()).extend(how)

    async def say(
        self, chat_id: int, text: str, /, *, user_id: int | None = None, **fields: Any
    ) -> int:
        """A person writes `text`; return the update's id.

        `fields` go into the message, over what is there: ``date``, ``forward_origin``, ...
        """
        message_id = next(self._ids)
        self._note(chat_id, text, message_id, by_bot=False)
        message = {
            "message_id": message_id,
            "date": int(time.time()),
            "chat": _chat(chat_id),
            "from": _person(abs(chat_id) if user_id is None else user_id),
            "text": text,
        }
        if text.startswith("/"):
            length = len(text.split(maxsplit=1)[0].encode("utf-16-le")) // 2
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        return await self.inject({"message": message | fields})

    async def press(
        self, said: Said, label: str, *, user_id: int | None = None, **fields: Any
    ) -> int:
        """Someone taps a button under a message of the bot; return the update's id.

        `fields` go into the callback query, over what is there.
        """
        data = next(data for text, data in said.buttons if text == label)
        person = _person(abs(said.chat_id) if user_id is None else user_id)
        self._note(said.chat_id, f"taps [{label}]", next(self._ids), by_bot=False)
        message = _message(said.chat_id, said.message_id, said.text) | {"from": _bot(self.token)}
        query = {
            "id": str(next(self._ids)),
            "from": person,
            "chat_instance": "1",
            "message": message,
            "data": data,
        }
        return await self.inject({"callback_query": query | fields})

    async def inject(self, update: dict[str, Any]) -> int:
        """Queue any update as it is, such as an ``edited_message``; return its id."""
        update_id = int(update.get("update_id", next(self._update_ids)))
        if self.webhook is not None:
            await self._push({"update_id": update_id} | update)
            return update_id
        async with self._news:
            self._updates.append({"update_id": update_id} | update)
            self._news.notify_all()
        return update_id

    async def heard(self, chat_id: int, containing: str, *, within_s: float = 10.0) -> Said:
        """Wait until the bot said something with `containing` in it, and return the first.

        Raises TimeoutError with what was said instead.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while True:
            for said in self.sent:
                if said.chat_id == chat_id and containing in said.text:
                    return said
            if loop.time() >= until:
                raise TimeoutError(f"{containing!r} was not said to {chat_id}: {self.sent}")
            await asyncio.sleep(0.01)

    async def _push(self, update: dict[str, Any]) -> None:
        """Hand an update to the webhook, with its secret, until it says 200; thrice at the most."""
        assert self.webhook is not None
        url, secret = self.webhook
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
        async with ClientSession(timeout=ClientTimeout(total=10)) as session:
            for _ in range(3):
                async with session.post(url, json=update, headers=headers) as answer:
                    if answer.status == 200:
                        return

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator["BotApi"]:
        """Listen on loopback, on a free port by default, until the block ends."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/bot{token}/{method}", self._call)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            host, bound = runner.addresses[0][:2]
            self.url = f"http://{host}:{bound}"
            yield self
        finally:
            async with self._news:
                self._poll += 1  # lets a waiting long poll go
                self._news.notify_all()
            await runner.cleanup()

    # --- the wire -----------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return _error(401)
        method = request.match_info["method"].lower()
        given = await _parameters(request)
        self.calls.append((method, given))
        fault = self._fault(method, given)
        if fault is not None and not fault.lost:
            return _misbehaved(fault)
        answer = await self._answer(method, given)
        if fault is not None and request.transport is not None:
            request.transport.abort()
        return answer

    def _fault(self, method: str, given: dict[str, Any]) -> Misbehaviour | None:
        chat_id = int(given["chat_id"]) if "chat_id" in given else None
        for key in ((method, chat_id), (method, None)):
            waiting = self._faults.get(key)
            if waiting:
                return waiting.popleft()
        if method.startswith("send") and chat_id in self.blocked:
            return Misbehaviour(status=403)
        return None

    async def _answer(self, method: str, given: dict[str, Any]) -> web.Response:
        if method in _FIXED:
            return _ok(_FIXED[method])
        match method:
            case "getme":
                answer = _ok(_bot(self.token))
            case "setwebhook":
                self.webhook = str(given["url"]), str(given.get("secret_token", ""))
                answer = _ok(True)  # noqa: FBT003 - what Telegram answers
            case "deletewebhook":
                self.webhook = None
                answer = _ok(True)  # noqa: FBT003 - what Telegram answers
            case "getupdates":
                answer = await self._get_updates(given)
            case "sendmessage":
                answer = self._send(given, str(given.get("text", "")))
            case "sendphoto":
                photo = next((one for one in given.values() if isinstance(one, bytes)), b"")
                answer = self._send(given, str(given.get("caption", "")), {"photo": []}, photo)
            case "editmessagetext":
                answer = self._edit(given)
            case _:
                answer = _error(404, "Not Found: method not found")
        return answer

    async def _get_updates(self, given: dict[str, Any]) -> web.Response:
        """Long poll; a second poller ends the first with 409, as Telegram has it."""
        offset = int(given.get("offset", 0) or 0)
        limit = int(given.get("limit", 100) or 100)
        timeout = float(given.get("timeout", 0) or 0)
        async with self._news:
            self._poll += 1
            mine = self._poll
            self._news.notify_all()
            if offset:
                self._updates = [one for one in self._updates if one["update_id"] >= offset]
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait_for(lambda: self._updates or self._poll != mine)
            except TimeoutError:
                return _ok([])
            if self._poll != mine:
                return _error(409)
            return _ok(self._updates[:limit])

    def _send(
        self,
        given: dict[str, Any],
        text: str,
        more: dict[str, Any] | None = None,
        photo: bytes = b"",
    ) -> web.Response:
        chat_id = int(given["chat_id"])
        if not text and more is None:
            return _error(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) > 2 * _TEXT_UNITS:
            return _error(400, "Bad Request: message is too long")
        message_id = next(self._ids)
        silent = str(given.get("disable_notification", "")).lower() == "true"
        said = self._note(chat_id, text, message_id, by_bot=True, silent=silent)
        said = replace(said, buttons=_buttons(given), photo=photo, reply_to=_replied(given))
        self.transcript[-1] = said
        if self.on_sent is not None:
            self.on_sent(said)
        return _ok(_message(chat_id, message_id, text) | (more or {}))

    def _edit(self, given: dict[str, Any]) -> web.Response:
        chat_id, message_id = int(given["chat_id"]), int(given["message_id"])
        text = str(given.get("text", ""))
        for at, said in enumerate(self.transcript):
            if said.by_bot and (said.chat_id, said.message_id) == (chat_id, message_id):
                self.transcript[at] = Said(
                    chat_id=chat_id,
                    text=text,
                    by_bot=True,
                    message_id=message_id,
                    at=said.at,
                    silent=said.silent,
                )
                edited = {"edit_date": int(time.time())}
                return _ok(_message(chat_id, message_id, text) | edited)
        return _error(400, "Bad Request: message to edit not found")

    def _note(
        self, chat_id: int, text: str, message_id: int, *, by_bot: bool, silent: bool = False
    ) -> Said:
        said = Said(
            chat_id=chat_id,
            text=text,
            by_bot=by_bot,
            message_id=message_id,
            at=asyncio.get_running_loop().time(),
            silent=silent,
        )
        self.transcript.append(said)
        return said


async def _parameters(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(await request.json())
    posted = {
        name: value.file.read() if isinstance(value, web.FileField) else value
        for name, value in (await request.post()).items()
    }
    return {**request.query, **posted}


def _buttons(given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    markup = json.loads(given.get("reply_markup") or "{}")
    return tuple(
        (one["text"], one["callback_data"])
        for row in markup.get("inline_keyboard", ())
        for one in row
    )


def _replied(given: dict[str, Any]) -> int | None:
    answered = json.loads(given.get("reply_parameters") or "{}")
    return int(answered["message_id"]) if answered else None


_FIXED: Final[dict[str, Any]] = dict.fromkeys(
    (
        "answercallbackquery",
        "close",
        "deletemessage",
        "logout",
        "sendchataction",
        "setmycommands",
    ),
    True,
) | {"getwebhookinfo": {"url": "", "has_custom_certificate": False, "pending_update_count": 0}}


def _bot(token: str) -> dict[str, Any]:
    return {
        "id": int(token.partition(":")[0]),
        "is_bot": True,
        "first_name": "Keeper",
        "username": BOT_NAME,
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
    }


def _chat(chat_id: int) -> dict[str, Any]:
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": "Person"}
    return {"id": chat_id, "type": "supergroup", "title": "Group"}


def _person(user_id: int) -> dict[str, Any]:
    return {"id": user_id, "is_bot": False, "first_name": "Person"}


def _message(chat_id: int, message_id: int, text: str) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "date": int(time.time()),
        "chat": _chat(chat_id),
        "text": text,
    }


def _ok(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _error(
    status: int, description: str = "", parameters: dict[str, int] | None = None
) -> web.Response:
    body: dict[str, Any] = {
        "ok": False,
        "error_code": status,
        "description": description or _DESCRIPTIONS.get(status, "Internal Server Error"),
    }
    if parameters:
        body["parameters"] = parameters
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")


def _misbehaved(fault: Misbehaviour) -> web.Response:
    if fault.html:
        page = "<html><body><h1>502 Bad Gateway</h1></body></html>"
        return web.Response(status=fault.status, text=page, content_type="text/html")
    if fault.migrate_to is not None:
        return _error(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            {"migrate_to_chat_id": fault.migrate_to},
        )
    parameters = None if fault.retry_after is None else {"retry_after": fault.retry_after}
    return _error(fault.status, fault.description, parameters)
