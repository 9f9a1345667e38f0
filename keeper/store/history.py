"""Health over time, and what was decided: what people are shown, never what is acted upon."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlmodel import col

from keeper.model import Address, Hash, MarketId, PositionId
from keeper.store.database import Database
from keeper.store.rows import base, wad
from keeper.store.tables import DecisionRow, HistoryRow, PriceRow, RehearsalRow, RoundRow
from keeper.store.whole import whole_class
from keeper.units import Base, Wad

_BATCH: Final = 5_000
"""Rows removed in one transaction, so that the journal never waits long for a prune."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPoint:
    """One position at one block; the amounts are None and `reason` says why when unknown."""

    position: PositionId
    block_number: int
    block_hash: Hash
    block_time: int
    """Chain seconds."""
    health_factor: Wad | None
    collateral: Base | None
    debt: Base | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthBucket:
    """A stretch of time, for charts: its last point, and how low and high it went."""

    at: int
    """Of its last point."""
    health: Wad | None
    """At its last point; None where it was unknown then."""
    lowest: Wad | None
    """The least that was known in it; None where it never was."""
    highest: Wad | None
    collateral: Base | None
    """At its last point, as the debt."""
    debt: Base | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """An act or a refusal."""

    position_text: str
    """``market:account``."""
    block_number: int
    block_time: int
    verdict: str
    """``act`` or ``refuse``."""
    intent_id: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """One price at one block; kept when it, its reference or what doubted it changed."""

    asset: Address
    symbol: str
    block_number: int
    block_time: int
    """Chain seconds."""
    price: Base | None
    reference: Base | None
    sources: str
    """Who made the reference, or why there is none."""
    causes: tuple[str, ...]
    reason: str

    @property
    def difference_bps(self) -> int | None:
        """How far the price is above (below: negative) its reference; None without one."""
        if self.price is None or not self.reference:
            return None
        return (self.price - self.reference) * 10_000 // self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPoint:
    """One feed at one block; kept when its answer or what is thought of it changed."""

    feed: Address
    description: str
    decimals: int
    block_number: int
    block_time: int
    """Chain seconds."""
    round_id: int | None
    answer: int | None
    """Signed, in the feed's decimals; None when it could not be read."""
    updated_at: int | None
    state: str
    cause: str
    """Of doubt; empty when usable."""
    reason: str


