"""Prices over time."""

from dataclasses import replace

from keeper.engine.prices import PriceLog
from keeper.model import (
    Asset,
    Cause,
    PassRecord,
    PriceVerdict,
    Quote,
    Reference,
    Source,
    Stance,
    Suspicion,
)
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.records import SqlRecords
from keeper.units import UINT256_MAX, Base
from tests.store.builders import MARKET, address, block

USDC = Asset(address=address(0x05DC), symbol="US\x00DC", decimals=6)


def verdict(price: int | None = 99_910_000, reference: int | None = 87_400_000) -> PriceVerdict:
    quotes = (Quote(source="kraken", price=Base(1)), Quote(source="coinbase", price=Base(1)))
    return PriceVerdict(
        asset=USDC,
        source=Source(asset=USDC, address=address(1), path=(), feeds=()),
        price=None if price is None else Base(price),
        feeds=(),
        reason="",
        suspicions=(
            Suspicion(
                cause=Cause.DISAGREES,
                stance=Stance.HOLD_LIQUIDATIONS,
                reason="USDC: the reference disagrees",
            ),
        ),
        reference=Reference(
            price=None if reference is None else Base(reference),
            quotes=quotes,
            reason="" if reference else "they contradict one another",
        ),
    )


async def test_a_price_and_its_reference_come_back(database: Database) -> None:
    await SqlRecords(database).record(PassRecord(block=block(), prices=((MARKET, verdict()),)))

    (point,) = await SqlHistory(database).prices(MARKET, asset=USDC.address)
    assert (point.price, point.reference) == (99_910_000, 87_400_000)
    # 99.91 / 87.40 - 1 = 14.3135 %
    assert point.difference_bps == 1_431
    assert point.sources == "kraken, coinbase"
    assert (point.causes, point.reason) == (("disagrees",), "USDC: the reference disagrees")


async def test_what_is_unknown_stays_unknown(database: Database) -> None:
    unknown = replace(verdict(None, None), suspicions=())
    huge = replace(verdict(UINT256_MAX), asset=replace(USDC, address=address(7)))
    record = PassRecord(block=block(), prices=((MARKET, unknown), (MARKET, huge)))
    await SqlRecords(database).record(record)

    points = {p.asset: p for p in await SqlHistory(database).prices(MARKET)}
    blind = points[USDC.address]
    assert (blind.price, blind.reference, blind.difference_bps) == (None, None, None)
    assert (blind.causes, blind.sources) == ((), "they contradict one another")
    assert points[address(7)].price == UINT256_MAX


async def test_old_prices_are_forgotten(database: Database) -> None:
    await SqlRecords(database).record(PassRecord(block=block(), prices=((MARKET, verdict()),)))

    assert await SqlHistory(database).prune(block().timestamp + 1) == 1
    assert await SqlHistory(database).prices(MARKET) == ()


def test_only_what_says_something_new_is_kept() -> None:
    log = PriceLog()
    at = block()

    def kept(after_s: int, **changes: object) -> bool:
        later = replace(at, timestamp=at.timestamp + after_s)
        seen = replace(verdict(), **changes)  # type: ignore[arg-type]
        return bool(log.worth_keeping(MARKET, later, (seen,)))

    nearby = Reference(price=Base(87_470_000), quotes=())  # 8 bps: 1,422
    further = Reference(price=Base(87_500_000), quotes=())  # 13 bps: 1,418
    assert kept(0)
    assert not kept(12)
    assert not kept(24, reference=nearby)
    assert kept(36, reference=further)
    assert kept(48, suspicions=())
    assert not kept(60, suspicions=())
    assert kept(72, reference=None)
    assert not kept(72 + 3_599, reference=None)
    assert kept(72 + 3_600, reference=None)
    there = verdict().price or 0
    assert not kept(72 + 3_612, reference=None, price=Base(there * 1_009 // 1_000))
    assert kept(72 + 3_624, reference=None, price=Base(there * 98 // 100))
