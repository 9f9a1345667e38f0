"""The tables.  Rows are made in `keeper.store.rows` and `people_rows` only, from dataclasses.

What is asked for by SQL is a column; what only travels (a whole plan, a receipt) is a document.
``decided_at``, ``block_time`` and ``*_since`` are chain seconds; ``at`` and other ``*_at`` are the
machine's clock, seconds, and order nothing.
The schema itself is made by `keeper.store.migrations`; a test compares the two.

One file, though it is long: it is read beside a database, as the list of what lies there.
"""

from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    UniqueConstraint,
)
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from keeper.model import TxState
from keeper.store.types import DIGITS, Blob, Document, Hex, Uint63, Uint256, Words

OPEN: Final = (TxState.CLAIMED, TxState.SIGNED, TxState.SENT, TxState.MINED)
"""States of a plan that is not ended: one such plan per position."""
_OPEN_SQL: Final = ", ".join(f"'{state}'" for state in OPEN)
_STATES_SQL: Final = ", ".join(f"'{state}'" for state in TxState)


class Table(SQLModel):
    """Base of the tables, with a catalogue of their own."""

    metadata: ClassVar[MetaData] = MetaData()


def _column(kind: Any, *more: Any, **options: Any) -> Any:
    options.setdefault("nullable", False)
    return Field(default=None, sa_column=Column(kind, *more, **options))


def _serial() -> Any:
    key = BigInteger().with_variant(Integer(), "sqlite")
    return Field(default=None, sa_column=Column(key, primary_key=True, autoincrement=True))


class MetaRow(Table, table=True):
    """Facts about the database itself: whose it is, which chains it has seen."""

    __tablename__ = "meta"
    key: str = _column(Words("meta.key"), primary_key=True)
    value: str = _column(Words("meta.value"))


class IntentRow(Table, table=True):
    """One claimed plan: the journal."""

    __tablename__ = "intents"
    intent_id: str = _column(Words("intents.intent_id"), primary_key=True)
    chain_id: int = _column(Uint63("intents.chain_id"))
    market: str = _column(Words("intents.market"))
    account: str = _column(Hex("intents.account", 20))
    kind: str = _column(Words("intents.kind"))
    signer: str = _column(Hex("intents.signer", 20))
    nonce: int = _column(Uint63("intents.nonce"))
    holds_nonce: bool = _column(Boolean())
    """False for a plan that was abandoned before anything was signed, and for one that another
    one's transaction carries."""
    leader: str | None = _column(Words("intents.leader"), nullable=True)
    """The intent whose transaction carries this one; null for one that has its own."""
    state: str = _column(Words("intents.state"))
    decided_at: int = _column(Uint63("intents.decided_at"))
    decided_block: int = _column(Uint63("intents.decided_block"))
    spends: int = _column(Uint256("intents.spends"))
    gas_limit: int = _column(Uint63("intents.gas_limit"))
    max_fee_wei: int = _column(Uint256("intents.max_fee_wei"))
    data_fee_wei: int = _column(Uint256("intents.data_fee_wei"), server_default="0" * DIGITS)
    health_before: int = _column(Uint256("intents.health_before"))
    health_after: int | None = _column(Uint256("intents.health_after"), nullable=True)
    """As simulated before sending."""
    health_mined: int | None = _column(Uint256("intents.health_mined"), nullable=True)
    """At the end of the block that it was mined in; null where nothing was done or not read."""
    sent_at_block: int | None = _column(Uint63("intents.sent_at_block"), nullable=True)
    receipt: Any = _column(Document("intents.receipt"), nullable=True)
    plan: Any = _column(Document("intents.plan"))
    """The whole plan, written once; the columns above are what is asked for."""
    claimed_at: float = _column(Double())
    ended_at: float | None = _column(Double(), nullable=True)

    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES_SQL})", name="intents_state"),
        Index(
            "one_open_plan",
            "chain_id",
            "market",
            "account",
            unique=True,
            sqlite_where=sql(f"state IN ({_OPEN_SQL})"),
            postgresql_where=sql(f"state IN ({_OPEN_SQL})"),
        ),
        Index(
            "one_plan_per_nonce",
            "chain_id",
            "signer",
            "nonce",
            unique=True,
            sqlite_where=sql("holds_nonce"),
            postgresql_where=sql("holds_nonce"),
        ),
        Index("intents_by_signer", "chain_id", "signer", "state"),
        Index("intents_by_time", "decided_at"),
        Index("intents_by_leader", "leader"),
    )


