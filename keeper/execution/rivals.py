"""Who else is asked for a sale, and how long they are waited for.

All of them at once, and for one block together no longer than the most patient one needs: the
deadline is the block's, set when the first sale is asked for, so that many liquidations in one
block wait no longer than one.  Later ones go without.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keeper.errors import ExecutionError
from keeper.model import Hash, Offer, Sought
from keeper.ports import RouteSource

GRACE_S: Final = 0.02
"""So that whoever is late says so itself, and is known for it."""


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
