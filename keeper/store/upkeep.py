"""``keeper db``: what the database holds, a copy of it, and whether it is whole.

Also `bind_chain`: a journal belongs to one chain of an id, and a local chain that was made anew
is another chain.
"""

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, text
from sqlmodel import col

from keeper.errors import ConfigError
from keeper.model import Hash
from keeper.store import audit
from keeper.store.audit import Broken
from keeper.store.database import Database
from keeper.store.location import SqliteFile
from keeper.store.migrate import revision
from keeper.store.tables import OPEN, IntentRow, MetaRow, Table
from keeper.store.whole import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """The database in a few numbers."""

    shown: str
    """Path, or URL without its password."""
    engine: str
    """``SQLite 3.40.1`` or ``PostgreSQL 15.6``."""
    revision: str
    rows: tuple[tuple[str, int], ...]
    """Table and number of rows, by name."""
    open_plans: int
    size_bytes: int
    chains: tuple[int, ...]
    """Chain ids that were bound to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What `check` found; sound when `faults` is empty."""

    audit_count: int
    audit_head: Hash
    faults: tuple[str, ...]


@whole
async def info(database: Database) -> Info:
    """Count everything; takes a moment on a large database."""
    async with database.read("upkeep.info") as session:
        connection = await session.connection()
        found = await connection.run_sync(revision, database.shown)
        rows = []
        for table in sorted(Table.metadata.tables.values(), key=lambda item: item.name):
            number = await session.scalar(select(func.count()).select_from(table))
            rows.append((table.name, int(number or 0)))
        open_plans = await session.scalar(
            select(func.count()).select_from(IntentRow).where(col(IntentRow.state).in_(OPEN))
        )
        sqlite = database.dialect == "sqlite"
        version, size = (
            (
                "sqlite_version()",
                "(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)",
            )
            if sqlite
            else ("current_setting('server_version')", "pg_database_size(current_database())")
        )
        said, size_bytes = (await session.execute(text(f"SELECT {version}, {size}"))).one()
        chains = await session.scalars(
            select(col(MetaRow.key)).where(col(MetaRow.key).startswith("chain:"))
        )
        return Info(
            shown=database.shown,
            engine=f"{'SQLite' if sqlite else 'PostgreSQL'} {str(said).split()[0]}",
            revision=found or "",
            rows=tuple(rows),
            open_plans=int(open_plans or 0),
            size_bytes=int(size_bytes),
            chains=tuple(sorted(int(key.partition(":")[2]) for key in chains)),
        )


@whole
async def check(database: Database) -> Checked:
    """Look at every page (SQLite), every reference and the whole audit trail."""
    faults: list[str] = []
    if database.dialect == "sqlite":
        async with database.read("upkeep.check") as session:
            for pragma in ("integrity_check", "foreign_key_check"):
                found = (await session.execute(text(f"PRAGMA {pragma}"))).all()
                faults += [
                    f"{pragma}: {' '.join(str(r[0]).split())}" for r in found if r[0] != "ok"
                ]
    trail = await audit.verify(database)
    if isinstance(trail, Broken):
        faults.append(f"audit: row {trail.seq}: {trail.reason}")
    async with database.read("upkeep.check") as session:
        anchor = await audit.head(session)
    return Checked(audit_count=anchor.count, audit_head=anchor.head, faults=tuple(faults))


@whole
async def backup(database: Database, path: Path) -> int:
    """Write a consistent copy while the keeper runs, check it, and return its size in bytes.

    Raises `ConfigError` when `path` exists, cannot be written, or the database is PostgreSQL.
    """
    if not isinstance(database.where, SqliteFile):
        raise ConfigError(
            f"{database.shown} is backed up with PostgreSQL's own tool: "
            f"pg_dump --format=custom --file={path} {database.shown}"
        )
    return await asyncio.to_thread(_copy, database.where.path, path)


def _copy(source: Path, path: Path) -> int:
    if path.exists():
        raise ConfigError(f"{path} exists already; name another file for the backup")
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(partial)) as new:
            old.backup(new)
            found = new.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise ConfigError(f"the copy {path} is damaged ({found:.200}); check {source}")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        said = f"{path} cannot be written: {why[:1].lower()}{why[1:]}; name another file"
        raise ConfigError(said) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path.stat().st_size


@whole
async def bind_chain(database: Database, chain_id: int, genesis: Hash) -> None:
    """Say which chain of this id the journal is about; the first call decides.

    `genesis`: the hash of block 0.  Raises `ConfigError` when another chain of the same id is
    already journalled here: its nonces and plans would be taken for those of this one.
    """
    key = f"chain:{chain_id}"
    async with database.write("upkeep.bind_chain") as session:
        row = await session.get(MetaRow, key)
        if row is None:
            session.add(MetaRow(key=key, value=genesis))
        elif row.value != genesis:
            raise ConfigError(
                f"database: {database.shown} is about another chain {chain_id} (block 0 is "
                f"{row.value:.10}.. there and {genesis:.10}.. here); name another database"
            )
