"""Prices over time: what the protocol said, what the reference said, and what was doubted."""

import sqlalchemy as sa
from alembic import op

revision = "oracles_0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    wide = sa.String(78).with_variant(sa.Numeric(78, 0), "postgresql")
    op.create_table(
        "price_history",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("asset", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(66), nullable=False),
        sa.Column("block_time", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("price", wide, nullable=True),
        sa.Column("reference", wide, nullable=True),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("causes", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "market", "asset", "block_number"),
    )
    op.create_index("prices_by_time", "price_history", ["block_time"])
