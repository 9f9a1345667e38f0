"""One market at one block: what is known, what is not, and what is said about it."""

from dataclasses import replace
from fractions import Fraction

import pytest
from eth_abi.abi import encode as abi_encode
from hypothesis import assume, given
from hypothesis import strategies as st

from keeper.errors import BadAnswer, ConfigError
from keeper.model import (
    Assessed,
    Asset,
    BlockRef,
    Entry,
    Holdings,
    Intent,
    IntentKind,
    PositionId,
    Side,
    Unassessable,
    price_factor,
)
from keeper.ports import LendingView
from keeper.protocols.aave_v3.market import Reserve
from keeper.protocols.aave_v3.view import View, bind
from keeper.units import RAY, UINT256_MAX, WAD, Base, Bps, Raw, Wad

from . import builders as b

MIXED = b.holdings(
    b.collateral(b.WETH, 7 * 10**18 + 3),
    b.collateral(b.WBTC, 10**7 + 9),
    b.debt(b.USDC, 11_111_111_111),
)


def of(view: View, holdings: Holdings = MIXED) -> Assessed:
    found = view.assess(holdings)
    assert isinstance(found, Assessed), found
    return found


def unknown(view: View) -> str:
    found = view.assess(MIXED)
    assert isinstance(found, Unassessable)
    return found.reason


def test_a_view_is_what_strategies_and_people_are_promised() -> None:
    view: LendingView = b.view()

    assert view.market == b.MARKET
    assert view.block == b.BLOCK


