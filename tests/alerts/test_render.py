"""The exact texts."""

from dataclasses import replace

from keeper.alerts.actions import Done, Refusal, outcome_messages, refused_line, rehearsed_line
from keeper.alerts.distance import LiquidationPoint
from keeper.alerts.machine import DEFAULT_THRESHOLDS, Change, Event, Policy
from keeper.alerts.oracle_words import oracle_line
from keeper.alerts.render import (
    About,
    Remedies,
    Remedy,
    clip,
    fault_line,
    health_message,
    name_of,
    unknown_line,
)
from keeper.alerts.replies import health_reply, help_text, list_text, stranger_text, watching_text
from keeper.model import (
    Abandoned,
    AlertLevel,
    AlertState,
    Asset,
    Confirmed,
    IntentKind,
    Rehearsed,
    Reverted,
    Severity,
    Unknown,
    Watch,
)
from keeper.units import UINT256_MAX, Base, Raw, Wad
from tests.alerts.build import (
    CHAT,
    MARKET,
    ME,
    OPERATOR,
    RECEIPT,
    T0,
    USDC,
    WETH,
    WSTETH,
    assessed,
    block,
    intent,
    plan,
    position,
    state,
    unassessable,
    wad,
    watch,
)

ABOUT = About(
    name="main",
    market=MARKET,
    block=block(),
    oracle_age_s=14,
    oracle="ETH / USD",
    points=(
        LiquidationPoint(
            name="ETH",
            price=Base(2290_90000000),
            now=Base(2501_37000000),
            rises=False,
            permille=-84,
        ),
    ),
    remedies=Remedies(
        target=wad("1.5"),
        options=(
            Remedy(kind=IntentKind.REPAY, asset=USDC, amount=Raw(14_599_123456)),
            Remedy(kind=IntentKind.TOP_UP, asset=WSTETH, amount=Raw(8_899999999999999999)),
        ),
    ),
)
DETAILS = (
    "Aave v3 · Ethereum · block 21 034 511 · oldest oracle ETH/USD, 14 s old\n"
    "Liquidated if ETH < $2 291 (-8.4 %), now $2 501\n"
    "To reach 1.50: repay 14 600 USDC or add 8.9 wstETH"
)


def event(
    change: Change,
    level: AlertLevel,
    health: str,
    *,
    before: AlertState | None = None,
    lowest: str | None = None,
) -> Event:
    after = state(level, said=wad(health) if lowest is None else wad(lowest))
    return Event(change=change, before=before, state=after, health=wad(health))


def text(of: Event, now: int = T0) -> str:
    shown = health_message(of, ABOUT, thresholds=DEFAULT_THRESHOLDS, policy=Policy(), now=now)
    return shown.replace("\u202f", " ")


def test_a_warning_that_fires() -> None:
    fired = event(Change.FIRED, AlertLevel.WARNING, "1.14299")

    assert text(fired) == f"🟠 main: health factor 1.142 (warning < 1.15)\n{DETAILS}"


def test_a_critical_that_is_worse_says_from_where_and_in_what_time() -> None:
    before = state(AlertLevel.WARNING, said=wad("1.1429"))
    worse = event(Change.WORSE, AlertLevel.CRITICAL, "1.0439", before=before)

    assert text(worse, T0 + 22 * 60) == (
        f"🔴 main: health factor 1.043 (critical < 1.05), down from 1.142 in 22 min\n{DETAILS}"
    )


def test_below_one_it_says_what_that_means() -> None:
    fired = event(Change.FIRED, AlertLevel.CRITICAL, "0.9999")

    assert text(fired).splitlines()[0] == (
        "🔴 main: health factor 0.999 (below 1: can be liquidated now)"
    )


