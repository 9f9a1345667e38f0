"""What the devnet's market looks like: reserves, feeds, rates and exchange pools, as data.

Risk parameters resemble those of Aave's Ethereum market; prices are ugly on purpose.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

FEED_DECIMALS: Final = 8
LST_RATIO: Final = Decimal("1.187306412291834507")
"""ETH per staked token at the start."""
LST_YEARLY_GROWTH_BPS: Final = 968
"""How fast the adapter's cap grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSpec:
    """One feed."""

    name: str
    price: Decimal
    heartbeat_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveSpec:
    """One reserve."""

    symbol: str
    name: str
    decimals: int
    feed: str
    ltv_bps: int
    liquidation_threshold_bps: int
    liquidation_bonus_bps: int
    reserve_factor_bps: int
    supply_cap: int
    """Whole tokens."""
    borrow_cap: int
    rates_bps: tuple[int, int, int, int]
    """Optimal usage, base rate, slope below it, slope above it."""
    borrowable: bool = True
    borrowable_in_isolation: bool = False
    debt_ceiling_usd: int = 0
    """Greater than 0 makes the collateral isolated."""
    liquidity_usd: int
    """What the whale lends out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """One Uniswap v3 pool with liquidity over the whole range."""

    a: str
    b: str
    fee: int
    side_usd: int
    """Value of either side."""


FEEDS: Final = (
    FeedSpec(name="ETH/USD", price=Decimal("3512.37281953"), heartbeat_s=3_600),
    FeedSpec(name="BTC/USD", price=Decimal("97431.55102"), heartbeat_s=3_600),
    FeedSpec(name="USDC/USD", price=Decimal("0.99991873"), heartbeat_s=86_400),
    FeedSpec(name="DAI/USD", price=Decimal("1.00012904"), heartbeat_s=3_600),
    FeedSpec(name="XIS/USD", price=Decimal("7.43091126"), heartbeat_s=86_400),
)

RESERVES: Final = (
    ReserveSpec(
        symbol="WETH",
        name="Wrapped Ether",
        decimals=18,
        feed="ETH/USD",
        ltv_bps=8_050,
        liquidation_threshold_bps=8_300,
        liquidation_bonus_bps=10_500,
        reserve_factor_bps=1_500,
        supply_cap=3_000_000,
        borrow_cap=2_700_000,
        rates_bps=(9_000, 0, 270, 8_000),
        liquidity_usd=400_000_000,
    ),
    ReserveSpec(
        symbol="wstETH",
        name="Wrapped staked Ether",
        decimals=18,
        feed="ETH/USD",
        ltv_bps=7_850,
        liquidation_threshold_bps=8_100,
        liquidation_bonus_bps=10_600,
        reserve_factor_bps=500,
        supply_cap=1_500_000,
        borrow_cap=240_000,
        rates_bps=(8_000, 0, 450, 8_500),
        liquidity_usd=100_000_000,
    ),
    ReserveSpec(
        symbol="WBTC",
        name="Wrapped BTC",
        decimals=8,
        feed="BTC/USD",
        ltv_bps=7_300,
        liquidation_threshold_bps=7_800,
        liquidation_bonus_bps=10_500,
        reserve_factor_bps=5_000,
        supply_cap=43_000,
        borrow_cap=28_000,
        rates_bps=(4_500, 0, 400, 30_000),
        liquidity_usd=200_000_000,
    ),
    ReserveSpec(
        symbol="USDC",
        name="USD Coin",
        decimals=6,
        feed="USDC/USD",
        ltv_bps=7_500,
        liquidation_threshold_bps=7_800,
        liquidation_bonus_bps=10_450,
        reserve_factor_bps=1_000,
        supply_cap=5_000_000_000,
        borrow_cap=4_500_000_000,
        rates_bps=(9_200, 0, 550, 4_000),
        borrowable_in_isolation=True,
        liquidity_usd=500_000_000,
    ),
    ReserveSpec(
        symbol="DAI",
        name="Dai Stablecoin",
        decimals=18,
        feed="DAI/USD",
        ltv_bps=6_300,
        liquidation_threshold_bps=7_700,
        liquidation_bonus_bps=10_500,
        reserve_factor_bps=2_500,
        supply_cap=338_000_000,
        borrow_cap=271_000_000,
        rates_bps=(9_200, 0, 550, 7_500),
        borrowable_in_isolation=True,
        liquidity_usd=200_000_000,
    ),
    ReserveSpec(
        symbol="XIS",
        name="An isolated token",
        decimals=18,
        feed="XIS/USD",
        ltv_bps=5_800,
        liquidation_threshold_bps=6_100,
        liquidation_bonus_bps=11_000,
        reserve_factor_bps=2_000,
        supply_cap=40_000_000,
        borrow_cap=1,
        rates_bps=(4_500, 0, 700, 30_000),
        borrowable=False,
        debt_ceiling_usd=20_000_000,
        liquidity_usd=0,
    ),
)

LST: Final = "wstETH"
"""The reserve that is priced through the ratio adapter."""

E_MODE: Final = 1
E_MODE_LABEL: Final = "ETH correlated"
E_MODE_SYMBOLS: Final = ("WETH", "wstETH")
E_MODE_BPS: Final = (9_300, 9_500, 10_100)
"""LTV, liquidation threshold, liquidation bonus of the category."""

FLASH_LOAN_PREMIUM_BPS: Final = 5
LIQUIDATION_PROTOCOL_FEE_BPS: Final = 1_000

POOLS: Final = (
    PoolSpec(a="WETH", b="USDC", fee=500, side_usd=400_000_000),
    PoolSpec(a="WETH", b="DAI", fee=3_000, side_usd=150_000_000),
    PoolSpec(a="wstETH", b="WETH", fee=500, side_usd=400_000_000),
    PoolSpec(a="WBTC", b="WETH", fee=3_000, side_usd=250_000_000),
    PoolSpec(a="WBTC", b="USDC", fee=3_000, side_usd=250_000_000),
    PoolSpec(a="USDC", b="DAI", fee=500, side_usd=300_000_000),
    PoolSpec(a="XIS", b="USDC", fee=3_000, side_usd=60_000_000),
)


def reserve(symbol: str) -> ReserveSpec:
    """The reserve's specification."""
    return next(spec for spec in RESERVES if spec.symbol == symbol)


def start_price(symbol: str) -> Decimal:
    """Dollars a whole token at the start, the ratio of the staked one included."""
    price = next(feed.price for feed in FEEDS if feed.name == reserve(symbol).feed)
    return price * LST_RATIO if symbol == LST else price


def raw(symbol: str, usd: Decimal | int) -> int:
    """Raw units worth `usd` dollars at the start, floored."""
    return int(Decimal(usd) / start_price(symbol) * 10 ** reserve(symbol).decimals)
