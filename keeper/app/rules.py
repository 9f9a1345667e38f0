"""Every rule as it reads now: for ``keeper rules`` and ``keeper check``.

The same measures as a pass takes, at one block of each chain, read for this only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keeper.alerts.gauge_rules import reading_text
from keeper.alerts.measures import Gauges, Known, NotKnown, level_of_rule, measure
from keeper.alerts.rules import FROM_FACTS, GAS, OF_ACCOUNTS
from keeper.app.chain import OpenChain, open_chain
from keeper.app.finding import Finding, ok, warning
from keeper.app.look import assessments, read_accounts
from keeper.app.signing import owner_of, signer_for
from keeper.engine.market import WatchedMarket
from keeper.errors import KeeperError
from keeper.model import Address, AlertLevel, Gauge, MarketId, ReserveFacts, Rule, Watch
from keeper.ports import Metered
from keeper.settings import Chain, Settings
from keeper.settings.people import Unwatched
from keeper.store.database import Database
from keeper.store.rules import SqlRules, Unread
from keeper.store.watches import SqlWatches

ONE_BLOCK = "it is said in the block that it happens in"


class Origin(StrEnum):
    """Where a rule was written."""

    CONFIGURATION = "alerts.rules"
    CHAT = "/rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What a rule reads in one market."""

    market: MarketId
    now: str
    """The value in the gauge's unit, or why there is none."""
    level: AlertLevel | None
    """What it would say; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A rule and what is to be said of it."""

    chat: str
    text: str
    origin: Origin
    reads: tuple[Reads, ...] = ()
    fault: str = ""
    """Why it never says anything, or empty."""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """All rules there are, those that cannot be read, and who watches what."""

    rules: tuple[tuple[Rule, Origin], ...]
    unread: tuple[Unread, ...]
    unwatched: tuple[Unwatched, ...]
    watches: tuple[Watch, ...]


@dataclass(slots=True)
class _Measured:
    """Gauges of the chains that could be read, and why the others could not."""

    gauges: dict[MarketId, Gauges] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


async def written(settings: Settings, database: Database) -> Written:
    """Return every rule of the configuration and of chats."""
    store, watches = SqlRules(database), SqlWatches(database)
    kept, unread = await store.all()
    found: list[Watch] = list(settings.watches())
    for chat in await watches.chats():
        found += await watches.of(chat.chat)
    configured, unwatched = settings.rules(found)
    return Written(
        rules=(
            *((rule, Origin.CONFIGURATION) for rule in configured),
            *((rule, Origin.CHAT) for rule in kept),
        ),
        unread=unread,
        unwatched=unwatched,
        watches=tuple(found),
    )


async def standings(
    settings: Settings, chains: Sequence[Chain], there: Written
) -> tuple[Standing, ...]:
    """Return how every rule stands at the head of `chains`; a chain that fails is its reason."""
    measured = _Measured()
    if there.rules:
        for chain in chains:
            try:
                measured.gauges |= await _gauges(settings, chain, [rule for rule, _ in there.rules])
            except KeeperError as error:
                measured.unread.append(f"{chain.name} was not read: {error}")
    whole = set(settings.chains) <= {chain.name for chain in chains}
    return (
        *(
            _standing(rule, origin, measured, there.watches, whole=whole)
            for rule, origin in there.rules
        ),
        *(_unreadable(one) for one in there.unread),
        *(_silent(one) for one in there.unwatched),
    )


def _standing(
    rule: Rule, origin: Origin, measured: _Measured, watches: Iterable[Watch], *, whole: bool
) -> Standing:
    def stands(*reads: Reads, fault: str = "", remedy: str = "") -> Standing:
        return Standing(
            chat=rule.chat,
            text=rule.text,
            origin=origin,
            reads=reads,
            fault=fault,
            remedy=remedy,
        )

    heard = {(one.chat, one.account) for one in watches}
    its_own = origin is Origin.CHAT and rule.gauge in OF_ACCOUNTS
    if its_own and (rule.chat, rule.of) not in heard:
        return stands(
            fault=f"{rule.of} is not watched for {rule.chat}, so it never speaks",
            remedy=f"keeper watch {rule.of} --chat {rule.chat}, or {_ends(rule, origin)}",
        )
    reads = tuple(_reads(rule, measured.gauges))
    if reads:
        return stands(*reads)
    if measured.unread or not whole:
        return stands(fault="; ".join(measured.unread) or "no market of this chain lists it")
    if rule.gauge in OF_ACCOUNTS:
        return stands(fault=f"{rule.of} has no position in any market", remedy=_ends(rule, origin))
    return stands(
        fault=f"no market lists {rule.of}, so it never speaks",
        remedy=f"`keeper oracles` shows the assets there are: {_ends(rule, origin)}",
    )


