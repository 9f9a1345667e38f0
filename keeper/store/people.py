"""What people say about how they are told: acknowledged, snoozed, quiet hours, digests, a pause."""

from sqlalchemy import delete, select
from sqlmodel import col

from keeper.model import AlertState, AuditEvent, ChatHours, HeldLine, Hush, Message
from keeper.store import audit, outbox
from keeper.store.database import Database
from keeper.store.people_rows import alert_state, held_line, hours, hours_row, hush, hush_row
from keeper.store.tables import (
    AlertRow,
    AuditRow,
    HeldRow,
    HoursRow,
    HushRow,
    LanguageRow,
    MetaRow,
)
from keeper.store.whole import whole_class
from keeper.store.write import insert_or_replace

_PAUSED = "paused"


@whole_class
class SqlPeople:
    """Written by commands and buttons, read by passes and digests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def alerts(self) -> tuple[AlertState, ...]:
        """Every alert of every chat that is not clear."""
        order = (col(AlertRow.level).desc(), col(AlertRow.fired_at))
        async with self._database.read("people.alerts") as session:
            return tuple(map(alert_state, await session.scalars(select(AlertRow).order_by(*order))))

    async def hush(self, said: Hush) -> None:
        """Acknowledge or snooze; the last word of a chat on an alert is the one that holds."""
        now = self._database.now()
        event = "alert.acknowledged" if said.until is None else "alert.snoozed"
        fields = {
            "chat": said.chat,
            "rule": said.rule,
            "subject": said.subject,
            "by": said.by,
            "until": said.until,
        }
        async with self._database.write("people.hush") as session:
            row = hush_row(said, at=now)
            await insert_or_replace(session, [row], ("chat", "rule", "subject"))
            await audit.append(session, [AuditEvent(event=event, fields=fields)], at=now)

    async def hushes(self) -> tuple[Hush, ...]:
        """Everything that was acknowledged or snoozed and is not over."""
        async with self._database.read("people.hushes") as session:
            return tuple(map(hush, await session.scalars(select(HushRow))))

    async def hours(self, chat: str) -> ChatHours:
        """A chat's hours; none are set where nothing was said."""
        async with self._database.read("people.hours") as session:
            row = await session.get(HoursRow, chat)
            return ChatHours(chat=chat) if row is None else hours(row)

    async def all_hours(self) -> tuple[ChatHours, ...]:
        """Every chat that said something about its hours."""
        async with self._database.read("people.all_hours") as session:
            rows = await session.scalars(select(HoursRow).order_by(col(HoursRow.chat)))
            return tuple(map(hours, rows))

    async def set_hours(self, wanted: ChatHours) -> None:
        """Replace a chat's hours.  Raises `Unfit` for what is no time of day."""
        async with self._database.write("people.set_hours") as session:
            await insert_or_replace(session, [hours_row(wanted)], ("chat",))

    async def languages(self) -> dict[str, str]:
        """The language of every chat that chose one, by chat."""
        async with self._database.read("people.languages") as session:
            rows = await session.scalars(select(LanguageRow))
            return {row.chat: row.language for row in rows}

    async def set_language(self, chat: str, language: str, *, by: str) -> None:
        """Remember the language a chat chose."""
        now = self._database.now()
        fields = {"chat": chat, "language": language, "by": by}
        async with self._database.write("people.set_language") as session:
            row = LanguageRow(chat=chat, language=language)
            await insert_or_replace(session, [row], ("chat",))
            event = AuditEvent(event="chat.language", fields=fields)
            await audit.append(session, [event], at=now)

    async def held(self, chat: str) -> tuple[HeldLine, ...]:
        """What quiet hours kept back, oldest first."""
        statement = select(HeldRow).where(col(HeldRow.chat) == chat).order_by(col(HeldRow.id))
        async with self._database.read("people.held") as session:
            return tuple(map(held_line, await session.scalars(statement)))

    async def digested(
        self, wanted: ChatHours, lines: tuple[HeldLine, ...], digest: Message | None
    ) -> None:
        """Write a digest and forget the lines it says, in one transaction."""
        keys = [line.key for line in lines]
        async with self._database.write("people.digested") as session:
            for start in range(0, len(keys), 500):
                await session.execute(
                    delete(HeldRow).where(col(HeldRow.key).in_(keys[start : start + 500]))
                )
            row = await session.get(HoursRow, wanted.chat)
            if row is not None:
                row.digested_at = wanted.digested_at
            if digest is not None:
                await outbox.put(session, [digest], at=self._database.now())

    async def paused(self) -> str:
        """Why nothing is to be sent, or nothing when it may be."""
        async with self._database.read("people.paused") as session:
            row = await session.get(MetaRow, _PAUSED)
            return row.value if row is not None else ""

    async def paused_since(self) -> int | None:
        """When the pause that stands was said, by this machine's clock, seconds; None without one.

        Read from the audit trail, which is never shortened.
        """
        statement = (
            select(col(AuditRow.at_ms))
            .where(col(AuditRow.event) == "keeper.paused")
            .order_by(col(AuditRow.seq).desc())
            .limit(1)
        )
        async with self._database.read("people.paused_since") as session:
            if await session.get(MetaRow, _PAUSED) is None:
                return None
            at_ms: int | None = (await session.execute(statement)).scalar_one_or_none()
            return None if at_ms is None else at_ms // 1_000

    async def pause(self, reason: str, *, by: str) -> None:
        """Remember a pause, or its end when `reason` is empty: it outlives a restart."""
        now = self._database.now()
        event = "keeper.paused" if reason else "keeper.resumed"
        async with self._database.write("people.pause") as session:
            await session.execute(delete(MetaRow).where(col(MetaRow.key) == _PAUSED))
            if reason:
                session.add(MetaRow(key=_PAUSED, value=reason))
            await audit.append(session, [AuditEvent(event=event, fields={"by": by})], at=now)
