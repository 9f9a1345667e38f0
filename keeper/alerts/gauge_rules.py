"""The rule ``rule``: what people asked to hear of besides health factors.  Pure.

The same machine as everywhere: fires once, gets worse at its second bound, repeats while nobody
answers, resolves once.  What cannot be measured at a block leaves its alert as it is.
"""

from collections.abc import Iterable, Mapping

from keeper.alerts.machine import RULE, AlertKey, Change, Event
from keeper.alerts.measures import (
    Gauges,
    Known,
    NotKnown,
    level_of_rule,
    measure,
    value_text,
    worse_reading,
)
from keeper.alerts.numbers import count_text, duration_text, reason_text, symbol_text
from keeper.alerts.render import LEVEL_MARK, name_of, nobody_answered
from keeper.alerts.room import Notice, Room
from keeper.alerts.rules import GAS, OF_ACCOUNTS
from keeper.alerts.speech import ENGLISH, Phrase, Speech, noted
from keeper.model import Address, AlertLevel, Gauge, MarketId, Rule
from keeper.units import UINT256_MAX, Wad

_WHAT = {
    Gauge.PRICE: noted("price of {what}"),
    Gauge.DISTANCE: noted("{what} from liquidation"),
    Gauge.BORROW_RATE: noted("borrow rate of {what}"),
    Gauge.UTILISATION: noted("utilisation of {what}"),
    Gauge.LIQUIDITY: noted("liquidity left of {what}"),
    Gauge.SUPPLY_ROOM: noted("room under the supply cap of {what}"),
    Gauge.BORROW_ROOM: noted("room under the borrow cap of {what}"),
    Gauge.MOVED: noted("collateral moved by {what}"),
    Gauge.ORACLE: noted("doubts about the price of {what}"),
    Gauge.BALANCE: noted("keeper's balance of {what}"),
}


def rule_notices(
    room: Room,
    configured: Iterable[Rule],
    of_chats: Iterable[Rule],
    gauges: Mapping[MarketId, Gauges],
) -> list[Notice]:
    """Return what the rules say, and end without a word the alerts of rules that are gone.

    A chat's own rule is silent while the chat does not watch its account; one that the operator
    configured is not: his address needs no watch.
    """
    notices: list[Notice] = []
    alive: set[AlertKey] = set()
    heard = (one for one in of_chats if one.gauge not in OF_ACCOUNTS or _watched(room, one))
    rules = {(one.chat, one.text): one for one in (*configured, *heard)}
    for rank, rule in enumerate(rules.values()):
        # A market that was not read this time keeps its alerts as they are.
        alive |= {_key(rule, market) for market in room.prices if market not in gauges}
        for market, here in gauges.items():
            key = _key(rule, market)
            alive.add(key)
            notices.extend(_one(room, rule, key, here, rank))
            if rule.of == GAS:  # one account, whatever markets share it
                break
    for key, state in room.ledger.states.items():
        if key.rule == RULE and room.owns(key) and key not in alive:
            room.ledger.drop(state)
    return notices


def _key(rule: Rule, market: MarketId) -> AlertKey:
    return AlertKey(chat=rule.chat, rule=RULE, subject=f"{market.name}:{rule.text}")


def _watched(room: Room, rule: Rule) -> bool:
    return any((one.chat, one.account) == (rule.chat, rule.of) for one in room.watches)


def _one(room: Room, rule: Rule, key: AlertKey, here: Gauges, rank: int) -> list[Notice]:
    found = measure(rule, here)
    standing = room.state(key)
    if not isinstance(found, Known):
        room.hold(key)
        return []
    level = AlertLevel.CLEAR if standing is None else standing.level
    now = level_of_rule(rule, found.value, level)
    # A movement is over with its block; everything else has to stay away from its bound.
    patience_s = 0 if rule.gauge is Gauge.MOVED else room.policy.clear_for_s
    said = None if standing is None else standing.said_health
    share = room.policy.rule_worse_bps
    worse = now is not AlertLevel.CLEAR and worse_reading(rule, found.value, said, share)
    market = key.subject.partition(":")[0]
    return [
        Notice(
            event=event,
            line=_words(event, rule, found, room),
            text=_words(event, rule, found, room, market),
            group=RULE,
            rank=rank,
        )
        for event in room.turn(key, now, patience_s, reading=found.value, worse=worse)
    ]


