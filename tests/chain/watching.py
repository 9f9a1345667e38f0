"""The keeper's own watcher on the devnet, block by block, and a crowd that does things."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from keeper.app.act import carry_out, plan_approval
from keeper.app.chain import OpenChain, open_chain
from keeper.app.look import read_market
from keeper.app.watcher import Watcher
from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.engine.coverage import Progress
from keeper.engine.engine import Engine
from keeper.engine.market import WatchedMarket
from keeper.engine.passes import Pass
from keeper.model import Address, Holdings, Submitted
from keeper.settings import Settings, load
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from keeper.units import UINT256_MAX

MARKET = "aave-v3-devnet"
BLOCK_S = 12
PATIENCE_S = 30.0
ENDLESS = UINT256_MAX


def settings_of(devnet: Devnet, folder: Path, more: str = "", name: str = "keeper") -> Settings:
    """Watch the devnet, and whatever `more` TOML says; the database is `name` in `folder`."""
    there = devnet.deployment
    heartbeats = "\n".join(f'"{f.proxy}" = {f.heartbeat_s}' for f in there.feeds)
    config = folder / f"{name}.toml"
    config.write_text(
        f"""
[database]
url = {json.dumps(f"sqlite:///{folder / name}.sqlite3")}
[chains.devnet]
chain_id = {there.chain_id}
rpc_urls = ["{there.rpc_url}"]
ws_urls = ["{there.ws_url}"]
calls_per_second = 5000
confirmations = 3
block_time_s = 1
markets = [{{ name = "{MARKET}", addresses_provider = "{there.addresses_provider}" }}]
[oracles.heartbeats_s]
{heartbeats}
{more}
""",
        encoding="utf-8",
    )
    return load(config, {}, env_file=None)


@dataclass(slots=True)
class Watching:
    """A watcher at work."""

    devnet: Devnet
    settings: Settings
    watcher: Watcher
    task: asyncio.Task[None]
    passes: list[Pass] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        assert self.watcher.engine is not None
        return self.watcher.engine

    @property
    def market(self) -> WatchedMarket[Any, Any]:
        [market] = self.engine.markets
        return market

    @property
    def holdings(self) -> dict[Address, Holdings]:
        return book_of(self.market)

    async def tick(self, seconds: int = BLOCK_S) -> Pass:
        """Mine one block and wait until the keeper has taken it."""
        await self.devnet.anvil.set_time(await self.devnet.anvil.timestamp() + seconds)
        await self.devnet.anvil.mine()
        return await self.seen()

    async def seen(self) -> Pass:
        """Wait for the pass on the chain's present head."""
        head = (await self.devnet.anvil.rpc("eth_getBlockByNumber", "latest", False))["hash"]
        await self.until(lambda: bool(self.passes) and self.passes[-1].block.hash == head)
        return self.passes[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while not condition():
            if self.task.done():
                self.task.result()
            assert time.monotonic() < ends_at, f"not within {PATIENCE_S} s"
            await asyncio.sleep(0.01)


Happening = Callable[[], Awaitable[None]]


class SlowWatcher(Watcher):
    """One to whom something happens between opening the chain and following its heads."""

    while_opening: Happening | None = None

    async def _follow(self, chain: OpenChain, engine: Engine) -> None:
        if self.while_opening is not None:
            await self.while_opening()
        await super()._follow(chain, engine)


@asynccontextmanager
async def watching(
    devnet: Devnet, settings: Settings, while_opening: Happening | None = None
) -> AsyncIterator[Watching]:
    """Run a watcher until history is covered and everybody found there is in the book.

    `while_opening` happens after the chain was opened and before heads are followed.
    """
    await devnet.anvil.set_automine(on=False)
    async with await Database.open(settings.database.url) as database:
        passes: list[Pass] = []
        progress: list[Progress] = []
        watcher = SlowWatcher(
            settings,
            settings.select()[0],
            database,
            on_pass=lambda _, done: passes.append(done),
            on_progress=progress.append,
        )
        watcher.while_opening = while_opening
        task = asyncio.create_task(watcher.run())
        here = Watching(devnet, settings, watcher, task, passes, progress)
        try:
            await here.until(lambda: watcher.engine is not None and watcher.engine.covered)
            await here.until(lambda: bool(passes))
            await here.seen()
            await here.tick()
            while here.market.backlog:
                await here.tick()
            yield here
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def approve_everything(devnet: Devnet, settings: Settings) -> None:
    """Let the Pool take what the configured key has, by the path of ``keeper approve --send``."""
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        for reserve in devnet.deployment.reserves:
            planned = await plan_approval(chain, chain.market(), reserve.symbol, None)
            submission, _ = await carry_out(
                settings, chain, database, planned, send=True, wait=False
            )
            assert isinstance(submission, Submitted), submission


def book_of(market: WatchedMarket[Any, Any]) -> dict[Address, Holdings]:
    found = {account: market.holdings(account) for account in market.book.accounts()}
    return {account: holdings for account, holdings in found.items() if holdings is not None}


async def replayed(devnet: Devnet, folder: Path) -> dict[Address, Holdings]:
    """Who holds what, by a keeper that begins now: history from the start, one read at the head."""
    settings = settings_of(devnet, folder, name=f"fresh-{time.monotonic_ns()}")
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        market = chain.market()
        await chain.cover(market, SqlRecords(database), chain.head, lambda _: None)
        await read_market(chain, market, chain.head)
        return book_of(market)


async def differences_from_the_pool(here: Watching) -> list[str]:
    """Every account whose health the engine computes otherwise than `getUserAccountData`."""
    reading = here.engine.readings[MARKET]
    held = here.holdings
    theirs = await here.devnet.account_data_of(list(held), hex(reading.block.number))
    found = []
    for (account, holdings), data in zip(held.items(), theirs, strict=True):
        ours = reading.view.contract_health(holdings)
        if (ours.collateral, ours.debt, ours.health_factor) != (data[0], data[1], data[5]):
            found.append(f"{account}: {ours} is not {data}")
    return found


class Crowd:
    """Sends what people do; whatever the Pool refuses is mined and fails, as on a real chain."""

    def __init__(self, devnet: Devnet, number: int) -> None:
        self.devnet = devnet
        self.chance = random.Random(number)
        self.sent: dict[str, list[str]] = {}
        self.whale = devnet.deployment.account("whale").address

    async def act(self, many: int) -> None:
        """Send that many things, to be mined in the next block."""
        names = ("borrow", "supply", "repay", "e_mode", "toggle", "transfer")
        for _ in range(many):
            name = self.chance.choice(names)
            sender, to, data = getattr(self, f"_{name}")()
            sent = await self.devnet.anvil.send(sender, to, data, gas=1_500_000)
            self.sent.setdefault(name, []).append(sent)

    async def move_prices(self) -> None:
        """A round for one to three feeds, up or down by up to 3 %."""
        feeds = self.chance.sample(self.devnet.deployment.feeds, self.chance.randint(1, 3))
        for feed in feeds:
            factor = Decimal(self.chance.randint(9_700, 10_300)) / 10_000
            await self.devnet.push_price(feed.name, await self.devnet.price(feed.name) * factor)

    async def succeeded(self) -> dict[str, int]:
        """How many of each kind the Pool took."""
        counts = {}
        for name, sent in self.sent.items():
            receipts = [await self.devnet.anvil.receipt(one) for one in sent]  # type: ignore[arg-type]
            counts[name] = sum(r is not None and r["status"] == "0x1" for r in receipts)
        return counts

    async def arrive(self, stranger: Address) -> None:
        """Somebody whom history does not know borrows; mined with the next block."""
        deployment = self.devnet.deployment
        await self.devnet.anvil.set_balance(stranger, 10**18)
        weth, usdc = (deployment.reserve(symbol).asset for symbol in ("WETH", "USDC"))
        for sender, to, data in (
            self._pool(self.whale, "supply", weth, 10**18, stranger, 0),
            self._pool(stranger, "setUserUseReserveAsCollateral", weth, True),
            self._pool(stranger, "borrow", usdc, 1_234_567_891, 2, 0, stranger),
        ):
            await self.devnet.anvil.send(sender, to, data, gas=1_500_000)

    def _someone(self) -> Address:
        return self.chance.choice(self.devnet.borrowers).address

    def _reserve(self, *symbols: str) -> Any:
        there = symbols or tuple(r.symbol for r in self.devnet.deployment.reserves)
        return self.devnet.deployment.reserve(self.chance.choice(there))

    def _amount(self, reserve: Any, most_usd: int) -> int:
        price = next(
            Decimal(f.price) for f in self.devnet.deployment.feeds if f.name == reserve.feed
        )
        usd = self.chance.randint(1, most_usd) + Decimal("0.31337")
        return int(usd / price * 10**reserve.decimals)

    def _pool(self, sender: str, function: str, *arguments: Any) -> tuple[str, str, bytes]:
        data = encode_call(self.devnet.artifacts.get("IPool"), function, *arguments)
        return sender, self.devnet.deployment.pool, data

    def _borrow(self) -> tuple[str, str, bytes]:
        who, reserve = self._someone(), self._reserve("WETH", "WBTC", "USDC", "DAI")
        amount = self._amount(reserve, 500)
        return self._pool(who, "borrow", reserve.asset, amount, 2, 0, who)

    def _supply(self) -> tuple[str, str, bytes]:
        who, reserve = self._someone(), self._reserve()
        amount = self._amount(reserve, 20_000)
        return self._pool(self.whale, "supply", reserve.asset, amount, who, 0)

    def _repay(self) -> tuple[str, str, bytes]:
        who, reserve = self._someone(), self._reserve("WETH", "WBTC", "USDC", "DAI")
        amount = ENDLESS if self.chance.random() < 0.2 else self._amount(reserve, 5_000)
        if amount == ENDLESS:
            amount = 10**9 * 10**reserve.decimals
        return self._pool(self.whale, "repay", reserve.asset, amount, 2, who)

    def _e_mode(self) -> tuple[str, str, bytes]:
        return self._pool(self._someone(), "setUserEMode", self.chance.choice((0, 1)))

    def _toggle(self) -> tuple[str, str, bytes]:
        asset = self._reserve().asset
        use = self.chance.random() < 0.6
        return self._pool(self._someone(), "setUserUseReserveAsCollateral", asset, use)

    def _transfer(self) -> tuple[str, str, bytes]:
        reserve = self._reserve("WETH", "wstETH", "WBTC", "USDC", "DAI")
        token = self.devnet.artifacts.get("TestnetERC20")
        amount = self._amount(reserve, 200)
        data = encode_call(token, "transfer", self._someone(), amount)
        return self._someone(), reserve.a_token, data
