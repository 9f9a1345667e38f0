"""Liquidations on chain, ours or not; what rehearsals would have paid; rollups' data fees."""

import sqlalchemy as sa
from alembic import op

revision = "executor0004"
down_revision = "alerts0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    wide = sa.String(78).with_variant(sa.Numeric(78, 0), "postgresql")
    none = sa.Column("data_fee_wei", wide, nullable=False, server_default="0" * 78)
    op.add_column("intents", none)
    op.add_column("rehearsals", sa.Column("cost", sa.Text(), nullable=True))
    op.create_table(
        "liquidations",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(66), nullable=False),
        sa.Column("block_time", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("liquidator", sa.String(42), nullable=False),
        sa.Column("taken", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "block_number", "log_index"),
    )
    op.create_index("liquidations_by_time", "liquidations", ["block_time"])
    op.create_index("liquidations_by_hash", "liquidations", ["block_hash"])
