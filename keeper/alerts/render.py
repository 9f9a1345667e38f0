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
    dollars_text,
    duration_text,
    health_text,
    permille_text,
    plain,
    reason_text,
    short,
    symbol_text,
    threshold_text,
)
from keeper.model import (
    Address,
    AlertLevel,
    Asset,
    BlockRef,
    FeedState,
    FeedVerdict,
    IntentKind,
    MarketId,
    PriceVerdict,
    Stance,
    Thresholds,
)
from keeper.units import UINT256_MAX, WAD, Raw, Wad

LEVEL_MARK: Final = {
    AlertLevel.CLEAR: "🟢",
    AlertLevel.INFO: "🟡",
    AlertLevel.WARNING: "🟠",
    AlertLevel.CRITICAL: "🔴",
}
LEVEL_WORD: Final = {
    AlertLevel.CLEAR: "clear",
    AlertLevel.INFO: "info",
    AlertLevel.WARNING: "warning",
    AlertLevel.CRITICAL: "critical",
}
ORACLE_MARK: Final = "⚪"
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
    31337: "local chain",
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
    points: tuple[LiquidationPoint, ...] = ()
    remedies: Remedies | None = None
    together_permille: int | None = None
    """How far all collateral together may fall; None where one thing drives all of it."""
    interest_s: int | None = None
    """In how many seconds interest alone brings it to 1; None for a very long time."""
    link: str = ""


def chain_name(chain_id: int) -> str:
    """Return the chain's everyday name."""
    return _CHAINS.get(chain_id, f"chain {chain_id}")


def native_symbol(chain_id: int) -> str:
    """Return what gas is paid in."""
    return _NATIVE.get(chain_id, "ETH")


def market_name(market: MarketId) -> str:
    """Return ``Aave v3 · Ethereum``."""
    protocol = _PROTOCOLS.get(market.protocol, market.protocol)
    return f"{plain(protocol, 24)} · {chain_name(market.chain_id)}"


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
    event: Event, about: About, *, thresholds: Thresholds, policy: Policy, now: int
) -> str:
    """Return the text of one event of the rule ``health``.  Raises ValueError for others."""
    first = health_line(event, about.name, thresholds=thresholds, policy=policy, now=now)
    match event.change:
        case Change.RESOLVED:
            return first
        case Change.EASED | Change.FIRED | Change.WORSE | Change.REPEATED | Change.ESCALATED:
            return "\n".join((first, *_details(about)))


def health_line(
    event: Event, name: str, *, thresholds: Thresholds, policy: Policy, now: int
) -> str:
    """Return the first line of one event of the rule ``health``."""
    if event.health is None:
        raise ValueError(f"{event.state.rule} events are not about a health factor")
    level, health = event.state.level, event.health
    mark, shown = LEVEL_MARK[level], health_text(health)
    match event.change:
        case Change.FIRED:
            return f"{mark} {name}: health factor {shown} {_bound(level, health, thresholds)}"
        case Change.WORSE:
            bound = _held(level, health, thresholds, policy)
            return f"{mark} {name}: health factor {shown} {bound}{_fall(event, health, now)}"
        case Change.REPEATED:
            bound = _held(level, health, thresholds, policy)
            lasting = duration_text(now - event.state.fired_at)
            return f"{mark} {name}: health factor still {shown} {bound}, for {lasting}"
        case Change.ESCALATED:
            bound = _held(level, health, thresholds, policy)
            return f"{mark} {name}: health factor {shown} {bound}, {nobody_answered(event, now)}"
        case Change.EASED:
            was = LEVEL_WORD[event.before.level] if event.before else "worse"
            bound = _bound(level, health, thresholds)
            return f"{mark} {name}: health factor up to {shown} {bound}, no longer {was}"
        case Change.RESOLVED:
            return f"{mark} {name}: {_back(event, health, thresholds, policy)}"


def nobody_answered(event: Event, now: int) -> str:
    """Return why somebody else is told as well."""
    since = event.state.level_at or event.state.fired_at
    return f"not acknowledged for {duration_text(now - since)}"


def _bound(level: AlertLevel, health: Wad, thresholds: Thresholds) -> str:
    if health < WAD:
        return "(below 1: can be liquidated now)"
    return f"({LEVEL_WORD[level]} < {threshold_text(threshold_of(level, thresholds))})"


