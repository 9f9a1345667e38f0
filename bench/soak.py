"""S1: the keeper on a chain that mines as fast as it goes, for 10,000 blocks: is its memory flat?

The watcher as it runs, in a process of its own besides Anvil and this one's driver: every block is
mined when the one before was taken, a price moves in every tenth and people act in every twentieth.
`value` is the growth of resident memory from block 1,000 (by then caches are full) to the end, in
per cent; ``SOAK_BLOCKS`` is how many (10,000 by default).  At the end the book is held against
a fresh one, and every health factor against the Pool's own.
"""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.line import Line, say
from keeper.app.chain import open_chain
from keeper.app.look import read_market
from keeper.devnet.network import start
from keeper.settings import load
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from tests.chain.watching import (
    Crowd,
    Watching,
    book_of,
    differences_from_the_pool,
    settings_of,
    watching,
)

BLOCKS = int(os.environ.get("SOAK_BLOCKS", "10000"))
POSITIONS = 40
REACH_PERCENT = 5.0


def run() -> Iterator[Line]:
    """Yield S1."""
    # Old states would fill Anvil's memory and slow it down, and are not asked for.
    stage = start(POSITIONS, options=("--prune-history", "200"))
    try:
        yield asyncio.run(_measure(stage))
    finally:
        stage.stop()


async def _measure(stage: Any) -> Line:
    marks: dict[int, float] = {}
    wanted = sorted({BLOCKS // 10, BLOCKS // 2, BLOCKS, *range(0, BLOCKS, max(1, BLOCKS // 10))})
    async with stage.devnet() as devnet:
        with tempfile.TemporaryDirectory(prefix="keeper-soak-") as name:
            folder = Path(name)
            async with watching(devnet, settings_of(devnet, folder)) as here:
                crowd = Crowd(devnet, 5)
                began_at = time.monotonic()
                for number in range(1, BLOCKS + 1):
                    if number % 10 == 0:
                        price = await devnet.price("ETH/USD")
                        factor = Decimal("1.002") if number % 20 else Decimal("0.998")
                        await devnet.push_price("ETH/USD", price * factor)
                    if number % 20 == 0:
                        await crowd.act(2)
                        crowd.sent.clear()
                    if number % 250 == 0:
                        await devnet.refresh_feeds()
                    await here.tick()
                    del here.passes[:-1]  # what the driver keeps must not look like a leak
                    if number in wanted:
                        gc.collect()
                        marks[number] = _resident_mb()
                        took_s = time.monotonic() - began_at
                        say(f"S1: block {number:,}, {marks[number]:.1f} MB, {took_s:.0f} s")
                took_s = time.monotonic() - began_at
                wrong = await _wrong(devnet, here, folder)
    first = marks[BLOCKS // 10]
    growth = 100 * (marks[BLOCKS] - first) / first
    return Line(
        id="S1",
        what="growth of resident memory from a tenth of the blocks to the end",
        value=growth,
        unit="%",
        reach=f"<= {REACH_PERCENT:g} over 10,000 blocks, the book as a fresh one",
        ok=growth <= REACH_PERCENT and not wrong and BLOCKS >= 10_000,
        runs=1,
        spread=(growth, growth),
        context={
            "blocks": BLOCKS,
            "seconds": took_s,
            "resident_mb": {str(number): round(mb, 1) for number, mb in marks.items()},
            "wrong": wrong[:5],
        },
    )


async def _wrong(devnet: Any, here: Watching, folder: Path) -> list[str]:
    """How the book differs from one made now, and from the Pool."""
    settings_of(devnet, folder, name="fresh")
    config = folder / "fresh.toml"  # old state is gone, so the beginning is told
    text = config.read_text("utf-8").replace("markets = [{", "markets = [{ deployment_block = 0,")
    config.write_text(text, "utf-8")
    settings = load(config, {}, env_file=None)
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        market = chain.market()
        await chain.cover(market, SqlRecords(database), chain.head, lambda _: None)
        await read_market(chain, market, chain.head)
        fresh, ours = book_of(market), here.holdings
    found = [f"{account} is held otherwise" for account in fresh if ours[account] != fresh[account]]
    return found + await differences_from_the_pool(here)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
