"""What ``keeper check`` says of a market: how it is read, its prices, what there is to act with."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from keeper.app.aggregators import aggregator_findings
from keeper.app.consent import consenting, consents
from keeper.app.finding import Finding, failed, ok, warning
from keeper.app.lending import liquidator_finding
from keeper.app.standing import permits_of
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import KeeperError
from keeper.model import Address, BlockRef, Feed, Inventory
from keeper.settings import Chain, Settings
from keeper.strategies.text import have, symbol
from keeper.units import Raw


async def check_market(
    settings: Settings,
    *,
    chain: Chain,
    rpc: Rpc,
    reader: LensReader,
    market: WatchedMarket[Any, Any],
    head: BlockRef,
    owner: Address | None,
) -> AsyncIterator[Finding]:
    name = market.id.name
    try:
        await reader.run(market.discover(), head)
        wanted = consenting(settings, name)
        market.watch(frozenset(entry.account for entry in wanted.values()))
        seen, rounds = await reader.run_all([market.observe(), market.rounds()], head)
    except KeeperError as error:
        yield failed(f"{name}: contracts", error)
        return
    reading = market.take(head, seen, rounds)
    yield ok(f"{name}: contracts", _described(market))
    async for finding in _prices(market, reading):
        yield finding
    permits = await permits_of(settings, chain.chain_id) if wanted else ()
    async for line in consents(
        wanted,
        chain.deleverager,
        owner,
        rpc=rpc,
        market=market,
        reading=reading,
        permits=permits,
    ):
        missing = warning(line.what, line.missing, line.remedy)
        yield missing if line.missing else ok(line.what, line.given)
    if name == chain.markets[0].name:  # once for the chain
        for asked in await aggregator_findings(
            settings, chain, rpc, market=market, head=head, owner=owner
        ):
            yield asked
    if owner is None:
        return
    lending = await liquidator_finding(settings, chain, rpc, market=market, head=head, owner=owner)
    if lending is not None:
        yield lending
    try:
        steps = market.adapter.inventory(market.market, owner, head)
        inventory: Inventory = await reader.run(steps, head)
    except KeeperError as error:
        yield failed(f"{name}: inventory", error)
        return
    async for finding in _inventory(settings, chain, market, inventory):
        yield finding


def _described(market: WatchedMarket[Any, Any]) -> str:
    of = market.market
    modes = f", {len(of.e_modes)} e-modes" if of.e_modes else ""
    return (
        f"Aave v{of.rules.release}, POOL_REVISION {of.rules.revision}, Pool {of.pool}, "
        f"{len(of.reserves)} reserves{modes}"
    )


async def _prices(market: WatchedMarket[Any, Any], reading: Reading) -> AsyncIterator[Finding]:
    what = f"{market.id.name}: prices"
    bad = [price for price in reading.prices if not price.usable]
    good = len(reading.prices) - len(bad)
    assumed = [feed for feed in market.feeds if feed.heartbeat_assumed]
    yield ok(what, f"{good} of {len(reading.prices)} are usable, from {len(market.feeds)} feeds")
    for price in bad:
        remedy = (
            f"add {price.source.address} to oracles.trusted_sources if you trust it"
            if price.source.untraced
            else "positions that use it are unknown until the feed answers"
        )
        yield warning(f"{market.id.name}: price of {symbol(price.asset)}", price.reason, remedy)
    if assumed:
        yield warning(
            what,
            f"the heartbeat of {_listed([f.description for f in assumed])} is not published and "
            "assumed",
            heartbeats_line(assumed),
        )


def heartbeats_line(feeds: Sequence[Feed]) -> str:
    """Return what to write where heartbeats are assumed: the keys are the feeds' addresses."""
    known = ", ".join(f'"{feed.address}" = {feed.heartbeat_s}' for feed in feeds)
    *others, last = (
        "".join(c if c.isprintable() and c != '"' else "?" for c in f.description) for f in feeds
    )
    named = f"{', '.join(others)} and {last}" if others else last
    return (
        f"write what is published under [oracles] in keeper.toml, such as heartbeats_s = "
        f"{{ {known} }} ({named}, as assumed now)"
    )


async def _inventory(
    settings: Settings, chain: Chain, market: WatchedMarket[Any, Any], inventory: Inventory
) -> AsyncIterator[Finding]:
    """Say what there is to spend, and which allowance is missing for it."""
    what = f"{market.id.name}: inventory"
    acts = settings.protect or settings.liquidate.enabled
    assets = {asset.address: asset for _, asset, _ in market.adapter.sources(market.market)}
    held = {assets[a]: raw for a, raw in inventory.balances.items() if raw > 0}
    if not held:
        said = f"{inventory.owner} holds none of the market's tokens"
        if acts and settings.signing.armed(chain.chain_id):
            yield warning(what, f"{said}: it can pay for nothing", "send it what it shall spend")
        else:
            yield ok(what, said)
        return
    yield ok(what, ", ".join(have(raw, asset) for asset, raw in held.items()))
    for asset, raw in held.items():
        allowed = inventory.allowances.get(asset.address, Raw(0))
        if allowed >= raw:
            continue
        several = f" --market {market.id.name}" if len(chain.markets) > 1 else ""
        yield warning(
            f"{market.id.name}: allowance of {symbol(asset)}",
            f"the Pool may take {have(allowed, asset)} of {have(raw, asset)}",
            f"keeper approve {symbol(asset)}{several} --send",
        )


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
