from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import ConfigError
from keeper.model import Holdings, IntentKind, Leg, Refuse, Side
from keeper.strategies.protect import Bounds, loss_if_liquidated
from keeper.strategies.repay import Repay
from keeper.strategies.top_up import TopUp
from keeper.units import WAD, Base, Raw, Wad
from tests.strategies.fakes import (
    ALICE,
    BOB,
    DAI,
    USDC,
    WBTC,
    WETH,
    FakeMarket,
    acted,
    held,
    holdings,
    purse,
    refused,
    unassessable,
    wad,
)

VIEW = FakeMarket()
BOUNDS = Bounds(below=wad("1.1"), target=wad("1.5"))
TOP_UP = TopUp(accounts=(ALICE,), bounds=BOUNDS)
REPAY = Repay(accounts=(ALICE,), bounds=BOUNDS)

# 10 WETH at 2,500 with 80 %: 20,000 against 19,047.62 USDC is 1.05
THIN = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 19_047_620_000))
HEALTHY = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 10_000_000_001))
RICH = {WETH: 500 * 10**18, USDC: 10**12, WBTC: 10**10, DAI: 10**24}


def test_an_unknown_health_is_never_read_as_good_health() -> None:
    for strategy in (TOP_UP, REPAY):
        decision = strategy.decide(VIEW, THIN, unassessable("USDC/USD is stale"), purse(RICH))

        assert isinstance(decision, Refuse)
        assert decision.reason == "USDC/USD is stale"


def test_nobody_elses_position_is_protected() -> None:
    stranger = replace(THIN, account=BOB)

    for strategy in (TOP_UP, REPAY):
        decision = strategy.decide(VIEW, stranger, VIEW.assess(stranger), purse(RICH))

        assert held(decision).startswith("not an account that it")


def test_at_the_bound_it_holds() -> None:
    # 11 WETH at 2,500 with 80 % are 22,000 against 20,000: 1.1 to the last digit
    at_bound = holdings((WETH, Side.COLLATERAL, 11 * 10**18), (USDC, Side.DEBT, 20_000_000_000))
    assert VIEW.assess(at_bound).health_factor == BOUNDS.below

    for strategy in (TOP_UP, REPAY):
        for calm in (HEALTHY, at_bound):
            decision = strategy.decide(VIEW, calm, VIEW.assess(calm), purse(RICH))

            assert "is not below 1.100" in held(decision)


def test_a_top_up_is_the_least_that_reaches_the_target() -> None:
    intent = acted(TOP_UP.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH)))

    # 1.5 * 19,047.62 / 0.8 = 35,714.2875 of WETH, 10,714.2875 more, at 2,500: 4.285715
    assert intent.amount == 4_285_715 * 10**12
    assert (intent.kind, intent.asset) == (IntentKind.TOP_UP, WETH)
    assert intent.health_before == VIEW.assess(THIN).health_factor
    assert intent.reason == (
        "health factor 1.049 is below 1.100: supply 4.2858 WETH to reach 1.500"
    )


def test_a_repayment_is_the_least_that_reaches_the_target() -> None:
    intent = acted(REPAY.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH)))

    # 20,000 / 1.5 = 13,333.33 may stay, 5,714.286667 go
    assert intent.amount == 5_714_286_667
    assert (intent.kind, intent.asset) == (IntentKind.REPAY, USDC)
    assert "repay 5,714.29 USDC to reach 1.500" in intent.reason


def test_what_cannot_be_afforded_is_refused_with_both_numbers() -> None:
    decision = REPAY.decide(VIEW, THIN, VIEW.assess(THIN), purse({USDC: 10_000_000}))

    assert refused(decision) == (
        "health factor 1.049 is below 1.100: needs 5,714.29 USDC, 10.0000 spendable"
    )


def test_a_missing_allowance_is_named_with_its_remedy() -> None:
    wallet = purse({USDC: 7_000_000_000}, allowances={USDC: 10_000_000})

    assert refused(REPAY.decide(VIEW, THIN, VIEW.assess(THIN), wallet)) == (
        "health factor 1.049 is below 1.100: needs 5,714.29 USDC, 10.0000 spendable of 7,000.00 "
        "held: the allowance is too small, keeper approve USDC --send"
    )


def test_an_allowance_for_what_would_do_in_part_is_a_remedy_too() -> None:
    # 1,000 USDC would lift it from 1.05 to 1.108
    wallet = purse({USDC: 1_000_000_000}, allowances={})

    assert "keeper approve USDC --send" in refused(
        REPAY.decide(VIEW, THIN, VIEW.assess(THIN), wallet)
    )


def test_a_partial_protection_acts_when_it_takes_the_position_out_of_danger() -> None:
    # 1,000 USDC lift it from 1.05 to 1.108: by more than the step
    intent = acted(REPAY.decide(VIEW, THIN, VIEW.assess(THIN), purse({USDC: 1_000_000_000})))

    assert intent.amount == 1_000_000_000
    assert "repay 1,000.00 USDC, all it may, towards 1.500" in intent.reason


