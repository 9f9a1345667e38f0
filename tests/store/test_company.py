"""Who starts on a database that another keeper runs on is told, however the other one ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from keeper.store.company import counted_in
from keeper.store.database import Database

ROOT = Path(__file__).parents[2]
RUNS = """
import asyncio, sys
from keeper.store.company import counted_in
from keeper.store.database import Database

async def run():
    async with await Database.open(sys.argv[1]) as database, counted_in(database) as another:
        print(another, flush=True)
        await asyncio.sleep(600)

asyncio.run(run())
"""


async def test_each_that_starts_is_told_of_those_that_run_already(url: str) -> None:
    async with await Database.open(url) as database:
        async with counted_in(database) as first:
            async with counted_in(database) as second:
                pass
            async with counted_in(database) as third:
                pass
        async with counted_in(database) as alone:
            pass

    assert (first, second, third, alone) == (False, True, True, False)


async def test_one_that_outlives_the_first_is_seen_by_the_next(url: str) -> None:
    async with await Database.open(url) as database:
        first, second = counted_in(database), counted_in(database)
        await first.__aenter__()
        await second.__aenter__()
        await first.__aexit__(None, None, None)

        async with counted_in(database) as another:
            pass
        await second.__aexit__(None, None, None)

    assert another


async def test_one_that_was_killed_leaves_no_lock_behind(url: str) -> None:
    other = subprocess.Popen(  # noqa: ASYNC220 - our own code in a process to be killed
        (sys.executable, "-c", RUNS, url), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    with other.stdout as said:
        assert said.readline() == "False\n"
        async with await Database.open(url) as database:
            async with counted_in(database) as during:
                pass
            os.kill(other.pid, signal.SIGKILL)
            other.wait()
            for _ in range(100):  # a server takes a moment to notice
                async with counted_in(database) as after:
                    pass
                if not after:
                    break
                await asyncio.sleep(0.05)

    assert (during, after) == (True, False)


async def test_where_no_lock_can_be_kept_it_runs_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite3"
    (tmp_path / "k.sqlite3.running").mkdir()
    async with await Database.open(str(path)) as database, counted_in(database) as another:
        pass

    assert not another
