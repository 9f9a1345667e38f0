"""Incidents that happened, on the real protocol: what is thought of each price, and what is done.

Each scene has an armed-like keeper (it rehearses: nothing is sent), a protected borrower (bob, WBTC
and WETH against DAI) and a crowd of others.  The engine is handed the blocks by hand, so that it
sees the incident whole and not half of it.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.app.chain import OpenChain, open_chain
from keeper.app.hands import hand_of
from keeper.app.signing import executor_for, signer_for
from keeper.app.watcher import alert_policy
from keeper.chain.branch import Advance
from keeper.devnet.deployer import ZERO
from keeper.devnet.network import Devnet
from keeper.engine.chronicle import Telling
from keeper.engine.engine import Engine
from keeper.engine.passes import Pass
from keeper.model import (
    Act,
    Address,
    Assessed,
    BlockRef,
    Cause,
    IntentKind,
    PriceVerdict,
    Quote,
    Refuse,
    Rehearsed,
)
from keeper.settings import Settings, load
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.journal import SqlJournal
from keeper.store.records import SqlRecords
from keeper.units import UINT256_MAX, WAD, Base
from tests.chain.watching import MARKET, settings_of

pytestmark = pytest.mark.chain

WINDOW_S = 60
GRACE_S = 3_600
BLOCK_S = 12


@dataclass
class Scene:
    """The devnet, and a keeper that looks when it is told to."""

    devnet: Devnet
    chain: OpenChain
    engine: Engine
    database: Database
    seen: BlockRef
    last: Pass | None = None

    async def look(self) -> Pass:
        """Let the engine take every block since its last look."""
        head = await self.chain.rpc.block("latest")
        numbers = range(self.seen.number + 1, head.number + 1)
        blocks = tuple([await self.chain.rpc.block(number) for number in numbers])
        advance = Advance(orphaned=(), adopted=blocks, received_at=time.monotonic())
        self.last = await self.engine.take(advance)
        self.seen = head
        assert self.last is not None
        return self.last

    async def after(self, seconds: int) -> Pass:
        """Look again, that much later."""
        await self.pass_time(seconds)
        return await self.look()

    async def pass_time(self, seconds: int) -> None:
        await self.devnet.anvil.set_time(await self.devnet.anvil.timestamp() + seconds)
        await self.devnet.anvil.mine()

    def price(self, symbol: str) -> PriceVerdict:
        prices = self.engine.readings[MARKET].prices
        return next(price for price in prices if price.asset.symbol == symbol)

    def doubts(self, symbol: str) -> set[Cause]:
        return {suspicion.cause for suspicion in self.price(symbol).suspicions}

    # --- what was decided ---------------------------------------------------------------------

    def liquidations(self) -> set[Address]:
        """Whom it would liquidate."""
        assert self.last is not None
        return {
            d.intent.position.account
            for d in self.last.decisions
            if isinstance(d, Act) and d.intent.kind is IntentKind.LIQUIDATE
        }

    def held(self) -> dict[Address, str]:
        """Whom it would liquidate but for a doubt, and what it says about that."""
        assert self.last is not None
        return {
            d.position.account: d.reason
            for d in self.last.decisions
            if isinstance(d, Refuse) and "held while" in d.reason
        }

    def protects(self) -> bool:
        """Whether it acts for bob, as far as the signature."""
        assert self.last is not None
        bob = self.devnet.deployment.account("bob").address
        return any(
            isinstance(s, Rehearsed) and s.intent.position.account == bob
            for s in self.last.submissions
        )

    def endangered(self, symbol: str) -> set[Address]:
        """Whoever is below 1 and holds or owes it."""
        assert self.last is not None
        return {
            a.position.account
            for a in self.last.assessments
            if isinstance(a, Assessed)
            and a.health_factor < WAD
            and any(leg.asset.symbol == symbol for leg in a.legs)
        } - {self.devnet.deployment.account("bob").address}

    # --- what happens -------------------------------------------------------------------------

    async def trade(self) -> None:
        """Bring the exchange to the oracle's prices, and let the averages follow."""
        await self.devnet.align_pools()
        await self.pass_time(WINDOW_S + BLOCK_S)

    async def use_source(self, symbol: str, source: Address) -> None:
        """Governance changes where a price comes from."""
        there = self.devnet.deployment
        await self.devnet.deployer.send(
            there.oracle, "AaveOracle", "setAssetSources", [there.reserve(symbol).asset], [source]
        )

    async def put_behind(self, feed: str, aggregator: Address) -> None:
        proxy = self.devnet.deployment.feed(feed).proxy
        for function in ("proposeAggregator", "confirmAggregator"):
            await self.devnet.deployer.send(proxy, "EACAggregatorProxy", function, aggregator)