@whole_class
class SqlHistory:
    """Reads and prunes what passes left."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(
        self, position: PositionId, *, since: int = 0, limit: int = 1_000
    ) -> tuple[HealthPoint, ...]:
        """The last `limit` points at or after `since` (chain seconds), oldest first."""
        statement = (
            select(HistoryRow)
            .where(*_of(position), col(HistoryRow.block_time) >= since)
            .order_by(col(HistoryRow.block_number).desc())
            .limit(limit)
        )
        async with self._database.read("history.of") as session:
            return tuple(map(_point, await session.scalars(statement)))[::-1]

    async def newest(self, position: PositionId) -> int | None:
        """Chain seconds of the position's last point; None without any."""
        statement = select(func.max(col(HistoryRow.block_time))).where(*_of(position))
        async with self._database.read("history.newest") as session:
            return await session.scalar(statement)

    async def buckets(
        self, position: PositionId, *, since: int, buckets: int
    ) -> tuple[HealthBucket, ...]:
        """The time from `since` to the last point in at most `buckets` stretches, oldest first.

        Each is what was so at its end, so that the last one is what is so now, with the least and
        the greatest health factor of the stretch: neither a dip nor a rise is lost.
        """
        newest = await self.newest(position)
        if newest is None or newest < since:
            return ()
        width = max(1, -(-(newest - since + 1) // buckets))
        number = ((col(HistoryRow.block_time) - since) // width).label("bucket")
        stretch = (
            select(
                number,
                func.max(col(HistoryRow.block_number)).label("last"),
                func.min(col(HistoryRow.health_factor)).label("lowest"),
                func.max(col(HistoryRow.health_factor)).label("highest"),
            )
            .where(*_of(position), col(HistoryRow.block_time) >= since)
            .group_by("bucket")
            .subquery()
        )
        statement = (
            select(HistoryRow, stretch.c.lowest, stretch.c.highest)
            .join(stretch, col(HistoryRow.block_number) == stretch.c.last)
            .where(*_of(position))
            .order_by(col(HistoryRow.block_number))
        )
        async with self._database.read("history.buckets") as session:
            return tuple(
                HealthBucket(
                    at=row.block_time,
                    health=wad(row.health_factor),
                    lowest=wad(lowest),
                    highest=wad(highest),
                    collateral=base(row.collateral),
                    debt=base(row.debt),
                )
                for row, lowest, highest in await session.execute(statement)
            )

    async def latest(self, account: Address) -> tuple[HealthPoint, ...]:
        """The last point of the account in each market it was seen in."""
        newest = (
            select(
                col(HistoryRow.chain_id),
                col(HistoryRow.market),
                func.max(col(HistoryRow.block_number)).label("block_number"),
            )
            .where(col(HistoryRow.account) == account)
            .group_by(col(HistoryRow.chain_id), col(HistoryRow.market))
            .subquery()
        )
        statement = (
            select(HistoryRow)
            .join(
                newest,
                and_(
                    newest.c.chain_id == col(HistoryRow.chain_id),
                    newest.c.market == col(HistoryRow.market),
                    newest.c.block_number == col(HistoryRow.block_number),
                ),
            )
            .where(col(HistoryRow.account) == account)
            .order_by(col(HistoryRow.chain_id), col(HistoryRow.market))
        )
        async with self._database.read("history.latest") as session:
            return tuple(map(_point, await session.scalars(statement)))

    async def decisions(self, limit: int, account: Address | None = None) -> tuple[Decided, ...]:
        """The last acts and refusals, newest first; of one account if given."""
        statement = select(DecisionRow).order_by(col(DecisionRow.id).desc()).limit(limit)
        if account is not None:
            statement = statement.where(col(DecisionRow.account) == account)
        async with self._database.read("history.decisions") as session:
            return tuple(
                Decided(
                    position_text=f"{row.market}:{row.account}",
                    block_number=row.block_number,
                    block_time=row.block_time,
                    verdict=row.verdict,
                    intent_id=row.intent_id,
                    reason=row.reason,
                )
                for row in await session.scalars(statement)
            )

    async def prices(
        self, market: MarketId, *, asset: Address | None = None, since: int = 0, limit: int = 1_000
    ) -> tuple[PricePoint, ...]:
        """The last `limit` points at or after `since` (chain seconds), oldest first."""
        statement = (
            select(PriceRow)
            .where(
                col(PriceRow.chain_id) == market.chain_id,
                col(PriceRow.market) == market.name,
                col(PriceRow.block_time) >= since,
            )
            .order_by(col(PriceRow.block_number).desc(), col(PriceRow.asset))
            .limit(limit)
        )
        if asset is not None:
            statement = statement.where(col(PriceRow.asset) == asset)
        async with self._database.read("history.prices") as session:
            rows = tuple(await session.scalars(statement))
            return tuple(map(_price_point, rows))[::-1]

    async def rounds(
        self, chain_id: int, feed: Address, *, since: int = 0, limit: int = 1_000
    ) -> tuple[RoundPoint, ...]:
        """The last `limit` points of a feed at or after `since` (chain seconds), oldest first."""
        statement = (
            select(RoundRow)
            .where(
                col(RoundRow.chain_id) == chain_id,
                col(RoundRow.feed) == feed,
                col(RoundRow.block_time) >= since,
            )
            .order_by(col(RoundRow.block_number).desc())
            .limit(limit)
        )
        async with self._database.read("history.rounds") as session:
            return tuple(map(_round_point, await session.scalars(statement)))[::-1]

    async def feeds(self, chain_id: int) -> tuple[tuple[Address, str], ...]:
        """Every feed of the chain that has points, with what it calls itself, by name."""
        name = func.max(col(RoundRow.description))
        statement = (
            select(col(RoundRow.feed), name)
            .where(col(RoundRow.chain_id) == chain_id)
            .group_by(col(RoundRow.feed))
            .order_by(name, col(RoundRow.feed))
        )
        async with self._database.read("history.feeds") as session:
            return tuple((Address(feed), said) for feed, said in await session.execute(statement))

    async def assets(self, market: MarketId) -> tuple[tuple[Address, str], ...]:
        """Every asset of the market that has prices, with its symbol, by symbol."""
        symbol = func.max(col(PriceRow.symbol))
        statement = (
            select(col(PriceRow.asset), symbol)
            .where(col(PriceRow.chain_id) == market.chain_id, col(PriceRow.market) == market.name)
            .group_by(col(PriceRow.asset))
            .order_by(symbol, col(PriceRow.asset))
        )
        async with self._database.read("history.assets") as session:
            return tuple((Address(asset), said) for asset, said in await session.execute(statement))

    async def prune(self, before: int) -> int:
        """Forget health, prices, rounds, decisions, rehearsals older than `before` (chain seconds).

        The journal and the audit trail are never pruned.  Returns the number of rows removed.
        """
        removed = 0
        for table, age in (
            (HistoryRow, col(HistoryRow.block_time)),
            (PriceRow, col(PriceRow.block_time)),
            (RoundRow, col(RoundRow.block_time)),
            (DecisionRow, col(DecisionRow.block_time)),
            (RehearsalRow, col(RehearsalRow.decided_at)),
        ):
            while True:
                oldest = select(age).where(age < before).order_by(age).offset(_BATCH - 1).limit(1)
                async with self._database.write("history.prune") as session:
                    edge = (await session.execute(oldest)).scalar_one_or_none()
                    condition = age < before if edge is None else age <= edge
                    done = await session.execute(delete(table).where(condition))
                    removed += int(done.rowcount)  # type: ignore[attr-defined]  # a statement's CursorResult has it
                if edge is None:
                    break
        return removed


def _of(position: PositionId) -> tuple[ColumnElement[bool], ...]:
    return (
        col(HistoryRow.chain_id) == position.market.chain_id,
        col(HistoryRow.market) == position.market.name,
        col(HistoryRow.account) == position.account,
    )


def _point(row: HistoryRow) -> HealthPoint:
    market = MarketId(chain_id=row.chain_id, name=row.market, protocol=row.protocol)
    return HealthPoint(
        position=PositionId(market=market, account=Address(row.account)),
        block_number=row.block_number,
        block_hash=Hash(row.block_hash),
        block_time=row.block_time,
        health_factor=wad(row.health_factor),
        collateral=base(row.collateral),
        debt=base(row.debt),
        reason=row.reason,
    )


def _price_point(row: PriceRow) -> PricePoint:
    return PricePoint(
        asset=Address(row.asset),
        symbol=row.symbol,
        block_number=row.block_number,
        block_time=row.block_time,
        price=base(row.price),
        reference=base(row.reference),
        sources=row.sources,
        causes=tuple(cause for cause in row.causes.split(",") if cause),
        reason=row.reason,
    )


def _round_point(row: RoundRow) -> RoundPoint:
    return RoundPoint(
        feed=Address(row.feed),
        description=row.description,
        decimals=row.decimals,
        block_number=row.block_number,
        block_time=row.block_time,
        round_id=row.round_id,
        answer=int(row.answer) if row.answer else None,
        updated_at=row.updated_at,
        state=row.state,
        cause=row.cause,
        reason=row.reason,
    )
