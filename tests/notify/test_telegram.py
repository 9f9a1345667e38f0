"""Real python-telegram-bot against the stand-in: nothing is lost, whatever goes wrong."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator

import pytest

from keeper.devnet.bot_api import TOKEN, BotApi, Misbehaviour
from keeper.errors import ConfigError, DeliveryError
from keeper.model import Severity
from keeper.notify.bundle import REPEAT
from keeper.notify.outbox import Outbox
from keeper.notify.telegram import TelegramApi, TelegramChannel
from tests.notify.build import CHAT, OPERATOR, OTHER, MemoryOutbox, message

FASTER = 60
"""How much faster than real time the outbox's clock goes in these tests."""


def fast_clock() -> float:
    return time.monotonic() * FASTER


async def fast_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / FASTER)


@pytest.fixture
async def server() -> AsyncIterator[BotApi]:
    async with BotApi().serve() as api:
        yield api


@pytest.fixture
async def api(server: BotApi) -> AsyncIterator[TelegramApi]:
    async with TelegramApi(TOKEN, server.url) as api:
        yield api


def drain(store: MemoryOutbox, api: TelegramApi) -> Outbox:
    return Outbox(
        store,
        (TelegramChannel(api),),
        operators=(OPERATOR,),
        clock=fast_clock,
        wall=fast_clock,
        sleep=fast_sleep,
    )


async def test_a_message_arrives_as_plain_text_and_information_is_silent(
    server: BotApi, api: TelegramApi
) -> None:
    text = "🟠 <b>main</b> *x* _y_ [z](https://evil.example)"
    await TelegramChannel(api).send(message(text, severity=Severity.INFO))
    await TelegramChannel(api).send(message("loud", severity=Severity.CRITICAL))

    assert server.texts(4711) == (text, "loud")
    assert [said.silent for said in server.sent] == [True, False]
    assert all("parse_mode" not in given for _, given in server.calls)
    assert all('"is_disabled": true' in given["link_preview_options"] for _, given in server.calls)


@pytest.mark.parametrize(
    ("fault", "retry_after_s", "permanent"),
    [
        (Misbehaviour(status=429, retry_after=23), 23.0, False),
        (Misbehaviour(status=403), None, True),
        (Misbehaviour(status=400), None, True),  # chat not found
        (Misbehaviour(status=400, description="Bad Request: can't parse"), None, False),
        (Misbehaviour(status=500), None, False),
        (Misbehaviour(status=502, html=True), None, False),
        (Misbehaviour(status=401), None, False),
        (Misbehaviour(lost=True), None, False),
    ],
)
async def test_each_failure_is_what_it_means(
    server: BotApi,
    api: TelegramApi,
    fault: Misbehaviour,
    retry_after_s: float | None,
    permanent: bool,
) -> None:
    server.misbehave(fault)
    with pytest.raises(DeliveryError) as caught:
        await TelegramChannel(api).send(message("m"))

    assert caught.value.retry_after_s == retry_after_s
    assert caught.value.permanent is permanent
    assert caught.value.maybe_taken is fault.lost
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


async def test_a_server_that_is_not_there_is_a_failure_to_try_again() -> None:
    async with TelegramApi(TOKEN, "http://127.0.0.1:9") as api:
        with pytest.raises(DeliveryError) as caught:
            await TelegramChannel(api).send(message("m"))

    assert not caught.value.permanent
    assert not caught.value.maybe_taken
    assert TOKEN not in str(caught.value)


async def test_a_group_that_became_a_supergroup_still_hears(
    server: BotApi, api: TelegramApi
) -> None:
    channel = TelegramChannel(api)
    server.misbehave(Misbehaviour(migrate_to=-1009), chat_id=-7)
    await channel.send(message("first", chat="telegram:-7"))
    await channel.send(message("second", chat="telegram:-7"))

    assert server.texts(-1009) == ("first", "second")


