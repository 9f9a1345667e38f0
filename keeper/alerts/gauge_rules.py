"""The rule ``rule``: what people asked to hear of besides health factors.  Pure.

The same machine as everywhere: fires once, gets worse at its second bound, repeats while nobody
answers, resolves once.  What cannot be measured at a block leaves its alert as it is.
"""

from collections.abc import Iterable, Mapping

from keeper.alerts.machine import RULE, AlertKey, Change, Event
from keeper.alerts.measures import Gauges, Known, NotKnown, level_of_rule, measure, value_text
from keeper.alerts.numbers import duration_text, reason_text, symbol_text
from keeper.alerts.render import LEVEL_MARK, name_of, nobody_answered
from keeper.alerts.room import Notice, Room
from keeper.alerts.rules import GAS, OF_ACCOUNTS
from keeper.model import Address, AlertLevel, Gauge, MarketId, Rule
from keeper.units import UINT256_MAX, Wad

_WHAT = {
    Gauge.PRICE: "price of {}",
    Gauge.DISTANCE: "{} from liquidation",
    Gauge.BORROW_RATE: "borrow rate of {}",
    Gauge.UTILISATION: "utilisation of {}",
    Gauge.LIQUIDITY: "liquidity left of {}",
    Gauge.SUPPLY_ROOM: "room under the supply cap of {}",
    Gauge.BORROW_ROOM: "room under the borrow cap of {}",
    Gauge.MOVED: "collateral moved by {}",
    Gauge.ORACLE: "doubts about the price of {}",
    Gauge.BALANCE: "keeper's balance of {}",
}


def rule_notices(
    room: Room, rules: Iterable[Rule], gauges: Mapping[MarketId, Gauges]
) -> list[Notice]:
    """Return what the rules say, and end without a word the alerts of rules that are gone."""
    notices: list[Notice] = []
    alive: set[AlertKey] = set()
    for rank, rule in enumerate({(one.chat, one.text): one for one in rules}.values()):
        if rule.gauge in OF_ACCOUNTS and not _watched(room, rule):
            continue
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
    market = key.subject.partition(":")[0]
    notices = []
    for event in room.turn(key, now, patience_s):
        line = rule_line(event, rule, found, _name(room, rule), now=room.now)
        text = f"{line}\n{market} · block {room.block.number}\nRule: {rule.text}"
        notices.append(Notice(event=event, line=line, text=text, group=RULE, rank=rank))
    return notices


def _name(room: Room, rule: Rule) -> str:
    if rule.gauge not in OF_ACCOUNTS:
        return "gas" if rule.of == GAS else symbol_text(rule.of)
    labels = {one.account: one.label for one in room.watches if one.chat == rule.chat}
    account = Address(rule.of)
    return name_of(labels.get(account, ""), account)


def rule_line(event: Event, rule: Rule, found: Known, name: str, *, now: int) -> str:
    """Return ``price of WETH $1 990 (below $2 000)``, with its mark."""
    level = event.state.level
    what = _WHAT[rule.gauge].format(name)
    shown = reading_text(rule, found)
    side = "above" if rule.above else "below"
    lasting = duration_text(now - event.state.fired_at)
    if event.change is Change.RESOLVED:
        return f"{LEVEL_MARK[AlertLevel.CLEAR]} {what}: {shown} again, after {lasting}."
    critical = level is AlertLevel.CRITICAL and rule.critical is not None
    bound = rule.critical if critical and rule.critical is not None else rule.warning
    told = f"({side} {value_text(rule, bound)})"
    first = f"{LEVEL_MARK[level]} {what}: "
    match event.change:
        case Change.REPEATED:
            return f"{first}still {shown} {told}, for {lasting}"
        case Change.ESCALATED:
            return f"{first}{shown} {told}, {nobody_answered(event, now)}"
        case _:
            return f"{first}{shown} {told}"


def reading_text(rule: Rule, found: Known) -> str:
    """Return a reading as people read it."""
    if found.value >= UINT256_MAX:
        return "without end"
    shown = value_text(rule, found.value)
    if found.detail:
        shown = f"{shown}, {reason_text(found.detail)}"
    return shown


def written_text(rule: Rule, gauges: Mapping[MarketId, Gauges]) -> str:
    """Return the reply to a new rule: how it reads now, and whether it fires at once."""
    lines = []
    for market, here in gauges.items():
        match measure(rule, here):
            case Known() as found:
                level = level_of_rule(rule, Wad(found.value), AlertLevel.CLEAR)
                now = f"{market.name}: now {reading_text(rule, found)}"
                fires = " — it fires at once" if level else ""
                lines.append(f"{LEVEL_MARK[level]} {now}{fires}.")
            case NotKnown(reason=reason):
                lines.append(f"⚪ {market.name}: not known now: {reason_text(reason)}.")
            case None:
                continue
        if rule.of == GAS:
            break
    return "\n".join((f"Rule kept: {rule.text}", *lines))


def applies(rule: Rule, gauges: Mapping[MarketId, Gauges]) -> bool:
    """Whether any market has what the rule is about."""
    return any(measure(rule, here) is not None for here in gauges.values())
