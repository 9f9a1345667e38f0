"""Why a database could not be opened: an outage, which may pass by itself, or what a person mends.

By the codes of SQLite and PostgreSQL, never by their words.  What is neither is for a person: one
who is told of an outage waits.
"""

import sqlite3
from collections.abc import Iterator
from typing import Final

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from keeper.store.location import Location, SqliteFile

_PRIMARY_CODE: Final = 0xFF
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DISK: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SERVER_STATES: Final = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE: connection, rollback, resources, locks, operator (shut down), system."""

LOCKED: Final = "stop the program that holds it, or wait until it is done"


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another process holds the file."""
    return _code(error) in _LOCKED


def may_pass(error: BaseException) -> bool:
    """Whether the same may succeed later with nothing changed in the configuration."""
    for cause in _causes(error):
        match cause:
            case sqlite3.Error():
                return _code(cause) in _LOCKED | _DISK
            case asyncpg.PostgresError():
                return str(cause.sqlstate or "").startswith(_SERVER_STATES)
            case PermissionError():
                return False
            case OSError() | asyncpg.InternalClientError():  # time-outs are OSErrors too
                return True
    return False


def remedy(error: BaseException, where: Location) -> str:
    """Return what to do about it."""
    if not isinstance(where, SqliteFile):
        return "check that the server runs, and the user, password and name in the URL"
    code = next((_code(one) for one in _causes(error) if isinstance(one, sqlite3.Error)), None)
    if code in _LOCKED:
        return LOCKED
    if code in _DISK:
        return "look at its disk: is it full, or failing?"
    if code in _DAMAGED:
        return "restore a backup"
    return "check the file, its folder and the rights of keeper's user there"


def _code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)  # of the driver's own slips there is none
    return None if code is None else code & _PRIMARY_CODE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, and those that SQLAlchemy wrapped into it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = getattr(found, "orig", None) or found.__cause__
