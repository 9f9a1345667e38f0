"""From what a message names to its picture: history read, drawn in a thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from keeper.alerts.numbers import short
from keeper.engine.prices import EVERY_S
from keeper.model import Address, Asset, MarketId, PositionId, Thresholds, Watch
from keeper.notify.charts import PriceLine, draw
from keeper.notify.charts import available as available  # noqa: PLC0414 - part of the interface
from keeper.store.history import SqlHistory
from keeper.store.watches import SqlWatches

BUCKETS = 400
LONGEST_S = 400 * 86_400


def drawer(
    history: SqlHistory,
    watches: SqlWatches,
    thresholds: Thresholds,
    lead: Callable[[PositionId], Asset | None] = lambda _: None,
) -> Callable[[str, str], Awaitable[bytes | None]] | None:
    """Return what draws ``chain/market/account/seconds`` for a chat; None without matplotlib.

    The account is called what the chat calls it.
    `lead`: the asset whose price is drawn beside a position's health; None where none is known.
    """
    if not available():
        return None

    async def picture(chart: str, chat: str) -> bytes | None:
        chain, _, rest = chart.partition("/")  # a market may be called anything
        market, account, span = rest.rsplit("/", 2)
        position = PositionId(
            market=MarketId(chain_id=int(chain), name=market, protocol=""),
            account=Address(account),
        )
        span_s = min(int(span), LONGEST_S)
        newest = await history.newest(position)
        until = int(time.time()) if newest is None else newest
        points = await history.buckets(position, since=until - span_s, buckets=BUCKETS)
        if not points:
            return None
        price = await _price_of(history, position.market, lead(position), until - span_s)
        name = await _name_in(watches, chat, position.account)
        return await asyncio.to_thread(draw, name, points, thresholds, span_s, price)

    return picture


async def _name_in(watches: SqlWatches, chat: str, account: Address) -> str:
    match await watches.find(chat, account):
        case Watch(label=label) if label:
            return label
        case _:
            return short(account)


async def _price_of(
    history: SqlHistory, market: MarketId, asset: Asset | None, since: int
) -> PriceLine | None:
    """Return the asset's price since then, with the last one before: one is kept each hour."""
    if asset is None:
        return None
    kept = await history.prices(market, asset=asset.address, since=since - 2 * EVERY_S)
    before = [one for one in kept if one.block_time < since][-1:]
    found = [*before, *(one for one in kept if one.block_time >= since)]
    if not found:
        return None
    points = tuple((one.block_time, one.price) for one in found)
    return PriceLine(symbol=asset.symbol, points=points)
