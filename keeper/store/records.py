"""What the engine remembers and leaves behind.  Implements `keeper.ports.Records`."""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import bindparam, delete, select
from sqlmodel import col

from keeper.model import (
    AlertLevel,
    AlertState,
    BlockRef,
    Checkpoint,
    Hash,
    Manners,
    MarketId,
    PassRecord,
    Reckoned,
    Watch,
)
from keeper.store import audit, outbox
from keeper.store.database import Database
from keeper.store.liquidations import liquidation_row, watched_block, watched_key, watched_row
from keeper.store.packing import checkpoint_of, checkpoint_row
from keeper.store.people_rows import alert_row, alert_state, held_row, hours, hush, watch
from keeper.store.rows import decision_row, history_row, price_row, round_row
from keeper.store.rules import ORDER, read_rules
from keeper.store.tables import (
    AlertRow,
    ChatRow,
    CheckpointRow,
    HoursRow,
    HushRow,
    LiquidationRow,
    MetaRow,
    RuleRow,
    WatchRow,
)
from keeper.store.types import Damaged
from keeper.store.whole import whole_class
from keeper.store.write import at_once, insert_missing, insert_or_replace, table_of

log = structlog.get_logger(__name__)

MARKED_EVERY: Final = 25
"""Passes after which it is written down how far the chain was watched, whatever else there is."""

_WATCHES: Final = (
    select(table_of(WatchRow))
    .join(table_of(ChatRow), col(ChatRow.chat) == col(WatchRow.chat))
    .where(col(ChatRow.enabled).is_(True))
    .order_by(col(WatchRow.id))
)
"""Built once: they are read at every head before anything else."""
_OVER: Final = tuple(
    delete(table_of(table)).where(
        col(table.chat) == bindparam("of_chat"),
        col(table.rule) == bindparam("of_rule"),
        col(table.subject) == bindparam("of_subject"),
    )
    for table in (AlertRow, HushRow)
)
"""What is deleted of an alert that is over.  For many at once: a market that recovers ends
thousands, and nobody else can write meanwhile."""


