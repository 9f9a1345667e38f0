"""One account in one market: the arithmetic, what would move it, whether the Pool agrees."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keeper.alerts.distance import LiquidationPoint, drivers, liquidation_points
from keeper.alerts.render import Remedies
from keeper.app.chain import OpenChain
from keeper.app.look import pool_answers, read_accounts
from keeper.engine.market import WatchedMarket
from keeper.engine.remedies import remedies
from keeper.errors import BadAnswer
from keeper.model import (
    Address,
    Assessed,
    Assessment,
    Asset,
    BlockRef,
    ContractHealth,
    Holdings,
    Leg,
    MarketId,
    PositionId,
    PriceVerdict,
    Side,
    Unassessable,
)
from keeper.ports import LendingView
from keeper.units import WAD, Base, Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationPrice:
    """At which price of one collateral, all else held still, the health factor is 1."""

    leg: Leg
    price: Base | None
    """None: this price alone does not lead to 1."""
    above: bool = False
    """Liquidated above it, not below: more is owed of the same asset than what is held counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFeed:
    """A feed that several of the account's assets hang on: none of them moves alone."""

    name: str
    now: Base
    assets: tuple[Asset, ...]
    point: LiquidationPoint | None
    """What an alert says of it; None: it does not lead to 1 by this price alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One position at one block."""

    market: MarketId
    block: BlockRef
    account: Address
    lines: tuple[str, ...]
    """The arithmetic."""
    assessment: Assessment
    has_position: bool
    prices: tuple[PriceVerdict, ...]
    """Of the assets it holds or owes."""
    liquidation_prices: tuple[LiquidationPrice, ...]
    shared_feeds: tuple[SharedFeed, ...]
    price_factor: Wad | None
    """To which fraction of today's prices all collateral together may fall until the health factor
    is 1, what is owed of the same assets with it as far as it is held, wad; 0 where no fall leads
    there, None where it is unknown or nothing does."""
    seconds_to_liquidation: int | None
    """Until interest alone brings it below 1; None if not in ten years, or unknown."""
    remedies: Remedies | None
    ours: ContractHealth | None
    """Our arithmetic, stale prices or not; None where it cannot be computed."""
    pool: ContractHealth
    """`getUserContractHealth` at the same block."""

    @property
    def agrees(self) -> bool:
        """Whether every number is the Pool's, to the wei."""
        return self.ours is not None and (
            self.ours.health_factor,
            self.ours.collateral,
            self.ours.debt,
        ) == (self.pool.health_factor, self.pool.collateral, self.pool.debt)


async def explain_account(
    chain: OpenChain, market: WatchedMarket[Any, Any], account: Address
) -> Explained:
    """Read `account` at the chain's head and explain it.  Raises ObservationError."""
    reading = await read_accounts(chain, market, (account,))
    [pool] = await pool_answers(chain, market, (account,), chain.head)
    holdings = market.holdings(account)
    position = PositionId(market=market.id, account=account)
    if holdings is None or account in dict(reading.unreadable):
        why = dict(reading.unreadable).get(account, "it was not read")
        return Explained(
            market=market.id,
            block=chain.head,
            account=account,
            lines=(f"unknown: {why}",),
            assessment=Unassessable(position=position, block=chain.head, reason=why),
            has_position=pool.collateral > 0 or pool.debt > 0,
            prices=(),
            liquidation_prices=(),
            shared_feeds=(),
            price_factor=None,
            seconds_to_liquidation=None,
            remedies=None,
            ours=None,
            pool=pool,
        )
    view = reading.view
    assessment = view.assess(holdings)
    assets = market.assets_of(account)
    ours: ContractHealth | None
    try:
        ours = view.contract_health(holdings)
    except BadAnswer:
        ours = None
    points: tuple[LiquidationPrice, ...] = ()
    feeds: tuple[SharedFeed, ...] = ()
    ways: Remedies | None = None
    if isinstance(assessment, Assessed):
        points = tuple(
            _liquidation_price(view, holdings, leg)
            for leg in assessment.legs
            if leg.side is Side.COLLATERAL and assessment.debt > 0
        )
        feeds = shared_feeds(assessment, reading.prices)
        ways = remedies(view, holdings, assessment)
    return Explained(
        market=market.id,
        block=chain.head,
        account=account,
        lines=view.explain(holdings),
        assessment=assessment,
        has_position=bool(holdings.entries),
        prices=tuple(price for price in reading.prices if price.asset.address in assets),
        liquidation_prices=points,
        shared_feeds=feeds,
        price_factor=view.price_factor(holdings),
        seconds_to_liquidation=view.seconds_to_liquidation(holdings),
        remedies=ways,
        ours=ours,
        pool=pool,
    )


def _liquidation_price(view: LendingView, holdings: Holdings, leg: Leg) -> LiquidationPrice:
    below = view.liquidation_price(holdings, leg)
    above = view.liquidation_price_above(holdings, leg) if below is None else None
    return LiquidationPrice(
        leg=leg, price=below if above is None else above, above=above is not None
    )


def shared_feeds(assessed: Assessed, prices: Iterable[PriceVerdict]) -> tuple[SharedFeed, ...]:
    """Return the feeds that move several assets of the account; none without debt, or below 1."""
    if assessed.debt == 0 or assessed.health_factor < WAD:
        return ()
    by_asset = {verdict.asset.address: verdict for verdict in prices}
    points = liquidation_points(assessed, by_asset.values(), most=len(assessed.legs))
    mine = {leg.asset.address: leg.asset for leg in assessed.legs}
    return tuple(
        SharedFeed(
            name=driver.name,
            now=driver.now,
            assets=tuple(mine[address] for address in mine if address in driver.assets),
            point=next((point for point in points if point.assets == driver.assets), None),
        )
        for driver in drivers(assessed, by_asset)
        if len(driver.assets) > 1
    )


def health_of(explained: Explained) -> Wad | None:
    """Return the health factor; None where it is unknown."""
    match explained.assessment:
        case Assessed(health_factor=health):
            return health
        case _:
            return None
