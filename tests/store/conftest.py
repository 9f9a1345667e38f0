"""Every test that takes `database` runs on SQLite and on PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from keeper.store.database import Database
from tests.postgres import Postgres, Unavailable, postgres_server
from tests.store.builders import Clock


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        if isinstance(server, Unavailable):
            pytest.skip(server.reason)
        yield server


def migrated(url: str) -> str:
    """Make the schema at `url` and return it."""

    async def run() -> None:
        await (await Database.open(url)).close()

    with asyncio.Runner() as runner:
        runner.run(run())
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(migrated(str(tmp_path_factory.mktemp("template") / "keeper.sqlite3")))


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    url = migrated(postgres.new_database())
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database will be: an empty one on the server, no file yet."""
    if request.param == "sqlite":
        return str(tmp_path / "keeper.sqlite3")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database is whose schema was made, and nothing else."""
    if request.param == "sqlite":
        path = tmp_path / "keeper.sqlite3"
        return str(shutil.copy(request.getfixturevalue("sqlite_template"), path))
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database(request.getfixturevalue("postgres_template"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(url: str, clock: Clock) -> AsyncIterator[Database]:
    async with await Database.open(url, now=clock) as opened:
        yield opened
