"""Heartbeats learned from rounds: real ones, made ones, and ones that show nothing."""

import random
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from bench import replay
from bench.replay import History, history
from keeper.engine.oracles import OracleRules, WatchedOracles
from keeper.model import Round
from keeper.oracles.heartbeats import parse, published
from keeper.oracles.judge import JudgeRules
from keeper.oracles.learning import CUSTOMARY_S, GET_ROUND_DATA, ROUNDS, learned, read_history
from keeper.oracles.trace import TraceRules
from tests.oracles.fakes import NOW, Chain, address, asset, feed, round_data, word

FEED = address(0xFEED)
PHASE = 5 << 64
NOTHING_PUBLISHED = parse("[sources]\n[feeds]\n")


def made(*gaps: int, answers: tuple[int, ...] = ()) -> tuple[Round, ...]:
    """Rounds with these seconds between them, the last one just now."""
    at = NOW - sum(gaps)
    found = []
    for i, gap in enumerate((0, *gaps)):
        at += gap
        answer = answers[i] if answers else 100_000_000
        found.append(
            Round(feed=FEED, round_id=PHASE + i + 1, answer=answer, updated_at=at, decimals=8)
        )
    return tuple(found)


@pytest.fixture(params=replay.FEEDS, scope="module")
def real(request: pytest.FixtureRequest) -> History:
    there: Path | None = replay.folder()
    if there is None:
        pytest.skip("the real rounds are not here: KEEPER_REPLAY_DATA names their folder")
    return history(there, str(request.param))


def test_real_rounds_never_teach_another_heartbeat_than_the_published(real: History) -> None:
    """Every stretch of 64 rounds that teaches anything teaches the truth; most of quiet ones do."""
    stretches = range(0, len(real.rounds) - ROUNDS, ROUNDS)
    taught = [found for i in stretches if (found := learned(real.rounds[i : i + ROUNDS]))]

    right = [found for found in taught if found.heartbeat_s == real.feed.heartbeat_s]
    assert len(right) >= len(taught) * 99 // 100
    assert len(taught) * 2 >= len(stretches)


def test_a_real_feeds_deviation_is_learned_from_its_early_rounds(real: History) -> None:
    found = learned(real.rounds[:20_000])

    assert found is not None
    assert found.heartbeat_s == real.feed.heartbeat_s
    assert found.deviation_percent == 0.5


