"""A roll call: one question put to every node, and what each of them says.

A node that rests is asked too: it may be well again, and that is how it is found out.  Who asked
for a pause gets it, and one of another chain is left out until its rest is over.

A node that did not say within `ASKED_S` hangs until it answers again: it is asked, but waited for
no more than `HUNG_S` longer than the others.  What is left of such a question goes on beside.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from keeper.chain.health import NodeState
from keeper.chain.provider import NoAnswer, Provider
from keeper.errors import RpcError

T = TypeVar("T")

ASKED_S: Final = 1.0
"""How long a node is waited for when each is asked."""
HUNG_S: Final = 0.1
"""How much longer than the others one is waited for that hung the last time."""


class Roll:
    """The nodes of one chain, in the order of the configuration."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)
        self._hung: set[Provider] = set()
        """Those that did not say in time when they were asked last."""
        self._owing: set[Provider] = set()
        """Those of them that are being asked."""
        self._beside: set[asyncio.Future[Any]] = set()

    async def close(self) -> None:
        """Give up what goes on beside."""
        await _give_up(self._beside)

    async def call(self, ask: Callable[[Provider], Awaitable[T]]) -> list[T | RpcError]:
        """Return what `ask` has of each node, or the error in its place."""
        answers: list[T | RpcError] = []
        running: dict[asyncio.Future[T | RpcError], int] = {}
        for index, provider in enumerate(self._providers):
            why = self._left_out(provider) or f"{provider.name} did not say yet."
            answers.append(NoAnswer(why))
            if not self._left_out(provider):
                running[asyncio.ensure_future(self._of(provider, ask))] = index
        hung = {task for task, index in running.items() if self._providers[index] in self._hung}
        left = set(running)
        try:
            while left:
                only_hung = left <= hung < running.keys()
                done, left = await asyncio.wait(
                    left,
                    timeout=HUNG_S if only_hung else None,
                    return_when=asyncio.ALL_COMPLETED if only_hung else asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    answers[running[task]] = task.result()
                if only_hung:
                    break
        except BaseException:  # given up, then raised on
            await _give_up(running)
            raise
        for task in left:
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)
        return answers

    def _left_out(self, provider: Provider) -> str:
        """Return why a node is not asked, or empty."""
        if provider.limited or (
            provider.resting and provider.health.state is NodeState.WRONG_CHAIN
        ):
            return f"{provider.name} is not asked: {provider.health.reason}."
        if provider in self._owing:
            return f"{provider.name} did not say yet what it was asked before."
        return ""

    async def _of(
        self, provider: Provider, ask: Callable[[Provider], Awaitable[T]]
    ) -> T | RpcError:
        if provider in self._hung:
            self._owing.add(provider)
        try:
            async with asyncio.timeout(ASKED_S):
                await provider.verify()
                if provider.limited:  # it said so to somebody else meanwhile
                    answer: T | RpcError = NoAnswer(f"{provider.name} asked for a pause.")
                else:
                    answer = await ask(provider)
        except TimeoutError:
            self._hung.add(provider)
            provider.outrun()
            return NoAnswer(f"{provider.name} did not say within {ASKED_S:g} s.")
        except RpcError as error:
            answer = error
        finally:
            self._owing.discard(provider)
        self._hung.discard(provider)
        return answer


async def _give_up(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    given_up = list(tasks)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
