"""Liquidations on chain with the account of each: the rows of ``keeper misses``."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select
from sqlmodel import col

from keeper.model import BlockRef, Hash, Reckoned, Taken
from keeper.store.database import Database
from keeper.store.documents import document, read_document
from keeper.store.tables import LiquidationRow, MetaRow
from keeper.store.whole import whole_class
from keeper.units import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Everything that is known, in a few numbers."""

    counts: tuple[tuple[Taken, int], ...]
    """By whose or why, the most frequent first."""
    profit_of_others: Base
    """Sum over those that were not ours and whose profit is known, before gas; losses count 0."""


@whole_class
class SqlLiquidations:
    """Reads what `SqlRecords.record` wrote, of every chain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(
        self, limit: int, *, since: int = 0, others_only: bool = False
    ) -> tuple[Reckoned, ...]:
        """The last `limit` at or after chain second `since`, the newest first."""
        statement = (
            select(LiquidationRow)
            .where(col(LiquidationRow.block_time) >= since)
            .order_by(
                col(LiquidationRow.block_time).desc(),
                col(LiquidationRow.block_number).desc(),
                col(LiquidationRow.log_index).desc(),
            )
            .limit(limit)
        )
        if others_only:
            statement = statement.where(col(LiquidationRow.taken) != str(Taken.OURS))
        async with self._database.read("liquidations.last") as session:
            return tuple(map(reckoned, await session.scalars(statement)))

    async def tally(self, *, since: int = 0) -> Tally:
        """Count all at or after chain second `since`."""
        counts: Counter[Taken] = Counter()
        lost = 0
        statement = select(LiquidationRow).where(col(LiquidationRow.block_time) >= since)
        async with self._database.read("liquidations.tally") as session:
            async for row in await session.stream_scalars(statement):
                found = reckoned(row)
                counts[found.taken] += 1
                if found.taken is not Taken.OURS:
                    lost += max(found.profit or 0, 0)
        return Tally(counts=tuple(counts.most_common()), profit_of_others=Base(lost))


def liquidation_row(value: Reckoned) -> LiquidationRow:
    """The row of one liquidation."""
    heard = value.liquidated
    return LiquidationRow(
        chain_id=heard.position.market.chain_id,
        block_number=heard.block.number,
        log_index=heard.log_index,
        block_hash=heard.block.hash,
        block_time=heard.block.timestamp,
        market=heard.position.market.name,
        account=heard.position.account,
        liquidator=heard.liquidator,
        taken=str(value.taken),
        facts=document(value),
    )


def reckoned(row: LiquidationRow) -> Reckoned:
    """The liquidation exactly as it was written."""
    return read_document("liquidations.facts", row.facts, Reckoned)


def watched_key(chain_id: int) -> str:
    """The key under which it is kept how far a chain was watched."""
    return f"watched:{chain_id}"


def watched_row(chain_id: int, block: BlockRef) -> MetaRow:
    """The row that says that a chain was watched to `block`."""
    value = f"{block.number} {block.hash} {block.parent_hash} {block.timestamp}"
    return MetaRow(key=watched_key(chain_id), value=value)


def watched_block(row: MetaRow) -> BlockRef:
    """The block that `watched_row` wrote, without its base fee."""
    number, hash_, parent_hash, timestamp = row.value.split()
    return BlockRef(
        number=int(number),
        hash=Hash(hash_),
        parent_hash=Hash(parent_hash),
        timestamp=int(timestamp),
    )
