"""One database, opened: exclusive writes, consistent reads, and errors in plain sentences.

SQLite: write-ahead log with ``synchronous=FULL``, so that a commit that returned survives a power
cut; every write begins with BEGIN IMMEDIATE.  PostgreSQL: every write first takes one advisory
lock, so that "check, then insert" means the same there: one writer at a time.

Caveat: on PostgreSQL a connection that breaks during COMMIT leaves the outcome unknown.  The
writer gets a `JournalError` and must act as if nothing was written; recovery finds what was.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import structlog
from sqlalchemy import URL, Connection, Executable, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from keeper.errors import ConfigError, JournalError, Unavailable
from keeper.secrecy import masked, secrets_of
from keeper.store.direct import DRIVER_ERRORS, Direct, Given, Line, PostgresLine, SqliteLine
from keeper.store.files import prepare
from keeper.store.location import DEFAULT, Location, PostgresServer, SqliteFile, location
from keeper.store.migrate import migrate
from keeper.store.migrations import REVISIONS
from keeper.store.one_hop import Driver
from keeper.store.outage import may_pass, remedy

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

WAIT_S: Final = 10
"""How long a writer waits for another process before it says so."""
WRITER_LOCK: Final = 0x6B656570
"""Key of PostgreSQL's advisory lock."""
_OPEN_S: Final = 60
_SLOW_S: Final = 1.0
_FAILURES: Final = (SQLAlchemyError, sqlite3.Error, *DRIVER_ERRORS)

Failpoint = Callable[[str], None]


WAL_TRIES: Final = 100
WAL_PAUSE_S: Final = 0.02


def _no_failpoint(_: str) -> None:
    """Crash tests put their own here."""


