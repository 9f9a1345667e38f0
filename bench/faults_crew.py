"""Several processes that run trials of fault campaigns, each with chains of its own.

    Crew -> Hand, Hand, ...      a line of JSON for each trial there, a line back
              Hand -> `python -m bench.faults_crew`

A trial waits more than it works, so many share a core.  They are processes and not tasks because a
planted bug, and a clock that jumps, are of a whole process.  A trial that takes too long, or that
ends its process, is a violation; the hand is replaced.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import IO, Any, Final

from keeper import log
from tests.faults.campaign import Result, trials, with_the_bug
from tests.faults.rows import ROWS, staged

FRESH: Final = 25
"""Trials on one chain; then a new one is started, so that the last trial is like the first."""
BUG_TRIALS: Final = 15
"""Trials with the planted bug, at most."""
PATIENCE_S: Final = 180.0
"""A trial takes two seconds; one with a bug may wait out its own patience many times."""
LINE_BYTES: Final = 16 * 1024 * 1024


class Hand:
    """One process.  It runs one trial at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._said: IO[bytes] | None = None
        """What it wrote to standard error."""
        self._files: tempfile.TemporaryDirectory[str] | None = None
        """All that it puts anywhere: it is killed, and does not tidy up."""

    async def trial(self, row: str, seed: int, *, bug: bool = False) -> Result:
        """Run one trial; with `bug`, as many as the planted bug needs to be caught."""
        if self._process is None:
            self._process = await self._started()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        asked = json.dumps({"row": row, "seed": seed, "bug": bug}).encode() + b"\n"
        try:
            process.stdin.write(asked)
            async with asyncio.timeout(PATIENCE_S * (BUG_TRIALS if bug else 1)):
                line = await process.stdout.readline()
            return Result(**json.loads(line))
        except TimeoutError:
            why = f"did not end within {PATIENCE_S:g} s"
        except (OSError, ValueError):
            why = f"ended its process: {self._last_words()}"
        await self.end()
        return Result(trials=1, violations=[f"{row}:{seed}: {why}"], bad=[seed])

    async def end(self) -> None:
        """End the process and the chains that it started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):  # it ended, and so did its chains
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
        if self._said is not None:
            self._said.close()
        if self._files is not None:
            self._files.cleanup()

    async def _started(self) -> asyncio.subprocess.Process:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._files = tempfile.TemporaryDirectory(prefix="keeper-", ignore_cleanup_errors=True)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.faults_crew"),
            env={**os.environ, "TMPDIR": self._files.name},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # its chains end with it
            limit=LINE_BYTES,
        )

    def _last_words(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return lines[-1] if lines else "without a word"


class Crew:
    """All hands; use as an async context."""

    def __init__(self, hands: Sequence[Hand]) -> None:
        self._hands = hands

    async def run(
        self, row: str, seeds: Sequence[int], told: Callable[[Result], None], *, seconds: float
    ) -> None:
        """Run a trial of each seed, as many at once as there are hands; none after `seconds`."""
        left = iter(seeds)
        ends_at = asyncio.get_running_loop().time() + seconds

        async def work(hand: Hand) -> None:
            for seed in left:
                if asyncio.get_running_loop().time() > ends_at:
                    return
                told(await hand.trial(row, seed))

        await asyncio.gather(*map(work, self._hands))

    async def alone(self, row: str, seed: int) -> Result:
        """Run one trial while nothing else runs here."""
        return await self._hands[0].trial(row, seed)

    async def caught(self, row: str, first: int) -> Result:
        """Run trials with the planted bug until one finds it."""
        return await self._hands[0].trial(row, first, bug=True)


@asynccontextmanager
async def crew(count: int) -> AsyncIterator[Crew]:
    """Have `count` processes at hand, started when they are first needed."""
    hands = [Hand() for _ in range(count)]
    try:
        yield Crew(hands)
    finally:
        await asyncio.gather(*(hand.end() for hand in hands))


async def _work() -> None:
    """Be one hand, until standard input ends."""
    loop = asyncio.get_running_loop()
    rows = {row.id: row for row in ROWS}
    kind, used = "", 0
    async with AsyncExitStack() as first:
        stack, stage = first, None
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked: dict[str, Any] = json.loads(line)
            row = rows[asked["row"]]
            if kind != row.stage or used >= FRESH:
                await stack.aclose()
                stage = await stack.enter_async_context(staged(row.stage))
                kind, used = row.stage, 0
            if asked["bug"]:
                result = await with_the_bug(row, stage, first=asked["seed"], most=BUG_TRIALS)
                used = FRESH  # whatever it did to the chain is not the next trial's
            else:
                result = await trials(row, stage, first=asked["seed"], count=1)
                used = FRESH if result.violations else used + 1
            print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    log.set_up(style="text", level="critical", stream=sys.stderr)
    asyncio.run(_work())
