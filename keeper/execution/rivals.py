"""Who else is asked for a sale, and how long they are waited for.

All of them at once, and for one block together no longer than the most patient one needs: the
deadline is the block's, set when the first sale is asked for, so that many liquidations in one
block wait no longer than one.  Later ones go without; those that were taken out of a transaction
of several are waited for once more, together, for by then the first time is over.

Whose sales revert on chain one after the other, though they were simulated, is left alone for a
while: each of them cost gas.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from keeper.errors import ExecutionError
from keeper.model import BlockRef, Hash, Offer, Sought
from keeper.ports import RouteSource

GRACE_S: Final = 0.02
"""So that whoever is late says so itself, and is known for it."""
REVERTS_MOST: Final = 3
"""In a row; a race that was lost reverts too."""
REST_S: Final = 600.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing came of asking somebody, and why."""

    source: str
    reason: str


class Asked(StrEnum):
    """When others are asked."""

    ALWAYS = "always"
    OTHERWISE = "otherwise"
    """Only where Uniswap v3's pools have no sale that would come to pass: it waits for nobody."""


class Rivals:
    """Sources of routes besides Uniswap v3's pools."""

    def __init__(self, sources: Sequence[RouteSource], asked: Asked = Asked.ALWAYS) -> None:
        self.asked = asked
        self._sources = tuple(sources)
        self._block: Hash | None = None
        self._until = 0.0
        self._again: Hash | None = None
        self._reverts: dict[str, int] = {}
        """By source: how many of its sales reverted in a row."""
        self._rests_until: dict[str, float] = {}

    def mined(self, source: str, *, succeeded: bool) -> None:
        """Note what became of a sale that `source` offered."""
        if succeeded:
            self._reverts.pop(source, None)
            self._rests_until.pop(source, None)
            return
        count = self._reverts[source] = self._reverts.get(source, 0) + 1
        if count >= REVERTS_MOST:
            self._rests_until[source] = asyncio.get_running_loop().time() + REST_S
            log.warning("route.rests", source=source, reverts=count, rest_s=REST_S)

    def may_answer(self, block: BlockRef) -> bool:
        """Whether whoever is asked at `block` from now on can still be waited for."""
        in_time = asyncio.get_running_loop().time() < self._until
        return in_time or self._block != block.hash or self._again != block.hash

    def ask_again(self, block: BlockRef) -> None:
        """Let a second time begin at `block` with the next question, unless there was one."""
        if self._again != block.hash:
            self._again, self._block = block.hash, None

    async def offers(self, sought: Sought) -> tuple[Offer | Refused, ...]:
        """Return what each offers in time, or why nothing came of it."""
        now = asyncio.get_running_loop().time()
        if self._block != sought.block.hash:
            patience_s = max((source.patience_s for source in self._sources), default=0.0)
            self._block, self._until = sought.block.hash, now + patience_s + GRACE_S
        return tuple(
            await asyncio.gather(*(self._offer(source, sought) for source in self._sources))
        )

    async def _offer(self, source: RouteSource, sought: Sought) -> Offer | Refused:
        rests_s = self._rests_until.get(source.name, 0.0) - asyncio.get_running_loop().time()
        if rests_s > 0:
            reason = (
                f"{self._reverts.get(source.name, 0)} of its sales reverted in a row: it is left"
                f" alone for {rests_s:.0f} s"
            )
            return Refused(source=source.name, reason=reason)
        try:
            async with asyncio.timeout_at(self._until):
                return await source.offer(sought)
        except TimeoutError:
            reason = "this block's time for asking was over"
        except ExecutionError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - the top of its own task: it ends as a refusal
            reason = f"its answer could not be taken ({type(error).__name__}: {str(error)[:80]})"
        return Refused(source=source.name, reason=reason)
