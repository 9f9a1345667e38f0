"""How all borrowers of a market stand, for who looks on: between two blocks, now and then."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keeper.engine.market import Reading, WatchedMarket
from keeper.model import Weights
from keeper.risk.screen import screen
from keeper.risk.spread import Spread, spread
from keeper.units import Wad


def spread_of(market: WatchedMarket[Any, Any], reading: Reading, bounds: Sequence[Wad]) -> Spread:
    """Return how many of the market's book are below each of `bounds`, ascending.

    Unlike the screen that decides it goes by no price that is in doubt: who uses one is unknown.
    """
    doubted = {price.asset.address for price in reading.prices if not price.usable}
    reserves = [
        reserve
        for reserve, asset, _ in market.adapter.sources(market.market)
        if asset.address in doubted
    ]
    rows = (market.book.row(account) for account, _ in reading.unreadable)
    return spread(
        screen(market.book, _relied_upon(reading.view.weights(), reserves)),
        bounds,
        np.array([row for row in rows if row is not None], dtype=np.int64),
        accounts=len(market.book),
        block_number=reading.block.number,
    )


def _relied_upon(weights: Weights, doubted: Sequence[int]) -> Weights:
    """Return the weights without those of the `doubted` reserves."""
    if not doubted:
        return weights
    collateral, debt = weights.collateral.copy(), weights.debt.copy()
    collateral[:, doubted] = debt[doubted] = np.nan
    return replace(weights, collateral=collateral, debt=debt)
