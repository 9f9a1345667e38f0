"""Two years of real rounds: our rule cries wolf where it must, and a freeze is always seen."""

from pathlib import Path

import pytest

from bench import replay
from bench.replay import BLOCK_S, OURS, STRICT, History, delays, false_alarms, false_jumps, history


@pytest.fixture(scope="module")
def data() -> Path:
    there = replay.folder()
    if there is None:
        pytest.skip("the real rounds are not here: KEEPER_REPLAY_DATA names their folder")
    return there


@pytest.fixture(params=replay.FEEDS, scope="module")
def real(data: Path, request: pytest.FixtureRequest) -> History:
    return history(data, str(request.param))


def test_the_grace_ends_false_alarms_that_a_strict_rule_has_by_the_hundred(data: Path) -> None:
    eth = history(data, "ETHUSD")

    assert false_alarms(eth, STRICT).per_year > 500
    assert false_alarms(eth, OURS).false == 0


def test_a_feed_that_is_well_is_hardly_ever_called_stale(real: History) -> None:
    assert false_alarms(real, OURS).per_year <= 1


def test_no_real_round_is_taken_for_a_jump(real: History) -> None:
    assert false_jumps(real, OURS) == 0


def test_every_freeze_is_seen_by_the_block_after_heartbeat_and_grace(real: History) -> None:
    seen = delays(real, OURS, freezes=60)

    assert len(seen) == 60
    # the answer that never came was due after the last one: from there it is less than all of it
    assert max(seen) <= real.feed.heartbeat_s + OURS.grace(real.feed.heartbeat_s) + BLOCK_S
