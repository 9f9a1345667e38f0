"""P1: a scan of every account by the contract's own view, against one pass of the keeper.

The scan asks `getUserAccountData` of each account, 500 a call, packed by hand by our own lens in
Multicall3's place (which is not installed here): the same number of calls of the same function.  A
pass is what the keeper does from the head's arrival to the last decision, on blocks that touched no
account, with a new price in every other one.  Both sides see the same real accounts.
"""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal

from bench.house import House, watched
from bench.line import Line, median, say, spread
from keeper.chain.reader import LensReader
from keeper.devnet.network import Stage, start
from keeper.model import Address

BORROWERS = 3_000
STATED = 10_000
A_CALL = 500
RUNS = 10


def run() -> Iterator[Line]:
    """Yield P1."""
    stage = start(100)
    try:
        yield asyncio.run(_measure(stage))
    finally:
        stage.stop()


async def _measure(stage: Stage) -> Line:
    async with watched(stage) as house:
        await house.grow(BORROWERS)
        accounts = tuple(house.market.book.accounts())
        say(f"P1: scanning {len(accounts):,} accounts, and not")
        scans, ours, different = [], [], 0
        for number in range(RUNS):
            if number % 2:
                await house.push_eth(Decimal("0.9993"))
            done = await house.tick()
            ours.append(done.decision_s)
            took, wrong = await _scan(house, accounts)
            scans.append(took)
            different += wrong
    times = tuple(scan / pass_s for scan, pass_s in zip(scans, ours, strict=True))
    return Line(
        id="P1",
        what="packed getUserAccountData scan of the same real accounts vs one pass of ours",
        value=median(times),
        unit="x",
        reach=">= 500 at 10,000 accounts",
        ok=median(times) >= 500 and different == 0 and len(accounts) >= STATED,
        runs=len(times),
        spread=spread(times),
        context={
            "accounts": len(accounts),
            "short_of": f"{len(accounts):,} accounts, the figure is for {STATED:,}",
            "scan_ms": median(scans) * 1e3,
            "scan_us_per_account": median(scans) / len(accounts) * 1e6,
            "ours_ms": median(ours) * 1e3,
            "different_from_the_contract": different,
        },
    )


async def _scan(house: House, accounts: tuple[Address, ...]) -> tuple[float, int]:
    """Seconds the scan took at the head, and in how many accounts the keeper disagrees."""
    chain = house.watcher.chain
    assert chain is not None
    reader = LensReader(chain.rpc, most_calls=A_CALL)
    market, reading = house.market, next(iter(house.engine.readings.values()))
    began = time.perf_counter()
    steps = market.adapter.account_data(market.market, accounts)
    answers = await reader.run(steps, reading.block)
    took = time.perf_counter() - began
    different = 0
    for account, theirs in zip(accounts, answers, strict=True):
        holdings = market.holdings(account)
        assert holdings is not None
        mine = reading.view.contract_health(holdings)
        different += (mine.collateral, mine.debt, mine.health_factor) != (
            theirs.collateral,
            theirs.debt,
            theirs.health_factor,
        )
    return took, different