def test_a_reminder_says_for_how_long_and_is_true_inside_the_band() -> None:
    before = state(AlertLevel.CRITICAL, said=wad("1.04"))
    below = event(Change.REPEATED, AlertLevel.CRITICAL, "1.0412", before=before)
    band = event(Change.REPEATED, AlertLevel.CRITICAL, "1.0812", before=before)

    assert text(below, T0 + 900).splitlines()[0] == (
        "🔴 main: health factor still 1.041 (critical < 1.05), for 15 min"
    )
    assert text(band, T0 + 900).splitlines()[0] == (
        "🔴 main: health factor still 1.081 (critical until above 1.10), for 15 min"
    )


def test_an_ease_says_which_level_is_over() -> None:
    before = state(AlertLevel.CRITICAL, said=wad("1.04"))
    eased = event(Change.EASED, AlertLevel.WARNING, "1.1219", before=before)

    assert text(eased).splitlines()[0] == (
        "🟠 main: health factor up to 1.121 (warning < 1.15), no longer critical"
    )


def test_a_resolve_is_one_line_with_the_low() -> None:
    before = state(AlertLevel.WARNING, said=wad("1.1"))
    resolved = event(Change.RESOLVED, AlertLevel.CLEAR, "1.3179", before=before, lowest="1.0319")

    assert text(resolved) == "🟢 main: back to 1.317 (above 1.20 for 10 min). Low was 1.031."


def test_a_resolve_without_debt_says_so() -> None:
    before = state(AlertLevel.WARNING, said=wad("1.1"))
    over = Event(
        change=Change.RESOLVED,
        before=before,
        state=state(AlertLevel.CLEAR, said=wad("1.0319")),
        health=Wad(UINT256_MAX),
    )

    assert text(over) == ("🟢 main: has no debt any more (above 1.20 for 10 min). Low was 1.031.")


def test_a_stale_oracle_and_its_return() -> None:
    fired = Event(change=Change.FIRED, before=None, state=state(AlertLevel.WARNING, rule="oracle"))
    back = Event(
        change=Change.RESOLVED,
        before=fired.state,
        state=state(AlertLevel.CLEAR, rule="oracle"),
    )

    assert oracle_line(fired, "Oracle ETH/USD", "stale: 71 min old, heartbeat 60 min", now=T0) == (
        "⚪ Oracle ETH/USD stale: 71 min old, heartbeat 60 min. Health factors using it are "
        "unknown; automatic actions held."
    )
    assert oracle_line(back, "Oracle ETH/USD", "back: 12 s old,", now=T0 + 4260) == (
        "⚪ Oracle ETH/USD back: 12 s old, after 71 min."
    )


def test_an_unknown_health_says_why() -> None:
    fired = Event(
        change=Change.FIRED, before=None, state=state(AlertLevel.WARNING, rule="health_unknown")
    )

    assert unknown_line(
        fired, "main", reason="balanceOf of wstETH reverted.", now=T0, health=None
    ) == ("⚪ main: health factor unknown: balanceOf of wstETH reverted.")


def test_a_fault_of_the_keeper_and_its_end() -> None:
    fired = Event(change=Change.FIRED, before=None, state=state(AlertLevel.CRITICAL, rule="keeper"))
    over = Event(
        change=Change.RESOLVED, before=fired.state, state=state(AlertLevel.CLEAR, rule="keeper")
    )

    assert fault_line(fired, "ethereum heads", "no new block for 95 s", now=T0) == (
        "⚠️ Keeper: no new block for 95 s."
    )
    assert fault_line(over, "ethereum heads", "", now=T0 + 300) == (
        "🟢 Keeper: ethereum heads is well again after 5 min."
    )


def first_lines(messages: tuple[object, ...]) -> list[str]:
    return [
        str(getattr(one, "text", "")).splitlines()[0].replace("\u202f", " ") for one in messages
    ]


