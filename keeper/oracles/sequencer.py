"""Whether a rollup's sequencer is up, and for how long it has been.

Source: Chainlink's L2 sequencer uptime feeds: answer 0 is up, 1 is down, and ``startedAt`` is when
that began.  While it is down nobody can top up; after it is up again prices may still be those
from before, so that a grace period begins.
"""

from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, BlockRef, Call, CallResult, Cause, Failed, Feed, FeedState
from keeper.model import FeedVerdict as Verdict
from keeper.oracles.abi import SELECTORS, clean, decode_round
from keeper.ports import Steps

KNOWN: Final = {
    10: Address("0x371ead81c9102c9bf4874a9075ffff170f2ee389"),
    1088: Address("0x58218ea7422255ebe94e56b504035a784b7aa204"),
    8453: Address("0xbcf85224fc0756b9fa45aa7892530b47e10b6433"),
    42161: Address("0xfdb631f5ee196f0ed6faa767959853a9f217697d"),
}
"""By chain id.  Source: smartcontractkit/documentation, l2-sequencer-feeds.mdx, 1dd940b5 (MIT)."""

DESCRIPTION: Final = "L2 sequencer"


def sequencer_feed(address: Address) -> Feed:
    """Return the uptime feed as a feed: it has no heartbeat, only changes."""
    return Feed(address=address, description=DESCRIPTION, decimals=0, heartbeat_s=0)


def read_sequencer(address: Address | None) -> Steps[CallResult | None]:
    """Read the uptime feed; nothing where the chain has none."""
    if address is None:
        return None
    (result,) = yield (Call(to=address, data=SELECTORS["latestRoundData"]),)
    return result


def judge_sequencer(address: Address, answer: CallResult, block: BlockRef, grace_s: int) -> Verdict:
    """Return what the uptime feed says at `block`: usable when up for longer than `grace_s`.

    A feed that cannot be read, has an answer other than 0 and 1, or a ``startedAt`` of 0 (an
    invalid round) counts as down: what is unknown is not up.
    """
    feed = sequencer_feed(address)

    def verdict(state: FeedState, cause: Cause | None, reason: str, age_s: int | None) -> Verdict:
        sentence = f"{DESCRIPTION}: {reason}" if reason else ""
        return Verdict(
            feed=feed,
            block=block,
            state=state,
            reason=sentence,
            answer=up_or_down,
            age_s=age_s,
            cause=cause,
        )

    up_or_down: int | None = None
    try:
        _, up_or_down, _ = decode_round(answer, "latestRoundData()")
    except BadAnswer as error:
        return verdict(FeedState.UNREADABLE, Cause.SEQUENCER_DOWN, clean(str(error), 160), None)
    assert not isinstance(answer, Failed)
    started_at = int.from_bytes(answer.data[64:96], "big")
    since_s = block.timestamp - started_at
    if up_or_down not in (0, 1) or started_at == 0:
        reason = f"it answers {up_or_down} since {started_at}, which says neither up nor down"
        return verdict(FeedState.SUSPICIOUS, Cause.SEQUENCER_DOWN, reason, None)
    if up_or_down == 1:
        reason = f"down for {since_s} s"
        return verdict(FeedState.SUSPICIOUS, Cause.SEQUENCER_DOWN, reason, since_s)
    if since_s < grace_s:
        reason = f"up again for {since_s} s, the grace is {grace_s} s"
        return verdict(FeedState.SUSPICIOUS, Cause.SEQUENCER_GRACE, reason, since_s)
    return verdict(FeedState.USABLE, None, "", since_s)
