"""Run by alembic with a connection whose transaction `keeper.store.migrate` has begun."""

from alembic import context

from keeper.store.migrations import VERSION_TABLE
from keeper.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
