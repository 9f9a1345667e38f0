"""The packed read, as bytes: what contracts/src/Lens.sol takes and answers.

The lens is run as the init code of an eth_call without `to`.  Nothing is deployed and no state is
overridden, so any node that can run a contract creation can answer it.  Formats: see Lens.sol.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from keeper.chain.place import Place
from keeper.errors import BadAnswer
from keeper.model import Call, CallResult, Failed, Hash, Returned

INITCODE_LIMIT_BYTES: Final = 49_152
"""EIP-3860."""
_HEAD_BYTES: Final = 23
_TRAILER_BYTES: Final = 13
_MARK: Final = 2
_PLACE_BYTES: Final = 49
"""The mark, and where the read was run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What one call of a packed read may use.

    A node runs an eth_call with 30 to 50 million gas; `call_gas` is what a hostile call can burn
    of it, and how much must be left for another call to be run at all.
    """

    call_gas: int = 2_000_000
    answer_cap_bytes: int = 64 * 1024
    """A longer answer fails its call."""
    room_bytes: int = 512 * 1024
    """Of all answers together; memory costs gas, quadratically."""

    def __post_init__(self) -> None:
        """Refuse what the lens could not hold to."""
        if not 0 < self.call_gas < 2**32:
            raise ValueError(f"call_gas must be between 1 and 2**32 - 1, not {self.call_gas}")
        if not 0 < self.answer_cap_bytes <= self.room_bytes - 4 < 2**24 - 4:
            raise ValueError(
                f"an answer of {self.answer_cap_bytes} bytes must fit into {self.room_bytes}"
            )


@cache
def creation_code() -> bytes:
    """Return the lens as compiled from contracts/src/Lens.sol."""
    document = json.loads(files("keeper.chain").joinpath("lens.json").read_text("utf-8"))
    return bytes.fromhex(document["bytecode"].removeprefix("0x"))


def room_for_calls() -> int:
    """Return how many bytes of packed calls fit into one packed read."""
    return INITCODE_LIMIT_BYTES - len(creation_code()) - _TRAILER_BYTES


def packed_size(call: Call) -> int:
    """Return the bytes that `call` takes in a packed read."""
    return _HEAD_BYTES + len(call.data)


def encode(calls: Sequence[Call], shares: Shares) -> bytes:
    """Return the init code that makes `calls` in order."""
    parts = [creation_code()]
    length = 0
    for call in calls:
        parts += (bytes.fromhex(call.to[2:]), len(call.data).to_bytes(3, "big"), call.data)
        length += _HEAD_BYTES + len(call.data)
    parts += (
        shares.room_bytes.to_bytes(3, "big"),
        shares.answer_cap_bytes.to_bytes(3, "big"),
        shares.call_gas.to_bytes(4, "big"),
        length.to_bytes(3, "big"),
    )
    return b"".join(parts)


def decode(answer: bytes, count: int, shares: Shares) -> tuple[Place, tuple[CallResult, ...]]:
    """Return where the lens was run and the results of the first calls of `count`.

    Fewer than `count` when the lens stopped early.  Raises BadAnswer for anything that the lens
    cannot have said.
    """
    if len(answer) < _PLACE_BYTES or answer[0] != _MARK:
        raise BadAnswer(f"The node answered a packed read with {len(answer)} bytes of no meaning.")
    place = Place(
        number=int.from_bytes(answer[1:9], "big"),
        timestamp=int.from_bytes(answer[9:17], "big"),
        parent_hash=Hash("0x" + answer[17:_PLACE_BYTES].hex()),
    )
    results: list[CallResult] = []
    position = _PLACE_BYTES
    while position < len(answer):
        start = position + 4
        end = start + int.from_bytes(answer[position + 1 : start], "big")
        if start > len(answer) or end > len(answer) or len(results) == count:
            raise BadAnswer("The node answered a packed read with a length that does not fit.")
        results.append(_result(answer[position], answer[start:end], shares))
        position = end
    return place, tuple(results)


def _result(state: int, data: bytes, shares: Shares) -> CallResult:
    match state:
        case 1:
            return Returned(data)
        case 0:
            return Failed("reverted", data)
        case 2:
            return Failed(f"answered more than {shares.answer_cap_bytes:,} bytes")
        case 3:
            return Failed(f"used all of its {shares.call_gas:,} gas")
    raise BadAnswer(f"The node answered a packed read with the state {state}.")