def test_a_health_factor_by_hand() -> None:
    """3.6: floor, ceil, one division, all with plain integers and nothing of ours."""
    ray, year, elapsed = 10**27, 31_536_000, 4_321

    def grown(index: int) -> int:
        linear = ray + ray * 21 // 1_000 * elapsed // year
        return (linear * index + ray // 2) // ray

    x = ray * 37 // 1_000 * elapsed // year
    inner = (x * (x // 6) + ray // 2) // ray
    compound = ray + x + (x * (x // 2 + inner) + ray // 2) // ray
    weth = (7 * 10**18 + 3) * grown(ray * 1_043_217 // 10**6) // ray * 351_237_281_953 // 10**18
    wbtc = (10**7 + 9) * grown(ray * 1_043_217 // 10**6 + 1) // ray * 9_743_155_102_000 // 10**8
    index = (compound * (ray * 1_061_113 // 10**6 + 2) + ray // 2) // ray
    owed = (11_111_111_111 * index + ray - 1) // ray
    usdc = (owed * 99_991_873 + 10**6 - 1) // 10**6

    found = of(b.view())

    assert (found.collateral, found.debt) == (weth + wbtc, usdc)
    weighted = weth * 8_300 + wbtc * 7_800
    assert found.health_factor == (weighted * 10**18 + usdc // 2) // usdc // 10_000
    assert [leg.value for leg in found.legs] == [weth, wbtc, usdc]


def test_an_e_mode_counts_for_its_own_assets_only() -> None:
    holdings = b.holdings(
        b.collateral(b.WETH, 10**18), b.collateral(b.WBTC, 10**7), e_mode=b.ETH_CORRELATED
    )

    for revision in (1, 5, 10):
        weth, wbtc = of(b.view(revision), holdings).legs
        assert (weth.liquidation_threshold, weth.liquidation_bonus) == (9_500, 10_100)
        assert (wbtc.liquidation_threshold, wbtc.liquidation_bonus) == (7_800, 10_625)


def test_an_e_mode_that_was_never_set_up_changes_nothing() -> None:
    without = of(b.view())

    assert of(b.view(), replace(MIXED, e_mode=99)).health_factor == without.health_factor


def test_interest_alone_makes_the_health_factor_fall() -> None:
    later = BlockRef(
        number=b.BLOCK.number + 1,
        hash=b.BLOCK.hash,
        parent_hash=b.BLOCK.hash,
        timestamp=b.NOW + 12,
    )

    assert of(b.view(block=later)).health_factor < of(b.view()).health_factor


def test_no_debt_is_a_health_factor_of_the_greatest_integer() -> None:
    found = of(b.view(), b.holdings(b.collateral(b.WETH, 1)))

    assert found.health_factor == UINT256_MAX


def test_a_threshold_of_zero_counts_from_3_6_and_not_before() -> None:
    config = replace(b.CONFIGURATIONS[b.WBTC], liquidation_threshold=Bps(0))
    states = {b.WBTC: b.state(b.WBTC, config)}

    assert len(of(b.view(9, states=states)).legs) == 2
    assert len(of(b.view(10, states=states)).legs) == 3
    assert of(b.view(9, states=states)).health_factor == of(b.view(10, states=states)).health_factor


# --- unknown ------------------------------------------------------------------------------------


def test_an_unusable_price_makes_health_unknown_with_the_reason() -> None:
    reason = "USDC/USD: last answer 90314 s old, heartbeat is 86400 s"
    view = b.view(unusable={b.USDC: reason})

    assert unknown(view) == reason
    # the protocol's own number is still known, and so is everybody else's
    assert view.contract_health(MIXED).health_factor == of(b.view()).health_factor
    others = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.DAI, 10**20))
    assert of(view, others).ok


def test_of_a_flag_without_a_balance_only_a_dead_price_counts() -> None:
    flagged = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9), b.debt(b.DAI, 0))
    without = replace(flagged, entries=flagged.entries[:2])

    assert of(b.view(), flagged).health_factor == of(b.view(), without).health_factor
    assert of(b.view(unusable={b.DAI: "stale"}), flagged).ok
    dead = b.view(prices={b.DAI: None}).assess(flagged)
    assert isinstance(dead, Unassessable)
    assert dead.reason == "DAI: the protocol's oracle does not answer"


def test_an_unknown_health_allows_nothing() -> None:
    view = b.view(prices={b.WETH: 100_000_000}, unusable={b.USDC: "stale"})
    collateral, _, debt = of(b.view(prices={b.WETH: 100_000_000})).legs
    (first, *_) = b.view(prices={b.WETH: 100_000_000}).liquidations(MIXED)

    assert view.liquidations(MIXED) == ()
    assert view.liquidation_at_most(MIXED, first, Raw(10**9)) is None
    assert view.supply_to_reach(MIXED, collateral, Wad(2 * WAD)) is None
    assert view.repay_to_reach(MIXED, debt, Wad(2 * WAD)) is None
    assert view.price_factor(MIXED) is None
    assert view.liquidation_price(MIXED, collateral) is None


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (None, "USDC: the protocol's oracle does not answer"),
        (0, "USDC: the protocol's oracle answers 0"),
        (2**128, "which is no price"),
    ],
)
def test_what_is_no_price_makes_health_unknown(price: int | None, said: str) -> None:
    assert said in unknown(b.view(prices={b.USDC: price}))


def test_where_the_pool_would_revert_there_is_no_contract_health_either() -> None:
    with pytest.raises(BadAnswer, match=rf"cannot value {b.ALICE}: USDC: .* does not answer"):
        b.view(prices={b.USDC: None}).contract_health(MIXED)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"liquidity_index": 0}, "USDC: an index of zero cannot be"),
        ({"debt_index": 0}, "USDC: an index of zero cannot be"),
        ({"updated_at": b.NOW + 1}, "USDC: last updated at"),
    ],
)
def test_a_state_that_cannot_be_makes_health_unknown(changes: dict[str, int], said: str) -> None:
    broken = b.state(b.USDC, b.CONFIGURATIONS[b.USDC], **changes)

    assert said in unknown(b.view(states={b.USDC: broken}))


