"""How the pieces of a pass over the book are worked at: one by one, or as the shell says."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Each(Protocol):
    """What does a piece of work with each of some pieces."""

    def __call__(self, work: Callable[[T], R], pieces: Sequence[T], /) -> list[R]:
        """Return what `work`, which is as good on any thread, makes of each, in their order."""
        ...


def one_by_one(work: Callable[[T], R], pieces: Sequence[T], /) -> list[R]:
    """Work at one after the other: the `Each` that is always there."""
    return [work(piece) for piece in pieces]
