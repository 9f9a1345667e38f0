"""Liquidations that happened on chain, ours or not, and why we did not take those of others."""

from dataclasses import dataclass
from enum import StrEnum

from keeper.model.chain import Address, BlockRef
from keeper.model.market import Asset, PositionId
from keeper.units import Base, Raw


class Taken(StrEnum):
    """Whose a liquidation was; if not ours, why it was not."""

    OURS = "ours"
    LATE = "late"
    """Somebody was faster: than our transaction, or than our next look."""
    UNPROFITABLE = "unprofitable"
    """Below the floor, or not worth its gas."""
    REFUSED = "refused"
    """By the strategy, the signing policy, the simulation or the journal; also while disarmed."""
    HELD = "held"
    """A doubted price, nodes that disagree, a cool-down, or an account that we protect."""
    NOT_COVERED = "not_covered"
    """The borrower was not in the book."""
    STOPPED = "stopped"
    """The keeper did not watch at that block."""
    WATCH_ONLY = "watch_only"
    """Nothing is armed, or liquidating is not enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidated:
    """One liquidation as the protocol's log tells it."""

    position: PositionId
    block: BlockRef
    log_index: int
    liquidator: Address
    """Who called the protocol: an account, or a contract in between."""
    collateral: Asset
    debt: Asset
    covered: Raw
    """Of the debt."""
    seized: Raw
    """Of the collateral, without the protocol's fee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoned:
    """A liquidation with the account of it."""

    liquidated: Liquidated
    taken: Taken
    reason: str
    possible_after: int | None
    """The last block at which the account was known not to be below 1; None: not known."""
    possible_by: int
    """The first block at which it was below 1 for certain; it became possible after
    `possible_after` and by this one."""
    seen_block: int | None
    """The block of the pass that first saw it below 1; None: it was taken before one did."""
    profit: Base | None
    """Value seized less value covered at the prices of the pass that heard of it, before gas;
    negative where it cost more.  None where a price is missing."""
    expected: Base | None = None
    """What our own intent would have left before gas, if there was one."""
    intent_id: str | None = None
    """Of our intent for this position, if there was one."""
