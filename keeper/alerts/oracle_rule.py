"""The rule ``oracle``: a feed that cannot be used, told once per chat.  Pure."""

from collections.abc import Mapping
from functools import partial

from keeper.alerts.machine import (
    ORACLE,
    AlertKey,
    Event,
)
from keeper.alerts.oracle_words import feed_name, feed_well, oracle_line, price_name
from keeper.alerts.room import Notice, Room, Trouble, feed_subject
from keeper.alerts.speech import Phrase
from keeper.model import (
    AlertLevel,
    Assessment,
    FeedVerdict,
    MarketId,
    PositionId,
    PriceVerdict,
    Stance,
    Unassessable,
)


def oracle_notices(room: Room, assessments: tuple[Assessment, ...]) -> list[Notice]:
    affected: dict[tuple[str, str], list[PositionId]] = {}
    for assessment in assessments:
        if isinstance(assessment, Unassessable):
            for trouble in room.cause(assessment):
                for watch in room.watchers(assessment.position):
                    affected.setdefault((watch.chat, trouble.subject), []).append(
                        assessment.position
                    )
    chains = {f"{market.chain_id}:" for market in room.prices}
    by_subject = {trouble.subject: trouble for trouble in room.troubles}
    keys = dict.fromkeys(
        (
            *(_oracle_key(chat, subject) for subject in by_subject for chat in room.operators),
            *(_oracle_key(chat, subject) for chat, subject in affected),
            *(
                key
                for key in room.ledger.states
                if key.rule == ORACLE and key.subject.startswith(tuple(chains))
            ),
        )
    )
    listening = {*room.operators, *(watch.chat for watch in room.watches)}
    feeds = _feeds(room.prices)
    notices = []
    for rank, key in enumerate(keys):
        if key.chat not in listening:
            room.ledger.drop(room.ledger.states[key])
            continue
        found = by_subject.get(key.subject)
        level = AlertLevel.CLEAR
        if found is not None:
            level = room.level_while_unknown(key.chat, affected.get((key.chat, key.subject), ()))
        for event in room.turn(key, level, room.policy.oracle_clear_s):
            name, what = _oracle_words(key.subject, found, feeds, room.prices)
            stance = Stance.HOLD_ALL if found is None else found.stance
            line = _line(event, name, what, room.now, stance)
            notices.append(Notice(event=event, line=line, text=line, group=ORACLE, rank=rank))
    return notices


def _line(event: Event, name: Phrase, what: Phrase, now: int, stance: Stance) -> Phrase:
    return lambda say: oracle_line(event, name(say), what(say), now=now, stance=stance, say=say)


def _oracle_key(chat: str, subject: str) -> AlertKey:
    return AlertKey(chat=chat, rule=ORACLE, subject=subject)


def _feeds(prices: Mapping[MarketId, tuple[PriceVerdict, ...]]) -> dict[str, FeedVerdict]:
    return {
        feed_subject(market, feed.feed.address): feed
        for market, verdicts in prices.items()
        for verdict in verdicts
        for feed in verdict.feeds
    }


def _oracle_words(
    subject: str,
    trouble: Trouble | None,
    feeds: Mapping[str, FeedVerdict],
    prices: Mapping[MarketId, tuple[PriceVerdict, ...]],
) -> tuple[Phrase, Phrase]:
    """Return the name, and what is wrong or how it is now."""
    if trouble is not None:
        return trouble.name, trouble.what
    feed = feeds.get(subject)
    if feed is not None:
        return partial(feed_name, feed), partial(feed_well, feed)
    for market, verdicts in prices.items():
        for verdict in verdicts:
            if subject == f"{market.chain_id}:{market.name}:{verdict.asset.address}":
                return partial(price_name, verdict), lambda say: say("usable again")
    address = subject.rpartition(":")[2]
    return lambda say: say("Oracle {name}", name=address), partial(feed_well, None)
