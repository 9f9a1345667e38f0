"""Typed reads of what the chain holds: nonces, balances, code, calls, fees."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from keeper.chain import wire
from keeper.chain.wire import BlockTag, at_block
from keeper.errors import BadAnswer
from keeper.model import Address, BlockRef
from keeper.units import Wei

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GasFees:
    """What a transaction would have to pay now, wei per gas."""

    base_fee_wei: Wei
    """Of the next block."""
    priority_fee_wei: Wei
    """The median tip of the last five blocks, or the node's suggestion when they were empty."""


class StateReads(ABC):
    """The same over whatever asks: `keeper.chain.rpc.Rpc`."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The nodes by scheme and host, in order."""

    @abstractmethod
    async def read(
        self, method: str, params: Sequence[Any], decode: Callable[[msgspec.Raw], T]
    ) -> T:
        """Return what `decode` makes of the answer; its `BadAnswer` counts as no answer."""

    @abstractmethod
    async def read_pinned(
        self, method: str, params: Sequence[Any], decode: Callable[[msgspec.Raw], T]
    ) -> T:
        """The same for a read of a block just announced, which a node may not have yet."""

    async def nonce(self, address: Address, at: BlockTag = "latest") -> int:
        """Return the number of transactions of `address` in the state at `at`."""
        params = [address, at_block(at)]
        return await self.read("eth_getTransactionCount", params, _nonce)

    async def balance(self, address: Address, at: BlockTag = "latest") -> Wei:
        """Return the balance in wei."""
        return Wei(await self.read("eth_getBalance", [address, at_block(at)], _balance))

    async def code(self, address: Address, at: BlockTag = "latest") -> bytes:
        """Return the deployed code; empty for an account without."""
        return await self.read("eth_getCode", [address, at_block(at)], _code)

    async def eth_call(
        self,
        to: Address,
        data: bytes,
        at: BlockTag = "latest",
        *,
        sender: Address | None = None,
        value_wei: Wei = Wei(0),  # noqa: B008 - a NewType of int is immutable
        gas: int | None = None,
    ) -> bytes:
        """Return what a call answers.  Raises RpcError with the revert data when it reverts."""
        request: dict[str, str] = {"to": to, "data": "0x" + data.hex()}
        if sender is not None:
            request["from"] = sender
        if value_wei:
            request["value"] = hex(value_wei)
        if gas is not None:
            request["gas"] = hex(gas)
        read = self.read_pinned if isinstance(at, BlockRef) else self.read
        return await read("eth_call", [request, at_block(at)], _returned)

    async def gas_fees(self) -> GasFees:
        """Return the next block's base fee and a tip that is usual."""
        base_fee, tips = await self.read("eth_feeHistory", ["0x5", "latest", [50]], _fee_history)
        if tips:
            tip = tips[len(tips) // 2]
        else:
            tip = await self.read("eth_maxPriorityFeePerGas", [], _tip)
        return GasFees(base_fee_wei=Wei(base_fee), priority_fee_wei=Wei(tip))


# --- of one node's answer -----------------------------------------------------------------------


def _nonce(raw: msgspec.Raw) -> int:
    return wire.quantity(wire.convert(raw, Any, "eth_getTransactionCount"), "the nonce")


def _balance(raw: msgspec.Raw) -> int:
    return wire.amount(wire.convert(raw, Any, "eth_getBalance"), "the balance")


def _code(raw: msgspec.Raw) -> bytes:
    return wire.octets(wire.convert(raw, Any, "eth_getCode"), "the code")


def _returned(raw: msgspec.Raw) -> bytes:
    return wire.octets(wire.convert(raw, Any, "eth_call"), "what was returned")


def _tip(raw: msgspec.Raw) -> int:
    return wire.amount(wire.convert(raw, Any, "eth_maxPriorityFeePerGas"), "the suggested tip")


def _fee_history(raw: msgspec.Raw) -> tuple[int, list[int]]:
    """Return the next block's base fee and the tips that were paid, sorted."""
    history = wire.convert(raw, wire.FeeHistory, "eth_feeHistory")
    if not history.base_fee_per_gas:
        raise BadAnswer("The node's answer to eth_feeHistory has no base fee.")
    tips = sorted(
        tip
        for row in history.reward or ()
        for reward in row
        if (tip := wire.amount(reward, "a tip of eth_feeHistory"))
    )
    return wire.amount(history.base_fee_per_gas[-1], "a base fee of eth_feeHistory"), tips
