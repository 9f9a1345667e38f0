"""Whom the keeper talks to, what it says, and what they answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum

from keeper.model.chain import (
    Address,
)
from keeper.units import Wad


class Severity(StrEnum):
    """How loud a message is; critical ones are delivered first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Health factors below which people are told, wad; strictly falling."""

    info: Wad
    warning: Wad
    critical: Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A chat that wants to hear about an account."""

    chat: str
    """``telegram:12345`` or ``log:``."""
    account: Address
    label: str
    thresholds: Thresholds | None = None
    """None: the market's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Something to press under a message."""

    label: str
    data: str
    """What comes back when it is pressed; 64 bytes at the most.  Anybody can send it: it names
    something and permits nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One row of the outbox: text that is already rendered."""

    key: str
    """Idempotency key: the same event never makes two rows."""
    chat: str
    severity: Severity
    text: str
    """Plain text; the first line is the whole message on a lock screen."""
    kind: str
    """``fired``, ``worse``, ``repeated``, ``eased``, ``resolved``, ``escalated``, ``action``,
    ``change``, ``fault``, ``digest`` or ``reply``."""
    buttons: tuple[Button, ...] = ()
    """What can be pressed under it, where the channel has buttons."""
    chart: str = ""
    """What is drawn beside it when it is sent, where the channel shows pictures: see
    `keeper.alerts.charts`.  A picture that cannot be drawn holds up no message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One undelivered row of the outbox, as its drain reads it."""

    id: int
    """Grows with the order of writing."""
    message: Message
    attempts: int
    """How often it was tried and not acknowledged."""
    reply_to: str = ""
    """The provider's own id of the message it answers, or empty."""
    maybe_taken: bool = False
    """An earlier attempt's answer was lost: people may have read it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One fact for the audit trail, written in the transaction of the act."""

    event: str
    """``noun.verb``, as in the log."""
    fields: Mapping[str, str | int | Decimal | None] = field(default_factory=dict)


class AlertLevel(IntEnum):
    """How bad it is; greater is worse."""

    CLEAR = 0
    INFO = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """One alert between two blocks.  Its key is (chat, rule, subject)."""

    chat: str
    rule: str
    """``health``, ``health_unknown``, ``oracle``, ``keeper``."""
    subject: str
    """The position, the feed, or the part of the keeper it is about, as a string."""
    level: AlertLevel
    fired_at: int
    """Chain seconds; of the first firing since it was last clear."""
    said_at: int
    """Chain seconds of the last message."""
    said_health: Wad | None = None
    """The health factor people were last told; of a rule its reading, wad of the gauge's unit."""
    lowest: Wad | None = None
    clear_since: int | None = None
    """Since when it has been above the clearing bound, or None."""
    serial: int = 0
    """Counts the messages of this alert, so that each has a key of its own."""
    level_at: int = 0
    """Chain seconds since when it has been at `level`; 0: not known."""
    escalated: int = 0
    """How many further chats were called in, in the order configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hush:
    """A chat's word about one of its alerts: acknowledged, or snoozed.

    Holds for this episode (`fired_at`) and up to this level: what gets worse speaks again.
    """

    chat: str
    rule: str
    subject: str
    fired_at: int
    level: AlertLevel
    until: int | None
    """Seconds of the alert's clock; None: until it resolves, an acknowledgement."""
    by: str = ""
    """Who said so, such as ``telegram user 4711``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatHours:
    """When a chat wants to be left alone, and when it wants its digest; minutes of the day."""

    chat: str
    quiet_from: int | None = None
    quiet_to: int | None = None
    """Both or neither; a night may span midnight."""
    digest_at: int | None = None
    zone: str = "UTC"
    """IANA name, such as ``Europe/Berlin``."""
    digested_at: int = 0
    """Wall-clock seconds of the last digest's hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLine:
    """One line that a chat's quiet hours kept back for its digest."""

    chat: str
    at: int
    key: str
    """Of the message it would have been: the same pass twice is one line."""
    text: str


class Gauge(StrEnum):
    """What a rule measures; its bounds are wad of the unit that is said here."""

    PRICE = "price"
    """Of an asset, US dollars."""
    DISTANCE = "distance"
    """Of an account to its liquidation by the nearest price, per cent."""
    BORROW_RATE = "borrow_rate"
    """Of an asset, per cent a year."""
    UTILISATION = "utilisation"
    """Of an asset, per cent."""
    LIQUIDITY = "liquidity"
    """Of an asset, whole tokens that can be withdrawn or borrowed."""
    SUPPLY_ROOM = "supply_room"
    """Left under the supply cap of an asset, whole tokens."""
    BORROW_ROOM = "borrow_room"
    """Left under the borrow cap of an asset, whole tokens."""
    MOVED = "moved"
    """Collateral that an account added or took away since the last block, US dollars."""
    ORACLE = "oracle"
    """Doubts about the price of an asset, a number."""
    BALANCE = "balance"
    """Of the keeper's own account: an asset, or ``gas`` for the chain's coin, whole tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Something besides health factors that a chat wants to hear of."""

    chat: str
    gauge: Gauge
    of: str
    """Symbol or address of an asset, the account's address, or ``gas``."""
    above: bool
    """True: fires above its bounds; False: below them."""
    warning: Wad
    critical: Wad | None = None
    """A second bound, further out; None: it never gets louder than a warning."""
    text: str
    """As it is kept and shown; with the chat it is the rule's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How people want to be told: read anew for each pass."""

    hushes: tuple[Hush, ...] = ()
    hours: tuple[ChatHours, ...] = ()
    rules: tuple[Rule, ...] = ()