def test_a_partial_protection_that_stays_below_the_floor_is_refused() -> None:
    # 20,000 against 20,408.17 is 0.98; 100 USDC make it 0.9848
    sinking = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 20_408_170_000))

    few = REPAY.decide(VIEW, sinking, VIEW.assess(sinking), purse({USDC: 100_000_000}))
    enough = REPAY.decide(VIEW, sinking, VIEW.assess(sinking), purse({USDC: 801_000_000}))

    assert "needs 7,074.84 USDC, 100.00 spendable" in refused(few)
    assert acted(enough).amount == 801_000_000


@pytest.mark.parametrize(
    ("before", "goal"),
    [("0.9", "1.02"), ("1.015", "1.025"), ("1.08", "1.09"), ("1.495", "1.5")],
)
def test_a_partial_protection_must_reach_the_floor_and_add_a_step(before: str, goal: str) -> None:
    assert BOUNDS.enough(wad(before)) == wad(goal)


@given(st.integers(0, 6_000_000_000))
def test_whatever_the_wallet_holds_no_action_is_in_vain(there: int) -> None:
    before = VIEW.assess(THIN).health_factor

    decision = REPAY.decide(VIEW, THIN, VIEW.assess(THIN), purse({USDC: there}))

    if not isinstance(decision, Refuse):
        intent = acted(decision)
        left = 19_047_620_000 - intent.amount
        paid = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, left))
        after = VIEW.assess(paid).health_factor
        assert intent.amount <= there
        assert after >= before + BOUNDS.step
        assert after >= BOUNDS.floor


def test_a_cap_on_a_token_bounds_one_action() -> None:
    capped = Repay(
        accounts=(ALICE,), bounds=replace(BOUNDS, max_amounts={USDC.address: Raw(2_000_000_000)})
    )
    tight = Repay(
        accounts=(ALICE,), bounds=replace(BOUNDS, max_amounts={USDC.address: Raw(1_000_000)})
    )

    intent = acted(capped.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH)))
    decision = tight.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH))

    assert intent.amount == 2_000_000_000
    assert "needs 5,714.29 USDC, 1.0000 allowed at once" in refused(decision)


def test_a_cap_in_dollars_bounds_one_action_at_the_markets_price() -> None:
    capped = TopUp(accounts=(ALICE,), bounds=replace(BOUNDS, max_value=Base(5_000_00000000)))

    intent = acted(capped.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH)))

    # 5,000 USD of WETH at 2,500
    assert intent.amount == 2 * 10**18


def test_only_collateral_that_the_account_uses_is_supplied() -> None:
    only_btc = TopUp(accounts=(ALICE,), bounds=replace(BOUNDS, assets=(WBTC.address,)))

    decision = only_btc.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH))

    assert refused(decision).endswith("none of its collaterals may be topped up")


BOTH = holdings(
    (WETH, Side.COLLATERAL, 5 * 10**18),
    (WBTC, Side.COLLATERAL, 10**7),
    (USDC, Side.DEBT, 8_000_000_000),
    (DAI, Side.DEBT, 5_800 * 10**18),
)


def test_the_preferred_asset_is_taken_even_if_there_is_less_of_it() -> None:
    prefers_btc = replace(BOUNDS, assets=(WBTC.address, WETH.address))
    wallet = purse({WETH: 100 * 10**18, WBTC: 10**8})

    preferred = TopUp(accounts=(ALICE,), bounds=prefers_btc)
    by_value = acted(TOP_UP.decide(VIEW, BOTH, VIEW.assess(BOTH), wallet))
    by_preference = acted(preferred.decide(VIEW, BOTH, VIEW.assess(BOTH), wallet))

    assert by_value.asset == WETH
    assert by_preference.asset == WBTC


def test_an_asset_that_reaches_the_target_comes_before_a_preferred_one_that_does_not() -> None:
    prefers_btc = replace(BOUNDS, assets=(WBTC.address, WETH.address))
    wallet = purse({WETH: 100 * 10**18, WBTC: 3 * 10**6})

    intent = acted(
        TopUp(accounts=(ALICE,), bounds=prefers_btc).decide(VIEW, BOTH, VIEW.assess(BOTH), wallet)
    )

    assert intent.asset == WETH


def test_every_refused_asset_is_named() -> None:
    decision = TOP_UP.decide(VIEW, BOTH, VIEW.assess(BOTH), purse({}))

    assert "WETH, 0.00 spendable; needs" in refused(decision)
    assert "WBTC, 0.00 spendable" in refused(decision)


def test_collateral_that_does_not_count_is_of_no_use() -> None:
    worthless = FakeMarket(thresholds=(0, 7_500, 7_800, 0))
    mixed = holdings(
        (WETH, Side.COLLATERAL, 10**18), (WBTC, Side.COLLATERAL, 10**7), (USDC, Side.DEBT, 10**10)
    )
    only_weth = TopUp(accounts=(ALICE,), bounds=replace(BOUNDS, assets=(WETH.address,)))

    decision = only_weth.decide(worthless, mixed, worthless.assess(mixed), purse(RICH))

    assert "no amount of WETH will do now" in refused(decision)


