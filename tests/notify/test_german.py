"""What people read in both languages, to the letter; and how a chat chooses."""

from dataclasses import replace

import pytest

from keeper.alerts.answers import digest_text, hours_text, offer_text, position_text
from keeper.alerts.gauge_rules import rule_line
from keeper.alerts.machine import DEFAULT_THRESHOLDS, Change, Event, Policy
from keeper.alerts.measures import Known
from keeper.alerts.messages import buttons_of
from keeper.alerts.oracle_words import feed_name, feed_trouble, oracle_line
from keeper.alerts.passes import pass_alerts
from keeper.alerts.render import health_message
from keeper.alerts.replies import COMMANDS, help_text
from keeper.alerts.rules import BadRule, parse_rule
from keeper.alerts.speech import ENGLISH, Speech, reply_of
from keeper.devnet.bot_api import BotApi
from keeper.model import (
    AlertLevel,
    AlertState,
    ChatHours,
    FeedState,
    HeldLine,
    Manners,
    Side,
)
from keeper.notify.commands import Asker, Commands
from keeper.notify.languages import speech_of
from keeper.notify.words import BadWord, parse_watch
from keeper.units import Raw, Wad
from tests.alerts.build import (
    CHAT,
    ETH_USD,
    MARKET,
    ME,
    T0,
    USDC,
    USDC_USD,
    WETH,
    YOU,
    assessed,
    block,
    feed_verdict,
    leg,
    price,
    state,
    wad,
    watch,
)
from tests.alerts.test_render import ABOUT, event
from tests.notify.build import MemoryDesk, MemoryOutbox, an_offer, firing
from tests.notify.test_bot import House, house_of

DE = speech_of("de")
BOTH = [ENGLISH, DE]


def shown(text: str) -> str:
    return text.replace("\u202f", " ")


