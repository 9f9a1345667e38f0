"""Ugly but valid things to alert about."""

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    Asset,
    BlockRef,
    Feed,
    FeedState,
    FeedVerdict,
    Hash,
    Intent,
    IntentKind,
    Leg,
    MarketId,
    Plan,
    PositionId,
    PriceVerdict,
    Receipt,
    Side,
    Source,
    Unassessable,
    Watch,
)
from keeper.units import UINT256_MAX, Base, Bps, Raw, Wad, Wei

MARKET = MarketId(chain_id=1, name="aave-v3-ethereum", protocol="aave_v3")
OTHER_MARKET = MarketId(chain_id=1, name="aave-v3-ethereum-prime", protocol="aave_v3")
ME = Address("0x52ab" + "0" * 32 + "9f01")
YOU = Address("0x7777" + "0" * 32 + "7777")
CHAT = "telegram:4711"
OPERATOR = "telegram:1"
T0 = 1_795_000_003

USDC = Asset(address=Address("0x" + "a0" * 20), symbol="USDC", decimals=6)
WETH = Asset(address=Address("0x" + "c0" * 20), symbol="WETH", decimals=18)
WSTETH = Asset(address=Address("0x" + "7f" * 20), symbol="wstETH", decimals=18)
ETH_USD = Feed(
    address=Address("0x" + "5f" * 20), description="ETH / USD", decimals=8, heartbeat_s=3600
)
USDC_USD = Feed(
    address=Address("0x" + "8f" * 20), description="USDC / USD", decimals=8, heartbeat_s=86_400
)


def wad(decimal: str) -> Wad:
    whole, _, fraction = decimal.partition(".")
    return Wad(int(whole) * 10**18 + int(fraction.ljust(18, "0")[:18] or 0))


def block(at: int = T0, *, fork: int = 0) -> BlockRef:
    number = 21_034_511 + (at - T0) // 12
    return BlockRef(
        number=number,
        hash=Hash(f"0x{number:032x}{fork:032x}"),
        parent_hash=Hash(f"0x{number - 1:064x}"),
        timestamp=at,
    )


def position(account: Address = ME, market: MarketId = MARKET) -> PositionId:
    return PositionId(market=market, account=account)


def leg(
    asset: Asset, side: Side, value_usd: int, price: int, threshold: int = 0, reserve: int = 0
) -> Leg:
    return Leg(
        side=side,
        reserve=reserve,
        asset=asset,
        balance=Raw(value_usd * 10 ** (8 + asset.decimals) // price),
        value=Base(value_usd * 10**8),
        price=Base(price),
        liquidation_threshold=Bps(threshold),
        liquidation_bonus=Bps(10_500 if threshold else 0),
    )


def assessed(
    health: Wad,
    *,
    at: int = T0,
    account: Address = ME,
    market: MarketId = MARKET,
    legs: tuple[Leg, ...] = (),
    fork: int = 0,
) -> Assessed:
    return Assessed(
        position=position(account, market),
        block=block(at, fork=fork),
        health_factor=health,
        collateral=Base(25_000_12345678),
        debt=Base(0 if health == UINT256_MAX else 19_438_10000000),
        legs=legs,
    )


def unassessable(
    reason: str, *, at: int = T0, account: Address = ME, market: MarketId = MARKET
) -> Unassessable:
    return Unassessable(position=position(account, market), block=block(at), reason=reason)


def feed_verdict(
    feed: Feed,
    state: FeedState = FeedState.USABLE,
    *,
    age_s: int = 14,
    answer: int = 2501_37000000,
    at: int = T0,
) -> FeedVerdict:
    reason = ""
    if state is not FeedState.USABLE:
        name = feed.description
        reason = f"{name}: last answer {age_s} s old, heartbeat is {feed.heartbeat_s} s"
    return FeedVerdict(
        feed=feed, block=block(at), state=state, reason=reason, answer=answer, age_s=age_s
    )


def price(asset: Asset, *feeds: FeedVerdict, reason: str = "") -> PriceVerdict:
    bad = next((feed.reason for feed in feeds if feed.reason), "")
    return PriceVerdict(
        asset=asset,
        source=Source(
            asset=asset,
            address=Address("0x" + "11" * 20),
            path=(),
            feeds=tuple(feed.feed for feed in feeds),
        ),
        price=Base(2501_37000000),
        feeds=feeds,
        reason=reason or bad,
    )


def watch(
    label: str = "main", *, chat: str = CHAT, account: Address = ME, own: bool = False
) -> Watch:
    return Watch(
        chat=chat, account=account, label=label, thresholds=DEFAULT_THRESHOLDS if own else None
    )


def state(
    level: AlertLevel,
    *,
    rule: str = "health",
    subject: str | None = None,
    chat: str = CHAT,
    said: Wad | None = None,
    at: int = T0,
) -> AlertState:
    return AlertState(
        chat=chat,
        rule=rule,
        subject=str(position()) if subject is None else subject,
        level=level,
        fired_at=at,
        said_at=at,
        said_health=said,
        lowest=said,
        serial=1,
    )


def intent(
    kind: IntentKind,
    asset: Asset = USDC,
    amount: int = 14_600_123456,
    collateral: Asset | None = None,
) -> Intent:
    return Intent(
        intent_id="i-7f3a",
        kind=kind,
        position=position(),
        block=block(),
        asset=asset,
        amount=Raw(amount),
        collateral=collateral,
        value_at_risk=Base(1),
        health_before=wad("1.0439"),
        reason="below 1.05",
    )


def plan(of: Intent) -> Plan:
    return Plan(
        intent=of,
        to=Address("0x" + "87" * 20),
        data=b"",
        gas_limit=400_000,
        max_fee_wei=Wei(10**11),
        deadline=T0 + 120,
    )


RECEIPT = Receipt(
    tx_hash=Hash("0x12" + "0" * 58 + "cdef"),
    block_number=21_034_512,
    block_hash=Hash("0x" + "2" * 64),
    succeeded=True,
    gas_used=213_456,
    effective_gas_price_wei=Wei(14_400_000_001),
)
