"""Counts of the whole book, against exact integers."""

import math

import numpy as np

from keeper.model import Holdings
from keeper.protocols.aave_v3.view import View
from keeper.risk.book import Book
from keeper.risk.screen import Rows, screen
from keeper.risk.spread import Spread, spread
from keeper.units import WAD, Wad
from tests.protocols.aave_v3 import builders as b
from tests.risk.test_screen import account, book_of, crowd, health

BOUNDS = (Wad(WAD), Wad(105 * WAD // 100), Wad(115 * WAD // 100), Wad(130 * WAD // 100))
NOBODY: Rows = np.zeros(0, dtype=np.int64)


def counted(view: View, book: Book, unread: Rows = NOBODY) -> Spread:
    seen = screen(book, view.weights())
    return spread(seen, BOUNDS, unread, accounts=len(book), block_number=7)


def borrower(number: int, debt: int) -> Holdings:
    """10 WETH of collateral, and so many scaled USDC of debt."""
    entries = b.collateral(b.WETH, 10 * 10**18), b.debt(b.USDC, debt)
    return b.holdings(*entries, account=account(number))


def test_everybody_is_counted_as_exact_integers_would() -> None:
    view, everyone = b.view(), crowd(3_001)
    healths = [health(view, held) for held in everyone]

    found = counted(view, book_of(*everyone))

    assert found.below == tuple((bound, sum(h < bound for h in healths)) for bound in BOUNDS)
    assert len({n for _, n in found.below}) == len(BOUNDS)
    assert math.isclose(found.lowest, min(healths) / WAD, rel_tol=1e-9)
    assert (found.accounts, found.unknown, found.block_number) == (3_001, 0, 7)


def test_where_nobody_is_near_a_bound_the_lowest_is_known_all_the_same() -> None:
    view = b.view()
    safe, safer = borrower(1, 101_000_003), borrower(2, 50_000_001)

    found = counted(view, book_of(safe, safer))

    assert [n for _, n in found.below] == [0, 0, 0, 0]
    assert math.isclose(found.lowest, health(view, safe) / WAD, rel_tol=1e-6)


def test_a_book_without_debt_has_no_lowest_health() -> None:
    supplier = b.holdings(b.collateral(b.WETH, 10**18), account=account(1))

    assert counted(b.view(), book_of(supplier)).lowest == math.inf


def test_who_could_not_be_read_is_unknown_and_in_no_other_count() -> None:
    view = b.view()
    book = book_of(borrower(1, 10**12), borrower(2, 10**12))

    found = counted(view, book, np.array([0], dtype=np.int64))

    assert [n for _, n in found.below] == [1, 1, 1, 1]
    assert found.unknown == 1


def test_where_nobody_can_be_assessed_the_lowest_is_not_known() -> None:
    view = b.view(prices={b.WETH: None})

    found = counted(view, book_of(borrower(1, 10**12)))

    assert [n for _, n in found.below] == [0, 0, 0, 0]
    assert found.unknown == 1
    assert math.isnan(found.lowest)
