"""Each cause of doubt by itself: what is said of it, and what may still be done."""

from dataclasses import replace

import pytest

from keeper.model import (
    Address,
    Cap,
    CapReading,
    Cause,
    Failed,
    Feed,
    FeedState,
    PriceVerdict,
    Quote,
    Reference,
    Returned,
    Round,
    Source,
    Stance,
)
from keeper.oracles import policy
from keeper.oracles.bounds import read_bounds
from keeper.oracles.caps import GETTERS, cap_reading
from keeper.oracles.judge import Evidence, JudgeRules, judge, judge_prices
from keeper.oracles.jumps import Level, step
from keeper.oracles.sequencer import judge_sequencer
from keeper.oracles.trace import TraceRules, trace
from keeper.units import Base
from tests.oracles.fakes import (
    NOW,
    REVERTED,
    Chain,
    adapter,
    address,
    asset,
    block,
    feed,
    feed_of,
    points_to,
    word,
)

RULES = JudgeRules()
ROOT, FEED, TOKEN, AGGREGATOR, UPTIME = (address(n) for n in range(1, 6))
ETH = feed_of(address=FEED, description="ETH/USD", heartbeat_s=3_600)


def round_of(of: Feed, answer: int) -> Round:
    return Round(feed=of.address, round_id=9, answer=answer, updated_at=NOW - 40, decimals=8)


def priced(
    price: int,
    *,
    feeds: tuple[Feed, ...] = (ETH,),
    answer: int | None = None,
    jump: str = "",
    rules: JudgeRules = RULES,
    reference: int | None = None,
    cap: CapReading | Failed | None = None,
    **changes: object,
) -> PriceVerdict:
    """One price of 8 decimals, judged."""
    source = Source(asset=asset(1), address=ROOT, path=(), feeds=feeds, **changes)  # type: ignore[arg-type]
    verdicts = {
        f.address: judge(f, round_of(f, answer or price), block(), rules, jump=jump) for f in feeds
    }
    references = {}
    if reference is not None:
        quotes = (Quote(source="kraken", price=Base(reference)),)
        references[source.asset.address] = Reference(price=Base(reference), quotes=quotes)
    evidence = Evidence(
        feeds=verdicts, references=references, caps={ROOT: cap} if cap is not None else {}
    )
    (verdict,) = judge_prices((source,), evidence, (Base(price),), rules)
    return verdict


def causes(verdict: PriceVerdict) -> list[Cause]:
    return [suspicion.cause for suspicion in verdict.suspicions]


# --- bounds ---------------------------------------------------------------------------------


def test_the_bounds_of_the_aggregator_behind_a_proxy_are_traced() -> None:
    chain = Chain(
        {
            FEED: feed(aggregator=points_to(AGGREGATOR)),
            AGGREGATOR: {"minAnswer": word(10_700_000), "maxAnswer": word(10**14)},
        }
    )

    (source,) = chain.drive(trace(((asset(1), FEED),), 1, TraceRules()))

    (leaf,) = source.feeds
    assert (leaf.aggregator, leaf.min_answer, leaf.max_answer) == (AGGREGATOR, 10_700_000, 10**14)


def test_the_older_aggregators_names_of_the_bounds_are_known() -> None:
    chain = Chain({AGGREGATOR: {"minSubmissionValue": word(1), "maxSubmissionValue": word(977)}})

    assert chain.drive(read_bounds((AGGREGATOR,))) == {AGGREGATOR: (1, 977)}


def test_an_aggregator_without_bounds_has_none() -> None:
    assert Chain({AGGREGATOR: {}}).drive(read_bounds((AGGREGATOR,))) == {AGGREGATOR: (None, None)}


