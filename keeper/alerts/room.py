"""What the rules of one alert pass share: its inputs, its ledger, and what is in trouble.  Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from keeper.alerts.hush import Hushes
from keeper.alerts.machine import (
    HEALTH,
    AlertKey,
    Change,
    Event,
    Policy,
    Step,
    call_in,
    called_in,
    hold,
    key_of,
    step_condition,
)
from keeper.alerts.oracle_words import feed_name, feed_trouble, price_name, price_trouble
from keeper.alerts.render import Remedies
from keeper.alerts.speech import Phrase
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    BlockRef,
    Hush,
    MarketId,
    PositionId,
    PriceVerdict,
    Stance,
    Thresholds,
    Unassessable,
    Watch,
)
from keeper.units import Wad


def subject_of(position: PositionId) -> str:
    """Return the subject of a position's alerts."""
    return str(position)


def feed_subject(market: MarketId, feed: Address) -> str:
    """Return the subject of a feed's alert: one per chain, whatever markets share it."""
    return f"{market.chain_id}:{feed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event with its words, before messages are made of them."""

    event: Event
    line: Phrase
    """What it says among many, and in a digest."""
    text: Phrase
    """The whole message; both wait for the language of whoever hears them."""
    group: str
    """Notices of one chat and one group are said together when they are many."""
    rank: int
    """Lowest first within a group: the health factor, or the order of arrival."""
    chart: str = ""
    """What is drawn beside it: see `Message.chart`."""
    to: str = ""
    """The chat that hears it, where that is not the alert's own."""

    @property
    def chat(self) -> str:
        """Who hears it."""
        return self.to or self.event.state.chat


def relayed(notice: Notice, policy: Policy) -> tuple[Notice, ...]:
    """Return what the alert's own chat hears, and what those hear that were called in."""
    own = () if notice.event.change is Change.ESCALATED else (notice,)
    return (*own, *(replace(notice, to=chat) for chat in called_in(notice.event, policy)))


