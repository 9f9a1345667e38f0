"""Pieces of one computation, on the thread that asks for it and on one more.

numpy and scipy let go of the interpreter while they compute, so that two threads of one process
share a pass over the book.  Whoever is free takes the next piece: where the other core is busy with
something else, the asking thread does nearly all of it and waits for one piece at the most.  It
never leaves one behind: the book is edited in place right after a pass.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], pieces: Sequence[T], /) -> list[R]:
    """Return what `work` makes of each of `pieces`, in their order; a `risk.pieces.Each`.

    Nothing is at work any more when this returns or raises what `work` raises.
    """
    left = iter(enumerate(pieces))
    done: dict[int, R] = {}

    def take() -> None:
        for number, piece in left:
            done[number] = work(piece)

    other: Future[None] | None = None
    if _cores() > 1:
        with contextlib.suppress(RuntimeError):  # no thread is to be had: alone then
            other = _other_thread(os.getpid()).submit(take)
    try:
        take()
    finally:
        for _ in left:  # where this thread failed the other begins nothing more
            pass
        if other is not None and not other.cancel():
            other.result()
    return [done[number] for number in range(len(pieces))]


@cache
def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _other_thread(_process: int) -> ThreadPoolExecutor:
    """Return the other thread of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(1, thread_name_prefix="keeper-risk")