def test_every_customary_heartbeat_is_learned_from_late_rounds_and_moves_between() -> None:
    chance = random.Random(7)
    for heartbeat_s in CUSTOMARY_S:
        late = min(100, heartbeat_s // 3)
        gaps = [heartbeat_s + chance.randrange(late) for _ in range(20)]
        gaps += [chance.randrange(1, heartbeat_s * 9 // 10) for _ in range(20)]
        chance.shuffle(gaps)

        found = learned(made(*gaps))

        assert found is not None, heartbeat_s
        assert found.heartbeat_s == heartbeat_s
        assert found.at_heartbeat >= 20


def test_gaps_that_pile_up_nowhere_teach_nothing() -> None:
    assert learned(made(*range(100, 3_000, 61))) is None


def test_a_deviation_is_learned_where_early_moves_pile_up_above_it() -> None:
    gaps, answers = [], [100_000_000]
    for i in range(30):
        gaps += [600, 3_605]
        answers += [answers[-1] * (1_000_000 + (10_300 if i % 4 else 400)) // 1_000_000] * 2

    found = learned(made(*gaps, answers=tuple(answers)))

    assert found is not None
    assert (found.heartbeat_s, found.deviation_percent) == (3_600, 1.0)


def test_too_few_rounds_teach_nothing() -> None:
    assert learned(made(*[3_600] * 11)) is None
    assert learned(made(*[3_600] * 12)) is not None
    assert learned(()) is None


def test_silence_longer_than_any_heartbeat_teaches_nothing() -> None:
    assert learned(made(*[700_000] * 20)) is None


def test_one_outage_in_fifty_rounds_does_not_make_a_feed_slower() -> None:
    outage = learned(made(*[3_605] * 55, 90_000))
    habit = learned(made(*[3_605] * 40, *[86_401] * 9))

    assert outage is not None
    assert outage.heartbeat_s == 3_600
    assert habit is not None
    assert habit.heartbeat_s == 86_400


def test_rounds_without_answer_or_of_the_same_instant_or_out_of_order_are_left_out() -> None:
    good = made(*[3_610] * 20)
    zero = Round(feed=FEED, round_id=9, answer=0, updated_at=0, decimals=8)

    found = learned((zero, *good[:5], good[4], good[3], zero, *good[5:]))

    assert found is not None
    assert found.heartbeat_s == 3_600


def test_the_rounds_of_this_phase_are_read_and_those_that_are_gone_left_out() -> None:
    rounds = {
        f"getRoundData({PHASE + i})": round_data(100, NOW + i, PHASE + i) for i in range(60, 101)
    }
    rounds[f"getRoundData({PHASE + 70})"] = word(7)
    rounds[f"getRoundData({PHASE + 71})"] = round_data(100, NOW, PHASE + 1)
    chain = Chain({FEED: feed(**rounds)})

    found = chain.drive(read_history(FEED, PHASE + 100, 8))

    assert [one.round_id - PHASE for one in found] == [*range(60, 70), *range(72, 101)]
    assert [len(batch) for batch in chain.batches] == [ROUNDS]


# --- in use -----------------------------------------------------------------------------------


def oracles_on(chain: Chain, **rules: object) -> WatchedOracles:
    tracing = TraceRules(**({"heartbeats": NOTHING_PUBLISHED} | rules))  # type: ignore[arg-type]
    made_ = WatchedOracles(OracleRules(tracing=tracing, judging=JudgeRules()), chain_id=1)
    chain.drive(made_.discover(((asset(1), FEED),)))
    return made_


def hourly(called: str = "NEW / USD") -> Chain:
    rounds = {
        f"getRoundData({PHASE + i})": round_data(100_000_000, NOW - (40 - i) * 3_604, PHASE + i)
        for i in range(1, 41)
    }
    latest = {"latestRoundData": round_data(100_000_000, NOW, PHASE + 40)}
    return Chain({FEED: feed(called, **(rounds | latest))})


def test_a_heartbeat_nobody_published_is_learned_and_said_to_be() -> None:
    [found] = oracles_on(hourly()).feeds

    assert found.heartbeat_s == 3_600
    assert not found.heartbeat_assumed
    assert found.heartbeat_learned == "39 of 39 gaps end at it"


def test_it_is_learned_once_and_not_at_each_discovery() -> None:
    chain = hourly()
    there = oracles_on(chain)
    asked = sum(len(batch[0].data) > 4 for batch in chain.batches)

    chain.drive(there.discover(((asset(1), FEED),)))

    assert asked == 1
    assert sum(len(batch[0].data) > 4 for batch in chain.batches) == 1
    assert there.feeds[0].heartbeat_s == 3_600


def test_what_is_published_or_said_by_the_operator_is_not_learned() -> None:
    by_operator = oracles_on(hourly(), overrides_s={FEED: 7_200}).feeds[0]
    known = oracles_on(hourly("ETH / USD"), heartbeats=published())

    assert (by_operator.heartbeat_s, by_operator.heartbeat_learned) == (7_200, "")
    assert known.feeds[0].heartbeat_learned == ""


def test_a_feed_that_keeps_no_rounds_stays_assumed() -> None:
    [found] = oracles_on(Chain({FEED: feed("NEW / USD")})).feeds

    assert found.heartbeat_assumed
    assert found.heartbeat_learned == ""


def test_the_selector_is_the_hash_of_its_signature() -> None:
    assert keccak(text="getRoundData(uint80)")[:4] == GET_ROUND_DATA