@pytest.mark.parametrize(
    ("answer", "said"), [(10_700_000, "the least"), (9, "the least"), (10**14, "the greatest")]
)
def test_an_answer_at_the_bound_is_no_price(answer: int, said: str) -> None:
    luna = feed_of(description="LUNA/USD", min_answer=10_700_000, max_answer=10**14)

    verdict = judge(luna, round_of(luna, answer), block(), RULES)

    assert (verdict.state, verdict.cause) == (FeedState.SUSPICIOUS, Cause.BOUND)
    assert verdict.reason == f"LUNA/USD: the answer is {answer}, {said} that its aggregator can say"


def test_an_answer_beside_the_bound_is_one() -> None:
    luna = feed_of(min_answer=10_700_000, max_answer=10**14)

    assert judge(luna, round_of(luna, 10_700_001), block(), RULES).usable


# --- jumps ----------------------------------------------------------------------------------


def level(believed: int, at: int = NOW - 12, **more: int) -> Level:
    return Level(believed=believed, seen_at=at, **more)


def told(before: Level | None, answer: int, at: int = NOW) -> tuple[Level | None, str]:
    return step(before, answer, block(at), band_percent=20, hold_s=600)


def test_a_step_within_the_band_is_believed() -> None:
    # 100 -> 80 is exactly 20 %
    assert told(level(100_00), 80_00) == (level(80_00, NOW), "")


def test_a_step_beyond_the_band_is_not_and_says_both_numbers() -> None:
    jumped, why = told(level(351_237_281_953), 112_000_000)

    assert why == "the answer went from 351237281953 to 112000000, -100.0 %, the band is 20 %"
    assert jumped == level(351_237_281_953, NOW, jumped_to=112_000_000, since=NOW)


def test_a_thousandfold_step_is_said_as_times() -> None:
    assert "1,000.0 times as much" in told(level(99_990_000), 99_990_000_000)[1]


def test_a_jump_is_believed_when_it_has_lasted() -> None:
    jumped, first = told(level(100_00), 50_00)
    still, second = told(jumped, 51_00, NOW + 599)
    settled, third = told(still, 52_00, NOW + 600)

    assert first
    assert second
    assert (settled, third) == (level(52_00, NOW + 600), "")


def test_a_jump_that_goes_on_jumping_starts_anew() -> None:
    jumped, _ = told(level(100_00), 50_00)
    again, why = told(jumped, 10_00, NOW + 600)

    assert why
    assert again == level(100_00, NOW + 600, jumped_to=10_00, since=NOW + 600)


def test_a_jump_back_is_believed_at_once() -> None:
    jumped, _ = told(level(100_00), 50_00)

    assert told(jumped, 99_00, NOW + 12) == (level(99_00, NOW + 12), "")


def test_nobody_who_was_away_knows_a_jump_from_a_fall() -> None:
    assert told(level(100_00, NOW - 1_800), 50_00)[1]
    assert told(level(100_00, NOW - 1_801), 50_00) == (level(50_00, NOW), "")


def test_zero_is_no_level_to_jump_to() -> None:
    assert told(None, 0) == (None, "")
    assert told(level(7), -3) == (level(7), "")


def test_on_a_jump_nobody_is_liquidated_and_health_is_the_protocols() -> None:
    verdict = priced(112_000_000, jump="the answer went from 9 to 1")

    assert causes(verdict) == [Cause.JUMP]
    assert verdict.usable
    assert verdict.hold_liquidations == "ETH/USD: the answer went from 9 to 1"


def test_a_jump_that_the_reference_confirms_is_believed_at_once() -> None:
    confirmed = priced(87_260_000, jump="it fell", reference=87_480_000)
    denied = priced(87_260_000, jump="it fell", reference=99_990_000)

    assert causes(confirmed) == []
    assert not confirmed.feeds[0].usable, "people are told of the jump all the same"
    assert causes(denied) == [Cause.JUMP, Cause.DISAGREES]


# --- units ----------------------------------------------------------------------------------


def test_a_ratio_where_dollars_should_be_is_no_price() -> None:
    cbeth = feed_of(address=FEED, description="CBETH/ETH")

    verdict = priced(112_000_000, feeds=(cbeth,))

    assert causes(verdict) == [Cause.UNITS]
    assert verdict.reason == (
        "WETH: it is priced by CBETH/ETH alone, which is a ratio and no price in USD"
    )
    assert not verdict.hold_all, "its owners are protected all the same"


