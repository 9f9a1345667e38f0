"""The texts of alerts, exactly as people read them.  Pure.

The first line is the whole message on a lock screen; what follows says where the number is from
and what to do.  Plain text, no parse mode: foreign words cannot become markup, and the few things
a client makes of plain text are taken out in `keeper.alerts.numbers`.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Final

from keeper.alerts.distance import LiquidationPoint
from keeper.alerts.machine import Change, Event, Policy, threshold_of
from keeper.alerts.numbers import (
    LABEL_CHARS,
    amount_text,
    count_text,
    duration_text,
    health_text,
    permille_text,
    plain,
    point_texts,
    reason_text,
    short,
    symbol_text,
    threshold_text,
)
from keeper.alerts.speech import ENGLISH, Saying, Speech, noted, words_of
from keeper.model import (
    Address,
    AlertLevel,
    Asset,
    BlockRef,
    IntentKind,
    MarketId,
    Thresholds,
)
from keeper.units import UINT256_MAX, WAD, Raw, Wad

ORACLE_MARK: Final = "⚪"
LEVEL_MARK: Final = {
    AlertLevel.CLEAR: "🟢",
    AlertLevel.INFO: "🟡",
    AlertLevel.WARNING: "🟠",
    AlertLevel.CRITICAL: "🔴",
}
LEVEL_WORD: Final = {
    AlertLevel.CLEAR: noted("clear"),
    AlertLevel.INFO: noted("info"),
    AlertLevel.WARNING: noted("warning"),
    AlertLevel.CRITICAL: noted("critical"),
}
FAULT_MARK: Final = "⚠️"
TEXT_UNITS: Final = 4096
"""What Telegram takes in one message, UTF-16 code units."""

_PROTOCOLS: Final = {"aave_v3": "Aave v3"}
_CHAINS: Final = {
    1: "Ethereum",
    10: "OP Mainnet",
    56: "BNB Chain",
    100: "Gnosis",
    137: "Polygon",
    146: "Sonic",
    324: "ZKsync Era",
    1088: "Metis",
    8453: "Base",
    42161: "Arbitrum",
    42220: "Celo",
    43114: "Avalanche",
    59144: "Linea",
    534352: "Scroll",
}
_NATIVE: Final = {56: "BNB", 100: "xDAI", 137: "POL", 146: "S", 1088: "METIS", 43114: "AVAX"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing that, done alone, reaches the target."""

    kind: IntentKind
    """REPAY, or TOP_UP for adding collateral."""
    asset: Asset
    amount: Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """What reaches `target`: any one of the options."""

    target: Wad
    options: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a message about a position says besides the health factor."""

    name: str
    """The label, or a shortened address: see `name_of`."""
    market: MarketId
    block: BlockRef
    oracle_age_s: int | None = None
    """Age of the oldest feed that the number rests on; None when there is none."""
    oracle: str = ""
    """What that feed calls itself."""
    points: tuple[LiquidationPoint, ...] = ()
    remedies: Remedies | None = None
    together_permille: int | None = None
    """How far all collateral together may fall; None where one thing drives all of it."""
    interest_s: int | None = None
    """In how many seconds interest alone brings it to 1; None for a very long time."""
    link: str = ""


def chain_name(chain_id: int, say: Speech = ENGLISH) -> str:
    """Return the chain's everyday name."""
    if chain_id == 31337:
        return say("local chain")
    known = _CHAINS.get(chain_id)
    return say("chain {number}", number=chain_id) if known is None else known


def native_symbol(chain_id: int) -> str:
    """Return what gas is paid in."""
    return _NATIVE.get(chain_id, "ETH")


def market_name(market: MarketId, say: Speech = ENGLISH) -> str:
    """Return ``Aave v3 · Ethereum``."""
    protocol = _PROTOCOLS.get(market.protocol, market.protocol)
    return f"{plain(protocol, 24)} · {chain_name(market.chain_id, say)}"


def name_of(label: str, account: Address) -> str:
    """Return the label a person gave, made harmless, or the shortened address."""
    return plain(label, LABEL_CHARS) or short(account)


def clip(text: str) -> str:
    """Return `text` cut to what Telegram takes; a cut ends in an ellipsis."""
    encoded = text.encode("utf-16-le", "ignore")
    if len(encoded) <= TEXT_UNITS * 2:
        return encoded.decode("utf-16-le", "ignore")
    return encoded[: (TEXT_UNITS - 1) * 2].decode("utf-16-le", "ignore") + "…"


# --- health factors -------------------------------------------------------------------------