def _settings(devnet: Devnet, folder: Path, more: str, env: Mapping[str, str]) -> Settings:
    there = devnet.deployment
    settings_of(
        devnet,
        folder,
        f"""
[references]
window_s = {WINDOW_S}
[liquidate]
enabled = true
min_profit_usd = "1"
[signing]
private_key = "{there.account("keeper").private_key}"
[protect.bob]
account = "{there.account("bob").address}"
strategy = ["repay"]
below = "1.24"
target = "1.30"
max_per_tx_usd = "1000000"
{more}
""",
    )
    return load(folder / "keeper.toml", env, env_file=None)


class Stagehand:
    """Opens scenes and closes them after the test."""

    def __init__(self, devnet: Devnet, folder: Path, stack: AsyncExitStack) -> None:
        self.devnet = devnet
        self._folder = folder
        self._stack = stack

    async def scene(self, more: str = "", **env: str) -> Scene:
        """History read, everybody in the book, the exchange's averages settled, all well."""
        devnet, there = self.devnet, self.devnet.deployment
        factory = there.uniswap.factory
        settings = _settings(
            devnet, self._folder, more, {"KEEPER__CHAINS__DEVNET__UNISWAP_FACTORY": factory, **env}
        )
        keeper = there.account("keeper").address
        for reserve in there.reserves:
            approve = (reserve.asset, "TestnetERC20", "approve", there.pool, UINT256_MAX)
            await devnet.as_account(keeper, *approve)
        for pool in there.uniswap.pools:
            grow = (pool.address, "UniswapV3Pool", "increaseObservationCardinalityNext", 8)
            await devnet.deployer.send(*grow)
        database = await self._stack.enter_async_context(await Database.open(settings.database.url))
        config = settings.select()[0]
        chain = await self._stack.enter_async_context(open_chain(settings, config))
        scene = Scene(devnet, chain, await _engine(settings, chain, database), database, chain.head)
        await scene.trade()
        await devnet.refresh_feeds()
        await scene.after(BLOCK_S)
        await scene.after(BLOCK_S)
        assert all(not price.suspicions for price in scene.engine.readings[MARKET].prices)
        assert not scene.endangered("WETH")
        return scene


async def _engine(settings: Settings, chain: OpenChain, database: Database) -> Engine:
    signer = await signer_for(settings, chain.config)
    assert signer is not None
    executor = executor_for(
        settings,
        chain,
        journal=SqlJournal(database, chain_id=chain.config.chain_id),
        signer=signer,
        on_settled=lambda *_: ((), ()),
    )
    engine = Engine(
        markets=tuple(chain.markets.values()),
        hands={n: hand_of(settings, m, signer.address) for n, m in chain.markets.items()},
        logs=chain.logs(),
        reader=chain.reader,
        records=SqlRecords(database),
        executor=executor,
        telling=Telling(
            operators=settings.operator_chats(),
            thresholds=settings.thresholds.as_model(),
            policy=alert_policy(settings),
        ),
        rpc_calls=chain.observing_calls,
        behind_after_s=10**9,
    )
    await engine.start(chain.head)
    for market in chain.markets.values():
        await chain.cover(market, SqlRecords(database), chain.head, lambda _: None)
    return engine


@pytest.fixture
async def stagehand(devnet: Devnet, tmp_path: Path) -> AsyncIterator[Stagehand]:
    async with AsyncExitStack() as stack:
        yield Stagehand(devnet, tmp_path, stack)


