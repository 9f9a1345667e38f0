"""Opening: what is refused, in one sentence that a person can act upon, and what is never lost."""

import asyncio
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from keeper.errors import ConfigError, JournalError, Unavailable
from keeper.model import OpenPlan
from keeper.store.audit import verify
from keeper.store.database import Database
from keeper.store.files import APPLICATION_ID, prepare
from keeper.store.journal import SqlJournal
from keeper.store.location import PostgresServer, location
from keeper.store.migrations import REVISIONS, VERSION_TABLE
from keeper.store.tables import Table
from tests.postgres import Postgres
from tests.store.builders import SIGNER, plan

ROOT = Path(__file__).parents[2]


async def refusal(url: str | Path) -> str:
    with pytest.raises(ConfigError) as refused:
        await Database.open(str(url))
    said = str(refused.value)
    assert "\n" not in said
    return said


async def unavailable(url: str | Path) -> str:
    with pytest.raises(Unavailable) as refused:
        await Database.open(str(url), wait_s=1)
    return str(refused.value)


async def test_a_new_database_is_made_and_opened_again(empty_url: str) -> None:
    for _ in range(2):
        async with await Database.open(empty_url) as database:
            journal = SqlJournal(database, chain_id=31337)
            if not await journal.open_plans(SIGNER):
                await journal.claim(plan(), SIGNER, 7)

    async with await Database.open(empty_url) as database:
        assert len(await SqlJournal(database, chain_id=31337).open_plans(SIGNER)) == 1


async def test_several_that_open_a_new_database_at_once_all_succeed(empty_url: str) -> None:
    opened = await asyncio.gather(*(Database.open(empty_url) for _ in range(4)))

    for database in opened:
        await database.close()
    assert len(opened) == 4


async def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, Table.metadata))

    async with database.read("test.compare") as session:
        assert await (await session.connection()).run_sync(differences) == []


def test_the_known_revisions_are_those_on_disk() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "keeper/store/migrations"))
    on_disk = ScriptDirectory.from_config(config).walk_revisions()

    assert tuple(script.revision for script in on_disk)[::-1] == REVISIONS


async def test_the_journal_is_written_through_to_the_disk(tmp_path: Path) -> None:
    async with (
        await Database.open(str(tmp_path / "k.sqlite3")) as database,
        database.read("test.pragmas") as session,
    ):
        settings = [
            (await session.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert settings == ["wal", 2, 1]  # 2 is FULL


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite3"
    await (await Database.open(str(path))).close()

    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_schema_of_a_newer_keeper_is_refused(url: str) -> None:
    async with (
        await Database.open(url) as database,
        database.write("test.newer") as session,
    ):
        await session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))

    said = await refusal(url)
    assert f"was written by a newer keeper (schema 0999, this one knows up to {REVISIONS[-1]})" in (
        said
    )
    assert "update keeper, or restore a backup" in said


@pytest.mark.postgres
async def test_a_database_with_tables_of_another_program_is_left_alone(postgres: Postgres) -> None:
    url = await asyncio.to_thread(postgres.new_database)
    await asyncio.to_thread(postgres.execute, "CREATE TABLE invoices (id int)", url)

    assert "holds tables of another program (invoices, ...)" in await refusal(url)


@pytest.mark.postgres
async def test_an_unreachable_server_is_said_without_the_password(
    postgres: Postgres, tmp_path: Path
) -> None:
    for url, why in (
        (f"postgresql://keeper:hunter2@/x?host={tmp_path}", "No such file"),
        ("postgresql://keeper:hunter2@127.0.0.1:1/x", "Connect call failed|refused"),
        (f"postgresql://keeper:hunter2@/nosuch?host={postgres.socket}", '"nosuch" does not exist'),
        (f"postgresql://hunter2:hunter2@/x?host={postgres.socket}", 'role "[*]+" does not exist'),
    ):
        outage = "does not exist" not in why
        said = await (unavailable(url) if outage else refusal(url))

        assert re.search(why, said), said
        assert "check that the server runs" in said
        assert "hunter2" not in said.replace("postgresql://hunter2@", "")


async def test_a_file_that_is_not_a_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 300)

    assert f"{path} is damaged or not a SQLite database" in await refusal(path)
    assert path.read_text() == "Dear diary, " * 300


