import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import ConfigError
from keeper.model import Address, Failed, Feed, FeedState, FeedVerdict, Round, Source
from keeper.oracles.judge import JudgeRules, judge, judge_prices
from keeper.units import Base
from tests.oracles.fakes import NOW, address, asset, block, feed_of

RULES = JudgeRules()
USDC = feed_of()
PRICE = (Base(99_987_001),)


def round_of(feed: Feed = USDC, **changes: int) -> Round:
    fields = {"round_id": 3, "answer": 99_987_001, "updated_at": NOW - 41, "decimals": 8}
    return Round(feed=feed.address, **(fields | changes))


def source_of(*feeds: Feed, untraced: str = "", symbol: str = "USDC") -> Source:
    return Source(
        asset=asset(1, symbol),
        address=address(0x50),
        path=(),
        feeds=feeds,
        untraced=untraced,
    )


def verdicts(*judged: FeedVerdict) -> dict[Address, FeedVerdict]:
    return {v.feed.address: v for v in judged}


def test_a_fresh_round_is_usable_and_says_its_age() -> None:
    verdict = judge(USDC, round_of(), block(), RULES)

    assert verdict.usable
    assert (verdict.answer, verdict.age_s, verdict.reason) == (99_987_001, 41, "")


def test_a_feed_is_stale_one_second_after_heartbeat_and_grace() -> None:
    # 3,600 + 120: real feeds land late
    hourly = feed_of(heartbeat_s=3_600)
    last_second = judge(hourly, round_of(updated_at=NOW - 3_720), block(), RULES)
    too_late = judge(hourly, round_of(updated_at=NOW - 3_721), block(), RULES)

    assert last_second.state is FeedState.USABLE
    assert too_late.state is FeedState.STALE


def test_a_daily_feed_may_be_later_than_an_hourly_one() -> None:
    # a 400th of 86,400 is 216
    last_second = judge(USDC, round_of(updated_at=NOW - 86_616), block(), RULES)
    too_late = judge(USDC, round_of(updated_at=NOW - 86_617), block(), RULES)
    strict = judge(USDC, round_of(updated_at=NOW - 86_401), block(), JudgeRules(grace_s=0))

    assert last_second.state is FeedState.USABLE
    assert too_late.state is FeedState.STALE
    assert strict.state is FeedState.STALE


def test_the_stale_reason_has_both_numbers() -> None:
    verdict = judge(USDC, round_of(updated_at=NOW - 90_314), block(), RULES)

    assert verdict.reason == "USDC/USD: last answer 90314 s old, heartbeat is 86400 s"


def test_an_assumed_heartbeat_is_said_to_be_one() -> None:
    feed = feed_of(heartbeat_assumed=True)

    verdict = judge(feed, round_of(feed, updated_at=NOW - 90_314), block(), RULES)

    assert verdict.reason.endswith("heartbeat is 86400 s (assumed)")


@pytest.mark.parametrize("answer", [0, -1, -(2**255)])
def test_zero_and_negative_answers_are_no_price(answer: int) -> None:
    verdict = judge(USDC, round_of(answer=answer), block(), RULES)

    assert verdict.state is FeedState.SUSPICIOUS
    assert verdict.reason == f"USDC/USD: the answer is {answer}, a price is above 0"


def test_a_round_from_the_future_is_no_price() -> None:
    near = judge(USDC, round_of(updated_at=NOW + 30), block(), RULES)
    far = judge(USDC, round_of(updated_at=NOW + 31), block(), RULES)

    assert near.usable
    assert far.state is FeedState.SUSPICIOUS
    assert far.reason == f"USDC/USD: updatedAt {NOW + 31} is after the block's {NOW}"


def test_changed_decimals_are_a_fault_and_not_a_price() -> None:
    verdict = judge(USDC, round_of(decimals=18), block(), RULES)

    assert verdict.state is FeedState.SUSPICIOUS
    assert verdict.reason == "USDC/USD: the feed has 18 decimals, it had 8"


def test_an_incomplete_round_has_no_age() -> None:
    verdict = judge(USDC, round_of(updated_at=0), block(), RULES)

    assert verdict.state is FeedState.SUSPICIOUS
    assert verdict.reason == "USDC/USD: round 3 is not complete, updatedAt is 0"
    assert verdict.age_s is None


