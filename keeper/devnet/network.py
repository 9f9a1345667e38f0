"""A devnet that is up: the process, what is deployed on it, and what one does to it.

    stage = start(positions=200)            # once, from the main thread, in no particular loop
    async with stage.devnet() as devnet:    # once a loop
        await devnet.push_price("ETH/USD", "3100.55")
    stage.stop()

or, where one loop is enough, ``async with running_devnet(positions=200) as devnet``.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

from keeper.devnet import feeds, uniswap
from keeper.devnet.abi import decode_answer, encode_call
from keeper.devnet.anvil import GAS_LIMIT, Anvil, AnvilProcess, until_mined
from keeper.devnet.deployer import Deployer
from keeper.devnet.deployment import Borrower, Deployment
from keeper.devnet.state import State, run_apart, state
from keeper.devnet.toolchain import Toolchain, ensure
from keeper.errors import ConfigError
from keeper.model import Address, Hash

BLOCKS_AFTER_LOAD: Final = 64
"""A loaded chain cannot be reorganised below the load, nor answer old calls: so mine first."""
SECONDS_A_BLOCK: Final = 12
BASE_FEE_WEI: Final = 10**9


class Devnet:
    """One loop's hands on a running devnet."""

    def __init__(self, anvil: Anvil, deployment: Deployment, toolchain: Toolchain) -> None:
        """`anvil` must be open."""
        self.anvil = anvil
        self.deployment = deployment
        self.artifacts = toolchain.artifacts
        self.deployer = Deployer(anvil, toolchain.artifacts, deployment.account("deployer").address)

    @property
    def borrowers(self) -> tuple[Borrower, ...]:
        """Everyone with a position but the whale, which lends and does not borrow."""
        return self.deployment.borrowers

    # --- prices -----------------------------------------------------------------------------

    async def push_price(self, feed: str, price: Decimal | str) -> Hash:
        """Submit a real round: ``push_price("ETH/USD", "3100.55")``, also by ``"WETH"``.

        Mined when this returns under automine, else with the next block; one round a feed a block.
        The staked token has no feed of its own: see `set_ratio`.
        """
        sent = await feeds.send_round(
            self.deployer,
            self.deployment.feed(feed),
            feeds.to_answer(price),
            self.deployment.account("oracle").address,
        )
        if await self.anvil.automine():
            await until_mined(self.anvil, sent)
        return sent

    async def push_prices(self, prices: Mapping[str, Decimal | str]) -> tuple[Hash, ...]:
        """Submit a round for each; under automine all of them in one block."""
        automine = await self.anvil.automine()
        if automine:
            await self.anvil.set_automine(on=False)
        try:
            sent = tuple([await self.push_price(feed, price) for feed, price in prices.items()])
            if automine:
                await self.anvil.mine()
        finally:
            if automine:
                await self.anvil.set_automine(on=True)
        for transaction in sent if automine else ():
            await until_mined(self.anvil, transaction)
        return sent

    async def refresh_feeds(self, *but: str) -> tuple[Hash, ...]:
        """Submit the present answer of every feed again, so that none is old; `but` these."""
        fresh = [feed.name for feed in self.deployment.feeds if feed.name not in but]
        return await self.push_prices({name: await self.price(name) for name in fresh})

    async def price(self, feed: str) -> Decimal:
        """What the feed answers, in dollars."""
        there = self.deployment.feed(feed)
        answer = await self.deployer.call(there.proxy, "EACAggregatorProxy", "latestAnswer")
        return Decimal(int(answer)).scaleb(-there.decimals)

    async def asset_price(self, symbol: str) -> Decimal:
        """What the market's oracle answers for a reserve, in dollars."""
        asset = self.deployment.reserve(symbol).asset
        answer = await self.deployer.call(
            self.deployment.oracle, "AaveOracle", "getAssetPrice", asset
        )
        return Decimal(int(answer)) / 10**8

    async def asset_price_at(self, symbol: str, block: str) -> Decimal:
        """The same as of a past block, given as JSON-RPC writes numbers."""
        oracle = self.artifacts.get("AaveOracle")
        data = encode_call(oracle, "getAssetPrice", self.deployment.reserve(symbol).asset)
        answer = await self.anvil.call(self.deployment.oracle, data, block)
        return Decimal(int.from_bytes(answer, "big")) / 10**8

    async def rotate_aggregator(self, feed: str) -> Address:
        """Put a new aggregator behind the feed's proxy; return it.  Waits for its blocks."""
        oracle = self.deployment.account("oracle").address
        return await feeds.rotate(self.deployer, self.deployment.feed(feed), oracle)

    async def set_ratio(self, ratio: Decimal | str) -> Hash:
        """Set how many Ether a staked token is worth; above the adapter's cap it is capped."""
        return await self.deployer.send(
            self.deployment.ratio_provider,
            "RatioProvider",
            "setRatio",
            int(Decimal(ratio) * 10**18),
        )

    async def align_pools(self) -> int:
        """Trade every exchange pool to the oracle's prices; return how many moved."""
        symbols = {reserve.asset: reserve.symbol for reserve in self.deployment.reserves}
        prices = {symbol: await self.asset_price(symbol) for symbol in symbols.values()}
        return await uniswap.align(self.deployer, self.deployment.uniswap, symbols, prices)

    async def fall_of(
        self, feed: str, left: Decimal, *, exchange: Decimal | None = None
    ) -> Decimal:
        """Let a feed answer `left` of its present price, and the exchange with it; the new answer.

        `exchange`: what is left of the price there, where that is something else.  Sent in one go:
        mined together with the next block, or at once under automine.  Raises `ValueError`, and
        changes nothing, for a price that the feed does not take.
        """
        price = (await self.price(feed) * left).quantize(Decimal("0.00000001"))
        symbols = {reserve.asset: reserve.symbol for reserve in self.deployment.reserves}
        prices = {symbol: await self.asset_price(symbol) for symbol in symbols.values()}
        for reserve in self.deployment.reserves:
            if reserve.feed == self.deployment.feed(feed).name:
                prices[reserve.symbol] *= left if exchange is None else exchange
        feeds.to_answer(price)  # before anything is traded
        await uniswap.align(self.deployer, self.deployment.uniswap, symbols, prices, wait=False)
        await self.push_price(feed, price)
        return price

    # --- positions --------------------------------------------------------------------------

    async def account_data(self, account: str, block: str = "latest") -> tuple[int, ...]:
        """`Pool.getUserAccountData`: the sixth value is the health factor, wad."""
        answers = await self.account_data_of([account], block)
        return answers[0]

    async def account_data_of(
        self, accounts: list[str] | list[Address], block: str = "latest"
    ) -> list[tuple[int, ...]]:
        """The same for many, by plain calls and another decoder than the keeper's."""
        pool = self.artifacts.get("IPool")
        asked: list[tuple[str, list[Any]]] = []
        for account in accounts:
            data = "0x" + encode_call(pool, "getUserAccountData", account).hex()
            asked.append(("eth_call", [{"to": self.deployment.pool, "data": data}, block]))
        return [
            decode_answer(pool, "getUserAccountData", 1, bytes.fromhex(answer[2:]))
            for answer in await self.anvil.batch(asked)
        ]

    async def as_account(
        self, sender: str, to: str, contract: str, function: str, *arguments: Any
    ) -> Hash:
        """Send ``contract.function(*arguments)`` as anyone; waits until it is mined."""
        return await self.deployer.send(to, contract, function, *arguments, sender=sender)


