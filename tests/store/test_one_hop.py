"""SQLite behind one change of threads a statement: the same answers as by the library's own way."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from keeper.errors import JournalError
from keeper.store.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(f"sqlite:///{tmp_path / 'one.sqlite3'}") as opened:
        async with opened.write("test.made") as session:
            await session.execute(text("create table notes (id integer primary key, what text)"))
        yield opened


async def test_rows_names_and_counts_are_those_of_the_statement(database: Database) -> None:
    async with database.write("test.wrote") as session:
        put = await session.execute(text("insert into notes (what) values ('a'), ('b')"))
        many = await session.execute(
            text("insert into notes (what) values (:what)"), [{"what": "c"}, {"what": "d"}]
        )
        changed = await session.execute(text("update notes set what = 'x' where id > 2"))
    async with database.read("test.read") as session:
        found = await session.execute(text("select id, what from notes order by id"))
        none = await session.execute(text("select id, what from notes where id > 9"))

    assert (put.rowcount, many.rowcount, changed.rowcount) == (2, 2, 2)  # type: ignore[attr-defined]  # a cursor's
    assert list(found.keys()) == ["id", "what"]
    assert found.all() == [(1, "a"), (2, "b"), (3, "x"), (4, "x")]
    assert none.all() == []


async def test_an_error_is_the_same_and_leaves_nothing_written(database: Database) -> None:
    async def wrong() -> None:
        async with database.write("test.wrote") as session:
            await session.execute(text("insert into notes values (1, 'a')"))
            await session.execute(text("insert into notes values (1, 'b')"))

    with pytest.raises(JournalError, match="UNIQUE constraint failed") as caught:
        await wrong()

    assert isinstance(caught.value.__cause__, IntegrityError)
    async with database.read("test.read") as session:
        assert (await session.execute(text("select count(*) from notes"))).scalar() == 0


async def test_what_was_committed_is_there_for_another_program(
    database: Database, tmp_path: Path
) -> None:
    async with database.write("test.wrote") as session:
        await session.execute(text("insert into notes values (7, 'kept')"))

    other = sqlite3.connect(tmp_path / "one.sqlite3")
    try:
        assert other.execute("select what from notes").fetchall() == [("kept",)]
        assert other.execute("pragma synchronous").fetchone() == (2,)  # FULL is what is compiled in
    finally:
        other.close()
