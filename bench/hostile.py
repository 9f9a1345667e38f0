"""C20: updates of people who mean harm, handed to the bot as Telegram would hand them over.

Whatever is sent, nothing that only an operator may do comes about: no pause, no resume, no offer,
no confirmation.  The enemy knows everything: the operator's user id, chat and name, codes of offers
that wait, and every field of the interface.  Planted bugs: a bot that trusts the chat, and one that
takes a code from anybody.
"""

import random
import string
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from telegram import Bot, Update

from bench.line import Line
from keeper.alerts.hush import alert_id
from keeper.devnet.bot_api import TOKEN
from keeper.model import Message
from keeper.notify.bot import TelegramBot
from keeper.notify.commands import Asker
from keeper.notify.telegram import TelegramApi
from tests.notify.build import ME, MemoryDesk, MemoryOutbox, firing

CHAT: Final = 4711
GROUP: Final = -100_200
BOSS: Final = 7009
"""The operator's user id; so the id of the private chat with the operator."""
BOT_ID: Final = int(TOKEN.partition(":")[0])
COMMANDS: Final = (
    "pause",
    "resume",
    "topup main",
    "topup",
    "PAUSE",
    "pause@keeper_demo_bot",
    "mode",
)


class QuietApi(TelegramApi):
    """Sends nothing."""

    async def tap_seen(self, query_id: str) -> None:
        """Nobody waits."""


class QuietDesk(MemoryDesk):
    """Keeps the last reply of each chat only."""

    def __init__(self) -> None:
        super().__init__(MemoryOutbox())
        self.firing = [firing(f"telegram:{chat}") for chat in (CHAT, GROUP, BOSS)]
        self.last: dict[str, Message] = {}

    async def reply(self, message: Message) -> None:
        """Note it."""
        self.last[message.chat] = message

    async def remember(self, update_id: int) -> None:
        """Nothing is handed out twice here."""


class TrustsTheChat(TelegramBot):
    """Planted: whoever writes in the operator's chat or group is the operator."""

    def _asker(self, chat: str, user: int) -> Asker:
        return Asker(chat=chat, user=user, operator=chat in self._operators)


class TrustsTheCode(TelegramBot):
    """Planted: a code is enough."""

    def _asker(self, chat: str, user: int) -> Asker:
        return Asker(chat=chat, user=BOSS, operator=True) if user else super()._asker(chat, user)


