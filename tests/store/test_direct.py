"""Statements below SQLAlchemy's execution: the words, values, locks and errors of a session.

Every test that takes `database` runs on SQLite and on PostgreSQL.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Update, bindparam, func, insert, select, text, update
from sqlmodel import col

from keeper.errors import JournalError
from keeper.model import AuditEvent
from keeper.store import audit, direct, journal, spending
from keeper.store.audit import append, verify
from keeper.store.database import Database
from keeper.store.direct import PostgresLine, SqliteLine
from keeper.store.records import SqlRecords
from keeper.store.rows import intent_row
from keeper.store.tables import OPEN, ChatRow, IntentRow, MetaRow
from keeper.store.types import Unfit
from keeper.store.watches import SqlWatches
from keeper.store.write import insert_at_once, table_of
from tests.store.builders import SIGNER, plan, watch

PUT = insert(table_of(MetaRow))
NAMED = select(col(MetaRow.key), col(MetaRow.value)).where(col(MetaRow.key) == bindparam("key"))
CHANGE = (
    update(table_of(MetaRow)).where(col(MetaRow.key) == bindparam("of")).values(value="changed")
)


async def kept(database: Database) -> list[tuple[str, str]]:
    async with database.read("test.read") as session:
        found = await session.execute(text("select key, value from meta where key like 't%'"))
        return sorted(tuple(row) for row in found)


async def test_what_is_written_directly_is_read_in_a_session_and_the_other_way_round(
    database: Database,
) -> None:
    async with database.write("test.wrote") as session:
        session.add(MetaRow(key="t1", value="by a session"))
    async with database.write_directly("test.direct") as there:
        [row] = await there.run(NAMED, {"key": "t1"})
        await there.run(PUT, [{"key": "t2", "value": "a"}, {"key": "t3", "value": "b"}])
        await there.run(CHANGE, {"of": "t2"})
        nothing = await there.run(NAMED, {"key": "t9"})

    assert (row.key, row.value) == ("t1", "by a session")
    assert list(nothing) == []
    assert await kept(database) == [("t1", "by a session"), ("t2", "changed"), ("t3", "b")]


async def test_the_column_types_convert_and_refuse_as_they_do_in_a_session(
    database: Database,
) -> None:
    row = intent_row(plan("i-1", 1), SIGNER, 7, at=1.5)
    row.spends = 2**256 - 1
    row.receipt = {"a": [1, None]}
    columns = select(
        col(IntentRow.spends), col(IntentRow.holds_nonce), col(IntentRow.receipt),
        col(IntentRow.health_after), col(IntentRow.claimed_at), col(IntentRow.plan),
    )  # fmt: skip
    async with database.write_directly("test.direct") as there:
        await insert_at_once(there, row)
        [mine] = await there.run(columns, {})
    async with database.read("test.read") as session:
        theirs = (await session.execute(columns)).one()

    assert tuple(mine) == tuple(theirs)
    assert mine[:5] == (2**256 - 1, True, {"a": [1, None]}, None, 1.5)
    assert mine.holds_nonce is True
    wrong = intent_row(plan("i-2", 2), SIGNER, 8, at=1.5)
    wrong.spends = -1
    with pytest.raises(Unfit, match=r"intents\.spends: -1"):
        async with database.write_directly("test.direct") as there:
            await insert_at_once(there, wrong)
    assert len(await database.look("test.look", columns, {})) == 1


async def test_what_fails_leaves_nothing_written_and_the_next_one_is_in_order(
    database: Database,
) -> None:
    async def twice() -> None:
        async with database.write_directly("test.direct") as there:
            await there.run(PUT, {"key": "t1", "value": "a"})
            await there.run(PUT, {"key": "t1", "value": "b"})

    async def mistaken() -> None:
        async with database.write_directly("test.direct") as there:
            await there.run(PUT, {"key": "t2", "value": "a"})
            raise ValueError("mine")

    with pytest.raises(JournalError, match=r"did not take test\.direct"):
        await twice()
    with pytest.raises(ValueError, match="mine"):
        await mistaken()
    async with database.write_directly("test.direct") as there:
        await there.run(PUT, {"key": "t3", "value": "c"})

    assert await kept(database) == [("t3", "c")]


async def test_what_is_in_a_list_is_refused_and_does_not_ask_something_else(
    database: Database,
) -> None:
    open_ones = select(col(IntentRow.intent_id)).where(col(IntentRow.state).in_(OPEN))

    with pytest.raises(TypeError, match="IN a list"):
        await database.look("test.look", open_ones, {})


async def test_it_takes_the_writers_lock_of_all_processes(url: str) -> None:
    async with (
        await Database.open(url) as mine,
        await Database.open(url, wait_s=1) as theirs,
    ):

        async def put(database: Database) -> None:
            async with database.write_directly("test.second") as there:
                await there.run(PUT, {"key": "t1", "value": "a"})

        async def put_in_a_session(database: Database) -> None:
            async with database.write("test.second") as session:
                await session.execute(PUT, {"key": "t1", "value": "a"})

        async with mine.write_directly("test.first"):
            for way in (put, put_in_a_session):
                with pytest.raises(JournalError, match=r"did not take test\.second"):
                    await way(theirs)
        async with mine.write("test.first") as session:
            await session.execute(NAMED, {"key": "t1"})
            with pytest.raises(JournalError, match=r"did not take test\.second"):
                await put(theirs)
        order: list[str] = []

        async def wait() -> None:
            async with theirs.write_directly("test.waits"):
                order.append("second")

        async with mine.write_directly("test.first"):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0.2)  # the loop goes on meanwhile
            order.append("first")
        await waiting
        assert order == ["first", "second"]


async def test_a_look_waits_for_no_writer_and_sees_what_was_committed(database: Database) -> None:
    people, records = SqlWatches(database), SqlRecords(database)
    await people.add(watch())
    async with database.write_directly("test.direct") as there:
        await there.run(update(table_of(ChatRow)).values(enabled=False), {})
        during = await records.watches()
    after = await records.watches()

    assert during == (watch(),)
    assert after == ()


async def test_looks_at_the_same_time_do_not_mix(database: Database) -> None:
    async with database.write_directly("test.direct") as there:
        await there.run(PUT, [{"key": f"t{n}", "value": str(n)} for n in range(50)])

    found = await asyncio.gather(
        *(database.look("test.look", NAMED, {"key": f"t{n}"}) for n in range(50))
    )

    assert [row.value for [row] in found] == [str(n) for n in range(50)]


async def test_the_trail_goes_on_from_one_way_of_writing_to_the_other(database: Database) -> None:
    for number in range(3):
        async with database.write("test.wrote") as session:
            await append(session, [AuditEvent(event="thing.done", fields={"n": number})], at=1.0)
        async with database.write_directly("test.direct") as there:
            await append(there, [AuditEvent(event="thing.done")] * 2, at=2.0)

    assert getattr(await verify(database), "count", None) == 9


async def test_one_that_was_closed_is_a_plain_error(url: str) -> None:
    database = await Database.open(url)
    async with database.write_directly("test.direct"):
        pass
    await database.look("test.look", NAMED, {"key": "t"})
    await database.close()

    with pytest.raises(JournalError, match="it was closed"):
        await database.look("test.look", NAMED, {"key": "t"})
    with pytest.raises(JournalError, match="it was closed"):
        async with database.write_directly("test.direct"):
            pass


async def test_the_failpoints_are_those_of_every_write(url: str) -> None:
    passed: list[str] = []
    async with (
        await Database.open(url, failpoint=passed.append) as database,
        database.write_directly("test.direct"),
    ):
        passed.append("in it")

    assert passed == ["in it", "test.direct.before_commit", "test.direct.after_commit"]


async def put(database: Database) -> None:
    async with database.write_directly("test.direct") as there:
        await there.run(PUT, {"key": "t1", "value": "a"})


async def test_a_value_that_was_not_given_is_no_null(database: Database) -> None:
    with pytest.raises(KeyError, match="key"):
        await database.look("test.look", NAMED, {"kye": "t1"})


# --- SQLite ------------------------------------------------------------------------------------


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(str(tmp_path / "one.sqlite3")) as opened:
        yield opened


async def test_only_to_commit_another_thread_is_asked(file: Database) -> None:
    async with file.write_directly("test.opens"):
        pass
    line: Any = file._direct.line
    threads: dict[str, int] = {}
    line._connection.set_trace_callback(
        lambda sql: threads.update({sql.split()[0]: threading.get_ident()})
    )

    async with file.write_directly("test.direct") as there:
        await there.run(PUT, {"key": "t1", "value": "a"})

    here = threading.get_ident()
    assert (threads["BEGIN"], threads["INSERT"]) == (here, here)
    assert threads["COMMIT"] != here


async def test_it_is_durable_and_leaves_the_log_to_those_who_are_not_waited_for(
    file: Database, tmp_path: Path
) -> None:
    async with file.write_directly("test.direct") as there:
        await there.run(PUT, {"key": "t1", "value": "a"})
    line: Any = file._direct.line
    asked = [
        line._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode", "foreign_keys", "wal_autocheckpoint")
    ]

    assert asked == [2, "wal", 1, 0]
    other = sqlite3.connect(tmp_path / "one.sqlite3")
    try:
        found = other.execute("select value from meta where key = 't1'").fetchall()
    finally:
        other.close()
    assert found == [("a",)]


async def test_it_waits_as_long_as_it_was_told_and_not_longer(tmp_path: Path) -> None:
    path = str(tmp_path / "one.sqlite3")
    async with await Database.open(path, wait_s=1) as database:
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with pytest.raises(JournalError, match="locked"):
                async with database.write_directly("test.direct"):
                    pass
            took = time.monotonic() - began
        finally:
            other.close()
        async with database.write_directly("test.direct") as there:
            await there.run(PUT, {"key": "t1", "value": "a"})
            line: Any = database._direct.line
            patience = line._connection.execute("PRAGMA busy_timeout").fetchone()

    assert 0.9 < took < 5
    assert patience == (0,)


async def test_a_look_waits_where_another_process_recovers_the_log(file: Database) -> None:
    await file.look("test.opens", NAMED, {"key": "t1"})
    line: Any = file._looking.line
    real, asked = line._connection, []

    class Recovering:
        """SQLite's answer while another process brings the log back, which ends at once."""

        def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
            asked.append((sql.split(maxsplit=1)[0], threading.get_ident()))
            if len(asked) == 1:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
                raise error
            found: sqlite3.Cursor = real.execute(sql, values)
            return found

    line._connection = Recovering()
    try:
        found = await file.look("test.look", NAMED, {"key": "t1"})
    finally:
        line._connection = real

    assert list(found) == []
    assert [sql for sql, _ in asked] == ["SELECT", "PRAGMA", "SELECT", "PRAGMA"]
    assert asked[0][1] == threading.get_ident()
    assert threading.get_ident() not in {thread for _, thread in asked[1:]}


