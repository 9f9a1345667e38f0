"""From what a message names to its picture: history read, drawn in a thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from keeper.alerts.numbers import short
from keeper.model import Address, MarketId, PositionId, Thresholds
from keeper.notify.charts import available as available  # noqa: PLC0414 - part of the interface
from keeper.notify.charts import draw
from keeper.store.history import SqlHistory

BUCKETS = 400
LONGEST_S = 400 * 86_400


def drawer(
    history: SqlHistory, thresholds: Thresholds
) -> Callable[[str], Awaitable[bytes | None]] | None:
    """Return what draws ``chain/market/account/seconds``; None without matplotlib."""
    if not available():
        return None

    async def picture(chart: str) -> bytes | None:
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
        return await asyncio.to_thread(draw, short(account), points, thresholds, span_s)

    return picture
