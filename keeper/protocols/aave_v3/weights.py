"""Float weights of a market at a block for the screen, with what integer rounding may move.

Rows are e-mode category ids as accounts have them, 0 for none; a row of an id that was never set up
is that of 0, as the contract has it.  NaN marks what has no price at all.  A price that is unusable
but answered keeps its weight: the protocol would liquidate by it, so the screen must see it, and
the exact recheck then says why it is unknown.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from keeper.model import MarketId, Weights
from keeper.protocols.aave_v3.account import ReserveNow, own_price, terms
from keeper.protocols.aave_v3.market import Configuration, Market
from keeper.units import BPS, RAY

_NOTHING = (math.nan, math.nan, math.nan)
_last: dict[
    MarketId, tuple[Market, tuple[tuple[int, Configuration], ...], NDArray[np.float64]]
] = {}
"""By market: what the table of thresholds found last was made of, and the table."""
TICK = 1 + 2.0**-40
"""Slack is rounded up by this, far more than a few float operations can lose."""


def weights(market: Market, reserves: Mapping[int, ReserveNow]) -> Weights:
    """Return base units per scaled unit, collateral times its liquidation threshold.

    Slack per entry: a balance is off by one raw unit at most, a value by one base unit.  Up to 3.4
    the average threshold loses up to a basis point of the collateral, which the weight leaves out
    (so that it is never too high), and the percentage rounds by half a unit.
    """
    floored_average = not market.rules.one_division_health
    found = [_NOTHING] * market.id_bound
    for i, now in reserves.items():
        if now.broken or now.price is None:
            continue
        unit = RAY * now.unit
        found[i] = (
            now.price / now.unit,
            now.liquidity_index * now.price / unit,
            now.debt_index * now.price / unit,
        )
    per_raw, supplied, debt = np.array(found, dtype=np.float64).reshape(-1, 3).T
    thresholds = _thresholds(market, reserves)
    low = np.maximum(thresholds - 1, 0) if floored_average else thresholds
    own_slack = 1.0 if floored_average else 0.0
    return Weights(
        collateral=supplied * low / BPS,
        debt=debt,
        collateral_slack=((per_raw + 1) * thresholds / BPS + own_slack) * TICK,
        debt_slack=(per_raw + 1) * TICK,
        collateral_excess=_excess(thresholds) if floored_average else 0.0,
    )


def _thresholds(market: Market, reserves: Mapping[int, ReserveNow]) -> NDArray[np.float64]:
    """Return the liquidation threshold in bps by e-mode and reserve; 0 counts for nothing.

    NaN where a category prices a reserve by a source of its own (up to 3.1).  Only governance
    changes it, so the table found last of a market is handed out again until then; it is not to be
    written.
    """
    made_of = tuple([(i, now.configuration) for i, now in reserves.items()])
    last = _last.get(market.id)
    if last is not None and last[0] is market and last[1] == made_of:
        return last[2]
    table = _table(market, reserves)
    table.flags.writeable = False
    _last[market.id] = (market, made_of, table)
    return table


def _table(market: Market, reserves: Mapping[int, ReserveNow]) -> NDArray[np.float64]:
    table = np.zeros((max(market.e_modes, default=0) + 1, market.id_bound))
    for i, now in reserves.items():
        table[:, i] = _bps(market, now, 0)
    for e_mode in market.e_modes:
        for i in _members(market, reserves, e_mode):
            own = own_price(market, reserves[i].configuration, e_mode)
            table[e_mode, i] = np.nan if own else _bps(market, reserves[i], e_mode)
    return table


def _bps(market: Market, now: ReserveNow, e_mode: int) -> int:
    apply = terms(market, now.configuration, now.reserve.id, e_mode)
    return apply.liquidation_threshold if apply.counts else 0


def _members(market: Market, reserves: Mapping[int, ReserveNow], e_mode: int) -> tuple[int, ...]:
    """Return the reserves that `e_mode` may treat differently."""
    if market.rules.e_mode_bitmaps:
        bitmap = market.e_modes[e_mode].collateral_bitmap
        return tuple(i for i in reserves if bitmap >> i & 1)
    return tuple(i for i, now in reserves.items() if now.configuration.e_mode == e_mode)


def _excess(thresholds: NDArray[np.float64]) -> float:
    """How much more a threshold is than itself less a basis point, as a fraction, at the most."""
    positive = thresholds[thresholds > 0]
    least_bps = float(positive.min()) if positive.size else float(BPS)
    return TICK / (least_bps - 1) if least_bps > 1 else math.inf
