"""L1: from the head's arrival to the first transaction handed to the node.

The whole of it: logs, packed read, screen, exact, decision, policy, simulation, journal on disk,
signature, the raw bytes stored, the send acknowledged.  Anvil answers on the same two cores, so its
time is in it.  Ether falls block by block, and each block with a liquidation is one run.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

from bench.house import watched
from bench.line import Line, median, say, spread
from keeper.devnet.network import Stage, start

BORROWERS = 200
STATED = 1_000_000
STEPS = 60
ENOUGH = 40


def run() -> Iterator[Line]:
    """Yield L1."""
    stage = start(BORROWERS)
    try:
        yield asyncio.run(_measure(stage))
    finally:
        stage.stop()


async def _measure(stage: Stage) -> Line:
    key = stage.deployment.account("keeper").private_key
    armed = f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "2000000"
[signing]
armed_chain_ids = [{stage.deployment.chain_id}]
private_key = "{key}"
max_per_tx_usd = "2000000"
max_per_day_usd = "1000000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "50"
"""
    async with watched(stage, armed, approve=True) as house:
        say("L1: Ether falls")
        broadcast, decided = [], []
        for _ in range(STEPS):
            await house.push_eth(Decimal("0.994"))
            done = await house.tick()
            decided.append(done.decision_s * 1e3)
            if done.broadcast_s is not None:
                broadcast.append(done.broadcast_s * 1e3)
            if len(broadcast) >= ENOUGH:
                break
        borrowers = house.borrowers
    p50, p99 = median(broadcast), sorted(broadcast)[int(0.99 * (len(broadcast) - 1) + 0.5)]
    return Line(
        id="L1",
        what="head received to transaction broadcast, the node's time included",
        value=p50,
        unit="ms",
        reach="p50 <= 5 ms, p99 <= 15 ms, our own time, 1e6 accounts",
        ok=p50 <= 5 and p99 <= 15 and borrowers >= STATED,
        runs=len(broadcast),
        spread=spread(broadcast),
        context={
            "p99": p99,
            "decision_p50": median(decided),
            "accounts": borrowers,
            "short_of": f"{borrowers:,} accounts, the figure is for {STATED:,}",
        },
    )
