"""Telegram as a channel: one bot token's connection, and messages sent through it.

python-telegram-bot does the Bot API; its errors become `DeliveryError` here.  Messages are plain
text without a parse mode and without link previews.  The token is part of every URL and of some of
the library's error texts: it is taken out of all that leaves this module, and the libraries' own
loggers are set to WARNING because httpx prints each URL at INFO.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

# The library's own switch for durations as timedelta; without it each 429 is a warning.
os.environ.setdefault("PTB_TIMEDELTA", "true")

import httpx
import structlog
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    ReplyParameters,
)
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    RetryAfter,
    TelegramError,
    TimedOut,
)
from telegram.request import HTTPXRequest

from keeper.alerts.render import clip
from keeper.errors import ConfigError, DeliveryError
from keeper.model import Message, Severity
from keeper.secrecy import masked, secrets_of

log = structlog.get_logger(__name__)

API_URL: Final = "https://api.telegram.org"
TIMEOUT_S: Final = 15.0
DRAW_LIMIT_S: Final = 10.0
Draw = Callable[[str, str], Awaitable[bytes | None]]
_CAPTION_CHARS: Final = 1000
"""Telegram takes 1024 UTF-16 units under a picture; longer texts go without one."""
_QUIET: Final = ("httpx", "httpcore", "telegram")
_NO_PREVIEW: Final = LinkPreviewOptions(is_disabled=True)
_GONE: Final = ("chat not found", "user is deactivated", "peer_id_invalid", "bot was kicked")
"""How a 400 begins or ends that no later attempt will cure.  A hint: a chat that is disabled by
mistake is said to the operators and can be enabled again."""


class TelegramApi:
    """The connection of one bot token.  Use as an async context manager."""

    def __init__(self, token: str, api_url: str = API_URL) -> None:
        """Connect nothing yet.  Raises `ConfigError` for a token or URL that cannot be right."""
        _check(token, api_url)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._token = token
        self._secrets = {token, token.partition(":")[2], *secrets_of(api_url)}
        self._requests = (
            HTTPXRequest(connection_pool_size=2, read_timeout=TIMEOUT_S, connect_timeout=TIMEOUT_S),
            HTTPXRequest(
                connection_pool_size=16,
                read_timeout=TIMEOUT_S,
                connect_timeout=TIMEOUT_S,
                pool_timeout=TIMEOUT_S,
            ),
        )
        self.bot = Bot(
            token=token,
            base_url=f"{api_url.rstrip('/')}/bot",
            base_file_url=f"{api_url.rstrip('/')}/file/bot",
            request=self._requests[1],
            get_updates_request=self._requests[0],
        )

    async def __aenter__(self) -> Self:
        """Ask nothing of Telegram: the keeper starts while Telegram is down."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close both connection pools."""
        for request in self._requests:
            await request.shutdown()

    def redact(self, text: str) -> str:
        """Return `text` without the token and the secrets of the URL."""
        return masked(text, self._secrets)

    @property
    def bot_id(self) -> int:
        """The bot's own user id: the number its token begins with."""
        return int(self._token.partition(":")[0])

    async def tap_seen(self, query_id: str) -> None:
        """Tell Telegram that a tap was taken; the answer is a message and does not depend on it."""
        try:
            await self.bot.answer_callback_query(query_id)
        except TelegramError as error:
            log.info("telegram.tap_unanswered", error=self.redact(str(error)))

    async def identify(self) -> str:
        """Return the bot's user name.

        Raises `ConfigError` if Telegram does not know the token, `DeliveryError` if it could not
        be asked.
        """
        try:
            return (await self.bot.get_me()).username or "nameless"
        except InvalidToken:
            raise ConfigError(
                "Telegram does not know the bot token: put the one @BotFather gave into "
                "telegram.token."
            ) from None
        except TelegramError as error:
            raise DeliveryError(f"Telegram did not answer: {self.redact(str(error))}") from None


def _check(token: str, api_url: str) -> None:
    number, colon, secret = token.partition(":")
    if not (colon and number.isascii() and number.isdigit() and len(secret) >= 8):
        raise ConfigError(
            "telegram.token is not a bot token: it looks like 123456789:AA.., ask @BotFather."
        )
    url = urlsplit(api_url)
    local = url.hostname in ("127.0.0.1", "::1", "localhost")
    if url.scheme != "https" and not (url.scheme == "http" and local):
        raise ConfigError(
            "telegram.api_url must begin with https://, or with http:// on this machine: the "
            "token is part of every request."
        )


def _answers(reply_to: str) -> ReplyParameters | None:
    """Return what makes it a reply; one to a message that is gone is sent all the same."""
    if not (reply_to.isascii() and reply_to.isdigit()):
        return None
    return ReplyParameters(message_id=int(reply_to), allow_sending_without_reply=True)


