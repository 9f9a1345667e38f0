"""R1, R2: every account of a million valued anew, against Python's integers and against memory.

Ours: which accounts can be below 1, by their signed sums and the error bound, on two threads.
Theirs: the exact flag of every account, by `bench.naive`, which walks tuples prepared beforehand.
`exact_ms` is what asking the exact integers about the survivors adds; `wrong_flags` counts where
the two together disagree with theirs.

R2: the same pass against the least time in which a float64 matrix of the same book can be read from
memory: 12 bytes an entry and 12 a row, 46.8 an account, which is what is usually read.  Our own
arrays have half of that, and the pass is held against them too (`times_own_bytes`).  The bandwidth
is that of summing an array that no cache holds, in the same run, turn by turn, by one thread or by
two, whichever reads faster: the pass has two.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bench import crowd, naive
from bench.line import RUNS, Line, median, ratios, say, spread, times_s
from keeper.engine.two_threads import each
from keeper.model import Assessed
from keeper.risk.book import Book
from keeper.risk.screen import screen
from keeper.units import WAD

ACCOUNTS = 1_000_000
TURN = 9
"""Passes of ours in one turn, whose median is one run: one alone is shorter than a time slice."""


def run() -> Iterator[Line]:
    """Yield R1 and R2."""
    made, book, held = crowd.market(), crowd.book(ACCOUNTS), crowd.crowd(ACCOUNTS)
    view = made.view()
    weights = view.weights()
    rows, reserves = naive.rows(held), naive.reserves(made)

    say("R1: valuing everybody, ours and in Python's integers by turns")
    ours_s, theirs_s = [], []
    for _ in range(RUNS):
        theirs_s.append(times_s(lambda: naive.flags_new(rows, reserves), 1, warm=False)[0])
        ours_s.append(median(times_s(lambda: screen(book, weights).can_be_below(WAD), TURN)))
    flags = naive.flags_new(rows, reserves)
    near = screen(book, weights).can_be_below(WAD).tolist()

    def exactly() -> set[int]:
        return {row for row in near if _below(view.assess(book.at(row)))}

    exact_s = times_s(exactly, 3)
    below = exactly()
    wrong = sum((row in below) != flag for row, flag in enumerate(flags))
    times = ratios(theirs_s, ours_s)
    yield Line(
        id="R1",
        what="full revaluation of 1e6 accounts vs naive ints",
        value=median(times),
        unit="x",
        reach=">= 400",
        ok=median(times) >= 400 and wrong == 0,
        runs=len(times),
        spread=spread(times),
        context={
            "accounts": ACCOUNTS,
            "entries_per_account": sum(len(h.entries) for h in held) / ACCOUNTS,
            "reserves": len(made.market.reserves),
            "ours_ms": median(ours_s) * 1e3,
            "naive_ms": median(theirs_s) * 1e3,
            "can_be_below": len(near),
            "below": len(below),
            "exact_ms": median(exact_s) * 1e3,
            "wrong_flags": wrong,
        },
    )
    yield _against_memory(book, lambda: screen(book, weights).can_be_below(WAD))


def _against_memory(book: Book, work: Callable[[], object]) -> Line:
    """Time the pass and a plain read of memory by turns."""
    say("R2: measuring memory")
    own = sum(s.kind[: s.size].nbytes + s.scaled[: s.size].nbytes for s in book.shapes)
    entries = sum(s.kind[: s.size].size for s in book.shapes)
    matrix = 12 * (entries + ACCOUNTS)
    array = np.ones(25_000_000)
    halves = np.split(array, 2)
    ours_s, alone, together = [], [], []
    for _ in range(RUNS):
        alone.append(array.nbytes / median(times_s(array.sum, TURN)))
        together.append(array.nbytes / median(times_s(lambda: each(np.sum, halves), TURN)))
        ours_s.append(median(times_s(work, TURN)))
    bandwidth = max(median(alone), median(together))
    limits = tuple(s * bandwidth / matrix for s in ours_s)
    return Line(
        id="R2",
        what="full revaluation of 1e6 accounts vs reading a float64 matrix of them from memory",
        value=median(limits),
        unit="x",
        reach="<= 1.6",
        ok=median(limits) <= 1.6,
        runs=len(limits),
        spread=spread(limits),
        context={
            "accounts": ACCOUNTS,
            "ours_ms": median(ours_s) * 1e3,
            "bandwidth_gb_s": bandwidth / 1e9,
            "bandwidth_one_thread_gb_s": median(alone) / 1e9,
            "bandwidth_two_threads_gb_s": median(together) / 1e9,
            "bytes_per_account": matrix / ACCOUNTS,
            "limit_ms": matrix / bandwidth * 1e3,
            "own_bytes_per_account": own / ACCOUNTS,
            "times_own_bytes": median(ours_s) * bandwidth / own,
        },
    )


def _below(assessment: object) -> bool:
    return not isinstance(assessment, Assessed) or assessment.health_factor < WAD
