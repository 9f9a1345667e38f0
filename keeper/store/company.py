"""Whether another keeper runs on the same database.  Any number may: who starts is told.

Two keepers are safe by the journal, and wasteful: each simulates and answers for itself, and both
poll the bot.  Every one that runs holds a shared lock, which goes with its process however that
ends: on a file beside SQLite's, or of a connection of its own to PostgreSQL.  Who starts asks for
the whole lock first, and gets it where nobody else is there.

Caveat: one with the same key on another database is not seen here; its transactions are, as those
of a stranger, which disarms.  Nor is one whose connection to PostgreSQL was lost.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from keeper.store.database import WAIT_S, WRITER_LOCK, Database, connect
from keeper.store.direct import CLOSE_S, DRIVER_ERRORS
from keeper.store.location import PostgresServer, SqliteFile

SUFFIX: Final = ".running"
_LOCK: Final = WRITER_LOCK + 1


@asynccontextmanager
async def counted_in(database: Database) -> AsyncIterator[bool]:
    """Be known as one that runs until the block ends; whether another one was there.

    Where that cannot be found out, nobody was.
    """
    match database.where:
        case SqliteFile(path=path):
            file = await asyncio.to_thread(_opened, path)
            try:
                yield False if file is None else await asyncio.to_thread(_others_on, file)
            finally:
                if file is not None:
                    os.close(file)
        case PostgresServer() as server:
            async with _others_at(server) as others:
                yield others


def _opened(path: Path) -> int | None:
    """Open the file that stands for the database.

    Not the database itself: to close that would drop SQLite's own locks on it.
    """
    try:
        return os.open(path.with_name(path.name + SUFFIX), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None


def _others_on(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        others = True
    except OSError:  # a file system without locks
        return False
    else:
        others = False
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)  # the whole one is held for this moment only
    return others


@asynccontextmanager
async def _others_at(server: PostgresServer) -> AsyncIterator[bool]:
    connection = None
    others = False
    with suppress(*DRIVER_ERRORS):
        connection = await connect(server, WAIT_S)
        others = not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK)
        await connection.execute(f"SELECT pg_advisory_lock_shared({_LOCK})")
        if not others:
            await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")
    try:
        yield others
    finally:
        if connection is not None:
            try:
                await connection.close(timeout=CLOSE_S)
            except (*DRIVER_ERRORS, TimeoutError):
                connection.terminate()
