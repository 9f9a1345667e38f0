"""Packed reads of a block that does not exist: what would be so, were these transactions in it.

`eth_simulateV1` runs the transactions on top of a real block, at an instant that is said, and then
the lens, which a state override puts where no contract is; nothing is signed, sent or kept.  One
request a batch, each of which runs the transactions anew: a supposed block has no hash to pin.

Caveat: whether a transaction would be mined at all (nonce, balance, fees) is not asked.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from keeper.chain import lens, wire
from keeper.chain.lens import Shares
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.chain.shapes import results
from keeper.chain.wire import at_block
from keeper.errors import BadAnswer, RpcError, SimulationReverted
from keeper.model import BlockRef, Call, CallResult, Supposed

ZERO_ADDRESS: Final = "0x" + "00" * 20
LENS_AT: Final = "0x" + "1e" * 20
"""Where the lens is put: an address that nobody has the key of."""
METHOD_NOT_FOUND: Final = -32601


class SupposingReader(LensReader):
    """`ports.Reader` of a block in which `transactions` would be mined."""

    def __init__(
        self,
        rpc: Rpc,
        transactions: Sequence[Supposed],
        timestamp: int,
        *,
        shares: Shares = Shares(),  # noqa: B008 - frozen
    ) -> None:
        """`timestamp`: chain seconds of the supposed block, after the real one's."""
        super().__init__(rpc, shares=shares)
        self._transactions = tuple(transactions)
        self._timestamp = timestamp

    def supposed(self, block: BlockRef) -> BlockRef:
        """Return what readings on top of `block` are of: its number and hash, another instant."""
        return replace(block, timestamp=self._timestamp)

    async def _packed(
        self, calls: Sequence[Call], block: BlockRef, *, patiently: bool = False
    ) -> tuple[CallResult, ...]:
        """Run the transactions and one packed read.

        Raises SimulationReverted when one of the transactions would revert.
        """
        code = lens.encode(calls, self._shares)
        request = {
            "blockStateCalls": [
                {
                    "blockOverrides": {"time": hex(self._timestamp)},
                    "stateOverrides": {LENS_AT: {"code": "0x" + code.hex()}},
                    "calls": [*map(_message, self._transactions), _ASK_LENS],
                }
            ],
            "validation": False,
        }

        def decode(raw: msgspec.Raw) -> tuple[CallResult, ...]:
            return self._decoded(wire.convert(raw, Any, "eth_simulateV1"), len(calls))

        read = self._rpc.read_pinned if patiently else self._rpc.read
        try:
            return await read("eth_simulateV1", [request, at_block(block)], decode)
        except RpcError as error:
            if error.code == METHOD_NOT_FOUND:
                raise RpcError(
                    f"{self._rpc.names[0]} has no eth_simulateV1, so that nothing can be supposed: "
                    "use a node that has it."
                ) from error
            raise

    def _decoded(self, answer: object, calls: int) -> tuple[CallResult, ...]:
        """Return the results in one node's answer.  Raises BadAnswer, SimulationReverted."""
        *ran, read = results(answer, len(self._transactions) + 1)
        for transaction, result in zip(self._transactions, ran, strict=True):
            if not _succeeded(result):
                raise SimulationReverted(
                    f"A call of {transaction.to} would revert: {_why(result)}."
                )
        said = wire.octets(_data(read), "a supposed read")
        place, found = lens.decode(said, calls, self._shares)
        if place.timestamp != self._timestamp:
            raise BadAnswer(
                f"eth_simulateV1 ran at the instant {place.timestamp}, {self._timestamp} was asked."
            )
        return found


_ASK_LENS: Final = {"from": ZERO_ADDRESS, "to": LENS_AT, "data": "0x"}


def _message(transaction: Supposed) -> dict[str, str]:
    return {
        "from": transaction.sender,
        "to": transaction.to,
        "data": "0x" + transaction.data.hex(),
        "value": hex(transaction.value_wei),
    }


def _succeeded(result: dict[str, Any]) -> bool:
    return wire.amount(result.get("status"), "status of eth_simulateV1") == 1


def _data(result: dict[str, Any]) -> object:
    """A long answer of the lens is handed over as revert data: nodes put that into either."""
    error = result.get("error")
    inner = error.get("data") if isinstance(error, dict) else None
    said = result.get("returnData")
    return inner if said in (None, "0x") and inner is not None else said


def _why(result: dict[str, Any]) -> str:
    error = result.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return wire.clip(said or "no reason given", 120)
