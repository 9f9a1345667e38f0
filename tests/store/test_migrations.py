"""A database of an older keeper, with rows in every table, is brought up without losing any."""

from typing import Any

import pytest
from sqlalchemy import URL, Connection, Inspector, MetaData, insert, inspect, select, text
from sqlalchemy import Table as Reflected
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keeper.store.database import Database
from keeper.store.files import APPLICATION_ID
from keeper.store.location import SqliteFile, location
from keeper.store.migrate import APP, _upgrade
from keeper.store.migrations import REVISIONS, VERSION_TABLE

LEGAL = {("intents", "state"): "confirmed", ("outbox", "state"): "pending"}
"""Where a constraint allows certain words only."""

Rows = dict[str, list[dict[str, Any]]]


def plain_engine(url: str) -> AsyncEngine:
    where = location(url)
    if isinstance(where, SqliteFile):
        return create_async_engine(URL.create("sqlite+aiosqlite", database=str(where.path)))
    return create_async_engine(where.dsn.replace("postgresql://", "postgresql+asyncpg://"))


def old_keeper(connection: Connection, revision: str) -> None:
    """What a keeper of `revision` left behind: its schema, and two rows in each table."""
    _upgrade(connection, revision)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(text("INSERT INTO meta (key, value) VALUES ('app', :app)"), {"app": APP})
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        if table.name not in (VERSION_TABLE, "meta"):
            for nth in (1, 2):
                connection.execute(insert(table).values(row_of(table, nth)))


def row_of(table: Reflected, nth: int) -> dict[str, Any]:
    """One legal row: foreign keys meet as every column's value goes by its type and `nth` alone."""
    return {
        column.name: LEGAL.get((table.name, column.name)) or value_of(column.type.python_type, nth)
        for column in table.columns
    }


def value_of(kind: type, nth: int) -> Any:
    if kind is str:
        return f"{nth}"
    if kind is bytes:
        return bytes([nth])
    return kind(nth)


def rows(connection: Connection) -> Rows:
    metadata = MetaData()
    metadata.reflect(connection)
    return {
        table.name: [dict(row._mapping) for row in connection.execute(select(table))]
        for table in metadata.sorted_tables
        if table.name != VERSION_TABLE
    }


@pytest.mark.parametrize("revision", REVISIONS[:-1])
async def test_an_older_database_is_brought_up_with_every_row(
    empty_url: str, revision: str
) -> None:
    engine = plain_engine(empty_url)
    async with engine.begin() as connection:
        await connection.run_sync(old_keeper, revision)
        before = await connection.run_sync(rows)
    await engine.dispose()

    await (await Database.open(empty_url)).close()

    async with engine.begin() as connection:
        after = await connection.run_sync(rows)
    await engine.dispose()
    assert all(len(kept) >= 1 for kept in before.values())
    for table, kept in before.items():
        now = [{name: row[name] for name in kept[0]} for row in after[table]]
        assert now == kept, table


async def test_what_is_asked_of_old_tables_is_all_that_this_keeper_has(empty_url: str) -> None:
    engine = plain_engine(empty_url)
    async with engine.begin() as connection:
        await connection.run_sync(old_keeper, REVISIONS[0])
    await engine.dispose()

    async with await Database.open(empty_url) as database, database.read("test.tables") as session:
        upgraded = await (await session.connection()).run_sync(columns)
    assert {"level_at", "escalated"} <= upgraded["alerts"]
    assert "price_history" in upgraded


def columns(connection: Connection) -> dict[str, set[str]]:
    found: Inspector = inspect(connection)
    return {
        name: {column["name"] for column in found.get_columns(name)}
        for name in found.get_table_names()
    }
