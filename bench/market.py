"""A made-up Aave v3 market of any number of reserves, in the product's own types.

Prices, decimals, indices, rates and thresholds are drawn by a seed; nothing is round.
"""

import random
from dataclasses import dataclass
from typing import Final

from keeper.model import Address, Asset, BlockRef, Hash, MarketId
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.market import (
    Configuration,
    EMode,
    Market,
    Observed,
    Reserve,
    ReserveState,
)
from keeper.protocols.aave_v3.rules import rules_for
from keeper.protocols.aave_v3.view import View
from keeper.units import RAY, Base, Bps

NOW: Final = 1_763_680_121
BLOCK: Final = BlockRef(
    number=21_400_117,
    hash=Hash("0x" + "b7" * 32),
    parent_hash=Hash("0x" + "b6" * 32),
    timestamp=NOW,
)
PROVIDER: Final = Address("0x" + "aa" * 20)
E_MODES: Final = 3
DECIMALS: Final = (6, 8, 18, 18, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The market and one reading of it; `at` moves the prices."""

    market: Market
    observed: Observed
    adapter: AaveV3

    def view(self, prices: tuple[Base, ...] | None = None) -> View:
        """The market at `BLOCK`, at its own prices or at these, by reserve id."""
        observed = self.observed
        if prices is not None:
            observed = Observed(
                reserves=observed.reserves,
                prices=prices,
                e_mode_prices={},
                liquidations_allowed=True,
                holdings=(),
                unreadable=(),
            )
        return self.adapter.view(self.market, observed, BLOCK, {})


def make(reserves: int = 50, revision: int = 10, number: int = 1) -> Made:
    """Return the market that `number` draws, by the arithmetic of a POOL_REVISION."""
    chance = random.Random(number)
    id_ = MarketId(chain_id=31337, name="bench", protocol="aave_v3")
    states, prices, listed = [], [], []
    for i in range(reserves):
        decimals = chance.choice(DECIMALS)
        listed.append(
            Reserve(
                id=i,
                asset=Asset(address=_address(1, i), symbol=f"T{i}", decimals=decimals),
                a_token=_address(2, i),
                debt_token=_address(3, i),
                stable_debt_token=None,
                source=_address(4, i),
            )
        )
        prices.append(Base(int(10 ** chance.uniform(6.5, 13.1))))
        states.append(_state(chance, i, decimals))
    market = Market(
        id=id_,
        provider=PROVIDER,
        pool=_address(5, 0),
        configurator=_address(5, 1),
        oracle=_address(5, 2),
        sentinel=None,
        rules=rules_for(revision),
        base_unit=10**8,
        flash_loan_premium=Bps(5),
        reserves=tuple(listed),
        e_modes={
            number: EMode(
                id=number,
                label=f"mode {number}",
                liquidation_threshold=Bps(9_300 + 50 * number),
                liquidation_bonus=Bps(10_100),
                collateral_bitmap=sum(1 << i for i in range(number, reserves, 7)),
                price_source=None,
            )
            for number in range(1, E_MODES + 1)
        },
    )
    observed = Observed(
        reserves=tuple(states),
        prices=tuple(prices),
        e_mode_prices={},
        liquidations_allowed=True,
        holdings=(),
        unreadable=(),
    )
    return Made(market=market, observed=observed, adapter=AaveV3(id_, PROVIDER))


def _state(chance: random.Random, i: int, decimals: int) -> ReserveState:
    threshold = chance.randint(4_000, 8_900)
    return ReserveState(
        id=i,
        configuration=Configuration(
            ltv=Bps(threshold - 300),
            liquidation_threshold=Bps(threshold),
            liquidation_bonus=Bps(10_000 + chance.randint(100, 1_100)),
            decimals=decimals,
            active=True,
            frozen=False,
            paused=False,
            supply_cap=0,
            reserve_factor=Bps(1_500),
            protocol_fee=Bps(1_000),
            e_mode=1 + i % 7 if 1 <= i % 7 <= E_MODES else 0,
        ),
        liquidity_index=RAY + chance.randrange(RAY // 2),
        liquidity_rate=chance.randrange(RAY // 10),
        debt_index=RAY + chance.randrange(RAY),
        debt_rate=chance.randrange(RAY // 8),
        updated_at=NOW - chance.randint(1, 90_000),
        accrued_to_treasury=0,
        scaled_supply=10**30,
        scaled_debt=0,
        stable_interest=0,
    )


def _address(kind: int, i: int) -> Address:
    return Address(f"0x{kind:08x}{i:032x}")
