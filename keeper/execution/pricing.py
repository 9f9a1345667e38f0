"""What the executor must know of a market and does not look up itself."""

from collections.abc import Callable
from dataclasses import dataclass

from keeper.model import Call, Intent
from keeper.ports import MarketView
from keeper.units import Base, Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """What only the market knows, as pure functions that `keeper.app` binds."""

    spends: Callable[[Intent, MarketView], Base | None]
    """What the intent takes from the keeper's account, base units; None if that is not known,
    which is a refusal.  Not asked for approvals, which spend nothing."""
    native: Callable[[MarketView], Base | None]
    """Base units per whole native token, or None: gas is then capped absolutely only."""
    health_call: Callable[[Intent], Call | None]
    """The read of the position's health, such as ``getUserAccountData``; None: not read."""
    health: Callable[[bytes], Wad]
    """Decodes its answer.  Raises `BadAnswer`."""
