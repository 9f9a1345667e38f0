"""C1-C7, C14, C17, C18: campaigns of faults against the real chain layer and the real engine.

Long form of tests/faults: other seeds, more trials, several at a time (`bench.faults_crew`).

    ./run bench faults --trials 1000 --rows C1,C4      a row's trials; 20 of each without it,
                                                       5 where a trial needs a devnet
    ./run bench faults --rows C1 --seed 1017           one trial again, alone, as it was

``--workers`` says how many run at a time (6), ``--minutes`` bounds a row (60): what was run until
then is reported.  ``FAULTS_FIRST`` is the first seed.  `value` is the number of trials with a
violation.  Each of those is run three times more with nothing else running here; a trial that
was only late, and never alone, is the crowded machine's: it is left out of `value` and named in
``late_in_the_crowd``.  What the violations were, and the table, go to standard error.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.faults_crew import Crew, crew
from bench.line import Line, say
from tests.chain_unit.bare_anvil import anvil_path
from tests.faults.campaign import Campaign, Result
from tests.faults.rows import ROWS

WORKERS: Final = 6
AGAIN: Final = 3
"""How often a trial with a violation is run alone."""
SAID_S: Final = 30.0
"""Between two lines of progress where no terminal shows a bar."""
BAR: Final = 30


def run() -> Iterator[Line]:
    """Yield a line a row."""
    wanted = {row for row in os.environ.get("FAULTS_ROWS", "").upper().split(",") if row}
    if unknown := wanted - {row.id for row in ROWS}:
        known = ", ".join(row.id for row in ROWS)
        raise SystemExit(f"There is no row {', '.join(sorted(unknown))}: the rows are {known}.")
    try:
        anvil_path()
    except FileNotFoundError as error:
        raise SystemExit(f"The campaigns need Anvil: {error}.") from error
    rows = [row for row in ROWS if not wanted or row.id in wanted]
    if seed := os.environ.get("FAULTS_SEED"):
        yield from _one(rows, int(seed))
        return
    first = int(os.environ.get("FAULTS_FIRST", "1000"))
    seconds = 60 * float(os.environ.get("FAULTS_MINUTES", "60"))
    lines: list[Line] = []
    with asyncio.Runner() as runner:
        hands = crew(int(os.environ.get("FAULTS_WORKERS", str(WORKERS))))
        together = runner.run(hands.__aenter__())
        try:
            for row in rows:
                many = _many(row)
                say(f"{row.id}: {many} trials within {seconds / 60:g} minutes, {row.what}")
                lines.append(runner.run(_row(together, row, range(first, first + many), seconds)))
                yield lines[-1]
        finally:
            runner.run(hands.__aexit__(None, None, None))
    _table(lines)


def _many(row: Campaign) -> int:
    if asked := os.environ.get("FAULTS_TRIALS"):
        return int(asked)
    return 20 if row.stage == "anvil" else 5


def _one(rows: Sequence[Campaign], seed: int) -> Iterator[Line]:
    """Run one trial of each row, alone."""

    async def alone(row: Campaign) -> Result:
        async with crew(1) as hand:
            return await hand.alone(row.id, seed)

    for row in rows:
        result = asyncio.run(alone(row))
        for violation in result.violations:
            say(f"VIOLATION {violation}")
        yield _line(row, 1, result, None, [])


async def _row(hands: Crew, row: Campaign, seeds: range, seconds: float) -> Line:
    """Run the row: its planted bug first, then the trials, then those that failed once more."""
    caught = await hands.caught(row.id, seeds.start)
    result = Result()
    progress = _Progress(row, len(seeds))

    def told(one: Result) -> None:
        result.join(one)
        progress.show(result)
        for violation in one.violations:
            say(f"VIOLATION {violation}")

    await hands.run(row.id, seeds, told, seconds=seconds)
    progress.end()
    only_crowded: list[int] = []
    for seed in result.bad:
        again = [await hands.alone(row.id, seed) for _ in range(AGAIN)]
        failed = sum(bool(one.violations) for one in again)
        say(f"{row.id}:{seed}: {failed} of {AGAIN} times alone as well")
        if seed in result.late and not failed:
            only_crowded.append(seed)
    return _line(row, len(seeds), result, caught, only_crowded)


class _Progress:
    """A bar where there is a terminal; else a line from time to time."""

    def __init__(self, row: Campaign, many: int) -> None:
        self._row, self._many = row, many
        self._began_at = self._said_at = time.monotonic()

    def show(self, result: Result) -> None:
        """Say how far it is."""
        done = result.trials
        bar = "#" * (BAR * done // self._many)
        left_s = (time.monotonic() - self._began_at) / done * (self._many - done)
        text = (
            f"{self._row.id:4} [{bar:{BAR}}] {done}/{self._many}, {len(result.bad)} with a "
            f"violation, {left_s:,.0f} s left"
        )
        if sys.stderr.isatty():
            print(f"\r{text:79}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said_at >= SAID_S:
            self._said_at = time.monotonic()
            say(text)

    def end(self) -> None:
        """Leave the bar."""
        if sys.stderr.isatty():
            print(file=sys.stderr)


def _line(
    row: Campaign, wanted: int, result: Result, caught: Result | None, only_crowded: list[int]
) -> Line:
    context: dict[str, Any] = {
        "trials": result.trials,
        "trials_wanted": wanted,
        "seeds_with_violations": result.bad,
        "late_in_the_crowd": only_crowded,
        "suffered": dict(sorted(result.suffered.items())),
    }
    if caught is not None:
        context |= {
            "planted_bug": row.bug_is,
            "bug_caught": bool(caught.violations),
            "bug_caught_after": caught.trials,
        }
    for name, values in result.figures.items():
        ordered = sorted(values)
        if ordered:
            context[f"{name}_p50"] = ordered[len(ordered) // 2]
            context[f"{name}_p99"] = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
            context[f"{name}_max"] = ordered[-1]
            context[f"{name}_n"] = len(ordered)
    count = len(result.bad) - len(only_crowded)
    return Line(
        id=row.id,
        what=row.what,
        value=float(count),
        unit="violations",
        reach="0, and the planted bug caught",
        ok=count == 0 and (caught is None or bool(caught.violations)),
        runs=result.trials,
        spread=(0.0, float(count)),
        context=context,
    )


def _table(lines: Sequence[Line]) -> None:
    """Print what the lines say for people, on standard error."""
    print(
        f"\n{'row':4} {'trials':>7} {'violations':>11} {'late, crowded':>14}  planted bug",
        file=sys.stderr,
    )
    for line in lines:
        found = line.context
        bug = f"after {found['bug_caught_after']}" if found["bug_caught"] else "NO"
        print(
            f"{line.id:4} {line.runs:7,} {line.value:11,.0f} "
            f"{len(found['late_in_the_crowd']):14}  caught {bug}: {found['planted_bug']}",
            file=sys.stderr,
        )
