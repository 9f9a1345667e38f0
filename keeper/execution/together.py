"""Several liquidations in one transaction: how it is packed, what of it is whose.  Pure.

The contract runs each order by itself, within a gas limit of its own, so that whoever is behind
one of them can neither stop the others nor burn what is theirs.  Gas is shared by what each order
took by itself in the simulation; what the transaction costs besides, and what it gets back, goes
the same way.  The parts always add up to the whole.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from keeper.errors import BadAnswer, ExecutionError
from keeper.execution.flash import Funded
from keeper.execution.liquidator import (
    Order,
    Result,
    done_by,
    encode_orders,
    intent_word,
)
from keeper.execution.reverts import words
from keeper.execution.simulate import MOST_GAS
from keeper.model import Call, Cost, Ended, Plan, Receipt, Share, TxState
from keeper.units import Base, Rounding, Wei, mul_div

SIMULATED_GAS: Final = 2_000_000
"""Given to each order in the simulation: several times what any liquidation takes."""
ROOM_GAS: Final = 30_000
"""Besides a quarter: a price or an index that takes a dearer path by then."""
OUTER_GAS: Final = 90_000
"""The transaction itself and what the contract does around the orders, without the calldata."""
BYTE_GAS: Final = 40
"""Of calldata, the most that any fork asks (EIP-7623)."""
BLOCK_SHARE: Final = 2
"""A transaction takes at most this part of a block: a half."""


def call_of(several: Sequence[Funded], gas_limits: Sequence[int]) -> Call:
    """Return the one call for all of them."""
    return Call(to=several[0].call.to, data=encode_orders(_orders(several), gas_limits))


def _orders(several: Sequence[Funded]) -> list[Order]:
    orders = [one.order for one in several if one.order is not None]
    if len(orders) != len(several):
        raise ExecutionError("Not all of them can go with others.")
    return orders


def order_limit(gas: int) -> int:
    """Return the gas limit of an order that took `gas` before refunds, rounded up."""
    return mul_div(gas, 5, 4, Rounding.UP) + ROOM_GAS


def gas_limit(limits: Sequence[int], data: bytes, block_gas_limit: int | None) -> int:
    """Return a gas limit at which every order has all of its own, whatever the others burn.

    A call is given at most 63/64 of what is there.  Raises `ExecutionError` where that is more
    than a transaction may take of a block.
    """
    inner = mul_div(sum(limits), 64, 63, Rounding.UP)
    whole = inner + OUTER_GAS + BYTE_GAS * len(data)
    most = min(MOST_GAS, (block_gas_limit or MOST_GAS * BLOCK_SHARE) // BLOCK_SHARE)
    if whole > most:
        raise ExecutionError(f"Together they may take {whole} gas, the most is {most}.")
    return whole


def split(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Return `total` in parts by `weights`, each rounded down but the first, which has the rest."""
    whole = sum(weights) or 1
    parts = [total * weight // whole for weight in weights]
    parts[0] += total - sum(parts)
    return tuple(parts)


def costs(cost: Cost, weights: Sequence[int]) -> tuple[Cost, ...]:
    """Return each one's part of what the transaction would pay."""
    gas, wei = split(cost.gas_used, weights), split(cost.wei, weights)
    values = [None] * len(weights) if cost.value is None else split(cost.value, weights)
    return tuple(
        Cost(gas_used=g, wei=Wei(w), value=None if v is None else Base(v))
        for g, w, v in zip(gas, wei, values, strict=True)
    )


def failure(result: Result) -> str:
    """Return why an order would fail, as a sentence."""
    return f"It would revert: {words(result.reason)}."


def ends(plan: Plan, state: TxState, receipt: Receipt | None) -> tuple[tuple[Ended, str], ...]:
    """Return what became of everything that `plan` carries, and why where it failed.

    Of a transaction that was mined and succeeded each order is done that the contract says is
    done.  Gas is shared whatever became of them.  Raises `BadAnswer` where the receipt does not
    say of each: then it is not known.
    """
    intents = plan.intents
    if receipt is None or state is TxState.ABANDONED:
        # of a cancellation: the first one's row holds the nonce, and the gas
        rest = [Ended(intent_id=i.intent_id, state=state, receipt=None) for i in intents[1:]]
        first = Ended(intent_id=intents[0].intent_id, state=state, receipt=receipt)
        return tuple((one, "") for one in (first, *rest))
    parts = split(receipt.gas_used, [share.gas for share in plan.shares])
    said = done_by(receipt.logs, plan.to) if receipt.succeeded else {}
    found = []
    for intent, gas in zip(intents, parts, strict=True):
        word = intent_word(intent.intent_id)
        if receipt.succeeded and word not in said:
            raise BadAnswer(
                f"The receipt of {receipt.tx_hash} does not say what became of {intent.intent_id}."
            )
        done = receipt.succeeded and said[word] is None
        part = replace(receipt, gas_used=gas, succeeded=done, logs=())
        reason = "" if done or not receipt.succeeded else words(said[word] or b"")
        new = TxState.CONFIRMED if done else TxState.REVERTED
        found.append((Ended(intent_id=intent.intent_id, state=new, receipt=part), reason))
    return tuple(found)


def shares(several: Sequence[Funded], results: Sequence[Result]) -> tuple[Share, ...]:
    """Return who is carried and by what weight."""
    return tuple(
        Share(intent=one.intent, gas=result.gas)
        for one, result in zip(several, results, strict=True)
    )
