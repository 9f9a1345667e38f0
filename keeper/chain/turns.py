"""Whose turn it is: one node asked after another, or beside it, until one has answered.

The lagging are asked after the others, those that failed lately last, and one that asked for a
pause not at all, unless all did.  A node that is slow is not waited for: the next one is asked as
well and the first answer counts.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import stamina

from keeper.chain.provider import NoAnswer, Provider
from keeper.chain.race import Race, pause_after

T = TypeVar("T")

FIRST_S: Final = 0.1
"""The first pause before all nodes are asked again; each further one is twice as long."""

Ask = Callable[[Provider], Awaitable[T]]
"""What is wanted of one node."""


class Turns:
    """The nodes of one chain, in the order of the configuration."""

    def __init__(self, providers: Sequence[Provider], *, attempts: int, hedge_s: float) -> None:
        """`attempts`: rounds in all.  `hedge_s`: how patient to be with one node."""
        self.providers: Final = tuple(providers)
        self._attempts = attempts
        self._hedge_s = hedge_s

    def ordered(self) -> list[Provider]:
        """Return the nodes to ask: the lagging after the others, those that failed lately last.

        One that asked for a pause is left out; where all did, the first that may be asked is left.
        """
        asked = [p for p in self.providers if not p.limited]
        if not asked:
            return [min(self.providers, key=lambda provider: provider.limited_for_s)]
        return sorted(
            asked, key=lambda provider: (provider.resting, provider.apart or provider.lagging)
        )

    async def ask(
        self,
        ask: Ask[T],
        *,
        attempts: int | None = None,
        hedge_s: float | None = None,
        aside: bool = False,
    ) -> T:
        """Go round the nodes; go round again, after a pause, as long as none answered.

        `aside`: it may be too much for a node that is well, so that to be slow is not held against
        it.
        Raises RpcError: with a `code` when a node refused, without when none answered.
        """
        patience_s = hedge_s or self._hedge_s
        rounds = attempts or self._attempts
        try:  # nearly every question is answered the first time
            return await self._round(ask, patience_s, aside=aside)
        except NoAnswer as error:
            if rounds == 1:
                raise
            await asyncio.sleep(error.retry_after_s or random.uniform(FIRST_S, 2 * FIRST_S))  # noqa: S311 - so that not all ask again at once
        async for attempt in stamina.retry_context(
            on=pause_after, attempts=rounds - 1, timeout=None, wait_initial=2 * FIRST_S,
            wait_max=2.0, wait_jitter=FIRST_S,
        ):  # fmt: skip
            with attempt:
                return await self._round(ask, patience_s, aside=aside)
        raise AssertionError("stamina returns or raises")

    async def _round(self, ask: Ask[T], hedge_s: float, *, aside: bool) -> T:
        """Return the first answer, the next node being asked when one fails or is slow."""
        left = self.ordered()
        if len(left) == 1:
            return await self._patient(left[0], ask)
        race: Race[T] = Race()
        try:
            while left or race.running:
                if left:
                    provider = left.pop(0)
                    if provider.limited and (left or race.running):
                        continue  # it asked for a pause meanwhile
                    race.running[asyncio.ensure_future(self._patient(provider, ask))] = provider
                rest_s = left[0].rests_until - time.monotonic() if left else 0.0
                patience = max(hedge_s, rest_s) if left else None
                done, _ = await asyncio.wait(
                    race.running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if race.has(task):
                        return task.result()
            raise race.failure()
        finally:
            await race.end(aside=aside)

    async def _patient(self, provider: Provider, ask: Ask[T]) -> T:
        """Ask a node; one that asked for a pause gets the rest of it first."""
        while provider.limited:  # noqa: ASYNC110 - time ends it, and it may ask for more meanwhile
            await asyncio.sleep(provider.limited_for_s)
        return await ask(provider)
