from dataclasses import replace

from keeper.model import IntentKind, Liquidation, Side
from keeper.strategies.alert_only import AlertOnly
from keeper.strategies.liquidate import Liquidate
from keeper.units import Base
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
    leg_of,
    liquidation,
    purse,
    refused,
    unassessable,
)

LIQUIDATE = Liquidate(min_profit=Base(5_00000000))

# 20,000 against 20,408.17: 0.98
UNDER = holdings(
    (WETH, Side.COLLATERAL, 10 * 10**18),
    (USDC, Side.DEBT, 20_000_000_000),
    (DAI, Side.DEBT, 408 * 10**18),
    account=BOB,
)
ASSESSED = FakeMarket().assess(UNDER)
IN_USDC = liquidation(
    leg_of(ASSESSED, WETH), leg_of(ASSESSED, USDC), 10_000_000_000, profit=500_00000000
)
IN_DAI = liquidation(
    leg_of(ASSESSED, WETH), leg_of(ASSESSED, DAI), 408 * 10**18, profit=20_40000000, slack=10**15
)
VIEW = FakeMarket(legal=(IN_USDC, IN_DAI))
RICH = {USDC: 10**12, DAI: 10**24}


def test_an_unknown_health_is_never_liquidated() -> None:
    decision = LIQUIDATE.decide(VIEW, UNDER, unassessable("ETH/USD is stale", BOB), purse(RICH))

    assert refused(decision) == "ETH/USD is stale"


def test_a_protected_account_is_never_liquidated() -> None:
    strategy = replace(LIQUIDATE, protected=(ALICE, BOB))

    decision = strategy.decide(VIEW, UNDER, ASSESSED, purse(RICH))

    assert held(decision).startswith("protected")


def test_from_one_on_it_holds() -> None:
    # 20,000 against 20,000 is exactly 1
    even = holdings((WETH, Side.COLLATERAL, 10**19), (USDC, Side.DEBT, 20_000_000_000))

    decision = LIQUIDATE.decide(VIEW, even, VIEW.assess(even), purse(RICH))

    assert held(decision) == "health factor 1.000 is not below 1"


def test_the_most_profitable_pair_is_taken_with_all_debt_at_risk() -> None:
    intent = acted(LIQUIDATE.decide(VIEW, UNDER, ASSESSED, purse(RICH)))

    assert (intent.kind, intent.asset, intent.collateral) == (IntentKind.LIQUIDATE, USDC, WETH)
    assert intent.amount == 10_000_000_000
    assert intent.value_at_risk == 20_408_00000000
    assert intent.expected_profit == 500_00000000
    assert intent.reason == (
        "health factor 0.980 is below 1: repay 10,000.00 USDC, seize 4.2000 WETH, profit 500.00 USD"
    )


def test_a_pair_that_is_too_dear_gives_way_to_one_that_is_not() -> None:
    # a thousandth of the USDC pair is worth less than all of the DAI pair
    intent = acted(LIQUIDATE.decide(VIEW, UNDER, ASSESSED, purse({USDC: 10**7, DAI: 10**21})))

    assert intent.asset == DAI
    assert intent.amount == IN_DAI.amount


def test_as_much_is_taken_as_the_wallet_has() -> None:
    intent = acted(LIQUIDATE.decide(VIEW, UNDER, ASSESSED, purse({USDC: 2_500_000_000})))

    assert intent.amount == 2_500_000_000
    assert intent.expected_profit == 125_00000000


def test_less_than_the_slack_of_a_whole_debt_is_asked_for_again() -> None:
    view = FakeMarket(legal=(IN_DAI,))
    wallet = purse({DAI: IN_DAI.debt_to_cover + 1})

    intent = acted(LIQUIDATE.decide(view, UNDER, ASSESSED, wallet))

    assert view.asked == [IN_DAI.debt_to_cover + 1]
    assert intent.amount <= IN_DAI.debt_to_cover + 1


def test_what_would_leave_dust_is_refused_with_both_numbers() -> None:
    view = FakeMarket(legal=(IN_USDC,), smallest=9_000_000_000)

    decision = LIQUIDATE.decide(view, UNDER, ASSESSED, purse({USDC: 2_000_000_000}))

    assert refused(decision) == (
        "health factor 0.980 is below 1: needs 10,000.00 USDC, 2,000.00 spendable"
    )


