"""The texts of the richer replies: positions, stress, oracles, firing alerts, offers.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Final

from keeper.alerts.distance import liquidation_points
from keeper.alerts.hours import clock_text
from keeper.alerts.hush import silent
from keeper.alerts.machine import (
    HEALTH,
    HEALTH_UNKNOWN,
    KEEPER,
    ORACLE,
    REFUSED,
    REHEARSED,
    RULE,
    level_of,
)
from keeper.alerts.numbers import (
    count_text,
    dollars_text,
    duration_text,
    gas_text,
    health_text,
    permille_text,
    plain,
    reason_text,
    short,
    symbol_text,
)
from keeper.alerts.oracle_words import feed_name, feed_trouble
from keeper.alerts.render import (
    LEVEL_MARK,
    ORACLE_MARK,
    asset_text,
    level_word,
    more,
    native_symbol,
    point_line,
)
from keeper.alerts.replies import SHOWN, health_reply
from keeper.alerts.speech import ENGLISH, Speech, noted
from keeper.alerts.stress import Stressed
from keeper.model import (
    AlertState,
    Assessed,
    Assessment,
    ChatHours,
    FeedVerdict,
    HeldLine,
    Hush,
    Intent,
    IntentKind,
    PriceVerdict,
    Rehearsed,
    Side,
    Thresholds,
    Unassessable,
)
from keeper.units import Wad, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An action that waits for a second tap."""

    intent: Intent
    chain: str
    """Name of the chain in the configuration."""
    rehearsed: Rehearsed
    target: Wad
    """The offer is no longer needed once this is reached by itself."""
    armed: bool


def position_text(
    label: str,
    assessment: Assessment,
    thresholds: Thresholds,
    prices: Sequence[PriceVerdict],
    say: Speech = ENGLISH,
) -> str:
    """Return one position in full: what it holds, what it owes, where it is liquidated."""
    lines = [health_reply(label, assessment, thresholds, say)]
    if isinstance(assessment, Assessed):
        for leg in assessment.legs:
            values = {
                "amount": asset_text(leg.asset, leg.balance),
                "value": dollars_text(leg.value),
            }
            if leg.side is Side.COLLATERAL:
                percent = f"{leg.liquidation_threshold / 100:g} %"
                told = say("holds {amount} ({value}, counts {percent})", percent=percent, **values)
            else:
                told = say("owes {amount} ({value})", **values)
            lines.append(f"  {told}")
        points = liquidation_points(assessment, prices, most=5)
        lines.extend(f"  {point_line(point, say)}" for point in points)
    return "\n".join(lines)


def stress_line(
    name: str,
    assessment: Assessment,
    result: Stressed | None,
    thresholds: Thresholds,
    say: Speech = ENGLISH,
) -> str:
    """Return ``main: 1.142 -> about 0.914 (critical)``."""
    match assessment:
        case Unassessable(reason=reason):
            why = reason_text(reason, say)
            return f"{ORACLE_MARK} {say('{name}: unknown: {reason}', name=name, reason=why)}"
        case Assessed(health_factor=health, debt=debt):
            if debt == 0 or result is None:
                return f"{LEVEL_MARK[level_of(health, thresholds)]} {name}: {say('no debt')}"
            now = health_text(health, say)
            if not result.moved:
                return say("{name}: {health}, does not depend on it", name=name, health=now)
            level = level_of(result.health, thresholds)
            told = say(
                "{name}: {health} → about {after} ({level})",
                name=name,
                health=now,
                after=health_text(result.health, say),
                level=level_word(level, say),
            )
            end = say(" — can be liquidated") if result.health < 10**18 else ""
            return f"{LEVEL_MARK[level]} {told}{end}"


def stress_text(
    what: str,
    permille: int,
    lines: Sequence[str],
    others: Sequence[str] = (),
    say: Speech = ENGLISH,
) -> str:
    """Return the reply to ``/stress``; `others` are the assets that move with `what`."""
    values = {"what": plain(what, 16), "change": permille_text(permille)}
    if others:
        named = ", ".join((*others[:SHOWN], *(["..."] if len(others) > SHOWN else [])))
        head = say(
            "If {what} moves {change}, and with it what hangs on the same price feed ({others}):",
            others=named,
            **values,
        )
    else:
        head = say("If {what} moves {change}:", **values)
    return "\n".join((head, *lines[:SHOWN]))


