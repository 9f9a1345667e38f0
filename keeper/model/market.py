"""A lending market: its assets, its accounts, and what they hold there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from keeper.model.chain import Address
from keeper.units import Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """An ERC-20 token."""

    address: Address
    symbol: str
    """As the chain says it: escape it before it is shown, it may hold anything."""
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketId:
    """One deployment of one lending protocol."""

    chain_id: int
    name: str
    """The name in the configuration, such as ``aave-v3-ethereum``."""
    protocol: str
    """The folder in `keeper.protocols`: ``aave_v3``."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionId:
    """One account's position in one market."""

    market: MarketId
    account: Address

    def __str__(self) -> str:
        return f"{self.market.name}:{self.account}"


class Side(Enum):
    """Which column of the balance sheet an entry stands in."""

    COLLATERAL = "collateral"
    DEBT = "debt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One scaled balance: reserve by its id in the market, amount in scaled raw units."""

    reserve: int
    side: Side
    scaled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What an account holds, as the protocol stores it: the book's unit of update.

    An account without entries is kept: it has no debt, which is a fact and not an absence.
    """

    account: Address
    e_mode: int
    """E-mode category, 0 for none."""
    entries: tuple[Entry, ...]
    """Only what counts: enabled collateral and debts, by reserve id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveFacts:
    """What one reserve has room for at one block; read only where somebody's rule asks for it."""

    asset: Asset
    borrow_rate_ray: int
    """What variable debt costs now, ray per year."""
    supplied: Raw
    borrowed: Raw
    """Variable and, where there is any, stable."""
    liquidity: Raw
    """What can be withdrawn or borrowed now."""
    usable_liquidity: Raw
    """What the interest rate is computed from: the protocol's own count where it keeps one."""
    supply_room: Raw | None
    """Left under the supply cap; None without a cap."""
    borrow_room: Raw | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a block's logs say to look at; never what to believe."""

    accounts: frozenset[Address]
    borrowers: frozenset[Address]
    """Those that received debt: they enter the book even if nobody knew them."""
    parameters: bool
    """Reserve, e-mode or oracle configuration changed: everything is discovered again."""
    moved: Mapping[Address, frozenset[tuple[int, Side]]] = field(default_factory=dict)
    """By account, reserve ids and sides of which it got or gave something: balances to ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAccounts:
    """Accounts that were read, at one block."""

    holdings: tuple[Holdings, ...]
    unreadable: tuple[tuple[Address, str], ...]
    """Those that could not be read, and why."""