@pytest.mark.parametrize(
    "descriptions",
    [("CBETH/ETH", "ETH/USD"), ("wstETH-stETH Exchange Rate",), ("BUIDL NAV",), ("SUSDE/USDC",)],
)
def test_dollars_somewhere_or_no_pair_at_all_is_not_taken_for_a_ratio(
    descriptions: tuple[str, ...],
) -> None:
    feeds = tuple(
        feed_of(address=address(0x90 + i), description=d) for i, d in enumerate(descriptions)
    )

    assert causes(priced(112_000_000, feeds=feeds)) == []


def test_a_source_of_18_decimals_in_a_market_of_8_is_no_price() -> None:
    verdict = priced(10**18, decimals=18)

    assert verdict.reason == "WETH: its price source has 18 decimals, the market counts in 8"


# --- caps -----------------------------------------------------------------------------------

WSTETH = Cap(address=ROOT, base=FEED, ratio_decimals=18)
ETH_ANSWER = 351_237_281_953


def cap_of(ratio: str, cap: str, snapshot: str = "1.17", *, capped: bool = False) -> CapReading:
    wad = [int(part.replace(".", "").ljust(19, "0")) for part in (ratio, cap, snapshot)]
    return CapReading(capped=capped, ratio=wad[0], cap=wad[1], snapshot_ratio=wad[2])


def capped_price(reading: CapReading | Failed, price: int) -> PriceVerdict:
    return priced(price, answer=ETH_ANSWER, cap=reading, caps=(WSTETH,))


def test_a_cap_grows_by_the_second_from_its_snapshot() -> None:
    # 1.17 + 86,400 s * 1e9 per second = 1.17 + 0.0000864
    said = {
        "isCapped": 0,
        "getRatio": 1_170_050_000_000_000_000,
        "getSnapshotRatio": 1_170_000_000_000_000_000,
        "getSnapshotTimestamp": NOW - 86_400,
        "getMaxRatioGrowthPerSecond": 10**9,
    }

    reading = cap_reading(tuple(word(said[getter]) for getter in GETTERS), block())

    assert isinstance(reading, CapReading)
    assert reading.cap == 1_170_086_400_000_000_000
    # 36.4e12 of 1.17005e18 is 0.31 bps, floored
    assert reading.headroom_bps == 0


def test_a_cap_that_contradicts_the_adapter_was_not_understood() -> None:
    # 1.17 + 86,400 * 1 is below 1.18, and the adapter says that nothing is capped
    said = (0, 118 * 10**16, 117 * 10**16, NOW - 86_400, 1)

    reading = cap_reading(tuple(map(word, said)), block())

    assert reading == CapReading(capped=False, ratio=118 * 10**16, cap=None)


def test_a_cap_that_says_less_is_still_a_cap() -> None:
    stable = cap_reading((word(1), *(REVERTED for _ in GETTERS[1:])), block())

    assert stable == CapReading(capped=True, ratio=0, cap=None)
    assert stable.headroom_bps is None


def test_a_cap_that_cannot_be_read_says_so() -> None:
    reading = cap_reading((Returned(b"\1"), *(word(1) for _ in GETTERS[1:])), block())

    assert isinstance(reading, Failed)
    assert causes(capped_price(reading, ETH_ANSWER)) == [Cause.CAP_BROKEN]


def test_a_cap_with_room_is_no_doubt() -> None:
    # 351,237,281,953 * 1.19 = 417,972,365,524.07
    assert causes(capped_price(cap_of("1.19", "1.20"), 417_972_365_524)) == []