def test_a_feed_that_does_not_answer_is_unreadable() -> None:
    verdict = judge(USDC, Failed("latestRoundData() did not answer: it reverted"), block(), RULES)

    assert verdict.state is FeedState.UNREADABLE
    assert verdict.reason == "USDC/USD: latestRoundData() did not answer: it reverted"
    assert verdict.answer is None


def test_the_round_of_another_feed_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="was given for the feed"):
        judge(USDC, round_of(feed_of(address=address(9))), block(), RULES)


@given(
    age=st.integers(-(10**6), 10**6),
    answer=st.integers(-(2**255), 2**255 - 1),
    decimals=st.integers(0, 36),
)
def test_usable_means_fresh_positive_and_in_the_same_decimals(
    age: int, answer: int, decimals: int
) -> None:
    reading = round_of(updated_at=NOW - age, answer=answer, decimals=decimals)

    verdict = judge(USDC, reading, block(), RULES)

    good = -30 <= age <= 86_400 + 216 and answer > 0 and decimals == 8
    assert verdict.usable is good
    assert bool(verdict.reason) is not good


def test_negative_tolerances_do_not_start() -> None:
    with pytest.raises(ConfigError, match="grace_s is -1"):
        JudgeRules(grace_s=-1)


def test_one_stale_leaf_makes_the_price_unusable() -> None:
    steth = feed_of(address=address(0x57), description="stETH/ETH")
    fresh = judge(USDC, round_of(), block(), RULES)
    stale = judge(steth, round_of(steth, updated_at=NOW - 99_999), block(), RULES)

    (price,) = judge_prices((source_of(USDC, steth),), verdicts(fresh, stale), PRICE, RULES)

    assert not price.usable
    assert price.reason == "stETH/ETH: last answer 99999 s old, heartbeat is 86400 s"
    assert price.feeds == (fresh, stale)


def test_a_price_is_usable_when_every_leaf_is() -> None:
    fresh = judge(USDC, round_of(), block(), RULES)

    (price,) = judge_prices((source_of(USDC),), verdicts(fresh), PRICE, RULES)

    assert price.usable
    assert price.price == 99_987_001


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "USDC: the market's oracle answers no price"),
        (Base(0), "USDC: the market's oracle answers a price of 0"),
    ],
)
def test_no_price_from_the_market_is_unusable_however_fresh_the_feed(
    answer: Base | None, reason: str
) -> None:
    fresh = judge(USDC, round_of(), block(), RULES)

    (price,) = judge_prices((source_of(USDC),), verdicts(fresh), (answer,), RULES)

    assert price.reason == reason


def test_a_fixed_price_has_no_feeds_and_is_usable() -> None:
    (price,) = judge_prices((source_of(),), {}, PRICE, RULES)

    assert price.usable


def test_an_untraced_source_is_never_fresh_unless_it_is_trusted() -> None:
    source = source_of(untraced="it says neither when nor from what")

    (refused,) = judge_prices((source,), {}, PRICE, RULES)
    trusting = JudgeRules(trusted_sources=frozenset({source.address}))
    (trusted,) = judge_prices((source,), {}, PRICE, trusting)

    assert refused.reason == (
        "USDC: price source could not be traced, it says neither when nor from what"
    )
    assert trusted.usable


def test_a_trusted_source_is_still_judged_by_the_feeds_that_were_found() -> None:
    stale = judge(USDC, round_of(updated_at=NOW - 99_999), block(), RULES)
    source = source_of(USDC, untraced="half of it is unknown")
    trusting = JudgeRules(trusted_sources=frozenset({source.address}))

    (price,) = judge_prices((source,), verdicts(stale), PRICE, trusting)

    assert not price.usable


def test_a_feed_nobody_read_is_not_fresh() -> None:
    (price,) = judge_prices((source_of(USDC),), {}, PRICE, RULES)

    assert price.reason == "USDC/USD: the feed was not read at this block"


def test_hostile_symbols_do_not_reach_a_reason() -> None:
    (price,) = judge_prices((source_of(symbol="US\u202eDC\n"),), {}, (None,), RULES)

    assert price.reason == "USDC: the market's oracle answers no price"
