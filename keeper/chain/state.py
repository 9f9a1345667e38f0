"""Typed reads of what the chain holds: nonces, balances, code, calls, fees."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keeper.chain import wire
from keeper.chain.wire import BlockTag, at_block
from keeper.errors import BadAnswer
from keeper.model import Address, BlockRef
from keeper.units import Wei


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
    async def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the JSON result of a read."""

    @abstractmethod
    async def call_as(self, method: str, params: Sequence[Any], type_: Any) -> Any:
        """The same, decoded into the msgspec type `type_`."""

    @abstractmethod
    async def call_pinned(self, method: str, params: Sequence[Any], type_: Any) -> Any:
        """The same for a read of a block just announced, which a node may not have yet."""

    async def nonce(self, address: Address, at: BlockTag = "latest") -> int:
        """Return the number of transactions of `address` in the state at `at`."""
        answer = await self.call("eth_getTransactionCount", [address, at_block(at)])
        return wire.quantity(answer, "eth_getTransactionCount")

    async def balance(self, address: Address, at: BlockTag = "latest") -> Wei:
        """Return the balance in wei."""
        answer = await self.call("eth_getBalance", [address, at_block(at)])
        return Wei(wire.amount(answer, "eth_getBalance"))

    async def code(self, address: Address, at: BlockTag = "latest") -> bytes:
        """Return the deployed code; empty for an account without."""
        return wire.octets(await self.call("eth_getCode", [address, at_block(at)]), "eth_getCode")

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
        ask = self.call_pinned if isinstance(at, BlockRef) else self.call_as
        return wire.octets(await ask("eth_call", [request, at_block(at)], Any), "eth_call")

    async def gas_fees(self) -> GasFees:
        """Return the next block's base fee and a tip that is usual."""
        history: wire.FeeHistory = await self.call_as(
            "eth_feeHistory", ["0x5", "latest", [50]], wire.FeeHistory
        )
        if not history.base_fee_per_gas:
            raise BadAnswer(f"{self.names[0]} answered eth_feeHistory without a base fee.")
        base_fee = wire.amount(history.base_fee_per_gas[-1], "eth_feeHistory")
        tips = sorted(
            tip
            for row in history.reward or ()
            for reward in row
            if (tip := wire.amount(reward, "eth_feeHistory"))
        )
        if tips:
            tip = tips[len(tips) // 2]
        else:
            tip = wire.amount(await self.call("eth_maxPriorityFeePerGas"), "the suggested tip")
        return GasFees(base_fee_wei=Wei(base_fee), priority_fee_wei=Wei(tip))
