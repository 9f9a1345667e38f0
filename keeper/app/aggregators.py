"""The configured aggregators, and what ``keeper check`` says of them."""

import asyncio
import time
from pathlib import Path
from typing import Any

from keeper.app.finding import Finding, failed, ok, warning
from keeper.app.registry import HUBS
from keeper.chain.aggregator import Aggregator, Terms
from keeper.chain.aggregators import KINDS
from keeper.chain.rpc import Rpc
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError, KeeperError
from keeper.execution import liquidator
from keeper.log import hide
from keeper.model import Address, Asset, BlockRef, Sought
from keeper.settings import Chain, Settings
from keeper.strategies.text import have
from keeper.units import Bps, Raw


def aggregators_of(chain: Chain) -> tuple[Aggregator, ...]:
    """Return the chain's aggregators, not opened.  Raises ConfigError."""
    return tuple(
        Aggregator(
            KINDS[each.kind],
            Terms(
                url=each.where,
                key="" if each.api_key_file is None else _key(each.kind, each.api_key_file),
                targets=frozenset(each.targets),
                spenders=frozenset(each.may_take),
                timeout_s=chain.patience_s(each),
                calls_per_second=each.calls_per_second,
            ),
        )
        for each in chain.aggregators
    )


def listed(chain: Chain) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """Return whom the liquidator is to call, and whom to approve, for all aggregators."""
    targets = dict.fromkeys(target for each in chain.aggregators for target in each.targets)
    spenders = dict.fromkeys(spender for each in chain.aggregators for spender in each.may_take)
    return tuple(targets), tuple(spenders)


def _key(kind: str, path: Path) -> str:
    """Return the key in the file, and see to it that it is never printed."""
    try:
        key = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{path}: the key of {kind} cannot be read: {why}.") from error
    if not key or not key.isprintable() or len(key) > 512:
        raise ConfigError(f"{path}: that is no key of {kind}: one line of text is expected.")
    hide((key,))
    return key


async def aggregator_findings(
    settings: Settings,
    chain: Chain,
    rpc: Rpc,
    *,
    market: WatchedMarket[Any, Any],
    head: BlockRef,
    owner: Address | None,
) -> list[Finding]:
    """Return of each aggregator whether it answers with a sale, and of what it needs on chain."""
    if not chain.aggregators:
        return []
    what = f"{chain.name}: aggregators"
    if chain.liquidator is None or not settings.liquidate.enabled:
        return [
            warning(
                what,
                "they are asked for liquidations with borrowed money only",
                "set liquidate.enabled and the chain's liquidator, or leave them out",
            )
        ]
    try:
        missing = await _missing(chain, chain.liquidator, rpc, head)
        aggregators = aggregators_of(chain)
    except KeeperError as error:
        return [failed(what, error)]
    found = [
        failed(
            what,
            f"{chain.liquidator} does not list the {role} {address}",
            f"let its owner call {setter}({address}, true): `keeper liquidator` shows the call",
        )
        for address, role, setter in missing
    ]
    slippage = Bps(settings.liquidate.max_slippage_bps)
    every = [asset for _, asset, _ in market.adapter.sources(market.market)]
    common = [asset for symbol in HUBS for asset in every if asset.symbol == symbol]
    assets = list(dict.fromkeys((*common, *every)))[:2]
    if len(assets) < 2:
        return found
    sought = Sought(
        chain_id=chain.chain_id,
        sell=assets[0].address,
        buy=assets[1].address,
        amount=10 ** assets[0].decimals,
        block=head,
        caller=chain.liquidator,
        origin=owner or chain.liquidator,
        max_slippage=slippage,
    )
    return [*found, *await asyncio.gather(*(_asked(chain, a, sought, assets) for a in aggregators))]


async def _asked(
    chain: Chain, aggregator: Aggregator, sought: Sought, assets: list[Asset]
) -> Finding:
    what = f"{chain.name}: aggregator {aggregator.name}"
    began_at = time.monotonic()
    try:
        async with aggregator:
            offer = await aggregator.offer(sought)
    except KeeperError as error:
        return failed(what, error, "liquidations go over Uniswap v3 alone until it answers")
    took_ms = (time.monotonic() - began_at) * 1000
    sold, bought = (
        have(Raw(n), a) for n, a in zip((sought.amount, offer.bought), assets, strict=True)
    )
    return ok(what, f"{aggregator.shown} offers {bought} for {sold}, in {took_ms:.0f} ms")


async def is_listed(
    rpc: Rpc, contract: Address, role: str, address: Address, block: BlockRef
) -> bool:
    """Return whether a liquidator lists `address` as a ``target``, or in another of its roles."""
    _, listing, _ = liquidator.SETTERS[role]
    return any(await rpc.eth_call(contract, listing + liquidator.word(address), block))


async def _missing(
    chain: Chain, contract: Address, rpc: Rpc, head: BlockRef
) -> list[tuple[Address, str, str]]:
    """Return what the liquidator does not list, as what, and how it is listed."""
    targets, spenders = listed(chain)
    asked = [(address, "target") for address in targets]
    asked += [(address, "spender") for address in spenders]
    return [
        (address, role, liquidator.SETTERS[role][0])
        for address, role in asked
        if not await is_listed(rpc, contract, role, address, head)
    ]
