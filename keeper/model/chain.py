"""The chain: addresses, blocks, logs, calls and what they answered."""

from dataclasses import dataclass
from typing import NewType

from keeper.units import Wei

Address = NewType("Address", str)
"""``0x`` and 40 lower-case hex digits."""

Hash = NewType("Hash", str)
"""``0x`` and 64 lower-case hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRef:
    """One block, as every reading names it."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    """Seconds since the epoch, by the chain's clock."""
    base_fee_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One event log, as much of it as says where to look."""

    address: Address
    topics: tuple[Hash, ...]
    data: bytes
    block_number: int
    block_hash: Hash
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which logs a market wants: any of the addresses, any of the first topics."""

    addresses: tuple[Address, ...]
    topics0: tuple[Hash, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One static call of a packed read."""

    to: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Returned:
    """A call that succeeded.  An account without code succeeds with no bytes: decoders check."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that reverted, ran out of its gas share, or answered more than the cap."""

    reason: str
    data: bytes = b""


CallResult = Returned | Failed
