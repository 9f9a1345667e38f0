"""Who wants to hear about what: watches, the chats they belong to, and how far a bot has read.

One watch per chat and account; a label is unique in its chat, case and outer blanks aside.
Two people editing one watch: the last one wins, and what it replaced is returned and audited.
"""

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.model import Address, AuditEvent, Watch
from keeper.store import audit
from keeper.store.database import Database
from keeper.store.people_rows import label_key, watch, watch_row
from keeper.store.tables import BotRow, ChatRow, WatchRow
from keeper.store.whole import whole_class
from keeper.store.write import insert_missing, insert_or_replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The watch is there now."""

    watch: Watch
    replaced: Watch | None
    """What this chat watched this account with before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTaken:
    """The chat calls another account so; nothing was changed."""

    label: str
    account: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The watch that is gone."""

    watch: Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWatched:
    """The chat watches nothing by that address or label."""

    which: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Someone to talk to."""

    chat: str
    enabled: bool
    reason: str
    """Why it is disabled, or empty."""


@whole_class
class SqlWatches:
    """Watches and chats."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, watch_: Watch) -> Kept | LabelTaken:
        """Add or replace the chat's watch of the account.  A new chat is made, enabled.

        Raises `Unfit` for a malformed address or thresholds that do not fall.
        """
        now = self._database.now()
        row = watch_row(watch_, at=now)
        async with self._database.write("watches.add") as session:
            chat = ChatRow(chat=watch_.chat, enabled=True, reason="", changed_at=now)
            await insert_missing(session, [chat], ("chat",))
            before = await _one(session, watch_.chat, col(WatchRow.account) == watch_.account)
            if row.label_key is not None:
                same = col(WatchRow.label_key) == row.label_key
                named = await _one(session, watch_.chat, same)
                if named is not None and named.account != watch_.account:
                    return LabelTaken(label=named.label, account=Address(named.account))
            replaced = watch(before) if before else None
            if replaced != watch_:
                await insert_or_replace(session, [row], ("chat", "account"))
                await _audit(session, "watch.set", watch_, replaced, at=now)
        return Kept(watch=watch_, replaced=replaced)

    async def remove(self, chat: str, which: str) -> Removed | NotWatched:
        """End the chat's watch of an address, or of a label in any case."""
        now = self._database.now()
        async with self._database.write("watches.remove") as session:
            row = await _one(session, chat, _named(which))
            if row is None:
                return NotWatched(which=which)
            gone = watch(row)
            await session.execute(delete(WatchRow).where(col(WatchRow.id) == row.id))
            await _audit(session, "watch.removed", gone, None, at=now)
        return Removed(watch=gone)

    async def find(self, chat: str, which: str) -> Watch | NotWatched:
        """The chat's watch of an address, or of a label in any case."""
        async with self._database.read("watches.find") as session:
            row = await _one(session, chat, _named(which))
            return NotWatched(which=which) if row is None else watch(row)

    async def of(self, chat: str) -> tuple[Watch, ...]:
        """All of one chat, oldest first."""
        statement = select(WatchRow).where(col(WatchRow.chat) == chat).order_by(col(WatchRow.id))
        async with self._database.read("watches.of") as session:
            return tuple(map(watch, await session.scalars(statement)))

    async def chats(self) -> tuple[Chat, ...]:
        """Every chat that ever watched something or was disabled."""
        async with self._database.read("watches.chats") as session:
            rows = await session.scalars(select(ChatRow).order_by(col(ChatRow.chat)))
            return tuple(Chat(chat=r.chat, enabled=r.enabled, reason=r.reason) for r in rows)

    async def last_update(self, bot: str) -> int | None:
        """The last update that `bot` (its name or id, never its token) has taken, or None."""
        async with self._database.read("watches.last_update") as session:
            row = await session.get(BotRow, bot)
            return row.last_update_id if row else None

    async def save_update(self, bot: str, update_id: int) -> None:
        """Remember it; it never goes back."""
        async with self._database.write("watches.save_update") as session:
            row = await session.get(BotRow, bot)
            if row is None:
                session.add(BotRow(bot=bot, last_update_id=update_id))
            else:
                row.last_update_id = max(row.last_update_id, update_id)


async def _one(session: AsyncSession, chat: str, condition: ColumnElement[bool]) -> WatchRow | None:
    found = await session.scalars(
        select(WatchRow).where(col(WatchRow.chat) == chat, condition).limit(1)
    )
    return found.first()


def _named(which: str) -> ColumnElement[bool]:
    address = which.strip().lower()
    if re.fullmatch("0x[0-9a-f]{40}", address):
        return col(WatchRow.account) == address
    return col(WatchRow.label_key) == label_key(which)


async def _audit(
    session: AsyncSession, event: str, now_: Watch, before: Watch | None, *, at: float
) -> None:
    fields: dict[str, str | int | None] = {"chat": now_.chat, "account": now_.account}
    for prefix, item in (("", now_), ("was_", before)):
        if item is not None:
            fields[f"{prefix}label"] = item.label
            levels = item.thresholds
            for name in ("info", "warning", "critical"):
                fields[f"{prefix}{name}_wad"] = getattr(levels, name) if levels else None
    await audit.append(session, [AuditEvent(event=event, fields=fields)], at=at)
