"""How several orders are packed, what becomes of each, and who pays which part of the gas."""

import json
from importlib.resources import files
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import BadAnswer, ExecutionError
from keeper.execution.liquidator import (
    FAILED,
    LIQUIDATE_EACH,
    LIQUIDATED,
    Order,
    decode_results,
    encode_orders,
    intent_word,
)
from keeper.execution.simulate import MOST_GAS
from keeper.execution.together import costs, ends, gas_limit, order_limit, split
from keeper.model import Address, Cost, Hash, Log, Plan, Receipt, Share, TxState
from keeper.units import Base, Wei
from tests.execution.fakes import FakeChain, intent

ABI = {
    entry["name"]: entry
    for entry in json.loads(files("keeper.execution").joinpath("liquidator.json").read_text())[
        "abi"
    ]
    if "name" in entry
}
CONTRACT = Address("0x" + "c0" * 20)
HEAD = FakeChain().head
NAMES = [intent(n, HEAD).intent_id for n in (1, 2, 3)]


def order(number: int, path: bytes) -> Order:
    return Order(
        intent_id=f"{number:016x}",
        pool=Address("0x" + "a1" * 20),
        account=Address(f"0x{number:040x}"),
        collateral=Address("0x" + "c3" * 20),
        debt=Address("0x" + "d4" * 20),
        debt_token=Address("0x" + "e5" * 20) if number % 2 else None,
        amount=2**255 + number,
        min_profit=11 * number,
        deadline=1_790_000_013,
        path=path,
    )


def values(one: Order) -> tuple[Any, ...]:
    return (
        intent_word(one.intent_id), one.pool, one.account, one.collateral, one.debt,
        one.debt_token or "0x" + "00" * 20, one.amount, one.min_profit, one.deadline, one.path,
    )  # fmt: skip


@given(st.lists(st.binary(max_size=70), max_size=6))
def test_orders_are_packed_as_the_abi_says(paths: list[bytes]) -> None:
    kinds = ",".join(c["type"] for c in ABI["liquidateEach"]["inputs"][0]["components"])
    orders = [order(number, path) for number, path in enumerate(paths, start=1)]
    limits = [500_000 + number for number in range(len(orders))]

    packed = encode_orders(orders, limits)

    assert keccak(text=f"liquidateEach(({kinds})[],uint256[])")[:4] == LIQUIDATE_EACH
    assert packed == LIQUIDATE_EACH + encode(
        [f"({kinds})[]", "uint256[]"], [[values(one) for one in orders], limits]
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**256 - 1), st.binary(max_size=256))))
def test_answers_are_read_as_the_abi_says(said: list[tuple[bool, int, bytes]]) -> None:
    answer = encode(
        ["(bool,uint256,uint256,bytes)[]"],
        [[(done, profit, 412_345, reason) for done, profit, reason in said]],
    )

    found = decode_results(answer, len(said))

    assert [(r.done, r.profit, r.reason) for r in found] == said
    assert all(r.gas == 412_345 for r in found)
    with pytest.raises(BadAnswer):
        decode_results(answer, len(said) + 1)


@given(st.binary(max_size=400))
def test_an_answer_of_anything_is_refused_or_read_and_never_breaks(answer: bytes) -> None:
    try:
        found = decode_results(answer, 2)
    except BadAnswer:
        return
    assert len(found) == 2


def test_the_events_are_those_of_the_abi() -> None:
    for topic, name in ((LIQUIDATED, "Liquidated"), (FAILED, "Failed")):
        kinds = ",".join(i["type"] for i in ABI[name]["inputs"])
        assert topic == "0x" + keccak(text=f"{name}({kinds})").hex()


# --- gas --------------------------------------------------------------------------------------


@given(st.integers(0, 10**18), st.lists(st.integers(0, 10**7), min_size=1, max_size=10))
def test_parts_always_add_up(total: int, weights: list[int]) -> None:
    parts = split(total, weights)

    assert sum(parts) == total
    assert all(part >= 0 for part in parts)
    if sum(weights):
        assert all(
            part * sum(weights) <= total * weight
            for part, weight in zip(parts[1:], weights[1:], strict=True)
        )


def test_what_a_transaction_costs_is_shared_by_what_each_took() -> None:
    whole = Cost(gas_used=1_000_003, wei=Wei(2_000_006_000), value=Base(70_001))

    first, second, third = costs(whole, [500_000, 300_000, 200_000])

    # 30 % of 1,000,003 is 300,000.9, 20 % 200,000.6; the first has the rest
    assert (second.gas_used, third.gas_used, first.gas_used) == (300_000, 200_000, 500_003)
    assert first.wei + second.wei + third.wei == whole.wei
    assert [part.value for part in (first, second, third)] == [35_001, 21_000, 14_000]
    assert [part.value for part in costs(Cost(gas_used=7, wei=Wei(7), value=None), [1, 1])] == [
        None,
        None,
    ]


