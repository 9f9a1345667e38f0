"""Fresh or not, and why: each feed, and from the feeds each price, at one block.

Age is the chain's time less ``updatedAt``, against that feed's own heartbeat plus a grace:
heartbeats are nominal, and of real ETH/USD gaps on Ethereum one in eight is longer, up to 120 s.
A feed that is not usable makes health factors unknown, never good.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.errors import ConfigError
from keeper.model import (
    Address,
    BlockRef,
    Failed,
    Feed,
    FeedState,
    FeedVerdict,
    PriceVerdict,
    Source,
)
from keeper.oracles.abi import clean
from keeper.oracles.rounds import FeedReading
from keeper.units import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRules:
    """What is tolerated.  Raises ConfigError for a negative tolerance."""

    grace_s: int = 120
    """Added to every heartbeat: rounds land late when the chain is busy."""
    max_future_s: int = 30
    """How far ahead of the block ``updatedAt`` may be, for feeds that stamp with another clock."""
    trusted_sources: frozenset[Address] = frozenset()
    """Price sources that are used although they could not be traced to feeds."""

    def __post_init__(self) -> None:
        """Refuse tolerances that would turn a check around."""
        if self.grace_s < 0 or self.max_future_s < 0:
            raise ConfigError(
                f"oracles: grace_s is {self.grace_s} and max_future_s {self.max_future_s}, "
                "neither may be negative"
            )


def judge(feed: Feed, reading: FeedReading, block: BlockRef, rules: JudgeRules) -> FeedVerdict:
    """Return what `feed` is good for at `block`.

    Unreadable: no round.  Suspicious: a round that is no price (other decimals than traced, not
    complete, from the future, zero or negative).  Stale: older than heartbeat and grace together.
    The first that holds, in that order, is the reason.
    """
    if isinstance(reading, Failed):
        return _verdict(feed, block, FeedState.UNREADABLE, clean(reading.reason, 160))
    if reading.feed != feed.address:
        raise ValueError(f"a round of {reading.feed} was given for the feed {feed.address}")

    age_s = block.timestamp - reading.updated_at
    suspicion = ""
    if reading.decimals != feed.decimals:
        suspicion = f"the feed has {reading.decimals} decimals, it had {feed.decimals}"
    elif reading.updated_at == 0:
        suspicion = f"round {reading.round_id} is not complete, updatedAt is 0"
    elif age_s < -rules.max_future_s:
        suspicion = f"updatedAt {reading.updated_at} is after the block's {block.timestamp}"
    elif reading.answer <= 0:
        suspicion = f"the answer is {reading.answer}, a price is above 0"
    if suspicion:
        age = None if reading.updated_at == 0 else age_s
        return _verdict(feed, block, FeedState.SUSPICIOUS, suspicion, (reading.answer, age))
    if age_s > feed.heartbeat_s + rules.grace_s:
        assumed = " (assumed)" if feed.heartbeat_assumed else ""
        reason = f"last answer {age_s} s old, heartbeat is {feed.heartbeat_s} s{assumed}"
        return _verdict(feed, block, FeedState.STALE, reason, (reading.answer, age_s))
    return _verdict(feed, block, FeedState.USABLE, "", (reading.answer, age_s))


def judge_prices(
    sources: tuple[Source, ...],
    verdicts: Mapping[Address, FeedVerdict],
    prices: tuple[Base | None, ...],
    rules: JudgeRules,
) -> tuple[PriceVerdict, ...]:
    """Return a verdict per source, in order; `prices` are the protocol's own, in the same order.

    Usable: the protocol answers a price above 0, the source is traced (or its address trusted),
    and every feed under it is usable.  A fixed price has no feeds and is usable.  Raises
    ValueError when there are not as many prices as sources.
    """
    return tuple(
        _price(source, verdicts, price, rules)
        for source, price in zip(sources, prices, strict=True)
    )


def _price(
    source: Source,
    verdicts: Mapping[Address, FeedVerdict],
    price: Base | None,
    rules: JudgeRules,
) -> PriceVerdict:
    symbol = clean(source.asset.symbol, 24) or source.asset.address
    feeds = tuple(verdicts[f.address] for f in source.feeds if f.address in verdicts)
    unread = [f for f in source.feeds if f.address not in verdicts]
    reason = ""
    if price is None:
        reason = f"{symbol}: the market's oracle answers no price"
    elif price <= 0:
        reason = f"{symbol}: the market's oracle answers a price of {price}"
    elif source.untraced and source.address not in rules.trusted_sources:
        reason = f"{symbol}: price source could not be traced, {source.untraced}"
    elif unread:
        reason = f"{unread[0].description}: the feed was not read at this block"
    else:
        reason = next((verdict.reason for verdict in feeds if not verdict.usable), "")
    return PriceVerdict(asset=source.asset, source=source, price=price, feeds=feeds, reason=reason)


def _verdict(
    feed: Feed,
    block: BlockRef,
    state: FeedState,
    reason: str,
    read: tuple[int | None, int | None] = (None, None),
) -> FeedVerdict:
    """`read`: the answer and its age in seconds, as far as they are known."""
    answer, age_s = read
    sentence = f"{feed.description}: {reason}" if reason else ""
    return FeedVerdict(
        feed=feed, block=block, state=state, reason=sentence, answer=answer, age_s=age_s
    )