def _words(event: Event, rule: Rule, found: Known, room: Room, market: str = "") -> Phrase:
    """Return the line; with `market`, also where it was measured, and the rule itself."""
    name = _name(room, rule)

    def text(say: Speech) -> str:
        line = rule_line(event, rule, found, name, now=room.now, say=say)
        if not market:
            return line
        number = count_text(room.block.number)
        where = say("{where} · block {number}", where=market, number=number)
        return "\n".join((line, where, say("Rule: {rule}", rule=rule.text)))

    return text


def _name(room: Room, rule: Rule) -> str:
    if rule.gauge not in OF_ACCOUNTS:
        return GAS if rule.of == GAS else symbol_text(rule.of)
    labels = {one.account: one.label for one in room.watches if one.chat == rule.chat}
    account = Address(rule.of)
    return name_of(labels.get(account, ""), account)


def rule_line(
    event: Event, rule: Rule, found: Known, name: str, *, now: int, say: Speech = ENGLISH
) -> str:
    """Return ``price of WETH: $1 990 (below $2 000)``, with its mark."""
    level = event.state.level
    shown = reading_text(rule, found, say)
    lasting = duration_text(now - event.state.fired_at)
    if event.change is Change.RESOLVED:
        mark = LEVEL_MARK[AlertLevel.CLEAR]
        if rule.gauge is Gauge.MOVED:  # over with its block: there is nothing it came back to
            return f"{mark} " + say("collateral of {what}: nothing more was moved.", what=name)
        what = say(_WHAT[rule.gauge], what=name)
        told = say("{what}: {value} again, after {time}.", what=what, value=shown, time=lasting)
        return f"{mark} {told}"
    critical = level is AlertLevel.CRITICAL and rule.critical is not None
    limit = rule.critical if critical and rule.critical is not None else rule.warning
    value = value_text(rule, limit, say)
    values = {
        "what": say(_WHAT[rule.gauge], what=name),
        "value": shown,
        "bound": say("(above {bound})", bound=value)
        if rule.above
        else say("(below {bound})", bound=value),
    }
    match event.change:
        case Change.REPEATED:
            told = say("{what}: still {value} {bound}, for {time}", time=lasting, **values)
        case Change.ESCALATED:
            why = nobody_answered(event, now, say)
            told = say("{what}: {value} {bound}, {why}", why=why, **values)
        case Change.WORSE if rule.gauge is not Gauge.MOVED:
            told = say("{what}: {value} {bound}", **values) + _since(event, rule, now, say)
        case _:
            told = say("{what}: {value} {bound}", **values)
    return f"{LEVEL_MARK[level]} {told}"


def _since(event: Event, rule: Rule, now: int, say: Speech) -> str:
    """Return what was last told of a reading that got worse, and how long ago."""
    before = event.before
    if before is None or before.said_health is None:
        return ""
    was = value_text(rule, before.said_health, say)
    if before.said_at == 0:
        return say(", before {value}", value=was)
    return say(", before {value}, {time} ago", value=was, time=duration_text(now - before.said_at))


def reading_text(rule: Rule, found: Known, say: Speech = ENGLISH) -> str:
    """Return a reading as people read it."""
    if found.value >= UINT256_MAX:
        return say("without end")
    shown = value_text(rule, found.value, say)
    if found.detail:
        shown = f"{shown}, {reason_text(found.detail, say)}"
    return shown


def written_text(rule: Rule, gauges: Mapping[MarketId, Gauges], say: Speech = ENGLISH) -> str:
    """Return the reply to a new rule: how it reads now, and whether it fires at once."""
    return "\n".join((say("Rule kept: {rule}", rule=rule.text), *rule_now(rule, gauges, say)))


def rule_now(
    rule: Rule, gauges: Mapping[MarketId, Gauges], say: Speech = ENGLISH
) -> tuple[str, ...]:
    """Return how a rule reads in each market that it is about, and whether it would fire."""
    lines = []
    for market, here in gauges.items():
        match measure(rule, here):
            case Known() as found:
                level = level_of_rule(rule, Wad(found.value), AlertLevel.CLEAR)
                values = {"market": market.name, "value": reading_text(rule, found, say)}
                if level:
                    told = say("{market}: now {value} — it fires at once.", **values)
                else:
                    told = say("{market}: now {value}.", **values)
                lines.append(f"{LEVEL_MARK[level]} {told}")
            case NotKnown(reason=reason):
                why = reason_text(reason, say)
                told = say("{market}: not known now: {reason}.", market=market.name, reason=why)
                lines.append(f"⚪ {told}")
            case None:
                continue
        if rule.of == GAS:
            break
    return tuple(lines)


def applies(rule: Rule, gauges: Mapping[MarketId, Gauges]) -> bool:
    """Whether any market has what the rule is about."""
    return any(measure(rule, here) is not None for here in gauges.values())
