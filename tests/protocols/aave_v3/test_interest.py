"""How long interest alone takes: to the second, by the same arithmetic as the health factor."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keeper.model import Assessed, Holdings
from keeper.protocols.aave_v3 import interest
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


@pytest.mark.parametrize("revision", REVISIONS)
@settings(deadline=None)
@given(wbtc=st.integers(10**6, 10**8), millionths=st.integers(10, 5_000))
@example(wbtc=61_329_669, millionths=4_567)
def test_no_second_before_is_below_one_where_a_raw_unit_outweighs_seconds_of_interest(
    revision: int, wbtc: int, millionths: int
) -> None:
    # a raw unit of WBTC is a tenth of a cent: as it is earned the health factor rises by a step,
    # and between two steps it falls
    view = b.view(revision)
    held = b.collateral(b.WBTC, wbtc)
    one = view.assess(b.holdings(held, b.debt(b.WETH, 10**18)))
    assert isinstance(one, Assessed)
    owed = 10**18 * one.health_factor // WAD * 10**6 // (10**6 + millionths)
    holdings = b.holdings(held, b.debt(b.WETH, owed))

    seconds = view.seconds_to_liquidation(holdings)

    assert seconds
    assert health_after(revision, holdings, seconds) < WAD
    for before in range(1, min(31, seconds)):
        assert health_after(revision, holdings, seconds - before) >= WAD, before


def test_where_too_many_spans_do_not_tell_it_is_said_too_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = b.view()
    holdings = owing(view, 1.001)
    exact = view.seconds_to_liquidation(holdings)
    assert exact

    said = []
    for most in (1, 5, 10, 15):
        monkeypatch.setattr(interest, "MOST_SPANS", most)
        seconds = view.seconds_to_liquidation(holdings)
        assert seconds is not None
        said.append(seconds)

    assert said[0] == 1
    assert said == sorted(said)
    assert max(said) < exact


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