async def test_a_long_message_is_cut_and_not_refused(server: BotApi, api: TelegramApi) -> None:
    await TelegramChannel(api).send(message("🟢" * 9000))

    (said,) = server.sent
    assert said.text.endswith("…")


async def test_nothing_is_lost_under_floods_errors_and_lost_replies(
    server: BotApi, api: TelegramApi
) -> None:
    chance = random.Random(20261121)
    faults = [
        Misbehaviour(status=429, retry_after=2),
        Misbehaviour(status=500),
        Misbehaviour(status=502, html=True),
        Misbehaviour(lost=True),
    ]
    drawn = [chance.choice(faults) for _ in range(30)]
    server.misbehave(*drawn)
    store = MemoryOutbox()
    chats = [CHAT, OTHER, "telegram:4713", "telegram:-4714"]
    await store.put(
        message(f"m{at}", chat=chats[at % 4], severity=chance.choice(list(Severity)))
        for at in range(40)
    )

    assert await drain(store, api).flush(3000)
    said = [one.text for one in server.sent]
    assert {text.removesuffix(REPEAT) for text in said} == {f"m{at}" for at in range(40)}
    # whoever reads one again is told so, and of no other
    assert sum(text.endswith(REPEAT) for text in said) == sum(fault.lost for fault in drawn)
    # at least once: a message whose reply was lost is said again, and no other
    assert len(said) - 40 == sum(fault.lost for fault in drawn)
    assert len(store.done) == 40


async def test_who_blocked_the_bot_is_disabled_and_the_operator_hears_it(
    server: BotApi, api: TelegramApi
) -> None:
    server.blocked.add(4711)
    store = MemoryOutbox()
    await store.put((message("m0"), message("m1"), message("fine", chat=OTHER)))
    await drain(store, api).flush(600)

    assert server.texts(4711) == ()
    assert server.texts(4712) == ("fine",)
    (told,) = server.texts(1)
    assert told == (
        "⚠️ Keeper: telegram:4711 no longer hears anything: Telegram refuses telegram:4711: "
        "Forbidden: bot was blocked by the user."
    )
    assert list(store.disabled) == [CHAT]


async def test_after_an_outage_everything_arrives_in_order(
    server: BotApi, api: TelegramApi
) -> None:
    store = MemoryOutbox()
    await store.put(message(f"m{at}", thread="a") for at in range(6))
    server.misbehave(*[Misbehaviour(status=503)] * 4)
    await drain(store, api).flush(900)

    assert server.texts(4711) == tuple(f"m{at}" for at in range(6))


async def test_the_token_is_in_no_log_line(
    server: BotApi, api: TelegramApi, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        await TelegramChannel(api).send(message("m"))
        server.misbehave(Misbehaviour(status=500), Misbehaviour(status=401))
        for _ in range(2):
            with pytest.raises(DeliveryError):
                await TelegramChannel(api).send(message("m"))

    assert TOKEN not in caplog.text
    assert TOKEN.partition(":")[2] not in caplog.text


async def test_a_token_that_telegram_does_not_know_says_what_to_do(server: BotApi) -> None:
    async with TelegramApi("1234567890:AAanother-token-altogether", server.url) as api:
        with pytest.raises(ConfigError, match="put the one @BotFather gave") as caught:
            await api.identify()

    assert "AAanother" not in str(caught.value)


async def test_the_bots_name_is_asked(api: TelegramApi) -> None:
    assert await api.identify() == "keeper_demo_bot"


@pytest.mark.parametrize(
    ("token", "url"),
    [
        ("not a token", "https://api.telegram.org"),
        (TOKEN, "http://api.telegram.org"),
        (TOKEN, "file:///etc/passwd"),
        (TOKEN, "api.telegram.org"),
    ],
)
def test_a_token_or_url_that_cannot_be_right_is_refused(token: str, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TelegramApi(token, url)

    assert TOKEN not in str(caught.value)
