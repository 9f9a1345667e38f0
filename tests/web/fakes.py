"""A status with something of everything in it, and one made of hostile words."""

from dataclasses import replace

from keeper.model import (
    Address,
    AlertLevel,
    Assessed,
    Asset,
    Attempt,
    BlockRef,
    Feed,
    FeedState,
    FeedVerdict,
    Fees,
    Hash,
    Intent,
    IntentKind,
    Liquidated,
    MarketId,
    OpenPlan,
    Plan,
    PositionId,
    PriceVerdict,
    Reckoned,
    Source,
    Taken,
    TxState,
    Unassessable,
)
from keeper.units import Base, Raw, Wad, Wei
from keeper.web.status import ActionStatus, ChainStatus, OracleStatus, PositionStatus, Status

NOW = 1_763_680_121
MARKET = MarketId(chain_id=1, name="aave-v3-ethereum", protocol="aave_v3")
BLOCK = BlockRef(
    number=21_400_117,
    hash=Hash("0x" + "b7" * 32),
    parent_hash=Hash("0x" + "b6" * 32),
    timestamp=NOW - 12,
)
USDC = Asset(address=Address("0x" + "d0" * 20), symbol="USDC", decimals=6)
WETH = Asset(address=Address("0x" + "e0" * 20), symbol="WETH", decimals=18)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x1b[2J"


def position(n: int) -> PositionId:
    return PositionId(market=MARKET, account=Address(f"0x{0x52 << 152 | n:040x}"))


def assessed(n: int, health_factor: int) -> Assessed:
    return Assessed(
        position=position(n),
        block=BLOCK,
        health_factor=Wad(health_factor),
        collateral=Base(25_000_00000000),
        debt=Base(19_438_10000000),
        legs=(),
    )


def unknown(n: int, reason: str) -> Unassessable:
    return Unassessable(position=position(n), block=BLOCK, reason=reason)


def oracle(asset: Asset, description: str, age_s: int, reason: str = "") -> OracleStatus:
    feed = Feed(
        address=Address("0x" + "fe" * 20),
        description=description,
        decimals=8,
        heartbeat_s=3_600,
        heartbeat_assumed=bool(reason),
    )
    verdict = FeedVerdict(
        feed=feed,
        block=BLOCK,
        state=FeedState.STALE if reason else FeedState.USABLE,
        reason=reason,
        answer=2_501_12345678,
        age_s=age_s,
    )
    source = Source(asset=asset, address=Address("0x" + "50" * 20), path=("feed",), feeds=(feed,))
    price = PriceVerdict(
        asset=asset, source=source, price=Base(2_501_12345678), feeds=(verdict,), reason=reason
    )
    return OracleStatus(market=MARKET.name, price=price)


def intent(kind: IntentKind = IntentKind.REPAY, asset: Asset = USDC) -> Intent:
    return Intent(
        intent_id="9bc9c47d79c7aa24",
        kind=kind,
        position=position(1),
        block=BLOCK,
        asset=asset,
        amount=Raw(2_938_100_000),
        value_at_risk=Base(971_00000000),
        health_before=Wad(1_061_060_494_595_665_214),
        reason="health factor 1.061 is below 1.100: repay 2,938.10 USDC to reach 1.500",
    )


def plan() -> OpenPlan:
    return OpenPlan(
        plan=Plan(
            intent=intent(),
            to=Address("0x" + "87" * 20),
            data=b"",
            gas_limit=400_000,
            max_fee_wei=Wei(10**11),
            deadline=NOW + 95,
        ),
        signer=Address("0x" + "4e" * 20),
        nonce=41,
        state=TxState.SENT,
        attempts=(
            Attempt(
                tx_hash=Hash("0x" + "12" * 32),
                raw=b"secret bytes",
                fees=Fees(max_fee_wei=Wei(1), priority_fee_wei=Wei(1)),
            ),
        ),
    )


def chain(**changes: object) -> ChainStatus:
    whole = ChainStatus(
        name="ethereum",
        chain_id=1,
        armed=True,
        head=BLOCK,
        head_age_s=3.25,
        max_head_age_s=60.0,
        watched=3,
        borrowers=41_208,
        positions=(
            PositionStatus(
                assessment=assessed(1, 1_061_060_494_595_665_214),
                level=AlertLevel.WARNING,
                label="main",
                decision="repay 2,938.10 USDC",
            ),
            PositionStatus(
                assessment=unknown(2, "USDC/USD: last answer 90314 s old, heartbeat is 86400 s"),
                level=AlertLevel.CLEAR,
                label="cold",
            ),
            PositionStatus(assessment=assessed(3, 10**18 - 1), level=AlertLevel.CRITICAL),
        ),
        oracles=(
            oracle(WETH, "ETH/USD", 41),
            oracle(
                USDC,
                "USDC/USD",
                90_314,
                "USDC/USD: last answer 90314 s old, heartbeat is 86400 s",
            ),
        ),
        plans=(plan(),),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def liquidation(reason: str = "it would revert") -> Reckoned:
    return Reckoned(
        liquidated=Liquidated(
            position=position(7),
            block=BLOCK,
            log_index=3,
            liquidator=Address("0x" + "f0" * 20),
            collateral=WETH,
            debt=USDC,
            covered=Raw(1_234_567_890),
            seized=Raw(4 * 10**17),
        ),
        taken=Taken.REFUSED,
        reason=reason,
        possible_after=BLOCK.number - 1,
        possible_by=BLOCK.number,
        seen_block=BLOCK.number,
        profit=Base(61_73000000),
    )


def status(**changes: object) -> Status:
    whole = Status(
        version="0.1.0",
        now=NOW,
        started_at=NOW - 8_000,
        chains=(chain(),),
        outbox_waiting=2,
        actions=(
            ActionStatus(
                at=NOW - 200,
                intent=intent(IntentKind.TOP_UP),
                outcome="confirmed",
                tx_hash=Hash("0x" + "77" * 32),
            ),
        ),
        liquidations=(liquidation(),),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def hostile() -> Status:
    """Every word that comes from outside says `HOSTILE`."""
    token = Asset(address=USDC.address, symbol=HOSTILE, decimals=6)
    evil = replace(
        intent(asset=token),
        reason=HOSTILE,
        position=replace(position(1), market=replace(MARKET, name=HOSTILE)),
    )
    sent = replace(plan(), plan=replace(plan().plan, intent=evil))
    return status(
        faults=(HOSTILE,),
        version=HOSTILE,
        chains=(
            chain(
                name=HOSTILE,
                positions=(
                    PositionStatus(
                        assessment=unknown(2, HOSTILE), level=AlertLevel.CLEAR, label=HOSTILE
                    ),
                    PositionStatus(
                        assessment=assessed(3, 10**18),
                        level=AlertLevel.INFO,
                        label=HOSTILE,
                        decision=HOSTILE,
                    ),
                ),
                oracles=(oracle(token, HOSTILE, 41, HOSTILE),),
                plans=(sent,),
            ),
        ),
        actions=(ActionStatus(at=NOW, intent=evil, outcome=HOSTILE),),
        liquidations=(liquidation(HOSTILE),),
    )
