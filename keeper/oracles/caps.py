"""Caps on growing ratios: how much room is left, and whether cap, ratio and price fit together.

Source: the public getters of Aave's price-cap adapters (``bgd-labs/aave-capo``, MIT interfaces):
the cap is the snapshot's ratio and the allowed growth since the snapshot's time.  It moves by the
second and without an event, so it is read on every block.
"""

from keeper.errors import BadAnswer
from keeper.model import BlockRef, CallResult, Cap, CapReading, Failed
from keeper.oracles.abi import call, decode_int, decode_uint
from keeper.ports import Steps

GETTERS = (
    "isCapped",
    "getRatio",
    "getSnapshotRatio",
    "getSnapshotTimestamp",
    "getMaxRatioGrowthPerSecond",
)


def read_caps(caps: tuple[Cap, ...]) -> Steps[tuple[tuple[CallResult, ...], ...]]:
    """Read the getters of each cap, one batch; what they mean needs the block's time."""
    if not caps:
        return ()
    results = yield tuple(call(cap.address, getter) for cap in caps for getter in GETTERS)
    width = len(GETTERS)
    return tuple(results[i : i + width] for i in range(0, len(results), width))


def cap_reading(answers: tuple[CallResult, ...], block: BlockRef) -> CapReading | Failed:
    """Return the cap as of `block`, or why it is not known.

    The adapter's own word on whether it caps is what counts: a cap that contradicts it was not
    understood (another version, another scale) and is left out.
    """
    capped, ratio, *growth = answers
    try:
        state = decode_uint(capped, "isCapped()") != 0
    except BadAnswer as error:
        return Failed(str(error))
    try:
        now = decode_int(ratio, "getRatio()")
    except BadAnswer:
        return CapReading(capped=state, ratio=0, cap=None)
    try:
        snapshot, since, per_second = (decode_uint(g, "its cap") for g in growth)
    except BadAnswer:
        return CapReading(capped=state, ratio=now, cap=None)
    cap = snapshot + per_second * max(0, block.timestamp - since)
    if state is not (now > cap):
        return CapReading(capped=state, ratio=now, cap=None)
    return CapReading(capped=state, ratio=now, cap=cap, snapshot_ratio=snapshot)