def test_a_repayment_that_was_done() -> None:
    (message,) = outcome_messages(
        Confirmed(plan=plan(intent(IntentKind.REPAY)), receipt=RECEIPT),
        (),
        (OPERATOR,),
        Done(health_after=wad("1.5029")),
    )

    # 213456 gas x 14.400000001 gwei = 0.00307.. ETH, rounded up to two digits
    assert message.text.replace("\u202f", " ") == (
        "✅ Repaid 14 600 USDC for 0x52ab..9f01: 1.043 → 1.502, gas 0.0031 ETH, tx 0x1200..cdef\n"
        f"https://etherscan.io/tx/{RECEIPT.tx_hash}\n"
        "keeper explain i-7f3a"
    )
    assert message.severity is Severity.INFO
    assert message.kind == "action"


def test_who_watches_the_account_hears_of_it_by_its_label_and_the_key_is_per_chat() -> None:
    outcome = Confirmed(
        plan=plan(intent(IntentKind.TOP_UP, WSTETH, 8_900000000000000000)), receipt=RECEIPT
    )
    messages = outcome_messages(outcome, (watch(),), (OPERATOR,), Done(health_after=wad("1.502")))

    assert [one.chat for one in messages] == [OPERATOR, CHAT]
    assert first_lines(messages)[1].startswith("✅ Added 8.9 wstETH for main: 1.043 → 1.502, gas")
    assert len({one.key for one in messages}) == 2
    assert outcome_messages(outcome, (watch(),), (OPERATOR,))[0].key == messages[0].key


def test_a_liquidation_is_told_from_the_side_of_whom_it_happened_to() -> None:
    outcome = Confirmed(plan=plan(intent(IntentKind.LIQUIDATE, collateral=WETH)), receipt=RECEIPT)
    done = Done(
        spent=Raw(14_600_000000), seized=Raw(6_130000000000000000), health_after=wad("1.104")
    )
    operator, owner = first_lines(outcome_messages(outcome, (watch(),), (OPERATOR,), done))

    assert operator.startswith(
        "✅ Liquidated 0x52ab..9f01: repaid 14 600 USDC for 6.13 WETH: 1.043 → 1.104, gas"
    )
    assert owner.startswith("🔴 main was liquidated: repaid 14 600 USDC for 6.13 WETH: 1.043 →")


def test_a_deleverage_says_whose_collateral_it_was() -> None:
    sold = replace(intent(IntentKind.DELEVERAGE, collateral=WETH), seized=Raw(4_200000000000000000))
    outcome = Confirmed(plan=plan(sold), receipt=RECEIPT)
    done = Done(spent=Raw(14_600_000000), health_after=wad("1.502"))
    operator, owner = first_lines(outcome_messages(outcome, (watch(),), (OPERATOR,), done))
    rehearsed = rehearsed_line(Rehearsed(plan=plan(sold), health_after=wad("1.5")), "main")

    assert owner.startswith(
        "✅ Deleveraged main: repaid 14 600 USDC with at most 4.2 WETH of its own: 1.043 → 1.502,"
    )
    assert operator.startswith("✅ Deleveraged 0x52ab..9f01: repaid 14 600 USDC")
    assert rehearsed.replace("\u202f", " ") == (
        "✏️ Would deleverage main: repay 14 600 USDC with at most 4.2 WETH of its own: 1.043 →"
        " 1.500. Not armed: nothing was sent."
    )


def test_what_did_not_come_off_says_what_it_cost() -> None:
    what = plan(intent(IntentKind.REPAY))
    outcomes = (
        Reverted(plan=what, receipt=RECEIPT),
        Unknown(plan=what, reason="no receipt for 25 blocks."),
        Abandoned(plan=what, reason="the deadline has passed"),
    )
    lines = [first_lines(outcome_messages(one, (), (OPERATOR,)))[0] for one in outcomes]

    assert lines == [
        (
            "❌ Repayment for 0x52ab..9f01 reverted: gas 0.0031 ETH was spent, nothing else, "
            "tx 0x1200..cdef"
        ),
        (
            "⚠️ Repayment for 0x52ab..9f01: outcome unknown: no receipt for 25 blocks. Nothing else "
            "is sent for it until it is known."
        ),
        "❌ Repayment for 0x52ab..9f01 given up: the deadline has passed. Nothing was spent.",
    ]


