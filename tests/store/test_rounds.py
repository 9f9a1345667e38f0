"""Rounds of feeds over time: which are kept, and that whatever a feed says comes back."""

from dataclasses import replace

import pytest

from keeper.engine.prices import ROUND_EVERY_S, RoundLog
from keeper.model import Cause, Feed, FeedState, FeedVerdict, PassRecord
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.records import SqlRecords
from tests.store.builders import MARKET, address, block

FEED = Feed(address=address(0xFE), description="ETH/USD", decimals=8, heartbeat_s=3_600)
CHAIN = MARKET.chain_id


def verdict(
    answer: int | None = 351_237_281_953, *, round_id: int = (5 << 64) | 7, age_s: int | None = 41
) -> FeedVerdict:
    return FeedVerdict(
        feed=FEED,
        block=block(),
        state=FeedState.USABLE,
        reason="",
        answer=answer,
        age_s=age_s,
        round_id=round_id,
    )


async def kept(database: Database, *verdicts: FeedVerdict) -> None:
    rounds = tuple((CHAIN, one) for one in verdicts)
    await SqlRecords(database).record(PassRecord(block=block(), rounds=rounds))


async def test_a_round_and_what_was_thought_of_it_come_back(database: Database) -> None:
    stale = replace(verdict(), state=FeedState.STALE, cause=Cause.STALE, reason="ETH/USD: old")
    await kept(database, stale)

    [point] = await SqlHistory(database).rounds(CHAIN, FEED.address)
    assert (point.round_id, point.answer) == ((5 << 64) | 7, 351_237_281_953)
    assert point.updated_at == block().timestamp - 41
    assert (point.state, point.cause, point.reason) == ("stale", "stale", "ETH/USD: old")
    assert await SqlHistory(database).feeds(CHAIN) == ((FEED.address, "ETH/USD"),)
    assert await SqlHistory(database).rounds(CHAIN + 1, FEED.address) == ()


@pytest.mark.parametrize(
    ("answer", "age_s"),
    [
        (-(2**255), 0),
        (2**255 - 1, -(2**256)),
        (0, 2**256),
        (None, None),
        (1, 10**18),
    ],
)
async def test_whatever_a_feed_answers_can_be_kept(
    database: Database, answer: int | None, age_s: int | None
) -> None:
    feed = replace(FEED, description="a\x00b\ud800\u202e" + "x" * 500)
    await kept(database, replace(verdict(answer, age_s=age_s), feed=feed, round_id=2**80 - 1))

    [point] = await SqlHistory(database).rounds(CHAIN, FEED.address)
    assert point.answer == answer
    assert point.round_id == 2**80 - 1
    assert point.updated_at is None or point.updated_at == block().timestamp


async def test_rounds_are_forgotten_with_the_rest(database: Database) -> None:
    await kept(database, verdict())

    assert await SqlHistory(database).prune(block().timestamp + 1) == 1
    assert await SqlHistory(database).rounds(CHAIN, FEED.address) == ()


def at(seconds: int, one: FeedVerdict) -> FeedVerdict:
    return replace(one, block=replace(block(), timestamp=block().timestamp + seconds))


def test_the_first_each_new_and_each_change_of_doubt_are_kept_and_no_repetition() -> None:
    log, stale = RoundLog(), replace(verdict(), cause=Cause.STALE)
    newer = verdict(351_000_000_000, round_id=(5 << 64) | 8)

    told = [
        len(log.worth_keeping(CHAIN, (one,)))
        for one in (
            at(0, verdict()),
            at(12, verdict()),
            at(24, stale),
            at(36, stale),
            at(48, verdict()),
            at(60, newer),
            at(48 + ROUND_EVERY_S, newer),
            at(120, newer),
        )
    ]

    # the newer round comes 12 s after the last row: it is kept when the minute is over
    assert told == [1, 0, 1, 0, 1, 0, 1, 0]


def test_feeds_and_chains_are_remembered_apart() -> None:
    log = RoundLog()
    other = replace(verdict(), feed=replace(FEED, address=address(0xFF)))

    assert len(log.worth_keeping(CHAIN, (verdict(), other))) == 2
    assert len(log.worth_keeping(CHAIN, (verdict(), other))) == 0
    assert len(log.worth_keeping(CHAIN + 1, (verdict(),))) == 1
