from keeper.model import Act, IntentKind, Side
from keeper.ports import Strategy
from keeper.strategies.alert_only import AlertOnly
from keeper.strategies.liquidate import Liquidate
from keeper.strategies.protect import Bounds
from keeper.strategies.repay import Repay
from keeper.strategies.top_up import TopUp
from keeper.strategies.waterfall import Waterfall
from keeper.units import Base
from tests.strategies.fakes import (
    ALICE,
    USDC,
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
BOTH = Waterfall(strategies=(TOP_UP, REPAY))
THIN = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 19_047_620_000))
CALM = holdings((WETH, Side.COLLATERAL, 10 * 10**18), (USDC, Side.DEBT, 10**10))


def test_the_first_that_acts_is_taken() -> None:
    wallet = purse({WETH: 10**20, USDC: 10**12})

    intent = acted(BOTH.decide(VIEW, THIN, VIEW.assess(THIN), wallet))

    assert intent.kind is IntentKind.TOP_UP


def test_one_that_refuses_lets_the_next_try_and_is_remembered() -> None:
    intent = acted(BOTH.decide(VIEW, THIN, VIEW.assess(THIN), purse({USDC: 10**12})))

    assert intent.kind is IntentKind.REPAY
    assert "(refused before: health factor 1.049 is below 1.100: needs 4.2858 WETH" in intent.reason


def test_a_part_gives_way_to_one_that_reaches_the_target() -> None:
    wallet = purse({WETH: 10**18, USDC: 10**12})

    decision = BOTH.decide(VIEW, THIN, VIEW.assess(THIN), wallet)

    assert acted(TOP_UP.decide(VIEW, THIN, VIEW.assess(THIN), wallet)).amount == 10**18
    intent = acted(decision)
    assert intent.kind is IntentKind.REPAY
    assert intent.reason.endswith("(refused before: top_up would do a part of it only)")


def test_where_none_reaches_the_target_the_first_does_its_part() -> None:
    decision = BOTH.decide(VIEW, THIN, VIEW.assess(THIN), purse({WETH: 10**18, USDC: 10**9}))

    intent = acted(decision)
    assert (intent.kind, intent.amount) == (IntentKind.TOP_UP, 10**18)
    assert isinstance(decision, Act)
    assert decision.partial
    assert "refused before" not in intent.reason


def test_when_all_refuse_every_reason_is_given() -> None:
    reason = refused(BOTH.decide(VIEW, THIN, VIEW.assess(THIN), purse({})))

    assert "WETH, 0.00 spendable" in reason
    assert "USDC, 0.00 spendable" in reason


def test_the_same_reason_is_given_once() -> None:
    decision = BOTH.decide(VIEW, THIN, unassessable("USDC/USD is stale"), purse({}))

    assert refused(decision) == "USDC/USD is stale"


def test_when_all_hold_it_holds() -> None:
    decision = BOTH.decide(VIEW, CALM, VIEW.assess(CALM), purse({}))

    assert held(decision) == "health factor 2.000 is not below 1.100"


def test_without_strategies_nothing_is_done() -> None:
    decision = Waterfall(strategies=()).decide(VIEW, THIN, VIEW.assess(THIN), purse({}))

    assert held(decision) == "no strategy is set for it"


def test_every_strategy_fits_the_seam() -> None:
    strategies: tuple[Strategy, ...] = (
        TOP_UP,
        REPAY,
        AlertOnly(),
        Liquidate(min_profit=Base(0)),
        BOTH,
    )

    assert [s.name for s in strategies] == [
        "top_up",
        "repay",
        "alert_only",
        "liquidate",
        "waterfall",
    ]
