"""From settings to what the keeper may do: strategies, signing policy, what things cost.  Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keeper.app.registry import EXCHANGES, HUBS, NATIVE
from keeper.engine.decide import Hand
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError
from keeper.execution.deleverager import DELEVERAGE, DELEVERAGE_WITH_PERMIT
from keeper.execution.deleveraging import DeleverageRules, Deleverages, Permits
from keeper.execution.exchange import Exchange
from keeper.execution.flash import FlashLoans, FlashRules
from keeper.execution.lenders import Lender, Lenders
from keeper.execution.liquidator import LIQUIDATE, LIQUIDATE_EACH, LIQUIDATE_OVER
from keeper.execution.node import Node
from keeper.execution.policy import Permission, SigningPolicy, Target
from keeper.execution.pricing import Pricing
from keeper.execution.rivals import Asked, Rivals
from keeper.model import Address, Asset, Call, Funding, Intent, IntentKind
from keeper.ports import MarketView, RouteSource, Strategy
from keeper.settings import Chain, Protect, Settings
from keeper.strategies.alert_only import AlertOnly
from keeper.strategies.deleverage import Deleveraging
from keeper.strategies.liquidate import Liquidate
from keeper.strategies.protect import Bounds
from keeper.strategies.repay import Repay
from keeper.strategies.top_up import TopUp
from keeper.strategies.waterfall import Waterfall
from keeper.units import Base, Bps, Rounding, mul_div

Markets = Mapping[str, WatchedMarket[Any, Any]]


def hand_of(settings: Settings, market: WatchedMarket[Any, Any], owner: Address | None) -> Hand:
    """Return what may be done in one market with the account `owner`; None watches only."""
    protections = {
        entry.account: _protection(entry, market)
        for entry in settings.protect.values()
        if not entry.markets or market.id.name in entry.markets
    }
    lent = settings.select(str(market.id.chain_id))[0].liquidator
    return Hand(
        owner=owner,
        protections=protections,
        otherwise=_otherwise(settings, market, owner),
        ours=frozenset(address for address in (owner, lent) if address is not None),
    )


def _protection(entry: Protect, market: WatchedMarket[Any, Any]) -> Strategy:
    bounds = Bounds(
        below=entry.below,
        target=entry.target,
        assets=tuple(asset_named(name, market).address for name in entry.assets),
        max_value=entry.max_per_tx_usd,
    )
    sell = tuple(asset_named(name, market).address for name in entry.sell)
    known: Mapping[str, Callable[[], Strategy]] = {
        "top_up": lambda: TopUp(accounts=(entry.account,), bounds=bounds),
        "repay": lambda: Repay(accounts=(entry.account,), bounds=bounds),
        "deleverage": lambda: Deleveraging(
            accounts=(entry.account,),
            bounds=replace(bounds, assets=sell),
            cost=Bps(entry.max_cost_bps),
        ),
        "alert": AlertOnly,
    }
    return Waterfall(strategies=tuple(known[name]() for name in entry.strategy))


def _otherwise(
    settings: Settings, market: WatchedMarket[Any, Any], owner: Address | None
) -> Strategy:
    wanted = settings.liquidate
    if not wanted.enabled or (wanted.markets and market.id.name not in wanted.markets):
        return AlertOnly()
    return liquidation_of(settings, market, owner)


def liquidation_of(
    settings: Settings, market: WatchedMarket[Any, Any], owner: Address | None
) -> Liquidate:
    """Return the configured strategy: its caps, floors and denied tokens, and whom it spares."""
    wanted = settings.liquidate
    own = () if owner is None else (owner,)
    return Liquidate(
        min_profit=wanted.min_profit_usd,
        max_debt=wanted.max_debt_usd,
        denied=wanted.denied_assets,
        protected=(*(entry.account for entry in settings.protect.values()), *own),
        funding=funding_of(settings.select(str(market.id.chain_id))[0]),
    )


def funding_of(chain: Chain) -> Funding:
    """Return who pays for liquidations on the chain: lenders, where a liquidator is configured."""
    return Funding.OWN if chain.liquidator is None else Funding.FLASH


def exchange_of(chain: Chain) -> Exchange:
    """Return where collateral is sold.  Raises ConfigError where that is not known."""
    known = EXCHANGES.get(chain.chain_id)
    factory = chain.uniswap_factory or (known.factory if known else None)
    quoter = chain.uniswap_quoter or (known.quoter if known else None)
    if factory is None or quoter is None:
        raise ConfigError(
            f"{chain.name}: where Uniswap v3 lies on chain {chain.chain_id} is not known: "
            "set uniswap_factory and uniswap_quoter of the chain."
        )
    return Exchange(factory=factory, quoter=quoter)


def flash_of(
    settings: Settings,
    chain: Chain,
    markets: Markets,
    node: Node,
    *,
    permits: Permits | None = None,
    sources: Sequence[RouteSource] = (),
) -> Lenders | None:
    """Return who funds what is done with borrowed money; None where no contract is configured.

    `permits`: what borrowers signed for the deleverager.  `sources`: who is asked for a
    liquidation's sale besides Uniswap v3's pools.
    """
    if chain.liquidator is None and chain.deleverager is None:
        return None
    lenders: dict[IntentKind, Lender] = {}

    def hubs(view: MarketView) -> tuple[Address, ...]:
        market = markets[view.market.name]
        listed = {a.symbol: a.address for _, a, _ in market.adapter.sources(market.market)}
        return tuple(listed[symbol] for symbol in HUBS if symbol in listed)

    exchange, slippage = exchange_of(chain), Bps(settings.liquidate.max_slippage_bps)
    if chain.liquidator is not None:
        lenders[IntentKind.LIQUIDATE] = FlashLoans(
            node=node,
            exchange=exchange,
            rules=FlashRules(
                contract=chain.liquidator,
                max_slippage=slippage,
                min_profit=settings.liquidate.min_profit_usd,
            ),
            hubs=hubs,
            rivals=Rivals(sources, Asked(chain.aggregators_asked)) if sources else None,
        )
    if chain.deleverager is not None:
        lenders[IntentKind.DELEVERAGE] = Deleverages(
            node=node,
            exchange=exchange,
            rules=DeleverageRules(contract=chain.deleverager, max_slippage=slippage),
            hubs=hubs,
            permits=permits,
        )
    return Lenders(lenders)


def asset_named(name: str, market: WatchedMarket[Any, Any]) -> Asset:
    """Find a listed asset by symbol or address.  Raises ConfigError naming what there is."""
    listed = tuple(asset for _, asset, _ in market.adapter.sources(market.market))
    for asset in listed:
        if name.lower() in (asset.symbol.lower(), asset.address):
            return asset
    there = ", ".join(asset.symbol for asset in listed)
    raise ConfigError(f"{market.id.name} lists no asset {name!r}: it has {there}.")


EVERY_KIND = frozenset(IntentKind)


def policy_of(
    settings: Settings, chain: Chain, markets: Markets, only: frozenset[IntentKind] = EVERY_KIND
) -> SigningPolicy:
    """Return what the key may sign on this chain; a chain that is not armed may sign nothing.

    `only`: what this key is for, where there are two.
    """
    signing = settings.signing
    if not signing.armed(chain.chain_id):
        return SigningPolicy()
    kinds = {IntentKind.APPROVE}
    if settings.protect:
        kinds |= {IntentKind.TOP_UP, IntentKind.REPAY}
    if settings.liquidate.enabled:
        kinds.add(IntentKind.LIQUIDATE)
    allowed = [
        (name, kind, to, selector)
        for name, market in markets.items()
        for kind, to, selector in market.adapter.actions(market.market)
        if kind in kinds & only
    ]
    if chain.liquidator is not None:
        lent = chain.liquidator
        allowed = [
            (name, kind, lent, LIQUIDATE)
            if kind is IntentKind.LIQUIDATE
            else (name, kind, to, selector)
            for name, kind, to, selector in allowed
        ]
        more = [LIQUIDATE_EACH] if settings.liquidate.max_per_transaction > 1 else []
        more += [LIQUIDATE_OVER] if chain.aggregators else []
        allowed += [
            (name, kind, to, other)
            for name, kind, to, selector in allowed
            if (to, selector) == (lent, LIQUIDATE)
            for other in more
        ]
    if chain.deleverager is not None and IntentKind.DELEVERAGE in only:
        deleveraged = {
            name
            for entry in settings.protect.values()
            if "deleverage" in entry.strategy
            for name in (entry.markets or markets)
            if name in markets
        }
        allowed += [
            (name, IntentKind.DELEVERAGE, chain.deleverager, selector)
            for name in sorted(deleveraged)
            for selector in (DELEVERAGE, DELEVERAGE_WITH_PERMIT)
        ]
    return SigningPolicy(
        chain_id=chain.chain_id,
        permissions=tuple(
            dict.fromkeys(Permission(market=name, kind=kind) for name, kind, _, _ in allowed)
        ),
        targets=tuple(
            dict.fromkeys(
                Target(chain_id=chain.chain_id, to=to, selector=selector)
                for _, _, to, selector in allowed
            )
        ),
        max_spend=signing.max_per_tx_usd,
        max_spend_per_day=signing.max_per_day_usd,
        max_gas_wei=signing.max_gas_per_tx_eth,
        max_gas_per_day_wei=signing.max_gas_per_day_eth,
        min_balance_wei=signing.min_gas_balance_eth,
    )


def pricing_of(chain: Chain, markets: Markets) -> Pricing:
    """Return what only the markets know, for the executor."""
    native_symbol = NATIVE.get(chain.chain_id, "WETH").lower()

    def spends(intent: Intent, view: MarketView) -> Base | None:
        return value_of(view, intent.asset, intent.amount)

    def native(view: MarketView) -> Base | None:
        market = markets[view.market.name]
        for _, asset, _ in market.adapter.sources(market.market):
            if asset.symbol.lower() == native_symbol:
                return view.price_of(asset.address)
        return None

    def health_call(intent: Intent) -> Call | None:
        if intent.kind in (IntentKind.APPROVE, IntentKind.DEPLOY):
            return None
        market = markets.get(intent.position.market.name)
        if market is None:  # of a plan that is older than the configuration
            return None
        return market.adapter.health_call(market.market, intent.position.account)

    adapter = next(iter(markets.values())).adapter
    return Pricing(
        spends=spends, native=native, health_call=health_call, health=adapter.decode_health
    )


def value_of(view: MarketView, asset: Asset, amount: int) -> Base | None:
    """Return base units of `amount`, rounded up: caps are kept against the keeper."""
    price = view.price_of(asset.address)
    if price is None:
        return None
    return Base(mul_div(amount, price, 10**asset.decimals, Rounding.UP))