class Stage:
    """The process under a devnet.  It belongs to no event loop."""

    def __init__(self, toolchain: Toolchain, kept: State, options: tuple[str, ...]) -> None:
        """Start it; `restart` starts it again on the same port, as it was at first."""
        self._toolchain = toolchain
        self._kept = kept
        self._options = options
        self._process = self._start(0)

    @property
    def process(self) -> AnvilProcess:
        """The Anvil itself: to kill, pause and resume."""
        return self._process

    @property
    def deployment(self) -> Deployment:
        """What is deployed, with the URLs it is at."""
        return self._kept.deployment.at(self._process.http_url, self._process.ws_url)

    @asynccontextmanager
    async def devnet(self) -> AsyncIterator[Devnet]:
        """A `Devnet` for the loop this runs in."""
        async with Anvil(self._process.http_url, self._process.ws_url) as anvil:
            yield Devnet(anvil, self.deployment, self._toolchain)

    def restart(self) -> None:
        """Throw the chain away and begin again from the kept state, on the same port."""
        port = self._process.port
        self._process.kill()
        self._process = self._start(port)

    def stop(self) -> None:
        """End it."""
        self._process.kill()

    def _start(self, port: int) -> AnvilProcess:
        # A state ends two hours before it was made; without --timestamp Anvil's clock refuses
        # to go back to when its blocks are to be.
        begins_at = int(time.time()) - (BLOCKS_AFTER_LOAD + 1) * SECONDS_A_BLOCK
        process = AnvilProcess(
            self._toolchain.anvil,
            "--auto-impersonate",
            *("--timestamp", str(begins_at - 1)),
            *("--load-state", str(self._kept.file)),
            *self._options,
            port=port,
        )
        try:
            run_apart(_freshen(process, self._kept.deployment, self._toolchain, begins_at))
        except BaseException:  # undone, then raised on
            process.kill()
            raise
        return process


def start(positions: int = 200, number: int = 1, options: tuple[str, ...] = ()) -> Stage:
    """Bring the tools, make or load the chain, and start it: under 2 s when all is cached.

    Blocks; `options` are further words for Anvil.  Raises `ConfigError`.
    """
    if positions < 0:
        raise ConfigError(f"A devnet cannot have {positions} positions.")
    toolchain = ensure()
    return Stage(toolchain, state(toolchain, positions=positions, number=number), options)


@asynccontextmanager
async def running_devnet(
    positions: int = 200, number: int = 1, options: tuple[str, ...] = ()
) -> AsyncIterator[Devnet]:
    """Start a devnet, yield it, and leave nothing running.  Blocks the loop while it starts."""
    stage = start(positions, number, options)
    try:
        async with stage.devnet() as devnet:
            yield devnet
    finally:
        stage.stop()


async def _freshen(
    process: AnvilProcess, kept: Deployment, toolchain: Toolchain, begins_at: int
) -> None:
    """Bring a loaded chain to the present: limits, time, blocks to reorganise, fresh rounds."""
    async with Anvil(process.http_url, process.ws_url) as anvil:
        devnet = Devnet(anvil, kept, toolchain)
        await anvil.set_block_gas_limit(GAS_LIMIT)
        await anvil.set_time(begins_at)
        await anvil.mine()
        await anvil.mine(BLOCKS_AFTER_LOAD, SECONDS_A_BLOCK)
        await anvil.set_next_base_fee(BASE_FEE_WEI)
        await anvil.set_time(max(await anvil.timestamp() + 1, int(time.time())))
        await devnet.refresh_feeds()