def health_message(
    event: Event,
    about: About,
    *,
    thresholds: Thresholds,
    policy: Policy,
    now: int,
    say: Speech = ENGLISH,
) -> str:
    """Return the text of one event of the rule ``health``.  Raises ValueError for others."""
    first = health_line(event, about.name, thresholds=thresholds, policy=policy, now=now, say=say)
    match event.change:
        case Change.RESOLVED:
            return first
        case Change.EASED | Change.FIRED | Change.WORSE | Change.REPEATED | Change.ESCALATED:
            return "\n".join((first, *_details(about, say)))


def health_line(
    event: Event,
    name: str,
    *,
    thresholds: Thresholds,
    policy: Policy,
    now: int,
    say: Speech = ENGLISH,
) -> str:
    """Return the first line of one event of the rule ``health``."""
    if event.health is None:
        raise ValueError(f"{event.state.rule} events are not about a health factor")
    level, health = event.state.level, event.health
    shown = health_text(health, say)
    match event.change:
        case Change.FIRED:
            bound = _bound(level, health, thresholds, say)
            told = say(
                "{name}: health factor {health} {bound}", name=name, health=shown, bound=bound
            )
        case Change.WORSE:
            bound = _held(level, health, thresholds, policy, say) + _fall(event, health, now, say)
            told = say(
                "{name}: health factor {health} {bound}", name=name, health=shown, bound=bound
            )
        case Change.REPEATED:
            told = say(
                "{name}: health factor still {health} {bound}, for {time}",
                name=name,
                health=shown,
                bound=_held(level, health, thresholds, policy, say),
                time=duration_text(now - event.state.fired_at),
            )
        case Change.ESCALATED:
            told = say(
                "{name}: health factor {health} {bound}, {why}",
                name=name,
                health=shown,
                bound=_held(level, health, thresholds, policy, say),
                why=nobody_answered(event, now, say),
            )
        case Change.EASED:
            told = say(
                "{name}: health factor up to {health} {bound}, no longer {level}",
                name=name,
                health=shown,
                bound=_bound(level, health, thresholds, say),
                level=level_word(event.before.level, say) if event.before else say("worse"),
            )
        case Change.RESOLVED:
            told = f"{name}: {_back(event, health, thresholds, policy, say)}"
    return f"{LEVEL_MARK[level]} {told}"


def level_word(level: AlertLevel, say: Speech = ENGLISH) -> str:
    """Return a level as people read it."""
    return say(LEVEL_WORD[level])


def nobody_answered(event: Event, now: int, say: Speech = ENGLISH) -> str:
    """Return why somebody else is told as well."""
    since = event.state.level_at or event.state.fired_at
    return say("not acknowledged for {time}", time=duration_text(now - since))


def _bound(level: AlertLevel, health: Wad, thresholds: Thresholds, say: Speech) -> str:
    if health < WAD:
        return say("(below 1: can be liquidated now)")
    return f"({level_word(level, say)} < {threshold_text(threshold_of(level, thresholds))})"


def _held(
    level: AlertLevel, health: Wad, thresholds: Thresholds, policy: Policy, say: Speech
) -> str:
    """Say the bound, or, between the threshold and its clearing bound, when it will clear."""
    threshold = threshold_of(level, thresholds)
    if health < threshold:
        return _bound(level, health, thresholds, say)
    clears = threshold_text(Wad(threshold + policy.clear_margin))
    return say("({level} until above {bound})", level=level_word(level, say), bound=clears)


def _fall(event: Event, health: Wad, now: int, say: Speech) -> str:
    before = event.before
    if before is None or before.said_health is None or before.said_health <= health:
        return ""
    was = health_text(before.said_health, say)
    if before.said_at == 0:
        return say(", down from {health}", health=was)
    lasting = duration_text(now - before.said_at)
    return say(", down from {health} in {time}", health=was, time=lasting)


def _back(event: Event, health: Wad, thresholds: Thresholds, policy: Policy, say: Speech) -> str:
    if event.before is None:
        raise ValueError("a resolve has an alert before it")
    bound = Wad(threshold_of(event.before.level, thresholds) + policy.clear_margin)
    low = event.state.lowest
    values = {"bound": threshold_text(bound), "time": duration_text(policy.clear_for_s)}
    if health == UINT256_MAX:
        text = say("has no debt any more (above {bound} for {time}).", **values)
    else:
        shown = health_text(health, say)
        text = say("back to {health} (above {bound} for {time}).", health=shown, **values)
    return text if low is None else text + say(" Low was {health}.", health=health_text(low, say))


