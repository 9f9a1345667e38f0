"""Journal, outbox, alerts, history, watches, checkpoints and the audit chain."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPEN = sa.text("state IN ('claimed', 'signed', 'sent', 'mined')")
PENDING = sa.text("state = 'pending'")
HELD = sa.text("holds_nonce")


def wide(name: str, *, null: bool = False) -> sa.Column[Any]:
    """An unsigned 256-bit integer that keeps its order on both databases."""
    kind = sa.String(78).with_variant(sa.Numeric(78, 0), "postgresql")
    return sa.Column(name, kind, nullable=null)


def number(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def words(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null)


def address(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(42), nullable=False)


def digest(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(66), nullable=False)


def instant(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=null)


def blob(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def serial() -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, primary_key=True, autoincrement=True)


def upgrade() -> None:
    journal()
    memory()
    people()
    records()


def journal() -> None:
    op.create_table("meta", words("key"), words("value"), sa.PrimaryKeyConstraint("key"))
    op.create_table(
        "intents",
        words("intent_id"),
        number("chain_id"),
        words("market"),
        address("account"),
        words("kind"),
        address("signer"),
        number("nonce"),
        sa.Column("holds_nonce", sa.Boolean(), nullable=False),
        words("state"),
        number("decided_at"),
        number("decided_block"),
        wide("spends"),
        number("gas_limit"),
        wide("max_fee_wei"),
        wide("health_before"),
        wide("health_after", null=True),
        number("sent_at_block", null=True),
        words("receipt", null=True),
        words("plan"),
        instant("claimed_at"),
        instant("ended_at", null=True),
        sa.PrimaryKeyConstraint("intent_id"),
        sa.CheckConstraint(
            "state IN ('claimed', 'signed', 'sent', 'mined', 'confirmed', 'reverted', 'abandoned')",
            name="intents_state",
        ),
    )
    op.create_index(
        "one_open_plan",
        "intents",
        ["chain_id", "market", "account"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index(
        "one_plan_per_nonce",
        "intents",
        ["chain_id", "signer", "nonce"],
        unique=True,
        sqlite_where=HELD,
        postgresql_where=HELD,
    )
    op.create_index("intents_by_signer", "intents", ["chain_id", "signer", "state"])
    op.create_index("intents_by_time", "intents", ["decided_at"])
    op.create_table(
        "attempts",
        serial(),
        words("intent_id"),
        number("ordinal"),
        number("chain_id"),
        digest("tx_hash"),
        blob("raw"),
        wide("max_fee_wei"),
        wide("priority_fee_wei"),
        instant("signed_at"),
        sa.ForeignKeyConstraint(["intent_id"], ["intents.intent_id"]),
        sa.UniqueConstraint("chain_id", "tx_hash", name="one_attempt_per_hash"),
        sa.UniqueConstraint("intent_id", "ordinal", name="attempts_in_order"),
    )
    op.create_table(
        "rehearsals",
        serial(),
        words("intent_id"),
        words("outcome"),
        number("chain_id"),
        words("market"),
        address("account"),
        number("decided_at"),
        words("intent"),
        words("plan", null=True),
        wide("health_after", null=True),
        words("reason"),
        instant("at"),
        sa.UniqueConstraint("intent_id", "outcome", name="one_rehearsal_per_outcome"),
    )
    op.create_index("rehearsals_by_time", "rehearsals", ["decided_at"])


def memory() -> None:
    op.create_table(
        "health_history",
        number("chain_id"),
        words("market"),
        address("account"),
        number("block_number"),
        digest("block_hash"),
        number("block_time"),
        words("protocol"),
        wide("health_factor", null=True),
        wide("collateral", null=True),
        wide("debt", null=True),
        words("reason"),
        sa.PrimaryKeyConstraint("chain_id", "market", "account", "block_number"),
    )
    op.create_index("health_by_account", "health_history", ["account", "block_time"])
    op.create_index("health_by_time", "health_history", ["block_time"])
    op.create_table(
        "decisions",
        serial(),
        words("key"),
        number("chain_id"),
        words("market"),
        address("account"),
        number("block_number"),
        digest("block_hash"),
        number("block_time"),
        words("verdict"),
        words("intent_id", null=True),
        words("reason"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("decisions_by_position", "decisions", ["account", "block_time"])
    op.create_index("decisions_by_time", "decisions", ["block_time"])
    op.create_table(
        "checkpoints",
        number("chain_id"),
        words("market"),
        words("protocol"),
        words("block"),
        blob("accounts"),
        digest("checksum"),
        instant("saved_at"),
        sa.PrimaryKeyConstraint("chain_id", "market"),
    )


def people() -> None:
    op.create_table(
        "alerts",
        words("chat"),
        words("rule"),
        words("subject"),
        number("level"),
        number("fired_at"),
        number("said_at"),
        wide("said_health", null=True),
        wide("lowest", null=True),
        number("clear_since", null=True),
        number("serial"),
        sa.PrimaryKeyConstraint("chat", "rule", "subject"),
    )
    op.create_table(
        "outbox",
        serial(),
        words("key"),
        words("chat"),
        words("severity"),
        number("priority"),
        words("kind"),
        words("text"),
        words("state"),
        number("attempts"),
        instant("next_attempt_at"),
        instant("created_at"),
        instant("delivered_at", null=True),
        words("error"),
        sa.UniqueConstraint("key"),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="outbox_state"),
    )
    op.create_index(
        "outbox_waiting",
        "outbox",
        ["chat", "priority", "id"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_index("outbox_by_state", "outbox", ["state", "delivered_at"])
    op.create_table(
        "chats",
        words("chat"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        words("reason"),
        instant("changed_at"),
        sa.PrimaryKeyConstraint("chat"),
    )
    op.create_table(
        "watches",
        serial(),
        words("chat"),
        address("account"),
        words("label"),
        words("label_key", null=True),
        wide("info", null=True),
        wide("warning", null=True),
        wide("critical", null=True),
        instant("changed_at"),
        sa.ForeignKeyConstraint(["chat"], ["chats.chat"]),
        sa.UniqueConstraint("chat", "account", name="one_watch_per_account"),
        sa.UniqueConstraint("chat", "label_key", name="one_watch_per_label"),
    )
    op.create_table("bots", words("bot"), number("last_update_id"), sa.PrimaryKeyConstraint("bot"))


def records() -> None:
    op.create_table(
        "audit",
        number("seq"),
        number("at_ms"),
        words("event"),
        words("fields"),
        digest("prev_hash"),
        digest("hash"),
        words("key", null=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("key"),
    )
