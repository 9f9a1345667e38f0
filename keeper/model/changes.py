"""What governance changes, and what that makes of a position."""

from dataclasses import dataclass

from keeper.model.chain import Address
from keeper.model.market import MarketId, PositionId
from keeper.units import Wad, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterChange:
    """One parameter of a market that differs between two readings of it."""

    subject: str
    """``WETH``, ``e-mode 1 (ETH correlated)`` or ``market``: as the chain says it, escape it."""
    parameter: str
    """``liquidation threshold``, ``supply cap``, ``price source``."""
    was: str
    now: str

    def __str__(self) -> str:
        """Return ``WETH: liquidation threshold 83.00 % -> 78.00 %``."""
        return f"{self.subject}: {self.parameter} {self.was} -> {self.now}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What changed parameters make of one position, all else being equal."""

    position: PositionId
    before: Wad
    """The health factor that the contract would answer had nothing changed."""
    after: Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Parameters of one market that changed, or would, and whom that concerns."""

    market: MarketId
    changes: tuple[ParameterChange, ...]
    effects: tuple[Effect, ...]
    """Of the positions asked about, those whose health factor is not the same; worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """A transaction that nobody has mined: what it would do is asked of a node."""

    sender: Address
    to: Address
    data: bytes
    value_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A decision of governance that waits for its time."""

    name: str
    """``payload 341``: which one, where it is queued."""
    runs: Supposed
    """What carries it out; anybody may send it."""
    from_s: int
    """Chain seconds from which it can be carried out."""
    until_s: int
    """Chain seconds after which it no longer can."""
