"""What a transaction would do at a pinned block, before anything is journalled or signed.

`eth_simulateV1` runs ``[what is already in flight..., the transaction, health reads]`` on top of
the block; where a node does not have it, `eth_call` and `eth_estimateGas` at the block's hash
answer without the health afterwards.  Which of the two is used is decided by trying, never by an
error's text.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from keeper.errors import BadAnswer, RpcError, SimulationReverted
from keeper.execution.node import Node, parse_bytes, parse_quantity, pinned, quantity
from keeper.execution.reverts import words
from keeper.model import Address, BlockRef, Call, Hash, Supposed
from keeper.units import Rounding, mul_div

METHOD_NOT_FOUND: Final = -32601
REVERTED: Final = 3
"""The error code of a reverted `eth_call` that every major node uses."""

MARGIN_GAS: Final = 20_000
MOST_GAS: Final = 2**24
"""EIP-7825: no transaction may ask for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """It would succeed."""

    gas_used: int
    """After refunds: up to a fifth less than what must be available while it runs."""
    probe: bytes | None
    """What the health read answered after it; None where the node could not say."""
    block_gas_limit: int | None = None
    output: bytes = b""
    """What it answered."""
    further: tuple[bytes | None, ...] = ()
    """What the further reads answered after it; None where one failed or the node could not say."""

    @property
    def gas_limit(self) -> int:
        """Return ``gas_used * 1.3 + margin``, rounded up, within what a block can hold.

        1.3 covers the refund that the node already took off (at most a fifth, so 1.25), and
        interest or a price that moves the code onto a dearer path until inclusion.
        """
        wanted = mul_div(self.gas_used, 13, 10, Rounding.UP) + MARGIN_GAS
        return min(wanted, MOST_GAS, self.block_gas_limit or MOST_GAS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What was simulated beforehand, and the one block and state that it is good for."""

    parent: Hash
    timestamp: int
    state: Hashable
    simulated: Simulated


class Simulator:
    """Remembers, for the process's life, whether the node has `eth_simulateV1`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.has_simulate_v1 = True
        self._prepared: dict[tuple[Address, Call, Call | None], _Prepared] = {}

    async def prepare(
        self,
        sender: Address,
        call: Call,
        probe: Call | None,
        *,
        parent: BlockRef,
        after: Sequence[Supposed],
        timestamp: int,
        state: Hashable = None,
    ) -> Simulated:
        """Run `call` on top of `parent`, behind `after`, in a block of that `timestamp`.

        `state`: what it was supposed to find there.  Should that very block come (a child of
        `parent`, to the second), be read and found to be in that state, and the same call be run
        there with nothing in flight, `run` answers with this.  A block that came without `after`
        is in another state.  What else is in the block was not seen: then it reverts and costs
        gas, as it may whatever was simulated.  Raises as `run`.
        """
        simulated = await self._simulate_v1(
            sender, call, probe, parent, (), after=after, timestamp=timestamp
        )
        self._prepared = {k: p for k, p in self._prepared.items() if p.parent == parent.hash}
        self._prepared[sender, call, probe] = _Prepared(
            parent=parent.hash, timestamp=timestamp, state=state, simulated=simulated
        )
        return simulated

    def prepared(
        self,
        sender: Address,
        call: Call,
        probe: Call | None,
        block: BlockRef,
        state: Hashable = None,
    ) -> Simulated | None:
        """Return what was simulated beforehand for this very call in this very block, or None.

        `state`: what was read at `block`; another one than was supposed is another block.
        """
        known = self._prepared.get((sender, call, probe))
        if known is None or (known.parent, known.timestamp) != (block.parent_hash, block.timestamp):
            return None
        return known.simulated if known.state == state else None

    async def run(
        self,
        sender: Address,
        call: Call,
        probe: Call | None,
        block: BlockRef,
        in_flight: Sequence[Call] = (),
        *,
        state: Hashable = None,
        further: Sequence[Call] = (),
    ) -> Simulated:
        """Run `call` from `sender` at `block`, after what is `in_flight` from the same sender.

        `state`: what was read at `block`, to be held against what was prepared.  `further`: reads
        besides `probe`, in the same request.
        Raises `SimulationReverted` with the reason in words, `RpcError` or `BadAnswer` when the
        node could not say.
        """
        if not in_flight and not further:
            known = self.prepared(sender, call, probe, block, state)
            if known is not None:
                return known
        if self.has_simulate_v1:
            try:
                return await self._simulate_v1(
                    sender, call, probe, block, in_flight, further=further
                )
            except RpcError as error:
                if error.code == METHOD_NOT_FOUND:
                    self.has_simulate_v1 = False
                # Whatever it was: the older methods either answer or raise the same again.
        simulated = await self._call_and_estimate(sender, call, block)
        return replace(simulated, further=(None,) * len(further))

    async def _simulate_v1(
        self,
        sender: Address,
        call: Call,
        probe: Call | None,
        block: BlockRef,
        in_flight: Sequence[Call],
        *,
        after: Sequence[Supposed] = (),
        timestamp: int | None = None,
        further: Sequence[Call] = (),
    ) -> Simulated:
        others = [{**_message(a.sender, a), "value": quantity(a.value_wei)} for a in after]
        calls = [*others, *(_message(sender, each) for each in (*in_flight, call))]
        reads = (*(() if probe is None else (probe,)), *further)
        calls += [_message(sender, read) for read in reads]
        at = {} if timestamp is None else {"blockOverrides": {"time": quantity(timestamp)}}
        answer = await self._node.call(
            "eth_simulateV1",
            [{"blockStateCalls": [{"calls": calls, **at}], "validation": False}, pinned(block)],
        )
        simulated = _only_block(answer)
        results = simulated.get("calls")
        if not isinstance(results, list) or len(results) != len(calls):
            raise BadAnswer(f"eth_simulateV1 answered for other than the {len(calls)} calls asked.")
        mine = results[len(after) + len(in_flight)]
        if not _succeeded(mine):
            raise SimulationReverted(f"It would revert: {words(_revert_data(mine))}.")
        answers = [_read(result) for result in results[len(calls) - len(reads) :]]
        return Simulated(
            gas_used=parse_quantity(mine.get("gasUsed"), "gasUsed of eth_simulateV1"),
            probe=None if probe is None else answers.pop(0),
            further=tuple(answers),
            block_gas_limit=parse_quantity(simulated.get("gasLimit"), "gasLimit of eth_simulateV1"),
            output=_hex_or_nothing(mine.get("returnData")),
        )

    async def _call_and_estimate(self, sender: Address, call: Call, block: BlockRef) -> Simulated:
        message = _message(sender, call)
        try:
            output = await self._node.call("eth_call", [message, pinned(block)])
            estimate = await self._node.call("eth_estimateGas", [message, pinned(block)])
        except RpcError as error:
            if error.code == REVERTED or error.data:
                data = _hex_or_nothing(error.data)
                raise SimulationReverted(f"It would revert: {words(data)}.") from error
            raise
        return Simulated(
            gas_used=parse_quantity(estimate, "eth_estimateGas"),
            probe=None,
            output=_hex_or_nothing(output),
        )


async def estimate(node: Node, sender: Address, to: Address, block: BlockRef) -> int:
    """Return what a plain call without data costs at `block`: more than 21,000 on some rollups."""
    message = {"from": sender, "to": to, "value": quantity(0)}
    answer = await node.call("eth_estimateGas", [message, pinned(block)])
    return parse_quantity(answer, "eth_estimateGas")


def _message(sender: Address, call: Call | Supposed) -> dict[str, Any]:
    return {"from": sender, "to": call.to, "data": "0x" + call.data.hex()}


def _only_block(answer: object) -> dict[str, Any]:
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict):
        return answer[0]
    raise BadAnswer("eth_simulateV1 did not answer with the one block it was asked for.")


def _succeeded(result: object) -> bool:
    if not isinstance(result, dict):
        raise BadAnswer("eth_simulateV1 answered a call with something that is not an object.")
    return parse_quantity(result.get("status"), "status of eth_simulateV1") == 1


def _read(result: Any) -> bytes | None:
    if not _succeeded(result):
        return None
    return parse_bytes(result.get("returnData"), "health read of eth_simulateV1")


def _revert_data(result: dict[str, Any]) -> bytes:
    """Nodes put it into ``returnData``, ``error.data``, or both."""
    error = result.get("error")
    inner = error.get("data") if isinstance(error, dict) else None
    return _hex_or_nothing(result.get("returnData")) or _hex_or_nothing(inner)


def _hex_or_nothing(value: object) -> bytes:
    try:
        return parse_bytes(value, "revert data")
    except BadAnswer:
        return b""