class Database:
    """A database whose schema is the one this code works on.  Close it, or use ``async with``."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        where: Location,
        wait_s: int,
        now: Callable[[], float] = time.time,
        failpoint: Failpoint = _no_failpoint,
    ) -> None:
        """Use `open`.  `now`: the machine's clock, seconds.  `failpoint`: see `write`."""
        self.where = where
        self.now = now
        self.engine = engine
        self._writer = engine.execution_options(keeper_writes=True)
        self._failpoint = failpoint
        self._turn = asyncio.Lock()
        self._direct = Direct(engine.dialect, _line(where, wait_s))
        self._looking = Direct(engine.dialect, _line(where, wait_s))

    @classmethod
    async def open(
        cls,
        url: str = DEFAULT,
        *,
        now: Callable[[], float] = time.time,
        failpoint: Failpoint = _no_failpoint,
        wait_s: int = WAIT_S,
    ) -> Self:
        """Open and migrate a path, ``sqlite:///path`` or ``postgresql://user:password@host/name``.

        `wait_s`: how long to wait for another writer, or for the server.
        Raises, in one sentence with the remedy, `Unavailable` for a database that cannot be reached
        or is locked, and `ConfigError` for one that is damaged, another program's, or written by a
        newer keeper, or whose name or password is wrong.
        """
        where = location(url)
        if isinstance(where, SqliteFile):
            await asyncio.to_thread(prepare, where.path)
        database = cls(
            engine=_engine(where, wait_s), where=where, wait_s=wait_s, now=now, failpoint=failpoint
        )
        try:
            await database._start()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Give back every connection."""
        async with self._turn:  # whoever writes ends first
            await self._direct.line.close()
        await self._looking.line.close()
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def shown(self) -> str:
        """Path or URL without its password."""
        return self.where.shown

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def write(self, name: str) -> AsyncIterator[AsyncSession]:
        """One exclusive, durable transaction: committed when the block ends, else nothing happened.

        Run it under `keeper.store.whole`, so that a cancelled caller does not break it off.
        Never one inside another: the inner one would wait for the outer one.
        `name` is ``noun.verb`` and names the failpoints ``<name>.before_commit`` and
        ``<name>.after_commit``.  Raises `JournalError` when the database does not take it.
        """
        async with (
            self._alone(name),
            AsyncSession(self._writer, expire_on_commit=False) as session,
        ):
            async with session.begin():
                if self.dialect == "postgresql":
                    await session.execute(
                        text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK}
                    )
                yield session
                await session.flush()
                self._failpoint(f"{name}.before_commit")
            self._failpoint(f"{name}.after_commit")

    @asynccontextmanager
    async def write_directly(self, name: str) -> AsyncIterator[Direct]:
        """The same for those that somebody waits for while others race: `keeper.store.direct`."""
        async with self._alone(name):
            line = self._direct.line
            try:
                await line.begin()
                yield self._direct
                self._failpoint(f"{name}.before_commit")
                await line.commit()
            except BaseException:
                await line.rollback()
                raise
            self._failpoint(f"{name}.after_commit")

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        """One writer of this process at a time."""
        async with self._turn:
            began_at = time.monotonic()
            with self._plain_errors(name):
                yield
            took_s = time.monotonic() - began_at
            if took_s > _SLOW_S:
                log.warning("store.slow", transaction=name, took_s=round(took_s, 3))

    @asynccontextmanager
    async def read(self, name: str) -> AsyncIterator[AsyncSession]:
        """One consistent look; never waits for a writer.  Raises `JournalError`."""
        with self._plain_errors(name):
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                yield session

    async def look(self, name: str, statement: Executable, values: Given) -> Sequence[Any]:
        """The rows of one statement, at once.  Never waits for a writer.  Raises `JournalError`."""
        with self._plain_errors(name):
            return await self._looking.run(statement, values)

    @contextmanager
    def _plain_errors(self, name: str) -> "Iterator[None]":
        try:
            yield
        except _FAILURES as error:
            reason = self.reason(error)
            log.error("store.failed", transaction=name, error=reason)  # noqa: TRY400 - it travels on
            raise JournalError(
                f"the database {self.shown} did not take {name} ({reason}); nothing is signed "
                "until it does"
            ) from error

    def reason(self, error: BaseException) -> str:
        """Return the first line of what the database said, without a password."""
        if isinstance(error, TimeoutError):
            return "it did not answer in time"
        cause = getattr(error, "orig", None) or error
        said = str(cause).partition("\n")[0].strip() or type(cause).__name__
        said = said.rpartition(">: ")[2]  # asyncpg's class name, which SQLAlchemy puts in front
        if isinstance(self.where, PostgresServer):
            said = masked(said, {self.where.secret, *secrets_of(self.where.dsn)})
        return said[:200]

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(_OPEN_S), self._writer.begin() as connection:
                if self.dialect == "postgresql":
                    await connection.execute(
                        text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK}
                    )
                await connection.run_sync(_require, self.shown)
                changed = await connection.run_sync(migrate, self.shown)
        except (*_FAILURES, TimeoutError) as error:
            kind = Unavailable if may_pass(error) else ConfigError
            raise kind(
                f"database: {self.shown} cannot be opened ({self.reason(error)}); "
                f"{remedy(error, self.where)}"
            ) from error
        if changed:
            log.info("store.migrated", database=self.shown, revision=REVISIONS[-1])


def _require(connection: Connection, shown: str) -> None:
    if connection.dialect.name == "sqlite":
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        if mode != "wal":
            raise ConfigError(
                f"database: {shown} is on a file system without write-ahead logging ({mode}); put "
                "it on a local disk, or use PostgreSQL"
            )
        return
    encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise ConfigError(
            f"database: {shown} is encoded as {encoding}; create it with ENCODING 'UTF8'"
        )


def _engine(where: Location, wait_s: int) -> AsyncEngine:
    match where:
        case SqliteFile(path=path):
            engine = create_async_engine(
                URL.create("sqlite+aiosqlite", database=str(path)),
                connect_args={"timeout": wait_s},
                module=Driver(),
            )
            event.listen(engine.sync_engine, "connect", _set_up)
            event.listen(engine.sync_engine, "begin", _begin)
            return engine
        case PostgresServer() as server:
            return create_async_engine(
                "postgresql+asyncpg://",
                async_creator=lambda: connect(server, wait_s),
                pool_pre_ping=True,
            )


def _line(where: Location, wait_s: int) -> Line:
    match where:
        case SqliteFile(path=path):
            return SqliteLine(str(path), wait_s, _set_up)
        case PostgresServer() as server:
            return PostgresLine(lambda: connect(server, wait_s), WRITER_LOCK)


async def connect(server: PostgresServer, wait_s: int) -> Any:
    """Return a connection of asyncpg, set up as all of ours are."""
    return await asyncpg.connect(
        server.dsn,
        timeout=wait_s,
        command_timeout=3 * wait_s,
        server_settings={
            "application_name": "keeper",
            "synchronous_commit": "on",
            "lock_timeout": f"{wait_s}s",
            "idle_in_transaction_session_timeout": f"{6 * wait_s}s",
        },
    )


def _set_up(connection: Any, _: object = None) -> None:
    connection.isolation_level = None  # the driver begins nothing: `_begin` does
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Switch the file to WAL.  SQLite does not wait for another that is switching it: we do."""
    for _ in range(WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(WAL_PAUSE_S)
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("keeper_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
