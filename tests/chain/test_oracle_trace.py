"""Real Chainlink feeds and a real adapter, traced, read and judged through the packed reader."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.devnet.feeds import MAX_ANSWER, MIN_ANSWER
from keeper.devnet.network import Devnet
from keeper.model import Address, Asset, BlockRef, Feed, FeedState, PriceVerdict, Source
from keeper.oracles.judge import JudgeRules, judge, judge_prices
from keeper.oracles.rounds import read_rounds
from keeper.oracles.trace import TraceRules, trace
from keeper.units import Base

pytestmark = pytest.mark.chain

LOOP = bytes.fromhex("5b600056")
TEN_MEGABYTES = bytes.fromhex("629896806000f3")
WORD_OF_ONES = bytes.fromhex("6000198060005260206000f3")
HOSTILE = Address("0x" + "bad0" * 10)
RULES = JudgeRules()


@dataclass
class Eyes:
    """The devnet, and what the keeper sees of it."""

    devnet: Devnet
    rpc: Rpc
    reader: LensReader

    def rules(self) -> TraceRules:
        beats = {feed.proxy: feed.heartbeat_s for feed in self.devnet.deployment.feeds}
        return TraceRules(overrides_s=beats)

    def assets(self) -> tuple[tuple[Asset, Address], ...]:
        return tuple(
            (Asset(address=r.asset, symbol=r.symbol, decimals=r.decimals), r.source)
            for r in self.devnet.deployment.reserves
        )

    async def head(self) -> BlockRef:
        return await self.rpc.block("latest")

    async def trace(self) -> tuple[Source, ...]:
        steps = trace(self.assets(), self.devnet.deployment.chain_id, self.rules())
        return await self.reader.run(steps, await self.head())

    async def judged(self, sources: tuple[Source, ...]) -> dict[str, PriceVerdict]:
        block = await self.head()
        feeds = tuple({f.address: f for s in sources for f in s.feeds}.values())
        rounds = await self.reader.run(read_rounds(feeds), block)
        verdicts = {
            f.address: judge(f, r, block, RULES) for f, r in zip(feeds, rounds, strict=True)
        }
        prices = [Base(int(await self.devnet.asset_price(s.asset.symbol) * 10**8)) for s in sources]
        judged = judge_prices(sources, verdicts, tuple(prices), RULES)
        return {verdict.asset.symbol: verdict for verdict in judged}


@pytest.fixture
async def eyes(devnet: Devnet) -> AsyncIterator[Eyes]:
    deployment = devnet.deployment
    rpc = await Rpc.open([deployment.rpc_url], deployment.chain_id)
    try:
        yield Eyes(devnet, rpc, LensReader(rpc))
    finally:
        await rpc.close()


async def test_every_source_is_traced_to_the_feed_it_was_deployed_on(eyes: Eyes) -> None:
    sources = await eyes.trace()

    deployment = eyes.devnet.deployment
    assert [s.untraced for s in sources] == [""] * len(deployment.reserves)
    for source, reserve in zip(sources, deployment.reserves, strict=True):
        expected = deployment.feed(reserve.feed)
        (leaf,) = source.feeds
        assert leaf == Feed(
            address=expected.proxy,
            description=expected.name,
            decimals=expected.decimals,
            heartbeat_s=expected.heartbeat_s,
            aggregator=expected.aggregator,
            min_answer=MIN_ANSWER,
            max_answer=MAX_ANSWER,
        )


async def test_the_staked_token_is_as_old_as_the_base_feed_under_its_adapter(eyes: Eyes) -> None:
    sources = await eyes.trace()

    (staked,) = [s for s in sources if s.path[0].startswith("ratio with a growing cap")]
    assert staked.address != staked.feeds[0].address
    assert [line.split(" 0x")[0] for line in staked.path] == [
        "ratio with a growing cap",
        "feed",
        "ratio of the token's own contract",
    ]
    assert eyes.devnet.deployment.ratio_provider in staked.path[2]


async def test_fresh_feeds_answer_what_the_market_answers(eyes: Eyes) -> None:
    await eyes.devnet.refresh_feeds()

    prices = await eyes.judged(await eyes.trace())

    assert all(price.usable for price in prices.values())
    weth = prices["WETH"]
    assert weth.feeds[0].answer == weth.price


async def test_a_feed_that_falls_silent_takes_down_exactly_what_hangs_on_it(eyes: Eyes) -> None:
    sources = await eyes.trace()
    await eyes.devnet.anvil.increase_time(3_600 + 120 + 60)
    await eyes.devnet.anvil.mine()
    await eyes.devnet.refresh_feeds("ETH/USD")

    prices = await eyes.judged(sources)

    down = {symbol for symbol, price in prices.items() if not price.usable}
    expected = {r.symbol for r in eyes.devnet.deployment.reserves if r.feed == "ETH/USD"}
    assert down == expected
    assert len(down) > 1
    verdict = prices["WETH"].feeds[0]
    assert verdict.state is FeedState.STALE
    assert verdict.reason == (f"ETH/USD: last answer {verdict.age_s} s old, heartbeat is 3600 s")


async def test_an_answer_brings_it_back(eyes: Eyes) -> None:
    sources = await eyes.trace()
    await eyes.devnet.anvil.increase_time(5_000)
    await eyes.devnet.anvil.mine()
    before = await eyes.judged(sources)

    await eyes.devnet.push_price("ETH/USD", "3499.5")

    after = await eyes.judged(sources)
    assert not before["WETH"].usable
    assert after["WETH"].usable
    assert after["WETH"].feeds[0].answer == 3_499_50000000


async def test_a_rotated_aggregator_changes_phase_and_aggregator_and_nothing_else(
    eyes: Eyes,
) -> None:
    sources = await eyes.trace()
    fresh = await eyes.devnet.rotate_aggregator("BTC/USD")

    prices = await eyes.judged(sources)
    traced = await eyes.trace()

    assert prices["WBTC"].usable
    (btc,) = next(s for s in traced if s.asset.symbol == "WBTC").feeds
    assert btc.aggregator == fresh
    assert [s for s in traced if s not in sources] == [s for s in traced if btc in s.feeds]


async def test_hostile_sources_cost_themselves_only(eyes: Eyes) -> None:
    fine = eyes.assets()[0]
    names = ("loop", "flood", "ones", "nothing")
    places = tuple(Address(f"0x{int(HOSTILE, 16) + n:040x}") for n in range(4))
    for place, code in zip(places, (LOOP, TEN_MEGABYTES, WORD_OF_ONES), strict=False):
        await eyes.devnet.anvil.set_code(place, code)
    await eyes.devnet.anvil.mine()
    assets = tuple(
        (Asset(address=p, symbol=n, decimals=18), p) for n, p in zip(names, places, strict=True)
    )

    steps = trace((*assets, fine), 31337, eyes.rules())
    *hostile, weth = await eyes.reader.run(steps, await eyes.head())

    assert weth.untraced == ""
    assert len(weth.feeds) == 1
    for source in hostile:
        assert source.untraced
        assert source.feeds == ()
