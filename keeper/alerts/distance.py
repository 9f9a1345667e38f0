"""How far a position is from liquidation, as a person would say it: "if ETH < $2 291".  Pure.

All legs whose price hangs on the same feed move together: collateral in WETH and in a staked ETH
are one bet, and a distance that moved only one of them would promise twice the room there is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keeper.alerts.numbers import symbol_text
from keeper.model import Address, Assessed, FeedVerdict, PriceVerdict, Side, price_factor
from keeper.units import UINT256_MAX, WAD, Base, Rounding, mul_div


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationPoint:
    """The price of one thing at which the health factor is 1, all else unmoved."""

    name: str
    """``ETH``, or the asset's symbol where its price was not traced to a feed."""
    price: Base
    """Rounded towards the present price: never later than the contract would."""
    now: Base
    rises: bool
    """True: liquidated above `price` (a debt that grows); False: below it."""
    permille: int
    """Signed distance in tenths of a percent, rounded towards zero."""
    assets: frozenset[Address] = frozenset()
    """Whose prices move with it."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One thing whose price moves some of the legs."""

    name: str
    now: Base
    assets: frozenset[Address]


def liquidation_points(
    assessed: Assessed, prices: Iterable[PriceVerdict], *, most: int = 2
) -> tuple[LiquidationPoint, ...]:
    """Return up to `most` points, nearest first; none without debt, or below 1 already.

    With C and D the weighted collateral and the debt that hang on one feed, and c and d the rest,
    the health factor is 1 where ``c + C x == d + D x``.
    """
    if assessed.health_factor == UINT256_MAX or assessed.health_factor < WAD:
        return ()
    by_asset = {verdict.asset.address: verdict for verdict in prices}
    points = []
    for driver in drivers(assessed, by_asset):
        point = _point(assessed, driver)
        if point is not None:
            points.append(point)
    points.sort(key=lambda point: (abs(point.permille), point.name))
    return tuple(points[:most])


def all_together(assessed: Assessed, prices: Iterable[PriceVerdict]) -> int | None:
    """Return by how many tenths of a percent all collateral together may fall, floored.

    Of what is owed that hangs on one thing as much falls with it as is held that does; the rest
    stands still.  None without debt, below 1 already, where one thing drives all collateral (then
    the point of that one says it), and where no fall leads to 1.
    """
    if assessed.health_factor == UINT256_MAX or assessed.health_factor < WAD:
        return None
    held = {leg.asset.address for leg in assessed.legs if leg.side is Side.COLLATERAL}
    found = drivers(assessed, {verdict.asset.address: verdict for verdict in prices})
    if sum(not driver.assets.isdisjoint(held) for driver in found) < 2:
        return None
    hangs_on = {asset: number for number, driver in enumerate(found) for asset in driver.assets}
    factor = price_factor(assessed.health_factor, assessed.legs, hangs_on)
    return 1000 - mul_div(1000, factor, WAD, Rounding.UP) if factor else None


def drivers(assessed: Assessed, by_asset: Mapping[Address, PriceVerdict]) -> list[Driver]:
    """Return what the legs hang on: one feed, or one asset where its price was not traced."""
    groups: dict[str, tuple[str, Base, set[Address]]] = {}
    for leg in assessed.legs:
        verdict = by_asset.get(leg.asset.address)
        feed = _leading(verdict.feeds) if verdict is not None else None
        if feed is None or feed.answer is None or feed.answer <= 0:
            key, name, now = f"asset {leg.asset.address}", leg.asset.symbol, leg.price
        else:
            key, name = feed.feed.address, _base_of(feed.feed.description)
            scaled = mul_div(feed.answer, 10**8, 10**feed.feed.decimals, Rounding.DOWN)
            now = Base(scaled)
        groups.setdefault(key, (symbol_text(name), now, set()))[2].add(leg.asset.address)
    return [Driver(name, now, frozenset(assets)) for name, now, assets in groups.values()]


def names_of(verdict: PriceVerdict) -> tuple[str, ...]:
    """Return what people may call a price: the asset's symbol, and its feed's base as `drivers`."""
    feed = _leading(verdict.feeds)
    symbol = symbol_text(verdict.asset.symbol)
    if feed is None or feed.answer is None or feed.answer <= 0:
        return (symbol,)
    return (symbol, symbol_text(_base_of(feed.feed.description)))


def _leading(feeds: tuple[FeedVerdict, ...]) -> FeedVerdict | None:
    """Return the feed that carries the dollar price; the others of a path only scale it."""
    for verdict in feeds:
        if verdict.feed.description.strip().upper().endswith("USD"):
            return verdict
    return feeds[0] if feeds else None


def _base_of(description: str) -> str:
    return description.split("/", maxsplit=1)[0].strip() or description


def _point(assessed: Assessed, driver: Driver) -> LiquidationPoint | None:
    moving_collateral = moving_debt = collateral = debt = 0
    for leg in assessed.legs:
        moves = leg.asset.address in driver.assets
        if leg.side is Side.COLLATERAL:
            weight = leg.value * leg.liquidation_threshold
            collateral += 0 if moves else weight
            moving_collateral += weight if moves else 0
        else:
            weight = leg.value * 10_000
            debt += 0 if moves else weight
            moving_debt += weight if moves else 0
    above, below = debt - collateral, moving_collateral - moving_debt
    if below == 0 or (above < 0) != (below < 0) or above == 0:
        return None
    rises = below < 0
    above, below = abs(above), abs(below)
    price = mul_div(driver.now, above, below, Rounding.DOWN if rises else Rounding.UP)
    if price == 0 or price > 100 * driver.now:
        return None
    # at a health of 1 that was rounded up to it: it is not past it yet
    price = max(price, driver.now) if rises else min(price, driver.now)
    change = price - driver.now
    permille = abs(change) * 1000 // driver.now if driver.now else 0
    return LiquidationPoint(
        name=driver.name,
        price=Base(price),
        now=driver.now,
        rises=rises,
        permille=permille if change >= 0 else -permille,
        assets=driver.assets,
    )
