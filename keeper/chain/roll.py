"""A roll call: one question put to every node, and what each of them says.

A node that rests is asked too: it may be well again, and that is how it is found out.  Who asked
for a pause gets it, and one of another chain is left out until its rest is over.

A node that did not say within `ASKED_S` hangs until it answers again: it is asked, but waited for
no more than `HUNG_S` longer than the others.

Where the caller says when it has heard enough, nobody else is waited for.  What is left of a
question goes on beside: that others were enough is no failure of a slow one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from keeper.chain.health import NodeState
from keeper.chain.provider import NoAnswer, Provider
from keeper.errors import RpcError

T = TypeVar("T")

ASKED_S: Final = 1.0
"""How long a node is waited for when each is asked."""
HUNG_S: Final = 0.1
"""How much longer than the others one is waited for that hung the last time."""

Enough = Callable[[Sequence[T], int], bool]
"""Whether these answers will do; so many have not come yet."""


class Roll:
    """The nodes of one chain, in the order of the configuration."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        """Nobody was asked yet."""
        self._providers = tuple(providers)
        self._hung: set[Provider] = set()
        """Those that did not say in time when they were asked last."""
        self._owing: set[Provider] = set()
        """Those of them that are being asked."""
        self._beside: set[asyncio.Future[Any]] = set()

    async def close(self) -> None:
        """Give up what goes on beside."""
        await _give_up(self._beside)

    async def call(
        self,
        ask: Callable[[Provider], Awaitable[T]],
        *,
        enough: Enough[T] | None = None,
        beyond_s: float = 0.0,
        late: Callable[[list[T | RpcError]], None] | None = None,
    ) -> list[T | RpcError]:
        """Return what `ask` has of each node, or the error in its place.

        `enough`: more is not waited for, but `beyond_s`, counted from the start, for those who are
        relied on.  `late` gets all answers when the last that was not waited for is there.
        """
        call = _Call(enough, beyond_s)
        for provider in self._providers:
            if why := self._left_out(provider):
                call.leave_out(why)
                continue
            task = asyncio.ensure_future(self._of(provider, ask))
            call.put(task, provider, hung=provider in self._hung)
        try:
            while call.left:
                awaited, wait_s = call.awaited()
                if not awaited or (wait_s is not None and wait_s <= 0):
                    break
                done, _ = await asyncio.wait(
                    awaited, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                call.take(done)
        except BaseException:  # given up, then raised on
            await _give_up(call.left)
            raise
        answers = list(call.answers)
        self._leave(call, late)
        return answers

    def _leave(self, call: "_Call[T]", late: Callable[[list[T | RpcError]], None] | None) -> None:
        """Let who did not say yet do so beside."""

        def finished(task: "asyncio.Future[T | RpcError]") -> None:
            self._beside.discard(task)
            call.take([task])
            if late is not None and not call.left:
                late(call.answers)

        for task in call.left:
            self._beside.add(task)
            task.add_done_callback(finished)

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


class _Call(Generic[T]):
    """One question on its way."""

    def __init__(self, enough: Enough[T] | None, beyond_s: float) -> None:
        self.answers: list[T | RpcError] = []
        self.left: set[asyncio.Future[T | RpcError]] = set()
        """Those who did not say yet."""
        self.hung: set[asyncio.Future[T | RpcError]] = set()
        self._enough = enough
        self._beyond_at = time.monotonic() + beyond_s
        self._grace_until: float | None = None
        self._asked: dict[asyncio.Future[T | RpcError], tuple[int, Provider]] = {}
        self._relied: set[asyncio.Future[T | RpcError]] = set()
        self._said: list[T] = []

    def leave_out(self, why: str) -> None:
        self.answers.append(NoAnswer(why))

    def put(self, task: "asyncio.Future[T | RpcError]", provider: Provider, *, hung: bool) -> None:
        self._asked[task] = len(self.answers), provider
        self.answers.append(NoAnswer(f"{provider.name} did not say yet."))
        self.left.add(task)
        if hung:
            self.hung.add(task)
        elif not provider.resting:
            self._relied.add(task)

    @property
    def is_enough(self) -> bool:
        return self._enough is not None and self._enough(self._said, len(self.left))

    def awaited(self) -> tuple[set["asyncio.Future[T | RpcError]"], float | None]:
        """Return who is waited for now, and how long, None for as long as it takes."""
        now = time.monotonic()
        if self.is_enough:
            return self.left & self._relied, self._beyond_at - now
        if self.left <= self.hung < self._asked.keys():
            self._grace_until = self._grace_until or now + HUNG_S
            return self.left, self._grace_until - now
        return self.left, None

    def take(self, done: Iterable["asyncio.Future[T | RpcError]"]) -> None:
        for task in done:
            self.left.discard(task)
            if task.cancelled():
                continue
            answer = self.answers[self._asked[task][0]] = task.result()
            if not isinstance(answer, RpcError):
                self._said.append(answer)


async def _give_up(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    given_up = list(tasks)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