async def aggregator(
    devnet: Devnet, name: str, answer: int, *, least: int = 1, decimals: int = 8
) -> Address:
    """Deploy an aggregator, without a proxy, that has said `answer`."""
    oracle = devnet.deployment.account("oracle").address
    arguments = (ZERO, 0, 0, ZERO, least, 10**20, decimals, name)
    made = await devnet.deployer.deploy("FluxAggregator", *arguments)
    change: tuple[Any, ...] = ("changeOracles", [], [oracle], [oracle], 1, 1, 0)
    await devnet.deployer.send(made, "FluxAggregator", *change)
    await submit(devnet, made, answer)
    return made


async def submit(devnet: Devnet, to: Address, answer: int) -> None:
    """Report `answer` as the aggregator's next round."""
    oracle = devnet.deployment.account("oracle").address
    number = await devnet.deployer.call(to, "FluxAggregator", "latestRound") + 1
    await devnet.deployer.send(to, "FluxAggregator", "submit", number, answer, sender=oracle)


# --- the incidents --------------------------------------------------------------------------


async def test_dai_at_130_on_one_feed_liquidates_nobody_and_protects(
    stagehand: Stagehand,
) -> None:
    """Compound, November 2020: one exchange moved one feed."""
    scene = await stagehand.scene()
    await scene.devnet.push_price("DAI/USD", "1.30")
    await scene.after(BLOCK_S)

    assert scene.doubts("DAI") == {Cause.JUMP, Cause.DISAGREES}
    owing = scene.endangered("DAI")
    assert len(owing) > 3
    assert scene.liquidations() == set()
    assert set(scene.held()) == owing
    for reason in scene.held().values():
        assert "held while DAI/USD: the answer went from 100012904 to 130000000, +30.0 %" in reason
        assert "DAI: the reference disagrees: 1.3 by the protocol and" in reason
    assert scene.protects()

    await scene.devnet.push_price("DAI/USD", "1.0")
    await scene.after(BLOCK_S)
    assert scene.doubts("DAI") == set()
    assert scene.held() == {}
    points = await SqlHistory(scene.database).prices(scene.engine.markets[0].id)
    assert [p.causes for p in points if p.symbol == "DAI"] == [(), ("jump", "disagrees"), ()]


async def test_what_was_held_goes_on_by_itself_when_the_market_follows(
    stagehand: Stagehand,
) -> None:
    """A fall that is real: the averages follow, and the same accounts are liquidated."""
    scene = await stagehand.scene()
    await scene.devnet.push_price("ETH/USD", await scene.devnet.price("ETH/USD") * 9 / 10)
    await scene.after(BLOCK_S)
    waiting = set(scene.held())
    assert waiting
    assert scene.doubts("WETH") == {Cause.DISAGREES}
    assert scene.doubts("USDC") == scene.doubts("WBTC") == set(), "they are not quoted in Ether"

    await scene.trade()
    await scene.look()

    assert scene.doubts("WETH") == set()
    assert scene.held() == {}
    assert scene.liquidations()
    assert scene.liquidations() <= waiting | scene.endangered("WETH")


async def test_a_ratio_over_its_cap_holds_those_who_have_the_token_and_nobody_else(
    stagehand: Stagehand,
) -> None:
    """Aave, March 2026: the cap stood 2.85 % under the ratio; 34 accounts were liquidated."""
    scene = await stagehand.scene()
    cap = scene.price("wstETH").caps[0].cap
    assert cap is not None
    await scene.devnet.set_ratio(Decimal(cap) / 10**18 * Decimal("1.0293"))
    await scene.devnet.push_price("ETH/USD", await scene.devnet.price("ETH/USD") * 93 / 100)
    await scene.trade()
    await scene.look()

    assert scene.doubts("wstETH") == {Cause.CAPPED}
    assert "the ratio is 2.8" in scene.price("wstETH").hold_liquidations
    assert scene.price("wstETH").usable
    assert scene.doubts("WETH") == set()
    assert scene.liquidations()
    assert not scene.liquidations() & scene.endangered("wstETH")
    assert set(scene.held()) <= scene.endangered("wstETH")


