"""M1: bytes per account of everything a live market holds for it.

Counted: the book's arrays with their room for growth, and its hot set.  Measured a second time from
outside, as what the process grew by.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import crowd
from bench.line import Line, median, say, spread
from keeper.engine.market import WatchedMarket
from keeper.oracles.judge import JudgeRules
from keeper.oracles.trace import TraceRules
from keeper.risk.book import Book
from keeper.risk.exact import endangered
from keeper.units import WAD

ACCOUNTS = 1_000_000
GROWN_ACCOUNTS = 200_000
GROWN_RUNS = 3


def run() -> Iterator[Line]:
    """Yield M1: one run, since the count of bytes is the same each time."""
    book = crowd.book(ACCOUNTS)
    say("M1: counting bytes")
    endangered(book, crowd.market().view().weights(), WAD)
    assert book.hot is not None
    held = book.nbytes / len(book)
    grown = _grown()
    yield Line(
        id="M1",
        what="bytes per account, everything the live book holds",
        value=held,
        unit="bytes",
        reach="<= 130",
        ok=held <= 130,
        runs=1,
        spread=(held, held),
        context={
            "accounts": len(book),
            "hot_set": book.hot.nbytes / len(book),
            "process_growth": median(grown),
            "process_growth_spread": list(spread(grown)),
            "process_growth_runs": len(grown),
            "process_growth_accounts": GROWN_ACCOUNTS,
        },
    )


def _grown() -> tuple[float, ...]:
    """What a fresh process grows by when it takes accounts in, bytes each."""
    asked = [sys.executable, "-m", "bench.memory"]
    return tuple(
        float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
        for _ in range(GROWN_RUNS)
    )


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _measure() -> float:
    """Grow a market, hot set and sweep included; accounts are made one by one and thrown away."""
    made = crowd.market()
    market = WatchedMarket(made.adapter, tracing=TraceRules(), judging=JudgeRules())
    warm = Book()
    for holdings in crowd.accounts(made, 2_000):
        warm.put(holdings)
    endangered(warm, made.view().weights(), WAD)
    before = _resident()
    for holdings in crowd.accounts(made, GROWN_ACCOUNTS):
        market.book.put(holdings)
    endangered(market.book, made.view().weights(), WAD)
    market._next_swept()  # noqa: SLF001 - what every block does
    return (_resident() - before) / GROWN_ACCOUNTS


if __name__ == "__main__":
    print(_measure())
