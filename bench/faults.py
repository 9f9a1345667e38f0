"""C1-C7, C14, C17, C18: campaigns of faults against the real chain layer and the real engine.

Long form of tests/faults: other seeds, more trials.  ``FAULTS_TRIALS`` sets how many a row has (20
by default; rows on the devnet a quarter), ``FAULTS_ROWS`` which rows (``C3,C6``), ``FAULTS_FIRST``
the first seed.  `value` is the number of violations; what they were goes to standard error.
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from bench.line import Line, say
from tests.faults.campaign import Campaign, Result, trials, with_the_bug
from tests.faults.rows import ROWS, staged

BUG_TRIALS = 15


def run() -> Iterator[Line]:
    """Yield a line a row."""
    wanted = {row for row in os.environ.get("FAULTS_ROWS", "").upper().split(",") if row}
    count = int(os.environ.get("FAULTS_TRIALS", "20"))
    first = int(os.environ.get("FAULTS_FIRST", "1000"))
    for row in ROWS:
        if wanted and row.id not in wanted:
            continue
        many = count if row.stage == "anvil" else max(1, count // 4)
        say(f"{row.id}: {many} trials, {row.what}")
        result, caught = asyncio.run(_measured(row, first, many))
        for violation in result.violations:
            say(f"{row.id}: VIOLATION {violation}")
        yield _line(row, result, caught)


async def _measured(row: Campaign, first: int, count: int) -> tuple[Result, Result]:
    async with staged(row.stage) as stage:
        result = await trials(row, stage, first=first, count=count)
        return result, await with_the_bug(row, stage, first=first, most=BUG_TRIALS)


def _line(row: Campaign, result: Result, caught: Result) -> Line:
    context: dict[str, Any] = {
        "trials": result.trials,
        "planted_bug": row.bug_is,
        "bug_caught": bool(caught.violations),
        "bug_caught_after": caught.trials,
        "suffered": dict(sorted(result.suffered.items())),
    }
    for name, values in result.figures.items():
        ordered = sorted(values)
        if ordered:
            context[f"{name}_p50"] = ordered[len(ordered) // 2]
            context[f"{name}_p99"] = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
            context[f"{name}_n"] = len(ordered)
    count = len(result.violations)
    return Line(
        id=row.id,
        what=row.what,
        value=float(count),
        unit="violations",
        reach="0, and the planted bug caught",
        ok=count == 0 and bool(caught.violations),
        runs=result.trials,
        spread=(0.0, float(count)),
        context=context,
    )
