"""Bugs that are planted to see whether the soak X1 sees them: a name, and a way to have it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Final

from keeper.protocols.aave_v3 import account, weights
from keeper.protocols.aave_v3.math import collateral_value
from keeper.risk import screen
from keeper.risk.book import Book
from keeper.risk.hot import Certificate, Moved, Ring
from keeper.risk.screen import Screen


@contextmanager
def _instead(of: Any, name: str, other: Any) -> Iterator[None]:
    """Have `other` in the place of an attribute."""
    kept = getattr(of, name)
    setattr(of, name, other)
    try:
        yield
    finally:
        setattr(of, name, kept)


@contextmanager
def _half_the_bound() -> Iterator[None]:
    gamma = screen._gamma  # noqa: SLF001 - the bug is planted there
    with ExitStack() as stack:
        stack.enter_context(_instead(weights, "TICK", 0.5))
        stack.enter_context(_instead(screen, "_gamma", lambda *given: gamma(*given) / 2))
        yield


@contextmanager
def _float32_without_a_margin() -> Iterator[None]:
    gamma = screen._gamma  # noqa: SLF001 - the bug is planted there

    def none_of_float32(terms: int, roundoff: float) -> float:
        return 0.0 if roundoff == screen.SHORT_ROUNDOFF else gamma(terms, roundoff)

    def nearest(values: Any) -> Any:
        return values.astype("float32")

    with ExitStack() as stack:
        stack.enter_context(_instead(screen, "_gamma", none_of_float32))
        stack.enter_context(_instead(screen, "_short", nearest))
        yield


def _clears_too_far(ring: Ring, moved: Moved) -> bool:
    return moved.least_collateral * ring.band * (1 + 1e-4) >= moved.most_debt


def _reaches_too_far(certificate: Certificate, moved: Moved, band: float, spares: float) -> bool:
    del spares  # forgotten too
    return moved.least_collateral * certificate.band * (1 + 1e-4) >= moved.most_debt * band


BUGS: Final[Mapping[str, Callable[[], AbstractContextManager[None]]]] = {
    "half the error bound": _half_the_bound,
    "half the slack for roundings": partial(_instead, weights, "TICK", 0.5),
    "float32 without a margin": _float32_without_a_margin,
    "a hot set that never expires": partial(_instead, Screen, "current", lambda *_: True),
    "a certificate 1e-4 too generous": partial(_instead, Certificate, "reaches", _reaches_too_far),
    "a ring 1e-4 too generous": partial(_instead, Ring, "clears_beyond", _clears_too_far),
    "edits that the hot set is not told of": partial(_instead, Book, "_edit", lambda *_: None),
    "debt worth a base unit less": partial(
        _instead, account, "debt_value", lambda _, *given: collateral_value(*given)
    ),
}