def _keyboard(message: Message) -> InlineKeyboardMarkup | None:
    """Return the message's buttons, two in a row."""
    pressed = [
        InlineKeyboardButton(button.label, callback_data=button.data) for button in message.buttons
    ]
    if not pressed:
        return None
    return InlineKeyboardMarkup([pressed[at : at + 2] for at in range(0, len(pressed), 2)])


class TelegramChannel:
    """Sends messages to ``telegram:<chat id>``."""

    prefix = "telegram"

    def __init__(self, api: TelegramApi, draw: Draw | None = None) -> None:
        """`draw`: makes a PNG of what `Message.chart` names; None where there is none."""
        self._api = api
        self._draw = draw
        self._moved: dict[int, int] = {}

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:
        """Return when Telegram acknowledged, with the number of its message.

        Raises `DeliveryError`: with `retry_after_s` for a 429, permanent for a chat that will
        never take it, else to be tried again.  A lost reply is sent again: at least once.
        """
        chat = chat_id(message.chat)
        try:
            return await self._send(self._moved.get(chat, chat), message, reply_to)
        except ChatMigrated as moved:
            # A group became a supergroup.  Its old id keeps answering so; nothing is lost.
            self._moved[chat] = moved.new_chat_id
            log.warning("chat.moved", chat=message.chat, new_chat=f"telegram:{moved.new_chat_id}")
            try:
                return await self._send(moved.new_chat_id, message, "")
            except TelegramError as error:
                raise self._failure(message.chat, error) from None
        except TelegramError as error:
            raise self._failure(message.chat, error) from None

    async def _send(self, chat: int, message: Message, reply_to: str) -> str:
        text = clip(message.text) or "(an empty message)"
        quiet = message.severity is Severity.INFO
        answers = _answers(reply_to)
        picture = await self._picture(message)
        if picture is not None:
            sent = await self._api.bot.send_photo(
                chat_id=chat,
                photo=picture,
                filename="chart.png",
                caption=text,
                disable_notification=quiet,
                reply_parameters=answers,
                reply_markup=_keyboard(message),
            )
        else:
            sent = await self._api.bot.send_message(
                chat_id=chat,
                text=text,
                disable_notification=quiet,
                link_preview_options=_NO_PREVIEW,
                reply_parameters=answers,
                reply_markup=_keyboard(message),
            )
        return str(sent.message_id)

    async def _picture(self, message: Message) -> bytes | None:
        """Return the message's chart; a picture that fails holds up no message."""
        if not message.chart or self._draw is None or len(message.text) > _CAPTION_CHARS:
            return None
        try:
            async with asyncio.timeout(DRAW_LIMIT_S):
                return await self._draw(message.chart, message.chat)
        except Exception:  # a picture that cannot be drawn holds up no message
            log.exception("chart.failed", chart=message.chart)
            return None

    def _failure(self, chat: str, error: TelegramError) -> DeliveryError:
        said = self._api.redact(str(error)).rstrip(".")
        match error:
            case RetryAfter():
                after = error.retry_after
                seconds = float(after) if isinstance(after, int) else after.total_seconds()
                return DeliveryError(
                    f"Telegram asks to wait {seconds:.0f} s before {chat}.", retry_after_s=seconds
                )
            case Forbidden():
                return DeliveryError(f"Telegram refuses {chat}: {said}.", permanent=True)
            case BadRequest() if any(sign in said.lower() for sign in _GONE):
                return DeliveryError(f"Telegram refuses {chat}: {said}.", permanent=True)
            case InvalidToken():
                return DeliveryError("Telegram refuses the bot token: check telegram.token.")
            case TimedOut():
                return DeliveryError(
                    f"Telegram did not acknowledge a message to {chat} in time.",
                    maybe_taken=_handed_over(error),
                )
            case _:
                return DeliveryError(
                    f"Telegram could not deliver to {chat}: {said}.",
                    maybe_taken=_handed_over(error),
                )


def _handed_over(error: TelegramError) -> bool:
    """Whether the request was on its way when the connection failed: it may have had its effect.

    An answer, also a 5xx, is an answer; a connection that was never made handed nothing over.
    """
    cause = error.__cause__
    never = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    return isinstance(cause, httpx.HTTPError) and not isinstance(cause, never)


def chat_id(chat: str) -> int:
    """Return the number of ``telegram:<number>``.  Raises a permanent `DeliveryError`."""
    prefix, _, number = chat.partition(":")
    if prefix != "telegram" or not number.lstrip("-").isdigit() or not number.isascii():
        raise DeliveryError(
            f"{chat!r} is not a Telegram chat: write telegram: and the chat's number.",
            permanent=True,
        )
    return int(number)
