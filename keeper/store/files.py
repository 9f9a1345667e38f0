"""A look at a SQLite file before it is opened for writing: whose it is and whether it is whole.

Plain `sqlite3`, read-only, so that a file of somebody else is left exactly as it was.  A file of
ours that a killed process left in the middle of a write is put right.
"""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from keeper.errors import ConfigError, Unavailable
from keeper.store.outage import LOCKED, is_locked, may_pass

APPLICATION_ID: Final = 0x4B455052
"""``KEPR``, in the header of every file of ours."""
CHECKED_AT_OPEN_BYTES: Final = 64 * 2**20
"""Larger files are checked by ``keeper db check`` only: it takes about a second per GB."""
_MAGIC: Final = b"SQLite format 3\x00"


def prepare(path: Path) -> None:
    """Make `path` if it is missing, readable by its owner only; refuse what is not ours.

    Raises, in one sentence with the remedy, `ConfigError`, or `Unavailable` while it is locked.
    """
    folder = path.parent
    try:
        if not folder.is_dir():
            raise ConfigError(f"database: the folder {folder} does not exist; create it")
        if path.is_dir():
            raise ConfigError(f"database: {path} is a folder; name a file in it")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"database: {path} cannot be written ({error.strerror}); give keeper's user the "
            "right to write there, or name another file"
        ) from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(
            f"database: the folder {folder} is read-only and the write-ahead log lives beside the "
            "database; give keeper's user the right to write there"
        )
    if path.stat().st_size:
        _examine(path)


def _examine(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError(
                f"database: {path} is damaged or not a SQLite database; restore a backup, or name "
                "another file"
            )
    try:
        try:
            _look(path, "ro")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            _roll_back(path)
    except sqlite3.OperationalError as error:
        if is_locked(error):
            raise Unavailable(f"database: {path} cannot be read ({error}); {LOCKED}") from error
        kind = Unavailable if may_pass(error) else ConfigError
        raise kind(f"database: {path} cannot be read ({error}); try again, or check it") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"database: {path} is damaged ({error}); restore a backup") from error


def _look(path: Path, mode: str) -> None:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
        _judge(connection, path)


def _roll_back(path: Path) -> None:
    """Undo what a killed process left half written beside the file, which only a writer may.

    Seen when it dies while the file is switched to its write-ahead log.  Done to a copy first: only
    a file that turns out to be ours is written to.
    """
    with tempfile.TemporaryDirectory(prefix="keeper-") as folder:
        copy = Path(folder) / path.name
        for part in path.parent.glob(f"{path.name}*"):
            if part.name.removeprefix(path.name) in {"", "-journal", "-wal"}:
                shutil.copyfile(part, copy.with_name(part.name))
        _look(copy, "rw")
    _look(path, "rw")


def _judge(connection: sqlite3.Connection, path: Path) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if (owner or names) and owner != APPLICATION_ID:
        raise ConfigError(
            f"database: {path} belongs to another program; name a file of keeper's own"
        )
    if path.stat().st_size <= CHECKED_AT_OPEN_BYTES:
        found = " ".join(connection.execute("PRAGMA quick_check(1)").fetchone()[0].split())
        if found != "ok":
            raise ConfigError(f"database: {path} is damaged ({found:.200}); restore a backup")
