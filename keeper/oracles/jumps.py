"""A price that moves further in one step than markets do, and how it is believed in the end.

The largest step between two rounds of ETH/USD and BTC/USD in ten months of 2023 was 3.2 %: feeds
answer at every 0.5 %.  A step of many times that is a fault until it has lasted, or until an
independent reference says the same (`keeper.oracles.judge`).
"""

from dataclasses import dataclass
from typing import Final

from keeper.model import BlockRef

FORGET_S: Final = 1_800
"""Nobody looked for so long: where the answer was is no measure any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Where a feed's answer was when it was last believed, and where it jumped to since."""

    believed: int
    seen_at: int
    """Chain seconds of the last look at it."""
    jumped_to: int | None = None
    since: int = 0
    """Chain seconds of the first block at which it was there."""


def step(
    before: Level | None, answer: int, block: BlockRef, *, band_percent: int, hold_s: int
) -> tuple[Level | None, str]:
    """Return the level to remember, and why `answer` is not believed yet; empty when it is.

    An answer within `band_percent` of the believed one is believed.  One outside of it is after
    `hold_s` seconds, if it has stayed within the band of where it jumped to.  After `FORGET_S`
    without a look any answer is.
    """
    if answer <= 0:
        return before, ""  # no price at all, which others say
    now = block.timestamp
    if before is not None and now - before.seen_at > FORGET_S:
        before = None
    if before is None or _within(answer, before.believed, band_percent):
        return Level(believed=answer, seen_at=now), ""
    stays = before.jumped_to is not None and _within(answer, before.jumped_to, band_percent)
    since = before.since if stays else now
    if stays and now - since >= hold_s:
        return Level(believed=answer, seen_at=now), ""
    reason = (
        f"the answer went from {before.believed} to {answer}, {_moved(answer, before.believed)}, "
        f"the band is {band_percent} %"
    )
    level = Level(believed=before.believed, seen_at=now, jumped_to=answer, since=since)
    return level, reason


def _within(answer: int, level: int, band_percent: int) -> bool:
    return abs(answer - level) * 100 <= level * band_percent


def _moved(answer: int, level: int) -> str:
    if answer >= 3 * level:
        return f"{answer / level:,.1f} times as much"
    return f"{(answer - level) * 100 / level:+.1f} %"
