"""What people say about alerts: acknowledged, snoozed, quiet hours; replies and buttons."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "alerts0002"
down_revision = "oracles_0002"
branch_labels = None
depends_on = None


def words(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null, server_default=default)


def number(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=null, server_default=default)


def upgrade() -> None:
    op.add_column("alerts", number("level_at", default="0"))
    op.add_column("alerts", number("escalated", default="0"))
    op.add_column("outbox", words("extra", null=True))
    op.add_column("outbox", words("ref", null=True))
    op.add_column("outbox", words("thread", default=""))
    known = sa.text("ref IS NOT NULL")
    op.create_index(
        "outbox_threads",
        "outbox",
        ["chat", "thread", "id"],
        sqlite_where=known,
        postgresql_where=known,
    )
    op.create_table(
        "hushes",
        words("chat"),
        words("rule"),
        words("subject"),
        number("fired_at"),
        number("level"),
        number("until", null=True),
        words("by"),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("chat", "rule", "subject"),
    )
    op.create_table(
        "chat_hours",
        words("chat"),
        number("quiet_from", null=True),
        number("quiet_to", null=True),
        number("digest_at", null=True),
        words("zone"),
        number("digested_at"),
        sa.PrimaryKeyConstraint("chat"),
    )
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "held_lines",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        words("key"),
        words("chat"),
        number("at"),
        words("text"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("held_by_chat", "held_lines", ["chat", "id"])
