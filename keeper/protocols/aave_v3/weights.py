"""Float weights of a market at a block for the screen, with what integer rounding may move.

Rows are e-mode category ids as accounts have them, 0 for none; a row of an id that was never set up
is that of 0, as the contract has it.  NaN marks what has no price at all.  A price that is unusable
but answered keeps its weight: the protocol would liquidate by it, so the screen must see it, and
the exact recheck then says why it is unknown.
"""

import math
from collections.abc import Mapping

import numpy as np

from keeper.model import Weights
from keeper.protocols.aave_v3.account import ReserveNow, own_price, terms
from keeper.protocols.aave_v3.market import Market
from keeper.units import BPS, RAY

TICK = 1 + 2.0**-40
"""Slack is rounded up by this, far more than a few float operations can lose."""


def weights(market: Market, reserves: Mapping[int, ReserveNow]) -> Weights:
    """Return base units per scaled unit, collateral times its liquidation threshold.

    Slack per entry: a balance is off by one raw unit at most, a value by one base unit.  Up to 3.4
    the average threshold loses up to a basis point of the collateral, which the weight leaves out
    (so that it is never too high), and the percentage rounds by half a unit.
    """
    rows = max(market.e_modes, default=0) + 1
    floored_average = not market.rules.one_division_health
    collateral = np.full((rows, market.id_bound), np.nan)
    debt = np.full(market.id_bound, np.nan)
    slack = np.zeros((rows, market.id_bound))
    debt_slack = np.zeros(market.id_bound)
    for i, now in reserves.items():
        if now.broken or now.price is None:
            continue
        per_raw = now.price / now.unit
        value = now.liquidity_index * now.price / (RAY * now.unit)
        debt[i] = now.debt_index * now.price / (RAY * now.unit)
        debt_slack[i] = (per_raw + 1) * TICK
        for e_mode in (0, *market.e_modes):
            apply = terms(market, now.configuration, i, e_mode)
            bps = apply.liquidation_threshold if apply.counts else 0
            if own_price(market, now.configuration, e_mode):
                continue
            low = max(0, bps - 1) if floored_average else bps
            collateral[e_mode, i] = value * low / BPS
            slack[e_mode, i] = ((per_raw + 1) * bps / BPS + (1 if floored_average else 0)) * TICK
    least = min(
        (
            bps
            for i, now in reserves.items()
            for e in (0, *market.e_modes)
            if (bps := terms(market, now.configuration, i, e).liquidation_threshold) > 0
        ),
        default=BPS,
    )
    absent = [e for e in range(1, rows) if e not in market.e_modes]
    collateral[absent] = collateral[0]
    slack[absent] = slack[0]
    return Weights(
        collateral=collateral,
        debt=debt,
        collateral_slack=slack,
        debt_slack=debt_slack,
        collateral_excess=_excess(least) if floored_average else 0.0,
    )


def _excess(least_bps: int) -> float:
    """How much more a threshold is than itself less a basis point, as a fraction, at the most."""
    return TICK / (least_bps - 1) if least_bps > 1 else math.inf