async def test_closing_waits_for_a_write_that_waits_for_another_process(tmp_path: Path) -> None:
    path = str(tmp_path / "one.sqlite3")
    database = await Database.open(path, wait_s=5)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    writing = asyncio.create_task(put(database))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0.1)
    other.execute("ROLLBACK")
    await asyncio.gather(writing, closing)

    assert other.execute("select value from meta where key = 't1'").fetchall() == [("a",)]
    other.close()


async def test_who_is_cancelled_while_it_waits_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "one.sqlite3")
    async with await Database.open(path, wait_s=5) as database:
        other = sqlite3.connect(path, isolation_level=None, timeout=0)
        other.execute("BEGIN IMMEDIATE")

        writing = asyncio.create_task(put(database))
        await asyncio.sleep(0.1)
        writing.cancel()
        await asyncio.sleep(0.05)
        writing.cancel()  # as a second Ctrl-C does
        other.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await writing
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()
        assert await kept(database) == []
        await put(database)
        assert await kept(database) == [("t1", "a")]


async def test_looks_that_open_it_at_the_same_time_open_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Database.open(str(tmp_path / "one.sqlite3")) as database:
        opened, connect = [], sqlite3.connect

        def counting(*args: Any, **more: Any) -> sqlite3.Connection:
            opened.append(args)
            made: sqlite3.Connection = connect(*args, **more)
            return made

        monkeypatch.setattr(sqlite3, "connect", counting)
        await asyncio.gather(*(database.look("test.look", NAMED, {"key": "t"}) for _ in range(5)))

    assert len(opened) == 1


