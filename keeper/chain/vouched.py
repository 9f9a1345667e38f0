"""Up to which block our branch is what enough nodes agree on, and what becomes of the rest.

Where too few agree on a head, what one node tells is followed: nothing is sent because of it, but
it stays in our branch, and a block may have been made up, or be a true one with a false parent or
time.  So once enough nodes agree again each of those blocks is voted on by its number, and what is
told otherwise is undone.  Nobody's word leads from one to the next, and what is asked has a bound:
one node that lies can make that take longer, not go wrong.
"""

from collections.abc import Sequence
from itertools import pairwise

import structlog

from keeper.chain.branch import Branch, BranchLost
from keeper.chain.quorum import VOTES_MOST, Agreed, Doubted, Quorum, alike
from keeper.model import BlockRef

log = structlog.get_logger(__name__)

Step = tuple[tuple[BlockRef, ...], tuple[BlockRef, ...], str]
"""What is undone (newest first), what is taken (oldest first), why that is doubtful, or empty."""


class Vouched:
    """What of one branch enough nodes vouched for."""

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum
        self._up_to: int | None = None
        """The number of the last block of which that is known; None where it is so of all."""
        self._began_at = 0
        """The number of the block that the branch was followed from."""

    def begin(self, first: BlockRef) -> None:
        """Forget the last branch: of the new one nothing is known, `first` included."""
        self._began_at = first.number
        self._up_to = first.number - 1 if self._quorum.needed > 1 else None

    def took(self, adopted: Sequence[BlockRef], doubt: str) -> None:
        """Note that a step was taken, in doubt or, after all below was `made_good`, beyond it."""
        if not doubt:
            self._up_to = None
        elif self._up_to is None or self._up_to >= adopted[0].number:
            self._up_to = adopted[0].number - 1

    async def as_far_as(self, agreed: BlockRef | None, branch: Branch) -> None:
        """Vote on what is not vouched for up to `agreed`, if that is one of ours.

        So it goes on where nodes are only behind, in doubt though the head is.
        """
        if agreed is None or self._up_to is None or not branch.holds(agreed):
            return
        if self._reaches(branch, self._up_to):
            await self._vote(branch.between(self._up_to, agreed.number + 1))

    async def made_good(self, branch: Branch, adopted: Sequence[BlockRef]) -> Step:
        """Return what below `adopted` is undone and taken in its place, and why there is doubt.

        `adopted`: what is about to be taken, beyond doubt.  What leads to it and proves itself is
        vouched for by it; of the rest `VOTES_MOST` blocks are voted on at once, the others at the
        next heads.  Raises BranchLost where nothing that is held is vouched for any more, or more
        than that stands on a block that was made up.
        """
        if self._up_to is None:
            return (), (), ""
        if not self._reaches(branch, self._up_to):
            raise BranchLost(
                f"All blocks that are held, from {branch.oldest.number:,} on, were taken in doubt: "
                f"read the history again."
            )
        proved = self._proved(branch.between(self._up_to, adopted[0].number))
        end = adopted[0].number - len(proved)
        told, why = await self._vote(branch.between(self._up_to, end))
        held = branch.between(self._up_to, end)
        if why:
            return (), (), f"what was taken in doubt is not agreed on: {why}"
        if not held:
            return (), (), ""
        if not told or len(told) < len(held) <= VOTES_MOST:
            return (), (), f"blocks taken in doubt that are still to be voted on: {len(held):,}"
        if len(told) < len(held):
            raise BranchLost(
                f"Block {held[0].number:,} is not the one that was taken in doubt, and "
                f"{len(held) - 1:,} stand on it: read the history again."
            )
        below = branch.between(self._up_to - 1, self._up_to + 1)
        chain = (*below, *told, *proved, adopted[0])
        broken = [child for parent, child in pairwise(chain) if child.parent_hash != parent.hash]
        if broken:
            if broken[0] == told[0]:  # nor is what it was taken on
                self._up_to -= VOTES_MOST
            return (), (), f"block {broken[0].number:,} is built on another one than is held"
        log.error("head.made_good", number=told[0].number, blocks=len(told))
        return (*held, *proved)[::-1], (*told, *proved), ""

    def _reaches(self, branch: Branch, up_to: int) -> bool:
        """Whether what is vouched for is held still, or nothing was before what was taken first."""
        oldest = branch.oldest.number
        return up_to >= oldest or up_to + 1 == oldest == self._began_at

    def _proved(self, held: Sequence[BlockRef]) -> Sequence[BlockRef]:
        """Return the uppermost of `held` that prove themselves, and so what each is built on."""
        lowest = len(held)
        while lowest and self._quorum.proves_itself(held[lowest - 1]):
            lowest -= 1
        return held[lowest:]

    async def _vote(self, held: Sequence[BlockRef]) -> tuple[tuple[BlockRef, ...], str]:
        """Vote on the lowest of `held`, and note up to which they are vouched for.

        Return what the nodes have from the first on that is another one, and why that is doubtful.
        """
        verdicts = await self._quorum.each_canonical(held[:VOTES_MOST])
        for at, (block, verdict) in enumerate(zip(held, verdicts, strict=False)):
            if isinstance(verdict, Agreed) and alike(verdict.block, block):
                self._up_to = block.number
                continue
            doubts = [one.reason for one in verdicts[at:] if isinstance(one, Doubted)]
            return tuple(one.block for one in verdicts[at:]), "".join(doubts[:1])
        return (), ""
