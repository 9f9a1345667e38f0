"""What the screen is given of a market: thresholds follow governance at once."""

from dataclasses import replace

import pytest

from keeper.protocols.aave_v3.market import Market, ReserveState
from keeper.protocols.aave_v3.view import bind
from keeper.units import BPS, Bps
from tests.protocols.aave_v3.builders import (
    BLOCK,
    CONFIGURATIONS,
    ETH_CORRELATED,
    LST,
    WBTC,
    WETH,
    market,
    observed,
    state,
)

Table = dict[tuple[int, int], float]


def thresholds(of: Market, states: dict[int, ReserveState] | None = None) -> Table:
    """The liquidation threshold in bps by e-mode and reserve, out of the weights."""
    seen = bind(of, observed(of, states=states), BLOCK, {})
    weights = seen.weights()
    return {
        (mode, i): weights.collateral[mode, i]
        / weights.debt[i]
        * (now.debt_index / now.liquidity_index)
        * BPS
        for mode in (0, ETH_CORRELATED)
        for i, now in seen.reserves.items()
    }


def changed(before: Table, after: Table) -> set[tuple[int, int]]:
    return {key for key in after if after[key] != before[key]}


def test_a_threshold_that_governance_moves_counts_at_the_same_market() -> None:
    of = market()
    lower = state(WBTC, replace(CONFIGURATIONS[WBTC], liquidation_threshold=Bps(7_301)))
    before = thresholds(of)

    after = thresholds(of, {WBTC: lower})

    assert before[0, WBTC] == pytest.approx(7_800, rel=1e-12)
    assert after[0, WBTC] == pytest.approx(7_301, rel=1e-12)
    assert changed(before, after) == {(0, WBTC), (ETH_CORRELATED, WBTC)}
    assert changed(before, thresholds(of)) == set()  # and back


def test_an_e_mode_that_governance_moves_counts_at_the_same_reserves() -> None:
    of = market()
    category = replace(of.e_modes[ETH_CORRELATED], liquidation_threshold=Bps(9_107))
    before = thresholds(of)

    after = thresholds(replace(of, e_modes={ETH_CORRELATED: category}))

    assert before[ETH_CORRELATED, WETH] == pytest.approx(9_500, rel=1e-12)
    assert after[ETH_CORRELATED, LST] == pytest.approx(9_107, rel=1e-12)
    assert changed(before, after) == {(ETH_CORRELATED, WETH), (ETH_CORRELATED, LST)}
