"""``keeper deleverage``: one sale of a borrower's own collateral, planned as the engine would."""

from collections.abc import Iterator
from typing import Any

from keeper.app.act import Planned, parse_amount, require_deleverager
from keeper.app.chain import OpenChain
from keeper.app.hands import asset_named
from keeper.app.look import held_by, read_accounts
from keeper.app.standing import COST, permits_of, standing
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError, ExecutionError
from keeper.model import (
    Address,
    Assessed,
    Deleverage,
    Holdings,
    Leg,
    MarketId,
    Side,
)
from keeper.ports import DeleverageView, MarketView, TokenView
from keeper.settings import Protect, Settings
from keeper.strategies.deleverage import deleverage_intent
from keeper.strategies.text import have, health, need, usd
from keeper.units import Base, Bps, Raw, Rounding, Wad, mul_div


def entry_for(settings: Settings, account: Address, market: MarketId) -> Protect | None:
    """Return the entry under [protect] by which the engine would deleverage `account` there."""
    for entry in settings.protect.values():
        here = not entry.markets or market.name in entry.markets
        if entry.account == account and "deleverage" in entry.strategy and here:
            return entry
    return None


async def plan_deleverage(
    settings: Settings,
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    account: Address,
    *,
    target: Wad,
    asset: str | None = None,
    amount: str | None = None,
    sell: str | None = None,
) -> Planned:
    """Plan what sells least of `account`'s collateral to reach `target`, or to repay `amount`.

    The bounds are those of the account's entry under [protect] where there is one; the borrower's
    mandate is held against the plan when it is rehearsed or sent, as for the engine.  Raises
    ExecutionError when nothing can be done, with the reason.
    """
    if amount is not None and asset is None:
        raise ConfigError("--amount is of a debt: name it with --asset.")
    reading = await read_accounts(chain, market, (account,))
    holdings = held_by(market, reading, account)
    assessed = reading.view.assess(holdings)
    if not isinstance(assessed, Assessed):  # a doubted price may serve a protection, by its stance
        assessed = reading.protecting.assess(holdings)
    if not isinstance(assessed, Assessed):
        raise ExecutionError(f"The health of {account} is unknown: {assessed.reason}.")
    view = reading.protecting
    if not isinstance(view, DeleverageView):
        raise ExecutionError(f"{market.id.name} knows no deleverage.")
    if amount is None and assessed.health_factor >= target:
        raise ExecutionError(
            f"{account} is at or above the target already: nothing needs to be done."
        )
    entry = entry_for(settings, account, market.id)
    cost = COST if entry is None else Bps(entry.max_cost_bps)
    names = (sell,) if sell is not None else () if entry is None else entry.sell
    pairs = tuple(_pairs(assessed, market, asset, names))
    if not pairs:
        raise ExecutionError(f"{account} has no debt and other collateral that may be sold for it.")
    ways = tuple(_ways(view, holdings, pairs, target=target, amount=amount, cost=cost))
    if not ways:
        require_deleverager(chain)  # what is missing first; its bounds come after it
        wanted = f"repays {amount} {asset}" if amount else f"reaches {health(target)}"
        raise ExecutionError(f"No one collateral of {account} that may be sold {wanted}.")
    best = min(ways, key=lambda way: (way.sold_value, way.debt.reserve))
    worth = _worth(best.debt, best.repay)
    if entry is not None and worth > entry.max_per_tx_usd:
        raise ExecutionError(
            f"It would repay {usd(worth)}: max_per_tx_usd of its [protect] entry is"
            f" {usd(entry.max_per_tx_usd)}; name less with --amount and --asset."
        )
    return Planned(
        intent=deleverage_intent(assessed, best, "asked for by command"),
        view=reading.view,
        before=assessed,
        arithmetic=(
            *_arithmetic(best, cost),
            *await _allowed(settings, chain, reading.view, account, best),
        ),
    )


async def _allowed(
    settings: Settings, chain: OpenChain, view: MarketView, account: Address, way: Deleverage
) -> tuple[str, ...]:
    """Say whether the deleverager may take what is to be sold, and what to do if not."""
    leg, contract = way.collateral, chain.config.deleverager
    tokens = view.tokens(leg.asset.address) if isinstance(view, TokenView) else None
    if contract is None:
        there = "there is no deleverager yet: `keeper deploy-deleverager`"
        return (f"allowed         {there}",)
    if tokens is None:
        return ()
    found = await standing(
        chain.rpc,
        leg=leg,
        token=tokens[0],
        account=account,
        contract=contract,
        needs=Raw(way.sells + 1),
        permits=await permits_of(settings, chain.config.chain_id),
        block=view.block,
        chain_id=chain.config.chain_id,
    )
    line = f"allowed         {found.said}"
    return (line, f"                {found.remedy}") if found.remedy else (line,)


def _pairs(
    assessed: Assessed,
    market: WatchedMarket[Any, Any],
    asset: str | None,
    names: tuple[str, ...],
) -> Iterator[tuple[Leg, Leg]]:
    owed = None if asset is None else asset_named(asset, market).address
    sold = {asset_named(name, market).address for name in names}
    for collateral in assessed.legs:
        if collateral.side is not Side.COLLATERAL or (
            sold and collateral.asset.address not in sold
        ):
            continue
        for debt in assessed.legs:
            other = debt.side is Side.DEBT and debt.reserve != collateral.reserve
            if other and owed in {None, debt.asset.address}:
                yield collateral, debt


def _ways(
    view: DeleverageView,
    holdings: Holdings,
    pairs: tuple[tuple[Leg, Leg], ...],
    *,
    target: Wad,
    amount: str | None,
    cost: Bps,
) -> Iterator[Deleverage]:
    for collateral, debt in pairs:
        if amount is None:
            way = view.deleverage_to_reach(holdings, collateral, debt, target, cost)
        else:
            repay = parse_amount(amount, debt.asset)
            if repay <= 0:
                raise ConfigError(f"{amount} {debt.asset.symbol} is nothing: name more than 0.")
            if repay > debt.balance:
                owed = have(debt.balance, debt.asset)
                raise ExecutionError(f"It owes {owed}: that is the most that can be repaid.")
            way = view.deleveraged(holdings, collateral, debt, repay, cost)
        if way is not None:
            yield way


def _arithmetic(way: Deleverage, cost: Bps) -> tuple[str, ...]:
    debt, collateral = way.debt, way.collateral
    how = (
        f"{way.repay} raw x price {debt.price} x {10_000 + cost} / 10000"
        f" / price {collateral.price}, in its decimals, rounded up, and 1 more"
    )
    return (
        f"sells at most   {need(way.sells, collateral.asset)} of its own, {usd(way.sold_value)}",
        f"                {how}",
        f"health then     {health(way.health)} or better, if that much is sold",
    )


def _worth(leg: Leg, raw: Raw) -> Base:
    return Base(mul_div(raw, leg.price, 10**leg.asset.decimals, Rounding.UP))
