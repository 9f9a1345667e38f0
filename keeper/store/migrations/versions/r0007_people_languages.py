"""The language each chat chose."""

import sqlalchemy as sa
from alembic import op

revision = "people0001"
down_revision = "alerts0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chat_languages",
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chat"),
    )
