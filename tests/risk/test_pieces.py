"""A pass in pieces, worked at in whatever way, finds whom one piece finds."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest

from keeper.engine import two_threads
from keeper.model import Address, Entry, Holdings, Side
from keeper.risk import product, shapes
from keeper.risk import screen as screens
from keeper.risk.book import Book
from keeper.risk.pieces import Each, one_by_one
from keeper.units import WAD
from tests.protocols.aave_v3 import builders as b

T = TypeVar("T")
R = TypeVar("R")
RESERVES = (b.WETH, b.WBTC, b.USDC, b.DAI, b.LST)
GONE = 97
"""A reserve of which nobody says a price."""


def people(count: int, each: Each = one_by_one) -> Book:
    """Up to four collaterals and three debts each; one in fifty with an entry of `GONE`."""
    chance, book = np.random.default_rng(7_919), Book(capacity=4, each=each)
    for n in range(count):
        entries = [
            Entry(reserve=int(reserve), side=side, scaled=int(10 ** chance.uniform(3, 24)))
            for side, most in ((Side.COLLATERAL, 5), (Side.DEBT, 4))
            for reserve in chance.choice(RESERVES, size=chance.integers(0, most), replace=False)
        ]
        if n % 50 == 0:
            entries.append(b.debt(GONE, 10**9))
        book.put(Holdings(account=Address(f"0x{n:040x}"), e_mode=0, entries=tuple(entries)))
    return book


@pytest.mark.parametrize("rows", [7, 64])
def test_a_pass_in_pieces_finds_whom_one_piece_finds(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, weights = people(2_000), b.view().weights()
    whole = screens.screen(book, weights).found(WAD)

    for module in (shapes, product):
        monkeypatch.setattr(module, "CHUNK", rows)
    again = people(2_000)
    pieces = screens.screen(again, weights).found(WAD)

    assert sum(1 for shape in again.shapes for _ in shape.looks(again.kinds.width)) > 40
    assert np.array_equal(np.sort(pieces.below), np.sort(whole.below))
    assert np.array_equal(np.sort(pieces.unknown), np.sort(whole.unknown))


def test_the_pieces_of_a_great_book_are_worked_at_as_the_book_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def by_two(work: Callable[[T], R], pieces: Sequence[T], /) -> list[R]:
        asked.append(len(pieces))
        return two_threads.each(work, pieces)

    monkeypatch.setattr(two_threads, "_cores", lambda: 2)
    book, weights = people(2_000, by_two), b.view().weights()
    alone, alone_hot = (
        screens.screen(book, weights).found(WAD),
        screens.screen(book, weights).heat(WAD),
    )
    assert not asked  # it is far too small

    monkeypatch.setattr(screens, "MANY", 0)
    together, hot = (
        screens.screen(book, weights).found(WAD),
        screens.screen(book, weights).heat(WAD),
    )

    assert len(asked) == 2
    assert min(asked) > 10
    assert len(alone.below) > 200
    assert len(alone.unknown) == 40
    assert np.array_equal(np.sort(together.below), np.sort(alone.below))
    assert np.array_equal(np.sort(together.unknown), np.sort(alone.unknown))
    assert np.array_equal(hot.outer.row, alone_hot.outer.row)
    assert (hot.outer.matrix.data == alone_hot.outer.matrix.data).all()
