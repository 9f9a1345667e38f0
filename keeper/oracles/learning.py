"""What a feed's own rounds say of its heartbeat and deviation, where nobody published them.

A feed answers when the price moved by its deviation, or when its heartbeat is over: in quiet hours
the gaps between rounds pile up at the heartbeat, and in no hour are they longer.  So the smallest
customary heartbeat that explains the gaps is the one, if enough of them lie at it.  Gaps that pile
up nowhere say only what it is not: then nothing is learned and the default stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, Call, Round
from keeper.oracles.abi import decode_round
from keeper.ports import Steps

CUSTOMARY_S: Final = (
    60, 120, 180, 240, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 28_800,
    43_200, 82_800, 86_400, 90_000, 97_200, 172_800, 604_800,
)  # fmt: skip
"""Every heartbeat of ``heartbeats.toml`` that several feeds have, and the round ones between."""
CUSTOMARY_DEVIATIONS: Final = (0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Per cent."""
GET_ROUND_DATA: Final = bytes.fromhex("9a6fc8f5")  # getRoundData(uint80)
ROUNDS: Final = 64
"""How many are looked at: two and a half days of an hourly feed, two months of a daily one."""
FEWEST_GAPS: Final = 12
PILE_SHARE: Final = 8
"""One gap in so many must lie at the heartbeat."""
OUTLIERS: Final = 50
"""One gap in so many may be longer: a feed that was late once is not slower for it."""
PHASE_BITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the rounds of one feed say."""

    heartbeat_s: int
    gaps: int
    """How many were looked at."""
    at_heartbeat: int
    """How many of them end at the heartbeat."""
    deviation_percent: float | None
    """None where no round came early enough to tell."""

    @property
    def confidence(self) -> str:
        """``19 of 63 gaps end at it``."""
        return f"{self.at_heartbeat} of {self.gaps} gaps end at it"


def grace_s(heartbeat_s: int) -> int:
    """Return how late a round may be and still end a heartbeat: as real ones are."""
    return max(120, heartbeat_s // 400)


def learned(rounds: Sequence[Round]) -> Learned | None:
    """Return the heartbeat that `rounds` show, oldest first; None where they show none.

    Rounds without an answer, of an instant already seen, and a step back in time are left out.
    """
    kept: list[Round] = []
    for one in rounds:
        if one.answer > 0 and one.updated_at > (kept[-1].updated_at if kept else 0):
            kept.append(one)
    steps = [
        (after.updated_at - before.updated_at, _moved(before, after))
        for before, after in pairwise(kept)
    ]
    if len(steps) < FEWEST_GAPS:
        return None
    gaps = sorted(gap for gap, _ in steps)
    longest = gaps[-1 - len(gaps) // OUTLIERS]
    for heartbeat_s in CUSTOMARY_S:
        # half of the shorter ones: a minute's grace would make 120 s of 60 s
        late = min(grace_s(heartbeat_s), heartbeat_s // 2)
        if longest > heartbeat_s + late:
            continue
        early_s = heartbeat_s - max(30, heartbeat_s // 100)
        pile = sum(early_s <= gap <= heartbeat_s + late for gap in gaps)
        if pile * PILE_SHARE < len(gaps) or pile < 3:
            return None
        moves = [moved for gap, moved in steps if gap < early_s]
        return Learned(
            heartbeat_s=heartbeat_s,
            gaps=len(gaps),
            at_heartbeat=pile,
            deviation_percent=_deviation(moves),
        )
    return None


def _moved(before: Round, after: Round) -> float:
    """Per cent, of the earlier answer."""
    return abs(after.answer - before.answer) / before.answer * 100


def _deviation(moves: Sequence[float]) -> float | None:
    """The customary deviation that the early rounds' moves pile up just above, if they do.

    Not the least of them: of real ETH/USD rounds four early ones in ten had moved by less.
    """
    if len(moves) < FEWEST_GAPS:
        return None
    piles = {d: sum(d * 0.98 <= moved <= d * 1.25 for moved in moves) for d in CUSTOMARY_DEVIATIONS}
    most = max(piles, key=piles.__getitem__)
    return most if piles[most] * 4 >= len(moves) else None


def read_history(feed: Address, latest: int, decimals: int) -> Steps[tuple[Round, ...]]:
    """Read the last `ROUNDS` rounds of the phase that `latest` is in, oldest first; one batch.

    A round that the feed does not have any more is left out.
    """
    phase, number = latest >> PHASE_BITS, latest & ((1 << PHASE_BITS) - 1)
    ids = [(phase << PHASE_BITS) | n for n in range(max(1, number - ROUNDS + 1), number + 1)]
    if not ids:
        return ()
    results = yield tuple(Call(to=feed, data=GET_ROUND_DATA + i.to_bytes(32, "big")) for i in ids)
    found = []
    for asked, result in zip(ids, results, strict=True):
        try:
            round_id, answer, updated_at = decode_round(result, "getRoundData()")
        except BadAnswer:
            continue
        if round_id == asked:
            found.append(
                Round(
                    feed=feed,
                    round_id=round_id,
                    answer=answer,
                    updated_at=updated_at,
                    decimals=decimals,
                )
            )
    return tuple(found)
