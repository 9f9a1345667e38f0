"""Rounds of feeds over time: what each answered, when it was seen, and what was thought of it."""

import sqlalchemy as sa
from alembic import op

revision = "oracles_0004"
down_revision = "executor0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    wide = sa.String(78).with_variant(sa.Numeric(78, 0), "postgresql")
    op.create_table(
        "feed_rounds",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("feed", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(66), nullable=False),
        sa.Column("block_time", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("decimals", sa.BigInteger(), nullable=False),
        sa.Column("round_id", wide, nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "feed", "block_number"),
    )
    op.create_index("rounds_by_time", "feed_rounds", ["block_time"])
