"""L2: a chain whose blocks come faster than everybody below 1 can be looked at.

Thousands are below 1 and owe too little to be worth a transaction, as in every market; at each
block a few more cross the line, and some of those are worth one.  Ours looks first at who is new,
then for an eighth of a block time at the others, and goes on with them at the next heads; beside
it, turn by turn on the same chain, everybody is looked at before the next head is taken.

The figure is how many times as many of the mined heads are taken, turn by turn: a head that is
skipped is a block at which nobody was liquidated.  Beside it what passes from a head's arrival,
waiting included, to the first send acknowledged; it says nothing of the heads that were skipped.
A process of its own moves the price and mines, so that the
keeper cannot hold the chain up.  Accounts are as in L1: those that are acted upon are real, the
rest is put into the book.
"""

import asyncio
import math
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

from bench.house import House, watched
from bench.latency import STEP, armed, fill, on_the_line
from bench.line import Line, median, say, spread
from keeper.app.watcher import STANDING_SHARE
from keeper.devnet.network import Stage, start
from keeper.engine.passes import Pass

BLOCK_S: Final = 0.4
BLOCKS: Final = 20
TURNS: Final = 9
AFTER_S: Final = 2.0
"""For what is on its way after the last block."""
REAL: Final = 2_000
ACCOUNTS: Final = 300_000
LOWEST: Final = 0.98
"""Some two in a hundred are below 1."""
REACH: Final = 2.0


def run() -> Iterator[Line]:
    """Yield L2."""
    context = multiprocessing.get_context("fork")
    go, done, over = context.Event(), context.Event(), context.Event()
    with tempfile.TemporaryDirectory(prefix="keeper-bench-") as folder:
        ipc = Path(folder, "anvil.ipc")
        stage = start(200, options=("--ipc", str(ipc)))
        miner = context.Process(target=_mine, args=(stage, go, done, over), daemon=True)
        miner.start()
        try:
            yield asyncio.run(_line(stage, ipc, go, done))
        finally:
            over.set()
            miner.join(5)
            stage.stop()


def _mine(stage: Stage, go: Event, done: Event, over: Event) -> None:
    asyncio.run(_blocks(stage, go, done, over))


async def _blocks(stage: Stage, go: Event, done: Event, over: Event) -> None:
    """Mine `BLOCKS` each time that `go` is set."""
    async with stage.devnet() as devnet:
        while not over.is_set():
            if not go.wait(0.1):  # nothing else goes on in this process
                continue
            go.clear()
            due = time.monotonic()
            for _ in range(BLOCKS):
                price = await devnet.price("ETH/USD") * STEP
                await devnet.push_price("ETH/USD", price.quantize(Decimal("0.00000001")))
                await devnet.anvil.set_time(await devnet.anvil.timestamp() + 1)
                await devnet.anvil.mine()
                due += BLOCK_S
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            done.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """Some blocks, taken in one of the two ways."""

    passes: tuple[Pass, ...]

    @property
    def slow_ms(self) -> float:
        """From a head's arrival to the first send, of the slowest tenth."""
        took = sorted(d.broadcast_s for d in self.passes if d.broadcast_s is not None)
        return took[int(0.9 * (len(took) - 1) + 0.5)] * 1e3

    @property
    def usual_ms(self) -> float:
        """The same, of the median."""
        return median([d.broadcast_s * 1e3 for d in self.passes if d.broadcast_s is not None])


async def _line(stage: Stage, ipc: Path, go: Event, done: Event) -> Line:
    async with watched(
        stage,
        armed(stage),
        approve=True,
        prepare=lambda devnet: on_the_line(devnet, REAL),
        ipc=ipc,
    ) as house:
        fill(house, ACCOUNTS, LOWEST)
        for _ in range(3):
            await house.push_eth(STEP)
            await house.tick()
        ours, theirs = [], []
        for number in range(TURNS):
            say(f"L2: turn {number + 1} of {TURNS}")
            theirs.append(await _turn(house, go, done, patience_s=math.inf))
            ours.append(await _turn(house, go, done, patience_s=BLOCK_S / STANDING_SHARE))
        last = ours[-1].passes[-1]
    times = tuple(len(b.passes) / len(a.passes) for a, b in zip(theirs, ours, strict=True))
    return Line(
        id="L2",
        what=f"heads taken, a block each {BLOCK_S} s: ours vs everybody below 1 at each head",
        value=median(times),
        unit="x",
        reach=f">= {REACH}",
        ok=median(times) >= REACH,
        runs=len(times),
        spread=spread(times),
        context={
            "below": len(last.assessments) + len(last.carried),
            "blocks_a_turn": BLOCKS,
            "ours_p90_ms": median([turn.slow_ms for turn in ours]),
            "theirs_p90_ms": median([turn.slow_ms for turn in theirs]),
            "ours_p50_ms": median([turn.usual_ms for turn in ours]),
            "theirs_p50_ms": median([turn.usual_ms for turn in theirs]),
            "ours_heads": sum(len(turn.passes) for turn in ours),
            "theirs_heads": sum(len(turn.passes) for turn in theirs),
            "blocks": TURNS * BLOCKS,
            "sent": sum(len(d.submissions) for turn in (*ours, *theirs) for d in turn.passes),
        },
    )


async def _turn(house: House, go: Event, done: Event, *, patience_s: float) -> _Turn:
    """Take `BLOCKS` blocks and let what is on its way end."""
    engine: Any = house.engine
    engine._patience_s = patience_s  # noqa: SLF001 - both sides in one run
    if math.isinf(patience_s):
        engine._overtaken = lambda: False  # noqa: SLF001 - the same
    else:
        chain = house.watcher.chain
        assert chain is not None
        engine._overtaken = lambda: chain.heads.overtaken  # noqa: SLF001 - the same
    house.passes.clear()
    done.clear()
    go.set()
    while not done.is_set():
        await asyncio.sleep(0.05)
        if house.task.done():
            house.task.result()
    await asyncio.sleep(AFTER_S)
    return _Turn(passes=tuple(house.passes))
