"""What is said of prices and their feeds, exactly as people read it.  Pure."""

from typing import Final

from keeper.alerts.machine import Change, Event
from keeper.alerts.numbers import (
    duration_text,
    reason_text,
    short,
    symbol_text,
)
from keeper.alerts.render import ORACLE_MARK, nobody_answered
from keeper.alerts.speech import ENGLISH, Speech, noted
from keeper.model import (
    FeedState,
    FeedVerdict,
    PriceVerdict,
    Stance,
)

_CONSEQUENCES: Final = {
    Stance.ALERT: noted("Nothing is held."),
    Stance.HOLD_LIQUIDATIONS: noted("Liquidations that use it are held; protections go on."),
    Stance.PROTECT_ANYWAY: noted(
        "Health factors using it are unknown; protections go on, liquidations are held."
    ),
    Stance.HOLD_ALL: noted("Health factors using it are unknown; automatic actions held."),
}
_STATE_WORD: Final = {
    FeedState.STALE: noted("stale"),
    FeedState.SUSPICIOUS: noted("suspicious"),
    FeedState.UNREADABLE: noted("unreadable"),
}


def oracle_line(
    event: Event,
    name: str,
    what: str,
    *,
    now: int,
    stance: Stance = Stance.HOLD_ALL,
    say: Speech = ENGLISH,
) -> str:
    """Return the text of one event of the rule ``oracle``.

    `what` is `feed_trouble` or `price_trouble` while it lasts, and how it is now when it is over;
    `stance` says what is held because of it.
    """
    values = {"name": name, "what": what, "time": duration_text(now - event.state.fired_at)}
    follows = say(_CONSEQUENCES[stance])
    match event.change:
        case Change.FIRED | Change.WORSE | Change.EASED:
            told = f"{name} {what}. {follows}"
        case Change.REPEATED:
            told = say("{name} still {what}, for {time}. {follows}", follows=follows, **values)
        case Change.ESCALATED:
            told = f"{name} {what}, {nobody_answered(event, now, say)}. {follows}"
        case Change.RESOLVED:
            told = say("{name} {what} after {time}.", **values)
    return f"{ORACLE_MARK} {told}"


def feed_name(verdict: FeedVerdict, say: Speech = ENGLISH) -> str:
    """Return ``Oracle ETH/USD``."""
    name = symbol_text(verdict.feed.description or short(verdict.feed.address))
    return say("Oracle {name}", name=name)


def price_name(verdict: PriceVerdict, say: Speech = ENGLISH) -> str:
    """Return ``Price of USDC``."""
    return say("Price of {symbol}", symbol=symbol_text(verdict.asset.symbol))


def feed_trouble(verdict: FeedVerdict, say: Speech = ENGLISH) -> str:
    """Return ``stale: 71 min old, heartbeat 60 min``, or the verdict and its reason."""
    if verdict.state is FeedState.STALE and verdict.age_s is not None:
        age, beat = duration_text(verdict.age_s), duration_text(verdict.feed.heartbeat_s)
        if verdict.feed.heartbeat_assumed:
            return say("stale: {age} old, heartbeat {beat} (assumed)", age=age, beat=beat)
        return say("stale: {age} old, heartbeat {beat}", age=age, beat=beat)
    state = say(_STATE_WORD.get(verdict.state, str(verdict.state)))
    return f"{state}: {reason_text(verdict.reason, say)}"


def feed_well(verdict: FeedVerdict | None, say: Speech = ENGLISH) -> str:
    """Return how a feed is that was in trouble: ``back: 12 s old,`` or ``no longer used``."""
    if verdict is None:
        return say("no longer used,")
    if verdict.age_s is None:
        return say("back")
    return say("back: {age} old,", age=duration_text(verdict.age_s))


def price_trouble(verdict: PriceVerdict, say: Speech = ENGLISH) -> str:
    """Return ``unusable: `` and the reason, or ``doubted: `` where it is still gone by."""
    if verdict.usable and verdict.suspicions:
        return say("doubted: {reason}", reason=reason_text(verdict.suspicions[0].reason, say))
    return say("unusable: {reason}", reason=reason_text(verdict.reason, say))