IS_OPEN: Final = sql(f"intents.state IN ({_OPEN_SQL})")
HOLDS_NONCE: Final = sql("intents.holds_nonce")
"""The very words of the two partial indexes: SQLite uses them for no others, and would read every
plan there ever was."""


class AttemptRow(Table, table=True):
    """One signed transaction: the bytes as they were signed, never rebuilt."""

    __tablename__ = "attempts"
    id: int = _serial()
    intent_id: str = _column(Words("attempts.intent_id"), ForeignKey("intents.intent_id"))
    ordinal: int = _column(Uint63("attempts.ordinal"))
    chain_id: int = _column(Uint63("attempts.chain_id"))
    tx_hash: str = _column(Hex("attempts.tx_hash", 32))
    raw: bytes = _column(Blob("attempts.raw"))
    max_fee_wei: int = _column(Uint256("attempts.max_fee_wei"))
    priority_fee_wei: int = _column(Uint256("attempts.priority_fee_wei"))
    signed_at: float = _column(Double())

    __table_args__ = (
        UniqueConstraint("chain_id", "tx_hash", name="one_attempt_per_hash"),
        UniqueConstraint("intent_id", "ordinal", name="attempts_in_order"),
    )


class RehearsalRow(Table, table=True):
    """What was not sent: rehearsed because nothing is armed, or declined."""

    __tablename__ = "rehearsals"
    id: int = _serial()
    intent_id: str = _column(Words("rehearsals.intent_id"))
    outcome: str = _column(Words("rehearsals.outcome"))
    chain_id: int = _column(Uint63("rehearsals.chain_id"))
    market: str = _column(Words("rehearsals.market"))
    account: str = _column(Hex("rehearsals.account", 20))
    decided_at: int = _column(Uint63("rehearsals.decided_at"))
    intent: Any = _column(Document("rehearsals.intent"))
    plan: Any = _column(Document("rehearsals.plan"), nullable=True)
    health_after: int | None = _column(Uint256("rehearsals.health_after"), nullable=True)
    cost: Any = _column(Document("rehearsals.cost"), nullable=True)
    """What it would have paid; null where that was not simulated."""
    reason: str = _column(Words("rehearsals.reason"))
    at: float = _column(Double())

    __table_args__ = (
        UniqueConstraint("intent_id", "outcome", name="one_rehearsal_per_outcome"),
        Index("rehearsals_by_time", "decided_at"),
    )


class HistoryRow(Table, table=True):
    """The health of one position at one block; health_factor null where it was unknown."""

    __tablename__ = "health_history"
    chain_id: int = _column(Uint63("health_history.chain_id"), primary_key=True)
    market: str = _column(Words("health_history.market"), primary_key=True)
    account: str = _column(Hex("health_history.account", 20), primary_key=True)
    block_number: int = _column(Uint63("health_history.block_number"), primary_key=True)
    block_hash: str = _column(Hex("health_history.block_hash", 32))
    block_time: int = _column(Uint63("health_history.block_time"))
    protocol: str = _column(Words("health_history.protocol"))
    health_factor: int | None = _column(Uint256("health_history.health_factor"), nullable=True)
    collateral: int | None = _column(Uint256("health_history.collateral"), nullable=True)
    debt: int | None = _column(Uint256("health_history.debt"), nullable=True)
    reason: str = _column(Words("health_history.reason"))

    __table_args__ = (
        Index("health_by_account", "account", "block_time"),
        Index("health_by_time", "block_time"),
    )


class PriceRow(Table, table=True):
    """One price with what doubted it and its reference; kept when something changed."""

    __tablename__ = "price_history"
    chain_id: int = _column(Uint63("price_history.chain_id"), primary_key=True)
    market: str = _column(Words("price_history.market"), primary_key=True)
    asset: str = _column(Hex("price_history.asset", 20), primary_key=True)
    block_number: int = _column(Uint63("price_history.block_number"), primary_key=True)
    block_hash: str = _column(Hex("price_history.block_hash", 32))
    block_time: int = _column(Uint63("price_history.block_time"))
    symbol: str = _column(Words("price_history.symbol"))
    price: int | None = _column(Uint256("price_history.price"), nullable=True)
    reference: int | None = _column(Uint256("price_history.reference"), nullable=True)
    sources: str = _column(Words("price_history.sources"))
    """Who made the reference, comma-separated; why there is none otherwise."""
    causes: str = _column(Words("price_history.causes"))
    """Of doubt, comma-separated; empty when there is none."""
    reason: str = _column(Words("price_history.reason"))

    __table_args__ = (Index("prices_by_time", "block_time"),)