def test_a_refusal_and_a_rehearsal() -> None:
    fired = Event(change=Change.FIRED, before=None, state=state(AlertLevel.WARNING, rule="refused"))
    refused = Refusal(
        position=position(),
        reason="simulation reverted (insufficient allowance)",
        kind=IntentKind.TOP_UP,
    )
    rehearsed = Rehearsed(plan=plan(intent(IntentKind.REPAY)), health_after=wad("1.502"))

    assert refused_line(fired, refused, "main") == (
        "❌ Top-up for main not sent: simulation reverted (insufficient allowance). "
        "Nothing was spent."
    )
    assert rehearsed_line(rehearsed, "main").replace("\u202f", " ") == (
        "✏️ Would repay 14 600 USDC for main: 1.043 → 1.502. Not armed: nothing was sent."
    )


def test_all_of_a_debt_is_said_as_all() -> None:
    rehearsed = Rehearsed(
        plan=plan(intent(IntentKind.REPAY, amount=UINT256_MAX)), health_after=None
    )

    assert rehearsed_line(rehearsed, "main") == (
        "✏️ Would repay all USDC for main: 1.043 → unknown. Not armed: nothing was sent."
    )


def test_a_hostile_symbol_and_label_stay_harmless() -> None:
    evil = Asset(address=USDC.address, symbol="<b>claim.io</b>\u202e @x", decimals=255)
    rehearsed = Rehearsed(plan=plan(intent(IntentKind.REPAY, evil)), health_after=None)
    shown = rehearsed_line(rehearsed, name_of("ma\u202ein\n🟢 all good", ME))

    assert "\n" not in shown
    assert "\u202e" not in shown
    assert "claim.io" not in shown
    assert "@" not in shown
    assert "main 🟢 all good" in shown


def test_no_text_is_longer_than_telegram_takes() -> None:
    shown = clip("🟢" * 5000)

    assert len(shown.encode("utf-16-le")) // 2 <= 4096
    assert shown.endswith("…")
    assert clip("\ud800 half a character") == " half a character"


def test_replies_say_unknown_aloud() -> None:
    known = health_reply("main", assessed(wad("1.1429")), DEFAULT_THRESHOLDS)
    unknown = health_reply("", unassessable("USDC/USD is stale"), DEFAULT_THRESHOLDS)
    debtless = health_reply("main", assessed(Wad(UINT256_MAX)), DEFAULT_THRESHOLDS)

    assert known.replace("\u202f", " ") == (
        "🟠 main: 1.142, collateral $25 000, debt $19 438 (Aave v3 · Ethereum · block 21 034 511)"
    )
    assert unknown.replace("\u202f", " ") == (
        "⚪ 0x52ab..9f01: unknown: USDC/USD is stale (Aave v3 · Ethereum · block 21 034 511)"
    )
    assert "no debt" in debtless


def test_replies_about_watches() -> None:
    mine = Watch(chat=CHAT, account=ME, label="main", thresholds=None)

    assert watching_text(mine, "0x52AB", DEFAULT_THRESHOLDS) == (
        "Watching main (0x52AB): I tell you below 1.30, again below 1.15, and loudly below 1.05."
    )
    assert list_text((mine,), DEFAULT_THRESHOLDS) == f"main {ME} 1.30/1.15/1.05"
    assert list_text((), DEFAULT_THRESHOLDS) == (
        "Nothing is watched for this chat: send /watch ADDRESS."
    )
    assert "... 5 more" in list_text((mine,) * 25, DEFAULT_THRESHOLDS)
    assert "telegram:99" in stranger_text("telegram:99")
    assert "/watch ADDRESS [label] [1.30/1.15/1.05]: tell me about an account" in help_text()
