"""X1: flags that differ from exact integers, where accounts are made to sit on the boundary.

Each account's first debt is sized in exact integers so that its health factor comes out a few wei,
or a relative distance drawn over twenty orders of magnitude, from 1.  Prices, decimals and indices
are drawn anew for each book; books are edited on the way, so that places are reused.  Truth is
`bench.naive`, which shares nothing with the product; `float64_wrong` is what the float sums alone
would have said, which shows that the trials bite.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import crowd, naive
from bench.line import Line, say, spread
from bench.market import make
from keeper.model import Address, Assessed, Entry, Holdings, Side
from keeper.risk.book import Book
from keeper.risk.exact import endangered
from keeper.risk.screen import screen
from keeper.units import RAY, WAD

BOOKS = 20
ACCOUNTS = 50_000
RESERVES = 30
REVISIONS = (10, 1)
"""The newest arithmetic whose rounding is verified, and the oldest."""


def run() -> Iterator[Line]:
    """Yield X1."""
    found = []
    for number in range(BOOKS):
        say(f"X1: book {number + 1} of {BOOKS}")
        found.append(_one_book(number))
    wrong = sum(counts.wrong for counts in found)
    yield Line(
        id="X1",
        what="flags that differ from exact ints, accounts tuned to the boundary",
        value=wrong,
        unit="flags",
        reach="0 of >= 1e8",
        ok=False,
        runs=BOOKS,
        spread=spread([counts.wrong for counts in found]),
        context={
            "trials": BOOKS * ACCOUNTS,
            "short_of": "the soak of 1e8 trials: this is its short form",
            "below": sum(counts.below for counts in found),
            "asked_exactly": sum(counts.asked for counts in found),
            "float64_wrong": sum(counts.float_wrong for counts in found),
            "pool_revisions": list(REVISIONS),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of one book."""

    below: int
    """By the truth."""
    wrong: int
    float_wrong: int
    asked: int
    """Not ruled out by the screen, so asked in exact integers."""


def _one_book(number: int) -> Counts:
    chance = random.Random(1_000 + number)
    revision = REVISIONS[number % len(REVISIONS)]
    made = make(RESERVES, revision, 77 + number)
    drawn = tuple(crowd.accounts(made, ACCOUNTS, number))
    of = naive.reserves(made)
    tuned = [_tuned(chance, h, of, old=revision == 1) for h in drawn]
    book = Book()
    for holdings in drawn[::2]:
        book.put(holdings)
    for holdings in drawn[::6]:
        book.remove(holdings.account)
    for holdings in tuned:
        book.put(holdings)

    view = made.view()
    weights = view.weights()
    candidates = endangered(book, weights, WAD)
    below = {a for a in candidates if _below(view.assess(_known(book, a)))}
    flags = naive.flags_old if revision == 1 else naive.flags_new
    truth = flags(naive.rows(tuned), of)
    seen = screen(book, weights)
    by_float = {
        book.account(row)
        for row, (c, d) in enumerate(zip(seen.collateral, seen.debt, strict=True))
        if c < d
    }
    return Counts(
        below=sum(truth),
        wrong=_different(tuned, truth, below),
        float_wrong=_different(tuned, truth, by_float),
        asked=len(candidates),
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


def _different(held: Sequence[Holdings], truth: Sequence[bool], said: set[Address]) -> int:
    return sum((h.account in said) != flag for h, flag in zip(held, truth, strict=True))


def _known(book: Book, account: Address) -> Holdings:
    holdings = book.get(account)
    assert holdings is not None
    return holdings


def _below(assessment: object) -> bool:
    return not isinstance(assessment, Assessed) or assessment.health_factor < WAD