def test_a_ratio_above_its_cap_holds_the_price_down() -> None:
    # 351,237,281,953 * 1.19 = 417,972,365,524.07
    verdict = capped_price(cap_of("1.2249", "1.19", capped=True), 417_972_365_524)

    assert causes(verdict) == [Cause.CAPPED]
    # 1.19 / 1.2249 - 1 = -2.849 %, floored to -285 bps
    assert verdict.hold_liquidations == (
        "WETH: its price is held down by the adapter's cap: the ratio is 2.85 % above it"
    )


def test_a_ratio_below_the_snapshot_does_not_fit_its_cap() -> None:
    verdict = capped_price(cap_of("1.15", "1.30", snapshot="1.25"), 403_922_874_245)

    assert causes(verdict) == [Cause.CAP_BROKEN]
    assert verdict.hold_liquidations == (
        "WETH: its ratio is 92.00 % of the snapshot that the cap grows from"
    )


def test_base_times_ratio_must_be_the_price() -> None:
    verdict = capped_price(cap_of("1.19", "1.20"), 430_000_000_000)

    assert causes(verdict) == [Cause.CAP_BROKEN]
    assert verdict.suspicions[0].reason.endswith(
        "is 417972365524, the protocol answers 430000000000"
    )


def test_adapters_that_cap_are_traced_as_such() -> None:
    chain = Chain(
        {
            ROOT: adapter(
                BASE_TO_USD_AGGREGATOR=points_to(FEED),
                RATIO_PROVIDER=points_to(TOKEN),
                isCapped=word(0),
                getRatio=word(119 * 10**16),
                RATIO_DECIMALS=word(18),
            ),
            FEED: feed(),
            TOKEN: {"decimals": word(18)},
        }
    )

    (source,) = chain.drive(trace(((asset(1), ROOT),), 1, TraceRules()))

    assert source.caps == (WSTETH,)
    assert (source.fixed, source.decimals) == (False, 8)


# --- references -----------------------------------------------------------------------------


def test_a_price_within_the_limit_of_its_reference_is_not_doubted() -> None:
    # 103 against 100: exactly 3 %
    verdict = priced(103_000_000, reference=100_000_000)

    assert causes(verdict) == []
    assert verdict.difference_bps == 300


def test_a_price_beyond_it_says_both_prices_and_who_said_so() -> None:
    verdict = priced(130_000_000, reference=100_210_000)

    assert verdict.hold_liquidations == (
        "WETH: the reference disagrees: 1.3 by the protocol and 1.0021 by kraken, +29.73%"
    )
    assert verdict.difference_bps == 2_972


@pytest.mark.parametrize(("price", "doubted"), [(102_400_000, False), (102_410_000, True)])
def test_a_price_that_disagreed_must_come_closer_to_agree_again(price: int, doubted: bool) -> None:
    # four fifths of 3 % is 2.4 %
    source = Source(asset=asset(1), address=ROOT, path=(), feeds=(), fixed=True)
    address_, quotes = source.asset.address, (Quote(source="kraken", price=Base(10**8)),)
    before = Evidence(feeds={}, references={address_: Reference(price=Base(10**8), quotes=quotes)})
    (fresh,) = judge_prices((source,), before, (Base(price),), RULES)
    (again,) = judge_prices(
        (source,), replace(before, disagreed=frozenset({address_})), (Base(price),), RULES
    )

    assert causes(fresh) == []
    assert bool(causes(again)) is doubted


def test_a_fixed_price_that_the_market_has_left_is_another_cause() -> None:
    verdict = priced(100_000_000, feeds=(), fixed=True, reference=26_000_000)

    assert causes(verdict) == [Cause.FIXED]


def test_a_reference_without_a_price_doubts_nothing() -> None:
    source = Source(asset=asset(1), address=ROOT, path=(), feeds=(), fixed=True)
    torn = Reference(price=None, quotes=(), reason="the sources contradict one another")
    evidence = Evidence(feeds={}, references={source.asset.address: torn})

    (verdict,) = judge_prices((source,), evidence, (Base(10**8),), RULES)

    assert causes(verdict) == []
    assert verdict.difference_bps is None


# --- the sequencer --------------------------------------------------------------------------