async def test_no_statement_on_the_way_reads_what_is_long_over(file: Database) -> None:
    """With tens of thousands of plans behind it a claim would stand still for their number."""
    given = {"intent_id": "i", "intent": "i", "of": "i", "chain_id": 1, "market": "m"}
    given |= {"account": SIGNER, "signer": SIGNER, "nonce": 7, "since": 5, "found": None}
    given |= {"signer_0": SIGNER, "signer_1": SIGNER, "name_0": "i", "at_block": 9}
    given |= {"as_state": "confirmed", "at": 1.5, "health": None, "param_1": 1, "param_2": 0}
    statements: list[Any] = [v for k, v in vars(journal).items() if k.startswith("_")]
    statements = [v for v in statements if getattr(v, "is_select", False) or is_update(v)]
    statements += [spending._those(2), spending._amounts_of(1), audit._LAST]
    plans = []
    async with file.write_directly("test.direct") as there:
        line: Any = there.line
        for statement in statements:
            prepared = direct._Prepared(statement, given, file.engine.dialect)
            explained = line._connection.execute(
                f"EXPLAIN QUERY PLAN {prepared.sql}", prepared.filled(given)
            )
            plans += [row[3] for row in explained]

    assert len(statements) >= 14
    allowed = ("SCAN intents USING INDEX one_open_plan", "SCAN audit")  # the open ones; the last
    scans = [plan for plan in plans if "SCAN" in plan and not plan.startswith(allowed)]
    assert scans == []
    by_signer = [plan for plan in plans if "intents_by_signer" in plan]
    assert all("state=?" in plan for plan in by_signer)
    assert "SEARCH intents USING INDEX one_plan_per_nonce" in " ".join(plans)
    assert "USING INDEX one_open_plan (chain_id=? AND market=? AND account=?)" in " ".join(plans)


