"""Ways of writing that both databases share.

`at_once` executes a statement that was built once, with named parameters: in a session's
transaction below the ORM, or by a `Direct` connection.  Nothing that the session holds is flushed
before it.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import BindParameter, Executable, Insert, bindparam, insert
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from keeper.store.direct import Direct, Given

Writing = AsyncSession | Direct
LOTS: Final = (1, 8, 64, 512)
"""Values in one statement: databases have a limit."""
Inserts = type[postgresql.Insert] | type[sqlite.Insert]
_INSERT: Final[dict[str, Inserts]] = {
    "postgresql": postgresql.Insert,
    "sqlite": sqlite.Insert,
}


async def at_once(
    session: Writing, statement: Executable, values: Given | list[dict[str, Any]]
) -> Sequence[Any]:
    """Execute a statement that was built beforehand; return its rows, if it has any."""
    if isinstance(session, Direct):
        return await session.run(statement, values)

    def execute(within: Session) -> Sequence[Any]:
        done = within.connection().execute(statement, values)
        return done.all() if done.returns_rows else ()

    return await session.run_sync(execute)


async def insert_at_once(session: Writing, row: SQLModel) -> None:
    """Insert a row of which nothing is there yet."""
    [values] = _values([row])
    await at_once(session, _plain_insert(_table([row])), values)


@cache
def _plain_insert(table: SqlTable) -> Insert:
    return insert(table).inline()  # nobody asks for the number that it was given


async def insert_missing(
    session: Writing, rows: Sequence[SQLModel], unique: tuple[str, ...]
) -> None:
    """Insert those whose `unique` columns are not there; the rest is left as it is."""
    if rows:
        statement = _missing_insert(_dialect(session), _table(rows), unique)
        await at_once(session, statement, _values(rows))


def in_lots(name: str, values: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield `values` some at a time, for statements that ask for so many: ``name_0`` and on.

    In few sizes, so that few statements are built; what is left over repeats the first.
    """
    left = list(values)
    while left:
        size = next((size for size in LOTS if size >= len(left)), LOTS[-1])
        some, left = left[:size], left[size:]
        some += some[:1] * (size - len(some))
        yield size, {f"{name}_{n}": value for n, value in enumerate(some)}


def named(name: str, count: int) -> list[BindParameter[Any]]:
    """Return what stands for `in_lots` in a statement."""
    return [bindparam(f"{name}_{n}") for n in range(count)]


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
    return _INSERT[_dialect(session)](_table(rows))


@cache
def _missing_insert(dialect: str, table: SqlTable, unique: tuple[str, ...]) -> Any:
    return _INSERT[dialect](table).inline().on_conflict_do_nothing(index_elements=unique)


def _dialect(session: Writing) -> str:
    return session.dialect if isinstance(session, Direct) else session.get_bind().dialect.name


def table_of(kind: type[SQLModel]) -> SqlTable:
    """Return the table below a class."""
    table: SqlTable = kind.__table__  # type: ignore[attr-defined]  # every table class has it
    return table


def _table(rows: Sequence[SQLModel]) -> SqlTable:
    return table_of(type(rows[0]))


def _columns(rows: Sequence[SQLModel]) -> tuple[str, ...]:
    return tuple(_table(rows).columns.keys())


def _values(rows: Sequence[SQLModel]) -> list[dict[str, Any]]:
    names = [name for name in _columns(rows) if name != "id"]
    return [{name: getattr(row, name) for name in names} for row in rows]
