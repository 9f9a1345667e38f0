"""How long interest alone takes: to the second, by the same arithmetic as the health factor."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model import Assessed, Holdings
from keeper.protocols.aave_v3.view import View
from keeper.units import SECONDS_PER_YEAR, WAD
from tests.protocols.aave_v3 import builders as b

REVISIONS = (1, 8, 10, 11)


def health_after(revision: int, holdings: Holdings, seconds: int) -> int:
    later = replace(b.BLOCK, timestamp=b.NOW + seconds)
    found = b.view(revision, block=later).assess(holdings)
    assert isinstance(found, Assessed)
    return found.health_factor


def owing(view: View, health: float) -> Holdings:
    """10 WETH against as much USDC as gives about that health factor."""
    one = view.assess(b.holdings(b.collateral(b.WETH, 10**19), b.debt(b.USDC, 10**9)))
    assert isinstance(one, Assessed)
    scaled = int(10**9 * (one.health_factor / WAD) / health)
    return b.holdings(b.collateral(b.WETH, 10**19), b.debt(b.USDC, scaled))


@pytest.mark.parametrize("revision", REVISIONS)
@given(health=st.floats(1.0001, 1.1))
def test_a_second_before_it_is_healthy_and_then_it_is_not(revision: int, health: float) -> None:
    view = b.view(revision)
    holdings = owing(view, health)

    seconds = view.seconds_to_liquidation(holdings)

    # debt grows by 3.7 % a year, collateral by 2.1 %
    assert seconds is not None
    assert health_after(revision, holdings, seconds) < WAD
    assert health_after(revision, holdings, seconds - 1) >= WAD
    assert health_after(revision, holdings, seconds // 2) >= WAD
    assert seconds > SECONDS_PER_YEAR * (health - 1) / 0.04


def test_below_already_is_now_and_no_debt_is_never() -> None:
    view = b.view()

    assert view.seconds_to_liquidation(owing(view, 0.999)) == 0
    assert view.seconds_to_liquidation(b.holdings(b.collateral(b.WETH, 10**19))) is None


def test_what_lies_beyond_the_horizon_is_none() -> None:
    view = b.view()
    holdings = owing(view, 1.1)
    seconds = view.seconds_to_liquidation(holdings)
    assert seconds is not None

    assert view.seconds_to_liquidation(holdings, within_s=seconds) == seconds
    assert view.seconds_to_liquidation(holdings, within_s=seconds - 1) is None


def test_an_unknown_health_has_no_time() -> None:
    view = b.view(unusable={b.WETH: "ETH/USD is stale"})

    assert view.seconds_to_liquidation(owing(b.view(), 1.01)) is None
