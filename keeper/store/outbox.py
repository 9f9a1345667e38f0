"""The outbox: a message is a row from the transaction of its event until it is acknowledged.

`put` writes in the caller's transaction.  A key that is there already is the same message: it is
not written again, whatever became of the first.  Delivery is at least once: a crash between the
provider's acknowledgement and `delivered` sends a message twice, never zero times.
One process drains an outbox: two would both deliver what is due.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

import structlog
from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.model import AuditEvent, Message, Pending
from keeper.store import audit
from keeper.store.database import Database
from keeper.store.people_rows import message as message_of
from keeper.store.people_rows import outbox_row
from keeper.store.tables import ChatRow, OutboxRow
from keeper.store.whole import whole_class
from keeper.store.write import Writing, at_once, in_lots, insert_missing, insert_or_replace, named

log = structlog.get_logger(__name__)

PER_CHAT: Final = 20
"""At most so many of one chat are handed out at once, so that one chat cannot crowd out others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """How the outbox stands."""

    pending: int
    """Waiting, for the first time or again; those of disabled chats are `held` instead."""
    held: int
    """Waiting for a chat that cannot be reached."""
    delivered: int
    failed: int
    """Given up: the provider will never take them."""
    oldest_pending_at: float | None
    """When the oldest of `pending` was written, machine seconds."""


@cache
def _known(keys: int) -> Select[str, str, str]:
    return select(col(OutboxRow.key), col(OutboxRow.chat), col(OutboxRow.text)).where(
        col(OutboxRow.key).in_(named("key", keys))
    )


async def put(session: Writing, messages: Iterable[Message], *, at: float) -> None:
    """Write `messages` in the transaction of the caller, due at once."""
    fresh = {message.key: message for message in reversed(tuple(messages))}
    for lot, keys in in_lots("key", list(fresh)):
        for key, chat, text in await at_once(session, _known(lot), keys):
            repeated = fresh.pop(key)
            if (repeated.chat, repeated.text) != (chat, text):
                log.warning("outbox.key_reused", key=key, chat=repeated.chat)
    rows = [outbox_row(message, at=at) for message in reversed(fresh.values())]
    await insert_missing(session, rows, ("key",))