REFERENCES: Final = 6
"""Differences shown: the greatest."""


def oracles_text(prices: Iterable[PriceVerdict], say: Speech = ENGLISH) -> str:
    """Return every feed once, those in trouble first; then what references say of prices."""
    prices = tuple(prices)
    feeds = {one.feed.address: one for verdict in prices for one in verdict.feeds}
    blind = [one for one in prices if not one.usable and all(f.usable for f in one.feeds)]
    lines = [
        f"{ORACLE_MARK} {symbol_text(one.asset.symbol)}: {reason_text(one.reason, say)}"
        for one in blind
    ]
    for feed in sorted(feeds.values(), key=lambda one: (one.usable, one.feed.description)):
        said = _feed_state(feed, say) if feed.usable else feed_trouble(feed, say)
        mark = "🟢" if feed.usable else ORACLE_MARK
        lines.append(f"{mark} {feed_name(feed, say)}: {said}")
    if not lines:
        return say("No oracle was read yet: try again after the next block.")
    shown = (*lines[:SHOWN], *more(len(lines) - SHOWN, say))
    return "\n".join((*shown, *_references(prices, say)))


def _feed_state(feed: FeedVerdict, say: Speech) -> str:
    beat = duration_text(feed.feed.heartbeat_s)
    if feed.age_s is None:
        return say("age unknown, heartbeat {beat}", beat=beat)
    return say("{age} old, heartbeat {beat}", age=duration_text(feed.age_s), beat=beat)


def _references(prices: Sequence[PriceVerdict], say: Speech) -> tuple[str, ...]:
    """What is doubted although its feeds are well, then how far prices are from their references,
    the furthest first."""
    doubted = [
        "🟠 "
        + say(
            "{symbol}: {reason}; liquidations wait",
            symbol=symbol_text(one.asset.symbol),
            reason=reason_text(one.hold_liquidations, say),
        )
        for one in prices
        if one.usable and one.hold_liquidations
    ]
    apart = sorted(
        ((bps, one) for one in prices if (bps := one.difference_bps) is not None),
        key=lambda pair: -abs(pair[0]),
    )
    shown = ", ".join(
        f"{symbol_text(one.asset.symbol)} {bps / 100:+.2f} %" for bps, one in apart[:REFERENCES]
    )
    without = sum(one.reference is not None and one.reference.price is None for one in prices)
    lines = doubted[:REFERENCES]
    if shown:
        lines.append(say("From the references: {shown}", shown=shown))
    if without:
        lines.append(
            say.plural(
                "{n} without a reference at the moment",
                "{n} without a reference at the moment",
                without,
            )
        )
    return tuple(lines)


RULE_WORD: Final = {
    HEALTH: noted("health"),
    HEALTH_UNKNOWN: noted("health unknown"),
    ORACLE: noted("oracle"),
    KEEPER: noted("keeper"),
    REFUSED: noted("refused"),
    REHEARSED: noted("rehearsed"),
    RULE: noted("rule"),
}


def alerts_text(
    states: Sequence[AlertState],
    names: Mapping[str, str],
    hushes: Iterable[Hush],
    now: int,
    say: Speech = ENGLISH,
) -> str:
    """Return what is firing for a chat, the worst first; `names` by subject."""
    if not states:
        return "🟢 " + say("Nothing is firing for this chat.")
    said = {(one.chat, one.rule, one.subject, one.fired_at): one for one in hushes}
    lines = []
    for state in states[:SHOWN]:
        health = ""
        if state.rule == HEALTH and state.said_health is not None:
            health = f" {health_text(state.said_health, say)}"
        told = say(
            "{name}: {rule}{health} ({level}) for {time}",
            name=names.get(state.subject, plain(state.subject, 60)),
            rule=say(RULE_WORD.get(state.rule, state.rule)),
            health=health,
            level=level_word(state.level, say),
            time=duration_text(max(0, now - state.fired_at)),
        )
        hush = said.get((state.chat, state.rule, state.subject, state.fired_at))
        lines.append(f"{LEVEL_MARK[state.level]} {told}{_hushed(state, hush, now, say)}")
    return "\n".join((*lines, *more(len(states) - SHOWN, say)))


