"""A throw-away PostgreSQL for tests, where its binaries are installed.

It listens on a Unix socket in a folder of its own, keeps nothing safe (``fsync = off``) and goes
with the process that started it.  PostgreSQL refuses to run as root: then it runs as `postgres`.
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # asyncpg has no types

_READY_S = 30
_INITDB = ("--username=keeper", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """There is no PostgreSQL here, and why: the reason to skip."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A server that runs."""

    socket: Path

    def url(self, database: str = "postgres") -> str:
        """For `Database.open` and asyncpg alike."""
        return f"postgresql://keeper@/{database}?host={self.socket}"

    def new_database(self, template: str = "template1") -> str:
        """Make a database, empty or a copy of `template`, and return its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str, url: str | None = None) -> None:
        """Run one statement as the superuser."""

        async def run() -> None:
            connection = await asyncpg.connect(url or self.url())
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        with asyncio.Runner() as runner:
            runner.run(run())


@contextmanager
def postgres_server() -> Iterator[Postgres | Unavailable]:
    """Start a server, or say why not."""
    binaries = _binaries()
    if binaries is None:
        yield Unavailable(reason="PostgreSQL is not installed (apt-get install postgresql)")
        return
    prefix = _prefix()
    if isinstance(prefix, Unavailable):
        yield prefix
        return
    home = Path(tempfile.mkdtemp(prefix="keeper-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        subprocess.run(
            [*prefix, binaries / "initdb", "--pgdata", data, *_INITDB],
            check=True,
            capture_output=True,
            cwd=home,
        )
        settings = {"listen_addresses": "", "unix_socket_directories": str(home)}
        settings |= {"fsync": "off", "full_page_writes": "off", "max_connections": "50"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [*prefix, binaries / "postgres", "-D", data, *options],
                stdout=log,
                stderr=log,
                cwd=home,
            )
        try:
            _await_ready(server, home)
            yield Postgres(socket=home)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is kept
            server.wait(timeout=_READY_S)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _binaries() -> Path | None:
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: p.parent.name, reverse=True
    )
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _prefix() -> list[str] | Unavailable:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return [setpriv, "--pdeathsig", "QUIT"] if setpriv else []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return Unavailable(reason="PostgreSQL refuses to run as root and there is no user postgres")
    if setpriv is None:
        return Unavailable(reason="PostgreSQL refuses to run as root and setpriv is not installed")
    user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    return [setpriv, *user, "--pdeathsig", "QUIT"]


def _await_ready(server: subprocess.Popen[bytes], home: Path) -> None:
    postgres = Postgres(socket=home)
    for _ in range(_READY_S * 20):
        if server.poll() is not None:
            break
        try:
            postgres.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {(home / 'log').read_text()[-2000:]}")
