"""Where the database is, from what the operator wrote.  Pure: nothing is opened here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from keeper.errors import ConfigError

DEFAULT: Final = "keeper.sqlite3"
_POSTGRES: Final = ("postgresql", "postgres", "postgresql+asyncpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteFile:
    """A file of our own."""

    path: Path

    @property
    def shown(self) -> str:
        """What may be printed."""
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A database on a server; `dsn` holds the password and is never printed."""

    dsn: str
    shown: str
    """Scheme, user, host and name: no password, no parameters."""
    secret: str

    def __repr__(self) -> str:
        return f"PostgresServer({self.shown})"


Location = SqliteFile | PostgresServer


def location(url: str) -> Location:
    """Read a path, ``sqlite:///path`` or ``postgresql://user:password@host/name``.

    Raises `ConfigError` for anything else, without repeating what may be a password.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return _file(url)
    if scheme in {"sqlite", "sqlite+aiosqlite"}:
        return _file(rest.removeprefix("/"))
    if scheme not in _POSTGRES:
        raise ConfigError(
            f"database: {scheme}:// is neither a file nor postgresql://; "
            "write a path such as keeper.sqlite3, or postgresql://user@host/keeper"
        )
    return _server(rest)


def _file(path: str) -> SqliteFile:
    if not path or path.startswith(":"):
        raise ConfigError(
            f"database: {path or 'an empty path'} is not a file; a journal must outlive the "
            "process, write a path such as keeper.sqlite3"
        )
    return SqliteFile(path=Path(path))


def _server(rest: str) -> PostgresServer:
    parts = urlsplit(f"postgresql://{rest}")
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise ConfigError(
            "database: the port in the postgresql:// URL is not a number; a password with "
            "/ @ : # or ? in it must be percent-encoded"
        ) from error
    name = parts.path.removeprefix("/")
    if not name:
        raise ConfigError(
            "database: the postgresql:// URL names no database; write postgresql://user@host/keeper"
        )
    user = f"{unquote(parts.username)}@" if parts.username else ""
    return PostgresServer(
        dsn=f"postgresql://{rest}",
        shown=f"postgresql://{user}{parts.hostname or ''}{port}/{name}",
        secret=unquote(parts.password or ""),
    )
