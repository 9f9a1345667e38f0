"""What the keeper says of itself: one frozen picture, made of the words of `keeper.model`.

The application makes it; the page, the JSON document and the health check only read it.
"""

from dataclasses import dataclass
from typing import Protocol

from keeper.model import (
    AlertLevel,
    Assessed,
    Assessment,
    BlockRef,
    Hash,
    Intent,
    OpenPlan,
    PriceVerdict,
    Reckoned,
)
from keeper.risk.spread import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionStatus:
    """A position that somebody should look at."""

    assessment: Assessment
    level: AlertLevel
    label: str = ""
    """As the one who watches it calls it."""
    decision: str = ""
    """What was decided at the last pass, and why; empty where nothing was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleStatus:
    """One reserve's price at the last pass."""

    market: str
    price: PriceVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStatus:
    """Something that was done, tried or rehearsed."""

    at: int
    """Seconds since the epoch."""
    intent: Intent
    outcome: str
    """In words: ``confirmed``, ``reverted``, ``rehearsed``, ``declined: ...``."""
    tx_hash: Hash | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    """One chain's engine."""

    name: str
    chain_id: int
    armed: bool
    head: BlockRef | None
    """The last head that a pass was finished on; None before the first."""
    head_age_s: float | None
    """Monotonic seconds since a head last reached us; None before the first."""
    max_head_age_s: float
    """A head older than this means that the chain is not watched."""
    watched: int = 0
    """Accounts that people watch."""
    borrowers: int = 0
    """Accounts in the books."""
    positions: tuple[PositionStatus, ...] = ()
    """Watched; of others who can be liquidated or are of unknown health."""
    spreads: tuple[tuple[str, Spread], ...] = ()
    """How all accounts of each market stand, as last counted; none before the first time."""
    oracles: tuple[OracleStatus, ...] = ()
    plans: tuple[OpenPlan, ...] = ()
    """Transactions on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole keeper at one moment."""

    version: str
    now: int
    """Seconds since the epoch, by the machine's clock: for display only."""
    started_at: int
    chains: tuple[ChainStatus, ...]
    faults: tuple[str, ...] = ()
    """Sentences about the keeper itself, such as why it is disarmed."""
    outbox_waiting: int = 0
    """Messages that no provider has acknowledged yet."""
    actions: tuple[ActionStatus, ...] = ()
    """The last ones, newest first."""
    liquidations: tuple[Reckoned, ...] = ()
    """The last ones on chain, ours or not, newest first."""


class StatusSource(Protocol):
    """Makes the picture.  It should answer from memory: the health check waits for it."""

    async def __call__(self) -> Status: ...


def watching(chain: ChainStatus) -> bool:
    """Whether a fresh head says that what is shown of `chain` is true now."""
    return chain.head_age_s is not None and chain.head_age_s <= chain.max_head_age_s


def unwatched(status: Status) -> tuple[str, ...]:
    """Return why the keeper is not watching, a sentence a chain; empty when it is.

    No chain at all is not watching either.
    """
    if not status.chains:
        return ("no chain is configured",)
    reasons = []
    for chain in status.chains:
        if chain.head_age_s is None:
            reasons.append(f"{chain.name}: no head has arrived yet")
        elif not watching(chain):
            reasons.append(
                f"{chain.name}: the last head is {chain.head_age_s:.0f} s old, "
                f"the limit is {chain.max_head_age_s:.0f} s"
            )
    return tuple(reasons)


def worst_first(positions: tuple[PositionStatus, ...]) -> tuple[PositionStatus, ...]:
    """Return unknown healths first, then by health factor, lowest first."""

    def rank(position: PositionStatus) -> tuple[bool, int, str]:
        found = position.assessment
        known = isinstance(found, Assessed)
        return known, found.health_factor if isinstance(found, Assessed) else 0, str(found.position)

    return tuple(sorted(positions, key=rank))
