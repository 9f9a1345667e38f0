"""What one pass leaves behind, and what a restart begins with."""

from dataclasses import dataclass

from keeper.model.chain import Address, BlockRef, Hash
from keeper.model.decisions import Decision
from keeper.model.health import Assessment
from keeper.model.liquidations import Reckoned
from keeper.model.market import Holdings, MarketId
from keeper.model.oracles import FeedVerdict, PriceVerdict
from keeper.model.people import AlertState, AuditEvent, HeldLine, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRecord:
    """All that one block's pass writes, in one database transaction."""

    block: BlockRef
    history: tuple[Assessment, ...] = ()
    """Watched positions, and those of the endangered that are worth a row of history: see
    `keeper.engine.standing`."""
    prices: tuple[tuple[MarketId, PriceVerdict], ...] = ()
    """Those worth a row of history: see `keeper.engine.prices`."""
    rounds: tuple[tuple[int, FeedVerdict], ...] = ()
    """Feeds of a chain, by its id, with an answer or a verdict that was not kept yet."""
    decisions: tuple[Decision, ...] = ()
    """Acts, and Refuses that say something new; Holds are not kept."""
    alerts: tuple[AlertState, ...] = ()
    """Changed ones; level CLEAR removes."""
    messages: tuple[Message, ...] = ()
    audit: tuple[AuditEvent, ...] = ()
    held: tuple[HeldLine, ...] = ()
    liquidations: tuple[Reckoned, ...] = ()
    orphaned: tuple[Hash, ...] = ()
    """Blocks that are not canonical any more: what was liquidated in them was not."""
    chain_id: int | None = None
    """The chain that was watched up to `block`; None for what is not said of a chain's pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a market's history was read and whom it held: a cache, verified on load."""

    market: MarketId
    anchor: Address
    """The contract that the market was found from: one of another is of another market, whatever
    it is called."""
    block: BlockRef
    accounts: tuple[Address, ...]
    holdings: tuple[Holdings, ...] = ()
    """What those of `accounts` held whom nothing touched since `block`; the others are only named.
    Never believed as it is: see `keeper.engine.coverage`."""
    layout: str = ""
    """Which contracts `holdings` were read from, as a digest; empty without `holdings`."""
