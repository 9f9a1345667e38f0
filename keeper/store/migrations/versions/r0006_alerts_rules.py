"""What people want to hear of besides health factors."""

import sqlalchemy as sa
from alembic import op

revision = "alerts0003"
down_revision = "oracles_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rules",
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("chat", "text"),
    )
