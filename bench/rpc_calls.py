"""P2: requests the keeper makes for one block, with a hundred borrowers and with 100,000.

Counted is what observing a block costs, by the node client's own count of methods: the logs of the
block and the packed reads; new heads are pushed.  Blocks in which history is still being taken into
the book, and reorgs (after which everything is discovered again), are counted apart.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

from bench.house import House, watched
from bench.line import Line, median, say, spread
from bench.written import SAID
from keeper.devnet.network import Stage, start

FEW, MORE = 100, 100_000
STATED = 100_000
BLOCKS = 12
TOUCHED = 25
REORG = 3
REORGS = 3


def run() -> Iterator[Line]:
    """Yield P2."""
    stage = start(FEW)
    try:
        yield asyncio.run(_measure(stage))
    finally:
        stage.stop()


async def _measure(stage: Stage) -> Line:
    async with watched(stage) as house:
        few_borrowers = house.borrowers
        say(f"P2: {BLOCKS} blocks with {few_borrowers:,} borrowers")
        few = await _blocks(house, "WETH")
        few_reorg = await _reorgs(house)
    async with watched(stage, written=MORE) as house:
        catching_up = max(done.rpc_calls for done in house.passes)
        took_in = len(house.passes)
        many_borrowers = house.borrowers
        say(f"P2: {BLOCKS} blocks with {many_borrowers:,} borrowers")
        many = await _blocks(house, "USDC")
        reorg = await _reorgs(house)
    most = max(many)
    return Line(
        id="P2",
        what="most RPC calls in any block, reorgs and history being taken in apart",
        value=most,
        unit="calls",
        reach="equal at 100 and 100,000 borrowers, <= 3",
        ok=most == max(few) and most <= 3 and many_borrowers >= STATED,
        runs=len(many),
        spread=spread(many),
        context={
            "borrowers": many_borrowers,
            "borrowers_made": SAID,
            "median": median(many),
            "at_few": max(few),
            "few_borrowers": few_borrowers,
            "equal": max(few) == most,
            "accounts_touched_in_a_block": TOUCHED,
            "most_while_taking_history_in": catching_up,
            "blocks_until_all_were_in": took_in,
            "most_after_a_reorg": max(reorg),
            "most_after_a_reorg_at_few": max(few_reorg),
            "reorg_depth": REORG,
        },
    )


async def _reorgs(house: House) -> list[int]:
    """Requests of each pass from a reorg on, of blocks that touched many accounts."""
    calls = []
    for _ in range(REORGS):
        for _ in range(REORG):
            await house.touch(TOUCHED)
            await house.tick()
        before = len(house.passes)
        await house.devnet.anvil.reorg(REORG)
        await house.tick()
        calls += [done.rpc_calls for done in house.passes[before:]]
    return calls


async def _blocks(house: House, symbol: str) -> list[int]:
    """Quiet blocks, blocks with a new price, and blocks in which many got collateral of `symbol`.

    To most it is new: a balance that nobody knew of takes a second read.
    """
    calls = []
    for number in range(BLOCKS):
        if number % 3 == 1:
            await house.push_eth(Decimal(1))
        if number % 3 == 2:
            await house.touch(TOUCHED, symbol)
        calls.append((await house.tick()).rpc_calls)
    return calls
