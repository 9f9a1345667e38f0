"""Which prices are worth a row: the first, a change of doubt or of the reference, a move of a per
cent, and one an hour.

And which rounds of feeds are: each new one, but of a feed that answers every block one a minute,
and every change of what is thought of it.
"""

from dataclasses import dataclass, field

from keeper.model import Address, BlockRef, Cause, FeedVerdict, MarketId, PriceVerdict
from keeper.units import Base

EVERY_S = 3_600
ROUND_EVERY_S = 60
MOVED_BPS = 10
"""A difference from the reference that changed by this much is kept."""


@dataclass(frozen=True, slots=True)
class _Kept:
    at: int
    causes: frozenset[Cause]
    difference_bps: int | None
    price: Base | None


@dataclass(slots=True)
class PriceLog:
    """Remembers what was kept last of each asset; a restart costs one row each."""

    _last: dict[tuple[MarketId, Address], _Kept] = field(default_factory=dict)

    def worth_keeping(
        self, market: MarketId, block: BlockRef, prices: tuple[PriceVerdict, ...]
    ) -> tuple[tuple[MarketId, PriceVerdict], ...]:
        """Return those that say something new, and remember that they were kept."""
        found = []
        for verdict in prices:
            key = (market, verdict.asset.address)
            now = _Kept(
                block.timestamp,
                frozenset(suspicion.cause for suspicion in verdict.suspicions),
                verdict.difference_bps,
                verdict.price,
            )
            if _new(self._last.get(key), now):
                self._last[key] = now
                found.append((market, verdict))
        return tuple(found)


def _new(before: _Kept | None, now: _Kept) -> bool:
    if before is None or before.causes != now.causes or now.at - before.at >= EVERY_S:
        return True
    if before.price and now.price and abs(now.price - before.price) * 100 >= before.price:
        return True
    if before.difference_bps is None or now.difference_bps is None:
        return before.difference_bps is not now.difference_bps
    return abs(now.difference_bps - before.difference_bps) >= MOVED_BPS


@dataclass(frozen=True, slots=True)
class _Seen:
    at: int
    round_id: int | None
    answer: int | None
    cause: Cause | None


@dataclass(slots=True)
class RoundLog:
    """Remembers which round of each feed was kept last; a restart costs one row each."""

    _last: dict[tuple[int, Address], _Seen] = field(default_factory=dict)

    def worth_keeping(
        self, chain_id: int, feeds: tuple[FeedVerdict, ...]
    ) -> tuple[tuple[int, FeedVerdict], ...]:
        """Return those that say something new, and remember that they were kept."""
        found = []
        for verdict in feeds:
            key = (chain_id, verdict.feed.address)
            now = _Seen(verdict.block.timestamp, verdict.round_id, verdict.answer, verdict.cause)
            if _fresh(self._last.get(key), now):
                self._last[key] = now
                found.append((chain_id, verdict))
        return tuple(found)


def _fresh(before: _Seen | None, now: _Seen) -> bool:
    if before is None or before.cause != now.cause:
        return True
    same = (before.round_id, before.answer) == (now.round_id, now.answer)
    return not same and now.at - before.at >= ROUND_EVERY_S