@dataclass(slots=True)
class Ledger:
    """Collects the steps of one pass.  Mutable, and never outlives it."""

    states: dict[AlertKey, AlertState]
    changed: dict[AlertKey, AlertState] = field(default_factory=dict)

    def take(self, key: AlertKey, step: Step) -> None:
        """Keep a step's state, if it differs from the one before."""
        if step.state is None:
            return
        before = self.changed.get(key) or self.states.get(key)
        if step.state is not before and step.state != before:
            self.changed[key] = step.state

    def drop(self, state: AlertState) -> None:
        """End an alert without a word: nobody is left to hear it."""
        self.changed[key_of(state)] = replace(state, level=AlertLevel.CLEAR, clear_since=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A feed, or a price whose feeds are all well, that is doubted."""

    subject: str
    name: Phrase
    what: Phrase
    reasons: tuple[str, ...]
    assets: frozenset[tuple[MarketId, Address]]
    stance: Stance
    """What is held because of it; the strictest, where prices that use it differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Everything the parts of a pass share."""

    block: BlockRef
    prices: Mapping[MarketId, tuple[PriceVerdict, ...]]
    watches: tuple[Watch, ...]
    operators: tuple[str, ...]
    thresholds: Thresholds
    uses: Mapping[PositionId, frozenset[Address]]
    remedies: Callable[[Assessed], Remedies | None]
    policy: Policy
    ledger: Ledger
    troubles: tuple[Trouble, ...]
    hushes: Hushes
    interest: Callable[[Assessed], int | None]
    watching: Mapping[Address, tuple[Watch, ...]]
    """`watches` by account."""
    prefixes: tuple[str, ...]
    """With which the subjects of positions of this pass's markets begin."""

    @property
    def now(self) -> int:
        return self.block.timestamp

    def state(self, key: AlertKey) -> AlertState | None:
        return self.ledger.states.get(key)

    def owns(self, key: AlertKey) -> bool:
        """Whether a position's alert is of a market of this pass."""
        return key.subject.startswith(self.prefixes)

    def watchers(self, position: PositionId) -> tuple[Watch, ...]:
        """Return the watches of a position's account."""
        return self.watching.get(position.account, ())

    def turn(
        self,
        key: AlertKey,
        level: AlertLevel,
        clear_for_s: int,
        *,
        reading: Wad | None = None,
        worse: bool = False,
    ) -> tuple[Event, ...]:
        """Step an on-or-off rule, keep its state, and return what is to be said."""
        step = step_condition(
            key,
            self.state(key),
            level,
            clear_for_s=clear_for_s,
            now=self.now,
            policy=self.policy,
            hush=self.hush(key),
            reading=reading,
            worse=worse,
        )
        return (*self.keep(key, step), *self.call_in(key))

    def keep(self, key: AlertKey, step: Step) -> tuple[Event, ...]:
        """Keep a step's state and return what is to be said of it."""
        self.ledger.take(key, step)
        return step.events

    def call_in(self, key: AlertKey, health: Wad | None = None) -> tuple[Event, ...]:
        """Call in whoever is due because nobody acknowledged the alert."""
        state = self.ledger.changed.get(key, self.state(key))
        hush = None if state is None else self.hushes.of(state)
        step = call_in(state, now=self.now, policy=self.policy, hush=hush, health=health)
        return self.keep(key, step)

    def hush(self, key: AlertKey) -> Hush | None:
        """Return what the chat said of the alert as it stands."""
        state = self.state(key)
        return None if state is None else self.hushes.of(state)

    def hold(self, key: AlertKey) -> None:
        """Leave an alert as it is: its subject is unknown in this block."""
        self.ledger.take(key, hold(self.state(key)))

    def cause(self, unknown: Unassessable) -> tuple[Trouble, ...]:
        """Return the troubles that make a position's health unknown; none: something else does."""
        assets = self.uses.get(unknown.position)
        if assets is None:
            return tuple(
                trouble
                for trouble in self.troubles
                if any(reason and reason in unknown.reason for reason in trouble.reasons)
            )
        market = unknown.position.market
        return tuple(
            trouble
            for trouble in self.troubles
            if any((market, asset) in trouble.assets for asset in assets)
        )

    def level_while_unknown(self, chat: str, positions: Iterable[PositionId]) -> AlertLevel:
        """Return CRITICAL where the last that was known was critical: hiding it is as bad."""
        for position in positions:
            state = self.state(AlertKey(chat=chat, rule=HEALTH, subject=subject_of(position)))
            if state is not None and state.level is AlertLevel.CRITICAL:
                return AlertLevel.CRITICAL
        return AlertLevel.WARNING


STRICTNESS = tuple(Stance)


def _stance(verdict: PriceVerdict, reason: str) -> Stance:
    """Return the strictest stance on what says `reason`, on anything where it is empty.

    A feed in trouble that its price is not doubted for is told of, and nothing is held.
    """
    if not verdict.suspicions:
        return Stance.ALERT if verdict.usable else Stance.HOLD_ALL
    found = [s.stance for s in verdict.suspicions if reason in ("", s.reason)]
    return max(found, key=STRICTNESS.index, default=Stance.ALERT)


def troubles(prices: Mapping[MarketId, tuple[PriceVerdict, ...]]) -> tuple[Trouble, ...]:
    found: dict[str, Trouble] = {}
    for market, verdicts in prices.items():
        for verdict in verdicts:
            bad = tuple(feed for feed in verdict.feeds if not feed.usable)
            here = frozenset({(market, verdict.asset.address)})
            fresh = [
                Trouble(
                    subject=feed_subject(market, feed.feed.address),
                    name=partial(feed_name, feed),
                    what=partial(feed_trouble, feed),
                    reasons=(feed.reason, verdict.reason),
                    assets=here,
                    stance=_stance(verdict, feed.reason),
                )
                for feed in bad
            ]
            if not bad and (verdict.suspicions or not verdict.usable):
                fresh.append(
                    Trouble(
                        subject=f"{market.chain_id}:{market.name}:{verdict.asset.address}",
                        name=partial(price_name, verdict),
                        what=partial(price_trouble, verdict),
                        reasons=(verdict.reason,),
                        assets=here,
                        stance=_stance(verdict, ""),
                    )
                )
            for trouble in fresh:
                known = found.get(trouble.subject, trouble)
                found[trouble.subject] = replace(
                    known,
                    assets=known.assets | trouble.assets,
                    stance=max(known.stance, trouble.stance, key=STRICTNESS.index),
                    reasons=tuple(dict.fromkeys((*known.reasons, *trouble.reasons))),
                )
    return tuple(found.values())
