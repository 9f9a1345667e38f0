"""A sale of one token for another, as it is asked for and as somebody else offers it."""

from dataclasses import dataclass

from keeper.model.chain import Address, BlockRef
from keeper.units import Bps


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What is to be sold, by whom, and for what."""

    chain_id: int
    sell: Address
    buy: Address
    amount: int
    """Raw units of `sell`, all of which are sold."""
    block: BlockRef
    """What everything else was read at; whoever is asked may answer for a later one."""
    caller: Address
    """The contract that will call, pay and receive."""
    origin: Address
    """The account whose transaction it is in."""
    max_slippage: Bps
    """How much less than offered the call itself may accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Somebody's word for a sale: nothing of it is believed until the chain was asked."""

    source: str
    bought: int
    """Raw units of what is bought, as they say."""
    target: Address
    """Whom to call."""
    spender: Address
    """Who will take what is sold."""
    data: bytes
    valid_until: int
    """Chain seconds, ours: they say none."""
