"""Where a read was run, by the word of the contract that ran it, against the block asked for.

A node is asked for a block by its hash; a balancer, a cache or a race inside the node may answer
from another one, and the values look just as good.  A packed read therefore says of itself which
block it saw: number, timestamp and the parent's hash.

On some chains contracts see other numbers than headers bear: on Arbitrum the number and the hashes
are those of Ethereum, elsewhere no hash is known.  So the timestamp must always be right; a number
or hash must be right from the first time on that it was, and until then it says nothing.

Caveat: a state that belongs to another block than the environment it is run in is not seen so.
Anvil does that while it mines.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from eth_utils.crypto import keccak

from keeper.chain.provider import Provider
from keeper.model import BlockRef, Hash

T = TypeVar("T")

log = structlog.get_logger(__name__)

AGAIN_S: Final = (0.02, 0.1)
"""Before a node that answered from another block is asked again."""

UNKNOWN: Final = Hash("0x" + "00" * 32)
"""What a contract sees where its node knows no hash; with Anvil the keccak of the number's digits,
as after a state was loaded.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The block that a contract saw around it."""

    number: int
    timestamp: int
    parent_hash: Hash


def _unknown(place: Place) -> bool:
    made_up = "0x" + keccak(text=str(place.number - 1)).hex()
    return place.parent_hash in (UNKNOWN, made_up)


class Places:
    """Tells reads of the block asked for from others, and learns what a chain's contracts see."""

    def __init__(self) -> None:
        self._numbers_agree = False
        self._hashes_agree = False
        self._said = False

    def contradiction(self, block: BlockRef, place: Place) -> str:
        """Return why a read run at `place` is not one of `block`, or empty."""
        if place.timestamp != block.timestamp:
            return (
                f"it was run in a block {place.number:,} of the time {place.timestamp}, asked for "
                f"was block {block.number:,} of {block.timestamp}"
            )
        if place.number == block.number:
            self._numbers_agree = True
        elif self._numbers_agree:
            return f"it was run in block {place.number:,}, asked for was block {block.number:,}"
        if place.parent_hash == block.parent_hash:
            self._hashes_agree = True
        elif self._hashes_agree and not _unknown(place):
            return (
                f"it was run on top of block {place.parent_hash}, asked for was block "
                f"{block.number:,} on top of {block.parent_hash}"
            )
        if not self._said and not (self._numbers_agree and self._hashes_agree):
            self._said = True
            log.info(
                "read.half_placed",
                number=block.number,
                seen=place.number,
                reason="contracts of this chain see other block numbers or hashes than its headers "
                "bear: reads are held to their block by its timestamp",
            )
        return ""


async def placed(
    places: Places,
    node: Provider,
    block: BlockRef,
    once: Callable[[], Awaitable[tuple[Place, T]]],
) -> T:
    """Return what `once` read at `block`; a read from another block is made again.

    Raises NoAnswer, and lets the node rest, when it keeps answering from elsewhere.
    """
    why = ""
    for pause_s in (*AGAIN_S, None):
        place, results = await once()
        why = places.contradiction(block, place)
        if not why:
            return results
        log.info("read.elsewhere", node=node.name, number=block.number, reason=why)
        if pause_s is not None:
            await asyncio.sleep(pause_s)
    raise node.failed(f"answered a read from another block: {why}")