class RoundRow(Table, table=True):
    """One feed at one block; kept when its answer or what is thought of it changed."""

    __tablename__ = "feed_rounds"
    chain_id: int = _column(Uint63("feed_rounds.chain_id"), primary_key=True)
    feed: str = _column(Hex("feed_rounds.feed", 20), primary_key=True)
    block_number: int = _column(Uint63("feed_rounds.block_number"), primary_key=True)
    block_hash: str = _column(Hex("feed_rounds.block_hash", 32))
    block_time: int = _column(Uint63("feed_rounds.block_time"))
    description: str = _column(Words("feed_rounds.description"))
    decimals: int = _column(Uint63("feed_rounds.decimals"))
    round_id: int | None = _column(Uint256("feed_rounds.round_id"), nullable=True)
    """Null when it could not be read."""
    answer: str = _column(Words("feed_rounds.answer"))
    """Signed, as a decimal numeral; empty when it could not be read."""
    updated_at: int | None = _column(Uint63("feed_rounds.updated_at"), nullable=True)
    """Null where it was not read, or is no instant that can be meant."""
    state: str = _column(Words("feed_rounds.state"))
    cause: str = _column(Words("feed_rounds.cause"))
    """Of doubt; empty when usable."""
    reason: str = _column(Words("feed_rounds.reason"))

    __table_args__ = (Index("rounds_by_time", "block_time"),)


class DecisionRow(Table, table=True):
    """An act or a refusal, with the block it was made at."""

    __tablename__ = "decisions"
    id: int = _serial()
    key: str = _column(Words("decisions.key"), unique=True)
    """Digest of block, position, verdict and reason: the same pass twice is one row."""
    chain_id: int = _column(Uint63("decisions.chain_id"))
    market: str = _column(Words("decisions.market"))
    account: str = _column(Hex("decisions.account", 20))
    block_number: int = _column(Uint63("decisions.block_number"))
    block_hash: str = _column(Hex("decisions.block_hash", 32))
    block_time: int = _column(Uint63("decisions.block_time"))
    verdict: str = _column(Words("decisions.verdict"))
    intent_id: str | None = _column(Words("decisions.intent_id"), nullable=True)
    reason: str = _column(Words("decisions.reason"))

    __table_args__ = (
        Index("decisions_by_position", "account", "block_time"),
        Index("decisions_by_time", "block_time"),
    )


class LiquidationRow(Table, table=True):
    """One liquidation on chain, ours or not, with the account of it."""

    __tablename__ = "liquidations"
    chain_id: int = _column(Uint63("liquidations.chain_id"), primary_key=True)
    block_number: int = _column(Uint63("liquidations.block_number"), primary_key=True)
    log_index: int = _column(Uint63("liquidations.log_index"), primary_key=True)
    block_hash: str = _column(Hex("liquidations.block_hash", 32))
    block_time: int = _column(Uint63("liquidations.block_time"))
    market: str = _column(Words("liquidations.market"))
    account: str = _column(Hex("liquidations.account", 20))
    liquidator: str = _column(Hex("liquidations.liquidator", 20))
    taken: str = _column(Words("liquidations.taken"))
    facts: Any = _column(Document("liquidations.facts"))
    """The whole of it; the columns above are what is asked for."""

    __table_args__ = (
        Index("liquidations_by_time", "block_time"),
        Index("liquidations_by_hash", "block_hash"),
    )


class AlertRow(Table, table=True):
    """One alert that is not clear."""

    __tablename__ = "alerts"
    chat: str = _column(Words("alerts.chat"), primary_key=True)
    rule: str = _column(Words("alerts.rule"), primary_key=True)
    subject: str = _column(Words("alerts.subject"), primary_key=True)
    level: int = _column(Uint63("alerts.level"))
    fired_at: int = _column(Uint63("alerts.fired_at"))
    said_at: int = _column(Uint63("alerts.said_at"))
    said_health: int | None = _column(Uint256("alerts.said_health"), nullable=True)
    lowest: int | None = _column(Uint256("alerts.lowest"), nullable=True)
    clear_since: int | None = _column(Uint63("alerts.clear_since"), nullable=True)
    serial: int = _column(Uint63("alerts.serial"))
    level_at: int = _column(Uint63("alerts.level_at"), server_default="0")
    escalated: int = _column(Uint63("alerts.escalated"), server_default="0")


