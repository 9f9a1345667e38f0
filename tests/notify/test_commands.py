"""The richer commands, taps on buttons, and two taps that move money."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from keeper.alerts.hush import alert_id
from keeper.devnet.bot_api import TOKEN, BotApi
from keeper.errors import KeeperError
from keeper.model import AlertLevel, Button, Message, Severity, Side, Watch
from keeper.notify.commands import CONFIRM_S, Asker, Commands
from keeper.notify.languages import speech_of
from keeper.notify.telegram import TelegramApi, TelegramChannel
from tests.alerts.build import (
    ETH_USD,
    USDC,
    USDC_USD,
    WETH,
    WSTETH,
    assessed,
    feed_verdict,
    leg,
    price,
    wad,
)
from tests.notify.build import CHAT, ME, NOW, MemoryDesk, MemoryOutbox, firing
from tests.notify.test_bot import House, house_of

ME_CHAT, ME_USER = 4711, 4711
BOSS = Asker(chat=CHAT, user=7, operator=True)
STAKED = (
    price(WETH, feed_verdict(ETH_USD, answer=2500_00000000)),
    price(WSTETH, feed_verdict(ETH_USD, answer=2500_00000000)),
    price(USDC, feed_verdict(USDC_USD, answer=1_00000000)),
)
GUEST = Asker(chat=CHAT, user=8, operator=False)


class At:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def desk() -> MemoryDesk:
    desk = MemoryDesk(MemoryOutbox())
    desk.firing.append(firing())
    return desk


@pytest.fixture
def clock() -> At:
    return At()


@pytest.fixture
def commands(desk: MemoryDesk, clock: At) -> Commands:
    return Commands(desk, clock)


async def told(commands: Commands, asker: Asker, line: str) -> str:
    name, *words = line.split()
    reply = await commands.answer(asker, name, tuple(words))
    assert reply is not None
    return reply.text.replace("\u202f", " ")


async def test_an_offer_says_amount_gas_and_health_before_and_after(commands: Commands) -> None:
    reply = await commands.tapped(BOSS, f"top:{alert_id(firing())}")

    assert reply is not None
    # 213 456 gas at 6.000000007 gwei is a little more than 0.00128 ETH; at the most,
    # 400 000 gas at 7.500000001 gwei is a little more than 0.003 ETH: rounded up
    assert reply.text.replace("\u202f", " ") == (
        "0x5aae..eaed: repay 2 939 USDC ($2 939) from the keeper's own account?\n"
        "Health factor 1.061 → 1.250, gas about 0.0013 ETH, at most 0.0031 ETH, "
        "simulated at block 21 034 511.\n"
        "Confirm within 60 s."
    )
    assert [button.label for button in reply.buttons] == ["Confirm (60 s)", "Cancel"]
    assert all(len(button.data) <= 64 for button in reply.buttons)


async def test_two_taps_of_an_operator_send_once(commands: Commands, desk: MemoryDesk) -> None:
    offer = await commands.tapped(BOSS, f"top:{alert_id(firing())}")
    assert offer is not None
    sent = await commands.tapped(BOSS, offer.buttons[0].data)
    with pytest.raises(KeeperError, match=r"That offer is over.*Nothing was sent"):
        await commands.tapped(BOSS, offer.buttons[0].data)

    assert sent is not None
    assert sent.text == "Sent: i-7f3a"
    assert desk.privileged == ["i-7f3a by telegram user 7"]


async def test_one_tap_sends_nothing(commands: Commands, desk: MemoryDesk) -> None:
    await commands.tapped(BOSS, f"top:{alert_id(firing())}")

    assert desk.privileged == []


@pytest.mark.parametrize(
    ("asker", "after_s", "said"),
    [
        (GUEST, 1.0, "Only an operator may do this"),
        (Asker(chat=CHAT, user=9, operator=True), 1.0, "Only whoever asked may confirm"),
        (Asker(chat="telegram:5", user=7, operator=True), 1.0, "Only whoever asked may confirm"),
        (BOSS, CONFIRM_S, "That offer is over"),
    ],
    ids=["no operator", "another operator", "another chat", "too late"],
)
async def test_a_code_works_for_one_person_in_one_chat_for_a_minute(
    commands: Commands, desk: MemoryDesk, clock: At, asker: Asker, after_s: float, said: str
) -> None:
    offer = await commands.tapped(BOSS, f"top:{alert_id(firing())}")
    assert offer is not None
    clock.now += after_s
    with pytest.raises(KeeperError, match=said):
        await commands.tapped(asker, offer.buttons[0].data)

    assert desk.privileged == []


async def test_a_wrong_persons_tap_does_not_use_the_code_up(
    commands: Commands, desk: MemoryDesk
) -> None:
    offer = await commands.tapped(BOSS, f"top:{alert_id(firing())}")
    assert offer is not None
    with pytest.raises(KeeperError):
        await commands.tapped(GUEST, offer.buttons[0].data)
    await commands.tapped(BOSS, offer.buttons[0].data)

    assert len(desk.privileged) == 1


async def test_a_cancelled_offer_cannot_be_confirmed(commands: Commands, desk: MemoryDesk) -> None:
    offer = await commands.tapped(BOSS, f"top:{alert_id(firing())}")
    assert offer is not None
    await commands.tapped(BOSS, offer.buttons[1].data)
    with pytest.raises(KeeperError, match="That offer is over"):
        await commands.tapped(BOSS, offer.buttons[0].data)

    assert desk.privileged == []


@pytest.mark.parametrize("line", ["pause", "resume", "topup main"])
async def test_acting_asks_for_the_users_id_and_not_for_the_chat(
    commands: Commands, desk: MemoryDesk, line: str
) -> None:
    with pytest.raises(KeeperError, match="Only an operator"):
        await told(commands, GUEST, line)

    assert desk.privileged == []
    assert desk.offered == 0


async def test_an_operator_pauses_and_resumes(commands: Commands, desk: MemoryDesk) -> None:
    assert await told(commands, BOSS, "pause") == "Paused"
    assert await told(commands, BOSS, "resume") == "Resumed"
    assert desk.privileged == ["pause by telegram user 7", "resume by telegram user 7"]


async def test_ack_and_snooze_by_word_and_by_tap(commands: Commands, desk: MemoryDesk) -> None:
    assert await told(commands, GUEST, "ack") == (
        "Acknowledged one alert: no reminders until it is worse or over."
    )
    assert await told(commands, GUEST, "snooze 90m") == (
        "One alert snoozed for 90 min; what gets worse is said all the same."
    )
    await commands.tapped(GUEST, f"zzz:{alert_id(firing())}")

    assert [one.until for one in desk.hushed] == [None, NOW + 5400, NOW + 3600]
    assert {one.by for one in desk.hushed} == {"telegram user 8"}


async def test_the_button_of_an_alert_that_is_over_does_nothing(
    commands: Commands, desk: MemoryDesk
) -> None:
    with pytest.raises(KeeperError, match="That alert is over"):
        await commands.tapped(GUEST, "ack:0123456789abcdef")
    with pytest.raises(KeeperError, match="That alert is over"):  # another chat's alert
        await commands.tapped(
            Asker(chat="telegram:5", user=8, operator=False), f"ack:{alert_id(firing())}"
        )

    assert desk.hushed == []


async def test_hours_are_set_shown_and_ended(commands: Commands) -> None:
    assert await told(commands, GUEST, "quiet 23:00-07:00 Europe/Berlin") == (
        "Quiet from 23:00 to 07:00 (Europe/Berlin): what is critical is said all the same, the "
        "rest in the digest. No daily digest."
    )
    assert "A digest every day at 08:05" in await told(commands, GUEST, "digest 08:05")
    assert "Europe/Berlin" in await told(commands, GUEST, "quiet")
    assert (await told(commands, GUEST, "quiet off")).startswith("No quiet hours.")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("quiet 25:00-07:00", "25:00 is not a time of day: send one such as 08:00."),
        ("quiet 23:00", "send both ends"),
        ("quiet 23:00-23:00", "must end at another time"),
        ("quiet 23:00-07:00 Mars/Base", "Mars/Base is no time zone"),
        ("quiet 23:00-07:00 ../../etc/passwd", "is no time zone"),
        ("digest soon", "soon is not a time of day"),
        ("snooze", "how long"),
        ("snooze main", "main is not a duration"),
        ("snooze 9999d", "too long: 7d"),
        ("stress eth", "per cent"),
        ("stress eth -100", "cannot fall by 100 %"),
        ("stress eth ٢٠", "is not a change"),
        ("topup", "Send /topup and a label"),
        ("chart main", "Nothing by that name"),
        ("pos 0x12", "is not an address"),
    ],
)
async def test_wrong_words_get_one_plain_sentence(commands: Commands, line: str, said: str) -> None:
    with pytest.raises(KeeperError, match=said):
        await told(commands, BOSS, line)


async def test_a_mistyped_asset_is_refused_with_the_names_like_it(
    commands: Commands, desk: MemoryDesk
) -> None:
    desk.verdicts = STAKED

    with pytest.raises(KeeperError, match=r"^No market lists ethereum. Did you mean ETH, WETH\?$"):
        await told(commands, GUEST, "stress ethereum -20")
    with pytest.raises(KeeperError, match=r"^No market lists doge: /oracles shows what there is.$"):
        await told(commands, GUEST, "stress doge -20")


@pytest.mark.parametrize(
    ("language", "head"),
    [
        ("en", "If wstETH moves -5.0 %, and with it what hangs on the same price feed (WETH):"),
        ("de", "Wenn wstETH sich um -5.0 % bewegt und mit ihm, was am selben Preis-Feed hängt"),
    ],
)
async def test_a_shock_says_what_moves_with_the_asset(
    commands: Commands, desk: MemoryDesk, language: str, head: str
) -> None:
    desk.verdicts = STAKED
    desk.positions = (
        assessed(
            wad("1.2307"),
            legs=(
                leg(WETH, Side.COLLATERAL, 10_000, 2500_00000000, 8000),
                leg(WSTETH, Side.COLLATERAL, 10_000, 3000_00000000, 8000),
                leg(USDC, Side.DEBT, 13_000, 1_00000000),
            ),
        ),
    )
    await desk.watch(Watch(chat=CHAT, account=ME, label="main"))

    said = await told(commands, replace(GUEST, say=speech_of(language)), "stress wsteth -5")

    assert said.startswith(head)
    assert said.splitlines()[1].startswith("🟡 main: 1.230 → ")  # 16000 x 0.95 / 13000 = 1.169


async def test_what_is_firing_says_who_answered(commands: Commands) -> None:
    assert await told(commands, GUEST, "alerts") == (
        "🟠 aave-v3-ethereum:0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed: health 1.142 (warning) "
        "for 15 min"
    )
    await told(commands, GUEST, "ack")
    assert (await told(commands, GUEST, "alerts")).endswith("acknowledged by telegram user 8")


# --- over the wire ----------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[BotApi]:
    async with BotApi().serve() as api:
        yield api


@pytest.fixture
async def house(server: BotApi, desk: MemoryDesk) -> AsyncIterator[House]:
    async with house_of(server, desk, users=frozenset({ME_USER})) as house:
        yield house


async def test_a_person_tops_up_by_two_taps(house: House) -> None:
    await house.ask(f"/watch {ME} main", "Watching")
    await house.ask("/topup main", "Confirm within")
    offer = house.server.sent[-1]
    await house.server.press(offer, "Confirm (60 s)")
    await house.server.heard(ME_CHAT, "Sent: i-7f3a")
    await house.server.press(offer, "Confirm (60 s)")
    await house.server.heard(ME_CHAT, "That offer is over")

    assert house.desk.privileged == ["i-7f3a by telegram user 4711"]


@pytest.mark.parametrize(
    "fields",
    [
        {"from": {"id": ME_USER, "is_bot": True, "first_name": "B"}},
        {"from": {"id": 99, "is_bot": False, "first_name": "E"}},
        {"inline_message_id": "x"},
        {"message": None},
        {"data": None, "game_short_name": "g"},
        {"data": "yes:guess"},
        {"data": "yes:"},
        {"data": "yes:\ud800"},
    ],
    ids=["a bot", "a stranger", "inline", "no message", "a game", "a guess", "empty", "surrogate"],
)
async def test_a_hostile_tap_has_no_privileged_effect(house: House, fields: dict[str, Any]) -> None:
    await house.ask(f"/watch {ME} main", "Watching")
    await house.ask("/topup main", "Confirm within")
    await house.handled(await house.server.press(house.server.sent[-1], "Confirm (60 s)", **fields))

    assert house.desk.privileged == []


async def test_a_chart_travels_as_a_picture_and_a_broken_one_as_text(server: BotApi) -> None:
    async def picture(chart: str, chat: str) -> bytes | None:
        assert chat == CHAT
        if chart == "broken":
            raise RuntimeError("a bug")
        return b"\x89PNG" + chart.encode()

    async with TelegramApi(TOKEN, server.url) as api:
        channel = TelegramChannel(api, picture)
        for chart in ("1/m/0x52/60", "broken"):
            await channel.send(
                Message(
                    key="k",
                    chat=CHAT,
                    severity=Severity.CRITICAL,
                    text="🔴 main",
                    kind="fired",
                    chart=chart,
                    buttons=(Button(label="Ack", data="ack:1"),),
                ),
                reply_to="31",
            )

    drawn, plain = server.sent
    assert (drawn.photo, plain.photo) == (b"\x89PNG1/m/0x52/60", b"")
    assert {(one.text, one.reply_to, one.buttons) for one in server.sent} == {
        ("🔴 main", 31, (("Ack", "ack:1"),))
    }


def test_a_name_of_an_alert_fits_a_button() -> None:
    assert len(f"chart:{alert_id(firing(level=AlertLevel.CRITICAL))}") <= 64


async def test_a_rule_is_kept_listed_and_ended_by_its_number(
    commands: Commands, desk: MemoryDesk
) -> None:
    desk.kept.append(Watch(chat=CHAT, account=ME, label="main"))
    assert "No rules are kept" in await told(commands, GUEST, "rule")
    assert await told(commands, GUEST, "rule distance MAIN < 10/5") == (
        f"Rule kept: distance {ME} < 10/5"
    )
    await told(commands, GUEST, "rule price WETH<2000")

    assert await told(commands, GUEST, "rule") == (f"1. distance {ME} < 10/5\n2. price WETH < 2000")
    assert await told(commands, GUEST, "unrule 1") == f"No longer told: distance {ME} < 10/5"
    assert await told(commands, GUEST, "rule") == "1. price WETH < 2000"
    for wrong in ("unrule", "unrule 2", "unrule 0", "unrule -1", "unrule x", "unrule ²"):
        with pytest.raises(KeeperError, match="the number of a rule, as /rule shows it"):
            await told(commands, GUEST, wrong)


async def test_a_rule_about_an_account_of_nobody_here_is_refused(commands: Commands) -> None:
    with pytest.raises(KeeperError, match="is not watched for this chat: /watch it first"):
        await told(commands, GUEST, f"rule moved {ME} > 1000")
