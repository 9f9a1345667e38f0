"""Several intents in one transaction: which intent's transaction carries another."""

import sqlalchemy as sa
from alembic import op

revision = "batch0005"
down_revision = "people0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("intents", sa.Column("leader", sa.Text(), nullable=True))
    op.create_index("intents_by_leader", "intents", ["leader"])