async def test_a_ratio_read_as_dollars_is_unknown_health_and_still_protected(
    stagehand: Stagehand,
) -> None:
    """Moonwell, February 2026: cbETH at $1.12."""
    scene = await stagehand.scene()
    ratio = await aggregator(scene.devnet, "CBETH / ETH", 112_000_000)
    await scene.use_source("WETH", ratio)
    done = await scene.after(BLOCK_S)

    assert {Cause.UNITS, Cause.DISAGREES} <= scene.doubts("WETH")
    assert "CBETH/ETH alone, which is a ratio and no price in USD" in scene.price("WETH").reason
    assert scene.liquidations() == set()
    bob = scene.devnet.deployment.account("bob").address
    (known,) = [a for a in done.assessments if a.position.account == bob]
    assert not known.ok
    assert scene.protects(), "the protocol liquidates him by it all the same"


async def test_a_price_that_is_written_down_is_compared_with_the_market(
    stagehand: Stagehand,
) -> None:
    """xUSD, November 2025, and USR, March 2026: one dollar by decree."""
    scene = await stagehand.scene()
    fixed = await scene.devnet.deployer.deploy("FixedPrice", 10**8, "USDC at par")
    await scene.use_source("USDC", fixed)
    await scene.after(BLOCK_S)
    await scene.after(BLOCK_S)
    assert scene.price("USDC").source.fixed
    assert scene.doubts("USDC") == set()

    hear = scene.engine.markets[0].oracles
    hear.outside = _venues("USDC", "0.26")
    await scene.after(BLOCK_S)
    assert scene.doubts("USDC") == set(), "one exchange against one pool proves nothing"

    hear.outside = _venues("USDC", "0.26", "0.265", "0.27")
    await scene.devnet.push_price("ETH/USD", await scene.devnet.price("ETH/USD") * 9 / 10)
    await scene.after(BLOCK_S)

    assert scene.doubts("USDC") == {Cause.FIXED}
    assert scene.price("USDC").usable
    assert scene.liquidations() == set()
    assert scene.held()
    assert any("the price is fixed and the market is elsewhere" in r for r in scene.held().values())


async def test_a_depeg_that_the_market_shares_is_real(stagehand: Stagehand) -> None:
    """USDC, 11 March 2023: 0.8726 to 0.8748 on two venues."""
    scene = await stagehand.scene()
    scene.engine.markets[0].oracles.outside = _venues("USDC", "0.8726", "0.8748", "0.8740")
    await scene.devnet.push_price("USDC/USD", "0.8742")
    await scene.trade()
    await scene.look()

    assert scene.doubts("USDC") == set()
    assert scene.price("USDC").usable
    assert scene.price("USDC").hold_liquidations == ""


async def test_a_depeg_of_one_venue_is_that_venues(stagehand: Stagehand) -> None:
    """USDe, 10 October 2025: 0.65 on one exchange, never below 0.994 on chain."""
    scene = await stagehand.scene()
    scene.engine.markets[0].oracles.outside = _venues("USDC", "0.65", "0.9991", "0.9994")
    await scene.after(BLOCK_S)

    assert scene.doubts("USDC") == set()
    reference = scene.price("USDC").reference
    assert reference is not None
    assert reference.price is not None
    assert reference.price > 99_000_000


async def test_while_the_sequencer_is_down_nothing_is_done_and_after_it_only_protection(
    stagehand: Stagehand,
) -> None:
    """Rollups, 2023 to 2026: down for 33 to 136 minutes."""
    uptime = await aggregator(stagehand.devnet, "L2 sequencer", 0, least=0, decimals=0)
    await stagehand.devnet.anvil.increase_time(GRACE_S)
    scene = await stagehand.scene(KEEPER__CHAINS__DEVNET__SEQUENCER_FEED=uptime)
    await submit(scene.devnet, uptime, 1)
    await scene.devnet.push_price("ETH/USD", await scene.devnet.price("ETH/USD") * 9 / 10)
    await scene.trade()
    done = await scene.look()
    assert scene.doubts("WETH") == {Cause.SEQUENCER_DOWN}
    assert scene.liquidations() == set()
    assert not scene.protects()
    assert sum("L2 sequencer" in message.text for message in done.messages) == 1

    await scene.pass_time(33 * 60)
    await submit(scene.devnet, uptime, 0)
    await scene.devnet.refresh_feeds()
    await scene.look()
    assert scene.doubts("WETH") == {Cause.SEQUENCER_GRACE}
    assert scene.held()
    assert scene.liquidations() == set()
    assert scene.protects()

    await scene.pass_time(GRACE_S)
    await scene.devnet.refresh_feeds()
    await scene.look()
    assert scene.doubts("WETH") == set()
    assert scene.liquidations()


