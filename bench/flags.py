"""X1: flags that differ from exact integers, where accounts are made to sit on the boundary.

Each account's first debt is sized in exact integers so that its health factor comes out a few wei,
or a relative distance drawn over twenty orders of magnitude, from 1.  Prices, decimals and indices
are drawn anew for each book; books are edited on the way, so that places are reused.  Then each
book lives through many blocks: all prices move together, and each a little on its own, from parts
in 1e12 to some per cent, so that hot sets are used, refreshed and expire; some accounts are edited
at every block.  A flag is what the keeper says: surely below by the screen, or found by it and
below in exact integers.  Truth is `bench.naive`, which shares nothing with the product;
`float64_wrong` is what the float sums alone would have said, which shows that the trials bite.
"""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import crowd, naive
from bench.line import Line, say, spread
from bench.market import Made, make
from keeper.model import Address, Assessed, Entry, Holdings, Side
from keeper.protocols.aave_v3.view import View
from keeper.risk.book import Book
from keeper.risk.exact import candidates
from keeper.risk.screen import screen
from keeper.units import RAY, WAD, Base

Flags = NDArray[np.bool_]

BOOKS: Final = 20
ACCOUNTS: Final = 50_000
BLOCKS: Final = 100
MOST_S: Final = 900.0
"""No book is begun after that: the soak is bounded, and says so when it fell short."""
STATED: Final = 100_000_000
RESERVES: Final = 30
REVISIONS: Final = (10, 1)
"""The newest arithmetic whose rounding is verified, and the oldest."""


def run() -> Iterator[Line]:
    """Yield X1."""
    until = time.monotonic() + MOST_S
    found: list[Counts] = []
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        for counts in pool.map(_until, range(BOOKS), [until] * BOOKS):
            if counts is not None:
                found.append(counts)
                say(f"X1: {len(found)} of {BOOKS} books")
    wrong = sum(counts.wrong for counts in found)
    trials = sum(counts.trials for counts in found)
    yield Line(
        id="X1",
        what="flags that differ from exact ints, accounts tuned to the boundary",
        value=wrong,
        unit="flags",
        reach="0 of >= 1e8",
        ok=wrong == 0 and trials >= STATED,
        runs=len(found),
        spread=spread([counts.wrong for counts in found]),
        context={
            "trials": trials,
            "blocks": BLOCKS,
            "below": sum(counts.below for counts in found),
            "asked_exactly": sum(counts.asked for counts in found),
            "hot_sets_made": sum(counts.hot_sets for counts in found),
            "float64_wrong": sum(counts.float_wrong for counts in found),
            "pool_revisions": list(REVISIONS),
        },
    )


