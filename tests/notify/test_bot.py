"""The bot's story: a person, a stranger, a second poller, and hostile updates."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from telegram.error import Conflict

from keeper.devnet.bot_api import TOKEN, BotApi, Misbehaviour
from keeper.notify.bot import TelegramBot
from keeper.notify.outbox import Outbox
from keeper.notify.telegram import TelegramApi, TelegramChannel
from tests.notify.build import CHAT, ME, ME_SHOWN, OPERATOR, MemoryDesk, MemoryOutbox
from tests.notify.test_telegram import fast_clock, fast_sleep

ME_CHAT = 4711


class House:
    """Server, bot and drain, wired as the application wires them."""

    def __init__(self, server: BotApi, desk: MemoryDesk) -> None:
        self.server = server
        self.desk = desk

    async def ask(self, text: str, containing: str, *, chat_id: int = ME_CHAT) -> str:
        await self.server.say(chat_id, text)
        return (await self.server.heard(chat_id, containing)).text.replace("\u202f", " ")

    async def handled(self, update_id: int) -> None:
        """Wait until the bot has taken an update."""
        async with asyncio.timeout(5):
            while update_id not in self.desk.remembered:  # noqa: ASYNC110 - the desk has no event
                await asyncio.sleep(0.005)

    async def replies(self) -> int:
        return len(self.desk.outbox.rows)


@asynccontextmanager
async def house_of(
    server: BotApi,
    desk: MemoryDesk,
    allowed: frozenset[str] = frozenset({CHAT}),
    users: frozenset[int] = frozenset(),
) -> AsyncIterator[House]:
    async with TelegramApi(TOKEN, server.url) as api:
        bot = TelegramBot(
            api,
            desk,
            allowed=allowed,
            operators=(OPERATOR,),
            users=users,
            sleep=fast_sleep,
            long_poll_s=1,
        )
        outbox = Outbox(
            desk.outbox,
            (TelegramChannel(api),),
            clock=fast_clock,
            wall=fast_clock,
            sleep=fast_sleep,
        )
        tasks = (asyncio.create_task(bot.run()), asyncio.create_task(outbox.run()))
        try:
            yield House(server, desk)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[BotApi]:
    async with BotApi().serve() as api:
        yield api


@pytest.fixture
async def house(server: BotApi) -> AsyncIterator[House]:
    async with house_of(server, MemoryDesk(MemoryOutbox())) as house:
        yield house


async def test_the_story_of_a_borrower(house: House) -> None:
    assert "/watch ADDRESS" in await house.ask("/start", "I watch lending positions")
    assert await house.ask(f"/watch {ME_SHOWN} main 1.30/1.15/1.05", "Watching") == (
        f"Watching main ({ME_SHOWN}): I tell you below 1.30, again below 1.15, and loudly below "
        "1.05."
    )
    assert await house.ask("/list", "1.30/1.15") == f"main {ME} 1.30/1.15/1.05"
    assert await house.ask("/hf", "1.142") == (
        "🟠 main: 1.142, collateral $25 000, debt $19 438 (Aave v3 · Ethereum · block 21 034 511)"
    )
    assert "1.142" in await house.ask("/hf MAIN", "1.142")
    assert await house.ask("/status", "12 s old") == "Ethereum: block 21034511, 12 s old."
    assert await house.ask("/unwatch main", "No longer") == (f"No longer watching main {ME_SHOWN}.")
    assert "Nothing is watched" in await house.ask("/list", "Nothing is watched")


async def test_an_account_is_watched_by_its_name(house: House) -> None:
    assert await house.ask("/watch Vitalik.eth", "Watching vitalik.eth") == (
        f"Watching vitalik.eth ({ME_SHOWN}): I tell you below 1.30, again below 1.15, and loudly "
        "below 1.05."
    )
    assert await house.ask("/watch vitalik.eth main", "Watching main") == (
        f"Watching main (vitalik.eth, {ME_SHOWN}): I tell you below 1.30, again below 1.15, and "
        f"loudly below 1.05.\nInstead of: vitalik.eth {ME} 1.30/1.15/1.05"
    )
    assert house.desk.named == [(ME, "vitalik.eth"), (ME, "vitalik.eth")]
    assert "points to no account" in await house.ask("/watch nobody.eth", "nobody.eth")
    assert [one.account for one in house.desk.kept] == [ME]


async def test_wrong_words_are_answered_in_plain_sentences(house: House) -> None:
    assert "must be 0x and 40" in await house.ask("/watch 0x12", "not an address")
    assert "copy it again" in await house.ask("/watch " + ME_SHOWN.replace("aA", "AA"), "checksum")
    assert "must fall" in await house.ask(f"/watch {ME} 1.05/1.15/1.30", "out of order")
    assert "/help" in await house.ask("/selfdestruct now", "do not know /selfdestruct")
    assert "/help" in await house.ask("good morning", "Send /help")
    assert "/list" in await house.ask("/unwatch nothing", "Nothing by that name")
    assert "no position found" in await house.ask("/hf 0x" + "7" * 40, "no position")
    await house.ask(f"/watch {ME} main", "Watching")
    assert await house.ask(f"/watch 0x{'7' * 40} main", "is taken") == (
        "The label main is taken: choose another one."
    )


async def test_a_stranger_is_told_once_what_to_give_the_operator(house: House) -> None:
    first = await house.ask("/watch " + ME, "telegram:666", chat_id=666)
    update = await house.server.say(666, "/watch " + ME)
    await house.handled(update)

    assert first == (
        "This keeper talks only to chats its operator allowed.\n"
        "If that should include this one, give the operator this: telegram:666"
    )
    assert house.server.texts(666) == (first,)
    assert house.desk.kept == []


async def test_a_talkative_stranger_does_not_use_up_the_replies_of_others(house: House) -> None:
    for _ in range(25):
        await house.server.say(666, "/start")

    assert "telegram:667" in await house.ask("/start", "telegram:667", chat_id=667)


async def test_nobody_is_allowed_by_default_but_operators(server: BotApi) -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with house_of(server, desk, frozenset()) as house:
        await house.ask("/status", "only to chats its operator allowed")
        assert "12 s old" in await house.ask("/status", "12 s old", chat_id=1)


HOSTILE: dict[str, dict[str, Any]] = {
    "forwarded": {
        "forward_origin": {
            "type": "user",
            "date": 1,
            "sender_user": {"id": 5, "is_bot": False, "first_name": "E"},
        }
    },
    "anonymous admin": {"sender_chat": {"id": -5, "type": "supergroup", "title": "G"}},
    "a bot": {"from": {"id": 5, "is_bot": True, "first_name": "B"}},
    "no sender": {"from": None},
    "through a bot": {"via_bot": {"id": 5, "is_bot": True, "first_name": "B"}},
    "too old": {"date": int(time.time()) - 90},
    "from the future": {"date": int(time.time()) + 900},
    "edited": {"edit_date": int(time.time())},
    "no text": {"text": None},
}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_message_has_no_effect_and_no_answer(
    house: House, fields: dict[str, Any]
) -> None:
    update = await house.server.say(ME_CHAT, f"/watch {ME} main", **fields)
    await house.handled(update)

    assert house.desk.kept == []
    assert await house.replies() == 0


@pytest.mark.parametrize(
    "kind", ["edited_message", "channel_post", "edited_channel_post", "business_message"]
)
async def test_other_kinds_of_update_have_no_effect(house: House, kind: str) -> None:
    update = await house.server.inject(
        {
            kind: {
                "message_id": 1,
                "date": int(time.time()),
                "chat": {"id": ME_CHAT, "type": "private", "first_name": "P"},
                "from": {"id": ME_CHAT, "is_bot": False, "first_name": "P"},
                "text": f"/watch {ME}",
            }
        }
    )
    await house.handled(update)

    assert house.desk.kept == []
    assert await house.replies() == 0


async def test_hostile_labels_are_refused_or_made_harmless(house: House) -> None:
    assert "32 characters" in await house.ask(f"/watch {ME} {'x' * 10_000}", "too long")
    shown = await house.ask(f"/watch {ME} <b>\u202ema\u2066in</b>", "Watching")

    assert shown.startswith(f"Watching <b>main</b> ({ME_SHOWN})")
    assert house.desk.kept[0].label == "<b>main</b>"


async def test_in_a_group_it_answers_only_what_is_meant_for_it(server: BotApi) -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with house_of(server, desk, frozenset({"telegram:-100"})) as house:
        for text in ("hello", "/other", "/status@another_bot"):
            await house.handled(await server.say(-100, text))
        assert await house.replies() == 0
        await house.ask("/status@keeper_demo_bot", "12 s old", chat_id=-100)


async def test_a_restart_does_not_replay(server: BotApi) -> None:
    desk = MemoryDesk(MemoryOutbox())
    async with house_of(server, desk) as house:
        await house.ask("/status", "12 s old")
    rows = len(desk.outbox.rows)
    # Telegram never heard the offset: it hands the same update out again
    taken = desk.remembered[-1]
    again = {"message_id": 1, "date": int(time.time()), "text": f"/watch {ME}"}
    again |= {
        "chat": {"id": ME_CHAT, "type": "private", "first_name": "P"},
        "from": {"id": ME_CHAT, "is_bot": False, "first_name": "P"},
    }
    await server.inject({"update_id": taken, "message": again})
    async with house_of(server, desk) as house:
        await house.ask("/help", "/unwatch")

    assert desk.kept == []
    assert len(desk.outbox.rows) == rows + 1


async def test_ids_that_start_anew_after_a_quiet_week_are_heard(server: BotApi) -> None:
    desk = MemoryDesk(MemoryOutbox())
    desk.remembered.append(900_000_000)
    async with house_of(server, desk) as house:
        assert "12 s old" in await house.ask("/status", "12 s old")


async def test_a_crash_in_the_desk_stops_no_other_command(house: House) -> None:
    house.desk.crash_on = "status"
    await house.handled(await house.server.say(ME_CHAT, "/status"))

    assert "/unwatch" in await house.ask("/help", "/unwatch")


async def test_a_second_poller_is_an_alarm(house: House) -> None:
    with structlog.testing.capture_logs() as logs:
        house.server.misbehave(Misbehaviour(status=409), method="getUpdates")
        alarm = (await house.server.heard(1, "409")).text

    assert "revoke the token at @BotFather now" in alarm
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["telegram.conflict"]


async def test_polling_survives_errors_and_lost_replies(house: House) -> None:
    house.server.misbehave(
        Misbehaviour(status=500),
        Misbehaviour(status=502, html=True),
        Misbehaviour(status=429, retry_after=1),
        Misbehaviour(lost=True),
        method="getUpdates",
    )

    assert "12 s old" in await house.ask("/status", "12 s old")
    assert len(house.server.texts(ME_CHAT)) == 1


async def test_it_starts_while_telegram_is_down(server: BotApi) -> None:
    server.misbehave(*[Misbehaviour(status=503)] * 3, method="getMe")
    async with house_of(server, MemoryDesk(MemoryOutbox())) as house:
        assert "12 s old" in await house.ask("/status", "12 s old")


async def test_a_flood_of_commands_is_cut_off(house: House) -> None:
    last = 0
    for _ in range(60):
        last = await house.server.say(ME_CHAT, "/help")
    await house.handled(last)

    assert await house.replies() == 30


async def test_two_pollers_really_conflict(server: BotApi) -> None:
    async with TelegramApi(TOKEN, server.url) as api:
        first = asyncio.create_task(api.bot.get_updates(timeout=5))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(api.bot.get_updates(timeout=1))

        with pytest.raises(Conflict):
            await first
        assert await second == ()


async def test_who_edits_a_watch_of_somebody_else_reads_what_it_was(house: House) -> None:
    await house.ask(f"/watch {ME} main 1.30/1.15/1.05", "Watching main")
    await house.ask(f"/watch {ME} ours 1.50/1.20/1.10", "Instead of")
    await house.ask(f"/watch {ME} ours 1.50/1.20/1.10", "Watching ours")  # replaces nothing
    await house.ask("/list", f"ours {ME}")

    told = [one.text.replace("\u202f", " ") for one in house.desk.outbox.rows.values()]
    assert [text.partition("\nInstead of: ")[2] for text in told] == [
        "",
        f"main {ME} 1.30/1.15/1.05",
        "",
        "",
    ]
    assert [one.label for one in house.desk.kept] == ["ours"]
