"""Values with ugly numbers, so that a mixed-up field shows."""

from dataclasses import dataclass, replace
from typing import Any

from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    Asset,
    Attempt,
    BlockRef,
    Fees,
    Hash,
    Intent,
    IntentKind,
    Liquidated,
    MarketId,
    Message,
    Plan,
    PositionId,
    Receipt,
    Reckoned,
    Severity,
    Taken,
    Unassessable,
    Watch,
)
from keeper.units import UINT256_MAX, Base, Raw, Wad, Wei

MARKET = MarketId(chain_id=31337, name="aave-v3-local", protocol="aave_v3")
SIGNER = Address("0x" + "5e" * 20)


@dataclass(slots=True)
class Clock:
    """The machine's clock, as a test wants it."""

    at: float = 1_795_000_000.125

    def __call__(self) -> float:
        return self.at


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


def hash_(number: int) -> Hash:
    return Hash(f"0x{number:064x}")


def block(number: int = 21_034_511, *, fork: int = 0) -> BlockRef:
    return BlockRef(
        number=number,
        hash=hash_(number * 1000 + fork),
        parent_hash=hash_((number - 1) * 1000),
        timestamp=1_794_900_000 + 12 * number,
        base_fee_wei=Wei(17_123_456_789),
    )


def position(account: int = 0xA11CE) -> PositionId:
    return PositionId(market=MARKET, account=address(account))


def intent(name: str = "i-1", account: int = 0xA11CE, **changes: Any) -> Intent:
    made = Intent(
        intent_id=name,
        kind=IntentKind.LIQUIDATE,
        position=position(account),
        block=block(),
        asset=Asset(address=address(0xDA1), symbol="USDC\u202e\x00\ud800", decimals=6),
        amount=Raw(2_938_100_001),
        collateral=Asset(address=address(0x3E7), symbol="WETH", decimals=18),
        value_at_risk=Base(1_943_810_000_001),
        expected_profit=Base(4_711_003),
        health_before=Wad(973_210_000_000_000_001),
        reason="health factor 0.973 is below 1",
    )
    return replace(made, **changes)


def plan(name: str = "i-1", account: int = 0xA11CE, **changes: Any) -> Plan:
    made = Plan(
        intent=intent(name, account),
        to=address(0x9001),
        data=b"\x00\x01\xff" * 33,
        gas_limit=431_007,
        max_fee_wei=Wei(60_000_000_007),
        deadline=1_794_999_999,
        spends=Base(293_810_000_009),
    )
    return replace(made, **changes)


def attempt(number: int = 1) -> Attempt:
    return Attempt(
        tx_hash=hash_(0x7A0000 + number),
        raw=b"\x02\xf8" + bytes([number]) * 110,
        fees=Fees(max_fee_wei=Wei(30_000_000_001 + number), priority_fee_wei=Wei(1_000_000_007)),
    )


def receipt(number: int = 1, *, succeeded: bool = True, at: int = 21_034_513) -> Receipt:
    return Receipt(
        tx_hash=hash_(0x7A0000 + number),
        block_number=at,
        block_hash=hash_(at * 1000),
        succeeded=succeeded,
        gas_used=311_113,
        effective_gas_price_wei=Wei(18_000_000_011),
    )


def message(key: str = "k-1", **changes: Any) -> Message:
    made = Message(
        key=key,
        chat="telegram:12345",
        severity=Severity.WARNING,
        text=f"main: health factor 1.142 ({key})",
        kind="fired",
    )
    return replace(made, **changes)


def assessed(
    health: int = 1_042_000_000_000_000_007, account: int = 0xA11CE, at: BlockRef | None = None
) -> Assessed:
    return Assessed(
        position=position(account),
        block=at or block(),
        health_factor=Wad(health),
        collateral=Base(2_500_000_000_003),
        debt=Base(1_943_810_000_001),
        legs=(),
    )


def unassessable(reason: str, account: int = 0xA11CE, at: BlockRef | None = None) -> Unassessable:
    return Unassessable(position=position(account), block=at or block(), reason=reason)


def alert(level: AlertLevel = AlertLevel.WARNING, **changes: Any) -> AlertState:
    made = AlertState(
        chat="telegram:12345",
        rule="health",
        subject=str(position()),
        level=level,
        fired_at=1_794_900_012,
        said_at=1_794_900_024,
        said_health=Wad(1_142_000_000_000_000_003),
        lowest=Wad(1_131_000_000_000_000_009),
        clear_since=None,
        serial=3,
    )
    return replace(made, **changes)


def watch(account: int = 0xA11CE, label: str = "main", **changes: Any) -> Watch:
    made = Watch(chat="telegram:12345", account=address(account), label=label)
    return replace(made, **changes)


def liquidation(
    log_index: int = 3, *, at: BlockRef | None = None, taken: Taken = Taken.LATE, **changes: Any
) -> Reckoned:
    at = at or block()
    made = Reckoned(
        liquidated=Liquidated(
            position=position(),
            block=at,
            log_index=log_index,
            liquidator=address(0xF0E),
            collateral=Asset(address=address(0x3E7), symbol="WETH\u202e", decimals=18),
            debt=Asset(address=address(0xDA1), symbol="USDC", decimals=6),
            covered=Raw(2_938_100_001),
            seized=Raw(UINT256_MAX),
        ),
        taken=taken,
        reason="ours was sent at block 7 with nonce 3; theirs was first",
        possible_after=at.number - 3,
        possible_by=at.number - 1,
        seen_block=at.number - 1,
        profit=Base(14_713_000_009),
        expected=Base(13_000_000_007),
        intent_id="i-1",
    )
    return replace(made, **changes)
