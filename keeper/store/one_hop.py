"""SQLite's driver with one change of thread a statement, where SQLAlchemy's own takes four.

aiosqlite runs everything in a thread of its own, and SQLAlchemy asks it for a cursor, to execute,
to fetch and to close, one after the other; each costs a change of threads there and back, which is
more than SQLite needs for a statement.  Here all four are one piece of work for that thread.

What is written and when it is durable does not change: the statements are the same, in the same
order.
"""

import sqlite3
from collections import deque
from typing import TYPE_CHECKING, Any

import aiosqlite
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_connection
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Cursor(AsyncAdapt_aiosqlite_cursor):
    """Holds what a statement returned; the real cursor is closed by then."""

    __slots__ = ("_description", "_lastrowid", "_rowcount")

    def __init__(self, adapt_connection: AsyncAdapt_dbapi_connection) -> None:
        """Nothing is asked of the database yet."""
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection  # noqa: SLF001 - as its parent does
        self._rows = deque()
        self._description: Any = None
        self._rowcount = -1
        self._lastrowid: Any = None

    @property
    def description(self) -> Any:
        """Names of the columns; None where the statement returns no rows."""
        return self._description

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed; -1 where that has no meaning."""
        return self._rowcount

    @property
    def lastrowid(self) -> Any:
        """The row that was inserted last."""
        return self._lastrowid

    def close(self) -> None:
        """Forget the rows."""
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Nothing is open."""

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        given = () if parameters is None else parameters
        await self._at_once(lambda real: real.execute(operation, given))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._at_once(lambda real: real.executemany(operation, seq_of_parameters))

    async def _at_once(self, statement: "Callable[[sqlite3.Cursor], object]") -> None:
        there: Any = self._connection

        def work() -> tuple[Any, int, Any, list[Any]]:
            real = there._conn.cursor()  # noqa: SLF001 - aiosqlite's thread is where it may be used
            try:
                statement(real)
                rows = real.fetchall() if real.description else []
                return real.description, real.rowcount, real.lastrowid, rows
            finally:
                real.close()

        adapted: Any = self._adapt_connection
        async with adapted._execute_mutex:  # noqa: SLF001 - as its parent does
            found = await there._execute(work)  # noqa: SLF001 - aiosqlite's way into its thread
        self._description, self._rowcount, self._lastrowid, rows = found
        self._rows = deque(rows)


class Connection(AsyncAdapt_aiosqlite_connection):
    """A connection that hands such cursors out."""

    __slots__ = ()
    _cursor_cls = Cursor


class Driver(AsyncAdapt_aiosqlite_dbapi):
    """What `create_engine` takes as its ``module``."""

    def __init__(self) -> None:
        """Take both libraries as SQLAlchemy's dialect does."""
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *args: Any, **more: Any) -> Connection:
        """Open a connection as the parent does."""
        plain = super().connect(*args, **more)
        return Connection(self, plain._connection)  # noqa: SLF001 - it is the parent's attribute
