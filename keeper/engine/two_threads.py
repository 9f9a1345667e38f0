"""Pieces of one computation, on the thread that asks for it and on one more.

numpy and scipy let go of the interpreter while they compute, so that two threads of one process
share a pass over the book.  Whoever is free takes the next piece.  The asking thread hardly waits:
a piece that the other has begun and does not bring, its core being busy with something else, is
done once more, and what the other makes of it is dropped.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

PATIENCE_S: Final = 0.0005
"""What the greatest piece takes when nobody disturbs."""


def each(work: Callable[[T], R], pieces: Sequence[T], /) -> list[R]:
    """Return what `work` makes of each of `pieces`, in their order; a `risk.pieces.Each`.

    `work` may be done twice with a piece, and be at one still when this has returned.  Raises what
    `work` raises.
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
    take()
    if other is not None and not other.cancel():
        wait((other,), PATIENCE_S)
    return [done[number] if number in done else work(piece) for number, piece in enumerate(pieces)]


@cache
def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _other_thread(_process: int) -> ThreadPoolExecutor:
    """Return the other thread of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(1, thread_name_prefix="keeper-risk")
