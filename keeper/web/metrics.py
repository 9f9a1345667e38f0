"""What the keeper counts, for Prometheus, in a registry of its own.

Labels are names from the configuration and our own words, never accounts: their number is bounded.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from keeper.model import (
    Assessed,
    Assessment,
    BlockRef,
    Cause,
    FeedState,
    FeedVerdict,
    PriceVerdict,
    Thresholds,
)
from keeper.risk.spread import Spread
from keeper.units import WAD, Wad

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 12.0)
STATES: Final = ("healthy", "info", "warning", "critical", "liquidatable", "unknown")


class Metrics:
    """One object for the process; every method is cheap and none raises for ordinary input."""

    def __init__(self, version: str = "") -> None:
        """Start with nothing counted."""
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        Info("keeper_build", "The keeper's version.", registry=r).info({"version": version})
        chain, market = ("chain",), ("market",)
        self._heads = Counter("keeper_heads", "Blocks adopted.", chain, registry=r)
        self._orphans = Counter("keeper_orphaned_blocks", "Blocks undone.", chain, registry=r)
        self._number = Gauge("keeper_head_number", "Number of the last head.", chain, registry=r)
        self._last = Gauge(
            "keeper_last_head_timestamp", "Chain seconds of the last head.", chain, registry=r
        )
        self._passes = Counter("keeper_passes", "Blocks observed and decided.", chain, registry=r)
        self._skipped = Counter(
            "keeper_skipped_passes", "Blocks that could not be observed.", chain, registry=r
        )
        self._decision = Histogram(
            "keeper_decision_seconds",
            "From a head's arrival to the last decision.",
            chain,
            registry=r,
            buckets=SECONDS,
        )
        self._broadcast = Histogram(
            "keeper_broadcast_seconds",
            "From a head's arrival to the first transaction handed to a node.",
            chain,
            registry=r,
            buckets=SECONDS,
        )
        self._rpc = Counter("keeper_rpc_calls", "Requests.", ("chain", "method"), registry=r)
        self._armed = Gauge("keeper_armed", "1 where transactions are sent.", chain, registry=r)
        self._borrowers = Gauge("keeper_borrowers", "Accounts in the book.", market, registry=r)
        self._positions = Gauge(
            "keeper_positions",
            "All accounts of the book by state, counted in floats every 15 s or more.",
            ("market", "state"),
            registry=r,
        )
        self._lowest = Gauge(
            "keeper_lowest_health_factor",
            "Of all accounts of the book, in floats, every 15 s or more; NaN where none is known.",
            market,
            registry=r,
        )
        self._assessed = Gauge(
            "keeper_assessed_positions",
            "Watched, protected, unknown or below 1, by state, exactly at the last block;"
            " others are in no state.",
            ("market", "state"),
            registry=r,
        )
        self._doubts = Gauge(
            "keeper_price_doubts", "Prices doubted, by cause.", ("market", "cause"), registry=r
        )
        self._difference = Gauge(
            "keeper_price_difference_bps",
            "How far a price is from its independent reference.",
            ("market", "asset"),
            registry=r,
        )
        self._feeds = Gauge(
            "keeper_feeds", "Price feeds by state.", ("market", "state"), registry=r
        )
        self._alerts = Counter(
            "keeper_alerts", "Messages put into the outbox.", ("kind", "severity"), registry=r
        )
        self._actions = Counter(
            "keeper_actions",
            "Intents by what became of them.",
            ("market", "kind", "outcome"),
            registry=r,
        )
        self._outbox = Gauge("keeper_outbox_waiting", "Messages not acknowledged.", registry=r)
        self._seen_calls: dict[tuple[str, str], int] = {}

    def head(self, chain: str, block: BlockRef, *, adopted: int = 1, orphaned: int = 0) -> None:
        """Count a change of the head: so many blocks taken, so many undone."""
        self._heads.labels(chain).inc(adopted)
        self._orphans.labels(chain).inc(orphaned)
        self._number.labels(chain).set(block.number)
        self._last.labels(chain).set(block.timestamp)

    def passed(self, chain: str, *, decision_s: float, broadcast_s: float | None = None) -> None:
        """Count a finished pass and its times."""
        self._passes.labels(chain).inc()
        self._decision.labels(chain).observe(decision_s)
        if broadcast_s is not None:
            self._broadcast.labels(chain).observe(broadcast_s)

    def skipped(self, chain: str) -> None:
        """Count a block that could not be observed whole."""
        self._skipped.labels(chain).inc()

    def rpc(self, chain: str, totals: Mapping[str, int]) -> None:
        """Take the client's own totals by method; they only grow."""
        for method, total in totals.items():
            grown = total - self._seen_calls.get((chain, method), 0)
            if grown > 0:
                self._seen_calls[chain, method] = total
                self._rpc.labels(chain, method).inc(grown)

    def armed(self, chain: str, *, armed: bool) -> None:
        """Say whether transactions are sent on `chain`."""
        self._armed.labels(chain).set(int(armed))

    def borrowers(self, market: str, count: int) -> None:
        """Say how many accounts the market's book holds."""
        self._borrowers.labels(market).set(count)

    def assessed(
        self, market: str, assessments: Iterable[Assessment], thresholds: Thresholds
    ) -> None:
        """Take one pass's assessments of `market`, which are not of everybody: counts by state.

        Unknown ones are counted as unknown and in no other state.
        """
        counts = dict.fromkeys(STATES, 0)
        for found in assessments:
            counts[_state(found, thresholds)] += 1
        for state, count in counts.items():
            self._assessed.labels(market, state).set(count)

    def spread(self, market: str, spread: Spread, thresholds: Thresholds) -> None:
        """Take how all accounts of `market` stand: counts by state, and the lowest health."""
        below = dict(spread.below)
        counts = dict.fromkeys(STATES, 0)
        before = 0
        for bound, state in _bounds(thresholds):
            counts[state] = max(0, below[bound] - before)
            before = max(before, below[bound])
        counts["unknown"] = spread.unknown
        counts["healthy"] = spread.accounts - before - spread.unknown
        for state, count in counts.items():
            self._positions.labels(market, state).set(count)
        self._lowest.labels(market).set(spread.lowest)

    def feeds(self, market: str, verdicts: Iterable[FeedVerdict]) -> None:
        """Take one pass's feed verdicts of `market`."""
        counts = dict.fromkeys(FeedState, 0)
        for verdict in verdicts:
            counts[verdict.state] += 1
        for state, count in counts.items():
            self._feeds.labels(market, state.value).set(count)

    def prices(self, market: str, verdicts: Iterable[PriceVerdict]) -> None:
        """Take one pass's prices of `market`: doubts by cause, differences by asset address.

        NaN where a price has no reference at the moment.
        """
        counts = dict.fromkeys(Cause, 0)
        for verdict in verdicts:
            for cause in {suspicion.cause for suspicion in verdict.suspicions}:
                counts[cause] += 1
            if verdict.reference is not None:
                bps = verdict.difference_bps
                gauge = self._difference.labels(market, verdict.asset.address)
                gauge.set(math.nan if bps is None else bps)
        for cause, count in counts.items():
            self._doubts.labels(market, cause.value).set(count)

    def alert(self, kind: str, severity: str) -> None:
        """Count one message put into the outbox."""
        self._alerts.labels(kind, severity).inc()

    def action(self, market: str, kind: str, outcome: str) -> None:
        """Count one intent: ``submitted``, ``rehearsed``, ``declined``, ``confirmed`` ..."""
        self._actions.labels(market, kind, outcome).inc()

    def outbox(self, waiting: int) -> None:
        """Say how many messages no provider has acknowledged yet."""
        self._outbox.set(waiting)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)


def _state(found: Assessment, thresholds: Thresholds) -> str:
    if not isinstance(found, Assessed):
        return "unknown"
    return next(
        (state for bound, state in _bounds(thresholds) if found.health_factor < bound), "healthy"
    )


def _bounds(thresholds: Thresholds) -> tuple[tuple[Wad, str], ...]:
    return (
        (Wad(WAD), "liquidatable"),
        (thresholds.critical, "critical"),
        (thresholds.warning, "warning"),
        (thresholds.info, "info"),
    )
