"""The rules ``health`` and ``health_unknown``, per watch and position.  Pure."""

from keeper.alerts.distance import all_together, liquidation_points
from keeper.alerts.explorers import account_link
from keeper.alerts.machine import (
    HEALTH,
    HEALTH_UNKNOWN,
    AlertKey,
    Event,
    step_health,
)
from keeper.alerts.messages import chart_of
from keeper.alerts.numbers import plain
from keeper.alerts.render import (
    About,
    health_line,
    health_message,
    name_of,
    unknown_line,
)
from keeper.alerts.room import Notice, Room, subject_of
from keeper.alerts.speech import Phrase
from keeper.model import (
    Address,
    AlertLevel,
    Assessed,
    Assessment,
    Thresholds,
    Unassessable,
    Watch,
)
from keeper.units import Wad


def position_notices(room: Room, assessments: tuple[Assessment, ...]) -> list[Notice]:
    by_account: dict[Address, list[Assessment]] = {}
    for assessment in assessments:
        by_account.setdefault(assessment.position.account, []).append(assessment)
    notices = []
    for watch in room.watches:
        mine = by_account.get(watch.account, [])
        owing = [one for one in mine if not isinstance(one, Assessed) or one.debt]
        for assessment in mine:
            name = name_of(watch.label, watch.account)
            if len(owing) > 1:
                name = f"{name} · {plain(assessment.position.market.name, 40)}"
            match assessment:
                case Assessed():
                    notices.extend(_known(room, watch, assessment, name))
                case Unassessable():
                    notices.extend(_unknown(room, watch, assessment, name))
    return notices


def _known(room: Room, watch: Watch, assessed: Assessed, name: str) -> list[Notice]:
    subject = subject_of(assessed.position)
    thresholds = watch.thresholds or room.thresholds
    rank = assessed.health_factor
    notices = []

    key = AlertKey(chat=watch.chat, rule=HEALTH_UNKNOWN, subject=subject)
    for event in room.turn(key, AlertLevel.CLEAR, room.policy.unknown_clear_s):
        line = _unknown_words(event, name, "", room.now, assessed.health_factor)
        notices.append(Notice(event=event, line=line, text=line, group=HEALTH, rank=rank))

    key = AlertKey(chat=watch.chat, rule=HEALTH, subject=subject)
    step = step_health(
        key,
        room.state(key),
        assessed.health_factor,
        thresholds=thresholds,
        now=room.now,
        policy=room.policy,
        hush=room.hush(key),
    )
    events = (*room.keep(key, step), *room.call_in(key, assessed.health_factor))
    notices += [
        Notice(
            event=event,
            line=_health_words(event, None, name, thresholds, room),
            text=_health_words(event, _about(room, assessed, name), name, thresholds, room),
            group=HEALTH,
            rank=rank,
            chart=chart_of(assessed.position),
        )
        for event in events
    ]
    return notices


def _health_words(
    event: Event, about: About | None, name: str, thresholds: Thresholds, room: Room
) -> Phrase:
    """Return a health event's line, or with `about` its whole message."""
    policy, now = room.policy, room.now
    if about is None:
        return lambda say: health_line(
            event, name, thresholds=thresholds, policy=policy, now=now, say=say
        )
    return lambda say: health_message(
        event, about, thresholds=thresholds, policy=policy, now=now, say=say
    )


def _unknown_words(event: Event, name: str, reason: str, now: int, health: Wad | None) -> Phrase:
    return lambda say: unknown_line(event, name, reason=reason, now=now, health=health, say=say)


def _unknown(room: Room, watch: Watch, unknown: Unassessable, name: str) -> list[Notice]:
    subject = subject_of(unknown.position)
    room.hold(AlertKey(chat=watch.chat, rule=HEALTH, subject=subject))

    key = AlertKey(chat=watch.chat, rule=HEALTH_UNKNOWN, subject=subject)
    if room.cause(unknown):  # told as the feed, once
        room.hold(key)
        return []
    level = room.level_while_unknown(watch.chat, (unknown.position,))
    notices = []
    for event in room.turn(key, level, room.policy.unknown_clear_s):
        line = _unknown_words(event, name, unknown.reason, room.now, None)
        notices.append(Notice(event=event, line=line, text=line, group=HEALTH, rank=0))
    return notices


def _about(room: Room, assessed: Assessed, name: str) -> About:
    prices = room.prices[assessed.position.market]
    used = {leg.asset.address for leg in assessed.legs}
    ages = [
        (feed.age_s, feed.feed.description)
        for verdict in prices
        if verdict.asset.address in used
        for feed in verdict.feeds
        if feed.age_s is not None
    ]
    age_s, oracle = max(ages, default=(None, ""))
    return About(
        name=name,
        market=assessed.position.market,
        block=assessed.block,
        oracle_age_s=age_s,
        oracle=oracle,
        points=liquidation_points(assessed, prices),
        remedies=room.remedies(assessed),
        together_permille=all_together(assessed, prices),
        interest_s=room.interest(assessed),
        link=account_link(assessed.position.market.chain_id, assessed.position.account),
    )


def drop_unheard(room: Room) -> None:
    """End the position alerts of chats that no longer watch the account, without a word."""
    heard = {(watch.chat, watch.account) for watch in room.watches}
    for key, state in room.ledger.states.items():
        if key.rule in (HEALTH, HEALTH_UNKNOWN) and room.owns(key):
            account = Address(key.subject.rpartition(":")[2])
            if (key.chat, account) not in heard:
                room.ledger.drop(state)
