"""The oracles of one market between two blocks: traced, read, judged, and what is remembered.

Remembered: the level at which each feed was last believed, the phase each was last in, whose
reference disagreed, and which exchange pool is asked for each asset.  All of it may be forgotten: a
restart costs one comparison, never a verdict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from keeper.model import (
    Address,
    Asset,
    BlockRef,
    CallResult,
    Cause,
    Feed,
    FeedVerdict,
    PriceVerdict,
    Quote,
    Reference,
    Round,
    Silent,
    Source,
)
from keeper.oracles.caps import cap_reading, read_caps
from keeper.oracles.judge import Evidence, JudgeRules, judge, judge_prices
from keeper.oracles.jumps import Level, step
from keeper.oracles.learning import Learned, learned, read_history
from keeper.oracles.references import ReferenceRules, combine
from keeper.oracles.rounds import FeedReading, read_rounds
from keeper.oracles.sequencer import judge_sequencer, read_sequencer
from keeper.oracles.together import together
from keeper.oracles.trace import TraceRules, trace
from keeper.oracles.uniswap import Pool, best_pools, find_pools, quote_of, read_pools
from keeper.ports import Steps
from keeper.units import Base

PHASE_BITS = 64


def _silence() -> Mapping[str, tuple[Quote | Silent, ...]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Independent:
    """Where references come from."""

    rules: ReferenceRules = field(default_factory=ReferenceRules)
    feeds: Mapping[Address, Address] = field(default_factory=dict)
    """Another feed in dollars, by asset."""
    factory: Address | None = None
    """Uniswap v3's: one pool of each asset is asked."""
    quotes: tuple[str, ...] = ("USDC", "USDT", "DAI", "WETH")
    """Symbols of the tokens that prices are taken in, best first."""
    window_s: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleRules:
    """How the oracles of one market are traced, judged and checked."""

    tracing: TraceRules
    judging: JudgeRules
    independent: Independent = field(default_factory=Independent)
    sequencer: Address | None = None
    """The uptime feed of a rollup's sequencer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleRead:
    """What one read of the oracles brought, in the order it was asked for."""

    rounds: tuple[FeedReading, ...]
    others: tuple[FeedReading, ...]
    """Of the reference feeds."""
    caps: tuple[tuple[CallResult, ...], ...]
    pools: tuple[CallResult, ...]
    sequencer: CallResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """A feed whose proxy stands before another aggregator than at the block before."""

    feed: Feed
    phase: int
    was: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The oracles at one block."""

    feeds: tuple[FeedVerdict, ...]
    prices: tuple[PriceVerdict, ...]
    """In the order of the sources."""
    rotated: tuple[Rotated, ...]


