"""The bound under a floor: never less than what a liquidation leaves, and of use."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keeper.model import Assessed, Holdings, Liquidation, Why
from keeper.strategies.liquidate import Liquidate, most_profit
from keeper.units import WAD, Base, Bps
from tests.protocols.aave_v3 import builders as b
from tests.strategies.fakes import FakeMarket, acted, purse, refused
from tests.strategies.test_liquidate import ASSESSED, IN_USDC, RICH, UNDER

REVISIONS = (1, 5, 8, 9, 10, 11)


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    weth=st.integers(1, 10**21),
    wbtc=st.integers(0, 10**9),
    usdc=st.integers(0, 10**12),
    dai=st.integers(1, 10**23),
    price=st.integers(1, 600_000_000_000),
    e_mode=st.sampled_from([0, b.ETH_CORRELATED]),
)
def test_no_liquidation_of_an_aave_account_leaves_more(
    revision: int, weth: int, wbtc: int, usdc: int, dai: int, price: int, e_mode: int
) -> None:
    view = b.view(revision, prices={b.WETH: price})
    held = b.holdings(
        b.collateral(b.WETH, weth),
        b.collateral(b.WBTC, wbtc),
        b.debt(b.USDC, usdc),
        b.debt(b.DAI, dai),
        e_mode=e_mode,
    )
    found = view.assess(held)
    assert isinstance(found, Assessed), found
    assume(found.health_factor < WAD)

    assert all(one.profit <= most_profit(found) for one in view.liquidations(held))


@pytest.mark.parametrize("revision", REVISIONS)
@given(
    held=st.integers(1, 400),
    owed=st.integers(1, 400),
    percent=st.integers(80, 160),
)
def test_nor_does_one_of_a_few_raw_units(revision: int, held: int, owed: int, percent: int) -> None:
    # what is owed is worth `percent` of what is held; a raw unit of it some thousand base units
    price = held * 997 * 10**8 * percent // owed
    view = b.view(revision, prices={b.WBTC: price})
    dust = b.holdings(b.collateral(b.USDC, held * 997), b.debt(b.WBTC, owed))
    found = view.assess(dust)
    assert isinstance(found, Assessed), found
    assume(found.health_factor < WAD)

    assert all(one.profit <= most_profit(found) for one in view.liquidations(dust))


def test_it_is_the_bonus_on_all_of_the_debt_and_little_more() -> None:
    # 5 % of 20,408.00000000; raw units of WETH, USDC and DAI are worth less than a base unit,
    # but for USDC's, which is worth a hundred
    assert 1_020_40000000 <= most_profit(ASSESSED) <= 1_020_40000000 + 250


def test_the_greatest_bonus_counts() -> None:
    legs = (replace(ASSESSED.legs[0], liquidation_bonus=Bps(11_000)), *ASSESSED.legs[1:])

    assert most_profit(replace(ASSESSED, legs=legs)) >= 2_040_80000000


@dataclass
class Sizes(FakeMarket):
    """Notes that it was asked for pairs."""

    sized: list[int] = field(default_factory=list)

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        self.sized.append(1)
        return super().liquidations(holdings)


def test_below_the_floor_its_pairs_are_not_sized() -> None:
    view = Sizes(legal=(IN_USDC,))
    strict = Liquidate(min_profit=Base(most_profit(ASSESSED) + 1))

    decision = strict.decide(view, UNDER, ASSESSED, purse(RICH))

    assert refused(decision) == (
        "health factor 0.980 is below 1: profit of at most 1,020.40 USD is below the floor of"
        " 1,020.40 USD"
    )
    assert getattr(decision, "why", None) is Why.TOO_SMALL
    assert view.sized == []


def test_at_the_floor_they_are() -> None:
    exact = most_profit(ASSESSED)
    view = Sizes(legal=(replace(IN_USDC, profit=exact),))

    intent = acted(Liquidate(min_profit=exact).decide(view, UNDER, ASSESSED, purse(RICH)))

    assert intent.expected_profit == exact
    assert view.sized == [1]