def _held(level: AlertLevel, health: Wad, thresholds: Thresholds, policy: Policy) -> str:
    """Say the bound, or, between the threshold and its clearing bound, when it will clear."""
    threshold = threshold_of(level, thresholds)
    if health < threshold:
        return _bound(level, health, thresholds)
    clears = threshold_text(Wad(threshold + policy.clear_margin))
    return f"({LEVEL_WORD[level]} until above {clears})"


def _fall(event: Event, health: Wad, now: int) -> str:
    before = event.before
    if before is None or before.said_health is None or before.said_health <= health:
        return ""
    text = f", down from {health_text(before.said_health)}"
    return text if before.said_at == 0 else f"{text} in {duration_text(now - before.said_at)}"


def _back(event: Event, health: Wad, thresholds: Thresholds, policy: Policy) -> str:
    if event.before is None:
        raise ValueError("a resolve has an alert before it")
    bound = Wad(threshold_of(event.before.level, thresholds) + policy.clear_margin)
    low = event.state.lowest
    was = f" Low was {health_text(low)}." if low is not None else ""
    since = f"(above {threshold_text(bound)} for {duration_text(policy.clear_for_s)})"
    shown = "has no debt any more" if health == UINT256_MAX else f"back to {health_text(health)}"
    return f"{shown} {since}.{was}"


def _details(about: About) -> tuple[str, ...]:
    lines = [f"{market_name(about.market)} · block {count_text(about.block.number)}"]
    if about.oracle_age_s is not None:
        lines[0] += f" · oracle {duration_text(about.oracle_age_s)} old"
    lines.extend(point_line(point) for point in about.points)
    if about.together_permille is not None:
        lines.append(f"Or if all collateral falls by {permille_text(about.together_permille)[1:]}")
    if about.interest_s:
        lines.append(f"By interest alone at today's rates: in {duration_text(about.interest_s)}")
    if about.remedies is not None and about.remedies.options:
        ways = " or ".join(_way(option) for option in about.remedies.options[:3])
        lines.append(f"To reach {threshold_text(about.remedies.target)}: {ways}")
    if about.link:
        lines.append(about.link)
    return tuple(lines)


def point_line(point: LiquidationPoint) -> str:
    """Return ``Liquidated if ETH < $2 291 (-8.4 %), now $2 501``."""
    sign, rounding = (">", "ROUND_FLOOR") if point.rises else ("<", ROUND_CEILING)
    price = dollars_text(point.price, rounding=rounding)
    change = permille_text(point.permille)
    return f"Liquidated if {point.name} {sign} {price} ({change}), now {dollars_text(point.now)}"


def _way(remedy: Remedy) -> str:
    verb = "repay" if remedy.kind is IntentKind.REPAY else "add"
    return f"{verb} {asset_text(remedy.asset, remedy.amount, rounding=ROUND_CEILING)}"


def asset_text(asset: Asset, amount: Raw, *, rounding: str = "ROUND_FLOOR") -> str:
    """Return ``14 600 USDC``; the symbol made harmless."""
    shown = amount_text(amount, asset.decimals, rounding=rounding)
    return f"{shown} {symbol_text(asset.symbol)}"


# --- unknown health -------------------------------------------------------------------------


def unknown_line(event: Event, name: str, *, reason: str, now: int, health: Wad | None) -> str:
    """Return the text of one event of the rule ``health_unknown``; `health` once it is known."""
    match event.change:
        case Change.FIRED | Change.WORSE | Change.EASED:
            return f"{ORACLE_MARK} {name}: health factor unknown: {reason_text(reason)}."
        case Change.REPEATED:
            lasting = duration_text(now - event.state.fired_at)
            return (
                f"{ORACLE_MARK} {name}: health factor still unknown, for {lasting}: "
                f"{reason_text(reason)}."
            )
        case Change.ESCALATED:
            return (
                f"{ORACLE_MARK} {name}: health factor unknown, {nobody_answered(event, now)}: "
                f"{reason_text(reason)}."
            )
        case Change.RESOLVED:
            shown = "" if health is None else f": {health_text(health)}"
            return f"{ORACLE_MARK} {name}: health factor known again{shown}."


