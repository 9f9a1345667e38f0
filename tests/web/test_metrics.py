import math
from dataclasses import replace

from keeper.model import (
    Address,
    Assessment,
    Asset,
    Cause,
    FeedState,
    Reference,
    Stance,
    Suspicion,
    Thresholds,
)
from keeper.risk.spread import Spread
from keeper.units import UINT256_MAX, WAD, Base, Wad
from keeper.web.metrics import Metrics
from tests.web.fakes import BLOCK, USDC, assessed, oracle, unknown

THRESHOLDS = Thresholds(
    info=Wad(130 * 10**16), warning=Wad(115 * 10**16), critical=Wad(105 * 10**16)
)

WETH = Asset(address=Address("0x" + "ee" * 20), symbol="WETH", decimals=18)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_head_is_counted_with_its_number_and_its_chain_time() -> None:
    metrics = Metrics("0.1.0")

    metrics.head("ethereum", BLOCK, adopted=3, orphaned=2)

    assert value(metrics, "keeper_heads_total", chain="ethereum") == 3
    assert value(metrics, "keeper_orphaned_blocks_total", chain="ethereum") == 2
    assert value(metrics, "keeper_head_number", chain="ethereum") == BLOCK.number
    assert value(metrics, "keeper_last_head_timestamp", chain="ethereum") == BLOCK.timestamp


def test_each_position_is_in_one_state_and_unknown_is_never_healthy() -> None:
    metrics = Metrics()
    found: list[Assessment] = [
        assessed(1, 10**18 - 1),
        assessed(2, 10**18),
        assessed(3, 105 * 10**16),
        assessed(4, 115 * 10**16),
        assessed(5, 130 * 10**16),
        assessed(6, UINT256_MAX),
        unknown(7, "stale"),
    ]

    metrics.assessed("m", found, THRESHOLDS)

    def count(state: str) -> float | None:
        return value(metrics, "keeper_assessed_positions", market="m", state=state)

    assert count("liquidatable") == 1
    assert count("critical") == 1
    assert count("warning") == 1
    assert count("info") == 1
    assert count("healthy") == 2
    assert count("unknown") == 1


def test_positions_that_nobody_watches_are_counted_below_every_threshold() -> None:
    metrics = Metrics()
    counted = Spread(
        block_number=7,
        accounts=41_208,
        below=(
            (Wad(WAD), 2),
            (THRESHOLDS.critical, 15),
            (THRESHOLDS.warning, 90),
            (THRESHOLDS.info, 1_377),
        ),
        unknown=3,
        lowest=0.93987,
    )

    metrics.spread("m", counted, THRESHOLDS)

    def count(state: str) -> float | None:
        return value(metrics, "keeper_positions", market="m", state=state)

    assert count("liquidatable") == 2
    assert count("critical") == 13
    assert count("warning") == 75
    assert count("info") == 1_287
    assert count("unknown") == 3
    assert count("healthy") == 41_208 - 1_377 - 3
    assert value(metrics, "keeper_lowest_health_factor", market="m") == 0.93987


def test_the_lowest_health_is_not_a_number_when_none_is_known() -> None:
    metrics = Metrics()
    bounds = (WAD, THRESHOLDS.critical, THRESHOLDS.warning, THRESHOLDS.info)
    none = tuple((Wad(bound), 0) for bound in bounds)
    counted = Spread(block_number=7, accounts=1, below=none, unknown=1, lowest=math.nan)

    metrics.spread("m", counted, THRESHOLDS)

    lowest = value(metrics, "keeper_lowest_health_factor", market="m")
    assert lowest is not None
    assert math.isnan(lowest)
    assert value(metrics, "keeper_positions", market="m", state="healthy") == 0


def test_totals_of_requests_are_taken_as_they_grow() -> None:
    metrics = Metrics()

    metrics.rpc("ethereum", {"eth_call": 7})
    metrics.rpc("ethereum", {"eth_call": 7, "eth_getLogs": 2})
    metrics.rpc("ethereum", {"eth_call": 9})

    assert value(metrics, "keeper_rpc_calls_total", chain="ethereum", method="eth_call") == 9
    assert value(metrics, "keeper_rpc_calls_total", chain="ethereum", method="eth_getLogs") == 2


def test_passes_are_timed() -> None:
    metrics = Metrics()

    metrics.passed("ethereum", decision_s=0.004)
    metrics.passed("ethereum", decision_s=0.3, broadcast_s=0.4)
    metrics.skipped("ethereum")

    assert value(metrics, "keeper_decision_seconds_count", chain="ethereum") == 2
    assert value(metrics, "keeper_decision_seconds_bucket", chain="ethereum", le="0.005") == 1
    assert value(metrics, "keeper_broadcast_seconds_count", chain="ethereum") == 1
    assert value(metrics, "keeper_skipped_passes_total", chain="ethereum") == 1


def test_feeds_alerts_actions_and_the_outbox_are_counted() -> None:
    metrics = Metrics()
    stale = oracle(USDC, "USDC/USD", 90_314, "old").price.feeds[0]
    fresh = replace(stale, state=FeedState.USABLE, reason="")

    metrics.feeds("m", [stale, fresh, fresh])
    metrics.alert("fired", "critical")
    metrics.action("m", "repay", "confirmed")
    metrics.outbox(4)
    metrics.armed("ethereum", armed=True)
    metrics.borrowers("m", 41_208)

    assert value(metrics, "keeper_feeds", market="m", state="usable") == 2
    assert value(metrics, "keeper_feeds", market="m", state="stale") == 1
    assert value(metrics, "keeper_alerts_total", kind="fired", severity="critical") == 1
    assert (
        value(metrics, "keeper_actions_total", market="m", kind="repay", outcome="confirmed") == 1
    )
    assert value(metrics, "keeper_outbox_waiting") == 4
    assert value(metrics, "keeper_armed", chain="ethereum") == 1
    assert value(metrics, "keeper_borrowers", market="m") == 41_208


def test_doubts_and_differences_of_prices_are_gauges() -> None:
    metrics = Metrics()
    price = oracle(USDC, "USDC/USD", 41, "").price
    doubt = Suspicion(cause=Cause.DISAGREES, stance=Stance.ALERT, reason="it disagrees")
    there = Reference(price=Base(100_000_000), quotes=())
    doubted = replace(price, price=Base(87_400_000), suspicions=(doubt, doubt), reference=there)
    none = replace(price, asset=WETH, reference=Reference(price=None, quotes=()))

    metrics.prices("m", [doubted, none, price])

    assert value(metrics, "keeper_price_doubts", market="m", cause="disagrees") == 1
    assert value(metrics, "keeper_price_doubts", market="m", cause="stale") == 0
    # 87.4 / 100 - 1 = -12.6 %
    here = value(metrics, "keeper_price_difference_bps", market="m", asset=USDC.address)
    assert here == -1_260
    blind = value(metrics, "keeper_price_difference_bps", market="m", asset=WETH.address)
    assert blind is not None
    assert math.isnan(blind)


def test_two_keepers_in_one_process_do_not_share_a_registry() -> None:
    one, two = Metrics(), Metrics()

    one.outbox(1)

    assert value(two, "keeper_outbox_waiting") == 0
    assert b"keeper_outbox_waiting 1.0" in one.exposition()