async def test_a_feed_whose_decimals_change_is_no_price(stagehand: Stagehand) -> None:
    """December 2025: 8 decimals read as 18, $2.7 M."""
    scene = await stagehand.scene()
    wide = await aggregator(scene.devnet, "ETH/USD", 3 * 10**18, decimals=18)
    await scene.put_behind("ETH/USD", wide)
    await scene.after(BLOCK_S)

    assert Cause.INVALID in scene.doubts("WETH")
    assert "the feed has 18 decimals, it had 8" in scene.price("WETH").reason
    assert scene.liquidations() == set()
    assert not scene.protects()

    await scene.after(BLOCK_S)
    assert Cause.UNITS in scene.doubts("WETH")
    assert "18 decimals, the market counts in 8" in scene.price("WETH").reason


async def test_an_answer_at_the_aggregators_bound_is_no_price(stagehand: Stagehand) -> None:
    """LUNA, May 2022: paused at $0.107 while it traded at $0.01."""
    scene = await stagehand.scene()
    floor = 3_000 * 10**8
    bounded = await aggregator(scene.devnet, "ETH/USD", 3_512 * 10**8, least=floor)
    await scene.put_behind("ETH/USD", bounded)
    await scene.after(BLOCK_S)
    await scene.after(BLOCK_S)
    assert scene.doubts("WETH") == set()
    assert scene.price("WETH").feeds[0].feed.min_answer == floor

    await submit(scene.devnet, bounded, floor)
    await scene.after(BLOCK_S)

    assert Cause.BOUND in scene.doubts("WETH")
    assert scene.price("WETH").reason == (
        f"ETH/USD: the answer is {floor}, the least that its aggregator can say"
    )
    assert scene.liquidations() == set()
    assert scene.protects()


async def test_a_frozen_feed_stops_everything_and_an_answer_starts_it_again(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    await scene.pass_time(3_600 + 120 + BLOCK_S)
    await scene.devnet.refresh_feeds("DAI/USD")
    await scene.look()
    assert scene.doubts("DAI") == {Cause.STALE}
    assert not scene.protects()

    await scene.devnet.push_price("DAI/USD", "1.02")
    await scene.after(BLOCK_S)

    assert scene.doubts("DAI") == set()
    assert scene.protects()


async def test_a_frozen_feed_protects_all_the_same_where_that_is_the_policy(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene('[oracles.policy]\nstale = "protect_anyway"')
    await scene.devnet.push_price("DAI/USD", "1.02")
    await scene.pass_time(3_600 + 120 + BLOCK_S)
    await scene.devnet.refresh_feeds("DAI/USD")
    done = await scene.look()

    bob = scene.devnet.deployment.account("bob").address
    (known,) = [a for a in done.assessments if a.position.account == bob]
    assert not known.ok
    assert scene.protects()
    assert scene.liquidations() == set()


async def test_a_rotated_aggregator_is_noticed_and_traced_again(stagehand: Stagehand) -> None:
    scene = await stagehand.scene()
    fresh = await scene.devnet.rotate_aggregator("ETH/USD")
    done = await scene.look()
    (found,) = done.readings[0].rotated
    assert (found.feed.description, found.was, found.phase) == ("ETH/USD", 1, 2)

    after = await scene.after(BLOCK_S)

    assert after.readings[0].rotated == ()
    assert scene.price("WETH").feeds[0].feed.aggregator == fresh
    assert scene.price("WETH").usable


def _venues(symbol: str, *prices: str) -> Any:
    quotes = tuple(
        Quote(source=f"venue {i}", price=Base(int(Decimal(p) * 10**8)))
        for i, p in enumerate(prices)
    )
    return lambda: {symbol: quotes}
