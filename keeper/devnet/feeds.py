"""Real Chainlink feeds: a `FluxAggregator` that one oracle node reports to, behind a proxy.

A feed's age grows until a round is submitted; nothing here submits one on its own.  Rotation
puts a new aggregator behind the proxy, which starts a new phase of round ids and a new emitter.
"""

from decimal import Decimal
from typing import Final

from keeper.devnet.abi import encode_call
from keeper.devnet.deployer import ZERO, Deployer
from keeper.devnet.deployment import DeployedFeed
from keeper.devnet.market import FEED_DECIMALS, FeedSpec
from keeper.model import Address, Hash

MIN_ANSWER: Final = 1
MAX_ANSWER: Final = 10**14
"""A million dollars."""


async def deploy_feed(deployer: Deployer, spec: FeedSpec, oracle: Address) -> DeployedFeed:
    """Deploy aggregator and proxy and submit the first round."""
    aggregator = await _deploy_aggregator(deployer, spec.name, oracle)
    proxy = await deployer.deploy("EACAggregatorProxy", aggregator, ZERO)
    feed = DeployedFeed(
        name=spec.name,
        proxy=proxy,
        aggregator=aggregator,
        decimals=FEED_DECIMALS,
        heartbeat_s=spec.heartbeat_s,
        price=str(spec.price),
    )
    first = to_answer(spec.price)
    await deployer.send(aggregator, "FluxAggregator", "submit", 1, first, sender=oracle)
    return feed


async def send_round(deployer: Deployer, feed: DeployedFeed, answer: int, oracle: Address) -> Hash:
    """Report `answer` as the next round of the aggregator now behind the proxy; do not wait.

    Two rounds of one feed in one block are not possible: the second would be refused.
    """
    aggregator, data = await _report(deployer, feed, answer)
    return await deployer.anvil.send(oracle, aggregator, data, gas=500_000)


async def _report(deployer: Deployer, feed: DeployedFeed, answer: int) -> tuple[Address, bytes]:
    aggregator = await deployer.call(feed.proxy, "EACAggregatorProxy", "aggregator")
    last = await deployer.call(aggregator, "FluxAggregator", "latestRound")
    artifact = deployer.artifacts.get("FluxAggregator")
    return aggregator, encode_call(artifact, "submit", last + 1, answer)


async def rotate(deployer: Deployer, feed: DeployedFeed, oracle: Address) -> Address:
    """Put a new aggregator with the current answer behind the proxy; return its address."""
    answer = await deployer.call(feed.proxy, "EACAggregatorProxy", "latestAnswer")
    fresh = await _deploy_aggregator(deployer, feed.name, oracle)
    await deployer.send(fresh, "FluxAggregator", "submit", 1, answer, sender=oracle)
    await deployer.send(feed.proxy, "EACAggregatorProxy", "proposeAggregator", fresh)
    await deployer.send(feed.proxy, "EACAggregatorProxy", "confirmAggregator", fresh)
    return fresh


def to_answer(price: Decimal | str) -> int:
    """A price in dollars as the feed's integer, floored.  Raises `ValueError` out of bounds."""
    answer = int(Decimal(price) * 10**FEED_DECIMALS)
    if not MIN_ANSWER <= answer <= MAX_ANSWER:
        raise ValueError(f"{price} is outside what the aggregator takes")
    return answer


async def _deploy_aggregator(deployer: Deployer, name: str, oracle: Address) -> Address:
    aggregator = await deployer.deploy(
        "FluxAggregator", ZERO, 0, 0, ZERO, MIN_ANSWER, MAX_ANSWER, FEED_DECIMALS, name
    )
    await deployer.send(
        aggregator, "FluxAggregator", "changeOracles", [], [oracle], [oracle], 1, 1, 0
    )
    return aggregator
