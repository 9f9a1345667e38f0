"""The words: frozen dataclasses that flow one way through the house.  Read this first.

    BlockRef -> Log -> Holdings -> FeedVerdict -> Assessment -> Decision -> Plan -> Outcome

Addresses and hashes are lower-case ``0x`` strings everywhere inside; they are check-summed
only where a person reads them.  Every reading says which block it is from.  Unknown is a
value: `Unassessable`, `Unusable`, `Refuse` and `Unknown` are types, never ``None``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import NewType

import numpy as np
from numpy.typing import NDArray

from keeper.units import Base, Bps, Raw, Wad, Wei

Address = NewType("Address", str)
"""``0x`` and 40 lower-case hex digits."""

Hash = NewType("Hash", str)
"""``0x`` and 64 lower-case hex digits."""


# --- the chain ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRef:
    """One block, as every reading names it."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    """Seconds since the epoch, by the chain's clock."""
    base_fee_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One event log, as much of it as says where to look."""

    address: Address
    topics: tuple[Hash, ...]
    data: bytes
    block_number: int
    block_hash: Hash
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which logs a market wants: any of the addresses, any of the first topics."""

    addresses: tuple[Address, ...]
    topics0: tuple[Hash, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One static call of a packed read."""

    to: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Returned:
    """A call that succeeded.  An account without code succeeds with no bytes: decoders check."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that reverted, ran out of its gas share, or answered more than the cap."""

    reason: str
    data: bytes = b""


CallResult = Returned | Failed


# --- the market -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """An ERC-20 token."""

    address: Address
    symbol: str
    """As the chain says it: escape it before it is shown, it may hold anything."""
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketId:
    """One deployment of one lending protocol."""

    chain_id: int
    name: str
    """The name in the configuration, such as ``aave-v3-ethereum``."""
    protocol: str
    """The folder in `keeper.protocols`: ``aave_v3``."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionId:
    """One account's position in one market."""

    market: MarketId
    account: Address

    def __str__(self) -> str:
        return f"{self.market.name}:{self.account}"


class Side(Enum):
    """Which column of the balance sheet an entry stands in."""

    COLLATERAL = "collateral"
    DEBT = "debt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One scaled balance: reserve by its id in the market, amount in scaled raw units."""

    reserve: int
    side: Side
    scaled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What an account holds, as the protocol stores it: the book's unit of update.

    An account without entries is kept: it has no debt, which is a fact and not an absence.
    """

    account: Address
    e_mode: int
    """E-mode category, 0 for none."""
    entries: tuple[Entry, ...]
    """Only what counts: enabled collateral and debts, by reserve id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a block's logs say to look at; never what to believe."""

    accounts: frozenset[Address]
    borrowers: frozenset[Address]
    """Those that received debt: they enter the book even if nobody knew them."""
    parameters: bool
    """Reserve, e-mode or oracle configuration changed: everything is discovered again."""


# --- oracles --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A leaf: one Chainlink-like feed that publishes rounds."""

    address: Address
    description: str
    decimals: int
    heartbeat_s: int
    heartbeat_assumed: bool = False
    """True where the heartbeat is our default and not a published figure."""
    aggregator: Address | None = None
    """The aggregator behind the proxy when the feed was traced; None where it names none."""
    min_answer: int | None = None
    """What the aggregator never answers less than: such an answer is a bound and not a price."""
    max_answer: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`latestRoundData` of one feed at one block."""

    feed: Address
    round_id: int
    answer: int
    """Signed, in the feed's decimals."""
    updated_at: int
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """An adapter that caps a growing ratio, whose head-room can be read."""

    address: Address
    base: Address
    """The source of the price that the ratio multiplies."""
    ratio_decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapReading:
    """One cap at one block."""

    capped: bool
    """The ratio is above its cap: the price is lower than the ratio says."""
    ratio: int
    cap: int | None
    """The most the ratio may be at this block; None where the adapter does not say."""
    snapshot_ratio: int | None = None
    """The ratio of the past that the cap grows from."""

    @property
    def headroom_bps(self) -> int | None:
        """How far the ratio may still grow, negative when it is capped; None when unknown."""
        if self.cap is None or self.ratio <= 0:
            return None
        return (self.cap - self.ratio) * 10_000 // self.ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How one reserve's price comes about, traced to the leaves."""

    asset: Asset
    address: Address
    """`AaveOracle.getSourceOfAsset`."""
    path: tuple[str, ...]
    """Adapters from the source down to the feeds, in words."""
    feeds: tuple[Feed, ...]
    """Empty for a fixed price; whatever was found under a source that could not be traced whole."""
    untraced: str = ""
    """Why it could not be traced, or empty."""
    caps: tuple[Cap, ...] = ()
    fixed: bool = False
    """A price that is written into the source takes part in it."""
    decimals: int | None = None
    """What the source itself says that its price has; None when it does not."""


class FeedState(StrEnum):
    """What a feed is good for at one block."""

    USABLE = "usable"
    STALE = "stale"
    SUSPICIOUS = "suspicious"
    UNREADABLE = "unreadable"


class Cause(StrEnum):
    """Why a price is doubted; each has its stance in the configuration."""

    NO_PRICE = "no_price"
    UNTRACED = "untraced"
    UNREADABLE = "unreadable"
    INVALID = "invalid"
    """Zero, negative, from the future, not complete, or in other decimals than before."""
    STALE = "stale"
    BOUND = "bound"
    """At the least or greatest answer that the aggregator can give."""
    JUMP = "jump"
    UNITS = "units"
    """A ratio, or other decimals, where a price in the market's currency should be."""
    CAPPED = "capped"
    CAP_BROKEN = "cap_broken"
    """Cap, ratio and price do not fit together."""
    FIXED = "fixed"
    """A price that is written down, and the market has left it."""
    DISAGREES = "disagrees"
    """The independent reference says something else."""
    SEQUENCER_DOWN = "sequencer_down"
    SEQUENCER_GRACE = "sequencer_grace"


class Stance(StrEnum):
    """What is done about a cause, the mildest first.  People are told in any case."""

    ALERT = "alert"
    """Told, and everything goes on."""
    HOLD_LIQUIDATIONS = "hold_liquidations"
    """Health factors are the protocol's; nobody is liquidated on this price."""
    PROTECT_ANYWAY = "protect_anyway"
    """Health is shown as unknown; positions are still protected, on the protocol's own price."""
    HOLD_ALL = "hold_all"
    """Health is unknown and nothing automatic is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """One doubt about one price at one block."""

    cause: Cause
    stance: Stance
    reason: str
    """A sentence that begins with the feed or the asset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What one independent source says that one whole token is worth."""

    source: str
    """``Uniswap v3 WETH/USDC 0.05 %``, ``kraken``, ``feed ETH/USD``."""
    price: Base
    age_s: int = 0
    depth: Base | None = None
    """What can be traded near this price, where the source says; None where it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A source of references that says nothing usable, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What independent sources say together."""

    price: Base | None
    """Their median; None where they are too few or do not agree among themselves."""
    quotes: tuple[Quote, ...]
    """The ones that counted."""
    silent: tuple[Silent, ...] = ()
    reason: str = ""
    """Why there is no price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedVerdict:
    """One feed judged at one block."""

    feed: Feed
    block: BlockRef
    state: FeedState
    reason: str
    """A sentence with both numbers; empty when usable."""
    answer: int | None
    age_s: int | None
    cause: Cause | None = None
    """None when usable."""

    @property
    def usable(self) -> bool:
        """Only `FeedState.USABLE` is: what anything else means is for the stance of its cause."""
        return self.state is FeedState.USABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVerdict:
    """One reserve's price judged at one block.

    What doubts it is in `suspicions`; those that make health factors unknown are the `reason`.
    """

    asset: Asset
    source: Source
    price: Base | None
    """What the protocol's oracle answers, base units per whole token; None when it does not."""
    feeds: tuple[FeedVerdict, ...]
    reason: str
    """Empty when usable, else the first reason found."""
    suspicions: tuple[Suspicion, ...] = ()
    reference: Reference | None = None
    """None where no independent source is configured for the asset."""
    caps: tuple[CapReading, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether health factors may be computed from this price."""
        return not self.reason

    @property
    def hold_all(self) -> str:
        """Why nothing at all may be done on this price; empty if something may."""
        if not self.suspicions:
            return self.reason
        return next((s.reason for s in self.suspicions if s.stance is Stance.HOLD_ALL), "")

    @property
    def hold_liquidations(self) -> str:
        """Why nobody may be liquidated on this price, all of it; empty if they may."""
        if not self.suspicions:
            return self.reason
        return "; ".join(s.reason for s in self.suspicions if s.stance is not Stance.ALERT)

    @property
    def difference_bps(self) -> int | None:
        """How far the price is above (below: negative) the reference; None without one."""
        there = None if self.reference is None else self.reference.price
        if self.price is None or there is None or there <= 0:
            return None
        return (self.price - there) * 10_000 // there


# --- risk -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One reserve of one account, valued at one block exactly as the contract values it."""

    side: Side
    reserve: int
    asset: Asset
    balance: Raw
    """Interest accrued to the block's timestamp; rounding as the contract's revision rounds."""
    value: Base
    price: Base
    """Base units per whole token."""
    liquidation_threshold: Bps
    """The one that applies to this account, e-mode included; 0 on a debt leg."""
    liquidation_bonus: Bps
    """10_500 is a bonus of 5 %; 0 on a debt leg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """A position whose health factor equals what the deployed contract answers at `block`."""

    position: PositionId
    block: BlockRef
    health_factor: Wad
    """`UINT256_MAX` without debt, as the contract has it."""
    collateral: Base
    debt: Base
    legs: tuple[Leg, ...]
    e_mode: int = 0

    @property
    def ok(self) -> bool:
        """True: the health factor is known.  `Unassessable` answers False."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassessable:
    """A position whose health is unknown, which is never good health."""

    position: PositionId
    block: BlockRef
    reason: str

    @property
    def ok(self) -> bool:
        """False: nothing may be decided from this."""
        return False


Assessment = Assessed | Unassessable


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractHealth:
    """What the contract itself answers at a block, stale prices or not."""

    health_factor: Wad
    collateral: Base
    debt: Base


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """What one scaled unit is worth at one block, for the float screen.

    Contribution to the health factor's two sums: ``sum(collateral[e_mode, reserve] * scaled)``
    over ``sum(debt[reserve] * scaled)``.  NaN marks a reserve without a price: one
    that is stale or suspicious keeps its weight, since the protocol liquidates by it all the same.
    The slacks bound what the contract's integer rounding of one entry can add or take away.
    """

    collateral: NDArray[np.float64]
    """[e-mode rows, reserves]: base units x liquidation threshold (a fraction) per scaled unit."""
    debt: NDArray[np.float64]
    """[reserves]: base units per scaled unit."""
    collateral_slack: NDArray[np.float64]
    """[e-mode rows, reserves], in the same unit as the collateral sum, per entry."""
    debt_slack: NDArray[np.float64]
    """[reserves], in base units, per entry."""
    collateral_excess: float = 0.0
    """By what fraction the collateral sum may be higher still: weights are never too high."""


# --- decisions ------------------------------------------------------------------------------


class IntentKind(StrEnum):
    """What an action does."""

    TOP_UP = "top_up"
    REPAY = "repay"
    LIQUIDATE = "liquidate"
    APPROVE = "approve"
    DEPLOY = "deploy"


class Funding(StrEnum):
    """Whose money an action moves."""

    OWN = "own"
    """The keeper's own account."""
    FLASH = "flash"
    """Borrowed and paid back in the same transaction, through the liquidator contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What shall be done to one position, before anything is encoded.

    `intent_id` is in the log line, the message, the row and ``keeper explain``.
    """

    intent_id: str
    kind: IntentKind
    position: PositionId
    block: BlockRef
    """The block the decision was made at."""
    asset: Asset
    """The token the keeper spends: supplied, repaid, or the debt that is covered."""
    amount: Raw
    """How much of it at the most."""
    collateral: Asset | None = None
    """Liquidations only: what is seized."""
    covers: Raw = Raw(0)  # noqa: RUF009
    """Liquidations only: what of `amount` is really taken, as of `block`."""
    seized: Raw = Raw(0)  # noqa: RUF009
    """Liquidations only: how much of `collateral` is received, as of `block`."""
    funding: Funding = Funding.OWN
    value_at_risk: Base
    """What orders the queue, base units: debt for liquidations, what a liquidation would cost
    the owner for protection."""
    expected_profit: Base = Base(0)  # noqa: RUF009
    """At the block's oracle prices, before gas; liquidations only."""
    health_before: Wad
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Nothing to do, and why."""

    position: PositionId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something to do."""

    intent: Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Something should be done and is not: the reason is shown to people."""

    position: PositionId
    reason: str


Decision = Hold | Act | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """One legal liquidation of one account, sized exactly."""

    collateral: Leg
    debt: Leg
    debt_to_cover: Raw
    """What is really taken, raw units of the debt."""
    amount: Raw
    """What to pass: a little more for a whole debt, since interest grows until inclusion."""
    seized: Raw
    """Received by the liquidator, raw units of the collateral, protocol fee excluded."""
    profit: Base
    """Value of `seized` less value of `debt_to_cover` at the block's prices, before gas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the keeper's own account can spend in one market at one block."""

    owner: Address
    block: BlockRef
    balances: Mapping[Address, Raw]
    allowances: Mapping[Address, Raw]
    """Granted to the market's pool."""

    def spendable(self, asset: Address) -> Raw:
        """Return the lesser of balance and allowance: 0 for a token that was not read."""
        return Raw(min(self.balances.get(asset, 0), self.allowances.get(asset, 0)))


# --- execution ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A transaction as it will be signed, but for nonce and fees."""

    intent: Intent
    to: Address
    data: bytes
    value_wei: Wei = Wei(0)  # noqa: RUF009
    gas_limit: int
    max_fee_wei: Wei
    """The most that may ever be paid per gas for this intent, bumps included."""
    deadline: int
    """Seconds since the epoch, chain time: not sent or bumped after it."""
    spends: Base = Base(0)  # noqa: RUF009
    """What it takes from the keeper's account, base units at the block's prices: caps count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a signer's plans took, or may still take: an open plan counts with its worst case."""

    value: Base
    """Sum of `Plan.spends`, plans that were abandoned or reverted left out."""
    gas_wei: Wei
    """Open: ``gas_limit * max_fee_wei``.  Ended: what the receipt says, 0 without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """EIP-1559 fees of one attempt, wei per gas."""

    max_fee_wei: Wei
    priority_fee_wei: Wei


class TxState(StrEnum):
    """Where an intent's transaction is.  Only the last three are ends."""

    CLAIMED = "claimed"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One signed transaction of an intent; bumps of it share the nonce."""

    tx_hash: Hash
    raw: bytes
    fees: Fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the chain says became of a transaction."""

    tx_hash: Hash
    block_number: int
    block_hash: Hash
    succeeded: bool
    gas_used: int
    effective_gas_price_wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPlan:
    """A plan with its nonce and its attempts, as the journal holds it."""

    plan: Plan
    signer: Address
    nonce: int
    state: TxState
    attempts: tuple[Attempt, ...] = ()
    """Oldest first; any of them may be the one that is mined."""
    sent_at_block: int | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Mined, succeeded, and deep enough."""

    plan: Plan
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Mined and failed: gas was spent, nothing else."""

    plan: Plan
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not known yet: the nonce stays taken and nothing else is sent for this position."""

    plan: Plan
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """Ended without effect: never signed, cancelled, or its nonce was used by something else."""

    plan: Plan
    reason: str
    receipt: Receipt | None = None
    """Of the cancelling self-transfer, if one was mined: its gas was spent."""


Outcome = Confirmed | Reverted | Unknown | Abandoned


# --- people ---------------------------------------------------------------------------------


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
    ``fault``, ``digest`` or ``reply``."""
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
    """The health factor people were last told."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How people want to be told: read anew for each pass."""

    hushes: tuple[Hush, ...] = ()
    hours: tuple[ChatHours, ...] = ()


# --- what one pass leaves behind ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRecord:
    """All that one block's pass writes, in one database transaction."""

    block: BlockRef
    history: tuple[Assessment, ...] = ()
    """Watched and endangered positions."""
    prices: tuple[tuple[MarketId, PriceVerdict], ...] = ()
    """Those worth a row of history: see `keeper.engine.prices`."""
    decisions: tuple[Decision, ...] = ()
    """Acts and Refuses; Holds are not kept."""
    alerts: tuple[AlertState, ...] = ()
    """Changed ones; level CLEAR removes."""
    messages: tuple[Message, ...] = ()
    audit: tuple[AuditEvent, ...] = ()
    held: tuple[HeldLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a market's history was read and whom it held: a cache, verified on load."""

    market: MarketId
    block: BlockRef
    accounts: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The transaction is on its way: journalled, signed, stored, sent."""

    open_plan: OpenPlan
    health_after: Wad | None
    """As simulated at the pinned block."""

    @property
    def intent(self) -> Intent:
        """What it carries out."""
        return self.open_plan.plan.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """Not armed: the same path up to the signature, and what it would have done."""

    plan: Plan
    health_after: Wad | None

    @property
    def intent(self) -> Intent:
        """What it would have carried out."""
        return self.plan.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Not sent, and why; nothing was spent."""

    intent: Intent
    reason: str


Submission = Submitted | Rehearsed | Declined
