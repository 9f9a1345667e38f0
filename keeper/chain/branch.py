"""The recent canonical chain as we took it, and the step from it to a new head.

Heads come late, twice, out of order, or not at all; parent hashes do not.  A step is found by
walking from the new head back to a block we hold, so a gap and a reorg are the same thing seen
from two sides.  Each header on the way is vouched for before what it calls its parent is followed:
to remember a block that was orphaned is no lie, so a false parent may lead to one that is real.

Caveat: a head that is an ancestor of ours is no news.  A chain that only became shorter is
noticed with the first block that is built on the shorter one.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from keeper.chain.quorum import Doubted, Outvoted, Quorum
from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError, RpcError
from keeper.model import BlockRef, Hash

HEADERS_A_BATCH: Final = 64
SHALLOW_BLOCKS: Final = 2
"""A reorg no deeper is walked one header at a time."""
GAP_LIMIT_BLOCKS: Final = 512
"""A gap of more that were not announced is a matter for the log history: a few requests for it all.

Following heads through it takes two for each block.  Not much less than this, or a first pass that
is slow on a chain that is fast would never be reached.
"""


class BranchLost(ObservationError):  # noqa: N818 - it reads as what it is
    """The node's chain cannot be joined to ours: begin again from its head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What leads from our head to another: as in `Advance`, and how sure that is."""

    orphaned: tuple[BlockRef, ...]
    adopted: tuple[BlockRef, ...]
    unsure: tuple[BlockRef, ...] = ()
    """What of it is below the first that nobody vouches for, newest first, and that one."""
    doubt: str = ""
    """Why nobody does, or empty."""


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
        self, head: BlockRef, announced: Mapping[Hash, BlockRef], quorum: Quorum
    ) -> Step:
        """Return what is orphaned and adopted to get to `head`, which was judged before.

        Nothing is changed; `take` does.  `announced`: headers that came by themselves and need
        not be asked for, unless they do not fit.  `quorum` vouches for each block below `head`, as
        far as it can.  It is asked about a parent that does not fit, and once about each header
        whose parent cannot be had or does not fit, for somebody may have made it up.  Raises
        BranchLost for a reorg deeper than the memory and for a gap that is too wide,
        ObservationError for headers that do not link or cannot be had now, and where a chain is
        lost by a header that nobody vouches for.
        """
        gap = head.number - self.head.number
        if gap > GAP_LIMIT_BLOCKS:
            gap -= sum(
                self.head.number < block.number <= head.number for block in announced.values()
            )
        if gap > GAP_LIMIT_BLOCKS:
            raise BranchLost(
                f"Block {head.number:,} is {head.number - self.head.number:,} blocks after the "
                f"last one taken: read the history first."
            )
        adopted, unsure, doubt = [head], list[BlockRef](), ""
        fetched: dict[Hash, BlockRef] = {}
        while True:
            try:
                parent = await self._below_last(adopted, announced, fetched, quorum)
            except BranchLost as error:
                if doubt:
                    raise ObservationError(f"{error} But {doubt}.") from error
                raise
            if parent.hash in self._by_hash:
                break
            if not doubt:
                parent, doubt = await _vouched(parent, quorum)
            if doubt:
                unsure.append(parent)
            adopted.append(parent)
        return Step(
            orphaned=tuple(b for b in reversed(self._blocks) if b.number > parent.number),
            adopted=tuple(reversed(adopted)),
            unsure=tuple(unsure),
            doubt=doubt,
        )

    async def _below_last(
        self,
        adopted: list[BlockRef],
        announced: Mapping[Hash, BlockRef],
        fetched: dict[Hash, BlockRef],
        quorum: Quorum,
    ) -> BlockRef:
        """Return what the last of `adopted` is built on.

        Where that is not to be had, the last is replaced by what enough others tell of it, once.
        """
        try:
            return await self._parent(adopted[-1], announced, fetched, quorum)
        except (BranchLost, RpcError):
            raise
        except ObservationError:
            other = await quorum.told_otherwise(adopted[-1], adopted[-1].number)
            if other is None:
                raise
            adopted[-1] = other
        return await self._parent(other, announced, fetched, quorum)

    async def _parent(
        self,
        child: BlockRef,
        announced: Mapping[Hash, BlockRef],
        fetched: dict[Hash, BlockRef],
        quorum: Quorum,
    ) -> BlockRef:
        """Return what `child` is built on; what had to be asked for is in `fetched` then."""
        wanted = child.parent_hash
        parent = self._by_hash.get(wanted)
        if parent is None and child.number <= self._blocks[0].number:
            raise BranchLost(
                f"The chain at block {child.number:,} shares none of the last "
                f"{len(self._blocks):,} blocks with ours: start again from its head."
            )
        if parent is None:
            parent = announced.get(wanted) or fetched.get(wanted)
            if parent is None:
                fetched |= await self._below(child)
                parent = fetched.get(wanted)
            if parent is None or not _fits(parent, child):
                parent = await self._rpc.block(wanted)
            if not _fits(parent, child):
                parent = await quorum.told_otherwise(parent, child.number - 1) or parent
        if not _fits(parent, child):
            raise ObservationError(
                f"Block {child.number:,} names the parent {child.parent_hash}, which is block "
                f"{parent.number:,} {parent.hash}."
            )
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


async def _vouched(block: BlockRef, quorum: Quorum) -> tuple[BlockRef, str]:
    """Return `block` as enough nodes tell it, and why it is doubtful, or empty."""
    verdict = await quorum.vouched(block)
    match verdict:
        case Doubted(reason=reason):
            return block, reason
        case Outvoted():
            return block, f"enough nodes have another block {block.number:,}"
    return verdict.block, ""


def _fits(parent: BlockRef, child: BlockRef) -> bool:
    """Whether `parent` is what `child` calls its parent, one block below."""
    return parent.number == child.number - 1 and parent.hash == child.parent_hash
