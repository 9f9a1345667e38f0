from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model import BlockRef, Hash, Intent, IntentKind, PositionId
from keeper.strategies.intents import intent_id
from keeper.strategies.queue import queue
from keeper.units import Base, Raw
from tests.strategies.fakes import ALICE, BLOCK, BOB, MARKET, USDC, WETH, purse, wad


def intent(kind: IntentKind, at_risk: int, name: str = "x") -> Intent:
    return Intent(
        intent_id=name,
        kind=kind,
        position=PositionId(market=MARKET, account=ALICE),
        block=BLOCK,
        asset=USDC,
        amount=Raw(1),
        value_at_risk=Base(at_risk),
        health_before=wad("0.99"),
        reason="",
    )


def test_spendable_is_the_lesser_of_balance_and_allowance_less_what_was_taken() -> None:
    wallet = purse({USDC: 2_000, WETH: 7}, allowances={USDC: 1_500})

    wallet.take(USDC.address, Raw(400))

    assert wallet.spendable(USDC.address) == 1_100
    assert wallet.spendable(WETH.address) == 0


def test_held_is_the_balance_whatever_the_allowance_less_what_was_taken() -> None:
    wallet = purse({USDC: 2_000}, allowances={})

    wallet.take(USDC.address, Raw(400))

    assert wallet.held(USDC.address) == 1_600
    assert wallet.held(WETH.address) == 0


def test_taking_more_than_there_is_leaves_nothing_and_no_debt() -> None:
    wallet = purse({USDC: 2_000})

    wallet.take(USDC.address, Raw(9_000))

    assert wallet.spendable(USDC.address) == 0


def test_nothing_is_put_back_by_taking_less_than_nothing() -> None:
    wallet = purse({USDC: 2_000})

    with pytest.raises(ValueError, match="cannot take -1"):
        wallet.take(USDC.address, Raw(-1))


def test_protections_go_first_and_then_the_largest_liquidations() -> None:
    small = intent(IntentKind.LIQUIDATE, 7, "c")
    large = intent(IntentKind.LIQUIDATE, 9_000_000, "b")
    top_up = intent(IntentKind.TOP_UP, 3, "d")
    repay = intent(IntentKind.REPAY, 5, "e")
    approve = intent(IntentKind.APPROVE, 0, "f")

    assert queue((small, large, top_up, repay, approve)) == (approve, repay, top_up, large, small)


@given(st.permutations([(9, "a"), (9, "b"), (9, "c"), (8, "d")]))
def test_the_order_does_not_depend_on_the_order_of_arrival(rows: list[tuple[int, str]]) -> None:
    ordered = queue(intent(IntentKind.LIQUIDATE, risk, name) for risk, name in rows)

    assert [i.intent_id for i in ordered] == ["a", "b", "c", "d"]


def test_the_same_decision_on_the_same_block_is_the_same_intent() -> None:
    position = PositionId(market=MARKET, account=ALICE)

    once = intent_id(IntentKind.TOP_UP, position, BLOCK)

    # pinned: a restart on another version must not act twice on one block
    assert once == intent_id(IntentKind.TOP_UP, position, BLOCK) == "b8f64fc328194b66"
    assert len(once) == 16


def test_another_kind_account_market_chain_or_block_is_another_intent() -> None:
    position = PositionId(market=MARKET, account=ALICE)
    other_block: BlockRef = replace(BLOCK, hash=Hash("0x" + "c8" * 32))
    ids = {
        intent_id(IntentKind.TOP_UP, position, BLOCK),
        intent_id(IntentKind.REPAY, position, BLOCK),
        intent_id(IntentKind.TOP_UP, replace(position, account=BOB), BLOCK),
        intent_id(IntentKind.TOP_UP, replace(position, market=replace(MARKET, name="x")), BLOCK),
        intent_id(IntentKind.TOP_UP, replace(position, market=replace(MARKET, chain_id=1)), BLOCK),
        intent_id(IntentKind.TOP_UP, position, other_block),
    }

    assert len(ids) == 6
