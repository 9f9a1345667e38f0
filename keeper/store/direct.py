"""Statements between a decision and its transaction on the wire: SQLAlchemy's words, not its road.

A session, a connection out of a pool and the execution of a statement cost several times what the
database does.  For the few transactions that somebody waits for while others race, SQLAlchemy
writes the SQL, once, and the column types convert and check every value as they always do; what is
left out is only the way from there to the driver.  Each of them has a connection of its own.

With SQLite a change of threads is made only where it may have to wait: to begin while another
process is writing, and to commit (the disk).  What comes between is done where the caller is, some
ten microseconds each.  SQLite is built so that a connection may be used by several threads in turn.

What is written and when it is durable does not change: the statements are the same, in the same
order, and the writer's lock is taken as `keeper.store.database` says.
"""

import asyncio
import sqlite3
from collections import namedtuple
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import Boolean, Dialect, Executable
from sqlalchemy.types import TypeDecorator, TypeEngine

from keeper.store.whole import to_the_end

Given = Mapping[str, Any]

CLOSE_S: Final = 5
"""How long a server is given to say goodbye."""
_PRIMARY_CODE: Final = 0xFF
"""Of SQLite's extended result codes."""
DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What asyncpg raises.  The third, where the server's farewell comes as it begins to ask."""


