"""What is done about each cause of doubt, unless the configuration says otherwise."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keeper.model import Cause, Stance

DEFAULT: Final[Mapping[Cause, Stance]] = MappingProxyType(
    {
        Cause.NO_PRICE: Stance.HOLD_ALL,
        Cause.UNTRACED: Stance.HOLD_ALL,
        Cause.UNREADABLE: Stance.HOLD_ALL,
        Cause.INVALID: Stance.HOLD_ALL,
        Cause.STALE: Stance.HOLD_ALL,
        Cause.SEQUENCER_DOWN: Stance.HOLD_ALL,
        Cause.BOUND: Stance.PROTECT_ANYWAY,
        Cause.UNITS: Stance.PROTECT_ANYWAY,
        Cause.JUMP: Stance.HOLD_LIQUIDATIONS,
        Cause.CAPPED: Stance.HOLD_LIQUIDATIONS,
        Cause.CAP_BROKEN: Stance.HOLD_LIQUIDATIONS,
        Cause.FIXED: Stance.HOLD_LIQUIDATIONS,
        Cause.DISAGREES: Stance.HOLD_LIQUIDATIONS,
        Cause.SEQUENCER_GRACE: Stance.HOLD_LIQUIDATIONS,
    }
)
"""Where there is no price, or one of another hour, nothing is done.  Where there is one that the
protocol liquidates by although the market disagrees, its owner is protected and nobody is
liquidated for a profit that may not be there."""


def stances(chosen: Mapping[Cause, Stance]) -> Mapping[Cause, Stance]:
    """Return the defaults with what was chosen instead; without a price nothing is ever done."""
    return MappingProxyType({**DEFAULT, **chosen, Cause.NO_PRICE: Stance.HOLD_ALL})
