"""Two ways of inserting that both databases share, for rows that may be there already."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

Inserts = type[postgresql.Insert] | type[sqlite.Insert]
_INSERT: Final[dict[str, Inserts]] = {
    "postgresql": postgresql.Insert,
    "sqlite": sqlite.Insert,
}


async def insert_missing(
    session: AsyncSession, rows: Sequence[SQLModel], unique: tuple[str, ...]
) -> None:
    """Insert those whose `unique` columns are not there; the rest is left as it is."""
    if rows:
        statement = _insert(session, rows).on_conflict_do_nothing(index_elements=unique)
        await session.execute(statement, _values(rows))


async def insert_or_replace(
    session: AsyncSession, rows: Sequence[SQLModel], unique: tuple[str, ...]
) -> None:
    """Insert all; a row with the same `unique` columns takes the new values."""
    if not rows:
        return
    statement = _insert(session, rows)
    fresh = {
        name: statement.excluded[name] for name in _columns(rows) if name not in {*unique, "id"}
    }
    await session.execute(
        statement.on_conflict_do_update(index_elements=unique, set_=fresh), _values(rows)
    )


def _insert(session: AsyncSession, rows: Sequence[SQLModel]) -> Any:
    return _INSERT[session.get_bind().dialect.name](_table(rows))


def _table(rows: Sequence[SQLModel]) -> SqlTable:
    table: SqlTable = type(rows[0]).__table__  # type: ignore[attr-defined]  # every table class has it
    return table


def _columns(rows: Sequence[SQLModel]) -> tuple[str, ...]:
    return tuple(_table(rows).columns.keys())


def _values(rows: Sequence[SQLModel]) -> list[dict[str, Any]]:
    names = [name for name in _columns(rows) if name != "id"]
    return [{name: getattr(row, name) for name in names} for row in rows]
