"""The texts of the richer replies: positions, stress, oracles, firing alerts, offers.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Final

from keeper.alerts.distance import liquidation_points
from keeper.alerts.hours import clock_text
from keeper.alerts.hush import silent
from keeper.alerts.machine import level_of
from keeper.alerts.numbers import (
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
from keeper.alerts.render import (
    LEVEL_MARK,
    LEVEL_WORD,
    ORACLE_MARK,
    asset_text,
    feed_name,
    feed_trouble,
    native_symbol,
    point_line,
)
from keeper.alerts.replies import SHOWN, health_reply
from keeper.alerts.stress import Stressed
from keeper.model import (
    AlertState,
    Assessed,
    Assessment,
    ChatHours,
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
) -> str:
    """Return one position in full: what it holds, what it owes, where it is liquidated."""
    lines = [health_reply(label, assessment, thresholds)]
    if isinstance(assessment, Assessed):
        for leg in assessment.legs:
            verb = "holds" if leg.side is Side.COLLATERAL else "owes"
            counts = (
                f", counts {leg.liquidation_threshold / 100:g} %"
                if leg.side is Side.COLLATERAL
                else ""
            )
            amount = asset_text(leg.asset, leg.balance)
            lines.append(f"  {verb} {amount} ({dollars_text(leg.value)}{counts})")
        points = liquidation_points(assessment, prices, most=5)
        lines.extend(f"  {point_line(point)}" for point in points)
    return "\n".join(lines)


def stress_line(
    name: str, assessment: Assessment, result: Stressed | None, thresholds: Thresholds
) -> str:
    """Return ``main: 1.142 -> about 0.914 (critical)``."""
    match assessment:
        case Unassessable(reason=reason):
            return f"{ORACLE_MARK} {name}: unknown: {reason_text(reason)}"
        case Assessed(health_factor=health, debt=debt):
            if debt == 0 or result is None:
                return f"{LEVEL_MARK[level_of(health, thresholds)]} {name}: no debt"
            if not result.moved:
                return f"{name}: {health_text(health)}, does not depend on it"
            level = level_of(result.health, thresholds)
            end = " — can be liquidated" if result.health < 10**18 else ""
            return (
                f"{LEVEL_MARK[level]} {name}: {health_text(health)} → about "
                f"{health_text(result.health)} ({LEVEL_WORD[level]}){end}"
            )


def stress_text(what: str, permille: int, lines: Sequence[str]) -> str:
    """Return the reply to ``/stress``."""
    return "\n".join((f"If {plain(what, 16)} moves {permille_text(permille)}:", *lines[:SHOWN]))


REFERENCES: Final = 6
"""Differences shown: the greatest."""


def oracles_text(prices: Iterable[PriceVerdict]) -> str:
    """Return every feed once, those in trouble first; then what references say of prices."""
    prices = tuple(prices)
    feeds = {one.feed.address: one for verdict in prices for one in verdict.feeds}
    blind = [one for one in prices if not one.usable and all(f.usable for f in one.feeds)]
    lines = [f"{ORACLE_MARK} {one.asset.symbol}: {reason_text(one.reason)}" for one in blind]
    for feed in sorted(feeds.values(), key=lambda one: (one.usable, one.feed.description)):
        beat = duration_text(feed.feed.heartbeat_s)
        age = "age unknown" if feed.age_s is None else f"{duration_text(feed.age_s)} old"
        said = f"{age}, heartbeat {beat}" if feed.usable else feed_trouble(feed)
        mark = "🟢" if feed.usable else ORACLE_MARK
        lines.append(f"{mark} {feed_name(feed)}: {said}")
    if not lines:
        return "No oracle was read yet: try again after the next block."
    rest = len(lines) - SHOWN
    shown = (*lines[:SHOWN], *((f"... {rest} more",) if rest > 0 else ()))
    return "\n".join((*shown, *_references(prices)))


def _references(prices: Sequence[PriceVerdict]) -> tuple[str, ...]:
    """What is doubted although its feeds are well, then how far prices are from their references,
    the furthest first."""
    doubted = [
        f"🟠 {symbol_text(one.asset.symbol)}: {reason_text(one.hold_liquidations)}; "
        "liquidations wait"
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
        lines.append(f"From the references: {shown}")
    if without:
        lines.append(f"{without} without a reference at the moment")
    return tuple(lines)


def alerts_text(
    states: Sequence[AlertState], names: Mapping[str, str], hushes: Iterable[Hush], now: int
) -> str:
    """Return what is firing for a chat, the worst first; `names` by subject."""
    if not states:
        return "🟢 Nothing is firing for this chat."
    said = {(one.chat, one.rule, one.subject, one.fired_at): one for one in hushes}
    lines = []
    for state in states[:SHOWN]:
        name = names.get(state.subject, plain(state.subject, 60))
        health = f" {health_text(state.said_health)}" if state.said_health is not None else ""
        since = duration_text(max(0, now - state.fired_at))
        hush = said.get((state.chat, state.rule, state.subject, state.fired_at))
        word = ""
        if hush is not None and state.level <= hush.level and silent(hush, now):
            left = "" if hush.until is None else f" for {duration_text(hush.until - now)} more"
            word = f", acknowledged by {hush.by}" if hush.until is None else f", snoozed{left}"
        level = LEVEL_WORD[state.level]
        rule = state.rule.replace("_", " ")
        lines.append(
            f"{LEVEL_MARK[state.level]} {name}: {rule}{health} ({level}) for {since}{word}"
        )
    rest = len(states) - SHOWN
    return "\n".join((*lines, *((f"... {rest} more",) if rest > 0 else ())))


def hours_text(hours: ChatHours) -> str:
    """Return a chat's hours in a sentence or two."""
    told = []
    if hours.quiet_from is not None and hours.quiet_to is not None:
        told.append(
            f"Quiet from {clock_text(hours.quiet_from)} to {clock_text(hours.quiet_to)} "
            f"({hours.zone}): what is critical is said all the same, the rest in the digest."
        )
    else:
        told.append("No quiet hours.")
    if hours.digest_at is not None:
        told.append(f"A digest every day at {clock_text(hours.digest_at)} ({hours.zone}).")
    else:
        told.append("No daily digest.")
    return " ".join(told)


