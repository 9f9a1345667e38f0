"""What Aave's governance has queued on a chain: payloads that wait for their time.

Source: the MIT-licensed interface ``IPayloadsControllerCore`` of ``aave-dao/aave-governance-v3``.
A payload names contracts whose code decides what happens, so that it is not decoded but carried
out: `executePayload` is open to anybody once ``queuedAt + delay`` has passed, until the grace
period is over.  What it would do is for a node to say.
"""

from collections.abc import Mapping
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, CallResult, Queued, Supposed
from keeper.ports import Steps
from keeper.protocols.aave_v3.codec import WORD, call, encode, returned, uint

GET_PAYLOADS_COUNT: Final = bytes.fromhex("aa30b6ea")  # getPayloadsCount()
GET_PAYLOAD_STATE: Final = bytes.fromhex("74730f0d")  # getPayloadState(uint40)
GET_PAYLOAD_BY_ID: Final = bytes.fromhex("58007a4e")  # getPayloadById(uint40)
EXECUTE_PAYLOAD: Final = bytes.fromhex("92cdb834")  # executePayload(uint40)

QUEUED: Final = 2
"""`PayloadState`: none, created, queued, executed, cancelled, expired."""
LOOK_BACK: Final = 40
"""The newest payloads that are asked for; votes take days, and a chain sees a few a week."""
PASSER_BY: Final = Address("0x" + "00" * 19 + "01")
"""Whoever carries a payload out: it matters to nobody who."""
HEAD_WORDS: Final = 11


def queued_payloads(controller: Address) -> Steps[tuple[Queued, ...]]:
    """Return what `controller` has queued, the oldest first; two batches, three where there is any.

    Raises BadAnswer where it is no PayloadsController.
    """
    (said,) = yield (call(controller, GET_PAYLOADS_COUNT),)
    count = uint(said, f"getPayloadsCount of {controller}", 40)
    numbers = range(max(0, count - LOOK_BACK), count)
    if not numbers:
        return ()
    states = yield tuple(call(controller, GET_PAYLOAD_STATE, i) for i in numbers)
    waiting = [
        i
        for i, state in zip(numbers, states, strict=True)
        if uint(state, f"getPayloadState({i}) of {controller}", 8) == QUEUED
    ]
    if not waiting:
        return ()
    payloads = yield tuple(call(controller, GET_PAYLOAD_BY_ID, i) for i in waiting)
    return tuple(
        _queued(controller, i, payload) for i, payload in zip(waiting, payloads, strict=True)
    )


def payload(controller: Address, number: int, from_s: int, until_s: int) -> Queued:
    """Return one payload and what carries it out."""
    return Queued(
        name=f"payload {number}",
        runs=Supposed(sender=PASSER_BY, to=controller, data=encode(EXECUTE_PAYLOAD, number)),
        from_s=from_s,
        until_s=until_s,
    )


def _queued(controller: Address, number: int, answer: CallResult) -> Queued:
    times = _times(answer, f"getPayloadById({number}) of {controller}")
    # It asks for more than the delay, not for as much.
    from_s = times["queued_at"] + times["delay"] + 1
    return payload(controller, number, from_s, from_s + times["grace_period"] - 1)


def _times(answer: CallResult, what: str) -> Mapping[str, int]:
    """Read the fixed fields of a Payload, which begins behind one offset; its actions are not."""
    data = returned(answer, what)
    if len(data) < (1 + HEAD_WORDS) * WORD or int.from_bytes(data[:WORD], "big") != WORD:
        raise BadAnswer(f"{what} answered {len(data)} bytes that are no payload.")
    fields = [
        int.from_bytes(data[WORD * i : WORD * (i + 1)], "big") for i in range(1, 1 + HEAD_WORDS)
    ]
    if max(fields[3:10]) >= 1 << 40:
        raise BadAnswer(f"{what} answered an instant that does not fit into 40 bits.")
    return {"queued_at": fields[4], "delay": fields[8], "grace_period": fields[9]}
