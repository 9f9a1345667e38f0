"""Bring the schema up to what this code works on, in the transaction of the caller.

Alembic runs with our connection: schema and revision are written together or not at all, on both
databases, so a kill half-way leaves the old schema.  Nothing is imported or run when the schema
is already right.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from keeper.errors import ConfigError
from keeper.store.files import APPLICATION_ID
from keeper.store.migrations import REVISIONS, VERSION_TABLE

APP: str = "keeper"


def migrate(connection: Connection, shown: str) -> bool:
    """Upgrade to the last of `REVISIONS`; True if anything had to be done.

    Raises `ConfigError` for a database of another program and for one of a newer keeper.
    """
    found = revision(connection, shown)
    if found == REVISIONS[-1]:
        return False
    if found is not None and found not in REVISIONS:
        raise ConfigError(
            f"database: {shown} was written by a newer keeper (schema {found:.40}, this one knows "
            f"up to {REVISIONS[-1]}); update keeper, or restore a backup made before"
        )
    _upgrade(connection)
    if found is None:
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('app', :app)"), {"app": APP})
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    return True


def revision(connection: Connection, shown: str) -> str | None:
    """The schema's revision, or None for an empty database."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if VERSION_TABLE in tables:
        rows = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()  # noqa: S608 - a constant of ours
        if len(rows) == 1:
            return str(rows[0][0])
    raise ConfigError(
        f"database: {shown} holds tables of another program ({min(tables):.60}, ...); give keeper "
        "a database of its own"
    )


def _upgrade(connection: Connection, to: str = "head") -> None:
    from alembic import command  # noqa: PLC0415 - 0.2 s that a ready database does not need
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