class Line(Protocol):
    """A driver's connection: one transaction or one statement at a time."""

    async def begin(self) -> None:
        """Begin an exclusive transaction."""
        ...

    async def commit(self) -> None:
        """Return when it is durable."""
        ...

    async def rollback(self) -> None:
        """End it if there is one; the next one begins on a connection that is in order."""
        ...

    async def execute(self, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return the rows, in a transaction or alone."""
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


class Direct:
    """One connection to a database, by the columns and types of `keeper.store.tables`."""

    def __init__(self, dialect: Dialect, line: Line) -> None:
        """`dialect`: the engine's.  Nothing is connected yet."""
        self._dialect = dialect
        self._prepared: dict[Executable, _Prepared] = {}
        self.line = line

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._dialect.name

    async def run(self, statement: Executable, values: Given | Sequence[Given]) -> Sequence[Any]:
        """Execute a statement that was built once, for each of `values`; return the last rows.

        Raises `Unfit` and `Damaged` as the column types do, and the driver's own errors.
        """
        every = [values] if isinstance(values, Mapping) else values
        if (prepared := self._prepared.get(statement)) is None:
            prepared = self._prepared[statement] = _Prepared(statement, every[0], self._dialect)
        found: Sequence[Any] = ()
        for given in every:
            found = await self.line.execute(prepared.sql, prepared.filled(given))
        return prepared.read(found)


class _Prepared:
    """The SQL of one statement, and how its values go in and come out."""

    def __init__(self, statement: Any, given: Given, dialect: Dialect) -> None:
        keys = list(given) if statement.is_insert else None
        compiled = statement.compile(dialect=dialect, column_keys=keys)
        self.sql = str(compiled)
        if compiled.post_compile_params:
            raise TypeError(f"IN a list has no SQL before it has its values: {self.sql}")
        self._dialect = dialect
        self._places: list[tuple[str, bool, Any, TypeDecorator[Any] | None]] = [
            (name, bind.required, compiled.params[name], _checked(bind.type))
            for name in compiled.positiontup or ()
            for bind in (compiled.binds[name],)
        ]
        columns = list(statement.selected_columns) if statement.is_select else []
        self._out = [_out(column.type, dialect) for column in columns]
        self._row = _row_class([column.key for column in columns])

    def filled(self, given: Given) -> list[Any]:
        """Return the values in the order of the SQL.

        Raises KeyError for one that was not given: NULL in its place would find nothing.
        """
        dialect, filled = self._dialect, []
        for name, required, constant, kind in self._places:
            value = given[name] if required else constant
            filled.append(value if kind is None else kind.process_bind_param(value, dialect))
        return filled

    def read(self, found: Sequence[Any]) -> Sequence[Any]:
        """Return rows whose fields are named."""
        if not self._out:
            return ()
        row, out = self._row, self._out
        if not any(out):
            return [row._make(values) for values in found]
        return [
            row._make(v if o is None else o(v) for o, v in zip(out, values, strict=True))
            for values in found
        ]


def _checked(kind: TypeEngine[Any]) -> TypeDecorator[Any] | None:
    return kind if isinstance(kind, TypeDecorator) else None


def _row_class(names: Sequence[str]) -> Any:
    return namedtuple("Row", names)  # noqa: PYI024 - its fields are known only now


def _out(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(kind, Boolean):
        return bool  # none of our columns that may be null is one
    if (checked := _checked(kind)) is None or _hands_out(type(checked)):
        return None
    return lambda value: checked.process_result_value(value, dialect)


def _hands_out(kind: type[TypeDecorator[Any]]) -> bool:
    """Whether what the driver returns is the value itself."""
    return kind.process_result_value is TypeDecorator.process_result_value


class SqliteLine:
    """A connection of its own to the file."""

    def __init__(
        self, path: str, wait_s: int, set_up: Callable[[sqlite3.Connection], None]
    ) -> None:
        """`set_up`: what is done with a new connection.  Nothing is opened yet."""
        self._path = path
        self._wait_ms = wait_s * 1000
        self._set_up = set_up
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper-sqlite")
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def begin(self) -> None:
        """Take the writer's lock."""
        await self.execute("BEGIN IMMEDIATE", ())

    async def commit(self) -> None:
        """Wait for the disk in a thread."""
        connection = await self._opened()
        await self._beside(lambda: connection.execute("COMMIT"))

    async def rollback(self) -> None:
        """Forget what was not committed."""
        if self._connection is not None and self._connection.in_transaction:
            self._connection.rollback()

    async def execute(self, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        """Execute it here; in the thread only where it has to wait for another process."""
        connection = self._connection or await self._opened()
        try:
            return connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                raise
        found: Sequence[Any] = await self._beside(
            lambda: _patiently(connection, self._wait_ms, sql, values)
        )
        return found

    async def close(self) -> None:
        """Close the file, after what the thread is at."""
        if self._closed:
            return
        self._closed = True
        if self._connection is not None:
            await self._beside(self._connection.close)
            self._connection = None
        self._thread.shutdown(wait=False)

    async def _opened(self) -> sqlite3.Connection:
        if self._closed:
            raise sqlite3.ProgrammingError("it was closed")
        if self._connection is None:
            self._connection = await self._beside(self._open)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:  # somebody else was first
            return self._connection
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(connection)
            # whoever writes in a session does it: a transaction on its way would wait for the disk
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    async def _beside(self, work: Callable[[], Any]) -> Any:
        """Do it in the thread.  Whoever is cancelled waits for it: two threads must not use one
        connection at the same time, and what began must be known to have begun.
        """
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, work))


def _patiently(
    connection: sqlite3.Connection, wait_ms: int, sql: str, values: Sequence[Any]
) -> Sequence[Any]:
    connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


class PostgresLine:
    """A connection of its own to the server, made anew where it was lost between two uses."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], lock: int) -> None:
        """`lock`: the key of the advisory lock that a transaction takes."""
        self._connect = connect
        self._begin = f"BEGIN; SELECT pg_advisory_xact_lock({lock})"
        self._connection: Any = None
        self._closed = False
        self._within = False
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Take the lock in the same round trip."""
        await self._try(lambda connection: connection.execute(self._begin))
        self._within = True

    async def commit(self) -> None:
        """Return when the server has written it.  What raises leaves the outcome unknown."""
        await self._connection.execute("COMMIT")
        self._within = False

    async def rollback(self) -> None:
        """Forget what was not committed; a connection that cannot is not used again."""
        self._within = False
        if self._connection is None or self._connection.is_closed():
            return
        try:
            await self._connection.execute("ROLLBACK")
        except DRIVER_ERRORS:
            self._connection.terminate()

    async def execute(self, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        """Ask the server; alone, once more where the connection was lost before it was asked."""
        if self._within:
            return await _fetch(self._connection, sql, values)
        async with self._turn:  # a driver's connection answers one question at a time
            found: Sequence[Any] = await self._try(lambda there: _fetch(there, sql, values))
            return found

    async def close(self) -> None:
        """End the connection."""
        self._closed = True
        if self._connection is not None and not self._connection.is_closed():
            with suppress(*DRIVER_ERRORS):  # the driver then ends it without a goodbye
                await self._connection.close(timeout=CLOSE_S)
        self._connection = None

    async def _try(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Do what writes nothing; once more on a new connection where the old one was lost."""
        if self._closed:
            raise asyncpg.InterfaceError("it was closed")
        if self._connection is not None and not self._connection.is_closed():
            try:
                return await work(self._connection)
            except TimeoutError:  # nobody is there: whoever comes next asks for a new one
                self._connection.terminate()
                raise
            except asyncpg.InternalClientError:
                self._connection.terminate()
            except DRIVER_ERRORS:
                if not self._connection.is_closed():
                    raise
        fresh = await self._connect()
        if self._closed:
            fresh.terminate()
            raise asyncpg.InterfaceError("it was closed")
        self._connection = fresh
        return await work(fresh)


async def _fetch(connection: Any, sql: str, values: Sequence[Any]) -> Sequence[Any]:
    found: Sequence[Any] = await connection.fetch(sql, *values)
    return found