def is_update(value: Any) -> bool:
    return isinstance(value, Update)


async def test_a_line_that_was_never_used_is_closed_and_rolled_back(tmp_path: Path) -> None:
    line = SqliteLine(str(tmp_path / "none.sqlite3"), 1, lambda _: None)

    await line.rollback()
    await line.close()

    assert not (tmp_path / "none.sqlite3").exists()


# --- PostgreSQL --------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize("empty_url", ["postgres"], indirect=True)
async def test_a_connection_that_the_server_ended_is_made_anew(empty_url: str) -> None:
    async with await Database.open(empty_url) as database:
        for how in ("before", "after"):
            async with database.write_directly("test.direct") as there:
                await there.run(PUT, {"key": f"t-{how}", "value": "a"})
            await database.look("test.look", NAMED, {"key": "t"})
            async with database.write("test.ends") as session:
                await session.execute(
                    text(
                        "select pg_terminate_backend(pid) from pg_stat_activity where"
                        " datname = current_database() and pid <> pg_backend_pid()"
                    )
                )
        found = await database.look("test.look", NAMED, {"key": "t-after"})

    assert [row.value for row in found] == ["a"]


@pytest.mark.postgres
@pytest.mark.parametrize("empty_url", ["postgres"], indirect=True)
async def test_one_that_ends_within_a_transaction_fails_it_and_is_not_asked_again(
    empty_url: str,
) -> None:
    async with await Database.open(empty_url) as database:

        async def lost() -> None:
            async with database.write_directly("test.direct") as there:
                await there.run(PUT, {"key": "t1", "value": "a"})
                line = database._direct.line
                assert isinstance(line, PostgresLine)
                line._connection.terminate()
                await there.run(PUT, {"key": "t2", "value": "b"})

        with pytest.raises(JournalError, match=r"did not take test\.direct"):
            await lost()
        async with database.write_directly("test.direct") as there:
            await there.run(PUT, {"key": "t3", "value": "c"})
        assert await kept(database) == [("t3", "c")]


@pytest.mark.postgres
@pytest.mark.parametrize("empty_url", ["postgres"], indirect=True)
async def test_a_server_that_does_not_answer_in_time_is_asked_anew_by_the_next(
    empty_url: str,
) -> None:
    async with await Database.open(empty_url, wait_s=1) as database:
        await put(database)
        with pytest.raises(JournalError, match="did not answer in time"):
            await database.look("test.look", select(func.pg_sleep(8).label("slept")), {})
        found = await database.look("test.look", NAMED, {"key": "t1"})

    assert [row.value for row in found] == ["a"]


@pytest.mark.postgres
@pytest.mark.parametrize("empty_url", ["postgres"], indirect=True)
async def test_closing_ends_a_connection_that_is_being_asked(empty_url: str) -> None:
    database = await Database.open(empty_url)
    await database.look("test.look", NAMED, {"key": "t1"})
    asking = asyncio.create_task(
        database.look("test.look", select(func.pg_sleep(8).label("slept")), {})
    )
    await asyncio.sleep(0.2)
    await database.close()
    with pytest.raises(JournalError):
        await asking
    with pytest.raises(JournalError, match="it was closed"):
        await database.look("test.look", NAMED, {"key": "t1"})
