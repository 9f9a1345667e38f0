"""One question put to several nodes: who answered, which refusal is final, when to ask again."""

import asyncio
from typing import Final, Generic, TypeVar

from keeper.chain.provider import NoAnswer, Provider
from keeper.errors import RpcError

T = TypeVar("T")

_REVERTED: Final = 3
INVALID_PARAMS: Final = -32602
"""What nodes say that do not know a block by its hash, or a field: others may."""


def is_final(error: RpcError) -> bool:
    """Tell whether another node would say the same: a revert."""
    return error.code == _REVERTED or error.data is not None


def pause_after(error: Exception) -> bool | float:
    """Tell stamina whether and after which pause to ask again: only when nothing was answered."""
    if not isinstance(error, NoAnswer):
        return False
    return True if error.retry_after_s is None else error.retry_after_s


class Race(Generic[T]):
    """Requests for the same thing at several nodes."""

    def __init__(self) -> None:
        self.running: dict[asyncio.Future[T], Provider] = {}
        self._refusal: RpcError | None = None
        self._silence: RpcError | None = None
        self._won = False

    def has(self, task: "asyncio.Future[T]") -> bool:
        """Take a finished request; whether it brought the answer.  Raises a final refusal."""
        del self.running[task]
        try:
            task.result()
        except NoAnswer as error:
            self._silence = self._silence or error
            return False
        except RpcError as error:
            if is_final(error):
                raise
            if self._refusal is None or self._refusal.code == INVALID_PARAMS:
                self._refusal = error
            return False
        self._won = True
        return True

    def failure(self) -> RpcError:
        """Return why nobody brought it: a refusal says more than silence.

        That parameters are invalid is said only where nobody refuses otherwise.
        """
        failure = self._refusal or self._silence
        assert failure is not None
        return failure

    async def end(self, *, aside: bool = False) -> None:
        """Give up what still runs; but `aside`, whoever was slower than the winner is told so."""
        for task, provider in self.running.items():
            if self._won and not aside and not task.done():
                provider.outrun()
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
