"""Whole passes: who hears what, block after block."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from keeper.alerts.actions import Refusal
from keeper.alerts.hush import alert_id
from keeper.alerts.machine import DEFAULT_THRESHOLDS, AlertKey, Policy, due_again, key_of
from keeper.alerts.passes import AlertPass, Fault, pass_alerts, pass_faults
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessment,
    Cause,
    ChatHours,
    FeedState,
    Hush,
    IntentKind,
    Manners,
    MarketId,
    PositionId,
    PriceVerdict,
    Rehearsed,
    Severity,
    Side,
    Stance,
    Suspicion,
    Thresholds,
    Watch,
)
from tests.alerts.build import (
    CHAT,
    ETH_USD,
    MARKET,
    ME,
    OPERATOR,
    OTHER_MARKET,
    T0,
    USDC,
    USDC_USD,
    WETH,
    YOU,
    assessed,
    block,
    feed_verdict,
    intent,
    leg,
    plan,
    position,
    price,
    unassessable,
    wad,
    watch,
)

WELL = (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))
STALE_FEED = feed_verdict(ETH_USD, FeedState.STALE, age_s=4260)
STALE = (price(WETH, STALE_FEED), price(USDC, feed_verdict(USDC_USD)))
USES = {
    position(): frozenset({WETH.address, USDC.address}),
    position(YOU): frozenset({USDC.address}),
}


@dataclass(slots=True)
class House:
    """Keeps the states between passes, as the store does."""

    watches: tuple[Watch, ...] = (watch(),)
    operators: tuple[str, ...] = (OPERATOR,)
    states: dict[AlertKey, AlertState] = field(default_factory=dict)

    def take(
        self,
        after: int,
        *assessments: Assessment,
        prices: tuple[PriceVerdict, ...] = WELL,
        refusals: Iterable[Refusal] = (),
        rehearsals: Iterable[Rehearsed] = (),
        uses: Mapping[PositionId, frozenset[Address]] | None = None,
        market: MarketId = MARKET,
        fork: int = 0,
    ) -> AlertPass:
        done = pass_alerts(
            block=block(T0 + after, fork=fork),
            prices={market: prices},
            assessments=assessments,
            watches=self.watches,
            states=self.states.values(),
            operators=self.operators,
            thresholds=DEFAULT_THRESHOLDS,
            refusals=refusals,
            rehearsals=rehearsals,
            uses=USES if uses is None else uses,
        )
        self.keep(done)
        return done

    def keep(self, done: AlertPass) -> None:
        for state in done.states:
            if state.level is AlertLevel.CLEAR:
                self.states.pop(key_of(state), None)
            else:
                self.states[key_of(state)] = state


def said(done: AlertPass) -> list[tuple[str, str]]:
    return [(one.chat, one.text.splitlines()[0].replace("\u202f", " ")) for one in done.messages]


def test_of_several_feeds_the_oldest_is_named() -> None:
    house = House()
    legs = (
        leg(WETH, Side.COLLATERAL, 25_000, 2501_37000000, 8300),
        leg(USDC, Side.DEBT, 18_000, 1_00000000, 0),
    )
    prices = (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD, age_s=1_080)))

    done = house.take(0, assessed(wad("1.1429"), legs=legs), prices=prices)

    assert "oldest oracle USDC/USD, 18 min old" in done.messages[0].text


def test_a_watcher_hears_of_its_account_and_nobody_else_does() -> None:
    house = House(watches=(watch(), watch("other", chat="telegram:99", account=YOU)))
    legs = (leg(WETH, Side.COLLATERAL, 25_000, 2501_37000000, 8300),)
    done = house.take(0, assessed(wad("1.1429"), legs=legs), assessed(wad("2"), account=YOU))

    assert said(done) == [(CHAT, "🟠 main: health factor 1.142 (warning < 1.15)")]
    assert done.messages[0].severity is Severity.WARNING
    assert done.messages[0].kind == "fired"
    assert "oldest oracle ETH/USD, 14 s old" in done.messages[0].text


def test_two_chats_that_watch_one_account_have_an_alert_each() -> None:
    tight = Thresholds(info=wad("1.2"), warning=wad("1.1"), critical=wad("1.01"))
    other = Watch(chat="telegram:99", account=ME, label="his", thresholds=tight)
    house = House(watches=(watch(), other))
    done = house.take(0, assessed(wad("1.1429")))

    assert said(done) == [
        (CHAT, "🟠 main: health factor 1.142 (warning < 1.15)"),
        ("telegram:99", "🟡 his: health factor 1.142 (info < 1.20)"),
    ]


def test_an_account_with_debt_in_two_markets_is_told_apart() -> None:
    done = pass_alerts(
        block=block(),
        prices={MARKET: WELL, OTHER_MARKET: WELL},
        assessments=(assessed(wad("1.04")), assessed(wad("1.2"), market=OTHER_MARKET)),
        watches=(watch(),),
        states=(),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
    )

    assert said(done) == [
        (CHAT, "🔴 main · aave-v3-ethereum: health factor 1.040 (critical < 1.05)"),
        (CHAT, "🟡 main · aave-v3-ethereum-prime: health factor 1.200 (info < 1.30)"),
    ]


def test_a_story_of_a_stale_feed() -> None:
    house = House()
    reason = STALE_FEED.reason
    critical = house.take(0, assessed(wad("1.04")))
    stale = house.take(12, unassessable(reason, at=T0 + 12), prices=STALE)
    still = house.take(24, unassessable(reason, at=T0 + 24), prices=STALE)
    reminded = house.take(912, unassessable(reason, at=T0 + 912), prices=STALE)
    back = house.take(924, assessed(wad("1.039"), at=T0 + 924))
    quiet = house.take(936, assessed(wad("1.039"), at=T0 + 936))

    assert len(critical.messages) == 1
    what = (
        "⚪ Oracle ETH/USD stale: 71 min old, heartbeat 60 min. Health factors using it are "
        "unknown; automatic actions held."
    )
    assert said(stale) == [(OPERATOR, what), (CHAT, what)]
    # it hides a critical position from its watcher: as loud as the position, and repeated so
    assert [one.severity for one in stale.messages] == [Severity.WARNING, Severity.CRITICAL]
    assert said(still) == []
    assert said(reminded) == [
        (CHAT, what.replace("stale:", "still stale:", 1).replace("60 min.", "60 min, for 15 min.")),
    ]
    assert said(back)[0] == (OPERATOR, "⚪ Oracle ETH/USD back: 14 s old, after 15 min.")
    assert said(back)[1] == (CHAT, "⚪ Oracle ETH/USD back: 14 s old, after 15 min.")
    # the alert was never cleared by the unknown, and is due again
    assert said(back)[2] == (
        CHAT,
        "🔴 main: health factor still 1.039 (critical < 1.05), for 15 min",
    )
    assert said(quiet) == []


def test_the_watcher_of_an_account_the_feed_does_not_touch_hears_nothing_of_it() -> None:
    house = House(watches=(watch("yours", account=YOU),))
    done = house.take(0, assessed(wad("2"), account=YOU), prices=STALE)

    assert [chat for chat, _ in said(done)] == [OPERATOR]


def test_the_cause_is_recognised_by_its_reason_where_holdings_are_not_told() -> None:
    house = House()
    done = house.take(0, unassessable(f"price of WETH: {STALE_FEED.reason}"), prices=STALE, uses={})

    assert [line.split()[1] for _, line in said(done)] == ["Oracle", "Oracle"]


def test_an_unknown_health_with_another_cause_is_told_as_such_and_resolves() -> None:
    house = House()
    fired = house.take(0, unassessable("balanceOf of WETH ran out of gas"))
    known = house.take(12, assessed(wad("2"), at=T0 + 12))
    over = house.take(72, assessed(wad("2"), at=T0 + 72))
    after = house.take(84, assessed(wad("2"), at=T0 + 84))

    assert said(fired) == [
        (CHAT, "⚪ main: health factor unknown: balanceOf of WETH ran out of gas.")
    ]
    assert said(known) == []
    assert said(over) == [(CHAT, "⚪ main: health factor known again: 2.000.")]
    assert said(after) == []


def test_unknown_never_clears_a_health_alert() -> None:
    house = House()
    house.take(0, assessed(wad("1.04")))
    for after in range(12, 3600, 12):
        done = house.take(after, unassessable(STALE_FEED.reason, at=T0 + after), prices=STALE)
        assert all(one.kind != "resolved" for one in done.messages)

    assert house.states[AlertKey(chat=CHAT, rule="health", subject=str(position()))].level is (
        AlertLevel.CRITICAL
    )


def test_an_alertmanager_is_told_of_each_position_by_itself() -> None:
    accounts = [Address(f"0x{at:040x}") for at in range(1, 8)]
    chat = "alertmanager:ops"
    house = House(
        watches=tuple(
            replace(watch(f"p{at}", account=one), chat=chat) for at, one in enumerate(accounts)
        )
    )

    done = house.take(0, *(assessed(wad("1.04"), account=one) for one in accounts))

    assert [message.chat for message in done.messages] == [chat] * len(accounts)


def test_more_than_five_positions_at_once_are_one_message() -> None:
    accounts = [Address(f"0x{at:040x}") for at in range(1, 13)]
    house = House(watches=tuple(watch(f"p{at}", account=one) for at, one in enumerate(accounts)))
    done = house.take(
        0,
        *(
            assessed(wad("1.04") if at < 7 else wad("1.1"), account=one)
            for at, one in enumerate(accounts)
        ),
    )

    (message,) = done.messages
    assert message.text.splitlines() == [
        "🔴 12 positions need a look: 7 critical, 5 warning",
        *(f"🔴 p{at}: health factor 1.040 (critical < 1.05)" for at in range(5)),
        "... 7 more",
    ]
    assert message.severity is Severity.CRITICAL
    assert len(done.events) == 12


def test_five_positions_are_five_messages() -> None:
    accounts = [Address(f"0x{at:040x}") for at in range(1, 6)]
    house = House(watches=tuple(watch(f"p{at}", account=one) for at, one in enumerate(accounts)))

    assert (
        len(house.take(0, *(assessed(wad("1.04"), account=one) for one in accounts)).messages) == 5
    )


def test_the_same_event_on_a_block_taken_twice_has_the_same_key() -> None:
    first = House().take(0, assessed(wad("1.04")))
    second = House().take(0, assessed(wad("1.04")))

    assert first.messages == second.messages


def test_after_a_reorg_the_same_instant_makes_another_key() -> None:
    house = House()
    first = house.take(0, assessed(wad("1.04")))
    house.states.clear()  # resolved and fired again within the reorg
    second = house.take(0, assessed(wad("1.04"), fork=1), fork=1)

    assert first.messages[0].key != second.messages[0].key


def test_all_keys_of_a_pass_differ() -> None:
    house = House(watches=(watch(), watch("yours", account=YOU), watch(chat="telegram:99")))
    done = house.take(
        0,
        assessed(wad("1.04")),
        unassessable("decimals of WETH reverted", account=YOU),
        prices=STALE,
        refusals=(Refusal(position=position(), reason="cap reached", kind=IntentKind.REPAY),),
    )

    assert len({one.key for one in done.messages}) == len(done.messages) == 7


def test_who_no_longer_watches_hears_no_resolve() -> None:
    house = House()
    house.take(0, assessed(wad("1.04")))
    house.watches = ()
    done = house.take(12, assessed(wad("2"), at=T0 + 12))

    assert done.messages == ()
    assert house.states == {}


def test_states_of_other_markets_are_left_alone() -> None:
    house = House()
    house.take(0, assessed(wad("1.04")))
    before = dict(house.states)
    done = house.take(12, market=OTHER_MARKET)

    assert done.states == ()
    assert house.states == before


def test_a_price_that_no_feed_explains_is_told_by_its_asset() -> None:
    odd = (price(WETH, feed_verdict(ETH_USD), reason="AaveOracle answers 0"), WELL[1])
    house = House(watches=())
    fired = house.take(0, prices=odd)
    back = house.take(12)

    assert said(fired) == [
        (
            OPERATOR,
            (
                "⚪ Price of WETH unusable: AaveOracle answers 0. Health factors using it are "
                "unknown; automatic actions held."
            ),
        )
    ]
    assert said(back) == [(OPERATOR, "⚪ Price of WETH usable again after 12 s.")]


def test_a_feed_that_left_the_market_resolves() -> None:
    house = House(watches=())
    house.take(0, prices=STALE)
    done = house.take(12, prices=(WELL[1],))

    assert said(done) == [(OPERATOR, f"⚪ Oracle {ETH_USD.address} no longer used, after 12 s.")]


def test_a_refusal_is_told_once_and_again_only_after_hours() -> None:
    house = House()
    refusal = Refusal(
        position=position(), reason="the wallet holds 12 USDC, 400 needed", kind=IntentKind.REPAY
    )
    first = house.take(0, refusals=(refusal,))
    second = house.take(12, refusals=(refusal,))
    much_later = house.take(4 * 3600, refusals=(refusal,))

    line = "Repayment for {} not sent: the wallet holds 12 USDC, 400 needed. Nothing was spent."
    assert said(first) == [
        (OPERATOR, "❌ " + line.format("0x52ab..9f01")),
        (CHAT, "❌ " + line.format("main")),
    ]
    assert {one.kind for one in first.messages} == {"action"}
    assert said(second) == []
    assert len(said(much_later)) == 2


def test_a_refusal_is_heard_by_all_who_watch_the_account_and_by_nobody_else() -> None:
    others = (watch("theirs", chat="telegram:99"), watch("yours", chat="telegram:7", account=YOU))
    house = House(watches=(watch(), *others))
    refusal = Refusal(position=position(), reason="cap reached", kind=IntentKind.REPAY)

    found = said(house.take(0, refusals=(refusal,)))

    assert {chat for chat, _ in found} == {OPERATOR, CHAT, "telegram:99"}
    assert [line.split()[3] for chat, line in found if chat == "telegram:99"] == ["theirs"]


def test_a_standing_refusal_leaves_nothing_to_keep_and_begins_anew_to_clear() -> None:
    house = House()
    refusal = Refusal(position=position(), reason="cap reached", kind=IntentKind.LIQUIDATE)
    house.take(0, refusals=(refusal,))

    standing = house.take(12, refusals=(refusal,))
    gone = house.take(24)
    back = house.take(36, refusals=(refusal,))

    assert standing.states == ()
    assert [state.clear_since for state in gone.states] == [T0 + 24]
    assert [state.clear_since for state in back.states] == [None]


def test_a_refusal_in_another_market_stands_while_this_one_is_passed() -> None:
    house = House()
    house.take(0, refusals=(Refusal(position=position(), reason="cap reached"),))
    for after in (12, 1200, 2400):
        house.take(after, market=OTHER_MARKET)

    assert [key.rule for key in house.states] == ["refused"]


def test_a_refused_liquidation_is_the_operators_business() -> None:
    house = House()
    refusal = Refusal(position=position(), reason="profit 1.20, least 5", kind=IntentKind.LIQUIDATE)

    assert [chat for chat, _ in said(house.take(0, refusals=(refusal,)))] == [OPERATOR]


def test_a_refusal_that_a_stale_feed_explains_is_not_told_besides_the_feed() -> None:
    house = House()
    refusal = Refusal(position=position(), reason=STALE_FEED.reason, kind=IntentKind.REPAY)
    done = house.take(0, unassessable(STALE_FEED.reason), prices=STALE, refusals=(refusal,))

    assert all("Oracle" in line for _, line in said(done))


def test_a_rehearsal_is_told_once_while_it_lasts() -> None:
    house = House()
    rehearsed = Rehearsed(plan=plan(intent(IntentKind.REPAY)), health_after=wad("1.5"))
    first = house.take(0, rehearsals=(rehearsed,))
    second = house.take(12, rehearsals=(rehearsed,))

    assert len(first.messages) == 2
    assert "Not armed: nothing was sent." in first.messages[0].text
    assert second.messages == ()


def test_a_crash_of_all_feeds_is_one_message_for_an_operator() -> None:
    feeds = tuple(
        feed_verdict(
            type(ETH_USD)(
                address=Address(f"0x{at:040x}"),
                description=f"T{at} / USD",
                decimals=8,
                heartbeat_s=3600,
            ),
            FeedState.STALE,
            age_s=4000,
        )
        for at in range(1, 9)
    )
    house = House(watches=())
    done = house.take(0, prices=tuple(price(WETH, feed) for feed in feeds))

    (message,) = done.messages
    assert message.text.splitlines()[0] == ("⚪ 8 oracles cannot be used; automatic actions held:")
    assert message.text.splitlines()[-1] == "... 3 more"


def test_after_a_restart_what_still_fires_is_said_again_once() -> None:
    house = House()
    house.take(0, assessed(wad("1.12")))
    house.states = {key_of(one): one for one in due_again(tuple(house.states.values()), T0 + 600)}
    again = house.take(612, assessed(wad("1.12"), at=T0 + 612))
    quiet = house.take(624, assessed(wad("1.12"), at=T0 + 624))

    assert said(again) == [
        (CHAT, "🟠 main: health factor still 1.120 (warning < 1.15), for 10 min")
    ]
    assert said(quiet) == []


def test_faults_of_the_keeper_reach_operators_once_and_resolve_once() -> None:
    house = House()
    fault = Fault(part="heads", sentence="No new Ethereum block for 95 s: asking every 12 s.")

    def take(after: int, *faults: Fault, scope: str = "ethereum") -> AlertPass:
        done = pass_faults(
            scope=scope,
            faults=faults,
            states=house.states.values(),
            operators=(OPERATOR,),
            now=T0 + after,
        )
        house.keep(done)
        return done

    fired = take(0, fault)
    elsewhere = take(5, scope="base")
    take(70, scope="base")
    still = take(71, fault)
    over = take(80), take(140), take(150)

    assert said(fired) == [
        (OPERATOR, "⚠️ Keeper: No new Ethereum block for 95 s: asking every 12 s.")
    ]
    assert fired.messages[0].severity is Severity.CRITICAL
    assert fired.messages[0].kind == "fault"
    assert said(elsewhere) == said(still) == []
    assert [said(one) for one in over] == [
        [],
        [(OPERATOR, "🟢 Keeper: ethereum heads is well again after 2 min.")],
        [],
    ]


def test_a_doubted_price_is_told_with_what_is_held_and_ends_by_itself() -> None:
    house = House()
    doubted = replace(
        price(USDC, feed_verdict(USDC_USD)),
        suspicions=(
            Suspicion(
                cause=Cause.DISAGREES,
                stance=Stance.HOLD_LIQUIDATIONS,
                reason="USDC: the reference disagrees: 1.3 by the protocol and 1 by kraken",
            ),
        ),
    )

    told = house.take(0, prices=(doubted,))
    over = house.take(60, prices=(replace(doubted, suspicions=()),))

    line = (
        "⚪ Price of USDC doubted: USDC: the reference disagrees: 1.3 by the protocol and 1 by "
        "kraken. Liquidations that use it are held; protections go on."
    )
    assert said(told) == [(OPERATOR, line)]
    assert said(over) == [(OPERATOR, "⚪ Price of USDC usable again after 60 s.")]


def night(chat: str = CHAT) -> Manners:
    # T0 is 11:06:43 UTC, and somebody works at night
    return Manners(hours=(ChatHours(chat=chat, quiet_from=11 * 60, quiet_to=20 * 60),))


def one_pass(
    health: str, *states: AlertState, at: int = T0, manners: Manners | None = None
) -> AlertPass:
    return pass_alerts(
        block=block(at),
        prices={MARKET: ()},
        assessments=(assessed(wad(health), at=at),),
        watches=(watch(),),
        states=states,
        operators=(OPERATOR,),
        thresholds=DEFAULT_THRESHOLDS,
        policy=Policy(escalate_to=("telegram:8",)),
        manners=manners,
    )


def test_quiet_hours_hold_a_warning_for_the_digest() -> None:
    told = one_pass("1.14", manners=night())

    assert told.messages == ()
    assert [line.text for line in told.held] == ["🟠 main: health factor 1.140 (warning < 1.15)"]
    assert [one.level for one in told.states] == [AlertLevel.WARNING]


def test_quiet_hours_do_not_hold_a_critical_nor_its_end() -> None:
    fired = one_pass("1.04", manners=night())
    clearing = replace(fired.states[0], clear_since=T0)
    over = one_pass("1.5", clearing, at=T0 + 600, manners=night())

    assert [one.kind for one in fired.messages] == ["fired"]
    assert [one.kind for one in over.messages] == ["resolved"]
    assert (fired.held, over.held) == ((), ())


def test_quiet_hours_of_one_chat_are_not_those_of_another() -> None:
    told = one_pass("1.14", manners=night("telegram:1"))

    assert len(told.messages) == 1


def test_a_reminder_is_not_worth_a_line_of_the_digest() -> None:
    fired = one_pass("1.14", manners=night())
    later = one_pass("1.14", fired.states[0], at=T0 + 4 * 3600, manners=night())

    assert (later.held, later.messages) == ((), ())


def test_a_chat_that_is_called_in_gets_a_message_of_its_own_with_buttons_that_work() -> None:
    fired = one_pass("1.04")
    called = one_pass("1.04", fired.states[0], at=T0 + 900)

    assert [(one.chat, one.kind) for one in called.messages] == [
        (CHAT, "repeated"),
        ("telegram:8", "escalated"),
    ]
    own, other = called.messages
    assert other.text.splitlines()[0] == (
        "🔴 main: health factor 1.040 (critical < 1.05), not acknowledged for 15 min"
    )
    assert own.buttons == other.buttons
    assert own.buttons[0].data == f"ack:{alert_id(fired.states[0])}"
    assert own.key != other.key


def test_an_acknowledged_critical_calls_nobody_in() -> None:
    fired = one_pass("1.04")
    word = Hush(
        chat=CHAT,
        rule="health",
        subject=fired.states[0].subject,
        fired_at=T0,
        level=AlertLevel.CRITICAL,
        until=None,
    )
    later = one_pass("1.04", fired.states[0], at=T0 + 9000, manners=Manners(hushes=(word,)))

    assert later.messages == ()