def half_written(folder: Path, *, by: int) -> Path:
    """What a process leaves that is killed in the middle of a write before the file has a log."""
    whole = folder / "whole.sqlite3"
    with closing(sqlite3.connect(whole, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {by}")
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.execute("BEGIN")
        connection.execute("PRAGMA cache_size = 2")
        for number in range(2_000):  # more than the cache: the file is written before the end
            connection.execute("INSERT INTO t VALUES (?)", (f"{number}" * 40,))
        for name in ("whole.sqlite3", "whole.sqlite3-journal"):
            shutil.copy(folder / name, folder / name.replace("whole", "half"))
    return folder / "half.sqlite3"


def test_a_file_of_ours_that_was_half_written_is_put_right(tmp_path: Path) -> None:
    path = half_written(tmp_path, by=APPLICATION_ID)

    prepare(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_half_written_file_of_another_program_is_refused_and_left_as_it_was(
    tmp_path: Path,
) -> None:
    path = half_written(tmp_path, by=17)
    before = [part.read_bytes() for part in sorted(tmp_path.glob("half*"))]

    with pytest.raises(ConfigError, match="belongs to another program"):
        prepare(path)
    assert [part.read_bytes() for part in sorted(tmp_path.glob("half*"))] == before


async def test_a_database_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE invoices (id int)")
        connection.commit()
    before = path.read_bytes()

    assert f"{path} belongs to another program" in await refusal(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]  # noqa: ASYNC240 - a local listing in a test


@pytest.mark.parametrize("damage", ["cut", "scribbled", "header"])
async def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "k.sqlite3"
    async with await Database.open(str(path)) as database:
        journal = SqlJournal(database, chain_id=31337)
        for number in range(20):
            await journal.claim(plan(f"i-{number}", number), SIGNER, 7)
    whole = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "scribbled":
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + os.urandom(8192) + whole[middle + 8192 :])
        case _:
            path.write_bytes(b"\x00" * 100 + whole[100:])

    assert "is damaged" in await refusal(path)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("missing/k.sqlite3", "the folder .*missing does not exist; create it"),
        (".", "is a folder; name a file in it"),
        ("", "an empty path is not a file"),
        (":memory:", ":memory: is not a file; a journal must outlive the process"),
        ("sqlite:///", "an empty path is not a file"),
        ("mysql://root:hunter2@host/x", "mysql:// is neither a file nor postgresql://"),
        ("postgresql://host", "names no database"),
        ("postgresql://u:pass:word@h:x/y", "the port in the postgresql:// URL is not a number"),
        ("/proc/keeper.sqlite3", "cannot be written"),
    ],
)
async def test_a_place_that_cannot_hold_a_database_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert re.search(said, await refusal(where))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_folder_that_may_not_be_written_is_refused() -> None:
    program = (
        "import os, sys; from pathlib import Path; from keeper.errors import ConfigError\n"
        "from keeper.store.files import prepare\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for path in sys.argv[1:]:\n"
        "    try: prepare(Path(path))\n"
        "    except ConfigError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        readable, hidden = Path(folder) / "readable", Path(folder) / "hidden"
        readable.mkdir(mode=0o755)
        hidden.mkdir(mode=0o700)
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", program, readable / "k.sqlite3", hidden / "k.sqlite3"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )

    said = "cannot be written (Permission denied); give keeper's user the right to write there"
    assert done.stdout.count(said) == 2


async def test_a_locked_database_says_so_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite3"
    async with await Database.open(str(path), wait_s=0) as database:
        journal = SqlJournal(database, chain_id=31337)
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match=r"did not take journal\.claim \(database is lo"):
                await journal.claim(plan(), SIGNER, 7)
            assert await journal.open_plans(SIGNER) == ()
            other.rollback()

        assert (await journal.claim(plan(), SIGNER, 7)).nonce == 7


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_a_file_that_is_locked_at_the_start_is_an_outage_and_no_damage(
    tmp_path: Path, lock: str
) -> None:
    path = tmp_path / "k.sqlite3"
    await (await Database.open(str(path))).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(lock)

        said = await unavailable(path)

    assert "(database is locked); stop the program that holds it, or wait until it is" in said
    assert "backup" not in said


async def test_a_writer_that_is_cancelled_leaves_no_lock_behind(url: str) -> None:
    wait_s = 10 if url.startswith("postgresql") else 0  # SQLite: a lock left behind shows at once
    chance = random.Random(21_034_511)
    async with await Database.open(url, wait_s=wait_s) as database:
        journal = SqlJournal(database, chain_id=31337)
        for number in range(40):
            task = asyncio.create_task(journal.claim(plan(f"i-{number}", number), SIGNER, 7))
            await asyncio.sleep(chance.random() * 0.008)
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(ended, OpenPlan | asyncio.CancelledError)
        claimed = {item.nonce for item in await journal.open_plans(SIGNER)}
        last = await journal.claim(plan("last", 99), SIGNER, 7)

    assert claimed == set(range(7, last.nonce))


