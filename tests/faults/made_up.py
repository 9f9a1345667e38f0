"""Headers as a node tells them that makes them up, and blocks that lost.

A block that lost is real: it proves itself, has a canonical parent, and every node still tells it
by its hash, as nodes do.  It is only not canonical, which its hash does not say.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from tests.chain_unit.standin import sealed

Ask = Callable[..., Awaitable[Any]]
"""Asks the node behind: method and parameters, its result."""

HEADERS: Final = frozenset({"eth_getBlockByNumber", "eth_getBlockByHash"})


class Tale(StrEnum):
    """What is not so in a header."""

    LOST_PARENT = "a parent that lost"
    NO_PARENT = "a parent that nobody has"
    TIME = "another time"
    NO_BLOOM = "no bloom"
    HASH = "a hash that nobody has"
    LOST = "a block that lost"


@dataclass(slots=True)
class Lost:
    """The blocks that lost, as all nodes remember them."""

    by_hash: dict[str, dict[str, Any]] = field(default_factory=dict)

    def beside(self, header: dict[str, Any]) -> dict[str, Any]:
        """Return one that lost to the block of `header`: of the same parent, without logs."""
        bloomless = {"logsBloom": "0x" + "00" * 256, "extraData": "0x1057", "transactions": []}
        lost = sealed({**header, **bloomless})
        self.by_hash[lost["hash"]] = lost
        return lost


async def made_up(
    header: dict[str, Any], lost: Lost, ask: Ask, chance: random.Random
) -> tuple[Tale, dict[str, Any]]:
    """Return `header` with one thing in it that is not so, and which."""
    tale: Tale = chance.choice((Tale.LOST_PARENT, *Tale))
    match tale:
        case Tale.LOST_PARENT:
            parent = await ask("eth_getBlockByHash", header["parentHash"], False)
            if parent is None:  # itself one that lost, or the first
                return Tale.NO_PARENT, {**header, "parentHash": _nobodys(chance)}
            return tale, {**header, "parentHash": lost.beside(parent)["hash"]}
        case Tale.NO_PARENT:
            return tale, {**header, "parentHash": _nobodys(chance)}
        case Tale.TIME:
            later_s = chance.randint(1, 10_000)
            return tale, {**header, "timestamp": hex(int(header["timestamp"], 16) + later_s)}
        case Tale.NO_BLOOM:
            return tale, {**header, "logsBloom": "0x" + "00" * 256}
        case Tale.HASH:
            return tale, {**header, "hash": _nobodys(chance)}
        case Tale.LOST:
            return tale, lost.beside(header)


def _nobodys(chance: random.Random) -> str:
    return "0x" + chance.randbytes(32).hex()
