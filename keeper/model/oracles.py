"""Oracles: feeds, their rounds, what stands between them and a price, and the verdicts."""

from dataclasses import dataclass
from enum import StrEnum

from keeper.model.chain import Address, BlockRef
from keeper.model.market import Asset
from keeper.units import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A leaf: one Chainlink-like feed that publishes rounds."""

    address: Address
    description: str
    decimals: int
    heartbeat_s: int
    heartbeat_assumed: bool = False
    """True where the heartbeat is our default and not a published figure."""
    heartbeat_learned: str = ""
    """How sure it is, where it was learned from the feed's own rounds; empty where it was not."""
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
    round_id: int | None = None
    """None when it could not be read."""

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