class WatchedOracles:
    """One market's price sources.  No I/O: it hands out `Steps` and takes their answers."""

    def __init__(self, rules: OracleRules, chain_id: int) -> None:
        """`outside` may be set to whatever knows quotes by asset symbol, such as exchanges."""
        self.rules = rules
        self.sources: tuple[Source, ...] = ()
        self.outside: Callable[[], Mapping[str, tuple[Quote | Silent, ...]]] = _silence
        self._chain_id = chain_id
        self._others: Mapping[Address, Feed | Silent] = {}
        self._pools: tuple[Pool, ...] = ()
        self._narrowed = False
        self._levels: dict[Address, Level] = {}
        self._phases: dict[Address, int] = {}
        self._disagreed: frozenset[Address] = frozenset()
        self._learned: dict[Address, Learned | None] = {}

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every leaf feed once, in the order first met."""
        return tuple({feed.address: feed for s in self.sources for feed in s.feeds}.values())

    def discover(self, assets: tuple[tuple[Asset, Address], ...]) -> Steps[None]:
        """Trace each (asset, price source), the reference feeds, and find the pools."""
        wanted = self.rules.independent
        others = tuple((a, wanted.feeds[a.address]) for a, _ in assets if a.address in wanted.feeds)
        self.sources, traced, self._pools = yield from together(
            trace(assets, self._chain_id, self.rules.tracing),
            trace(others, self._chain_id, self.rules.tracing),
            find_pools(wanted.factory, [asset for asset, _ in assets], wanted.quotes),
        )
        self._others = {source.asset.address: _leaf(source) for source in traced}
        self._narrowed = False
        yield from self._learn()

    def _learn(self) -> Steps[None]:
        """Learn the heartbeats that nobody published, each feed once in the process's life."""
        unknown = tuple(
            f for f in self.feeds if f.heartbeat_assumed and f.address not in self._learned
        )
        latest = yield from read_rounds(unknown)
        histories = yield from together(
            *(
                read_history(feed.address, said.round_id, said.decimals)
                for feed, said in zip(unknown, latest, strict=True)
                if isinstance(said, Round)
            )
        )
        found = iter(histories)
        for feed, said in zip(unknown, latest, strict=True):
            self._learned[feed.address] = learned(next(found)) if isinstance(said, Round) else None
        self.sources = tuple(
            replace(source, feeds=tuple(map(self._as_learned, source.feeds)))
            for source in self.sources
        )

    def _as_learned(self, feed: Feed) -> Feed:
        found = self._learned.get(feed.address) if feed.heartbeat_assumed else None
        if found is None:
            return feed
        return replace(
            feed,
            heartbeat_s=found.heartbeat_s,
            heartbeat_assumed=False,
            heartbeat_learned=found.confidence,
        )

    def read(self) -> Steps[OracleRead]:
        """Everything that is judged at each block, in one batch."""
        others = tuple(feed for feed in self._others.values() if isinstance(feed, Feed))
        caps = tuple(cap for source in self.sources for cap in source.caps)
        rounds, more, capped, pools, sequencer = yield from together(
            read_rounds(self.feeds),
            read_rounds(others),
            read_caps(caps),
            read_pools(self._pools, self.rules.independent.window_s),
            read_sequencer(self.rules.sequencer),
        )
        return OracleRead(rounds=rounds, others=more, caps=capped, pools=pools, sequencer=sequencer)

    def take(self, block: BlockRef, read: OracleRead, prices: Sequence[Base | None]) -> Judged:
        """Judge what was read at `block`; `prices` are the protocol's, in order of the sources."""
        rules = self.rules.judging
        verdicts = {
            feed.address: judge(feed, reading, block, rules, jump=self._jump(feed, reading, block))
            for feed, reading in zip(self.feeds, read.rounds, strict=True)
        }
        caps = (cap for source in self.sources for cap in source.caps)
        address = self.rules.sequencer
        evidence = Evidence(
            feeds=verdicts,
            caps={
                cap.address: cap_reading(answers, block)
                for cap, answers in zip(caps, read.caps, strict=True)
            },
            references=self._references(block, read, prices, verdicts),
            sequencer=None
            if address is None or read.sequencer is None
            else judge_sequencer(address, read.sequencer, block, rules.sequencer_grace_s),
            disagreed=self._disagreed,
        )
        judged = judge_prices(self.sources, evidence, tuple(prices), rules)
        self._disagreed = frozenset(
            price.asset.address
            for price in judged
            if any(s.cause in (Cause.DISAGREES, Cause.FIXED) for s in price.suspicions)
        )
        return Judged(
            feeds=tuple(verdicts.values()),
            prices=judged,
            rotated=self._rotations(read.rounds),
        )

    # --- memory -------------------------------------------------------------------------------

    def _jump(self, feed: Feed, reading: FeedReading, block: BlockRef) -> str:
        if not isinstance(reading, Round) or reading.decimals != feed.decimals:
            return ""
        rules = self.rules.judging
        level, why = step(
            self._levels.get(feed.address),
            reading.answer,
            block,
            band_percent=rules.max_jump_percent,
            hold_s=rules.jump_hold_s,
        )
        if level is not None:
            self._levels[feed.address] = level
        return why

    def _rotations(self, rounds: tuple[FeedReading, ...]) -> tuple[Rotated, ...]:
        found = []
        for feed, reading in zip(self.feeds, rounds, strict=True):
            if not isinstance(reading, Round):
                continue
            phase = reading.round_id >> PHASE_BITS
            was = self._phases.get(feed.address, phase)
            if was != phase:
                found.append(Rotated(feed=feed, phase=phase, was=was))
            self._phases[feed.address] = phase
        return tuple(found)

    # --- references ---------------------------------------------------------------------------

    def _references(
        self,
        block: BlockRef,
        read: OracleRead,
        prices: Sequence[Base | None],
        verdicts: Mapping[Address, FeedVerdict],
    ) -> dict[Address, Reference]:
        """By asset; an asset that nobody is asked about has none."""
        said: dict[Address, list[Quote | Silent]] = {}
        answers = iter(read.others)
        for asset, feed in self._others.items():
            one = feed if isinstance(feed, Silent) else self._other(feed, next(answers), block)
            said.setdefault(asset, []).append(one)
        for asset, quote in self._traded(read, prices, verdicts):
            said.setdefault(asset, []).append(quote)
        outside = self.outside()
        for source in self.sources:
            if source.asset.symbol in outside:
                said.setdefault(source.asset.address, []).extend(outside[source.asset.symbol])
        rules = self.rules.independent.rules
        return {asset: combine(quotes, rules) for asset, quotes in said.items()}

    def _other(self, feed: Feed, reading: FeedReading, block: BlockRef) -> Quote | Silent:
        """A reference feed is judged like any other; it says nothing when it is not usable."""
        verdict = judge(feed, reading, block, self.rules.judging)
        if not verdict.usable or verdict.answer is None:
            return Silent(source=_name(feed), reason=verdict.reason)
        price = verdict.answer * 10**self.rules.judging.price_decimals // 10**feed.decimals
        return Quote(source=_name(feed), price=Base(price))

    def _traded(
        self,
        read: OracleRead,
        prices: Sequence[Base | None],
        verdicts: Mapping[Address, FeedVerdict],
    ) -> list[tuple[Address, Quote | Silent]]:
        """The first read asks every pool; from then on the best of each asset is asked.

        What a pool says is worth as much as the price of its other token: one whose own feeds
        are not well makes no reference.
        """
        known = {
            source.asset.address: price
            for source, price in zip(self.sources, prices, strict=True)
            if all(verdicts[feed.address].usable for feed in source.feeds)
        }
        window_s = self.rules.independent.window_s
        quotes = {
            pool: quote_of(pool, answer, known.get(pool.quote.address), window_s)
            for pool, answer in zip(self._pools, read.pools, strict=True)
        }
        if not self._narrowed and any(isinstance(said, Quote) for said in quotes.values()):
            self._narrowed = True
            wanted = self.rules.independent
            self._pools = best_pools(quotes, wanted.quotes, wanted.rules.min_depth)
        return [(pool.asset.address, quotes[pool]) for pool in self._pools]


def _leaf(source: Source) -> Feed | Silent:
    feed = next((f for f in source.feeds if f.address == source.address), None)
    if feed is not None:
        return feed
    return Silent(source=f"feed {source.address}", reason=source.untraced or "it is no feed itself")


def _name(feed: Feed) -> str:
    return f"feed {feed.description}"
