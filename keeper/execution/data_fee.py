"""What a rollup charges besides gas for putting a transaction on its parent chain.

OP stack: `GasPriceOracle.getL1Fee(bytes)` of the unsigned transaction, a predeploy; it is taken
from the sender's balance on top of ``gas_used * price`` and is in no gas limit.  Arbitrum charges
it in gas: `NodeInterface.gasEstimateL1Component` says how much of its gas limit that is.
Sources: docs.optimism.io/stack/transactions/fees; docs.arbitrum.io/build-decentralized-apps/
nodeinterface/reference.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keeper.errors import BadAnswer
from keeper.execution.node import Node, parse_bytes, pinned
from keeper.execution.transaction import UnsignedTx
from keeper.model import Address, BlockRef, Call, Fees
from keeper.units import Rounding, Wei, mul_div

GAS_PRICE_ORACLE: Final = Address("0x420000000000000000000000000000000000000f")
GET_L1_FEE: Final = bytes.fromhex("49948e0e")
"""getL1Fee(bytes)"""
NODE_INTERFACE: Final = Address("0x00000000000000000000000000000000000000c8")
GAS_ESTIMATE_L1: Final = bytes.fromhex("77d488a2")
"""gasEstimateL1Component(address,bool,bytes)"""
WORD: Final = 32
SIGNATURE_BYTES: Final = 68
"""A signature's, which the oracle itself adds for older forks and not for newer ones."""


class DataFeeKind(StrEnum):
    """How a chain charges for data."""

    NONE = "none"
    OP_STACK = "op_stack"
    ARBITRUM = "arbitrum"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFee:
    """Of one transaction at one block."""

    wei: Wei = Wei(0)  # noqa: RUF009 - an int that is immutable
    """As it would be charged now, besides gas."""
    gas: int = 0
    """As it would be charged in gas: belongs into the gas limit."""

    @property
    def most_wei(self) -> Wei:
        """What to reserve: half as much again, for the parent chain's fee moves until inclusion."""
        return Wei(mul_div(self.wei, 3, 2, Rounding.UP))


async def data_fee(
    node: Node, kind: DataFeeKind, call: Call, chain_id: int, block: BlockRef
) -> DataFee:
    """Ask the chain what the data of `call` costs at `block`.  Raises `RpcError`, `BadAnswer`."""
    match kind:
        case DataFeeKind.NONE:
            return DataFee()
        case DataFeeKind.OP_STACK:
            raw = _unsigned(call, chain_id).payload() + b"\xff" * SIGNATURE_BYTES
            data = GET_L1_FEE + _word(WORD) + _word(len(raw)) + _padded(raw)
            [fee] = await _ask(node, GAS_PRICE_ORACLE, data, 1, block)
            return DataFee(wei=Wei(fee))
        case DataFeeKind.ARBITRUM:
            head = _word(int(call.to, 16)) + _word(0) + _word(3 * WORD)
            data = GAS_ESTIMATE_L1 + head + _word(len(call.data)) + _padded(call.data)
            gas, _, _ = await _ask(node, NODE_INTERFACE, data, 3, block)
            return DataFee(gas=gas)


async def _ask(
    node: Node, to: Address, data: bytes, count: int, block: BlockRef
) -> tuple[int, ...]:
    answer = await node.call("eth_call", [{"to": to, "data": "0x" + data.hex()}, pinned(block)])
    found = parse_bytes(answer, f"the data fee of {to}")
    if len(found) != count * WORD:
        raise BadAnswer(
            f"{to} does not say what data costs: correct data_fee of the chain, or set it to none."
        )
    return tuple(int.from_bytes(found[i : i + WORD], "big") for i in range(0, len(found), WORD))


def _unsigned(call: Call, chain_id: int) -> UnsignedTx:
    """Return a transaction of the length that will be signed: fees and nonce count by bytes."""
    fees = Fees(max_fee_wei=Wei(2**48), priority_fee_wei=Wei(2**40))
    return UnsignedTx(
        chain_id=chain_id,
        nonce=2**24,
        to=call.to,
        value_wei=Wei(0),
        data=call.data,
        gas_limit=2**23,
        fees=fees,
    )


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % WORD)
