"""What a rollup charges for data is asked of its own contract, and counts in caps and profit.

A stand-in answers here for the predeploys of OP stack and Arbitrum, which run on those chains only:
what it is asked is decoded with eth-abi.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from keeper.errors import BadAnswer
from keeper.execution.data_fee import (
    GAS_PRICE_ORACLE,
    NODE_INTERFACE,
    DataFeeKind,
    data_fee,
)
from keeper.execution.planning import bid
from keeper.model import (
    Address,
    Call,
    Cost,
    Declined,
    Intent,
    IntentKind,
    Rehearsed,
    Submitted,
    Why,
)
from keeper.units import Base, Bps, Wei
from tests.execution.fakes import CHAIN, GWEI, FakeChain, FakeView, intent, policy
from tests.execution.rig import SETTINGS, Rig

CALL = Call(to=Address("0x" + "c0" * 20), data=bytes(range(1, 133)))
FEE = 3_141_592_653_589


@dataclass
class Rollup(FakeChain):
    """Answers for the predeploys too."""

    answer: bytes = FEE.to_bytes(32, "big")
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def call(self, method: str, params: list[Any], /) -> Any:
        to = params[0].get("to") if method == "eth_call" else None
        if to in (GAS_PRICE_ORACLE, NODE_INTERFACE):
            self.asked.append((to, bytes.fromhex(params[0]["data"][2:])))
            assert params[1]["blockHash"] == self.head.hash
            return "0x" + self.answer.hex()
        return await super().call(method, params)


async def test_op_stack_is_asked_about_a_transaction_as_long_as_the_signed_one() -> None:
    chain = Rollup()

    fee = await data_fee(chain, DataFeeKind.OP_STACK, CALL, CHAIN, chain.head)

    [(to, data)] = chain.asked
    [raw] = decode(["bytes"], data[4:])
    assert to == GAS_PRICE_ORACLE
    assert CALL.data in raw
    assert 68 < len(raw) - len(CALL.data) < 150
    assert (fee.wei, fee.gas) == (FEE, 0)
    assert fee.most_wei == 4_712_388_980_384  # half as much again, rounded up


async def test_arbitrum_charges_it_in_gas() -> None:
    chain = Rollup(answer=encode(["uint64", "uint256", "uint256"], [44_017, 10**8, 3 * 10**10]))

    fee = await data_fee(chain, DataFeeKind.ARBITRUM, CALL, CHAIN, chain.head)

    [(to, data)] = chain.asked
    assert to == NODE_INTERFACE
    assert decode(["address", "bool", "bytes"], data[4:]) == (CALL.to, False, CALL.data)
    assert (fee.wei, fee.gas) == (0, 44_017)


async def test_a_chain_without_it_is_not_asked() -> None:
    chain = Rollup()

    assert (await data_fee(chain, DataFeeKind.NONE, CALL, CHAIN, chain.head)).most_wei == 0
    assert chain.asked == []


async def test_a_contract_that_is_not_there_is_said() -> None:
    chain = Rollup(answer=b"")

    with pytest.raises(BadAnswer, match="set it to none"):
        await data_fee(chain, DataFeeKind.OP_STACK, CALL, CHAIN, chain.head)


def rollup(fee: int, **changes: Any) -> Rig:
    chain = Rollup(answer=fee.to_bytes(32, "big"))
    settings = replace(SETTINGS, data_fee=DataFeeKind.OP_STACK)
    return Rig(chain=chain, wiring={"settings": settings, **changes})


async def test_the_data_fee_is_reserved_with_the_gas_and_counted_against_the_caps() -> None:
    rig = rollup(FEE)

    sent = await rig.submit()

    assert isinstance(sent, Submitted)
    plan = sent.open_plan.plan
    assert plan.data_fee_wei == 4_712_388_980_384
    assert plan.most_gas_wei == plan.gas_limit * plan.max_fee_wei + plan.data_fee_wei
    assert plan.most_gas_wei <= policy().max_gas_wei
    spent = await rig.journal.spent_since(sent.open_plan.signer, 0)
    assert spent.gas_wei == plan.most_gas_wei


async def test_a_data_fee_over_the_cap_is_refused_before_the_key_is_touched() -> None:
    rig = rollup(policy().max_gas_wei)

    said = await rig.submit()

    assert isinstance(said, Declined)
    assert rig.chain.sent == []
    assert rig.journal.plans == {}


# --- bids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spare", "share", "price", "wei"),
    [
        # 20 % of 100 USD is 20 USD = 0.01 ether at 2,000; over 400,000 gas 25 gwei
        (100_00000000, 2_000, 2_000_00000000, 25 * 10**9),
        (100_00000000, 0, 2_000_00000000, 0),
        (0, 2_000, 2_000_00000000, 0),
        (-1, 2_000, 2_000_00000000, 0),
        (100_00000000, 2_000, None, 0),
    ],
)
def test_a_bid_is_a_share_of_what_is_left_above_the_floor(
    spare: int, share: int, price: int | None, wei: int
) -> None:
    native = None if price is None else Base(price)

    assert bid(Base(spare), Bps(share), native, 400_000) == Wei(wei)


GAS_COST = Base(4_40000001)
"""200,000 gas at 11 gwei are 0.0022 ether, at 2,000.00000000017 each, rounded up."""


def liquidating(profit: int, **settings: Any) -> tuple[Rig, Intent]:
    rig = Rig(wiring={"settings": replace(SETTINGS, **settings)})
    wanted = intent(1, rig.chain.head, IntentKind.LIQUIDATE)
    return rig, replace(wanted, expected_profit=Base(profit))


async def test_a_liquidation_must_leave_the_floor_after_gas_whoever_pays_for_it() -> None:
    floor = Base(5_00000000)
    for profit, taken in ((GAS_COST + floor, True), (GAS_COST + floor - 1, False)):
        rig, wanted = liquidating(profit, floor=floor)

        said = await rig.executor.submit(wanted, FakeView(block=rig.chain.head))

        assert isinstance(said, Submitted) is taken, said
        if isinstance(said, Declined):
            assert said.why is Why.UNPROFITABLE
            assert "Not worth it: profit 9.40 USD, gas about 4.40 USD: 4.99 USD" in said.reason


async def test_a_bid_raises_the_tip_by_its_share_and_leaves_the_floor() -> None:
    floor, profit = Base(5_00000000), Base(1_000_00000000)
    rig, wanted = liquidating(profit, floor=floor, bid_share=Bps(1_000))

    said = await rig.executor.submit(wanted, FakeView(block=rig.chain.head))

    assert isinstance(said, Submitted)
    plan = said.open_plan
    # a tenth of 990.59999999 USD over 280,000 gas, in wei at 2,000.00000000017 an ether
    offered = 99_05999999 * 10**18 // 200_000_000_017 // plan.plan.gas_limit
    fees = plan.attempts[0].fees
    assert fees.priority_fee_wei == rig.chain.tip_wei + offered
    assert fees.max_fee_wei <= plan.plan.max_fee_wei
    whole_wei = fees.priority_fee_wei * plan.plan.gas_limit
    assert whole_wei * 200_000_000_017 // 10**18 < profit - floor


async def test_a_rehearsal_says_what_it_would_have_paid() -> None:
    rig, wanted = liquidating(10**11)
    unarmed = rig.build()

    said = await unarmed.submit(wanted, FakeView(block=rig.chain.head))

    assert isinstance(said, Rehearsed)
    assert said.cost == Cost(gas_used=200_000, wei=Wei(200_000 * 11 * GWEI), value=GAS_COST)