class HushRow(Table, table=True):
    """A chat's word about one of its alerts: acknowledged, or snoozed."""

    __tablename__ = "hushes"
    chat: str = _column(Words("hushes.chat"), primary_key=True)
    rule: str = _column(Words("hushes.rule"), primary_key=True)
    subject: str = _column(Words("hushes.subject"), primary_key=True)
    fired_at: int = _column(Uint63("hushes.fired_at"))
    level: int = _column(Uint63("hushes.level"))
    until: int | None = _column(Uint63("hushes.until"), nullable=True)
    by: str = _column(Words("hushes.by"))
    at: float = _column(Double())


class HoursRow(Table, table=True):
    """When a chat wants to be left alone, and its digest."""

    __tablename__ = "chat_hours"
    chat: str = _column(Words("chat_hours.chat"), primary_key=True)
    quiet_from: int | None = _column(Uint63("chat_hours.quiet_from"), nullable=True)
    quiet_to: int | None = _column(Uint63("chat_hours.quiet_to"), nullable=True)
    digest_at: int | None = _column(Uint63("chat_hours.digest_at"), nullable=True)
    zone: str = _column(Words("chat_hours.zone"))
    digested_at: int = _column(Uint63("chat_hours.digested_at"))


class PermitRow(Table, table=True):
    """A permit that an account was asked for and, with a signature, gave."""

    __tablename__ = "permits"
    digest: str = _column(Hex("permits.digest", 32), primary_key=True)
    """What is signed: no other permit of any token or chain has it."""
    chain_id: int = _column(Uint63("permits.chain_id"))
    token: str = _column(Hex("permits.token", 20))
    owner: str = _column(Hex("permits.owner", 20))
    spender: str = _column(Hex("permits.spender", 20))
    value: int = _column(Uint256("permits.value"))
    nonce: int = _column(Uint256("permits.nonce"))
    deadline: int = _column(Uint256("permits.deadline"))
    v: int | None = _column(Uint63("permits.v"), nullable=True)
    """Null until it is signed, as `r` and `s`."""
    r: str | None = _column(Hex("permits.r", 32), nullable=True)
    s: str | None = _column(Hex("permits.s", 32), nullable=True)
    at: float = _column(Double())

    __table_args__ = (Index("permits_by_owner", "chain_id", "owner"),)


class RuleRow(Table, table=True):
    """Something besides health factors that a chat wants to hear of, as it was said."""

    __tablename__ = "rules"
    chat: str = _column(Words("rules.chat"), primary_key=True)
    text: str = _column(Words("rules.text"), primary_key=True)
    by: str = _column(Words("rules.by"))
    at: float = _column(Double())


class LanguageRow(Table, table=True):
    """The language a chat chose."""

    __tablename__ = "chat_languages"
    chat: str = _column(Words("chat_languages.chat"), primary_key=True)
    language: str = _column(Words("chat_languages.language"))


class NameRow(Table, table=True):
    """An account that a chat watches by a name."""

    __tablename__ = "watched_names"
    chat: str = _column(Words("watched_names.chat"), primary_key=True)
    account: str = _column(Hex("watched_names.account", 20), primary_key=True)
    name: str = _column(Words("watched_names.name"))
    told: str = _column(Words("watched_names.told"))


class HeldRow(Table, table=True):
    """A line that quiet hours kept back for the digest."""

    __tablename__ = "held_lines"
    id: int = _serial()
    key: str = _column(Words("held_lines.key"), unique=True)
    chat: str = _column(Words("held_lines.chat"))
    at: int = _column(Uint63("held_lines.at"))
    text: str = _column(Words("held_lines.text"))

    __table_args__ = (Index("held_by_chat", "chat", "id"),)


