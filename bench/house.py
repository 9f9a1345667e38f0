"""The keeper on a devnet with real Aave v3.6, for benchmarks: as it runs, block by block.

`watched` starts both, waits until every borrower is in the book, and hands out a `House`.  More
borrowers can be made at any time, by real transactions.
"""

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bench.line import say
from bench.written import write
from keeper.app.act import carry_out, plan_approval
from keeper.app.chain import open_chain
from keeper.app.watcher import Watcher
from keeper.devnet.abi import encode_call
from keeper.devnet.market import raw
from keeper.devnet.network import Devnet, Stage
from keeper.devnet.seed import seed
from keeper.engine.engine import Engine
from keeper.engine.market import WatchedMarket
from keeper.engine.passes import Pass
from keeper.model import Submitted
from keeper.settings import Settings, load
from keeper.store.database import Database

MARKET: Final = "bench"
BLOCK_S: Final = 12
PATIENCE_S: Final = 120.0
LOOK_AGAIN_S: Final = 0.05
"""For what becomes true without a pass."""


@dataclass(slots=True)
class House:
    """A devnet and the keeper that watches it."""

    devnet: Devnet
    watcher: Watcher
    task: asyncio.Task[None]
    passes: list[Pass] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each pass."""
    chance: random.Random = field(default_factory=lambda: random.Random(4))

    @property
    def engine(self) -> Engine:
        """The chain's engine."""
        assert self.watcher.engine is not None
        return self.watcher.engine

    @property
    def market(self) -> WatchedMarket[Any, Any]:
        """Its only market."""
        return self.engine.markets[0]

    @property
    def borrowers(self) -> int:
        """How many accounts the book holds."""
        return len(self.market.book)

    async def tick(self, seconds: int = BLOCK_S) -> Pass:
        """Mine one block and wait until the keeper has taken it.

        Nothing is done here meanwhile: it would count as the keeper's own time.
        """
        anvil = self.devnet.anvil
        latest = await anvil.rpc("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - positional in the call's encoding
        await anvil.set_time(int(latest["timestamp"], 16) + seconds)
        mined = int(latest["number"], 16) + 1
        await anvil.mine()
        await self.until(lambda: bool(self.passes) and self.passes[-1].block.number >= mined)
        return self.passes[-1]

    def took(self, done: Pass) -> None:
        """Keep a pass and wake whoever waits for it."""
        self.passes.append(done)
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait; an error of the keeper ends the wait."""
        ends_at = time.monotonic() + PATIENCE_S
        while not condition():
            if self.task.done():
                self.task.result()
            if time.monotonic() > ends_at:
                raise TimeoutError(f"the keeper was not there within {PATIENCE_S:.0f} s")
            self.news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), LOOK_AGAIN_S)

    async def settle_in(self) -> None:
        """Mine until everybody who was found is in the book."""
        await self.tick()
        while self.market.backlog:
            await self.tick()
        await self.tick()

    async def grow(self, borrowers: int, number: int = 11) -> None:
        """Make that many more borrowers and let the keeper meet them."""
        say(f"making {borrowers:,} more borrowers by real transactions")
        devnet = self.devnet
        await devnet.anvil.set_automine(on=True)
        await seed(devnet.anvil, devnet.artifacts, devnet.deployment, borrowers, number)
        await devnet.anvil.set_automine(on=False)
        await self.settle_in()

    async def push_eth(self, factor: Decimal) -> None:
        """A round of ETH/USD, mined with the next block."""
        price = await self.devnet.price("ETH/USD") * factor
        await self.devnet.push_price("ETH/USD", price.quantize(Decimal("0.00000001")))

    async def touch(self, many: int, symbol: str = "WETH") -> None:
        """Supply a little of `symbol` for that many borrowers, mined with the next block."""
        deployment = self.devnet.deployment
        whale = deployment.account("whale").address
        pool = self.devnet.artifacts.get("IPool")
        asset, little = deployment.reserve(symbol).asset, raw(symbol, 3)
        for who in self.chance.choices([b.address for b in deployment.borrowers], k=many):
            data = encode_call(pool, "supply", asset, little, who, 0)
            await self.devnet.anvil.send(whale, deployment.pool, data, gas=1_000_000)


@asynccontextmanager
async def watched(
    stage: Stage,
    more: str = "",
    *,
    approve: bool = False,
    written: int = 0,
    prepare: Callable[[Devnet], Awaitable[None]] | None = None,
    ipc: Path | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[House]:
    """Run the keeper on the devnet of `stage`; `more` is further configuration, `env` overrides.

    `written`: so many more borrowers are put into the contracts' storage before it starts;
    `prepare` does anything else to the devnet.  `ipc`: Anvil's socket, where the keeper is to use
    it instead of HTTP; heads come by WebSocket either way.
    """
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(stage.devnet())
        if written:
            await write(devnet, written)
        if prepare is not None:
            await prepare(devnet)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keeper-bench-")))
        settings = _settings(devnet, folder, more, env, ipc)
        database = await stack.enter_async_context(await Database.open(settings.database.url))
        if approve:
            await _approve(devnet, settings, database)
        await devnet.anvil.set_automine(on=False)
        watcher = Watcher(
            settings,
            settings.select()[0],
            database,
            on_pass=lambda _, done: house.took(done),
            on_progress=lambda _: None,
        )
        task = asyncio.create_task(watcher.run())
        house = House(devnet, watcher, task)
        try:
            await house.until(lambda: watcher.engine is not None and watcher.engine.covered)
            await house.until(lambda: bool(house.passes))
            await house.settle_in()
            yield house
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _settings(
    devnet: Devnet, folder: Path, more: str, env: Mapping[str, str], ipc: Path | None
) -> Settings:
    there = devnet.deployment
    rpc_url = there.rpc_url if ipc is None else f"ipc://{ipc}"
    heartbeats = "\n".join(f'"{f.proxy}" = {f.heartbeat_s}' for f in there.feeds)
    config = folder / "keeper.toml"
    config.write_text(
        f"""
[database]
url = {json.dumps(f"sqlite:///{folder / 'keeper.sqlite3'}")}
[chains.devnet]
chain_id = {there.chain_id}
rpc_urls = ["{rpc_url}"]
ws_urls = ["{there.ws_url}"]
calls_per_second = 100000
confirmations = 2
block_time_s = 12
markets = [{{ name = "{MARKET}", addresses_provider = "{there.addresses_provider}" }}]
[oracles.heartbeats_s]
{heartbeats}
{more}
""",
        encoding="utf-8",
    )
    return load(config, env, env_file=None)


async def _approve(devnet: Devnet, settings: Settings, database: Database) -> None:
    """Let the Pool take what the configured key has, by the path of ``keeper approve --send``."""
    async with open_chain(settings, settings.select()[0]) as chain:
        for reserve in devnet.deployment.reserves:
            planned = await plan_approval(chain, chain.market(), reserve.symbol, None)
            done, _ = await carry_out(settings, chain, database, planned, send=True, wait=False)
            assert isinstance(done, Submitted), done
