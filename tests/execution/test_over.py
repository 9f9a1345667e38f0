"""How much of the collateral somebody else's call sells, and what is insisted on."""

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import BadAnswer, ExecutionError
from keeper.execution.liquidator import (
    LIQUIDATE_OVER,
    Order,
    Swap,
    decode_profit,
    encode_over,
    intent_word,
    word,
)
from keeper.execution.over import Need
from keeper.execution.worth import Worth
from keeper.model import Address, Asset, IntentKind, Offer
from keeper.units import Base, Bps, Raw
from tests.execution.fakes import USDC, FakeChain, intent

WETH = Asset(address=Address("0x" + "e1" * 20), symbol="WETH", decimals=18)
WORTH = Worth(
    collateral=WETH, collateral_price=Base(2_774_77230000), debt=USDC, debt_price=Base(99_991_234)
)
ROUTER = Address("0x" + "ab" * 20)
PREMIUM_BPS = 5
SLIPPAGE = Bps(100)
# 20,315.16 USDC at its price are 7.3207 WETH; 4.5 % more is seized
SEIZED = 7_650_200_000_000_000_017
COVERS = 20_315_160_007


def need(
    *,
    by_pools: int | None = None,
    seized: int = SEIZED,
    amount: int = COVERS,
    slippage: int = SLIPPAGE,
    premium_bps: int = PREMIUM_BPS,
) -> Need:
    wanted = replace(
        intent(1, FakeChain().head, IntentKind.LIQUIDATE),
        amount=Raw(amount),
        covers=Raw(COVERS),
        seized=Raw(seized),
        collateral=WETH,
    )
    return Need(
        intent=wanted,
        premium_bps=premium_bps,
        slippage=Bps(slippage),
        worth=WORTH,
        by_pools=by_pools,
    )


def offer(bought: int) -> Offer:
    return Offer(
        source="0x", bought=bought, target=ROUTER, spender=ROUTER, data=b"\x07", valid_until=9
    )


def test_what_the_pools_would_take_and_the_slippage_is_sold() -> None:
    pools = 7_333_000_000_000_000_000

    sold = need(by_pools=pools).to_sell

    # 5 basis points of premium and 100 of slippage on top, rounded up
    owed = COVERS + 10_157_581  # 20,315.160007 x 0.0005, rounded up
    assert sold == -(-pools * owed * 10_100 // (COVERS * 10_000))


def test_without_pools_the_middle_between_the_loan_and_what_is_seized_is_sold() -> None:
    # 20,325.317588 USDC x 0.99991234 / 2,774.7723 = 7.32440... WETH; 99 % of what is seized
    worth = -(-20_325_317_588 * 99_991_234 * 10**12 // 277_477_230_000)
    most = SEIZED - 76_502_000_000_000_001

    assert need().to_sell == (worth + most) // 2
    # pools that would take more than that are no measure
    assert need(by_pools=9 * 10**18).to_sell == (worth + most) // 2


def test_the_least_that_must_come_is_the_offer_less_the_slippage_or_the_loan() -> None:
    owed = need().owed

    assert need().swap(offer(owed * 2), Base(0)).min_bought == owed * 2 - -(-owed * 2 // 100)
    assert need().swap(offer(owed), Base(0)).min_bought == owed


def test_what_must_come_and_what_must_be_left_pay_for_the_gas() -> None:
    without, gas = need(slippage=500), Base(300 * 10**8)
    assert without.least_left == 0  # the slippage could take all of it

    swap = without.swap(offer(without.owed + 1), gas)

    # 300 dollars at 0.99991234 are 300.0263... USDC
    assert swap.min_bought == without.owed + -(-300 * 10**8 * 10**6 // 99_991_234)


def test_an_offer_below_the_loan_is_refused_with_the_numbers() -> None:
    with pytest.raises(ExecutionError, match="USDC and the loan takes 20,325"):
        need().swap(offer(need().owed - 1), Base(0))


@given(
    st.integers(0, 2**90),
    st.integers(1, 2**70),
    st.integers(0, 3_000),
    st.none() | st.integers(1, 2**90),
    st.integers(0, 2**90),
    st.integers(0, 10**12),
    st.integers(0, 10**4),
)
def test_the_loan_is_always_paid_and_no_more_is_sold_than_is_seized(
    seized: int, more: int, slippage: int, pools: int | None, bought: int, gas: int, premium: int
) -> None:
    it = need(
        seized=seized,
        amount=COVERS + more,
        slippage=slippage,
        by_pools=pools,
        premium_bps=premium,
    )
    try:
        swap = it.swap(offer(bought), Base(gas))
    except ExecutionError:
        assert bought < it.owed
        return

    assert 0 < swap.sold <= max(seized, 1)
    assert swap.min_bought >= it.owed >= COVERS
    assert it.least_left + swap.sold <= max(seized, 1)
    # whoever moves the price in between leaves at least the gas, to a base unit of rounding each
    worst = WORTH.of(it.least_left, swap.min_bought - it.owed)
    assert worst >= gas - 2


def test_an_order_over_a_call_is_packed_as_the_compiler_packs_it() -> None:
    order = Order(
        intent_id="abc",
        pool=Address("0x" + "01" * 20),
        account=Address("0x" + "02" * 20),
        collateral=Address("0x" + "03" * 20),
        debt=Address("0x" + "04" * 20),
        debt_token=Address("0x" + "05" * 20),
        amount=7,
        min_profit=8,
        deadline=9,
        path=b"",
    )
    data = bytes(range(77))
    swap = Swap(target=ROUTER, spender=order.pool, sold=11, min_bought=12, data=data)

    packed = encode_over(order, swap)

    types = [
        "(bytes32,address,address,address,address,address,uint256,uint256,uint256,bytes)",
        "(address,address,uint256,uint256,bytes)",
    ]
    values = [
        (
            intent_word("abc"), order.pool, order.account, order.collateral, order.debt,
            order.debt_token, 7, 8, 9, b"",
        ),
        (ROUTER, order.pool, 11, 12, data),
    ]  # fmt: skip
    assert packed == LIQUIDATE_OVER + encode(types, values)


def test_what_the_contract_left_is_read_of_either_call() -> None:
    assert decode_profit(word(7)) == (7, 0)
    assert decode_profit(word(7) + word(9)) == (7, 9)
    with pytest.raises(BadAnswer, match="answered 33 bytes"):
        decode_profit(bytes(33))
