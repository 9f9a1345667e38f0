"""What a rule's gauge shows at one block.  Pure, in ints: wad of the gauge's own unit.

Rounded down, but distances towards zero as people are told them.  What cannot be known is
`NotKnown` with the reason: its alert is held as it is, neither fired nor cleared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keeper.alerts.distance import liquidation_points
from keeper.alerts.numbers import amount_text, dollars_text, grouped, symbol_text
from keeper.alerts.rules import FROM_FACTS, GAS, OF_ACCOUNTS
from keeper.alerts.speech import ENGLISH, Speech
from keeper.model import (
    Address,
    AlertLevel,
    Assessed,
    Assessment,
    Asset,
    Gauge,
    PriceVerdict,
    ReserveFacts,
    Rule,
    Side,
)
from keeper.units import RAY, UINT256_MAX, WAD, Base, Raw, Wad

Balances = Mapping[tuple[Address, Address], Raw]
"""Collateral by account and asset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A reading."""

    value: Wad
    detail: str = ""
    """What a person wants to know besides the number, such as why a price is doubted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotKnown:
    """No reading at this block, and why."""

    reason: str


Reading = Known | NotKnown | None
"""None: the rule is about nothing in this market."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Everything that rules measure in one market at one block."""

    prices: tuple[PriceVerdict, ...] = ()
    assessments: Mapping[Address, Assessment] = field(default_factory=dict)
    facts: Mapping[Address, ReserveFacts] | None = None
    """None: not read."""
    unread: str = ""
    """Why not."""
    balances: Mapping[Address, Raw] | None = None
    """The keeper's own; None without an account, or where they could not be read."""
    gas_wei: int | None = None
    before: Balances | None = None
    """Collateral of the watched at the block before; None before there was one."""
    known_before: frozenset[Address] = frozenset()
    """Accounts that `before` speaks of, those without collateral too: of no other did any move."""


def collateral_of(assessments: Iterable[Assessment]) -> dict[tuple[Address, Address], Raw]:
    """Return what `Gauges.before` is at the next block."""
    return {
        (one.position.account, leg.asset.address): leg.balance
        for one in assessments
        if isinstance(one, Assessed)
        for leg in one.legs
        if leg.side is Side.COLLATERAL
    }


def measure(rule: Rule, gauges: Gauges) -> Reading:
    """Return what `rule` reads."""
    if rule.gauge in OF_ACCOUNTS:
        found = gauges.assessments.get(Address(rule.of))
        return None if found is None else _of_account(rule, found, gauges)
    if rule.of == GAS:
        return _own(gauges.gas_wei)
    verdict = _listed(rule.of, gauges.prices)
    return None if verdict is None else _of_asset(rule, verdict, gauges)


def _of_account(rule: Rule, found: Assessment, gauges: Gauges) -> Reading:
    if not isinstance(found, Assessed):
        return NotKnown(reason=found.reason)
    return _distance(found, gauges) if rule.gauge is Gauge.DISTANCE else _moved(found, gauges)


def _of_asset(rule: Rule, verdict: PriceVerdict, gauges: Gauges) -> Reading:
    asset = verdict.asset
    if rule.gauge in FROM_FACTS:
        facts = (gauges.facts or {}).get(asset.address)
        return NotKnown(reason=gauges.unread or "not read") if facts is None else _of(rule, facts)
    if rule.gauge is Gauge.BALANCE:
        held = (gauges.balances or {}).get(asset.address)
        return _own(None if held is None else _whole(held, asset))
    if rule.gauge is Gauge.ORACLE:
        doubts = [s.reason for s in verdict.suspicions] or ([verdict.reason] * bool(verdict.reason))
        return Known(value=Wad(len(doubts) * WAD), detail=doubts[0] if doubts else "")
    if verdict.price is None or not verdict.usable:
        return NotKnown(reason=verdict.reason)
    return Known(value=Wad(verdict.price * 10**10))


def _own(held: int | None) -> Reading:
    if held is None:
        return NotKnown(reason="the keeper has no account, or its balance was not read")
    return Known(value=Wad(held))


def level_of_rule(rule: Rule, value: Wad, standing: AlertLevel) -> AlertLevel:
    """Return the level of a reading; what stands keeps its level within 2 % of its bound."""
    for level, bound in ((AlertLevel.CRITICAL, rule.critical), (AlertLevel.WARNING, rule.warning)):
        if bound is None:
            continue
        slack = bound // 50 if standing >= level else 0
        if value > bound - slack if rule.above else value < bound + slack:
            return level
    return AlertLevel.CLEAR