def digest_text(positions: Sequence[str], held: Sequence[HeldLine], clocks: Sequence[str]) -> str:
    """Return a digest: how everything is, and what quiet hours kept back, each with its time."""
    told: list[str] = []
    if held:
        told.append(f"While it was quiet ({len(held)}):")
        told += [f"{at} {plain(line.text, 200)}" for at, line in zip(clocks, held, strict=True)]
    if positions:
        told.append("Now:")
        told += positions
    return "\n".join(("☀️ Digest", *told))


def offer_text(name: str, offer: Offer) -> str:
    """Return what a second tap would do, with amounts, gas, and health before and after."""
    intent, plan = offer.intent, offer.rehearsed.plan
    verb = "repay" if intent.kind is IntentKind.REPAY else "add"
    amount = asset_text(intent.asset, intent.amount, rounding=ROUND_CEILING)
    coin = native_symbol(intent.position.market.chain_id)
    gas = f"at most {gas_text(Wei(plan.gas_limit * plan.max_fee_wei))} {coin}"
    cost = offer.rehearsed.cost
    if cost is not None:
        gas = f"about {gas_text(cost.wei)} {coin}, {gas}"
    after = offer.rehearsed.health_after
    shown = "unknown" if after is None else health_text(after)
    ending = (
        "Confirm within 60 s."
        if offer.armed
        else "Not armed: confirming would rehearse it and send nothing."
    )
    return (
        f"{name}: {verb} {amount} ({dollars_text(plan.spends, rounding=ROUND_CEILING)}) "
        "from the keeper's own account?\n"
        f"Health factor {health_text(intent.health_before)} → {shown}, gas {gas}, simulated at "
        f"block {intent.block.number}.\n{ending}"
    )


def action_line(kind: str, name: str, state: str, tx: str, reason: str) -> str:
    """Return one line of ``/actions``."""
    told = f"{kind} {name}: {state}"
    return f"{told}, tx {short(tx)}" if tx else f"{told}: {reason_text(plain(reason, 120))}"
