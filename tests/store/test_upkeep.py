"""``keeper db``: what it says, the copy it makes, and what it finds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keeper.errors import ConfigError
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.store.migrations import REVISIONS
from keeper.store.upkeep import backup, bind_chain, check, info
from tests.store.builders import SIGNER, hash_, plan


async def filled(database: Database) -> None:
    journal = SqlJournal(database, chain_id=31337)
    for number in range(3):
        await journal.claim(plan(f"i-{number}", number), SIGNER, 7)


async def test_the_database_in_a_few_numbers(database: Database) -> None:
    await filled(database)
    await bind_chain(database, 31337, hash_(1))
    await bind_chain(database, 1, hash_(2))
    told = await info(database)

    assert told.revision == REVISIONS[-1]
    assert dict(told.rows)["intents"] == 3
    assert dict(told.rows)["audit"] == 3
    assert (told.open_plans, told.chains) == (3, (1, 31337))
    assert told.engine.partition(" ")[0] == (
        "SQLite" if database.dialect == "sqlite" else "PostgreSQL"
    )
    assert told.size_bytes > 100_000


async def test_a_sound_database_has_no_faults(database: Database) -> None:
    await filled(database)
    found = await check(database)

    assert (found.faults, found.audit_count) == ((), 3)


async def test_another_chain_of_the_same_id_is_refused(database: Database) -> None:
    await bind_chain(database, 31337, hash_(1))
    await bind_chain(database, 31337, hash_(1))

    with pytest.raises(ConfigError, match=r"is about another chain 31337 .* name another database"):
        await bind_chain(database, 31337, hash_(2))


async def test_a_backup_is_a_whole_database(tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    async with await Database.open(str(tmp_path / "k.sqlite3")) as database:
        await filled(database)
        size = await backup(database, copy)
        with pytest.raises(ConfigError, match="exists already; name another file"):
            await backup(database, copy)
        with pytest.raises(ConfigError, match="cannot be written: no such file or directory; name"):
            await backup(database, tmp_path / "missing" / "copy.sqlite3")
        with pytest.raises(ConfigError, match="cannot be written: not a directory; name another"):
            await backup(database, tmp_path / "k.sqlite3" / "copy.sqlite3")

    assert size == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    async with await Database.open(str(copy)) as restored:
        assert len(await SqlJournal(restored, chain_id=31337).open_plans(SIGNER)) == 3
        assert (await check(restored)).faults == ()


async def test_postgresql_is_backed_up_by_its_own_tool(database: Database, tmp_path: Path) -> None:
    if database.dialect == "sqlite":
        await backup(database, tmp_path / "copy")
        return

    with pytest.raises(ConfigError, match="pg_dump --format=custom --file="):
        await backup(database, tmp_path / "copy")


async def test_a_reference_that_points_nowhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite3"
    async with await Database.open(str(path)) as database:
        await filled(database)
        with closing(sqlite3.connect(path)) as other:
            other.execute(
                "INSERT INTO watches (chat, account, label, changed_at) VALUES ('x', '0x', '', 1)"
            )
            other.commit()

        assert (await check(database)).faults == ("foreign_key_check: watches",)