@pytest.mark.parametrize(("decimals", "known"), [(0, True), (36, True), (37, False), (255, False)])
def test_decimals_that_cannot_be_make_health_unknown(decimals: int, known: bool) -> None:
    state = b.state(b.USDC, replace(b.CONFIGURATIONS[b.USDC], decimals=decimals))
    view = b.view(states={b.USDC: state})

    assert view.assess(MIXED).ok is known
    if not known:
        assert unknown(view) == f"USDC: {decimals} decimals are more than 36"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (b.debt(b.GAP, 1), f"reserve 4 of {b.ALICE} is not known"),
        (b.debt(b.DAI, -1), f"DAI of {b.ALICE}: a scaled balance of -1 cannot be"),
        (b.debt(b.DAI, 2**128), "cannot be"),
    ],
)
def test_holdings_that_cannot_be_name_the_account_and_the_field(entry: Entry, said: str) -> None:
    found = b.view().assess(b.holdings(*MIXED.entries, entry))

    assert isinstance(found, Unassessable)
    assert said in found.reason


@given(
    price=st.integers(0, 2**256 - 1) | st.none(),
    index=st.integers(0, 2**128 - 1),
    rate=st.integers(0, 2**128 - 1),
    elapsed_s=st.integers(-(2**40), 2**40),
    scaled=st.integers(-1, 2**129),
    decimals=st.integers(0, 255),
)
def test_nothing_that_is_read_can_raise(
    price: int | None, index: int, rate: int, elapsed_s: int, scaled: int, decimals: int
) -> None:
    config = replace(b.CONFIGURATIONS[b.USDC], decimals=decimals)
    state = b.state(
        b.USDC,
        config,
        liquidity_index=index,
        debt_index=index,
        debt_rate=rate,
        liquidity_rate=rate,
        updated_at=b.NOW - elapsed_s,
    )
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, scaled))
    for revision in (1, 10):
        view = b.view(revision, prices={b.USDC: price}, states={b.USDC: state})
        found = view.assess(holdings)
        view.liquidations(holdings)
        view.explain(holdings)
        view.weights()
        assert found.ok or isinstance(found, Unassessable)


# --- liquidations -------------------------------------------------------------------------------

SICK = {b.WETH: 40_000_000_000}


def test_a_healthy_account_cannot_be_liquidated() -> None:
    assert b.view().liquidations(MIXED) == ()


def test_a_health_factor_of_exactly_one_cannot_be_liquidated_and_a_unit_less_can() -> None:
    # 10,000 DAI at 77 % against 7,700 USDC, both a dollar, no interest
    still: dict[str, int] = {
        "liquidity_index": RAY,
        "liquidity_rate": 0,
        "debt_index": RAY,
        "debt_rate": 0,
    }
    states = {i: b.state(i, b.CONFIGURATIONS[i], **still) for i in (b.DAI, b.USDC)}
    view = b.view(prices={b.DAI: 10**8, b.USDC: 10**8}, states=states)
    at = b.holdings(b.collateral(b.DAI, 10**22), b.debt(b.USDC, 7_700 * 10**6))
    past = b.holdings(b.collateral(b.DAI, 10**22), b.debt(b.USDC, 7_700 * 10**6 + 1))

    assert of(view, at).health_factor == WAD
    assert view.liquidations(at) == ()
    assert of(view, past).health_factor < WAD
    assert len(view.liquidations(past)) == 1


def test_liquidations_come_most_profitable_first() -> None:
    found = b.view(prices=SICK).liquidations(MIXED)

    assert [x.collateral.asset.symbol for x in found] == ["WBTC", "WETH"]
    assert [x.profit for x in found] == sorted((x.profit for x in found), reverse=True)
    assert all(x.profit > 0 for x in found)


def test_a_whole_debt_is_covered_with_a_little_more() -> None:
    very = b.view(prices={b.WETH: 150_000_000_000, b.WBTC: 1})
    small = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 1_300 * 10**6))

    (found,) = very.liquidations(small)

    assert found.debt_to_cover == found.debt.balance
    assert found.debt_to_cover < found.amount <= found.debt_to_cover * 1_002 // 1_000


def graced(reserve: int, until: int) -> tuple[Reserve, ...]:
    return tuple(replace(r, grace_until=until) if r.id == reserve else r for r in b.RESERVES)


