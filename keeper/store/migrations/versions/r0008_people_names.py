"""Accounts that are watched by a name."""

import sqlalchemy as sa
from alembic import op

revision = "people0002"
down_revision = "people0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "watched_names",
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chat", "account"),
    )
