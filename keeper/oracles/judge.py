"""Fresh or not, and why: each feed, and from the feeds each price, at one block.

Age is the chain's time less ``updatedAt``, against that feed's own heartbeat plus a grace:
heartbeats are nominal, and of real ETH/USD gaps on Ethereum one in eight is longer, up to 120 s.

The protocol's price decides danger, whatever we think of it; what we think of it decides what may
be done: each `Cause` of doubt has a `Stance`.  A price that nothing may be computed from makes
health factors unknown, never good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.errors import ConfigError
from keeper.model import (
    Address,
    BlockRef,
    CapReading,
    Cause,
    Failed,
    Feed,
    FeedState,
    FeedVerdict,
    PriceVerdict,
    Reference,
    Round,
    Source,
    Stance,
    Suspicion,
)
from keeper.oracles import policy
from keeper.oracles.abi import clean
from keeper.oracles.rounds import FeedReading
from keeper.oracles.sanity import cap_fault, unit_fault
from keeper.units import Base

BLIND = frozenset({Stance.PROTECT_ANYWAY, Stance.HOLD_ALL})
"""Under these a health factor is unknown."""

LATE_SHARE = 400

Doubt = tuple[FeedState, Cause, str]
"""What a feed is then, why in one word, and why in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRules:
    """What is tolerated.  Raises ConfigError for a negative tolerance."""

    grace_s: int = 120
    """Added to every heartbeat: rounds land late when the chain is busy.  0 adds nothing at all."""
    max_future_s: int = 30
    """How far ahead of the block ``updatedAt`` may be, for feeds that stamp with another clock."""
    trusted_sources: frozenset[Address] = frozenset()
    """Price sources that are used although they could not be traced to feeds."""
    max_jump_percent: int = 20
    """How far an answer may move between two blocks before it must last to be believed."""
    jump_hold_s: int = 600
    """For how long it must."""
    max_difference_bps: int = 300
    """How far a price may be from its independent reference."""
    sequencer_grace_s: int = 3_600
    """After a rollup's sequencer is up again."""
    price_decimals: int = 8
    """What the market counts prices in."""
    stances: Mapping[Cause, Stance] = field(default_factory=lambda: policy.DEFAULT)
    """What is done about each cause."""

    def __post_init__(self) -> None:
        """Refuse tolerances that would turn a check around."""
        if self.grace_s < 0 or self.max_future_s < 0:
            raise ConfigError(
                f"oracles: grace_s is {self.grace_s} and max_future_s {self.max_future_s}, "
                "neither may be negative"
            )
        if min(self.max_jump_percent, self.max_difference_bps) < 1:
            raise ConfigError(
                f"oracles: max_jump_percent is {self.max_jump_percent} and max_difference_bps "
                f"{self.max_difference_bps}, both must be above 0"
            )

    def grace(self, heartbeat_s: int) -> int:
        """Return the seconds after `heartbeat_s` in which a feed is late and not yet stale.

        Daily feeds are later than hourly ones: up to 208 s in two years of stETH/ETH, so that a
        400th of the heartbeat counts where it is more.
        """
        return max(self.grace_s, heartbeat_s // LATE_SHARE) if self.grace_s else 0

    def suspicion(self, cause: Cause, reason: str) -> Suspicion:
        """Return a doubt with the stance that is taken about its cause."""
        return Suspicion(cause=cause, stance=self.stances[cause], reason=reason)


def judge(
    feed: Feed, reading: FeedReading, block: BlockRef, rules: JudgeRules, *, jump: str = ""
) -> FeedVerdict:
    """Return what `feed` is good for at `block`.

    Unreadable: no round.  Suspicious: a round that is no price (other decimals than traced, not
    complete, from the future, zero or negative, at the aggregator's bound).  Stale: older than
    heartbeat and grace together.  Suspicious again: a `jump` (see `keeper.oracles.jumps`) that
    is not believed yet.  The first that holds, in that order, is the reason.
    """
    if isinstance(reading, Failed):
        reason = clean(reading.reason, 160)
        return _verdict(feed, block, (FeedState.UNREADABLE, Cause.UNREADABLE, reason))
    if reading.feed != feed.address:
        raise ValueError(f"a round of {reading.feed} was given for the feed {feed.address}")

    age_s = block.timestamp - reading.updated_at
    doubt: Doubt | None = None
    if reason := _invalid(feed, reading, block, rules):
        doubt = (FeedState.SUSPICIOUS, Cause.INVALID, reason)
    elif reason := _bound(feed, reading.answer):
        doubt = (FeedState.SUSPICIOUS, Cause.BOUND, reason)
    elif age_s > feed.heartbeat_s + rules.grace(feed.heartbeat_s):
        assumed = " (assumed)" if feed.heartbeat_assumed else ""
        assumed = " (learned)" if feed.heartbeat_learned else assumed
        reason = f"last answer {age_s} s old, heartbeat is {feed.heartbeat_s} s{assumed}"
        doubt = (FeedState.STALE, Cause.STALE, reason)
    elif jump:
        doubt = (FeedState.SUSPICIOUS, Cause.JUMP, jump)
    read = (reading.answer, None if reading.updated_at == 0 else age_s)
    return _verdict(feed, block, doubt, read, reading.round_id)


def _invalid(feed: Feed, reading: Round, block: BlockRef, rules: JudgeRules) -> str:
    if reading.decimals != feed.decimals:
        return f"the feed has {reading.decimals} decimals, it had {feed.decimals}"
    if reading.updated_at == 0:
        return f"round {reading.round_id} is not complete, updatedAt is 0"
    if reading.updated_at - block.timestamp > rules.max_future_s:
        return f"updatedAt {reading.updated_at} is after the block's {block.timestamp}"
    if reading.answer <= 0:
        return f"the answer is {reading.answer}, a price is above 0"
    return ""


def _bound(feed: Feed, answer: int) -> str:
    if feed.min_answer is not None and answer <= feed.min_answer:
        return f"the answer is {answer}, the least that its aggregator can say"
    if feed.max_answer is not None and answer >= feed.max_answer:
        return f"the answer is {answer}, the greatest that its aggregator can say"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was read of a market at one block besides its own prices."""

    feeds: Mapping[Address, FeedVerdict]
    caps: Mapping[Address, CapReading | Failed] = field(default_factory=dict)
    """By adapter."""
    references: Mapping[Address, Reference] = field(default_factory=dict)
    """By asset."""
    sequencer: FeedVerdict | None = None
    """None where the chain has none."""
    disagreed: frozenset[Address] = frozenset()
    """Assets whose reference disagreed at the block before: it must come closer than the limit to
    agree again, so that nobody is told at each block of a price that hovers there."""


def judge_prices(
    sources: tuple[Source, ...],
    evidence: Mapping[Address, FeedVerdict] | Evidence,
    prices: tuple[Base | None, ...],
    rules: JudgeRules,
) -> tuple[PriceVerdict, ...]:
    """Return a verdict per source, in order; `prices` are the protocol's own, in the same order.

    Doubted: no price above 0, a source that is not traced (nor trusted), a feed under it that is
    not usable, a sequencer that is down, a unit that is no price, a cap that bites or does not
    add up, a reference that says otherwise.  A jump that the reference confirms is believed at
    once.  Raises ValueError when there are not as many prices as sources.
    """
    known = evidence if isinstance(evidence, Evidence) else Evidence(feeds=evidence)
    return tuple(
        _price(source, known, price, rules) for source, price in zip(sources, prices, strict=True)
    )


def _price(
    source: Source, evidence: Evidence, price: Base | None, rules: JudgeRules
) -> PriceVerdict:
    symbol = clean(source.asset.symbol, 24) or source.asset.address
    feeds = tuple(evidence.feeds[f.address] for f in source.feeds if f.address in evidence.feeds)
    reference = evidence.references.get(source.asset.address)
    caps = tuple(
        cap for c in source.caps if isinstance(cap := evidence.caps.get(c.address), CapReading)
    )
    found: list[tuple[Cause, str]] = []
    if price is None or price <= 0:
        what = "no price" if price is None else f"a price of {price}"
        found.append((Cause.NO_PRICE, f"{symbol}: the market's oracle answers {what}"))
    if source.untraced and source.address not in rules.trusted_sources:
        reason = f"{symbol}: price source could not be traced, {source.untraced}"
        found.append((Cause.UNTRACED, reason))
    found += [
        (Cause.UNREADABLE, f"{feed.description}: the feed was not read at this block")
        for feed in source.feeds
        if feed.address not in evidence.feeds
    ]
    found += [(v.cause or Cause.INVALID, v.reason) for v in feeds if not v.usable]
    sequencer = evidence.sequencer
    if sequencer is not None and not sequencer.usable:
        found.append((sequencer.cause or Cause.SEQUENCER_DOWN, sequencer.reason))
    if fault := unit_fault(source, rules.price_decimals):
        found.append((Cause.UNITS, f"{symbol}: {fault}"))
    for adapter in source.caps:
        said = evidence.caps.get(adapter.address)
        if said is not None and (wrong := cap_fault(adapter, said, feeds, price)):
            found.append((wrong[0], f"{symbol}: {wrong[1]}"))
    limit_bps = rules.max_difference_bps
    if source.asset.address in evidence.disagreed:
        limit_bps = limit_bps * 4 // 5
    if differs := _difference(source, price, reference, limit_bps):
        found.append((differs[0], f"{symbol}: {differs[1]}"))
    elif price is not None and reference is not None and reference.price is not None:
        found = [(cause, reason) for cause, reason in found if cause is not Cause.JUMP]
    suspicions = tuple(rules.suspicion(cause, reason) for cause, reason in found)
    return PriceVerdict(
        asset=source.asset,
        source=source,
        price=price,
        feeds=feeds if sequencer is None else (*feeds, sequencer),
        reason=next((s.reason for s in suspicions if s.stance in BLIND), ""),
        suspicions=suspicions,
        reference=reference,
        caps=caps,
    )


def _difference(
    source: Source, price: Base | None, reference: Reference | None, limit_bps: int
) -> tuple[Cause, str] | None:
    """Return the cause and the sentence where the reference says something else."""
    if price is None or price <= 0 or reference is None or reference.price is None:
        return None
    there = reference.price
    if abs(price - there) * 10_000 <= limit_bps * there:
        return None
    said_by = ", ".join(quote.source for quote in reference.quotes)
    off = f"{(price - there) / there:+.2%}"
    numbers = f"{_usd(price)} by the protocol and {_usd(there)} by {said_by}, {off}"
    if source.fixed and not source.feeds:
        return Cause.FIXED, f"the price is fixed and the market is elsewhere: {numbers}"
    return Cause.DISAGREES, f"the reference disagrees: {numbers}"


def _usd(price: int) -> str:
    return f"{price / 10**8:,.6g}" if price < 10**10 else f"{price / 10**8:,.2f}"


def _verdict(
    feed: Feed,
    block: BlockRef,
    doubt: Doubt | None,
    read: tuple[int | None, int | None] = (None, None),
    round_id: int | None = None,
) -> FeedVerdict:
    """`read`: the answer and its age in seconds, as far as they are known."""
    state, cause, reason = doubt or (FeedState.USABLE, None, "")
    answer, age_s = read
    return FeedVerdict(
        feed=feed,
        block=block,
        state=state,
        reason=f"{feed.description}: {reason}" if reason else "",
        answer=answer,
        age_s=age_s,
        cause=cause,
        round_id=round_id,
    )