def _until(number: int, until: float) -> "Counts | None":
    return one_book(number) if time.monotonic() < until else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of one book."""

    trials: int
    below: int
    """By the truth."""
    wrong: int
    float_wrong: int
    asked: int
    """Neither cleared nor surely below, so asked in exact integers."""
    hot_sets: int


def one_book(number: int, accounts: int = ACCOUNTS, blocks: int = BLOCKS) -> Counts:
    """Take one book through its blocks; the hot set is used whatever its size."""
    chance = random.Random(1_000 + number)
    revision = REVISIONS[number % len(REVISIONS)]
    made = make(RESERVES, revision, 77 + number)
    drawn = tuple(crowd.accounts(made, accounts, number))
    at_first = naive.reserves(made)
    held = [_tuned(chance, h, at_first, old=revision == 1) for h in drawn]
    book = Book()
    for holdings in drawn[::2]:
        book.put(holdings)
    for holdings in drawn[::6]:
        book.remove(holdings.account)
    row_of = np.array([book.put(holdings) for holdings in held])
    rows = list(naive.rows(held))
    flags = naive.flags_old if revision == 1 else naive.flags_new
    below = wrong = float_wrong = asked = hot_sets = 0
    for block in range(blocks):
        prices = _moved(chance, made, block)
        of = naive.reserves(made, prices)
        for n in chance.sample(range(accounts), accounts // 2_000 if block else 0):
            held[n] = _tuned(chance, drawn[n], of, old=revision == 1)
            [rows[n]] = naive.rows((held[n],))
            row_of[n] = book.put(held[n])
        truth = np.array(flags(rows, of))
        before = book.hot
        said, by_float, exactly = _flags(book, made.view(prices))
        hot_sets += book.hot is not before
        asked += exactly
        below += int(truth.sum())
        wrong += int((said[row_of] != truth).sum())
        float_wrong += int((by_float[row_of] != truth).sum())
    return Counts(
        trials=blocks * accounts,
        below=below,
        wrong=wrong,
        float_wrong=float_wrong,
        asked=asked,
        hot_sets=hot_sets,
    )


def _flags(book: Book, view: View) -> tuple[Flags, Flags, int]:
    """What the keeper says by row, what float64 alone would say, and how many it asked exactly."""
    seen = screen(book, view.weights())
    found = candidates(seen, WAD, hot_from_rows=0)
    said = np.zeros(book.rows, dtype=np.bool_)
    surely = seen.surely_below(WAD)
    said[surely] = np.isin(surely, found.below)  # whom the hot set missed stays wrong
    unsure = found.below[~said[found.below]]
    for row in unsure.tolist():
        said[row] = _below(view.assess(_known(book, book.account(row))))
    collateral, debt = seen.sums(np.arange(book.rows))
    return said, collateral < debt, len(unsure)


def _moved(chance: random.Random, made: Made, block: int) -> tuple[Base, ...]:
    """Prices of a block: the first are those that accounts are tuned to."""
    prices = tuple(Base(int(p or 0)) for p in made.observed.prices)
    if block == 0:
        return prices
    together = 1 + chance.choice((-1, 1)) * 10 ** -chance.uniform(1.3, 12)
    own = 10 ** -chance.uniform(1.7, 12)
    return tuple(
        Base(max(1, round(price * together * (1 + own * chance.uniform(-1, 1)))))
        for price in prices
    )


def _tuned(chance: random.Random, holdings: Holdings, of: naive.Reserves, *, old: bool) -> Holdings:
    """The account with its first debt sized to a health factor just about 1."""
    [row] = naive.rows((holdings,))
    e_mode, collaterals, debts = row
    weighted = sum(
        scaled * of.supply_index[i] // RAY * of.price[i] // of.unit[i] * of.threshold[e_mode][i]
        for i, scaled in collaterals
    )
    if old:
        weighted = _old_weighted(row, of)
    first, *others = debts
    owed = sum(
        -(-scaled * of.debt_index[i] // RAY) * of.price[i] // of.unit[i] for i, scaled in others
    )
    left = max(1, weighted // 10_000 - owed)
    i, _ = first
    scaled = left * of.unit[i] * RAY // (of.price[i] * of.debt_index[i])
    if chance.random() < 0.5:
        scaled += chance.randint(-3, 3)
    else:
        away = int(scaled * 10 ** -chance.uniform(1, 21)) + 1
        scaled += chance.choice((-away, away))
    scaled = max(1, scaled)
    entries = tuple(
        Entry(reserve=e.reserve, side=e.side, scaled=scaled)
        if e.side is Side.DEBT and e.reserve == i
        else e
        for e in holdings.entries
    )
    return Holdings(account=holdings.account, e_mode=e_mode, entries=entries)


def _old_weighted(row: naive.Row, of: naive.Reserves) -> int:
    """Collateral times the average threshold, which revision 1 floors to a basis point first."""
    e_mode, collaterals, _ = row
    values = [
        ((s * of.supply_index[i] + RAY // 2) // RAY * of.price[i] // of.unit[i], i)
        for i, s in collaterals
    ]
    total = sum(value for value, _ in values)
    weighted = sum(value * of.threshold[e_mode][i] for value, i in values)
    return total * (weighted // total) if total else 0


def _known(book: Book, account: Address) -> Holdings:
    holdings = book.get(account)
    assert holdings is not None
    return holdings


def _below(assessment: object) -> bool:
    return not isinstance(assessment, Assessed) or assessment.health_factor < WAD
