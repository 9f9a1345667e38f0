"""Permits that accounts were asked for, and those that they signed."""

import sqlalchemy as sa
from alembic import op

revision = "permit0001"
down_revision = "batch0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    wide = sa.String(78).with_variant(sa.Numeric(78, 0), "postgresql")
    op.create_table(
        "permits",
        sa.Column("digest", sa.String(66), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        sa.Column("owner", sa.String(42), nullable=False),
        sa.Column("spender", sa.String(42), nullable=False),
        sa.Column("value", wide, nullable=False),
        sa.Column("nonce", wide, nullable=False),
        sa.Column("deadline", wide, nullable=False),
        sa.Column("v", sa.BigInteger(), nullable=True),
        sa.Column("r", sa.String(66), nullable=True),
        sa.Column("s", sa.String(66), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("permits_by_owner", "permits", ["chain_id", "owner"])
