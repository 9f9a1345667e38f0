"""A caller may be cancelled, a transaction may not.

Cancelling a coroutine in the middle of a rollback leaves a connection that still holds the write
lock, and the next writer waits for nothing.  So every transaction runs in a task of its own: a
caller that is cancelled waits for its end, which is soon, and is cancelled then.  What it wrote
may or may not be there, as after a crash.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


def whole(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function run to its end even if its caller is cancelled."""

    @wraps(work)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await to_the_end(asyncio.create_task(work(*args, **kwargs)))

    return run


def whole_class(kind: type[C]) -> type[C]:
    """`whole` for every public coroutine method of a class."""
    for name, method in vars(kind).copy().items():
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(kind, name, whole(method))
    return kind


async def to_the_end(under_way: asyncio.Future[T]) -> T:
    """Wait for it, however often the caller is cancelled, and raise that then."""
    interrupted: asyncio.CancelledError | None = None
    while not under_way.done():
        try:
            await asyncio.wait([under_way])
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        if not under_way.cancelled():
            under_way.exception()  # looked at: nobody else will
        raise interrupted
    return under_way.result()