def _details(about: About, say: Speech) -> tuple[str, ...]:
    where = market_name(about.market, say)
    lines = [say("{where} · block {number}", where=where, number=count_text(about.block.number))]
    if about.oracle_age_s is not None:
        lines[0] += say(
            " · oldest oracle {feed}, {time} old",
            feed=symbol_text(about.oracle),
            time=duration_text(about.oracle_age_s),
        )
    lines.extend(point_line(point, say) for point in about.points)
    if about.together_permille is not None:
        fall = permille_text(about.together_permille)[1:]
        lines.append(say("Or if all collateral falls by {percent}", percent=fall))
    if about.interest_s:
        lasting = duration_text(about.interest_s)
        lines.append(say("By interest alone at today's rates: in {time}", time=lasting))
    if about.remedies is not None and about.remedies.options:
        ways = say(" or ").join(_way(option, say) for option in about.remedies.options[:3])
        target = threshold_text(about.remedies.target)
        lines.append(say("To reach {target}: {ways}", target=target, ways=ways))
    if about.link:
        lines.append(about.link)
    return tuple(lines)


def point_line(point: LiquidationPoint, say: Speech = ENGLISH) -> str:
    """Return ``Liquidated if ETH < $2 291 (-8.4 %), now $2 501``."""
    price, now = point_texts(point.price, point.now, rises=point.rises)
    return say(
        "Liquidated if {what} {sign} {price} ({change}), now {now}",
        what=point.name,
        sign=">" if point.rises else "<",
        price=price,
        change=permille_text(point.permille, falls=not point.rises),
        now=now,
    )


def _way(remedy: Remedy, say: Speech) -> str:
    amount = asset_text(remedy.asset, remedy.amount, rounding=ROUND_CEILING)
    if remedy.kind is IntentKind.REPAY:
        return say("repay {amount}", amount=amount)
    return say("add {amount}", amount=amount)


def asset_text(asset: Asset, amount: Raw, *, rounding: str = "ROUND_FLOOR") -> str:
    """Return ``14 600 USDC``; the symbol made harmless."""
    shown = amount_text(amount, asset.decimals, rounding=rounding)
    return f"{shown} {symbol_text(asset.symbol)}"


# --- unknown health -------------------------------------------------------------------------


def unknown_line(
    event: Event,
    name: str,
    *,
    reason: str,
    now: int,
    health: Wad | None,
    say: Speech = ENGLISH,
) -> str:
    """Return the text of one event of the rule ``health_unknown``; `health` once it is known."""
    why = reason_text(reason, say)
    match event.change:
        case Change.FIRED | Change.WORSE | Change.EASED:
            told = say("{name}: health factor unknown: {reason}.", name=name, reason=why)
        case Change.REPEATED:
            told = say(
                "{name}: health factor still unknown, for {time}: {reason}.",
                name=name,
                time=duration_text(now - event.state.fired_at),
                reason=why,
            )
        case Change.ESCALATED:
            told = say(
                "{name}: health factor unknown, {why}: {reason}.",
                name=name,
                why=nobody_answered(event, now, say),
                reason=why,
            )
        case Change.RESOLVED if health is None:
            told = say("{name}: health factor known again.", name=name)
        case Change.RESOLVED:
            shown = health_text(health, say)
            told = say("{name}: health factor known again: {health}.", name=name, health=shown)
    return f"{ORACLE_MARK} {told}"


# --- oracles --------------------------------------------------------------------------------


# --- the keeper itself ----------------------------------------------------------------------


def fault_line(
    event: Event, part: str, sentence: str | Saying, *, now: int, say: Speech = ENGLISH
) -> str:
    """Return the text of one event of the rule ``keeper``; `sentence` says what is wrong."""
    lasting = duration_text(now - event.state.fired_at)
    what = reason_text(words_of(sentence, say), say)
    match event.change:
        case Change.FIRED | Change.WORSE | Change.EASED:
            return f"{FAULT_MARK} Keeper: {what}."
        case Change.REPEATED:
            told = say("Keeper, for {time}: {what}.", time=lasting, what=what)
            return f"{FAULT_MARK} {told}"
        case Change.ESCALATED:
            return f"{FAULT_MARK} Keeper, {nobody_answered(event, now, say)}: {what}."
        case Change.RESOLVED:
            name = plain(part, 64)
            told = say("Keeper: {part} is well again after {time}.", part=name, time=lasting)
            return f"🟢 {told}"


# --- many at once ---------------------------------------------------------------------------


def many(headline: str, lines: tuple[str, ...], *, shown: int = 5, say: Speech = ENGLISH) -> str:
    """Return one message for many: the headline, the first lines, and ``... N more``."""
    rest = len(lines) - shown
    return "\n".join((headline, *lines[:shown], *more(rest, say)))


def more(rest: int, say: Speech = ENGLISH) -> tuple[str, ...]:
    """Return the line that counts what is not shown; none where nothing is left."""
    return (say("... {n} more", n=rest),) if rest > 0 else ()
