"""R1: every account of a million valued anew, against the same in Python's integers.

Ours: both sums of every account in float64 and which of them can be below 1, with the error bound.
Theirs: the exact flag of every account, by `bench.naive`, which walks tuples prepared beforehand.
`exact_ms` is what asking the exact integers about the survivors adds; `wrong_flags` counts where
the two together disagree with theirs.
"""

from collections.abc import Iterator

from bench import crowd, naive
from bench.line import Line, median, ratios, say, spread, times_s
from keeper.model import Assessed
from keeper.risk.screen import screen
from keeper.units import WAD

ACCOUNTS = 1_000_000


def run() -> Iterator[Line]:
    """Yield R1."""
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


def _below(assessment: object) -> bool:
    return not isinstance(assessment, Assessed) or assessment.health_factor < WAD
