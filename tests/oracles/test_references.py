"""References: medians, floors, and what a pool's accumulated ticks are worth."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import ConfigError
from keeper.model import Asset, Call, CallResult, Failed, Quote, Returned, Silent
from keeper.oracles.references import ReferenceRules, combine
from keeper.oracles.together import together
from keeper.oracles.uniswap import (
    FEES,
    Pool,
    best_pools,
    find_pools,
    mean_tick,
    quote_of,
    read_pools,
)
from keeper.ports import Steps
from keeper.units import Base
from tests.oracles.fakes import address

RULES = ReferenceRules()
USDC = Asset(address=address(0x10), symbol="USDC", decimals=6)
WETH = Asset(address=address(0x20), symbol="WETH", decimals=18)
FACTORY, POOL = address(0xFAC), address(0x900)


def said(*prices: int, **more: Any) -> list[Quote | Silent]:
    return [Quote(source=f"venue {i}", price=Base(price), **more) for i, price in enumerate(prices)]


def test_one_venue_far_off_does_not_move_the_median() -> None:
    # USDe on 10 October 2025: 0.65 on one exchange
    assert combine(said(65_000_000, 99_400_000, 99_910_000), RULES).price == 99_400_000


def test_the_median_of_two_is_their_mean() -> None:
    assert combine(said(99_400_001, 99_900_000), RULES).price == 99_650_000


def test_venues_that_contradict_one_another_make_no_reference() -> None:
    reference = combine(said(65_000_000, 99_900_000), RULES)

    assert reference.price is None
    assert reference.reason == (
        "the sources contradict one another: venue 0 says 0.65, venue 1 0.999"
    )


def test_too_few_make_none_either() -> None:
    reference = combine(said(99_900_000), ReferenceRules(min_sources=2))

    assert (reference.price, reference.reason) == (None, "1 sources answered, 2 are needed")


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (Quote(source="x", price=Base(0)), "it says 0, a price is above 0"),
        (Quote(source="x", price=Base(9), age_s=121), "121 s old, 120 s are allowed"),
        (
            Quote(source="x", price=Base(9), depth=Base(999_999 * 10**8)),
            "depth of 999,999 USD is below the floor of 1,000,000 USD",
        ),
        (Silent(source="x", reason="it is down"), "it is down"),
    ],
)
def test_what_does_not_count_says_why(quote: Quote | Silent, reason: str) -> None:
    reference = combine([quote, *said(99_900_000)], RULES)

    assert reference.price == 99_900_000
    assert reference.silent == (Silent(source="x", reason=reason),)


def test_rules_that_let_nothing_through_do_not_start() -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        ReferenceRules(max_age_s=0)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=9))
def test_a_reference_lies_between_its_quotes_and_most_agree(prices: list[int]) -> None:
    reference = combine(said(*prices), RULES)

    if reference.price is not None:
        near = [p for p in prices if abs(p - reference.price) * 10_000 <= 300 * reference.price]
        assert min(prices) <= reference.price <= max(prices)
        assert len(near) * 2 > len(prices)


# --- Uniswap --------------------------------------------------------------------------------


def observed(ticks: tuple[int, int], seconds: tuple[int, int]) -> Returned:
    words = (64, 160, 2, *ticks, 2, *seconds)
    return Returned(b"".join(w.to_bytes(32, "big", signed=w < 0) for w in words))


def accumulated(tick: int, liquidity: int, window_s: int = 300) -> Returned:
    return observed((-(10**9), -(10**9) + tick * window_s), (7, 7 + (window_s << 128) // liquidity))


def pool(asset: Asset, quote: Asset, fee: int = 500) -> Pool:
    return Pool(address=POOL, asset=asset, quote=quote, fee=fee)


def test_a_mean_tick_is_rounded_towards_minus_infinity() -> None:
    # -7 over 2 is -3.5
    assert mean_tick((10, 3), 2) == -4
    assert mean_tick((3, 10), 2) == 3


def test_a_tick_is_a_price_whichever_token_comes_first() -> None:
    # USDC is token0: raw WETH per raw USDC = 1.0001**194636; a whole WETH is
    # 1e18 / (1e6 * 1.0001**194636) USDC = 3,531.66, and USDC is at 0.99991873
    answer = accumulated(194_636, 10**19)
    eth = quote_of(pool(WETH, USDC), answer, Base(99_991_873), 300)
    usdc = quote_of(pool(USDC, WETH), answer, Base(351_237_281_953), 300)

    assert isinstance(eth, Quote)
    assert isinstance(usdc, Quote)
    expected = 1e12 / 1.0001**194_636 * 0.99991873
    assert eth.price / 10**8 == pytest.approx(expected, rel=1e-7)
    # and back: a USDC in WETH times the price of WETH
    assert usdc.price / 10**8 == pytest.approx(3512.37281953 / (1e12 / 1.0001**194_636), rel=1e-7)
    assert eth.source == "Uniswap v3 WETH/USDC 0.05 %"


def test_depth_is_the_value_of_the_virtual_reserve() -> None:
    # reserve of USDC (token0) = L / sqrt(raw WETH per raw USDC)
    answer = accumulated(194_636, 10**19)

    quote = quote_of(pool(WETH, USDC), answer, Base(10**8), 300)

    assert isinstance(quote, Quote)
    assert quote.depth is not None
    reserve = 1e19 / (1.0001**194_636) ** 0.5 / 1e6
    assert quote.depth / 10**8 == pytest.approx(reserve, rel=1e-6)


@given(tick=st.integers(-887_272, 887_272), other=st.integers(1, 10**16))
def test_every_tick_has_a_price_and_no_overflow(tick: int, other: int) -> None:
    quote = quote_of(pool(USDC, WETH), accumulated(tick, 10**12), Base(other), 300)

    assert isinstance(quote, Quote)
    exact = Decimal("1.0001") ** tick * other / 10**12
    assert abs(quote.price - exact) <= 1 + exact / 10**20


@pytest.mark.parametrize(
    ("answer", "other", "reason"),
    [
        (Failed("reverted"), Base(10**8), "its history is shorter than the window"),
        (Returned(b""), Base(10**8), "observe() answered 0 bytes that are no observations"),
        (Returned(b"\xff" * 256), Base(10**8), "observe() answered 256 bytes that"),
        (observed((0, 10**12), (0, 1)), Base(10**8), "what no pool can have accumulated"),
        (observed((0, 0), (5, 5)), Base(10**8), "what no pool can have accumulated"),
        (accumulated(1, 10**18), None, "no price of the other token, USDC"),
        (accumulated(1, 10**18), Base(0), "no price of the other token, USDC"),
    ],
)
def test_nonsense_costs_the_pool_its_say_and_nothing_else(
    answer: CallResult, other: Base | None, reason: str
) -> None:
    quote = quote_of(pool(WETH, USDC), answer, other, 300)

    assert isinstance(quote, Silent)
    assert reason in quote.reason


def drive(steps: Steps[Any], *answers: tuple[CallResult, ...]) -> tuple[Any, list[Any]]:
    asked = []
    try:
        calls = next(steps)
        for answer in answers:
            asked.append(calls)
            calls = steps.send(answer)
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks for more")


def test_pools_are_found_through_the_factory() -> None:
    zero, there = Returned(bytes(32)), Returned(int(POOL, 16).to_bytes(32))
    found, asked = drive(
        find_pools(FACTORY, (USDC, WETH), ("USDC",)), (zero, there, Failed("reverted"), zero)
    )

    assert found == (pool(WETH, USDC, 500),)
    (calls,) = asked
    assert {call.to for call in calls} == {FACTORY}
    assert [int.from_bytes(call.data[68:]) for call in calls] == list(FEES)


def test_without_a_factory_nobody_is_asked() -> None:
    assert drive(find_pools(None, (USDC, WETH), ("USDC",))) == ((), [])
    assert drive(read_pools((), 300)) == ((), [])


def deep(depth: int) -> Quote:
    return Quote(source="", price=Base(1), depth=Base(depth))


def test_one_pool_for_each_asset_remains() -> None:
    shallow, deepest, gone = (pool(WETH, USDC, fee) for fee in (100, 500, 3_000))
    only = pool(USDC, WETH, 10_000)
    silent = Silent(source="", reason="no history")
    said: dict[Pool, Quote | Silent] = {
        shallow: deep(5),
        deepest: deep(7),
        gone: silent,
        only: silent,
    }

    assert best_pools(said, ("USDC", "WETH"), Base(3)) == (deepest, only)


def test_a_preferred_quote_token_is_better_than_depth_but_not_than_the_floor() -> None:
    wsteth = Asset(address=address(0x30), symbol="wstETH", decimals=18)
    dollars, ether = pool(wsteth, USDC), pool(wsteth, WETH)
    said: dict[Pool, Quote | Silent] = {ether: deep(900), dollars: deep(40)}

    assert best_pools(said, ("USDC", "WETH"), Base(40)) == (dollars,)
    assert best_pools(said, ("USDC", "WETH"), Base(41)) == (ether,)
    assert best_pools(said, ("WETH", "USDC"), Base(40)) == (ether,)


# --- several at once ------------------------------------------------------------------------


def two_batches(name: str) -> Steps[str]:
    (first,) = yield (Call(to=POOL, data=name.encode()),)
    second = yield (Call(to=POOL, data=b"1"), Call(to=POOL, data=b"2"))
    assert isinstance(first, Returned)
    return f"{name} {first.data!r} {len(second)}"


def nothing() -> Steps[int]:
    return 7
    yield ()


def test_several_reads_go_out_together_and_come_back_in_order() -> None:
    steps = together(two_batches("a"), nothing(), two_batches("b"))
    a, b, c = Returned(b"A"), Returned(b"B"), Returned(b"")

    result, asked = drive(steps, (a, b), (c, c, c, c))

    assert result == ("a b'A' 2", 7, "b b'B' 2")
    assert [len(calls) for calls in asked] == [2, 4]
