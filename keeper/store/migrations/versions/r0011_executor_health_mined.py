"""The health of a position at the end of the block that its transaction was mined in."""

import sqlalchemy as sa
from alembic import op

revision = "executor0005"
down_revision = "permit0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    wide = sa.String(78).with_variant(sa.Numeric(78, 0), "postgresql")
    op.add_column("intents", sa.Column("health_mined", wide, nullable=True))
