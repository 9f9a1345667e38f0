"""How much of a history is asked for at once, and which nodes are not asked for a while."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from keeper.chain.provider import NoAnswer, Provider
from keeper.chain.rpc import HISTORY_HEDGE_S
from keeper.errors import ObservationError, RpcError

log = structlog.get_logger(__name__)

MOST_RANGE_BLOCKS: Final = 500_000
MANY_LOGS: Final = 2_000
"""A range with so many is not grown, and one with more than twice as many is shortened to them.

Greater answers cost more for each log, at the node and here: they leave the processor's caches.
Several of this size on their way at once fill any line.
"""
SLOW_S: Final = 3.0
"""Nor one that took so long."""
AHEAD: Final = 3
"""Ranges on their way at once, as long as none is refused."""
CEILING_FIRST: Final = 8
CEILING_MOST: Final = 512
"""For so many ranges none is asked for as long as one that was refused; more each time it is again.

Nodes limit blocks, which stays, or logs, which are fewer elsewhere.
"""
SILENCES_MOST: Final = 3
SILENT_REST_S: Final = 30.0
"""So long a node is not asked for ranges that did not answer so often in a row."""


class Pace:
    """How many blocks a range has, and how many ranges are on their way."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.ahead = 1
        self._good = 0
        self._needed = 1
        """Successes in a row before ranges are lengthened; more after each refusal."""
        self._ceiling: int | None = None
        """The shortest range that was refused: ranges stay below it for a while."""
        self._stands = CEILING_FIRST
        self._left = 0
        """How many ranges the ceiling stands for, and for how many more."""

    async def refused(self, error: ObservationError, blocks: int) -> None:
        """Ask for less, one at a time; wait where the node wishes it."""
        self.ahead = 1
        if isinstance(error, NoAnswer) and error.retry_after_s is not None:
            await asyncio.sleep(error.retry_after_s)  # asked too often, not for too much
            return
        if self._ceiling is not None and blocks >= self._ceiling:  # it was tried again
            self._stands = min(self._stands * 4, CEILING_MOST)
        else:
            self._ceiling, self._stands = blocks, CEILING_FIRST
        self._left = self._stands
        self.blocks = blocks // 2
        self._good, self._needed = 0, min(self._needed * 2, 16)
        log.info("backfill.halved", range_blocks=self.blocks, reason=str(error))
        if isinstance(error, NoAnswer):
            await asyncio.sleep(0.1)

    def went(self, blocks: int, logs: int, took_s: float) -> None:
        """Ask for more after enough successes that were neither large nor slow.

        `blocks`: how many that range had; of one with too many logs the next ones are shorter.
        """
        self.ahead = AHEAD
        self._left = max(0, self._left - 1)
        if self._ceiling is not None and blocks >= self._ceiling:
            self._ceiling = None
        if logs > 2 * MANY_LOGS:
            self.blocks, self._good = min(self.blocks, max(1, blocks * MANY_LOGS // logs)), 0
            return
        self._good += 1
        longer = min(self.blocks * 2, MOST_RANGE_BLOCKS)
        if self._ceiling is not None and self._left and longer >= self._ceiling:
            return
        if self._good >= self._needed and logs < MANY_LOGS and took_s < SLOW_S:
            self.blocks, self._good = longer, 0
            self._needed = max(1, self._needed // 2)


class Silences:
    """Which nodes did not answer for ranges: that is held against them here only.

    A range that is too long for a node says nothing of the node.
    """

    def __init__(self) -> None:
        self._in_a_row: Counter[Provider] = Counter()
        self._rests_until: dict[Provider, float] = {}

    @contextmanager
    def noted(self, node: Provider, *, among: int) -> Iterator[None]:
        """Note whether `node`, one of so many, answers what is asked within.

        Raises NoAnswer for one that is not asked, having been silent too often, unless all were.
        """
        asked_at = time.monotonic()
        resting = [one for one, until in self._rests_until.items() if until > asked_at]
        if node in resting and len(resting) < among:
            raise NoAnswer(f"{node.name} did not answer {SILENCES_MOST} times in a row.")
        try:
            yield
        except NoAnswer as error:
            if error.retry_after_s is None:
                self._silent(node)
            raise
        except asyncio.CancelledError:
            if time.monotonic() - asked_at >= HISTORY_HEDGE_S:  # another was faster
                self._silent(node)
            raise
        except RpcError:
            self._said(node)
            raise
        self._said(node)

    def _silent(self, node: Provider) -> None:
        self._in_a_row[node] += 1
        if self._in_a_row[node] >= SILENCES_MOST:
            self._rests_until[node] = time.monotonic() + SILENT_REST_S

    def _said(self, node: Provider) -> None:
        del self._in_a_row[node]
        self._rests_until.pop(node, None)
