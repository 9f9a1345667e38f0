"""What is to be done about an account: hold, act or refuse, and with what."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from keeper.model.chain import (
    Address,
    BlockRef,
)
from keeper.model.health import Leg
from keeper.model.market import Asset, PositionId
from keeper.units import Base, Raw, Wad


class IntentKind(StrEnum):
    """What an action does."""

    TOP_UP = "top_up"
    REPAY = "repay"
    LIQUIDATE = "liquidate"
    DELEVERAGE = "deleverage"
    APPROVE = "approve"
    DEPLOY = "deploy"


class Funding(StrEnum):
    """Whose money an action moves."""

    OWN = "own"
    """The keeper's own account."""
    FLASH = "flash"
    """Borrowed and paid back in the same transaction, through a contract of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How something is done to a position: of several, one that fails leaves the others."""

    kind: IntentKind
    asset: Address
    """The token that is spent."""
    collateral: Address | None = None
    """Liquidations and deleverages: what is seized or sold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What shall be done to one position, before anything is encoded.

    `intent_id` is in the log line, the message, the row and ``keeper explain``.
    """

    intent_id: str
    kind: IntentKind
    position: PositionId
    block: BlockRef
    """The block the decision was made at."""
    asset: Asset
    """The token the keeper spends: supplied, repaid, or the debt that is covered."""
    amount: Raw
    """How much of it at the most."""
    collateral: Asset | None = None
    """Liquidations: what is seized.  Deleverages: what of the borrower's is sold."""
    covers: Raw = Raw(0)  # noqa: RUF009 - a NewType of int is immutable
    """Liquidations and deleverages: what of `amount` is really taken, as of `block`."""
    seized: Raw = Raw(0)  # noqa: RUF009 - a NewType of int is immutable
    """How much of `collateral` is received, as of `block`; deleverages: sold at the most."""
    funding: Funding = Funding.OWN
    value_at_risk: Base
    """What orders the queue, base units: debt for liquidations, what a liquidation would cost
    the owner for protection."""
    expected_profit: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    """At the block's oracle prices, before gas; liquidations only."""
    health_before: Wad
    reason: str

    @property
    def way(self) -> Way:
        """How it is done."""
        seized = None if self.collateral is None else self.collateral.address
        return Way(kind=self.kind, asset=self.asset.address, collateral=seized)


class Why(StrEnum):
    """What sort of reason something that should be done is not done for."""

    REFUSED = "refused"
    UNPROFITABLE = "unprofitable"
    """What can be done now does not pay: the wallet, a limit, gas or the sale stands against it."""
    TOO_SMALL = "too small"
    """Nothing that could ever be done about it as it is would pay: the floor is the operator's own
    word, and thousands are always below it.  Written down like the others, but nobody is told."""
    HELD = "held"
    """It is possible and waits for something to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Nothing to do, and why."""

    position: PositionId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something to do."""

    intent: Intent
    partial: bool = False
    """Whether it falls short of what was wanted: another way that does not is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Something should be done and is not: the reason is shown to people."""

    position: PositionId
    reason: str
    why: Why = Why.REFUSED


Decision = Hold | Act | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """One legal liquidation of one account, sized exactly."""

    collateral: Leg
    debt: Leg
    debt_to_cover: Raw
    """What is really taken, raw units of the debt."""
    amount: Raw
    """What to pass: a little more for a whole debt, since interest grows until inclusion."""
    seized: Raw
    """Received by the liquidator, raw units of the collateral, protocol fee excluded."""
    profit: Base
    """Value of `seized` less value of `debt_to_cover` at the block's prices, before gas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleverage:
    """Some of a debt repaid with some of the same account's collateral sold, sized exactly."""

    collateral: Leg
    debt: Leg
    repay: Raw
    """Raw units of the debt."""
    sells: Raw
    """At the most, raw units of the collateral."""
    sold_value: Base
    """Of `sells` at the block's prices, rounded up."""
    health: Wad
    """After it, if that much is sold; no lower if less is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the keeper's own account can spend in one market at one block."""

    owner: Address
    block: BlockRef
    balances: Mapping[Address, Raw]
    allowances: Mapping[Address, Raw]
    """Granted to the market's pool."""

    def spendable(self, asset: Address) -> Raw:
        """Return the lesser of balance and allowance: 0 for a token that was not read."""
        return Raw(min(self.balances.get(asset, 0), self.allowances.get(asset, 0)))
