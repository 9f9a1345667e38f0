"""What a block's header says of its logs: enough to notice that some were left out.

Source: Ethereum yellow paper, 4.3.1: 2,048 bits; address and topics of each log set three of them,
taken from the first six bytes of their keccak.

A log that the bloom does not have is a contradiction.  A bloom that has an address and a topic of
which no log came is a suspicion: strong in a sparse bloom, worth nothing in a full one, so it is
weighed by how likely a block of that fullness says so by chance.

A bloom is one node's word until its header is shown to hash to the block's hash
(`keeper.chain.sealed`), which nodes agree on.  Only one that is proved so refuses a log; any other
makes suspicious, which costs a look and never a log.  Where nodes have different blooms for one
hash, the one that is proved counts; where none is, the block's bloom is unknown, and that is a
suspicion too.  The proof costs as much as reading several headers, so it is made when something
depends on it.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import structlog
from eth_utils.crypto import keccak

from keeper.chain import wire
from keeper.chain.sealed import is_sealed, kept
from keeper.errors import BadAnswer
from keeper.model import BlockRef, Hash, Log, LogFilter

log = structlog.get_logger(__name__)

BLOOM_BYTES: Final = 256
BITS: Final = 2_048
BY_CHANCE: Final = 0.02
"""A suspicion is raised where chance would have it this rarely."""
REMEMBERED: Final = 1_024


@dataclass(slots=True)
class _Said:
    """What was said of one block's logs."""

    header: wire.Header
    bloom: int
    sealed: bool | None = None
    """None until somebody had to know."""
    disputed: bool = False
    told: bool = False
    """Whether it was logged that nodes differ."""
    true: BlockRef | None = None
    """What a sealed header says, once somebody asked."""


class Blooms:
    """Blooms of recent headers, by the block's hash.

    Some chains leave every bloom empty.  So an empty one says nothing until one was seen that has
    something in it.
    """

    def __init__(self) -> None:
        self._by_hash: OrderedDict[Hash, _Said] = OrderedDict()
        self._filled = False

    def note(self, header: wire.Header) -> None:
        """Remember what `header` says, if it says it; one of a wrong size says nothing."""
        text = header.logs_bloom
        if text is None or len(text) != 2 + 2 * BLOOM_BYTES:
            return
        hash_ = wire.hash32(header.hash, "the block's hash")
        known = self._by_hash.get(hash_)
        header = kept(header)
        if known is not None and header == known.header:
            return
        try:
            bloom = int.from_bytes(wire.octets(text, "a block's logsBloom"), "big")
        except BadAnswer:
            return
        if known is not None:
            self._settle(known, _Said(header, bloom))
            return
        self._by_hash[hash_] = _Said(header, bloom)
        self._filled = self._filled or bloom != 0
        while len(self._by_hash) > REMEMBERED:
            self._by_hash.popitem(last=False)

    def _settle(self, known: _Said, other: _Said) -> None:
        """Let the one of two headers count that is proved."""
        differ = known.bloom != other.bloom
        if not _is_sealed(known):
            if _is_sealed(other):
                known.header, known.bloom = other.header, other.bloom
                known.sealed, known.disputed = True, False
                self._filled = self._filled or other.bloom != 0
            else:
                known.disputed = known.disputed or differ
        if differ and not known.told:
            known.told = True
            log.warning("header.disputed", block=known.header.hash, settled=not known.disputed)

    def of(self, block: Hash) -> int | None:
        """Return the bloom of `block`, or None where no header of it said anything for sure."""
        said = self._by_hash.get(block)
        if said is None or said.disputed:
            return None
        return said.bloom if self._filled else said.bloom or None

    def disputed(self, block: Hash) -> bool:
        """Whether there are several for `block`, and none of them is proved."""
        said = self._by_hash.get(block)
        return said is not None and said.disputed

    def true(self, block: Hash) -> BlockRef | None:
        """Return the block of this hash as the hash proves it; None where no header did that."""
        said = self._by_hash.get(block)
        if said is None or not _is_sealed(said):
            return None
        if said.true is None:
            said.true = wire.block_ref(said.header)
        return said.true

    def refuses(self, block: Hash, logs: Sequence[Log]) -> str:
        """Return why `logs` cannot be of `block`, proved by its hash, or empty."""
        bloom = self.of(block)
        if bloom is None:
            return ""
        why = contradiction(bloom, logs)
        return why if why and _is_sealed(self._by_hash[block]) else ""


def _is_sealed(said: _Said) -> bool:
    if said.sealed is None:
        said.sealed = is_sealed(said.header)
    return said.sealed


@lru_cache(maxsize=8_192)
def bits(item: str) -> int:
    """Return the three bits of an address or topic, both ``0x`` hex."""
    digest = keccak(bytes.fromhex(item[2:]))
    found = 0
    for at in (0, 2, 4):
        found |= 1 << (int.from_bytes(digest[at : at + 2], "big") % BITS)
    return found


def has(bloom: int, item: str) -> bool:
    """Whether `bloom` may have `item`; False is certain."""
    wanted = bits(item)
    return bloom & wanted == wanted


def contradiction(bloom: int, logs: Sequence[Log]) -> str:
    """Return why `logs` cannot be of the block with this bloom, or empty."""
    for one in logs:
        for item in (one.address, *one.topics):
            if not has(bloom, item):
                return f"log {one.log_index} of {one.address} is not in the block's bloom"
    return ""


def suspicion(bloom: int, wanted: LogFilter, logs: Sequence[Log]) -> str:
    """Return why logs of `wanted` may be missing from `logs`, or empty.

    Each address of which nothing came is looked for; how many of them a bloom so full has by chance
    is binomial, and only a number that is rarer than `BY_CHANCE` counts.
    """
    came = {one.address for one in logs}
    absent = [address for address in wanted.addresses if address not in came]
    topics = wanted.topics0
    if not absent or (topics and not any(has(bloom, topic) for topic in topics)):
        return ""
    missing = [address for address in absent if has(bloom, address)]
    by_chance = (bloom.bit_count() / BITS) ** 3
    if not missing or at_least(len(missing), len(absent), by_chance) > BY_CHANCE:
        return ""
    return f"the block's bloom has {missing[0]} and {len(missing) - 1} more, no log of them came"


def at_least(count: int, trials: int, chance: float) -> float:
    """Return how likely `count` or more of `trials` happen, each with `chance`."""
    if chance >= 1:
        return 1.0
    fewer = math.fsum(
        math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(count)
    )
    return max(0.0, 1.0 - fewer)
