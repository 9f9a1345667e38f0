"""R1, R2: every account of a million valued anew, against Python's integers and against memory.

Ours: both sums of every account in float64 and which of them can be below 1, with the error bound.
Theirs: the exact flag of every account, by `bench.naive`, which walks tuples prepared beforehand.
`exact_ms` is what asking the exact integers about the survivors adds; `wrong_flags` counts where
the two together disagree with theirs.

R2: the same pass against the least time in which its bytes can be read from memory: kinds and short
amounts of every column.  The bandwidth is that of summing an array that no cache holds, in the same
run, turn by turn.  `csr_*` is the limit of a float64 CSR matrix of the same entries (12 bytes an
entry, 12 a row), which is what is usually read.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bench import crowd, naive
from bench.line import RUNS, Line, median, ratios, say, spread, times_s
from keeper.model import Assessed
from keeper.risk.book import Book
from keeper.risk.screen import screen
from keeper.units import WAD

ACCOUNTS = 1_000_000


def run() -> Iterator[Line]:
    """Yield R1 and R2."""
    made, book, held = crowd.market(), crowd.book(ACCOUNTS), crowd.crowd(ACCOUNTS)
    view = made.view()
    weights = view.weights()
    rows, reserves = naive.rows(held), naive.reserves(made)

    say("R1: valuing everybody, ours")
    ours_s = times_s(lambda: screen(book, weights).can_be_below(WAD))
    say("R1: the same in Python's integers")
    theirs_s = times_s(lambda: naive.flags_new(rows, reserves))
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
    read = sum(s.kind[: s.size].nbytes + s.scaled[: s.size].nbytes for s in book.shapes)
    entries = sum(s.kind[: s.size].size for s in book.shapes)
    array = np.ones(25_000_000)
    ours_s, bandwidths = [], []
    for _ in range(RUNS):
        bandwidths.append(array.nbytes / times_s(array.sum, 1)[0])
        ours_s.append(times_s(work, 1)[0])
    bandwidth = median(bandwidths)
    limits = tuple(s * bandwidth / read for s in ours_s)
    csr = 12 * (entries + ACCOUNTS)
    return Line(
        id="R2",
        what="full revaluation of 1e6 accounts vs reading its bytes from memory",
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
            "bytes_per_account": read / ACCOUNTS,
            "limit_ms": read / bandwidth * 1e3,
            "csr_bytes_per_account": csr / ACCOUNTS,
            "csr_limit_ms": csr / bandwidth * 1e3,
            "times_csr_limit": median(ours_s) * bandwidth / csr,
        },
    )


def _below(assessment: object) -> bool:
    return not isinstance(assessment, Assessed) or assessment.health_factor < WAD