def health(of: Event, say: Speech, now: int = T0) -> str:
    return shown(
        health_message(of, ABOUT, thresholds=DEFAULT_THRESHOLDS, policy=Policy(), now=now, say=say)
    )


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (
            ENGLISH,
            (
                "🟠 main: health factor 1.142 (warning < 1.15)\n"
                "Aave v3 · Ethereum · block 21 034 511 · oldest oracle ETH/USD, 14 s old\n"
                "Liquidated if ETH < $2 291 (-8.4 %), now $2 501\n"
                "To reach 1.50: repay 14 600 USDC or add 8.9 wstETH"
            ),
        ),
        (
            DE,
            (
                "🟠 main: Health-Faktor 1.142 (Warnung < 1.15)\n"
                "Aave v3 · Ethereum · Block 21 034 511 · ältestes Orakel ETH/USD, 14 s alt\n"
                "Liquidiert bei ETH < $2 291 (-8.4 %), jetzt $2 501\n"
                "Um 1.50 zu erreichen: 14 600 USDC zurückzahlen oder 8.9 wstETH einzahlen"
            ),
        ),
    ],
)
def test_a_warning(say: Speech, wanted: str) -> None:
    assert health(event(Change.FIRED, AlertLevel.WARNING, "1.14299"), say) == wanted


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (ENGLISH, "🔴 main: health factor 0.999 (below 1: can be liquidated now)"),
        (DE, "🔴 main: Health-Faktor 0.999 (unter 1: kann jetzt liquidiert werden)"),
    ],
)
def test_a_critical_below_one(say: Speech, wanted: str) -> None:
    fired = event(Change.FIRED, AlertLevel.CRITICAL, "0.9999")

    assert health(fired, say).splitlines()[0] == wanted


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (ENGLISH, "🔴 main: health factor 1.043 (critical < 1.05), down from 1.142 in 22 min"),
        (DE, "🔴 main: Health-Faktor 1.043 (kritisch < 1.05), gefallen von 1.142 in 22 min"),
    ],
)
def test_worse(say: Speech, wanted: str) -> None:
    before = state(AlertLevel.WARNING, said=wad("1.1429"))
    worse = event(Change.WORSE, AlertLevel.CRITICAL, "1.0439", before=before)

    assert health(worse, say, T0 + 22 * 60).splitlines()[0] == wanted


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (ENGLISH, "🟢 main: back to 1.317 (above 1.20 for 10 min). Low was 1.031."),
        (DE, "🟢 main: wieder bei 1.317 (seit 10 min über 1.20). Tiefststand war 1.031."),
    ],
)
def test_a_resolve(say: Speech, wanted: str) -> None:
    before = state(AlertLevel.WARNING, said=wad("1.1429"))
    over = event(Change.RESOLVED, AlertLevel.CLEAR, "1.3171", before=before, lowest="1.0319")

    assert health(over, say) == wanted


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (
            ENGLISH,
            (
                "⚪ Oracle ETH/USD stale: 71 min old, heartbeat 60 min. Health factors using it "
                "are unknown; automatic actions held."
            ),
        ),
        (
            DE,
            (
                "⚪ Orakel ETH/USD veraltet: 71 min alt, Takt 60 min. Health-Faktoren damit sind "
                "unbekannt; automatische Aktionen werden zurückgehalten."
            ),
        ),
    ],
)
def test_a_stale_oracle(say: Speech, wanted: str) -> None:
    feed = feed_verdict(ETH_USD, FeedState.STALE, age_s=4260)
    fired = Event(change=Change.FIRED, before=None, state=state(AlertLevel.WARNING))

    assert oracle_line(fired, feed_name(feed, say), feed_trouble(feed, say), now=T0, say=say) == (
        wanted
    )


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (ENGLISH, "🟠 price of WETH: $1 890 (below $2 000), before $1 990, 36 s ago"),
        (DE, "🟠 Preis von WETH: $1 890 (unter $2 000), zuvor $1 990, vor 36 s"),
    ],
)
def test_a_rule_that_is_worse(say: Speech, wanted: str) -> None:
    rule = parse_rule("price WETH < 2000", CHAT, lambda _: None)
    before = state(AlertLevel.WARNING, rule="rule", said=wad("1990"))
    worse = Event(change=Change.WORSE, before=before, state=state(AlertLevel.WARNING, rule="rule"))

    line = rule_line(worse, rule, Known(value=wad("1890")), "WETH", now=T0 + 36, say=say)
    assert shown(line) == wanted


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (ENGLISH, ["Ack", "Snooze 1h", "Chart", "Top up..."]),
        (DE, ["Bestätigen", "1h stumm", "Diagramm", "Aufstocken..."]),
    ],
)
def test_buttons(say: Speech, wanted: list[str]) -> None:
    fired = event(Change.FIRED, AlertLevel.WARNING, "1.14")
    buttons = buttons_of(fired, say)

    assert [one.label for one in buttons] == wanted
    assert [one.data for one in buttons] == [one.data for one in buttons_of(fired)]


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (
            ENGLISH,
            "☀️ Digest\nWhile it was quiet (1):\n03:10 🟠 main: health factor 1.142\nNow:\nall",
        ),
        (
            DE,
            (
                "☀️ Übersicht\nWährend der Ruhezeit (1):\n03:10 🟠 main: health factor 1.142\n"
                "Jetzt:\nall"
            ),
        ),
    ],
)
def test_a_digest(say: Speech, wanted: str) -> None:
    held = HeldLine(chat=CHAT, at=T0, key="k", text="🟠 main: health factor 1.142")

    assert digest_text(["all"], [held], ["03:10"], say) == wanted


@pytest.mark.parametrize(
    ("say", "wanted"),
    [
        (
            ENGLISH,
            (
                "🟠 main: 1.142, collateral $25 000, debt $19 438 "
                "(Aave v3 · Ethereum · block 21 034 511)\n"
                "  holds 9.99 WETH ($25 000, counts 83 %)\n"
                "  owes 19 438 USDC ($19 438)\n"
                "  Liquidated if WETH < $2 344 (-6.3 %), now $2 501\n"
                "  Liquidated if USDC > $1.06 (+6.7 %), now $1.00"
            ),
        ),
        (
            DE,
            (
                "🟠 main: 1.142, Sicherheiten $25 000, Schulden $19 438 "
                "(Aave v3 · Ethereum · Block 21 034 511)\n"
                "  hält 9.99 WETH ($25 000, zählt zu 83 %)\n"
                "  schuldet 19 438 USDC ($19 438)\n"
                "  Liquidiert bei WETH < $2 344 (-6.3 %), jetzt $2 501\n"
                "  Liquidiert bei USDC > $1.06 (+6.7 %), jetzt $1.00"
            ),
        ),
    ],
)
def test_a_position(say: Speech, wanted: str) -> None:
    legs = (
        replace(
            leg(WETH, Side.COLLATERAL, 25_000, 2501_37000000, 8300),
            balance=Raw(9_994522991999999999),
        ),
        replace(leg(USDC, Side.DEBT, 19_438, 1_00000000), balance=Raw(19_438_000000)),
    )
    text = position_text("main", assessed(wad("1.1429"), legs=legs), DEFAULT_THRESHOLDS, (), say)

    assert shown(text) == wanted