class OutboxRow(Table, table=True):
    """One message, from the transaction of its event to the provider's acknowledgement."""

    __tablename__ = "outbox"
    id: int = _serial()
    key: str = _column(Words("outbox.key"), unique=True)
    chat: str = _column(Words("outbox.chat"))
    severity: str = _column(Words("outbox.severity"))
    priority: int = _column(Uint63("outbox.priority"))
    """0 is delivered first."""
    kind: str = _column(Words("outbox.kind"))
    text: str = _column(Words("outbox.text"))
    state: str = _column(Words("outbox.state"))
    attempts: int = _column(Uint63("outbox.attempts"))
    next_attempt_at: float = _column(Double())
    created_at: float = _column(Double())
    delivered_at: float | None = _column(Double(), nullable=True)
    error: str = _column(Words("outbox.error"))
    extra: Any = _column(Document("outbox.extra"), nullable=True)
    """Buttons and chart, where it has any."""
    thread: str = _column(Words("outbox.thread"), server_default="")
    """What it is about: the key up to its ``#``."""
    ref: str | None = _column(Words("outbox.ref"), nullable=True)
    """The provider's own id of it: later ones of the thread answer it."""

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="outbox_state"),
        Index(
            "outbox_waiting",
            "chat",
            "priority",
            "id",
            sqlite_where=sql("state = 'pending'"),
            postgresql_where=sql("state = 'pending'"),
        ),
        Index("outbox_by_state", "state", "delivered_at"),
        Index(
            "outbox_threads",
            "chat",
            "thread",
            "id",
            sqlite_where=sql("ref IS NOT NULL"),
            postgresql_where=sql("ref IS NOT NULL"),
        ),
    )


class ChatRow(Table, table=True):
    """Someone to talk to, and whether they can be reached."""

    __tablename__ = "chats"
    chat: str = _column(Words("chats.chat"), primary_key=True)
    enabled: bool = _column(Boolean())
    reason: str = _column(Words("chats.reason"))
    """Why it is disabled, or empty."""
    changed_at: float = _column(Double())


class WatchRow(Table, table=True):
    """One account that a chat wants to hear about."""

    __tablename__ = "watches"
    id: int = _serial()
    chat: str = _column(Words("watches.chat"), ForeignKey("chats.chat"))
    account: str = _column(Hex("watches.account", 20))
    label: str = _column(Words("watches.label"))
    label_key: str | None = _column(Words("watches.label_key"), nullable=True)
    """The label case-folded; null without one."""
    info: int | None = _column(Uint256("watches.info"), nullable=True)
    warning: int | None = _column(Uint256("watches.warning"), nullable=True)
    critical: int | None = _column(Uint256("watches.critical"), nullable=True)
    changed_at: float = _column(Double())

    __table_args__ = (
        UniqueConstraint("chat", "account", name="one_watch_per_account"),
        UniqueConstraint("chat", "label_key", name="one_watch_per_label"),
    )


class BotRow(Table, table=True):
    """How far a bot has read its updates."""

    __tablename__ = "bots"
    bot: str = _column(Words("bots.bot"), primary_key=True)
    last_update_id: int = _column(Uint63("bots.last_update_id"))


class CheckpointRow(Table, table=True):
    """How far a market's history was read and whom it held: a cache, verified on load."""

    __tablename__ = "checkpoints"
    chain_id: int = _column(Uint63("checkpoints.chain_id"), primary_key=True)
    market: str = _column(Words("checkpoints.market"), primary_key=True)
    protocol: str = _column(Words("checkpoints.protocol"))
    block: Any = _column(Document("checkpoints.block"))
    accounts: bytes = _column(Blob("checkpoints.accounts"))
    """Twenty bytes each, in order, compressed with zlib."""
    checksum: str = _column(Hex("checkpoints.checksum", 32))
    saved_at: float = _column(Double())


class AuditRow(Table, table=True):
    """One fact, chained to the one before it."""

    __tablename__ = "audit"
    seq: int = _column(Uint63("audit.seq"), primary_key=True, autoincrement=False)
    at_ms: int = _column(Uint63("audit.at_ms"))
    event: str = _column(Words("audit.event"))
    fields: str = _column(Words("audit.fields"))
    """Canonical JSON, kept as the text that was hashed."""
    prev_hash: str = _column(Hex("audit.prev_hash", 32))
    hash: str = _column(Hex("audit.hash", 32))
    key: str | None = _column(Words("audit.key"), unique=True, nullable=True)
    """Digest of block and event where a pass may be written twice."""