async def hostile(updates: int, *, seed: int) -> Line:
    """Return C20."""
    began = time.monotonic()
    effects = await attack(updates, seed=seed)
    few = max(500, updates // 100)
    chat = await attack(few, seed=seed, bot_type=TrustsTheChat)
    code = await attack(few, seed=seed, bot_type=TrustsTheCode)
    return Line(
        id="C20",
        what="privileged effects of hostile Telegram updates",
        value=len(effects),
        unit="effects",
        reach="0",
        ok=not effects and updates >= 100_000,
        runs=1,
        spread=(len(effects), len(effects)),
        context={
            "trials": updates,
            "seconds": time.monotonic() - began,
            "planted": {"trusts the chat": len(chat), "trusts the code": len(code)},
            "planted_caught": bool(chat and code),
        },
    )


async def attack(
    updates: int, *, seed: int, bot_type: type[TelegramBot] = TelegramBot
) -> tuple[str, ...]:
    """Hand `updates` over and return what came about that should not have."""
    chance = random.Random(seed)
    desk = QuietDesk()
    now = [time.time()]
    effects: list[str] = []
    async with QuietApi(TOKEN) as api:
        bot = bot_type(
            api,
            desk,
            allowed=frozenset({f"telegram:{CHAT}", f"telegram:{GROUP}"}),
            operators=(f"telegram:{BOSS}", f"telegram:{GROUP}"),
            users=frozenset({BOSS}),
            wall=lambda: now[0],
        )
        for number in range(updates):
            if number % 500 == 0:  # a real offer waits, and the enemy knows its code
                await bot.take(_update(api.bot, number, _text(BOSS, BOSS, "/topup main", now)))
                await bot.take(_update(api.bot, number, _tap(BOSS, BOSS, "top", desk, now)))
                desk.privileged.clear()
            offered = desk.offered
            made = chance.choice(_KINDS)(chance, desk, now[0])
            try:
                update = _update(api.bot, number, made)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue  # Telegram's library would not have handed it over either
            await bot.take(update)
            if desk.privileged or desk.offered != offered:
                effects.append(f"{made}")
                desk.privileged.clear()
            now[0] += 2.1  # slow enough for the flood gate
    return tuple(effects)


def _update(bot: Bot, number: int, made: Mapping[str, Any]) -> Update:
    update = Update.de_json({"update_id": number + 1, **made}, bot)
    assert update is not None
    return update


def _user(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "is_bot": False, "first_name": "Boss", "username": "boss", **more}


def _chat(number: int) -> dict[str, Any]:
    kind = "private" if number > 0 else "supergroup"
    return {"id": number, "type": kind, "title": "boss", "first_name": "Boss"}


def _text(chat: int, user: int, text: str, now: list[float], **more: Any) -> dict[str, Any]:
    return {"message": _message(chat, user, text, now[0], **more)}


def _message(chat: int, user: int, text: str, now: float, **more: Any) -> dict[str, Any]:
    return {
        "message_id": 1,
        "date": int(now),
        "chat": _chat(chat),
        "from": _user(user),
        "text": text,
        **more,
    }


def _tap(chat: int, user: int, what: str, desk: QuietDesk, now: list[float]) -> dict[str, Any]:
    return {"callback_query": _query(chat, user, f"{what}:{alert_id(desk.firing[-1])}", now[0])}


def _query(chat: int, user: int, data: str, now: float, **more: Any) -> dict[str, Any]:
    message = _message(chat, BOT_ID, "offer", now) | {"from": _user(BOT_ID, is_bot=True)}
    return {
        "id": "1",
        "from": _user(user),
        "chat_instance": "1",
        "message": message,
        "data": data,
        **more,
    }


def _enemy(chance: random.Random) -> int:
    return chance.choice((CHAT, 1, 666, BOSS + 1, -BOSS, 2**52 - 1, 1_087_968_824, BOT_ID))


def _code(chance: random.Random, desk: QuietDesk) -> str:
    waiting = desk.last.get(f"telegram:{BOSS}")
    known = [one.data for one in waiting.buttons] if waiting else []
    letters = "".join(chance.choices(string.printable, k=chance.randint(0, 70)))
    guess = chance.choice(("yes:", "no:", "top:", "ack:", "zzz:", "chart:", ":", "")) + letters
    return chance.choice((*known, *known, guess, "yes:", "top:" + "0" * 16))


def _words(chance: random.Random) -> str:
    command = "/" + chance.choice(COMMANDS)
    noise = "".join(chr(chance.randint(1, 0xD7FF)) for _ in range(chance.randint(0, 30)))
    return chance.choice((command, command, f"{command} {noise}", noise, f"/watch {ME} {noise}"))


def _plain(chance: random.Random, desk: QuietDesk, now: float) -> dict[str, Any]:
    """Somebody else, in any chat, also the operators' own group."""
    del desk
    chat = chance.choice((CHAT, GROUP, BOSS, 666, -5))
    return {"message": _message(chat, _enemy(chance), _words(chance), now)}


def _in_disguise(chance: random.Random, desk: QuietDesk, now: float) -> dict[str, Any]:
    """The operator's own id, with a mark that says it is not the operator writing now."""
    del desk
    mark: dict[str, Any] = chance.choice(
        (
            {"date": int(now) - chance.randint(61, 10**7)},
            {"date": int(now) + chance.randint(61, 10**7)},
            {"edit_date": int(now)},
            {"forward_origin": {"type": "user", "date": 1, "sender_user": _user(BOSS)}},
            {"forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "boss"}},
            {"sender_chat": _chat(GROUP)},
            {"via_bot": _user(5, is_bot=True)},
            {"from": _user(BOSS, is_bot=True)},
            {"from": None},
            {"is_automatic_forward": True},
            {"text": None, "caption": "/pause"},
            {"chat": _chat(-777)},
            {"chat": _chat(666)},
        )
    )
    chat = chance.choice((CHAT, GROUP, BOSS))
    return {"message": _message(chat, BOSS, _words(chance), now) | mark}


def _other_kind(chance: random.Random, desk: QuietDesk, now: float) -> dict[str, Any]:
    """The operator's words in an update that is not a new message."""
    del desk
    kind = chance.choice(
        ("edited_message", "channel_post", "edited_channel_post", "business_message")
    )
    return {kind: _message(chance.choice((BOSS, GROUP)), BOSS, _words(chance), now)}


def _pressed(chance: random.Random, desk: QuietDesk, now: float) -> dict[str, Any]:
    """Somebody else presses, with a code that is real, guessed, or nonsense."""
    chat = chance.choice((CHAT, GROUP, BOSS, 666))
    return {"callback_query": _query(chat, _enemy(chance), _code(chance, desk), now)}


def _pressed_in_disguise(chance: random.Random, desk: QuietDesk, now: float) -> dict[str, Any]:
    """The operator's id and a real code, but not under our message in that chat."""
    code = _code(chance, desk)
    mark: dict[str, Any] = chance.choice(
        (
            {"from": _user(BOSS, is_bot=True)},
            {"inline_message_id": "x"},
            {"message": None},
            {"message": {"chat": _chat(BOSS), "message_id": 1, "date": 0}},
            {"message": _message(BOSS, BOSS, "offer", now)},
            {"message": _message(BOSS, 5, "offer", now)},
            {"message": _message(666, BOT_ID, "offer", now)},
        )
    )
    return {"callback_query": _query(BOSS, BOSS, code, now) | mark}


_KINDS: Final[tuple[Callable[[random.Random, QuietDesk, float], dict[str, Any]], ...]] = (
    _plain,
    _in_disguise,
    _other_kind,
    _pressed,
    _pressed_in_disguise,
)