@pytest.mark.parametrize(
    ("say", "first", "watch_line", "last"),
    [
        (
            ENGLISH,
            "I watch lending positions and say when one needs you.",
            "/watch ADDRESS [label] [1.30/1.15/1.05]: tell me about an account",
            "/help: these commands",
        ),
        (
            DE,
            "Ich beobachte Kreditpositionen und melde mich, wenn eine dich braucht.",
            "/watch ADRESSE [Name] [1.30/1.15/1.05]: ein Konto beobachten",
            "/help: diese Befehle",
        ),
    ],
)
def test_help(say: Speech, first: str, watch_line: str, last: str) -> None:
    lines = help_text(say).splitlines()

    assert (lines[0], lines[1], lines[-1]) == (first, watch_line, last)
    assert len(lines) == len(COMMANDS) + 1


@pytest.mark.parametrize(
    ("words", "english", "german"),
    [
        (
            ("0x12",),
            "0x12 is not an address: it must be 0x and 40 hexadecimal digits.",
            "0x12 ist keine Adresse: nötig sind 0x und 40 hexadezimale Ziffern.",
        ),
        (
            (ME, "main", "1.05/1.15/1.30"),
            (
                "The thresholds 1.05/1.15/1.30 are out of order: they must fall, such as "
                "1.30/1.15/1.05."
            ),
            "Die Schwellen 1.05/1.15/1.30 sind vertauscht: sie müssen fallen, wie 1.30/1.15/1.05.",
        ),
        (
            (ME, "l" * 10_000),
            "The label is too long: 32 characters at most.",
            "Der Name ist zu lang: höchstens 32 Zeichen.",
        ),
    ],
)
def test_bad_input(words: tuple[str, ...], english: str, german: str) -> None:
    with pytest.raises(BadWord) as caught:
        parse_watch(words)

    assert str(caught.value) == english
    assert reply_of(caught.value, DE) == german


def test_a_bad_rule_in_german() -> None:
    with pytest.raises(BadRule) as caught:
        parse_rule("price WETH < 1800/2000", CHAT, lambda _: None)

    assert reply_of(caught.value, DE) == (
        "Die Grenzen 1800/2000 sind vertauscht: die zweite, kritische muss kleiner sein als die "
        "erste."
    )


def test_an_offer_in_german() -> None:
    assert shown(offer_text("main", an_offer(ME), DE)) == (
        "main: 2 939 USDC ($2 939) vom eigenen Konto des Keepers zurückzahlen?\n"
        "Health-Faktor 1.061 → 1.250, Gas etwa 0.0013 ETH, höchstens 0.0031 ETH, simuliert bei "
        "Block 21 034 511.\nInnerhalb von 60 s bestätigen."
    )


def test_hours_in_german() -> None:
    hours = ChatHours(chat=CHAT, quiet_from=1380, quiet_to=420, digest_at=480)

    assert hours_text(hours, DE) == (
        "Ruhe von 23:00 bis 07:00 (UTC): Kritisches wird trotzdem gemeldet, der Rest in der "
        "Übersicht. Eine Übersicht täglich um 08:00 (UTC)."
    )


def test_two_chats_hear_one_block_each_in_its_language() -> None:
    done = pass_alerts(
        block=block(),
        prices={MARKET: (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))},
        assessments=(assessed(wad("1.1429")),),
        watches=(watch(), watch("meins", chat="telegram:99")),
        states=(),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
        speech=lambda chat: DE if chat == "telegram:99" else ENGLISH,
    )

    assert [(one.chat, one.text.splitlines()[0]) for one in done.messages] == [
        (CHAT, "🟠 main: health factor 1.142 (warning < 1.15)"),
        ("telegram:99", "🟠 meins: Health-Faktor 1.142 (Warnung < 1.15)"),
    ]


