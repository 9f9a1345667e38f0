"""What ``keeper check`` says of the liquidator: whether it takes this keeper's orders."""

from typing import Any

from keeper.app.finding import Finding, failed, ok
from keeper.app.hands import exchange_of
from keeper.app.signing import liquidating_signer_for
from keeper.chain.rpc import Rpc
from keeper.engine.market import WatchedMarket
from keeper.errors import KeeperError
from keeper.execution.flash import FlashLoans, FlashRules
from keeper.model import Address, BlockRef, IntentKind
from keeper.settings import Chain, Settings
from keeper.units import Bps


async def liquidator_finding(
    settings: Settings,
    chain: Chain,
    rpc: Rpc,
    *,
    market: WatchedMarket[Any, Any],
    head: BlockRef,
    owner: Address,
) -> Finding | None:
    """Return whether the configured liquidator is ours, of the version that is spoken, and lets
    the liquidating key (`owner` where it has none of its own) liquidate in `market`; None where
    there is nothing to ask.
    """
    if chain.liquidator is None or not settings.liquidate.enabled:
        return None
    what = f"{market.id.name}: liquidator"
    pools = [
        to for kind, to, _ in market.adapter.actions(market.market) if kind is IntentKind.LIQUIDATE
    ]
    try:
        second = await liquidating_signer_for(settings, chain)
        caller = owner if second is None else second.address
        loans = FlashLoans(
            node=rpc,
            exchange=exchange_of(chain),
            rules=FlashRules(
                contract=chain.liquidator,
                max_slippage=Bps(settings.liquidate.max_slippage_bps),
                min_profit=settings.liquidate.min_profit_usd,
            ),
            hubs=lambda _: (),
        )
        for pool in pools:
            await loans.check(pool, caller, head)
    except KeeperError as error:
        return failed(what, error)
    return ok(what, f"{chain.liquidator} takes orders of {caller}")