def uptime(answer: int, started_at: int) -> Returned:
    words = (1, answer, started_at, started_at, 1)
    return Returned(b"".join(w.to_bytes(32, "big", signed=w < 0) for w in words))


@pytest.mark.parametrize(
    ("answer", "cause", "said"),
    [
        (uptime(0, NOW - 3_600), None, ""),
        (uptime(0, NOW - 3_599), Cause.SEQUENCER_GRACE, "up again for 3599 s, the grace is 3600 s"),
        (uptime(1, NOW - 77), Cause.SEQUENCER_DOWN, "down for 77 s"),
        (uptime(0, 0), Cause.SEQUENCER_DOWN, "says neither up nor down"),
        (uptime(2, NOW - 9_999), Cause.SEQUENCER_DOWN, "says neither up nor down"),
        (REVERTED, Cause.SEQUENCER_DOWN, "did not answer"),
        (Returned(b"\0" * 31), Cause.SEQUENCER_DOWN, "31 bytes"),
    ],
)
def test_what_is_not_known_to_be_up_for_long_enough_is_not_up(
    answer: Returned | Failed, cause: Cause | None, said: str
) -> None:
    verdict = judge_sequencer(UPTIME, answer, block(), 3_600)

    assert verdict.cause is cause
    assert verdict.usable is (cause is None)
    assert said in verdict.reason


def test_a_sequencer_that_is_down_takes_down_every_price() -> None:
    down = judge_sequencer(UPTIME, uptime(1, NOW - 77), block(), 3_600)
    fresh = judge(ETH, round_of(ETH, ETH_ANSWER), block(), RULES)
    source = Source(asset=asset(1), address=FEED, path=(), feeds=(ETH,))
    evidence = Evidence(feeds={FEED: fresh}, sequencer=down)

    (verdict,) = judge_prices((source,), evidence, (Base(ETH_ANSWER),), RULES)

    assert verdict.hold_all == "L2 sequencer: down for 77 s"
    assert verdict.feeds == (fresh, down), "one feed for all, so that people are told once"


# --- stances --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stance", "usable", "liquidates", "protects"),
    [
        (Stance.ALERT, True, True, True),
        (Stance.HOLD_LIQUIDATIONS, True, False, True),
        (Stance.PROTECT_ANYWAY, False, False, True),
        (Stance.HOLD_ALL, False, False, False),
    ],
)
def test_each_stance_allows_what_it_says(
    stance: Stance, usable: bool, liquidates: bool, protects: bool
) -> None:
    rules = replace(RULES, stances=policy.stances({Cause.STALE: stance}))
    old = Round(feed=FEED, round_id=9, answer=1, updated_at=NOW - 9_999, decimals=8)
    source = Source(asset=asset(1), address=FEED, path=(), feeds=(ETH,))
    stale = judge(ETH, old, block(), rules)

    (verdict,) = judge_prices((source,), {FEED: stale}, (Base(ETH_ANSWER),), rules)

    assert verdict.usable is usable
    assert (not verdict.hold_liquidations) is liquidates
    assert (not verdict.hold_all) is protects
    assert causes(verdict) == [Cause.STALE], "people are told in any case"


def test_every_cause_has_a_stance_and_no_price_is_never_acted_upon() -> None:
    chosen = policy.stances(dict.fromkeys(Cause, Stance.ALERT))

    assert policy.DEFAULT.keys() == set(Cause)
    assert chosen[Cause.NO_PRICE] is Stance.HOLD_ALL
    assert chosen[Cause.STALE] is Stance.ALERT


def test_an_address_is_enough_for_a_price_verdict_of_old() -> None:
    # made by others without suspicions: unusable means hands off
    source = Source(asset=asset(1), address=Address(ROOT), path=(), feeds=())
    verdict = PriceVerdict(asset=asset(1), source=source, price=None, feeds=(), reason="why")

    assert (verdict.hold_all, verdict.hold_liquidations) == ("why", "why")
