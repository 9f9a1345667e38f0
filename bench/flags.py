"""X1: flags that differ from exact integers, where everything is made to sit on a boundary.

Accounts, markets and levels of prices are those of `bench.adversary`; each book of them lives
through many blocks.  A block has the prices of one level: as they are, or a few units of the last
digit off, or with one price that jumps or is gone.  Now and then time passes, and everybody's
interest with it; at every block some accounts are edited in place, leave, or arrive, so that places
are handed out again and the book grows.  Hot sets are made, refreshed, used to their edge and
beyond.

A flag is what the keeper answers by the path that the engine takes: whom `candidates` finds,
through the hot set where there is one, looked up in the book and assessed in exact integers.  At
three blocks of four, who is found and `surely_below` by the screen is taken at its word.  The judge
is `bench.naive`: plain Python integers for every account at every block, without a line of the
product in it.  `float64_wrong` is what the float sums alone would have said at every eighth block,
which shows that the trials bite; `planted` are the wrong flags that each planted bug of
`bench.planted` brings, which shows that the judge would see one.
"""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from multiprocessing import get_context
from typing import Final

from bench import planted
from bench.line import Line, say, spread
from bench.lives import ACCOUNTS, BLOCKS, REVISIONS, Counts, one_book
from keeper.risk.exact import HOT_FROM_ROWS

STATED: Final = 100_000_000
MOST_S: Final = 3_600.0
"""No book is begun after that: the soak is bounded, and says so when it fell short."""
LEAST: Final = 500
"""Accounts of a book, where few flags are asked for."""
PLANTED: Final = (4_000, 40)
"""Accounts and blocks of the book that each planted bug is put into."""


def run() -> Iterator[Line]:
    """Yield X1."""
    wanted = int(os.environ.get("FLAGS_TRIALS", STATED))
    began = time.monotonic()
    caught = {name: _with_bug(name) for name in planted.BUGS}
    found = list(_soak(wanted))
    total = Counts.sum(found)
    yield Line(
        id="X1",
        what="flags that differ from exact ints, accounts tuned to the boundary",
        value=total.wrong,
        unit="flags",
        reach="0 of >= 1e8",
        ok=total.wrong == 0 and total.trials >= STATED and all(caught.values()),
        runs=len(found),
        spread=spread([counts.wrong for counts in found]),
        context={
            "trials": total.trials,
            "wanted": wanted,
            "accounts": total.accounts,
            "blocks": total.blocks,
            "below": total.below,
            "unknown": total.unknown,
            "asked_exactly": total.asked,
            "hot_sets_made": total.hot_sets,
            "inner_tiers_made": total.inner_tiers,
            "edits": total.edits,
            "float64_wrong": total.float_wrong,
            "planted": caught,
            "planted_caught": all(caught.values()),
            "pool_revisions": list(REVISIONS),
            "took_s": round(time.monotonic() - began),
        },
    )


# --- the soak ---------------------------------------------------------------------------------


def _soak(wanted: int) -> Iterator[Counts]:
    """Take books until that many flags are compared; as many at a time as there are processors."""
    cores = min(2, len(os.sched_getaffinity(0)))
    until = time.monotonic() + MOST_S
    bar = _Bar(wanted)
    numbers = count()
    accounts = max(LEAST, min(ACCOUNTS, wanted // BLOCKS))
    hot_from_rows = min(HOT_FROM_ROWS, accounts)
    each = accounts * BLOCKS
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        asked: set[Future[Counts]] = set()
        done = 0
        while True:
            while len(asked) < cores and done + len(asked) * each < wanted:
                if time.monotonic() > until:
                    break
                asked.add(
                    pool.submit(one_book, next(numbers), accounts, hot_from_rows=hot_from_rows)
                )
            if not asked:
                return
            finished, asked = wait(asked, return_when=FIRST_COMPLETED)
            for one in finished:
                counts = one.result()
                done += counts.trials
                bar.show(counts)
                yield counts


class _Bar:
    """How far it is, on standard error: a bar in place for a person, lines for a file."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.done = self.wrong = 0
        self.began = time.monotonic()

    def show(self, counts: Counts) -> None:
        self.done += counts.trials
        self.wrong += counts.wrong
        if counts.first:
            say(f"X1: wrong: {counts.first}")
        share = min(1.0, self.done / self.wanted)
        rate = self.done / (time.monotonic() - self.began)
        left_s = max(0.0, (self.wanted - self.done) / rate)
        text = (
            f"[{'#' * int(30 * share):30}] {self.done:,} of {self.wanted:,} flags, "
            f"{self.wrong:,} wrong, {rate:,.0f}/s, {left_s / 60:.1f} min left"
        )
        if sys.stderr.isatty():
            end = "\n" if share >= 1 else ""
            print(f"\r\033[Kbench: X1: {text}", end=end, file=sys.stderr, flush=True)
        else:
            say(f"X1: {text}")


def _with_bug(name: str) -> int:
    """How many wrong flags a planted bug brings, in a book for each arithmetic until one does."""
    accounts, blocks = PLANTED
    for number in range(2 * len(REVISIONS)):
        with planted.BUGS[name]():
            wrong = one_book(number, accounts, blocks, hot_from_rows=0).wrong
        if wrong:
            break
    say(f"X1: planted: {name}: {wrong:,} wrong of {accounts * blocks:,} flags")
    return wrong