def test_a_missing_allowance_is_named_with_its_remedy() -> None:
    wallet = purse({USDC: 5_000_000_000_000}, allowances={})

    decision = LIQUIDATE.decide(VIEW, UNDER, ASSESSED, wallet)

    assert refused(decision).endswith(
        "needs 10,000.00 USDC, 0.00 spendable of 5,000,000.00 held: the allowance is too small, "
        "keeper approve USDC --send"
    )


def test_a_pair_that_only_an_allowance_is_missing_for_is_named_before_one_that_is_too_dear() -> (
    None
):
    wallet = purse({DAI: IN_DAI.amount}, allowances={})

    assert refused(LIQUIDATE.decide(VIEW, UNDER, ASSESSED, wallet)).endswith(
        "the allowance is too small, keeper approve DAI --send"
    )


def test_an_allowance_is_no_remedy_where_the_balance_would_not_do() -> None:
    wallet = purse({USDC: 400_000_000}, allowances={})

    assert refused(LIQUIDATE.decide(VIEW, UNDER, ASSESSED, wallet)).endswith(
        "needs 10,000.00 USDC, 0.00 spendable of 400.00 held"
    )


def test_an_empty_wallet_is_refused() -> None:
    decision = LIQUIDATE.decide(VIEW, UNDER, ASSESSED, purse({}))

    assert refused(decision).endswith("needs 10,000.00 USDC, 0.00 spendable")
    assert VIEW.asked == [] or 0 not in VIEW.asked


def test_a_profit_below_the_floor_is_refused_with_both_numbers() -> None:
    meagre = FakeMarket(legal=(replace(IN_USDC, profit=Base(3_10000000)),))

    decision = LIQUIDATE.decide(meagre, UNDER, ASSESSED, purse(RICH))

    assert refused(decision).endswith("profit 3.10 USD is below the floor of 5.00 USD")


def test_a_loss_is_refused_even_without_a_floor() -> None:
    losing = FakeMarket(legal=(replace(IN_USDC, profit=Base(-1)),))

    decision = replace(LIQUIDATE, min_profit=Base(0)).decide(losing, UNDER, ASSESSED, purse(RICH))

    assert "below the floor" in refused(decision)


def test_a_cap_on_the_debt_bounds_one_action() -> None:
    strategy = replace(LIQUIDATE, max_debt=Base(1_000_00000000))

    intent = acted(strategy.decide(VIEW, UNDER, ASSESSED, purse(RICH)))

    assert intent.amount == 1_000_000_000


def test_tokens_that_are_denied_or_not_allowed_are_left_alone() -> None:
    def spends(**rules: object) -> Liquidate:
        return replace(LIQUIDATE, **rules)  # type: ignore[arg-type]

    no_usdc = spends(denied=(USDC.address,))
    only_dai = spends(allowed_debts=(DAI.address,))
    only_btc = spends(allowed_collaterals=(WBTC.address,))
    no_weth = spends(denied=(WETH.address,), allowed_collaterals=(WETH.address,))

    assert acted(no_usdc.decide(VIEW, UNDER, ASSESSED, purse(RICH))).asset == DAI
    assert acted(only_dai.decide(VIEW, UNDER, ASSESSED, purse(RICH))).asset == DAI
    for strategy in (only_btc, no_weth):
        decision = strategy.decide(VIEW, UNDER, ASSESSED, purse(RICH))
        assert refused(decision).endswith("each of its 2 pairs has a token that is not allowed")


def test_below_one_without_a_legal_pair_says_so() -> None:
    decision = LIQUIDATE.decide(FakeMarket(), UNDER, ASSESSED, purse(RICH))

    assert refused(decision).endswith("no liquidation of it is legal now")


def test_a_smaller_liquidation_that_costs_more_than_there_is_is_not_believed() -> None:
    class Greedy(FakeMarket):
        def liquidation_at_most(self, *_: object) -> Liquidation:
            return IN_USDC

    greedy = Greedy(legal=(IN_USDC,))

    decision = LIQUIDATE.decide(greedy, UNDER, ASSESSED, purse({USDC: 10**9}))

    assert "needs 10,000.00 USDC, 1,000.00 spendable" in refused(decision)


def test_alert_only_never_acts() -> None:
    known = AlertOnly().decide(VIEW, UNDER, ASSESSED, purse(RICH))
    unknown = AlertOnly().decide(VIEW, UNDER, unassessable("ETH/USD is stale"), purse(RICH))

    assert held(known) == "watched only"
    assert held(unknown) == "watched only, health unknown: ETH/USD is stale"
