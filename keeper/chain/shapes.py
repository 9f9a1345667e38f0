"""What the answer to a method must look like, where somebody asks for it as plain JSON.

The check is made of each node's own answer, so that of one that says nonsense the next is asked.
Whoever asked parses the value once more, in words of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from keeper.chain import wire
from keeper.errors import BadAnswer

SHAPES: Final[Mapping[str, Callable[[object, str], object]]] = {
    "eth_blockNumber": wire.quantity,
    "eth_call": wire.octets,
    "eth_chainId": wire.amount,
    "eth_estimateGas": wire.quantity,
    "eth_getBalance": wire.amount,
    "eth_getCode": wire.octets,
    "eth_getTransactionCount": wire.quantity,
    "eth_maxPriorityFeePerGas": wire.amount,
}


def shaped(method: str, params: Sequence[Any]) -> Callable[[msgspec.Raw], Any]:
    """Return what reads an answer to `method`.  It raises BadAnswer for one that cannot be."""
    check = SHAPES.get(method)

    def read(raw: msgspec.Raw) -> Any:
        answer = wire.convert(raw, Any, method)
        if check is not None:
            check(answer, method)
        elif method == "eth_simulateV1":
            results(answer, len(params[0]["blockStateCalls"][0]["calls"]))
        return answer

    return read


def results(answer: object, count: int) -> list[dict[str, Any]]:
    """Return what eth_simulateV1 says of each of `count` calls in one block."""
    match answer:
        case [{"calls": list(found)}] if len(found) == count:
            if all(isinstance(result, dict) for result in found):
                for result in found:
                    wire.amount(result.get("status"), "a status of eth_simulateV1")
                return found
    raise BadAnswer(f"eth_simulateV1 answered for other than the {count} calls asked.")