@whole_class
class SqlRecords:
    """Watches in, passes out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unmarked = 0
        """Passes since it was last written down how far a chain was watched."""

    async def watches(self) -> tuple[Watch, ...]:
        """All watches of all chats that are not disabled, oldest first."""
        return tuple(map(watch, await self._database.look("records.watches", _WATCHES, {})))

    async def alert_states(self) -> tuple[AlertState, ...]:
        """Every alert that is not clear, as it was left."""
        order = (col(AlertRow.chat), col(AlertRow.rule), col(AlertRow.subject))
        async with self._database.read("records.alert_states") as session:
            return tuple(map(alert_state, await session.scalars(select(AlertRow).order_by(*order))))

    async def manners(self) -> Manners:
        """What people acknowledged or snoozed, and their quiet hours."""
        async with self._database.read("records.manners") as session:
            return Manners(
                hushes=tuple(map(hush, await session.scalars(select(HushRow)))),
                hours=tuple(map(hours, await session.scalars(select(HoursRow)))),
                rules=read_rules(
                    await session.scalars(
                        select(RuleRow)
                        .join(ChatRow, col(ChatRow.chat) == col(RuleRow.chat))
                        .where(col(ChatRow.enabled).is_(True))
                        .order_by(*ORDER)
                    )
                ),
            )

    async def record(self, record: PassRecord) -> None:
        """Write one pass: history, decisions, alerts, outbox rows and audit, in one transaction.

        The same pass again changes nothing.  Another block of the same number (a reorg) replaces
        that number's history; decisions and messages of the orphaned block stay: they were made.
        What was liquidated in an orphaned block goes: it did not happen.

        How far the chain was watched is written with it; for its own sake only now and then, so
        that `watched_to` may say a block a little too early, and never one too late.
        """
        history = [history_row(item) for item in record.history]
        prices = [price_row(record.block, market, verdict) for market, verdict in record.prices]
        rounds = [round_row(chain_id, verdict) for chain_id, verdict in record.rounds]
        decisions = [decision_row(record.block, item) for item in record.decisions]
        raised = [alert_row(item) for item in record.alerts if item.level is not AlertLevel.CLEAR]
        cleared = [
            {"of_chat": item.chat, "of_rule": item.rule, "of_subject": item.subject}
            for item in record.alerts
            if item.level is AlertLevel.CLEAR
        ]
        held = [held_row(item) for item in record.held]
        liquidations = [liquidation_row(item) for item in record.liquidations]
        self._unmarked += 1
        marks = record.chain_id is not None and self._unmarked >= MARKED_EVERY
        said = marks or record.messages or record.audit or held or liquidations or record.orphaned
        if not (history or prices or rounds or decisions or raised or cleared or said):
            return
        now = self._database.now()
        async with self._database.write("records.record") as session:
            await insert_or_replace(
                session, history, ("chain_id", "market", "account", "block_number")
            )
            await insert_or_replace(
                session, prices, ("chain_id", "market", "asset", "block_number")
            )
            await insert_or_replace(session, rounds, ("chain_id", "feed", "block_number"))
            await insert_missing(session, decisions, ("key",))
            await insert_or_replace(session, raised, ("chat", "rule", "subject"))
            if cleared:
                for over in _OVER:
                    await at_once(session, over, cleared)
            await insert_missing(session, held, ("key",))
            if record.orphaned:
                await session.execute(
                    delete(LiquidationRow).where(
                        col(LiquidationRow.block_hash).in_(record.orphaned)
                    )
                )
            await insert_or_replace(
                session, liquidations, ("chain_id", "block_number", "log_index")
            )
            await outbox.put(session, record.messages, at=now)
            await audit.append(session, record.audit, at=now, pass_hash=record.block.hash)
            if record.chain_id is not None:
                await insert_or_replace(
                    session, [watched_row(record.chain_id, record.block)], ("key",)
                )
                self._unmarked = 0

    async def watched(self, chain_id: int, block: BlockRef) -> None:
        """Write down that a chain was watched to `block`: before a keeper stops."""
        async with self._database.write("records.watched") as session:
            await insert_or_replace(session, [watched_row(chain_id, block)], ("key",))

    async def watched_to(self, chain_id: int) -> BlockRef | None:
        """The last block that a pass was written down of, or one a little before it; or None."""
        async with self._database.read("records.watched_to") as session:
            row = await session.get(MetaRow, watched_key(chain_id))
            return None if row is None else watched_block(row)

    async def liquidated_in(
        self, market: MarketId, first: int, last: int
    ) -> frozenset[tuple[int, Hash]]:
        """Number and hash of each block, from `first` to `last`, with a liquidation in `market`."""
        statement = select(col(LiquidationRow.block_number), col(LiquidationRow.block_hash)).where(
            col(LiquidationRow.chain_id) == market.chain_id,
            col(LiquidationRow.market) == market.name,
            col(LiquidationRow.block_number).between(first, last),
        )
        async with self._database.read("records.liquidated_in") as session:
            return frozenset((n, Hash(hash_)) for n, hash_ in await session.execute(statement))

    async def account_for(self, found: Sequence[Reckoned], orphaned: Sequence[Hash]) -> None:
        """Keep liquidations that were read from the chain afterwards.

        What a pass said of one stays as it is; what is there of `orphaned` blocks goes.
        """
        async with self._database.write("records.account_for") as session:
            await session.execute(
                delete(LiquidationRow).where(col(LiquidationRow.block_hash).in_(orphaned))
            )
            rows = [liquidation_row(one) for one in found]
            await insert_missing(session, rows, ("chain_id", "block_number", "log_index"))

    async def checkpoint(self, market: MarketId) -> Checkpoint | None:
        """The last saved one, with its checksum verified; None when absent or damaged."""
        async with self._database.read("records.checkpoint") as session:
            try:
                row = await session.get(CheckpointRow, (market.chain_id, market.name))
                if row is None:
                    return None
                return await asyncio.to_thread(checkpoint_of, row, market)
            except (Damaged, zlib.error) as error:
                log.warning("checkpoint.damaged", market=market.name, reason=str(error))
                return None

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the market's; the old one stays whole until the new one is."""
        now = self._database.now()
        row = await asyncio.to_thread(checkpoint_row, checkpoint, at=now)
        async with self._database.write("records.save_checkpoint") as session:
            await insert_or_replace(session, [row], ("chain_id", "market"))