# --- oracles --------------------------------------------------------------------------------

_CONSEQUENCES: Final = {
    Stance.ALERT: "Nothing is held.",
    Stance.HOLD_LIQUIDATIONS: "Liquidations that use it are held; protections go on.",
    Stance.PROTECT_ANYWAY: (
        "Health factors using it are unknown; protections go on, liquidations are held."
    ),
    Stance.HOLD_ALL: "Health factors using it are unknown; automatic actions held.",
}


def oracle_line(
    event: Event, name: str, what: str, *, now: int, stance: Stance = Stance.HOLD_ALL
) -> str:
    """Return the text of one event of the rule ``oracle``.

    `what` is `feed_trouble` or `price_trouble` while it lasts, and how it is now when it is over;
    `stance` says what is held because of it.
    """
    lasting = duration_text(now - event.state.fired_at)
    match event.change:
        case Change.FIRED | Change.WORSE | Change.EASED:
            return f"{ORACLE_MARK} {name} {what}. {_CONSEQUENCES[stance]}"
        case Change.REPEATED:
            return f"{ORACLE_MARK} {name} still {what}, for {lasting}. {_CONSEQUENCES[stance]}"
        case Change.ESCALATED:
            waited = nobody_answered(event, now)
            return f"{ORACLE_MARK} {name} {what}, {waited}. {_CONSEQUENCES[stance]}"
        case Change.RESOLVED:
            return f"{ORACLE_MARK} {name} {what} after {lasting}."


def feed_name(verdict: FeedVerdict) -> str:
    """Return ``Oracle ETH/USD``."""
    return f"Oracle {symbol_text(verdict.feed.description or short(verdict.feed.address))}"


def price_name(verdict: PriceVerdict) -> str:
    """Return ``Price of USDC``."""
    return f"Price of {symbol_text(verdict.asset.symbol)}"


def feed_trouble(verdict: FeedVerdict) -> str:
    """Return ``stale: 71 min old, heartbeat 60 min``, or the verdict and its reason."""
    if verdict.state is FeedState.STALE and verdict.age_s is not None:
        beat = duration_text(verdict.feed.heartbeat_s)
        assumed = " (assumed)" if verdict.feed.heartbeat_assumed else ""
        return f"stale: {duration_text(verdict.age_s)} old, heartbeat {beat}{assumed}"
    return f"{verdict.state}: {reason_text(verdict.reason)}"


def feed_well(verdict: FeedVerdict | None) -> str:
    """Return how a feed is that was in trouble: ``back: 12 s old,`` or ``no longer used``."""
    if verdict is None:
        return "no longer used,"
    age = f": {duration_text(verdict.age_s)} old," if verdict.age_s is not None else ""
    return f"back{age}"


def price_trouble(verdict: PriceVerdict) -> str:
    """Return ``unusable: `` and the reason, or ``doubted: `` where it is still gone by."""
    if verdict.usable and verdict.suspicions:
        return f"doubted: {reason_text(verdict.suspicions[0].reason)}"
    return f"unusable: {reason_text(verdict.reason)}"


# --- the keeper itself ----------------------------------------------------------------------


def fault_line(event: Event, part: str, sentence: str, *, now: int) -> str:
    """Return the text of one event of the rule ``keeper``; `sentence` says what is wrong."""
    lasting = duration_text(now - event.state.fired_at)
    match event.change:
        case Change.FIRED | Change.WORSE | Change.EASED:
            return f"{FAULT_MARK} Keeper: {reason_text(sentence)}."
        case Change.REPEATED:
            return f"{FAULT_MARK} Keeper, for {lasting}: {reason_text(sentence)}."
        case Change.ESCALATED:
            answered = nobody_answered(event, now)
            return f"{FAULT_MARK} Keeper, {answered}: {reason_text(sentence)}."
        case Change.RESOLVED:
            return f"🟢 Keeper: {plain(part, 64)} is well again after {lasting}."


# --- many at once ---------------------------------------------------------------------------


def many(headline: str, lines: tuple[str, ...], *, shown: int = 5) -> str:
    """Return one message for many: the headline, the first lines, and ``... N more``."""
    rest = len(lines) - shown
    more = (f"... {rest} more",) if rest > 0 else ()
    return "\n".join((headline, *lines[:shown], *more))
