"""A1: from the head to the first transaction, the oracle update heard of beforehand or not.

Two keepers in turn on fresh devnets, alike but for ``pending``.  Each round Ether falls by an
update that waits until the keeper has had its time, and is then mined 12 s after the block before.
Rounds in which somebody is liquidated are runs.  The node is 40 ms away, by a relay that holds each
request and each answer for 20 ms: what is saved is one round trip.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from bench.house import House, watched
from bench.line import Line, median, say, spread
from keeper.devnet.network import Stage, start

BORROWERS = 200
STEPS = 70
ENOUGH = 25
PAUSE_S = 1.0
"""Between the update's arrival in the pool and its block; on Ethereum it is up to 12 s."""
ONE_WAY_S = 0.02


@dataclass(slots=True)
class _Found:
    broadcast_ms: list[float] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    """Submissions of each of those passes that asked for no simulation."""


def run() -> Iterator[Line]:
    """Yield A1, with and without."""
    found = {}
    for pending in (False, True):
        stage = start(BORROWERS)
        try:
            found[pending] = asyncio.run(_measure(stage, pending=pending))
        finally:
            stage.stop()
    plain = median(found[False].broadcast_ms)
    for pending, what in ((False, "not heard of"), (True, "heard of before")):
        times = found[pending].broadcast_ms
        yield Line(
            id="A1" if pending else "A1_off",
            what=f"head to broadcast, the oracle update {what}, the node's time included",
            value=median(times),
            unit="ms",
            reach="none stated",
            ok=True,
            runs=len(times),
            spread=spread(times),
            context={
                "saved_ms": plain - median(times),
                "rounds_with_simulation_ready": sum(n > 0 for n in found[pending].saved),
                "node_away_ms": 2e3 * ONE_WAY_S,
            },
        )


async def _measure(stage: Stage, *, pending: bool) -> _Found:
    key = stage.deployment.account("keeper").private_key
    more = f"""
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
    found = _Found()
    async with AsyncExitStack() as stack:
        away = await stack.enter_async_context(_far_node(stage.deployment.rpc_url))
        variables = {
            "KEEPER__CHAINS__DEVNET__PENDING": str(pending).lower(),
            "KEEPER__CHAINS__DEVNET__RPC_URLS": json.dumps([away]),
        }
        house = await stack.enter_async_context(watched(stage, more, approve=True, env=variables))
        say(f"A1: Ether falls, pending = {str(pending).lower()}")
        for _ in range(STEPS):
            await _round(house, found)
            if len(found.broadcast_ms) >= ENOUGH:
                break
    return found


@asynccontextmanager
async def _far_node(url: str) -> AsyncIterator[str]:
    """Relay to the node at `url`, holding what passes for `ONE_WAY_S`; yield where."""
    port = int(url.rpartition(":")[2].rstrip("/"))
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 20):
                await asyncio.sleep(ONE_WAY_S)
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        for task in (
            asyncio.create_task(pipe(reader, far_writer)),
            asyncio.create_task(pipe(far_reader, writer)),
        ):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _round(house: House, found: _Found) -> None:
    assert house.watcher.chain is not None
    counts = house.watcher.chain.rpc.counts
    await house.push_eth(Decimal("0.994"))
    await asyncio.sleep(PAUSE_S)
    before = counts.get("eth_simulateV1", 0)
    done = await house.tick()
    if done.broadcast_s is not None:
        found.broadcast_ms.append(done.broadcast_s * 1e3)
        found.saved.append(len(done.submissions) - counts.get("eth_simulateV1", 0) + before)
