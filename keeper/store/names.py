"""Which accounts are watched by a name, and where chats were told the name points."""

from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlmodel import col

from keeper.model import Address
from keeper.store.database import Database
from keeper.store.tables import NameRow, WatchRow
from keeper.store.whole import whole_class
from keeper.store.write import insert_or_replace


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWatch:
    """A chat watches an account by its name."""

    chat: str
    account: Address
    name: str
    told: str = ""
    """Where the chat was last told that it points; empty: where it did when it was watched."""


@whole_class
class SqlNames:
    """Names of watches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, named: NamedWatch) -> None:
        """Remember a name; the last one for a chat's account holds."""
        row = NameRow(chat=named.chat, account=named.account, name=named.name, told=named.told)
        async with self._database.write("names.keep") as session:
            await insert_or_replace(session, [row], ("chat", "account"))

    async def all(self) -> tuple[NamedWatch, ...]:
        """Those of every watch there still is."""
        there = and_(
            col(WatchRow.chat) == col(NameRow.chat), col(WatchRow.account) == col(NameRow.account)
        )
        statement = select(NameRow).join(WatchRow, there).order_by(col(NameRow.chat))
        async with self._database.read("names.all") as session:
            return tuple(
                NamedWatch(
                    chat=row.chat, account=Address(row.account), name=row.name, told=row.told
                )
                for row in await session.scalars(statement)
            )