@whole_class
class SqlOutbox:
    """What the notifier drains."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, messages: Iterable[Message]) -> None:
        """Write messages that belong to no other transaction, such as replies."""
        wanted = tuple(messages)
        async with self._database.write("outbox.put") as session:
            await put(session, wanted, at=self._database.now())

    async def due(self, now: float, limit: int) -> tuple[Pending, ...]:
        """Return what may be sent at `now`: critical first, then the oldest.

        At most `PER_CHAT` of one chat; none of a disabled chat.
        """
        place = (
            func.row_number()
            .over(
                partition_by=col(OutboxRow.chat),
                order_by=(col(OutboxRow.priority), col(OutboxRow.id)),
            )
            .label("place")
        )
        ready = (
            select(col(OutboxRow.id), place)
            .outerjoin(ChatRow, col(ChatRow.chat) == col(OutboxRow.chat))
            .where(col(OutboxRow.state) == "pending", col(OutboxRow.next_attempt_at) <= now)
            .where(or_(col(ChatRow.enabled).is_(None), col(ChatRow.enabled).is_(True)))
            .subquery()
        )
        statement = (
            select(OutboxRow)
            .join(ready, ready.c.id == col(OutboxRow.id))
            .where(ready.c.place <= PER_CHAT)
            .order_by(col(OutboxRow.priority), col(OutboxRow.id))
            .limit(limit)
        )
        async with self._database.read("outbox.due") as session:
            rows = (await session.scalars(statement)).all()
            answered = {row.id: await _answered(session, row) for row in rows if _answers(row)}
            return tuple(
                Pending(
                    id=row.id,
                    message=message_of(row),
                    attempts=row.attempts,
                    reply_to=answered.get(row.id, ""),
                    maybe_taken=bool((row.extra or {}).get("maybe_taken")),
                )
                for row in rows
            )

    async def delivered(self, id: int, at: float, ref: str | None = None) -> None:  # noqa: A002 - the row's own name
        """The provider acknowledged, and calls it `ref`; again is harmless."""
        async with self._database.write("outbox.delivered") as session:
            await session.execute(
                update(OutboxRow)
                .where(col(OutboxRow.id) == id, col(OutboxRow.state) != "delivered")
                .values(state="delivered", delivered_at=at, error="", ref=ref)
            )

    async def failed(self, id: int, next_attempt_at: float | None, error: str) -> None:  # noqa: A002 - the port's own word
        """It was not acknowledged: due again at `next_attempt_at`, or never when None."""
        values: dict[str, object] = {"error": error[:500], "attempts": OutboxRow.attempts + 1}
        if next_attempt_at is None:
            values["state"] = "failed"
        else:
            values["next_attempt_at"] = next_attempt_at
        async with self._database.write("outbox.failed") as session:
            await session.execute(
                update(OutboxRow)
                .where(col(OutboxRow.id) == id, col(OutboxRow.state) == "pending")
                .values(values)
            )

    async def doubted(self, id: int) -> None:  # noqa: A002 - the row's own name
        """The answer to an attempt was lost: whoever reads it again is told so."""
        async with self._database.write("outbox.doubted") as session:
            row = await session.get(OutboxRow, id)
            if row is not None and row.state == "pending":
                row.extra = {**(row.extra or {}), "maybe_taken": True}

    async def disable_chat(self, chat: str, reason: str) -> None:
        """Nothing more is sent to `chat`, and its watches rest; what waits for it is kept."""
        await self._set_chat(chat, enabled=False, reason=reason)

    async def enable_chat(self, chat: str) -> None:
        """The chat can be reached (again): what was held for it is due."""
        await self._set_chat(chat, enabled=True, reason="")

    async def _set_chat(self, chat: str, *, enabled: bool, reason: str) -> None:
        now = self._database.now()
        row = ChatRow(chat=chat, enabled=enabled, reason=reason, changed_at=now)
        event = "chat.enabled" if enabled else "chat.disabled"
        async with self._database.write("outbox.chat") as session:
            await insert_or_replace(session, [row], ("chat",))
            await audit.append(
                session,
                [AuditEvent(event=event, fields={"chat": chat, "reason": reason})],
                at=now,
            )

    async def counts(self) -> OutboxCounts:
        """How many wait, are held, were delivered, were given up."""
        held = and_(col(OutboxRow.state) == "pending", col(ChatRow.enabled).is_(False))
        statement = (
            select(
                col(OutboxRow.state),
                col(ChatRow.enabled).is_(False),
                func.count(),
                func.min(col(OutboxRow.created_at)),
            )
            .outerjoin(ChatRow, and_(col(ChatRow.chat) == col(OutboxRow.chat), held))
            .group_by(col(OutboxRow.state), col(ChatRow.enabled).is_(False))
        )
        async with self._database.read("outbox.counts") as session:
            found = {
                "held" if disabled else state: (int(number), oldest)
                for state, disabled, number, oldest in await session.execute(statement)
            }
        none: tuple[int, float | None] = (0, None)
        return OutboxCounts(
            pending=found.get("pending", none)[0],
            held=found.get("held", none)[0],
            delivered=found.get("delivered", none)[0],
            failed=found.get("failed", none)[0],
            oldest_pending_at=found.get("pending", none)[1],
        )

    async def prune(self, delivered_before: float) -> int:
        """Forget what was delivered before; its keys could then be used again.  The number."""
        async with self._database.write("outbox.prune") as session:
            done = await session.execute(
                delete(OutboxRow).where(
                    col(OutboxRow.state) == "delivered",
                    col(OutboxRow.delivered_at) < delivered_before,
                )
            )
            return int(done.rowcount)  # type: ignore[attr-defined]  # a statement's CursorResult has it


def _answers(row: OutboxRow) -> bool:
    """Whether it is shown as a reply: the end of an alert, to its last word."""
    return row.kind == "resolved" and bool(row.thread)


async def _answered(session: AsyncSession, row: OutboxRow) -> str:
    """Return the provider's id of the last message of the row's thread, or nothing."""
    statement = (
        select(col(OutboxRow.ref))
        .where(
            col(OutboxRow.chat) == row.chat,
            col(OutboxRow.thread) == row.thread,
            col(OutboxRow.ref).is_not(None),
            col(OutboxRow.id) < row.id,
        )
        .order_by(col(OutboxRow.id).desc())
        .limit(1)
    )
    return (await session.scalar(statement)) or ""