def test_every_order_has_its_limit_whatever_the_others_burn() -> None:
    limits = [order_limit(400_001), order_limit(300_000)]
    whole = gas_limit(limits, b"\x01" * 1_000, 30_000_000)

    # 500,001.25 rounded up, and 30,000; 375,000 and 30,000
    assert limits == [530_002, 405_000]
    # 935,002 * 64 / 63, the outside, 40 a byte: after both limits are burnt 1/64 and all of the
    # outside is left
    assert whole == 949_844 + 90_000 + 40_000
    with pytest.raises(ExecutionError, match="the most is 1000000"):
        gas_limit(limits, b"\x01" * 1_000, 2_000_000)
    with pytest.raises(ExecutionError, match=str(MOST_GAS)):
        gas_limit([MOST_GAS], b"", None)


# --- ends -------------------------------------------------------------------------------------


def plan() -> Plan:
    intents = [intent(n, HEAD) for n in (1, 2, 3)]
    return Plan(
        intent=intents[0],
        to=CONTRACT,
        data=b"\x01",
        gas_limit=1_500_000,
        max_fee_wei=Wei(7),
        deadline=1_795_000_000,
        shares=tuple(Share(intent=i, gas=g) for i, g in zip(intents, (50, 30, 20), strict=True)),
    )


def log(topic: str, name: str, data: bytes = b"", address: Address = CONTRACT) -> Log:
    return Log(
        address=address,
        topics=(Hash(topic), Hash("0x" + intent_word(name).hex())),
        data=data,
        block_number=7,
        block_hash=HEAD.hash,
        log_index=1,
    )


def receipt(*logs: Log, succeeded: bool = True) -> Receipt:
    return Receipt(
        tx_hash=Hash("0x" + "7a" * 32),
        block_number=7,
        block_hash=HEAD.hash,
        succeeded=succeeded,
        gas_used=1_000_001,
        effective_gas_price_wei=Wei(3),
        logs=logs,
    )


def failed(name: str, reason: bytes) -> Log:
    return log(FAILED, name, encode(["bytes"], [reason]))


def test_each_ends_as_the_contract_says_and_pays_its_part() -> None:
    healthy = bytes.fromhex("930bb771")
    first, second, third = NAMES

    found = ends(
        plan(),
        TxState.CONFIRMED,
        receipt(log(LIQUIDATED, first), failed(second, healthy), log(LIQUIDATED, third)),
    )

    assert [(end.intent_id, end.state) for end, _ in found] == [
        (first, TxState.CONFIRMED),
        (second, TxState.REVERTED),
        (third, TxState.CONFIRMED),
    ]
    assert [why for _, why in found] == ["", "health factor not below threshold", ""]
    parts = [end.receipt for end, _ in found if end.receipt is not None]
    assert [part.gas_used for part in parts] == [500_001, 300_000, 200_000]
    assert [part.succeeded for part in parts] == [True, False, True]
    assert all(part.logs == () for part in parts)


def test_the_first_may_fail_and_the_others_not() -> None:
    first, second, third = NAMES
    logs = (failed(first, b""), log(LIQUIDATED, second), log(LIQUIDATED, third))

    found = ends(plan(), TxState.CONFIRMED, receipt(*logs))

    assert [end.state for end, _ in found] == [
        TxState.REVERTED,
        TxState.CONFIRMED,
        TxState.CONFIRMED,
    ]
    assert found[0][1] == "it gives no reason"


def test_what_the_receipt_does_not_say_is_not_known() -> None:
    first, second, third = NAMES
    elsewhere = log(LIQUIDATED, third, address=Address("0x" + "ee" * 20))

    with pytest.raises(BadAnswer, match=f"does not say what became of {third}"):
        ends(
            plan(),
            TxState.CONFIRMED,
            receipt(log(LIQUIDATED, first), log(LIQUIDATED, second), elsewhere),
        )


def test_a_revert_is_everybodys_and_a_cancellation_is_paid_by_the_first() -> None:
    reverted = ends(plan(), TxState.REVERTED, receipt(succeeded=False))
    cancelled = ends(plan(), TxState.ABANDONED, receipt())

    assert [end.state for end, _ in reverted] == [TxState.REVERTED] * 3
    assert sum(end.receipt.gas_used for end, _ in reverted if end.receipt) == 1_000_001
    assert [end.state for end, _ in cancelled] == [TxState.ABANDONED] * 3
    assert [end.receipt is not None for end, _ in cancelled] == [True, False, False]


def test_only_the_first_part_takes_anything() -> None:
    first, *further = plan().parts

    assert first == plan()
    assert [part.intent.intent_id for part in further] == NAMES[1:]
    assert all(part.most_gas_wei == 0 and part.shares == () for part in further)


def test_one_that_ran_and_was_tried_again_is_done() -> None:
    """One order twice in a transaction: the second is refused, and that is no failure of it."""
    logs = [log(LIQUIDATED, name) for name in NAMES]

    again = ends(plan(), TxState.CONFIRMED, receipt(*logs, failed(NAMES[0], b"\x01")))
    before = ends(plan(), TxState.CONFIRMED, receipt(failed(NAMES[0], b"\x01"), *logs))

    assert again == before
    assert {end.state for end, _ in again} == {TxState.CONFIRMED}


def test_the_answer_of_the_abi_is_what_is_decoded() -> None:
    components = ABI["liquidateEach"]["outputs"][0]["components"]

    assert [c["type"] for c in components] == ["bool", "uint256", "uint256", "bytes"]
