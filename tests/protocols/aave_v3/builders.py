"""Small markets of known numbers, and a way to drive `Steps` without a chain."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from keeper.model import (
    Address,
    Asset,
    BlockRef,
    Call,
    CallResult,
    Entry,
    Hash,
    Holdings,
    MarketId,
    Side,
)
from keeper.ports import Steps
from keeper.protocols.aave_v3.market import (
    Configuration,
    EMode,
    Market,
    Observed,
    Reserve,
    ReserveState,
)
from keeper.protocols.aave_v3.rules import rules_for
from keeper.protocols.aave_v3.view import View, bind
from keeper.units import RAY, Base, Bps

T = TypeVar("T")

NOW = 1_795_219_200
MARKET = MarketId(chain_id=1, name="aave-v3-test", protocol="aave_v3")
BLOCK = BlockRef(
    number=21_400_117,
    hash=Hash("0x" + "ab" * 32),
    parent_hash=Hash("0x" + "cd" * 32),
    timestamp=NOW,
)
ALICE = Address("0x52aa899454998be5b000ad077a46bbe360f4e49f")
BOB = Address("0x" + "b0" * 20)
POOL = Address("0x" + "0f" * 20)

WETH, WBTC, USDC, DAI, GAP, LST = 0, 1, 2, 3, 4, 5
"""Reserve ids; 4 is a gap where a reserve was dropped."""
ETH_CORRELATED = 7


def number(n: int) -> Address:
    return Address(f"0x{n:040x}")


def reserve(reserve_id: int, symbol: str, decimals: int) -> Reserve:
    return Reserve(
        id=reserve_id,
        asset=Asset(address=number(0xA00 + reserve_id), symbol=symbol, decimals=decimals),
        a_token=number(0xB00 + reserve_id),
        debt_token=number(0xC00 + reserve_id),
        stable_debt_token=None,
        source=number(0xD00 + reserve_id),
    )


RESERVES = (
    reserve(WETH, "WETH", 18),
    reserve(WBTC, "WBTC", 8),
    reserve(USDC, "USDC", 6),
    reserve(DAI, "DAI", 18),
    reserve(LST, "wstETH", 18),
)


def market(revision: int = 10, **changes: Any) -> Market:
    rules = rules_for(revision)
    made = Market(
        id=MARKET,
        provider=number(0xF1),
        pool=POOL,
        configurator=number(0xF2),
        oracle=number(0xF3),
        sentinel=None,
        rules=rules,
        base_unit=10**8,
        flash_loan_premium=Bps(5),
        reserves=RESERVES,
        e_modes={
            ETH_CORRELATED: EMode(
                id=ETH_CORRELATED,
                label="ETH correlated",
                liquidation_threshold=Bps(9_500),
                liquidation_bonus=Bps(10_100),
                collateral_bitmap=1 << WETH | 1 << LST if rules.e_mode_bitmaps else 0,
                price_source=None,
            )
        },
    )
    return replace(made, **changes)


def configuration(threshold: int, bonus: int, decimals: int, **changes: Any) -> Configuration:
    made = Configuration(
        ltv=Bps(max(0, threshold - 300)),
        liquidation_threshold=Bps(threshold),
        liquidation_bonus=Bps(bonus),
        decimals=decimals,
        active=True,
        frozen=False,
        paused=False,
        supply_cap=0,
        reserve_factor=Bps(1_000),
        protocol_fee=Bps(1_000),
        e_mode=0,
    )
    return replace(made, **changes)


def state(reserve_id: int, config: Configuration, **changes: Any) -> ReserveState:
    made = ReserveState(
        id=reserve_id,
        configuration=config,
        liquidity_index=RAY * 1_043_217 // 1_000_000 + reserve_id,
        liquidity_rate=RAY * 21 // 1_000,
        debt_index=RAY * 1_061_113 // 1_000_000 + reserve_id,
        debt_rate=RAY * 37 // 1_000,
        updated_at=NOW - 4_321,
        accrued_to_treasury=10**15 + 7,
        scaled_supply=10**24,
        scaled_debt=0,
        stable_interest=0,
    )
    return replace(made, **changes)


CONFIGURATIONS: Mapping[int, Configuration] = {
    WETH: configuration(8_300, 10_500, 18, e_mode=ETH_CORRELATED),
    WBTC: configuration(7_800, 10_625, 8),
    USDC: configuration(7_811, 10_450, 6),
    DAI: configuration(7_700, 10_500, 18),
    LST: configuration(8_100, 10_600, 18, e_mode=ETH_CORRELATED),
}
PRICES: Mapping[int, int] = {
    WETH: 351_237_281_953,
    WBTC: 9_743_155_102_000,
    USDC: 99_991_873,
    DAI: 100_012_904,
    LST: 417_026_302_117,
}


def observed(
    of: Market,
    prices: Mapping[int, int | None] | None = None,
    states: Mapping[int, ReserveState] | None = None,
    **changes: Any,
) -> Observed:
    asked: Mapping[int, int | None] = {**PRICES, **(prices or {})}
    by_id: list[Base | None] = [None] * of.id_bound
    for r in of.reserves:
        price = asked[r.id]
        by_id[r.id] = None if price is None else Base(price)
    made = Observed(
        reserves=tuple(
            (states or {}).get(r.id) or state(r.id, CONFIGURATIONS[r.id]) for r in of.reserves
        ),
        prices=tuple(by_id),
        e_mode_prices={},
        liquidations_allowed=True,
        holdings=(),
        unreadable=(),
    )
    return replace(made, **changes)


def view(
    revision: int = 10,
    prices: Mapping[int, int | None] | None = None,
    unusable: Mapping[int, str] | None = None,
    states: Mapping[int, ReserveState] | None = None,
    block: BlockRef = BLOCK,
) -> View:
    of = market(revision)
    return bind(of, observed(of, prices, states), block, unusable or {})


def collateral(reserve_id: int, scaled: int) -> Entry:
    return Entry(reserve=reserve_id, side=Side.COLLATERAL, scaled=scaled)


def debt(reserve_id: int, scaled: int) -> Entry:
    return Entry(reserve=reserve_id, side=Side.DEBT, scaled=scaled)


def holdings(*entries: Entry, account: Address = ALICE, e_mode: int = 0) -> Holdings:
    return Holdings(account=account, e_mode=e_mode, entries=tuple(entries))


def drive(steps: Steps[T], answer: Callable[[Call], CallResult]) -> tuple[T, list[int]]:
    """Run `steps` to its end; return its result and the size of each batch."""
    sizes: list[int] = []
    try:
        batch = next(steps)
        while True:
            sizes.append(len(batch))
            batch = steps.send(tuple(answer(call) for call in batch))
    except StopIteration as ended:
        result: T = ended.value
        return result, sizes
