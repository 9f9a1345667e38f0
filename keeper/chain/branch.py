"""The recent canonical chain as we took it, and the step from it to a new head.

Heads come late, twice, out of order, or not at all; parent hashes do not.  A step is found by
walking from the new head back to a block we hold, so a gap and a reorg are the same thing seen
from two sides.

Caveat: a head that is an ancestor of ours is no news.  A chain that only became shorter is
noticed with the first block that is built on the shorter one.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError, RpcError
from keeper.model import BlockRef, Hash

HEADERS_A_BATCH: Final = 64
SHALLOW_BLOCKS: Final = 2
"""A reorg no deeper is walked one header at a time."""
GAP_LIMIT_BLOCKS: Final = 512
"""A gap of more, not counting blocks that were announced, is a matter for the log history.

That takes a few requests for it all, following heads through it two for each block.
"""
GAP_MOST_BLOCKS: Final = 50_000
"""The same where there is no other way than to follow."""


Otherwise = Callable[[BlockRef, int], Awaitable[BlockRef | None]]
"""Tells a header as others tell it: of the same hash, with that number; None of none."""


class BranchLost(ObservationError):  # noqa: N818 - it reads as what it is
    """The node's chain cannot be joined to ours: begin again from its head."""

    walked: tuple[BlockRef, ...] = ()
    """The blocks it was tried with, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """A step of the canonical chain: undo `orphaned` (newest first), then take `adopted`."""

    orphaned: tuple[BlockRef, ...]
    adopted: tuple[BlockRef, ...]
    """Oldest first; the last one is the head."""
    received_at: float
    """Monotonic seconds at which the head reached us."""
    doubt: str = ""
    """Why nothing may be sent because of this head, or empty: too few nodes agree on it."""


@dataclass(slots=True, kw_only=True)
class _Walk:
    """What one step asked for and passed on its way."""

    announced: Mapping[Hash, BlockRef]
    otherwise: Otherwise
    fetched: dict[Hash, BlockRef] = field(default_factory=dict)
    passed: set[Hash]
    not_ours: set[Hash] = field(default_factory=set)
    """Held under another number than they have."""


class Branch:
    """A contiguous run of blocks that ends in our head, at most `memory` of them."""

    def __init__(self, rpc: Rpc, blocks: tuple[BlockRef, ...], *, memory: int) -> None:
        """`blocks`: oldest first, each the parent of the next."""
        self._rpc = rpc
        self._blocks = deque(blocks, maxlen=memory)
        self._by_hash = {block.hash: block for block in blocks[-memory:]}

    @classmethod
    async def ending_in(cls, rpc: Rpc, head: BlockRef, *, memory: int, depth: int) -> "Branch":
        """Return the branch of `head` and up to `depth` of its ancestors.

        So a reorg just after the start has something to be measured against.  Ancestors that the
        node does not know (`head` was orphaned, or the node is young) shorten the memory.
        """
        lowest = max(0, head.number - min(depth, memory - 1))
        older = await rpc.blocks(range(lowest, head.number)) if lowest < head.number else []
        blocks = [head]
        for candidate in reversed(older):
            wanted = blocks[0].parent_hash
            if candidate.hash != wanted:  # the node is on another branch by now
                try:
                    candidate = await rpc.block(wanted)  # noqa: PLW2901 - the ancestor on this branch takes its place
                except RpcError:
                    raise
                except ObservationError:
                    break
            if candidate.hash != wanted or candidate.number != blocks[0].number - 1:
                break
            blocks.insert(0, candidate)
        return cls(rpc, tuple(blocks), memory=memory)

    @property
    def head(self) -> BlockRef:
        """The block that was taken last."""
        return self._blocks[-1]

    @property
    def oldest(self) -> BlockRef:
        """The lowest block that is held."""
        return self._blocks[0]

    def between(self, low: int, high: int) -> tuple[BlockRef, ...]:
        """Return our blocks above number `low` and below `high`, oldest first."""
        return tuple(block for block in self._blocks if low < block.number < high)

    def holds(self, block: BlockRef) -> bool:
        """Whether `block` is ours already."""
        return block.hash in self._by_hash

    def knows(self, block: BlockRef) -> bool:
        """Whether `block` is ours, or older than what is remembered: of that nothing is known."""
        return block.number < self.oldest.number or self.holds(block)

    def follows(self, block: BlockRef) -> bool:
        """Whether `block` is the next one after our head."""
        return block.parent_hash == self.head.hash

    async def step_to(
        self,
        head: BlockRef,
        announced: Mapping[Hash, BlockRef],
        otherwise: Otherwise,
        gap_limit: int,
    ) -> tuple[tuple[BlockRef, ...], tuple[BlockRef, ...]]:
        """Return what is orphaned (newest first) and adopted (oldest first) to get to `head`.

        Nothing is changed; `take` does.  `announced`: headers that came by themselves and need
        not be asked for, unless they do not fit.  `otherwise`: asked about a parent that does not
        fit, and once about each header whose parent cannot be had or does not fit, for somebody
        may have made it up.  Raises BranchLost for a reorg deeper than the memory and for a gap of
        more than `gap_limit` blocks, ObservationError for headers that do not link or cannot be had
        now.
        """
        if head.number - self.head.number > gap_limit:
            raise BranchLost(
                f"Block {head.number:,} is {head.number - self.head.number:,} blocks after the "
                f"last one taken: read the history first."
            )
        adopted = [head]
        walk = _Walk(announced=announced, otherwise=otherwise, passed={head.hash})
        asked: set[Hash] = set()
        while True:
            child = adopted[-1]
            try:
                parent = await self._parent(child, walk)
            except BranchLost as error:
                error.walked = tuple(adopted)
                raise
            except RpcError:
                raise
            except ObservationError:
                other = None if child.hash in asked else await otherwise(child, child.number)
                if other is not None:
                    asked.add(child.hash)
                    adopted[-1] = other
                elif not self._holds_otherwise(child, walk):
                    raise
                continue
            if self._joins(parent, walk):
                break
            adopted.append(parent)
            walk.passed.add(parent.hash)
        orphaned = tuple(block for block in reversed(self._blocks) if block.number > parent.number)
        return orphaned, tuple(reversed(adopted))

    def _joins(self, block: BlockRef, walk: "_Walk") -> bool:
        """Whether a walk ends in `block`: it is ours, and below whatever turned out not to be."""
        if block.hash not in self._by_hash or block.hash in walk.not_ours:
            return False
        return all(self._by_hash[hash_].number > block.number for hash_ in walk.not_ours)

    def _holds_otherwise(self, child: BlockRef, walk: "_Walk") -> bool:
        """Whether what `child` is built on is held under another number, which is new to `walk`.

        One node may have told it so while it was alone.
        """
        held = self._by_hash.get(child.parent_hash)
        if held is None or held.number == child.number - 1 or held.hash in walk.not_ours:
            return False
        walk.not_ours.add(held.hash)
        return True

    async def _parent(self, child: BlockRef, walk: "_Walk") -> BlockRef:
        """Return what `child` is built on; what had to be asked for is in `walk.fetched` then."""
        wanted = child.parent_hash
        parent = None if wanted in walk.not_ours else self._by_hash.get(wanted)
        if parent is None and child.number <= self._blocks[0].number:
            raise BranchLost(
                f"The chain at block {child.number:,} shares none of the last "
                f"{len(self._blocks):,} blocks with ours: start again from its head."
            )
        if parent is None:
            parent = walk.announced.get(wanted) or walk.fetched.get(wanted)
            if parent is None:
                walk.fetched |= await self._below(child)
                parent = walk.fetched.get(wanted)
            if parent is None or not _fits(parent, child):
                parent = await self._rpc.block(wanted)
            if not _fits(parent, child):
                parent = await walk.otherwise(parent, child.number - 1) or parent
        if not _fits(parent, child):
            raise ObservationError(
                f"Block {child.number:,} names the parent {child.parent_hash}, which is block "
                f"{parent.number:,} {parent.hash}."
            )
        if parent.hash in walk.passed:
            raise ObservationError(f"Block {parent.number:,} {parent.hash} is its own ancestor.")
        return parent

    def take(self, orphaned: tuple[BlockRef, ...], adopted: tuple[BlockRef, ...]) -> None:
        """Make the step ours.  Raises BranchLost, nothing changed, for one that does not fit."""
        if orphaned != tuple(islice(reversed(self._blocks), len(orphaned))):
            raise BranchLost(
                f"Block {orphaned[0].number:,} was to be undone, our head is block "
                f"{self.head.number:,}: start again from the node's head."
            )
        for block in orphaned:
            self._blocks.pop()
            del self._by_hash[block.hash]
        for block in adopted:
            if len(self._blocks) == self._blocks.maxlen:
                del self._by_hash[self._blocks[0].hash]
            self._blocks.append(block)
            self._by_hash[block.hash] = block

    async def _below(self, child: BlockRef) -> dict[Hash, BlockRef]:
        """Return headers under `child` by number, many at once; their hashes decide later.

        Nothing where the parent alone is likely to do.
        """
        first = child.number - HEADERS_A_BATCH
        if child.number > self.head.number:  # a gap: not below what we have
            first = max(first, self.head.number + 1)
        elif child.number > self.head.number - SHALLOW_BLOCKS:
            return {}
        first = max(first, self._blocks[0].number)
        if child.number - first < 2:
            return {}
        try:
            blocks = await self._rpc.blocks(range(first, child.number))
        except ObservationError:  # one at a time by hash then
            return {}
        return {block.hash: block for block in blocks}


def _fits(parent: BlockRef, child: BlockRef) -> bool:
    """Whether `parent` is what `child` calls its parent, one block below."""
    return parent.number == child.number - 1 and parent.hash == child.parent_hash
