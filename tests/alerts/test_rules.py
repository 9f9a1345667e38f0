"""Rules in words, what they measure, and what they say from one block to the next."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from keeper.alerts.gauge_rules import applies, written_text
from keeper.alerts.machine import DEFAULT_THRESHOLDS, AlertKey, key_of
from keeper.alerts.measures import Gauges, Known, NotKnown, collateral_of, measure, worse_reading
from keeper.alerts.passes import AlertPass, pass_alerts
from keeper.alerts.rules import BadRule, parse_rule
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    FeedState,
    Gauge,
    Leg,
    Manners,
    ReserveFacts,
    Rule,
    Severity,
    Side,
    Watch,
)
from keeper.units import UINT256_MAX, Base, Raw
from tests.alerts.build import (
    CHAT,
    ETH_USD,
    MARKET,
    ME,
    OTHER_MARKET,
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
    unassessable,
    wad,
    watch,
)

LABELS = {"main": ME, str(ME): ME}
WELL = (price(WETH, feed_verdict(ETH_USD)), price(USDC, feed_verdict(USDC_USD)))
STALE = (price(WETH, feed_verdict(ETH_USD, FeedState.STALE, age_s=4260)), WELL[1])
FACTS = ReserveFacts(
    asset=WETH,
    borrow_rate_ray=31_337_000_000_000_000_000_000_001,
    supplied=Raw(10_000 * 10**18 + 1),
    borrowed=Raw(7_500 * 10**18),
    liquidity=Raw(2_400 * 10**18 + 7),
    usable_liquidity=Raw(2_500 * 10**18),
    supply_room=Raw(123_456789 * 10**12),
    borrow_room=None,
)
DEBT = leg(USDC, Side.DEBT, 10_000, 1_00000000)


def rule(text: str) -> Rule:
    return parse_rule(text, CHAT, LABELS.get)


def holding(weth: int) -> Assessed:
    """`weth` milli-ether of collateral at 2501.37 against 10 000 USDC."""
    one: Leg = replace(
        leg(WETH, Side.COLLATERAL, weth * 2_501 // 1000, 2501_37000000, 8300),
        balance=Raw(weth * 10**15),
    )
    return assessed(wad("1.66"), legs=(one, DEBT))


def gauges(of: Assessed | None = None, *, before: Assessed | None = None) -> Gauges:
    return Gauges(
        prices=WELL,
        assessments={ME: of} if of else {},
        facts={WETH.address: FACTS},
        balances={USDC.address: Raw(1_234_567891)},
        gas_wei=400_000_000_000_000_001,
        before=None if before is None else collateral_of((before,)),
        known_before=frozenset() if before is None else frozenset({ME}),
    )


class House:
    """Keeps the states between passes, as the store does."""

    def __init__(self, *rules: str, watches: tuple[Watch, ...] = (watch(),)) -> None:
        self.rules: Iterable[Rule] = tuple(rule(one) for one in rules)
        self.configured: tuple[Rule, ...] = ()
        self.watches = watches
        self.states: dict[AlertKey, AlertState] = {}

    def take(self, after: int, found: Gauges) -> AlertPass:
        done = pass_alerts(
            block=block(T0 + after),
            prices={MARKET: found.prices},
            assessments=(),
            watches=self.watches,
            states=self.states.values(),
            operators=(),
            thresholds=DEFAULT_THRESHOLDS,
            rules=self.configured,
            manners=Manners(rules=tuple(self.rules)),
            gauges={MARKET: found},
        )
        for state in done.states:
            if state.level is AlertLevel.CLEAR:
                self.states.pop(key_of(state), None)
            else:
                self.states[key_of(state)] = state
        return done


def said(done: AlertPass) -> list[str]:
    return [one.text.splitlines()[0].replace("\u202f", " ") for one in done.messages]


def at_price(dollars: int, *, stale: bool = False) -> Gauges:
    verdicts = STALE if stale else WELL
    moved = replace(verdicts[0], price=Base(dollars * 10**8))
    return Gauges(prices=(moved, verdicts[1]))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("price weth<2000/1800", "price weth < 2000/1800"),
        ("PRICE WETH > 3000", "price WETH > 3000"),
        ("distance main < 10%", f"distance {ME} < 10%"),
        ("borrow-rate USDC > 12.5", "borrow_rate USDC > 12.5"),
        ("utilization USDC > 95", "utilisation USDC > 95"),
        ("moved main > 100000", f"moved {ME} > 100000"),
        ("oracle WETH", "oracle WETH"),
        ("balance GAS < 0.5", "balance gas < 0.5"),
        (
            f"liquidity {str(USDC.address).upper().replace('X', 'x')} < 1",
            f"liquidity {USDC.address} < 1",
        ),
    ],
)
def test_a_rule_is_kept_so_that_it_can_be_read_again(text: str, kept: str) -> None:
    once = rule(text)

    assert once.text == kept
    assert parse_rule(once.text, CHAT, Address) == once


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Send a rule such as price WETH < 2000/1800"),
        ("weather WETH < 1", "weather is nothing that a rule can measure: there is price"),
        ("price WETH 2000", "is not a rule: send what, of what, < or >, and a number"),
        ("price WETH < two", "two is no bound"),
        ("price WETH < 1800/2000", "out of order: the second, critical one must be less"),
        ("price WETH > 3000/2000", "out of order: the second, critical one must be greater"),
        ("price WETH < 1/2/3", "is no bound"),
        ("price WETH < 1e999", "is no bound"),
        ("price WETH < -1", "is no bound"),
        ("distance nobody < 10", "nobody is not watched for this chat: /watch it first"),
        ("distance main > 10", "distance needs <: the other side is no danger"),
        ("utilisation USDC < 10", "utilisation needs >"),
        ("price \u202eHTEW < 1", "is no asset"),
        ("price " + "W" * 10_000 + " < 1", "is not a rule"),
    ],
)
def test_what_is_no_rule_is_refused_in_a_sentence_that_names_the_remedy(
    text: str, says: str
) -> None:
    with pytest.raises(BadRule) as refused:
        rule(text)

    assert says in str(refused.value)
    assert len(str(refused.value)) < 300
    assert "\u202e" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("price WETH < 1", 2501_370000000000000000),
        ("borrow_rate WETH > 1", 3_133700000000000000),  # rounded down
        ("utilisation WETH > 1", 75_000000000000000000),  # 7500 of 7500 + 2500
        ("liquidity WETH < 1", 2_400_000000000000000007),
        ("supply_room WETH < 1", 123_456789000000000000),
        ("borrow_room WETH < 1", UINT256_MAX),  # no cap
        ("balance USDC < 1", 1_234_567891000000000000),
        ("balance gas < 1", 400_000_000_000_000_001),
        ("oracle WETH", 0),
        # 25 013 USD weighted 83 % against 10 000 USD: 1 where ETH is 48.1 % of now, 51.8 % down
        ("distance main < 1", 51_800000000000000000),
        ("moved main > 1", 7_504_110000000000000000),  # 3 of 13 ETH at 2 501.37
    ],
)
def test_a_gauge_shows_its_unit_exactly(text: str, value: int) -> None:
    found = measure(rule(text), gauges(holding(10_000), before=holding(13_000)))

    assert isinstance(found, Known)
    assert found.value == value


def test_every_gauge_has_a_reading() -> None:
    texts = {
        kind: f"{kind} {'main' if kind in ('distance', 'moved') else 'WETH'}" for kind in Gauge
    }
    for kind, text in texts.items():
        side = (
            "" if kind is Gauge.ORACLE else " > 1" if kind in ("moved", "utilisation") else " < 1"
        )
        assert measure(rule(text + side), gauges(holding(1))) is not None, kind


def test_collateral_that_went_away_whole_has_moved() -> None:
    gone = assessed(wad("2"), legs=(DEBT,))
    found = measure(rule("moved main > 1"), gauges(gone, before=holding(1_000)))

    assert isinstance(found, Known)
    assert found.value == 2_501_370000000000000000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("price WETH < 1", Gauges(prices=STALE)),
        (
            "distance main < 1",
            Gauges(prices=STALE, assessments={ME: unassessable("ETH/USD stale")}),
        ),
        ("utilisation WETH > 1", Gauges(prices=WELL, unread="the node is gone")),
        ("balance WETH < 1", Gauges(prices=WELL)),
        ("balance gas < 1", Gauges(prices=WELL)),
    ],
)
def test_what_cannot_be_read_is_not_known_and_never_a_number(text: str, found: Gauges) -> None:
    assert isinstance(measure(rule(text), found), NotKnown)


def test_a_rule_fires_once_gets_worse_and_resolves_once() -> None:
    house = House("price WETH < 2000/1800")
    told = [
        said(house.take(at, at_price(dollars)))
        for at, dollars in (
            (0, 2400),
            (12, 1990),
            (24, 1985),
            (36, 1790),
            (48, 2030),  # within 2 % of the first bound: what stands stays
            (60, 2100),
            (400, 2100),
            (655, 2100),  # not yet ten minutes since the 2 100 of 60
            (660, 2100),
            (672, 2100),
        )
    ]

    assert told == [
        [],
        ["🟠 price of WETH: $1 990 (below $2 000)"],
        [],
        ["🔴 price of WETH: $1 790 (below $1 800), before $1 990, 24 s ago"],
        [],
        [],
        [],
        [],
        ["🟢 price of WETH: $2 100 again, after 10 min."],
        [],
    ]


def test_a_stale_price_neither_fires_nor_clears_a_rule() -> None:
    house = House("price WETH < 2000")
    assert said(house.take(0, at_price(1000, stale=True))) == []
    house.take(12, at_price(1990))
    house.take(18, at_price(9000))  # above, for six seconds only
    for after in (24, 1000, 2000):
        assert said(house.take(after, at_price(9000, stale=True))) == []
    assert len(house.states) == 1
    assert said(house.take(2012, at_price(9000))) == []  # the time above begins with this block
    assert said(house.take(2612, at_price(9000))) != []


def test_a_critical_rule_is_loud_and_has_buttons_that_name_it() -> None:
    house = House("price WETH < 2000/1800")
    [message] = house.take(0, at_price(1700)).messages

    assert message.severity is Severity.CRITICAL
    assert [one.label for one in message.buttons] == ["Ack", "Snooze 1h"]
    assert message.text.endswith("Rule: price WETH < 2000/1800")


def test_a_movement_is_said_once_and_its_end_with_the_next_block() -> None:
    house = House("moved main > 5000")
    first = house.take(0, gauges(holding(10_000), before=holding(13_000)))
    after = house.take(12, gauges(holding(10_000), before=holding(10_000)))

    assert said(first) == ["🟠 collateral moved by main: $7 504 (above $5 000)"]
    assert said(after) == ["🟢 collateral of main: nothing more was moved."]


def test_a_movement_in_the_very_next_block_is_said_too() -> None:
    house = House("moved main > 5000")
    house.take(0, gauges(holding(10_000), before=holding(13_000)))
    again = house.take(12, gauges(holding(7_000), before=holding(10_000)))

    assert said(again) == ["🟠 collateral moved by main: $7 504 (above $5 000)"]


def test_a_rule_that_keeps_getting_worse_is_said_again_in_steps() -> None:
    house = House("price WETH < 2000")
    told = [
        said(house.take(at * 12, at_price(dollars)))
        for at, dollars in enumerate((1990, 1941, 1891, 1890, 1885, 1791, 1790))
    ]

    # a step is 5 % of the bound, 100 dollars, from what was last told: never from the last block
    assert told == [
        ["🟠 price of WETH: $1 990 (below $2 000)"],
        [],
        [],
        ["🟠 price of WETH: $1 890 (below $2 000), before $1 990, 36 s ago"],
        [],
        [],
        ["🟠 price of WETH: $1 790 (below $2 000), before $1 890, 36 s ago"],
    ]


@pytest.mark.parametrize(
    ("text", "said", "value", "worse"),
    [
        ("price WETH < 2000", "1990", "1890", True),
        ("price WETH < 2000", "1990", "1890.000000000000000001", False),
        ("price WETH < 2000", "1990", "2100", False),  # better
        ("price WETH > 2000", "2100", "2205", True),  # above a bound: 5 % of what was told
        ("price WETH > 2000", "2100", "2204.999999999999999999", False),
        ("price WETH > 2000", "2100", "1900", False),
        ("oracle WETH", "1", "2", True),  # one doubt more
        ("oracle WETH", "2", "2", False),
        ("moved main > 5000", "6000", "5001", True),  # a movement of its own
        ("balance gas < 0.5", "0.4", "0", True),
        ("balance gas < 0.5", "0", "0", False),
    ],
)
def test_what_is_worse_by_a_step(text: str, said: str, value: str, worse: bool) -> None:
    assert worse_reading(rule(text), wad(value), wad(said), 500) is worse
    assert not worse_reading(rule(text), wad(value), None, 500)  # nothing was told yet


def test_a_rule_that_is_gone_or_whose_account_is_no_longer_watched_ends_without_a_word() -> None:
    house = House("price WETH < 2000", "moved main > 5000")
    house.take(0, replace(gauges(holding(1), before=holding(9_000)), prices=at_price(1000).prices))
    assert len(house.states) == 2
    house.rules, house.watches = (rule("moved main > 5000"),), (watch(account=YOU),)

    assert said(house.take(12, at_price(1000))) == []
    assert house.states == {}


def test_a_rule_that_the_operator_configured_needs_no_watch() -> None:
    house = House(watches=())
    house.configured = (rule("distance main < 99"),)
    of_a_chat = House("distance main < 99", watches=())

    assert len(house.take(0, gauges(holding(9_000))).messages) == 1
    assert of_a_chat.take(0, gauges(holding(9_000))).messages == ()


def test_more_than_five_rules_at_once_are_one_message() -> None:
    house = House(*(f"price WETH < {2000 + n}" for n in range(7)))
    [message] = house.take(0, at_price(1000)).messages

    assert message.text.startswith("🟠 7 of your rules say something:")
    assert message.text.endswith("... 2 more")


def test_a_rule_that_would_fire_at_once_says_so_when_it_is_written() -> None:
    here = {MARKET: at_price(1990)}

    assert written_text(rule("price WETH < 2000"), here).replace("\u202f", " ") == (
        "Rule kept: price WETH < 2000\n🟠 aave-v3-ethereum: now $1 990 — it fires at once."
    )
    assert "fires" not in written_text(rule("price WETH < 1000"), here)
    assert "not known now" in written_text(
        rule("price WETH < 1"), {MARKET: at_price(1, stale=True)}
    )


def test_a_rule_about_an_asset_that_no_market_lists_applies_nowhere() -> None:
    here = {MARKET: at_price(1990), OTHER_MARKET: at_price(1990)}

    assert applies(rule("price WETH < 2000"), here)
    assert not applies(rule("price PEPE < 2000"), here)


def test_of_an_account_that_was_not_known_before_nothing_has_moved() -> None:
    found = replace(gauges(holding(10_000), before=holding(13_000)), known_before=frozenset())

    assert measure(rule("moved main > 1"), found) == Known(value=wad("0"))


def test_a_market_that_was_not_read_keeps_the_alerts_of_its_rules() -> None:
    house = House("price WETH < 2000")
    house.take(0, at_price(1000))
    standing = dict(house.states)

    done = pass_alerts(
        block=block(T0 + 12),
        prices={MARKET: at_price(1000).prices},
        assessments=(),
        watches=house.watches,
        states=house.states.values(),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
        rules=house.rules,
        gauges={},
    )

    assert (done.states, done.messages) == ((), ())
    assert len(standing) == 1
