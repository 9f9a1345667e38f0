"""C1-C7, C14, C17, C18: campaigns of faults against the real chain layer and the real engine.

Long form of tests/faults: other seeds, more trials.  ``./run bench faults --runs 1000`` has so many
in each row (20 by default; rows on the devnet a quarter), ``--minutes`` bounds a row (15 by
default): what was run until then is reported.  ``FAULTS_ROWS`` says which rows (``C3,C6``),
``FAULTS_FIRST`` the first seed, ``FAULTS_WORKERS`` how many processes share a row, each with a
chain of its own (3 by default: trials wait more than they work).  `value` is the number of
violations; what they were goes to standard error.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.line import Line, say
from keeper import log
from tests.faults.campaign import Campaign, Result, trials, with_the_bug
from tests.faults.rows import ROWS, staged

BUG_TRIALS = 15
FRESH = 25
"""Trials on one chain; then a new one is started, so that the last trial is like the first."""


def run() -> Iterator[Line]:
    """Yield a line a row."""
    wanted = {row for row in os.environ.get("FAULTS_ROWS", "").upper().split(",") if row}
    count = int(os.environ.get("FAULTS_TRIALS", "20"))
    first = int(os.environ.get("FAULTS_FIRST", "1000"))
    minutes = float(os.environ.get("FAULTS_MINUTES", "15"))
    workers = int(os.environ.get("FAULTS_WORKERS", "3"))
    for row in ROWS:
        if wanted and row.id not in wanted:
            continue
        many = count if row.stage == "anvil" else max(1, count // 4)
        say(f"{row.id}: {many} trials within {minutes:g} minutes, {row.what}")
        result = _shared(row, first, many, 60 * minutes, workers)
        caught = asyncio.run(_caught(row, first))
        yield _line(row, many, result, caught)


def _shared(row: Campaign, first: int, count: int, seconds: float, workers: int) -> Result:
    """Run the trials in several processes; put together what each found."""
    each = -(-count // workers)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.faults", row.id, str(start), str(many), str(seconds)],
            stdout=subprocess.PIPE,
        )
        for start in range(first, first + count, each)
        if (many := min(each, first + count - start))
    ]
    together = Result()
    try:
        for process in running:
            said, _ = process.communicate(timeout=seconds + 600)
            if process.returncode:
                raise RuntimeError(f"{row.id}: a worker ended with {process.returncode}")
            together.join(Result(**json.loads(said)))
    finally:
        for process in running:
            process.kill()
    return together


async def _worker(row: Campaign, first: int, count: int, seconds: float) -> Result:
    """Run trials until they are done or the time is over."""
    ends_at = time.monotonic() + seconds
    together = Result()
    while together.trials < count and time.monotonic() < ends_at:
        async with staged(row.stage) as stage:
            for _ in range(FRESH):
                if together.trials == count or time.monotonic() >= ends_at:
                    break
                one = await trials(row, stage, first=first + together.trials, count=1)
                for violation in one.violations:
                    say(f"{row.id}: VIOLATION {violation}")
                together.join(one)
    return together


async def _caught(row: Campaign, first: int) -> Result:
    async with staged(row.stage) as stage:
        return await with_the_bug(row, stage, first=first, most=BUG_TRIALS)


def _line(row: Campaign, wanted: int, result: Result, caught: Result) -> Line:
    context: dict[str, Any] = {
        "trials": result.trials,
        "trials_wanted": wanted,
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
            context[f"{name}_max"] = ordered[-1]
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


def _main() -> None:
    """Be one worker: row, first seed, trials, seconds."""
    id_, first, count, seconds = sys.argv[1:5]
    log.set_up(style="text", level="critical", stream=sys.stderr)
    [row] = [row for row in ROWS if row.id == id_]
    print(json.dumps(asdict(asyncio.run(_worker(row, int(first), int(count), float(seconds))))))


if __name__ == "__main__":
    _main()
