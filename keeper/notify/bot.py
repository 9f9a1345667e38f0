"""The Telegram bot: reads commands by long polling and answers through the outbox.

It listens to plain text messages that a person wrote in an allowed chat within the last minute, and
to taps on its own buttons there; edited, forwarded, channel, anonymous and bot messages are passed
over.  A stranger is told once which number to give to the operator.  What moves money or stops it
is decided by the user's id and never by the chat: see `keeper.notify.commands`.

Each reply is an outbox row whose key is the update's id, so that an update that is handled twice
(a crash before its id was written down) is answered once.  The offset is sent to Telegram once per
batch and then left out: identifiers start anew at random after a quiet week, and an old offset
would swallow the new ones.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from telegram import BotCommand, CallbackQuery, Update
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError

from keeper.alerts.numbers import LABEL_CHARS
from keeper.alerts.render import more
from keeper.alerts.replies import (
    COMMANDS,
    commands_in,
    health_reply,
    help_text,
    list_text,
    start_text,
    stranger_text,
    watching_text,
)
from keeper.alerts.speech import reply_of
from keeper.errors import ConfigError, KeeperError
from keeper.model import Message, Severity, Watch
from keeper.notify.commands import Asker, Commands, Reply, nothing_watched
from keeper.notify.desk import Desk
from keeper.notify.languages import LANGUAGES, speech_of
from keeper.notify.passed import why_not_message, why_not_tap
from keeper.notify.telegram import TelegramApi
from keeper.notify.words import (
    BadWord,
    Command,
    checksummed,
    parse_address,
    parse_command,
    parse_watch,
)

log = structlog.get_logger(__name__)

LONG_POLL_S: Final = 25
STRANGERS_PER_HOUR: Final = 20
COMMANDS_PER_MINUTE: Final = 30
REPLAY_SPAN: Final = 10_000
"""An update id so little below the last one is a replay; one further below is a new count."""
_WATCHED_AT_MOST: Final = 20


@dataclass(slots=True)
class _Allowance:
    """So many of something in so many seconds."""

    number: int
    within_s: float
    _taken: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        """Count one; False when the allowance is used up."""
        while self._taken and now - self._taken[0] >= self.within_s:
            self._taken.popleft()
        if len(self._taken) >= self.number:
            return False
        self._taken.append(now)
        return True


class TelegramBot:
    """Answers commands.  `run` it in a task beside the engine."""

    def __init__(
        self,
        api: TelegramApi,
        desk: Desk,
        *,
        allowed: frozenset[str],
        operators: tuple[str, ...] = (),
        users: frozenset[int] = frozenset(),
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        long_poll_s: int = LONG_POLL_S,
        language: str = "en",
    ) -> None:
        """`allowed`: chats as ``telegram:<number>``; operators' chats too.  Empty: nobody.

        `users`: Telegram user ids that may act.  A chat is no person: none of them may.
        `language`: what strangers hear, and whoever's own is none of ours.
        """
        self._language = language
        self._api = api
        self._desk = desk
        self._allowed = allowed | frozenset(operators)
        self._operators = operators
        self._users = users
        self._commands = Commands(desk)
        self._wall = wall
        self._sleep = sleep
        self._long_poll_s = long_poll_s
        self._name: str | None = None
        self._strangers = _Allowance(STRANGERS_PER_HOUR, 3600)
        self._told: set[str] = set()
        self._busy: dict[str, _Allowance] = {}
        self.last_poll_at: float | None = None
        """Wall-clock seconds of Telegram's last answer, for the health endpoint."""

    async def run(self) -> None:
        """Poll until cancelled.  Telegram's troubles are waited out; the desk's are logged."""
        offset: int | None = None
        last = await self._desk.last_update()
        failures = 0
        while True:
            try:
                if self._name is None:
                    await self._api.bot.delete_webhook()  # of another mode: it shuts polling out
                    await self.introduce()
                updates = await self._api.bot.get_updates(
                    offset=offset,
                    timeout=self._long_poll_s,
                    allowed_updates=["message", "callback_query"],
                )
            except (TelegramError, KeeperError) as error:
                failures += 1
                await self._sleep(await self._trouble(error, failures))
                continue
            failures = 0
            self.last_poll_at = self._wall()
            offset = None
            for update in updates:
                offset = update.update_id + 1
                if last is None or not last - REPLAY_SPAN < update.update_id <= last:
                    await self.take(update)
                    last = update.update_id

    async def introduce(self) -> None:
        """Learn the bot's own name and tell Telegram its commands.  Raises `TelegramError`."""
        self._name = await self._api.identify()
        for language in ("", *LANGUAGES):  # without one: whoever's own language we do not speak
            say = speech_of(language or self._language)
            menu = [
                BotCommand(name, f"{what} {usage}".strip()[:256])
                for name, usage, what in commands_in(say)
            ]
            await self._api.bot.set_my_commands(menu, language_code=language or None)
        log.info("telegram.started", bot=self._name, allowed=len(self._allowed))

    async def _trouble(self, error: TelegramError | KeeperError, failures: int) -> float:
        """Say what is wrong; return the seconds to wait."""
        said = self._api.redact(str(error))
        wait_s = min(30.0, 2.0 ** min(failures - 1, 5))
        match error:
            case Conflict():
                log.error("telegram.conflict", error=said, wait_s=30.0)
                await self._alarm()
                return 30.0
            case RetryAfter():
                after = error.retry_after
                wait_s = float(after) if isinstance(after, int) else after.total_seconds()
            case InvalidToken() | ConfigError():
                log.error("telegram.token_refused", error=said, wait_s=60.0)
                return 60.0
            case _:
                pass
        log.warning("telegram.unreachable", error=said, failures=failures, wait_s=wait_s)
        return wait_s

    async def _alarm(self) -> None:
        """Tell the operators that somebody else reads this bot's messages, once an hour."""
        hour = int(self._wall()) // 3600
        for operator in self._operators:
            try:
                say = speech_of(await self._desk.language(operator))
                await self._say(
                    key=f"telegram_conflict#{hour}@{operator}",
                    chat=operator,
                    severity=Severity.CRITICAL,
                    kind="fault",
                    text="⚠️ "
                    + say(
                        "Keeper: another program reads this bot's messages (409). If it is "
                        "not yours, revoke the token at @BotFather now."
                    ),
                )
            except Exception:  # one operator not told must not keep it from the next
                log.exception("telegram.alarm_failed", chat=operator)

    async def take(self, update: Update) -> None:
        """Handle one update and remember it: one that cannot be handled stops no other."""
        try:
            await self._handle(update)
        except Exception:  # the top of an update: one that cannot be handled stops no other
            log.exception("command.crashed", update=update.update_id)
        try:
            await self._desk.remember(update.update_id)
        except Exception:  # the same: at worst it is handled once more
            log.exception("command.not_remembered", update=update.update_id)

    async def _handle(self, update: Update) -> None:
        if update.callback_query is not None:
            await self._tapped(update, update.callback_query)
            return
        message = update.message
        why_not = why_not_message(update, self._wall())
        if message is None or message.from_user is None or why_not:
            log.info("command.ignored", update=update.update_id, reason=why_not)
            return
        chat = f"telegram:{message.chat.id}"
        command = parse_command(message.text or "")
        if chat not in self._allowed:
            if command is not None or message.chat.id > 0:
                await self._stranger(chat)
            return
        private = message.chat.id > 0
        if not private and (command is None or not self._meant(command)):
            return
        if not self._busy_with(chat):
            log.warning("command.ignored", update=update.update_id, reason="too many", chat=chat)
            return
        asker = await self._spoken_to(self._asker(chat, message.from_user.id))
        try:
            reply = await self._answer(asker, command)
        except KeeperError as error:
            reply = Reply(text=self._api.redact(reply_of(error, asker.say)))
        name = command.name if command else ""
        log.info("command.answered", update=update.update_id, chat=chat, command=name)
        await self._reply(chat, update.update_id, reply)

    async def _tapped(self, update: Update, query: CallbackQuery) -> None:
        """Answer a tap on a button: of a person, under one of our messages, in an allowed chat."""
        message = query.message
        chat = "" if message is None else f"telegram:{message.chat.id}"
        why_not = why_not_tap(query, self._api.bot_id)
        if not why_not and chat not in self._allowed:
            why_not = "not allowed"
        if not why_not and not self._busy_with(chat):
            why_not = "too many"
        if why_not:
            log.info("command.ignored", update=update.update_id, reason=why_not)
            return
        asker = await self._spoken_to(self._asker(chat, query.from_user.id))
        try:
            reply = await self._commands.tapped(asker, query.data or "")
        except KeeperError as error:
            reply = Reply(text=self._api.redact(reply_of(error, asker.say)))
        await self._api.tap_seen(query.id)
        verb = (query.data or "").partition(":")[0][:16]
        log.info("command.answered", update=update.update_id, chat=chat, command=f"tap {verb}")
        if reply is not None:
            await self._reply(chat, update.update_id, reply)

    def _asker(self, chat: str, user: int) -> Asker:
        return Asker(chat=chat, user=user, operator=user in self._users)

    async def _spoken_to(self, asker: Asker) -> Asker:
        """Return whoever asks with the language of their chat."""
        return replace(asker, say=speech_of(await self._desk.language(asker.chat)))

    def _busy_with(self, chat: str) -> bool:
        """Count a command of an allowed chat; False when there are too many."""
        allowance = self._busy.setdefault(chat, _Allowance(COMMANDS_PER_MINUTE, 60))
        return allowance.take(self._wall())

    async def _reply(self, chat: str, update_id: int, reply: Reply) -> None:
        await self._desk.reply(
            Message(
                key=f"reply/{chat}#{update_id}",
                chat=chat,
                severity=Severity.INFO,
                kind="reply",
                text=reply.text,
                buttons=reply.buttons,
                chart=reply.chart,
            )
        )

    def _meant(self, command: Command) -> bool:
        """Whether a group's command is for this bot: named, or one that it knows."""
        if command.bot:
            return self._name is not None and command.bot.lower() == self._name.lower()
        return command.name in {name for name, _, _ in COMMANDS} | {"start"}

    async def _stranger(self, chat: str) -> None:
        if chat in self._told or not self._strangers.take(self._wall()):
            return
        self._told.add(chat)
        log.warning("telegram.stranger", chat=chat)
        await self._say(
            key=f"stranger/{chat}",
            chat=chat,
            severity=Severity.INFO,
            kind="reply",
            text=stranger_text(chat, speech_of(self._language)),
        )

    async def _answer(self, asker: Asker, command: Command | None) -> Reply:
        if command is None:
            return Reply(text=asker.say("Send /help for what I understand."))
        richer = await self._commands.answer(asker, command.name, command.arguments)
        if richer is not None:
            return richer
        return Reply(text=await self._plain_answer(asker, command))

    async def _plain_answer(self, asker: Asker, command: Command) -> str:
        chat, say = asker.chat, asker.say
        match command.name:
            case "start":
                text = start_text(say)
            case "help":
                text = help_text(say)
            case "watch":
                text = await self._watch(asker, command)
            case "unwatch":
                text = await self._unwatch(asker, command)
            case "list":
                text = list_text(
                    self._desk.shown(await self._desk.watches(chat)), self._desk.thresholds, say
                )
            case "hf":
                text = await self._health(asker, command)
            case "status":
                text = await self._desk.status(say)
            case _:
                text = say(
                    "I do not know /{command}. Send /help for what I understand.",
                    command=command.name,
                )
        return text

    async def _watch(self, asker: Asker, command: Command) -> str:
        say = asker.say
        wanted = parse_watch(command.arguments)
        account, label, name = wanted.account, wanted.label, ""
        if account is None:
            found = await self._desk.resolve(wanted.name)
            account, name = found.account, found.name
            label = label or (name if len(name) <= LABEL_CHARS else "")
        watch = Watch(chat=asker.chat, account=account, label=label, thresholds=wanted.thresholds)
        before = await self._desk.watch(watch, name)
        shown = checksummed(account)
        if name and name != label:
            shown = f"{name}, {shown}"
        said = watching_text(watch, shown, self._desk.thresholds, say)
        if before is None:
            return said
        was = list_text((before,), self._desk.thresholds, say)
        return "\n".join((said, say("Instead of: {watch}", watch=was)))

    async def _unwatch(self, asker: Asker, command: Command) -> str:
        if not command.arguments:
            raise BadWord("Send /unwatch and a label or an address, as /list shows them.")
        name = " ".join(command.arguments)
        if name.lower().startswith("0x"):
            name = parse_address(name)
        ended = await self._desk.unwatch(asker.chat, name)
        if ended is None:
            raise nothing_watched(name)
        label = f"{ended.label} " if ended.label else ""
        shown = f"{label}{checksummed(ended.account)}"
        return asker.say("No longer watching {name}.", name=shown)

    async def _health(self, asker: Asker, command: Command) -> str:
        chat, say = asker.chat, asker.say
        name = " ".join(command.arguments)
        watches = await self._desk.watches(chat)
        if name.lower().startswith("0x"):
            account = parse_address(name)
            mine = tuple(one for one in watches if one.account == account) or (
                Watch(chat=chat, account=account, label=""),
            )
        else:
            folded = name.casefold()
            mine = tuple(one for one in watches if not name or one.label.casefold() == folded)
        if not mine:
            raise nothing_watched(name)
        lines: list[str] = []
        for watch in self._desk.shown(mine[:_WATCHED_AT_MOST]):
            levels = watch.thresholds or self._desk.thresholds
            found = await self._desk.health(watch.account)
            lines.extend(health_reply(watch.label, one, levels, say) for one in found)
            if not found:
                shown = watch.label or checksummed(watch.account)
                lines.append(say("{name}: no position found.", name=shown))
        return "\n".join((*lines, *more(len(mine) - _WATCHED_AT_MOST, say)))

    async def _say(self, *, key: str, chat: str, severity: Severity, kind: str, text: str) -> None:
        await self._desk.reply(Message(key=key, chat=chat, severity=severity, kind=kind, text=text))