def test_a_target_out_of_reach_does_not_empty_the_wallet() -> None:
    class Capped(FakeMarket):
        """Supplies beyond a cap are not legal: up to 1.2 it goes, to 1.5 it does not."""

        def supply_to_reach(self, held_by: Holdings, leg: Leg, target: Wad) -> Raw | None:
            return None if target > wad("1.2") else super().supply_to_reach(held_by, leg, target)

    intent = acted(TOP_UP.decide(Capped(), THIN, VIEW.assess(THIN), purse(RICH)))

    # from 1.0499.. by one step of 0.01
    assert 9 * 10**16 < intent.amount < 12 * 10**16


def test_a_whole_debt_is_repaid_with_slack_for_the_interest_to_come() -> None:
    # the smallest debt there is: only all of it will do
    tiny = holdings((WETH, Side.COLLATERAL, 5 * 10**8), (USDC, Side.DEBT, 1))

    intent = acted(REPAY.decide(VIEW, tiny, VIEW.assess(tiny), purse(RICH)))
    poor = acted(REPAY.decide(VIEW, tiny, VIEW.assess(tiny), purse({USDC: 1})))

    assert intent.amount == 1 + 1
    assert poor.amount == 1


def test_one_of_two_debts_that_cannot_reach_the_target_is_only_a_partial_repayment() -> None:
    # 20,000 against 1,000 USDC and 18,000 DAI: all the USDC makes 1.111, not 1.5
    two = holdings(
        (WETH, Side.COLLATERAL, 10 * 10**18),
        (USDC, Side.DEBT, 1_000_000_000),
        (DAI, Side.DEBT, 18_000 * 10**18),
    )

    intent = acted(REPAY.decide(VIEW, two, VIEW.assess(two), purse({USDC: 50_000_000_000})))

    # never more than the debt and its slack
    assert intent.amount == 1_000_000_000 + 1_000_000 + 1
    assert "towards 1.500" in intent.reason


def test_two_debts_and_enough_of_one_reach_the_target() -> None:
    two = holdings(
        (WETH, Side.COLLATERAL, 10 * 10**18),
        (USDC, Side.DEBT, 1_000_000_000),
        (DAI, Side.DEBT, 18_000 * 10**18),
    )

    intent = acted(REPAY.decide(VIEW, two, VIEW.assess(two), purse({USDC: 10**12, DAI: 10**24})))

    assert intent.asset == DAI
    assert "to reach 1.500" in intent.reason


def test_at_stake_is_the_bonus_a_liquidator_could_take() -> None:
    intent = acted(TOP_UP.decide(VIEW, THIN, VIEW.assess(THIN), purse(RICH)))

    # 5 % of 19,047.62
    assert intent.value_at_risk == 952_38100000
    assert intent.value_at_risk == loss_if_liquidated(VIEW.assess(THIN))


@pytest.mark.parametrize(
    "wrong",
    [
        {"below": WAD},
        {"below": wad("1.5"), "target": wad("1.5")},
        {"floor": WAD},
        {"floor": wad("1.6")},
        {"step": 0},
    ],
)
def test_bounds_out_of_order_do_not_start(wrong: dict[str, int]) -> None:
    fields = {"below": wad("1.1"), "target": wad("1.5")} | wrong

    with pytest.raises(ConfigError):
        Bounds(**fields)  # type: ignore[arg-type]


def test_the_same_inputs_give_the_same_decision() -> None:
    def decide(held_by: Holdings) -> object:
        return TOP_UP.decide(VIEW, held_by, VIEW.assess(held_by), purse(RICH))

    assert decide(BOTH) == decide(BOTH)


def test_a_debt_that_cannot_be_repaid_now_gives_way_to_the_others() -> None:
    class Paused(FakeMarket):
        """Takes no repayment of USDC."""

        def repay_to_reach(self, held_by: Holdings, leg: Leg, target: Wad) -> Raw | None:
            return None if leg.asset == USDC else super().repay_to_reach(held_by, leg, target)

    two = holdings(
        (WETH, Side.COLLATERAL, 10 * 10**18),
        (USDC, Side.DEBT, 10_000_000_000),
        (DAI, Side.DEBT, 9_000 * 10**18),
    )
    rich = purse({USDC: 50_000_000_000, DAI: 50_000 * 10**18})
    only = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 19_000_000_000))

    assert acted(REPAY.decide(VIEW, two, VIEW.assess(two), rich)).asset == USDC
    assert acted(REPAY.decide(Paused(), two, VIEW.assess(two), rich)).asset == DAI
    nothing = REPAY.decide(Paused(), only, VIEW.assess(only), rich)
    assert refused(nothing).endswith("none of its debts may be repaid")