def worse_reading(rule: Rule, value: Wad, said: Wad | None, worse_bps: int) -> bool:
    """Whether a reading is worth a word again, of an alert that stands since `said`.

    Below a bound each step is a share of the bound, so that there are few on the way to nothing;
    above it, of what was said, so that there are few on the way to anywhere.  One doubt more is a
    step, and every movement is one of its own.
    """
    if said is None:
        return False
    match rule.gauge:
        case Gauge.MOVED:
            return True
        case Gauge.ORACLE if rule.above:
            return value >= said + WAD
        case _ if rule.above:
            return value > said and (value - said) * 10_000 >= said * worse_bps
        case _:
            return value < said and (said - value) * 10_000 >= rule.warning * worse_bps


def value_text(rule: Rule, value: Wad, say: Speech = ENGLISH) -> str:
    """Return a reading or bound in the gauge's unit."""
    match rule.gauge:
        case Gauge.PRICE | Gauge.MOVED:
            return dollars_text(Base(value // 10**10))
        case Gauge.DISTANCE | Gauge.BORROW_RATE | Gauge.UTILISATION:
            hundredths = value * 100 // WAD
            return f"{grouped(str(hundredths // 100))}.{hundredths % 100:02d} %"
        case Gauge.ORACLE:
            return str(value // WAD)
        case Gauge.LIQUIDITY | Gauge.SUPPLY_ROOM | Gauge.BORROW_ROOM | Gauge.BALANCE:
            unit = say("of the chain's coin") if rule.of == GAS else symbol_text(rule.of)
            return f"{amount_text(Raw(value), 18)} {'' if rule.of[:2] == '0x' else unit}".rstrip()


def _listed(of: str, prices: Iterable[PriceVerdict]) -> PriceVerdict | None:
    for one in prices:
        if of == one.asset.address or of.casefold() == one.asset.symbol.casefold():
            return one
    return None


def _of(rule: Rule, facts: ReserveFacts) -> Reading:
    match rule.gauge:
        case Gauge.BORROW_RATE:
            return Known(value=Wad(facts.borrow_rate_ray * 100 * WAD // RAY))
        case Gauge.UTILISATION:
            total = facts.borrowed + facts.usable_liquidity
            return Known(value=Wad(facts.borrowed * 100 * WAD // total if total else 0))
        case Gauge.LIQUIDITY:
            room: Raw | None = facts.liquidity
        case Gauge.SUPPLY_ROOM:
            room = facts.supply_room
        case _:
            room = facts.borrow_room
    if room is None:  # no cap: there is room without end
        return Known(value=Wad(UINT256_MAX))
    return Known(value=_whole(room, facts.asset))


def _distance(found: Assessed, gauges: Gauges) -> Reading:
    if found.health_factor < WAD:
        return Known(value=Wad(0))
    points = liquidation_points(found, gauges.prices, most=1)
    if not points:
        return Known(value=Wad(UINT256_MAX))
    return Known(value=Wad(abs(points[0].permille) * WAD // 10), detail=points[0].name)


def _moved(found: Assessed, gauges: Gauges) -> Reading:
    """Value what changed, each asset at its present price; interest of a block is next to none."""
    account = found.position.account
    if gauges.before is None or account not in gauges.known_before:
        return Known(value=Wad(0))
    now = {
        leg.asset.address: (leg.balance, leg.asset)
        for leg in found.legs
        if leg.side is Side.COLLATERAL
    }
    gone = {asset for who, asset in gauges.before if who == account} - now.keys()
    by_address = {one.asset.address: one for one in gauges.prices}
    total = 0
    for address in (*now, *sorted(gone)):
        verdict = by_address.get(address)
        if verdict is None or verdict.price is None:
            return NotKnown(reason="a price of its collateral is not known")
        balance = now[address][0] if address in now else Raw(0)
        change = abs(balance - gauges.before.get((account, address), Raw(0)))
        total += change * verdict.price * 10**10 // 10**verdict.asset.decimals
    return Known(value=Wad(total))


def _whole(raw: Raw, asset: Asset) -> Wad:
    return Wad(raw * WAD // 10**asset.decimals)