@pytest.mark.parametrize("what", ["paused", "inactive", "grace", "sentinel"])
def test_what_the_pool_would_refuse_is_not_offered(what: str) -> None:
    config = b.CONFIGURATIONS[b.USDC]
    states = {
        "paused": b.state(b.USDC, replace(config, paused=True)),
        "inactive": b.state(b.USDC, replace(config, active=False)),
    }
    prices = {b.WETH: 57_800_000_000}  # between 0.95 and 1
    market = b.market(reserves=graced(b.USDC, b.NOW)) if what == "grace" else b.market()
    seen = b.observed(market, prices, {b.USDC: states[what]} if what in states else None)
    view = bind(market, seen, b.BLOCK, {})
    allowed = b.view(prices=prices).liquidations(MIXED)
    if what == "sentinel":
        view = bind(market, replace(seen, liquidations_allowed=False), b.BLOCK, {})

    assert Wad(95 * WAD // 100) < of(view).health_factor < WAD
    assert allowed
    assert view.liquidations(MIXED) == ()


def test_below_095_the_sentinel_is_not_asked_up_to_3_6() -> None:
    for revision, offered in ((10, True), (11, False)):
        market = b.market(revision)
        seen = replace(b.observed(market, SICK), liquidations_allowed=False)

        assert bool(bind(market, seen, b.BLOCK, {}).liquidations(MIXED)) is offered


def test_no_more_than_allowed_is_covered_and_never_so_that_dust_is_left() -> None:
    view = b.view(prices=SICK)
    whole = view.liquidations(MIXED)[0]

    half = view.liquidation_at_most(MIXED, whole, Raw(whole.debt_to_cover // 2))
    short = view.liquidation_at_most(MIXED, whole, Raw(whole.debt.balance - 1))

    assert half is not None
    assert half.debt_to_cover == half.amount == whole.debt_to_cover // 2
    assert short is not None
    left = (short.debt.balance - short.debt_to_cover) * short.debt.price // 10**6
    assert short.debt_to_cover == whole.debt_to_cover or left >= 1_010 * 10**8
    assert view.liquidation_at_most(MIXED, whole, Raw(0)) is None


def test_a_dust_position_is_taken_whole_or_not_at_all() -> None:
    view = b.view(prices=SICK)
    dust = b.holdings(b.collateral(b.WETH, 10**17), b.debt(b.USDC, 110 * 10**6))
    (whole,) = view.liquidations(dust)

    assert whole.debt_to_cover == whole.debt.balance or whole.seized < whole.collateral.balance
    assert view.liquidation_at_most(dust, whole, Raw(whole.debt_to_cover - 1)) is None


# --- prices -------------------------------------------------------------------------------------


@given(st.integers(10**9, 2 * 10**10))
def test_below_the_liquidation_price_and_only_there_it_is_unhealthy(debt: int) -> None:
    holdings = b.holdings(
        b.collateral(b.WETH, 10**19), b.collateral(b.DAI, 10**21), b.debt(b.USDC, debt)
    )
    view = b.view()
    leg = of(view, holdings).legs[0]

    price = view.liquidation_price(holdings, leg)

    assert price is not None
    assert of(b.view(prices={b.WETH: price}), holdings).health_factor >= WAD
    assert of(b.view(prices={b.WETH: price - 1}), holdings).health_factor < WAD


def test_there_is_no_liquidation_price_where_the_rest_is_enough() -> None:
    holdings = b.holdings(
        b.collateral(b.WETH, 10**18), b.collateral(b.DAI, 10**22), b.debt(b.USDC, 10**9)
    )
    view = b.view()
    weth, dai, usdc = of(view, holdings).legs

    assert view.liquidation_price(holdings, weth) is None
    assert view.liquidation_price(holdings, dai) is None
    assert view.liquidation_price(holdings, usdc) is None


@pytest.mark.parametrize("revision", [1, 8, 9, 10])
@given(
    weth=st.integers(1, 3 * 10**18), usdc=st.integers(10**9, 2 * 10**11), debt=st.integers(1, 99)
)
def test_of_what_is_owed_more_than_held_the_price_is_an_upper_one(
    revision: int, weth: int, usdc: int, debt: int
) -> None:
    """Owed is more of it than the collateral in it counts; how much the rest of it covers."""
    held = weth * 8_300 // 10_000
    # USDC at 0.78 covers so much WETH: debt, in percent of that, is what is owed more
    covered = usdc * 10**12 * 7_811 // 10_000 * b.PRICES[b.USDC] // b.PRICES[b.WETH]
    holdings = b.holdings(
        b.collateral(b.WETH, weth),
        b.collateral(b.USDC, usdc),
        b.debt(b.WETH, held + max(10**14, covered * debt // 100)),
    )
    view = b.view(revision)
    leg = of(view, holdings).legs[0]

    above = view.liquidation_price_above(holdings, leg)

    assert view.liquidation_price(holdings, leg) is None
    assert above is not None
    for price in (1, above // 2, above - 1, above):
        assert of(b.view(revision, prices={b.WETH: price}), holdings).health_factor >= WAD
    # a unit more, two units of value and up to 3.4 a basis point of the threshold may be missing
    over = of(b.view(revision, prices={b.WETH: above + 1}), holdings)
    lost = 0 if revision > 8 else 1
    counts = sum(leg.value * (leg.liquidation_threshold - lost) for leg in over.legs[:2])
    assert counts < 10_000 * (over.debt + 2)
    for price in (2 * above, 1_000 * above):
        assert of(b.view(revision, prices={b.WETH: price}), holdings).health_factor < WAD


def test_what_is_borrowed_against_itself_is_liquidated_at_no_price() -> None:
    view = b.view()
    loop = b.holdings(b.collateral(b.WETH, 10**19), b.debt(b.WETH, 8 * 10**18))
    leg = of(view, loop).legs[0]

    assert view.liquidation_price(loop, leg) is None
    assert view.liquidation_price_above(loop, leg) is None
    assert view.price_factor(loop) == 0


def test_a_rise_of_what_is_only_held_or_only_owed_elsewhere_is_no_danger() -> None:
    view = b.view()
    for leg in of(view).legs:
        assert view.liquidation_price_above(MIXED, leg) is None or leg.side is Side.DEBT


@pytest.mark.parametrize("revision", [1, 8, 9, 10])
@given(own=st.integers(1, 2 * 10**18), other=st.integers(10**9, 5 * 10**9))
def test_debts_of_what_is_collateral_move_with_it_in_the_price_factor(
    revision: int, own: int, other: int
) -> None:
    holdings = b.holdings(
        b.collateral(b.WETH, 5 * 10**18 + 77),
        b.collateral(b.WBTC, 10**7 + 3),
        b.debt(b.WETH, own),
        b.debt(b.USDC, other),
    )
    view = b.view(revision)
    factor = view.price_factor(holdings)
    assert factor

    def health(parts: int) -> int:
        fallen = {i: -(-b.PRICES[i] * parts // WAD) for i in (b.WETH, b.WBTC)}
        return of(b.view(revision, prices=fallen), holdings).health_factor

    # prices are whole units, and up to 3.4 an average threshold is whole basis points
    assert abs(health(factor) - WAD) < WAD // 5_000
    assert health(factor * 999 // 1_000) < WAD < health(factor * 1_001 // 1_000)


@pytest.mark.parametrize("revision", [1, 8, 9, 10])
def test_a_raw_unit_of_what_is_owed_moves_the_price_factor_by_no_more_than_its_worth(
    revision: int,
) -> None:
    view = b.view(revision)
    owing = (b.collateral(b.WETH, 10**20), b.debt(b.USDC, 150_000 * 10**6), b.debt(b.DAI, 10**22))
    factor, dusty, more = (
        view.price_factor(b.holdings(*owing, b.collateral(b.USDC, scaled)))
        for scaled in (0, 1, 10**6)
    )
    assert factor is not None
    assert dusty is not None
    assert more is not None

    # a millionth of a dollar, and a dollar, of at least 200,000 that fall; up to 3.4 whoever holds
    # two things also loses up to a basis point of the average threshold, of more than 8,000
    lost = 0 if revision > 8 else WAD // 8_000
    assert -lost <= factor - dusty <= WAD // (200_000 * 10**6) + 1
    assert -lost <= factor - more <= WAD // 200_000 + 1


@pytest.mark.parametrize("revision", [1, 8, 9, 10])
@given(
    weth=st.integers(0, 30 * 10**18),
    more=st.integers(1, 10**18),
    owed=st.integers(10**9, 3 * 10**19),
    dai=st.integers(0, 3 * 10**22),
)
def test_the_more_is_held_of_what_is_owed_the_further_all_may_fall(
    revision: int, weth: int, more: int, owed: int, dai: int
) -> None:
    view = b.view(revision)
    rest = (b.collateral(b.WBTC, 2 * 10**8), b.debt(b.WETH, owed), b.debt(b.DAI, dai))
    less_held, more_held = (
        b.holdings(*rest, b.collateral(b.WETH, scaled)) for scaled in (weth, weth + more)
    )
    assume(view.contract_health(less_held).health_factor >= WAD)
    before, after = (view.price_factor(found) for found in (less_held, more_held))
    assert before is not None
    assert after is not None

    # a base unit of rounding; up to 3.4 a basis point of the average threshold too
    lost = 0 if revision > 8 else WAD // 5_000
    assert after <= before + lost + WAD // 10**9


@pytest.mark.parametrize("revision", [1, 8, 9, 10])
@given(
    held=st.integers(10**9, 30 * 10**18),
    owed=st.integers(10**9, 3 * 10**19),
    dollars=st.integers(10**6, 3 * 10**10),
)
def test_of_what_is_owed_as_much_falls_with_all_collateral_as_is_held(
    revision: int, held: int, owed: int, dollars: int
) -> None:
    view = b.view(revision)
    holdings = b.holdings(
        b.collateral(b.WETH, held),
        b.collateral(b.WBTC, 2 * 10**8 + 7),
        b.debt(b.WETH, owed),
        b.debt(b.USDC, dollars),
    )
    found = of(view, holdings)
    assume(found.health_factor >= WAD)
    weth, _, owed_weth, _ = found.legs
    factor = view.price_factor(holdings)
    assert factor is not None

    counts = Fraction(found.health_factor * found.debt, WAD)
    along = owed_weth.value * min(Fraction(weth.balance, owed_weth.balance), Fraction(1))
    for less, reached in ((0, True), (1, False)):
        fallen = Fraction(factor - less, WAD)
        assert (counts * fallen >= found.debt - along + along * fallen) is reached
    if weth.balance >= owed_weth.balance:
        # all of it, as if each price moved everything that is held or owed at it
        still = found.debt - owed_weth.value
        left = found.health_factor * found.debt - WAD * owed_weth.value
        assert factor == -(-still * WAD * WAD // left)


def test_what_is_held_just_as_it_is_owed_falls_along_to_the_last_unit() -> None:
    view = b.view(11)
    one = of(view, b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.WETH, 10**18)))
    held, owed = one.legs
    assert held.value < owed.value  # more interest, and rounded up
    even = replace(one, legs=(replace(held, balance=owed.balance), owed))

    assert price_factor(WAD, even.legs, {}) == 0
    assert price_factor(WAD, one.legs, {})


def test_no_fall_and_no_rise_heals_who_owes_more_of_his_collateral_than_it_counts() -> None:
    # 8.3 of 10 WETH count, 9 are owed, and dollars too
    view = b.view()
    holdings = b.holdings(
        b.collateral(b.WETH, 10**19), b.debt(b.WETH, 9 * 10**18), b.debt(b.USDC, 7)
    )

    assert of(view, holdings).health_factor < WAD
    assert view.price_factor(holdings) is None


def test_the_price_factor_is_how_far_all_collateral_may_fall() -> None:
    view = b.view()
    health = of(view).health_factor

    factor = view.price_factor(MIXED)

    assert factor == -(-(10**36) // health)
    assert view.price_factor(b.holdings(b.collateral(b.WETH, 1))) == 0


# --- words and bytes ----------------------------------------------------------------------------


def test_the_explanation_can_be_redone_with_a_calculator() -> None:
    found = of(b.view())
    lines = b.view().explain(MIXED)

    assert lines[0] == "aave-v3-test, Aave v3.6, block 21400117"
    assert f"= {found.legs[0].value} base, rounded down" in lines[4]
    assert f"= {found.legs[2].value} base, rounded up" in lines[10]
    whole, fraction = divmod(found.health_factor, WAD)
    assert lines[-1] == f"health factor {whole}.{fraction:018d}"


def test_the_explanation_says_what_is_not_to_be_relied_upon() -> None:
    lines = b.view(unusable={b.USDC: "USDC/USD is stale"}).explain(MIXED)

    assert lines[-1] == "not to be relied upon: USDC/USD is stale"


def test_the_explanation_of_the_unknown_says_why() -> None:
    lines = b.view(prices={b.USDC: None}).explain(MIXED)

    assert lines[-1] == "unknown: USDC: the protocol's oracle does not answer"


USDC, WETH = b.RESERVES[2].asset, b.RESERVES[0].asset


def intent(kind: IntentKind, asset: Asset, collateral: Asset | None = None) -> Intent:
    return Intent(
        intent_id="i-1",
        kind=kind,
        position=PositionId(market=b.MARKET, account=b.ALICE),
        block=b.BLOCK,
        asset=asset,
        amount=Raw(2_938_100_001),
        collateral=collateral,
        value_at_risk=Base(1),
        health_before=Wad(1),
        reason="",
    )


@pytest.mark.parametrize(
    ("made", "to", "selector", "types", "values"),
    [
        (
            intent(IntentKind.TOP_UP, WETH),
            b.POOL,
            "617ba037",
            ["address", "uint256", "address", "uint16"],
            [WETH.address, 2_938_100_001, b.ALICE, 0],
        ),
        (
            intent(IntentKind.REPAY, USDC),
            b.POOL,
            "573ade81",
            ["address", "uint256", "uint256", "address"],
            [USDC.address, 2_938_100_001, 2, b.ALICE],
        ),
        (
            intent(IntentKind.LIQUIDATE, USDC, WETH),
            b.POOL,
            "00a718a9",
            ["address", "address", "address", "uint256", "bool"],
            [WETH.address, USDC.address, b.ALICE, 2_938_100_001, False],
        ),
        (
            intent(IntentKind.APPROVE, USDC),
            USDC.address,
            "095ea7b3",
            ["address", "uint256"],
            [b.POOL, 2_938_100_001],
        ),
    ],
)
def test_an_intent_becomes_the_calldata_eth_abi_would_write(
    made: Intent, to: str, selector: str, types: list[str], values: list[object]
) -> None:
    assert b.view().encode(made) == (to, bytes.fromhex(selector) + abi_encode(types, values))


def test_a_liquidation_without_collateral_is_not_encoded() -> None:
    with pytest.raises(ConfigError, match="names no collateral"):
        b.view().encode(intent(IntentKind.LIQUIDATE, USDC))


def test_sides_are_kept_apart_in_one_reserve() -> None:
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.WETH, 10**17))

    assert [leg.side for leg in of(b.view(), holdings).legs] == [Side.COLLATERAL, Side.DEBT]


@pytest.mark.parametrize(("debt_scaled", "owed", "legal"), [(1, 2, False), (3, 7, True)])
def test_what_comes_to_no_scaled_unit_of_debt_is_not_liquidated(
    debt_scaled: int, owed: int, legal: bool
) -> None:
    # half of the 2 raw that are owed is 1, which rounds to no scaled unit at an index of 2.2
    usdc = b.state(b.USDC, b.CONFIGURATIONS[b.USDC], debt_index=RAY * 22 // 10, debt_rate=0)
    of = b.view(revision=1, states={b.USDC: usdc})
    held = b.holdings(b.collateral(b.WETH, 322_500_000 * owed), b.debt(b.USDC, debt_scaled))
    assessed = of.assess(held)

    assert isinstance(assessed, Assessed)
    assert WAD * 95 // 100 < assessed.health_factor < WAD
    assert bool(of.liquidations(held)) is legal