async def test_an_error_in_the_middle_of_a_transaction_takes_everything_back(
    database: Database,
) -> None:
    def crash(name: str) -> None:
        if name == "journal.claim.before_commit":
            raise RuntimeError(name)

    async with await Database.open(_url(database), failpoint=crash) as failing:
        with pytest.raises(RuntimeError, match="before_commit"):
            await SqlJournal(failing, chain_id=31337).claim(plan(), SIGNER, 7)

    assert await SqlJournal(database, chain_id=31337).open_plans(SIGNER) == ()


def _url(database: Database) -> str:
    where = database.where
    return where.dsn if isinstance(where, PostgresServer) else where.shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://me:hunter2@db:5432/keeper?sslmode=require",
            "postgresql://me@db:5432/keeper",
        ),
        ("postgres://me:p%40ss@db/keeper?password=hunter2", "postgresql://me@db/keeper"),
        ("sqlite:///data/k.sqlite3", "data/k.sqlite3"),
        ("sqlite:////data/k.sqlite3", "/data/k.sqlite3"),
        ("k.sqlite3", "k.sqlite3"),
    ],
)
def test_what_is_shown_of_a_location_holds_no_secret(url: str, shown: str) -> None:
    assert location(url).shown == shown
    assert "hunter2" not in repr(location(url))
    assert "p@ss" not in repr(location(url))


# --- killed ---------------------------------------------------------------------------------

KILLED = """
import asyncio, os, signal, sys
sys.path.insert(0, {root!r})
from keeper.model import TxState
from keeper.store.database import Database
from keeper.store.files import APPLICATION_ID, prepare
from keeper.store.journal import SqlJournal
from tests.store.builders import SIGNER, attempt, message, plan, receipt

def die(name):
    if name == {at!r}:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database = await Database.open({url!r}, failpoint=die)
    journal = SqlJournal(database, chain_id=31337)
    await journal.claim(plan("i-0", 9), SIGNER, 6)
    await journal.claim(plan("i-1", 1), SIGNER, 7)
    await journal.signed("i-1", attempt(1))
    await journal.sent("i-1", 21_034_512)
    await journal.mined("i-1", receipt(1))
    await journal.settle("i-1", TxState.CONFIRMED, receipt(1), [message("done")], [])

asyncio.run(main())
"""

AFTER: dict[str, Callable[[str], bool]] = {
    "journal.signed.before_commit": lambda state: state == "claimed",
    "journal.signed.after_commit": lambda state: state == "signed",
    "journal.sent.before_commit": lambda state: state == "signed",
    "journal.mined.after_commit": lambda state: state == "mined",
    "journal.settle.before_commit": lambda state: state == "mined",
    "journal.settle.after_commit": lambda state: state == "ended",
}


@pytest.mark.parametrize("at", AFTER)
async def test_a_journal_that_was_killed_between_two_steps_is_whole(url: str, at: str) -> None:
    program = KILLED.format(root=str(ROOT), url=url, at=at)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, check=False
    )
    async with await Database.open(url) as database:
        plans = {
            item.plan.intent.intent_id: item
            for item in await SqlJournal(database, chain_id=31337).open_plans(SIGNER)
        }
        following = await SqlJournal(database, chain_id=31337).claim(plan("i-2", 2), SIGNER, 6)
        async with database.read("test.outbox") as session:
            told = (await session.execute(text("SELECT count(*) FROM outbox"))).scalar_one()
        trail = await verify(database)

    assert done.returncode == -9, done.stderr.decode()
    state = str(plans["i-1"].state) if "i-1" in plans else "ended"
    assert AFTER[at](state)
    assert told == (1 if state == "ended" else 0)
    assert following.nonce == 8
    assert all(item.raw for plan_ in plans.values() for item in plan_.attempts)
    assert type(trail).__name__ == "Verified"


MIGRATION_KILLED = """
import asyncio, os, signal, sys
from alembic.runtime.migration import MigrationContext
from keeper.store import migrate
from keeper.store.database import Database
from keeper.store.files import APPLICATION_ID, prepare

inner = migrate._upgrade
def upgrade(connection):
    inner(connection)
    os.kill(os.getpid(), signal.SIGKILL)
migrate._upgrade = upgrade
asyncio.run(Database.open({url!r}))
"""


async def test_a_migration_that_was_killed_did_not_happen(empty_url: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", MIGRATION_KILLED.format(url=empty_url)],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    async with await Database.open(empty_url) as database:
        claimed = await SqlJournal(database, chain_id=31337).claim(plan(), SIGNER, 7)

    assert done.returncode == -9, done.stderr.decode()
    assert claimed.nonce == 7