def test_whoever_is_called_in_hears_it_in_their_own_language() -> None:
    standing = AlertState(
        chat=CHAT,
        rule="health",
        subject=f"{MARKET.name}:{ME}",
        level=AlertLevel.CRITICAL,
        fired_at=T0,
        said_at=T0,
        said_health=wad("1.04"),
        lowest=wad("1.04"),
        serial=1,
        level_at=T0,
    )
    done = pass_alerts(
        block=block(T0 + 888),
        prices={MARKET: (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))},
        assessments=(assessed(wad("1.04"), at=T0 + 888),),
        watches=(watch(),),
        states=(standing,),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
        policy=Policy(escalate_to=("telegram:99",), escalate_after_s=888),
        speech=lambda chat: DE if chat == "telegram:99" else ENGLISH,
    )

    assert [(one.chat, one.text.splitlines()[0]) for one in done.messages] == [
        (
            "telegram:99",
            "🔴 main: Health-Faktor 1.040 (kritisch < 1.05), seit 14 min nicht bestätigt",
        )
    ]


def test_what_quiet_hours_keep_back_is_kept_in_the_language_of_the_chat() -> None:
    done = pass_alerts(
        block=block(),
        prices={MARKET: (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))},
        assessments=(assessed(wad("1.1429")),),
        watches=(watch(),),
        states=(),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
        manners=Manners(hours=(ChatHours(chat=CHAT, quiet_from=0, quiet_to=1439),)),
        speech=lambda _: DE,
    )

    assert [line.text for line in done.held] == ["🟠 main: Health-Faktor 1.142 (Warnung < 1.15)"]


def test_six_at_once_are_one_message_in_german() -> None:
    many = tuple(replace(watch(f"p{at}"), account=type(ME)(f"0x{at:040x}")) for at in range(1, 8))
    done = pass_alerts(
        block=block(),
        prices={MARKET: (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))},
        assessments=tuple(
            assessed(Wad(wad("1.04") + at), account=one.account) for at, one in enumerate(many)
        ),
        watches=many,
        states=(),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
        speech=lambda _: DE,
    )

    [message] = done.messages
    assert message.text.splitlines()[0] == "🔴 7 Positionen brauchen Aufmerksamkeit: 7 kritisch"
    assert message.text.splitlines()[-1] == "... 2 weitere"


async def test_acknowledging_and_snoozing_in_german() -> None:
    desk = MemoryDesk(MemoryOutbox())
    desk.firing.append(firing())
    commands = Commands(desk)
    asker = Asker(chat=CHAT, user=8, operator=False, say=DE)

    ack = await commands.answer(asker, "ack", ())
    snooze = await commands.answer(asker, "snooze", ("1h",))
    assert ack is not None
    assert snooze is not None
    assert ack.text == (
        "Ein Alarm bestätigt: keine Erinnerung, bis es schlimmer wird oder vorbei ist."
    )
    assert snooze.text == (
        "Ein Alarm für 60 min stummgeschaltet; was schlimmer wird, melde ich trotzdem."
    )


async def test_a_chat_chooses_its_language_and_keeps_it() -> None:
    async with (
        BotApi().serve() as server,
        house_of(server, MemoryDesk(MemoryOutbox())) as house,
    ):
        await _choose(house)


async def _choose(house: House) -> None:
    assert await house.ask("/language", "I speak") == (
        "I speak English here. There is en (English), de (Deutsch): /language de"
    )
    assert await house.ask("/language de", "Hier") == "Hier spreche ich Deutsch."
    assert await house.ask("/list", "beobachtet") == (
        "Für diesen Chat wird nichts beobachtet: sende /watch ADRESSE."
    )
    assert await house.ask("/watch 0x12", "keine Adresse") == (
        "0x12 ist keine Adresse: nötig sind 0x und 40 hexadezimale Ziffern."
    )
    assert await house.ask("/language <b>tlh</b>", "keine Sprache") == (
        "<b>tlh</b> ist keine Sprache, die ich spreche: es gibt en (English), de (Deutsch)."
    )
    await house.server.say(4711, "/language English")
    assert "Send /help" in await house.ask("hello", "Send /help")


@pytest.mark.parametrize("say", BOTH)
def test_hostile_labels_are_harmless_in_every_language(say: Speech) -> None:
    done = pass_alerts(
        block=block(),
        prices={MARKET: (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))},
        assessments=(assessed(wad("1.1429"), account=YOU),),
        watches=(watch("{0.__class__}\u202e{name}%s", account=YOU),),
        states=(),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
        speech=lambda _: say,
    )

    assert done.messages[0].text.startswith("🟠 {0.__class__}{name}%s: ")