def _ends(rule: Rule, origin: Origin) -> str:
    if origin is Origin.CHAT:
        return f"end it in {rule.chat} with /unrule"
    return "correct it under alerts.rules"


def _unreadable(one: Unread) -> Standing:
    return Standing(
        chat=one.chat,
        text=one.text,
        origin=Origin.CHAT,
        fault=one.reason.rstrip("."),
        remedy=f"write it anew in {one.chat} with /rule",
    )


def _silent(one: Unwatched) -> Standing:
    return Standing(
        chat=one.chat,
        text=one.text,
        origin=Origin.CONFIGURATION,
        fault=f"{one.account} is not watched for {one.chat}, so it never speaks",
        remedy=one.remedy,
    )


def _reads(rule: Rule, gauges: Mapping[MarketId, Gauges]) -> Iterable[Reads]:
    for market, here in gauges.items():
        match measure(rule, here):
            case Known() as found if rule.gauge is Gauge.MOVED:
                yield Reads(market=market, now=ONE_BLOCK, level=AlertLevel.CLEAR)
            case Known() as found:
                level = level_of_rule(rule, found.value, AlertLevel.CLEAR)
                now = reading_text(rule, found).replace("\u202f", " ")
                yield Reads(market=market, now=now, level=level)
            case NotKnown(reason=reason):
                yield Reads(market=market, now=reason, level=None)
            case None:
                continue
        if rule.of == GAS:
            return


async def _gauges(
    settings: Settings, chain: Chain, rules: Sequence[Rule]
) -> dict[MarketId, Gauges]:
    """Return what the rules measure in each market of a chain, all at one block."""
    accounts = tuple({Address(rule.of) for rule in rules if rule.gauge in OF_ACCOUNTS})
    owner = owner_of(settings, await signer_for(settings, chain))
    found = {}
    async with open_chain(settings, chain) as opened:
        gas = None if owner is None else await opened.rpc.balance(owner)
        for market in opened.markets.values():
            reading = await read_accounts(opened, market, accounts)
            facts, unread = None, ""
            if any(rule.gauge in FROM_FACTS for rule in rules):
                facts, unread = await _facts(opened, market)
            balances = None
            if owner is not None:
                steps = market.adapter.inventory(market.market, owner, opened.head)
                balances = (await opened.reader.run(steps, opened.head)).balances
            here = assessments(market, reading)
            found[market.id] = Gauges(
                prices=reading.prices,
                assessments={one.position.account: one for one in here},
                facts=facts,
                unread=unread,
                balances=balances,
                gas_wei=gas,
            )
    return found


async def _facts(
    chain: OpenChain, market: WatchedMarket[Any, Any]
) -> tuple[Mapping[Address, ReserveFacts] | None, str]:
    if not isinstance(market.adapter, Metered):
        return None, f"{market.id.protocol} does not say"
    try:
        facts = await chain.reader.run(market.adapter.facts(market.market), chain.head)
    except KeeperError as error:
        return None, str(error)
    return {one.asset.address: one for one in facts}, ""


def findings(found: Iterable[Standing]) -> Iterable[Finding]:
    """Yield what ``keeper check`` says of each rule: how it reads, or why it never will."""
    for one in found:
        what = f"rule {one.text} for {one.chat}"
        if one.fault:
            yield warning(what, one.fault, one.remedy)
        for read in one.reads:
            if read.level is None:
                yield warning(what, f"{read.market.name}: not known now: {read.now}")
            else:
                fires = f", so it fires ({read.level.name.lower()})" if read.level else ""
                yield ok(what, f"{read.market.name}: {read.now}{fires}")
