"""The latest round of every feed, two calls each, in one batch of the block's packed read."""

from keeper.errors import BadAnswer
from keeper.model import Call, CallResult, Failed, Feed, Round
from keeper.oracles.abi import call, decode_decimals, decode_round
from keeper.ports import Steps

FeedReading = Round | Failed
"""A round, or why there is none.  A failure costs its own feed and no other."""


def read_rounds(feeds: tuple[Feed, ...]) -> Steps[tuple[FeedReading, ...]]:
    """Read `latestRoundData` and `decimals` of each feed, answers in the order of `feeds`.

    Decimals are read each time since a change of them is a change of every price: a feed of 8
    decimals read as 18 has cost millions.  No feeds, no batch.
    """
    if not feeds:
        return ()
    calls: list[Call] = []
    for feed in feeds:
        calls += (call(feed.address, "latestRoundData"), call(feed.address, "decimals"))
    results = yield tuple(calls)
    return tuple(
        decode_reading(feed, latest, decimals)
        for feed, latest, decimals in zip(feeds, results[0::2], results[1::2], strict=True)
    )


def decode_reading(feed: Feed, latest: CallResult, decimals: CallResult) -> FeedReading:
    """Return the round of `feed`, or `Failed` with the sentence that says what was wrong."""
    try:
        round_id, answer, updated_at = decode_round(latest, "latestRoundData()")
        scale = decode_decimals(decimals, "decimals()")
    except BadAnswer as error:
        return Failed(str(error))
    return Round(
        feed=feed.address,
        round_id=round_id,
        answer=answer,
        updated_at=updated_at,
        decimals=scale,
    )
