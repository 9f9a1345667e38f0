"""Every position of a chain at one block: for ``keeper positions``, by the path the engine takes.

History is brought up to the head first.  Where that took long the chain is opened again, so that
what is read is the head of now, and what was covered is resumed from the checkpoint just saved.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.alerts.machine import level_of
from keeper.app.chain import OpenChain, bind, open_chain
from keeper.app.hands import hand_of
from keeper.app.look import assessments, read_market
from keeper.app.owner import owner_address
from keeper.engine.coverage import Progress
from keeper.engine.decide import Hand
from keeper.engine.market import Reading, WatchedMarket
from keeper.model import (
    Act,
    Address,
    AlertLevel,
    Assessed,
    Assessment,
    BlockRef,
    Decision,
    Hold,
    Intent,
    IntentKind,
    PriceVerdict,
    Refuse,
    Watch,
)
from keeper.settings import Chain, Settings
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from keeper.strategies.purse import Purse
from keeper.strategies.text import need, symbol
from keeper.units import WAD

FRESH_S: Final = 20.0
"""Covering that took longer than this leaves a head that is no longer the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One position: its health, how old its oldest price is, and what the keeper would do."""

    assessment: Assessment
    label: str
    """What people call the account; empty for one that nobody watches."""
    age_s: int | None
    """Of the oldest answer that its health depends on; None where no feed is under it."""
    level: AlertLevel | None
    """None where the health is unknown."""
    decision: Decision | None
    """None without a key: nothing is decided then."""

    @property
    def verdict(self) -> str:
        """``unknown``, or what would be done: ``hold``, ``act`` or ``refuse``."""
        if not isinstance(self.assessment, Assessed):
            return "unknown"
        match self.decision:
            case Act():
                return "act"
            case Refuse():
                return "refuse"
            case _:
                return "hold"

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        if not isinstance(self.assessment, Assessed):
            return self.assessment.reason
        match self.decision:
            case Act(intent=intent):
                return intent.reason
            case Refuse(reason=reason) | Hold(reason=reason):
                return reason
            case None:
                return "watched only: there is no key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A chain's positions at one block, the worst first."""

    chain: Chain
    block: BlockRef
    armed: bool
    standings: tuple[Standing, ...]
    unfit: str = ""
    """Why nothing should be done because of it, or empty."""


async def survey(
    settings: Settings,
    config: Chain,
    database: Database,
    *,
    market: str | None = None,
    on_progress: Callable[[Progress], None],
) -> Survey:
    """Read every position of `config`'s markets, or of one, at the chain's head.

    Raises ConfigError and ObservationError as `open_chain` does.
    """
    records = SqlRecords(database)
    watches = (*settings.watches(), *await records.watches())
    while True:
        async with open_chain(settings, config) as chain:
            await bind(database, chain)
            markets = tuple(chain.markets.values()) if market is None else (chain.market(market),)
            began_at = time.monotonic()
            for each in markets:
                await chain.cover(each, records, chain.head, on_progress)
            if time.monotonic() - began_at > FRESH_S:
                continue
            found: list[Standing] = []
            for each in markets:
                found += await _standings(settings, chain, each, watches)
            return Survey(
                chain=config,
                block=chain.head,
                unfit=chain.unfit,
                armed=settings.signing.armed(config.chain_id),
                standings=tuple(sorted(found, key=_worst_first)),
            )


async def _standings(
    settings: Settings,
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    watches: Iterable[Watch],
) -> list[Standing]:
    owner = await owner_address(settings, chain.config)
    hand = hand_of(settings, market, owner)
    labels = {watch.account: watch.label for watch in watches}
    market.watch(frozenset(labels) | frozenset(hand.protections))
    reading = await read_market(chain, market, chain.head)
    found = assessments(market, reading)
    decided: Mapping[Address, Decision] = {}
    if owner is not None:
        steps = market.adapter.inventory(market.market, owner, chain.head)
        purse = Purse(await chain.reader.run(steps, chain.head))
        decided = _decided(market, reading, hand, found, purse)
    prices = {price.asset.address: price for price in reading.prices}
    thresholds = settings.thresholds.as_model()
    own = {watch.account: watch.thresholds for watch in watches if watch.thresholds is not None}
    return [
        Standing(
            assessment=each,
            label=labels.get(each.position.account, ""),
            age_s=_age(market.assets_of(each.position.account), prices),
            level=(
                level_of(each.health_factor, own.get(each.position.account) or thresholds)
                if isinstance(each, Assessed)
                else None
            ),
            decision=decided.get(each.position.account),
        )
        for each in found
    ]


def _decided(
    market: WatchedMarket[Any, Any],
    reading: Reading,
    hand: Hand,
    found: Iterable[Assessment],
    purse: Purse,
) -> dict[Address, Decision]:
    """Decide as the engine would: the protected first, then by debt, all from one purse."""
    decided: dict[Address, Decision] = {}
    for each in sorted(
        found,
        key=lambda a: (
            a.position.account not in hand.protections,
            -a.debt if isinstance(a, Assessed) else 1,
        ),
    ):
        account = each.position.account
        holdings = market.holdings(account)
        if holdings is None:
            continue
        strategy = hand.protections.get(account, hand.otherwise)
        decision = strategy.decide(reading.view, holdings, each, purse)
        if isinstance(decision, Act):
            purse.take(decision.intent.asset.address, decision.intent.amount)
        decided[account] = decision
    return decided


def _age(assets: Iterable[Address], prices: Mapping[Address, PriceVerdict]) -> int | None:
    ages = (
        feed.age_s
        for asset in assets
        if asset in prices
        for feed in prices[asset].feeds
        if feed.age_s is not None
    )
    return max(ages, default=None)


def _worst_first(standing: Standing) -> tuple[int, int, str]:
    """Below 1, then unknown, then by health."""
    match standing.assessment:
        case Assessed(health_factor=health, position=position):
            return (0 if health < WAD else 2, health, str(position))
        case other:
            return (1, 0, str(other.position))


def deed(intent: Intent) -> str:
    """Return what an intent does, in a few words: ``repay 2,938.10 USDC``."""
    amount = need(intent.amount, intent.asset)
    match intent.kind:
        case IntentKind.TOP_UP:
            return f"supply {amount}"
        case IntentKind.REPAY:
            return f"repay {amount}"
        case IntentKind.DELEVERAGE:
            sold = f" by selling {symbol(intent.collateral)}" if intent.collateral else ""
            return f"repay {amount}{sold}"
        case IntentKind.APPROVE:
            return f"approve {amount}"
        case IntentKind.DEPLOY:
            return f"deploy the {symbol(intent.asset)}"
        case IntentKind.LIQUIDATE:
            seized = f", seize {symbol(intent.collateral)}" if intent.collateral else ""
            return f"liquidate: repay {amount}{seized}"