def _hushed(state: AlertState, hush: Hush | None, now: int, say: Speech) -> str:
    if hush is None or state.level > hush.level or not silent(hush, now):
        return ""
    if hush.until is None:
        return say(", acknowledged by {who}", who=hush.by)
    return say(", snoozed for {time} more", time=duration_text(hush.until - now))


def hours_text(hours: ChatHours, say: Speech = ENGLISH) -> str:
    """Return a chat's hours in a sentence or two."""
    told = []
    if hours.quiet_from is not None and hours.quiet_to is not None:
        told.append(
            say(
                "Quiet from {begin} to {end} ({zone}): what is critical is said all the same, "
                "the rest in the digest.",
                begin=clock_text(hours.quiet_from),
                end=clock_text(hours.quiet_to),
                zone=hours.zone,
            )
        )
    else:
        told.append(say("No quiet hours."))
    if hours.digest_at is not None:
        at = clock_text(hours.digest_at)
        told.append(say("A digest every day at {time} ({zone}).", time=at, zone=hours.zone))
    else:
        told.append(say("No daily digest."))
    return " ".join(told)


def digest_text(
    positions: Sequence[str],
    held: Sequence[HeldLine],
    clocks: Sequence[str],
    say: Speech = ENGLISH,
) -> str:
    """Return a digest: how everything is, and what quiet hours kept back, each with its time."""
    told: list[str] = []
    if held:
        told.append(say("While it was quiet ({n}):", n=len(held)))
        told += [f"{at} {plain(line.text, 200)}" for at, line in zip(clocks, held, strict=True)]
    if positions:
        told.append(say("Now:"))
        told += positions
    return "\n".join(("☀️ " + say("Digest"), *told))


def offer_text(name: str, offer: Offer, say: Speech = ENGLISH) -> str:
    """Return what a second tap would do, with amounts, gas, and health before and after."""
    intent, plan = offer.intent, offer.rehearsed.plan
    values = {
        "name": name,
        "amount": asset_text(intent.asset, intent.amount, rounding=ROUND_CEILING),
        "value": dollars_text(plan.spends, rounding=ROUND_CEILING),
    }
    if intent.kind is IntentKind.REPAY:
        asked = say("{name}: repay {amount} ({value}) from the keeper's own account?", **values)
    else:
        asked = say("{name}: add {amount} ({value}) from the keeper's own account?", **values)
    after = offer.rehearsed.health_after
    effect = say(
        "Health factor {before} → {after}, gas {gas}, simulated at block {block}.",
        before=health_text(intent.health_before, say),
        after=say("unknown") if after is None else health_text(after, say),
        gas=_offered_gas(offer, say),
        block=count_text(intent.block.number),
    )
    if offer.armed:
        ending = say("Confirm within 60 s.")
    else:
        ending = say("Not armed: confirming would rehearse it and send nothing.")
    return f"{asked}\n{effect}\n{ending}"


def _offered_gas(offer: Offer, say: Speech) -> str:
    plan, cost = offer.rehearsed.plan, offer.rehearsed.cost
    coin = native_symbol(offer.intent.position.market.chain_id)
    most = f"{gas_text(Wei(plan.gas_limit * plan.max_fee_wei))} {coin}"
    if cost is None:
        return say("at most {most}", most=most)
    return say("about {cost}, at most {most}", cost=f"{gas_text(cost.wei)} {coin}", most=most)


def action_line(
    kind: str, name: str, state: str, tx: str, reason: str, *, say: Speech = ENGLISH
) -> str:
    """Return one line of ``/actions``; `kind` and `state` are the journal's own words."""
    told = f"{kind} {name}: {state}"
    return f"{told}, tx {short(tx)}" if tx else f"{told}: {reason_text(plain(reason, 120), say)}"
