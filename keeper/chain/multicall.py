"""Multicall3's ``aggregate3``, as bytes: what reads go by where a node refuses the lens.

Source: github.com/mds1/multicall3 (MIT), deployed at one address on nearly every chain.  Its own
three views of the block are asked with every read, so that it says where it was run.

Caveat: it neither shares out gas nor caps answers, and calls are not static: what one contract
changes the next one sees.  The lens has none of these faults and is preferred wherever it runs.
"""

from collections.abc import Sequence
from typing import Final

from keeper.chain.place import Place
from keeper.errors import BadAnswer
from keeper.model import Address, Call, CallResult, Failed, Hash, Returned

MULTICALL3: Final = Address("0xca11bde05977b3631167028862be2a173976ca11")
ELSEWHERE: Final = {324: Address("0xf9cda624fbc7e059355ce98a31693d299facd963")}
"""By chain id: zkSync Era derives addresses in its own way."""
_AGGREGATE3: Final = bytes.fromhex("82ad56cb")
_VIEWS: Final = tuple(bytes.fromhex(text) for text in ("42cbb15c", "0f28c97d", "27e86d6e"))
"""``getBlockNumber``, ``getCurrentBlockTimestamp``, ``getLastBlockHash``."""
_WORD: Final = 32


def address_on(chain_id: int | None) -> Address:
    """Return where Multicall3 is on that chain, if it is there at all."""
    return ELSEWHERE.get(chain_id or 0, MULTICALL3)


def encode(calls: Sequence[Call], multicall: Address) -> bytes:
    """Return the call data that makes the views of `multicall` and then `calls`, in order.

    Each may fail without the others.
    """
    made = [Call(to=multicall, data=view) for view in _VIEWS]
    tuples = [_tuple(call) for call in (*made, *calls)]
    at = _WORD * len(tuples)
    offsets = []
    for one in tuples:
        offsets.append(_word(at))
        at += len(one)
    return b"".join((_AGGREGATE3, _word(_WORD), _word(len(tuples)), *offsets, *tuples))


def decode(answer: bytes, count: int, cap_bytes: int) -> tuple[Place, tuple[CallResult, ...]]:
    """Return where it was run, and the result of each of `count` calls.

    An answer longer than `cap_bytes` fails its call.  Raises BadAnswer for what Multicall3 cannot
    have said.
    """
    there = _number(answer, _WORD)
    if _number(answer, 0) != _WORD or there != count + len(_VIEWS):
        raise BadAnswer(f"Multicall3 answered {there} calls, {count + len(_VIEWS)} were made.")
    start = 2 * _WORD
    found = [_returned(answer, start + _number(answer, start + _WORD * i)) for i in range(there)]
    views = [data for succeeded, data in found[: len(_VIEWS)] if succeeded and len(data) == _WORD]
    if len(views) != len(_VIEWS):
        raise BadAnswer("Multicall3 did not say in which block it was run.")
    place = Place(
        number=int.from_bytes(views[0], "big"),
        timestamp=int.from_bytes(views[1], "big"),
        parent_hash=Hash("0x" + views[2].hex()),
    )
    results = [
        result(data, cap_bytes) if succeeded else reverted(data, cap_bytes)
        for succeeded, data in found[len(_VIEWS) :]
    ]
    return place, tuple(results)


def result(data: bytes, cap_bytes: int) -> CallResult:
    """Return what the lens would have made of an answer."""
    if len(data) > cap_bytes:
        return Failed(f"answered more than {cap_bytes:,} bytes")
    return Returned(data)


def reverted(data: bytes, cap_bytes: int) -> CallResult:
    """Return what the lens would have made of a revert with `data`."""
    return Failed("reverted", data if len(data) <= cap_bytes else b"")


def _tuple(call: Call) -> bytes:
    padding = bytes(-len(call.data) % _WORD)
    return b"".join(
        (bytes(12), bytes.fromhex(call.to[2:]), _word(1), _word(3 * _WORD), _word(len(call.data)),
         call.data, padding)
    )  # fmt: skip


def _word(value: int) -> bytes:
    return value.to_bytes(_WORD, "big")


def _number(answer: bytes, at: int) -> int:
    word = answer[at : at + _WORD]
    if len(word) != _WORD or any(word[:-4]):
        raise BadAnswer(f"Multicall3 answered {len(answer)} bytes that do not fit together.")
    return int.from_bytes(word, "big")


def _returned(answer: bytes, at: int) -> tuple[bool, bytes]:
    succeeded, offset = _number(answer, at), _number(answer, at + _WORD)
    start = at + offset + _WORD
    data = answer[start : start + _number(answer, at + offset)]
    if succeeded > 1 or len(data) != _number(answer, at + offset):
        raise BadAnswer(f"Multicall3 answered {len(answer)} bytes that do not fit together.")
    return succeeded == 1, data
