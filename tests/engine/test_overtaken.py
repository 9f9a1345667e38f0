"""A head that waits is taken before those who were below 1 before; each has his turn in the end."""

import math
from typing import cast

import numpy as np
import pytest

from keeper.engine.looks import LOT, Look, by_wait
from keeper.engine.market import Reading
from keeper.engine.passes import Pass
from keeper.model import Address, AlertLevel, Holdings, Refuse, Taken, Why
from tests.engine.fakes import BOB, Story, done, watched_market
from tests.engine.test_misses import RIVAL
from tests.engine.test_turns import DANGEROUS, HEALTHY, Choosy

MANY = 700
POOR = {Address(f"0x{0xD057 + n:040x}"): (2, 2_030 + n) for n in range(MANY)}
"""2 * 1,013 / 2,030 = 0.998 and less, each owing more than the one before."""
BY_DEBT = tuple(reversed(POOR))


async def crowded(choosy: Choosy, patience_s: float = math.inf) -> Story:
    """A story in which `POOR` were looked at, told of and not worth it; BOB is healthy."""
    story = Story(otherwise=choosy, patience_s=patience_s)
    await story.begin({**POOR, BOB: HEALTHY})
    while story.market.backlog:
        await story.mine()
    await story.mine()
    choosy.asked.clear()
    return story


def carried(passed: Pass) -> set[Address]:
    return {one.position.account for one in passed.carried}


async def test_a_head_that_waits_comes_before_those_who_were_below_before() -> None:
    choosy = Choosy()
    story = await crowded(choosy)
    choosy.worth.add(BOB)
    story.overtaken = True
    before = story.chain.head

    passed = done(await story.mine(moved={BOB: DANGEROUS}))

    assert story.acted_on() == [BOB]
    assert choosy.asked == [BOB, *BY_DEBT[:LOT]]
    assert carried(passed) == set(BY_DEBT[LOT:])
    assert {one.block for one in passed.carried} == {before}
    assert len(passed.assessments) == 1 + LOT


async def test_the_greatest_debts_have_their_turn_at_each_head_and_the_others_in_the_end() -> None:
    choosy = Choosy()
    story = await crowded(choosy)
    story.overtaken = True
    turns = []
    for _ in range(6):
        await story.mine()
        turns.append(tuple(choosy.asked))
        choosy.asked.clear()

    half = LOT // 2
    assert all(len(turn) == LOT and turn[:half] == BY_DEBT[:half] for turn in turns)
    rest = [account for turn in turns for account in turn[half:]]
    # 572 others, 128 at a time: all of them in four and a half turns, then the first again
    assert rest[: MANY - half] == list(BY_DEBT[half:])
    assert rest[MANY - half :] == list(BY_DEBT[half : half + 6 * half - (MANY - half)])


async def test_who_was_below_before_has_only_so_much_time() -> None:
    choosy = Choosy()
    story = await crowded(choosy, patience_s=1.5)  # the story's clock ticks when it is looked at

    passed = done(await story.mine())

    assert len(choosy.asked) == 2 * LOT
    assert carried(passed) == set(POOR) - set(choosy.asked)


async def test_without_a_head_that_waits_everybody_has_his_turn() -> None:
    choosy = Choosy()
    story = await crowded(choosy)

    passed = done(await story.mine())

    assert choosy.asked == list(BY_DEBT)
    assert passed.carried == ()


async def test_after_a_reorg_everybody_is_looked_at() -> None:
    choosy = Choosy()
    story = await crowded(choosy)
    story.overtaken = True
    gone = story.chain.drop(1)

    passed = done(await story.take(story.chain.mine(), orphaned=gone))

    assert len(choosy.asked) == MANY
    assert passed.carried == ()


async def test_nothing_found_at_an_orphaned_block_is_carried_over_a_late_pass() -> None:
    story = await crowded(Choosy())
    gone = story.chain.drop(1)
    story.late_s = 10_000  # nobody is looked at in turns
    await story.take(story.chain.mine(), orphaned=gone)
    story.late_s = 3.0
    story.overtaken = True

    first, second = done(await story.mine()), done(await story.mine())

    assert first.carried == ()
    assert {one.block for one in second.carried} == {first.block}


@pytest.mark.parametrize("why", [Why.UNPROFITABLE, Why.REFUSED])
async def test_what_is_said_and_kept_of_those_who_are_left_out_stays(why: Why) -> None:
    story = await crowded(Choosy(why=why))
    story.overtaken = True
    said_before = {state.subject for record in story.records.kept for state in record.alerts}

    records = []
    for _ in range(40):  # 800 s: more than an alert takes to be over
        await story.mine(seconds=20)
        records.append(story.records.kept[-1])

    assert len(said_before) == MANY
    assert [state for record in records for state in record.alerts] == []
    assert [text for record in records for text in record.messages] == []
    kept = [one.position for record in records for one in record.history]
    assert len(kept) == len(set(kept))  # one an hour, although each had several turns


async def test_whoever_else_takes_one_that_was_left_out_finds_him_accounted_for() -> None:
    story = await crowded(Choosy(why=Why.UNPROFITABLE))
    story.overtaken = True
    await story.mine()
    last = BY_DEBT[-1]
    assert last in carried(done(await story.mine()))

    [found] = done(await story.mine(liquidated={last: RIVAL})).liquidations

    assert (found.taken, found.reason) == (Taken.UNPROFITABLE, "not worth it")
    assert found.seen_block is not None


async def test_a_cool_down_outlasts_being_left_out() -> None:
    choosy = Choosy()
    story = await crowded(choosy)
    last = BY_DEBT[-1]
    choosy.worth.add(last)
    story.executor.declines = "It would revert: paused."
    await story.mine()
    assert story.acted_on() == [last]
    await story.mine()  # he is looked at once more: something was to be done
    story.overtaken = True
    left_out = 0
    for _ in range(2):
        left_out += last in carried(done(await story.mine()))
    story.overtaken = False
    choosy.asked.clear()

    passed = done(await story.mine())  # the fourth block after it of five

    assert left_out == 2
    assert last in choosy.asked
    assert story.acted_on() == [last]
    assert all(isinstance(d, Refuse) for d in passed.decisions)


async def test_who_recovers_while_he_is_left_out_is_forgotten() -> None:
    story = await crowded(Choosy())
    story.overtaken = True
    await story.mine()
    last = BY_DEBT[-1]

    passed = done(await story.mine(moved={last: HEALTHY}))

    assert last not in carried(passed)
    assert last not in {one.position.account for one in passed.assessments}
    assert AlertLevel.CLEAR not in {state.level for state in story.records.kept[-1].alerts}


def test_of_markets_the_one_of_which_nobody_had_a_turn_comes_first() -> None:
    looks = []
    for _ in range(2):
        market = watched_market(0)
        holdings = Holdings(account=BOB, e_mode=0, entries=())
        rows = np.array([market.book.put(holdings)])
        looks.append(
            Look(
                market=market,
                reading=cast("Reading", None),  # an order needs none
                fresh=rows[:0],
                standing=rows,
                unknown=rows[:0],
                unread={},
            )
        )
        market.stands(rows)
    first, second = looks

    second.stand((), left=True)
    assert by_wait(looks) == [second, first]
    second.stand(())
    assert by_wait(looks) == [first, second]
