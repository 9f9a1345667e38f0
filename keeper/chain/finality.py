"""What the nodes call safe and final, and whether the last final block still stands.

A final block is remembered by number and hash, also far below the blocks that are held, and over
a reopening of the chain: a reorg deeper than anybody's memory is told from one that undid it.

Caveat: below what is held, a block is believed to be an ancestor of ours when the nodes have both
it and our oldest block at their numbers.  A restart of the process forgets.
"""

from collections.abc import Sequence

import structlog

from keeper.chain.branch import Branch, BranchLost
from keeper.chain.quorum import Agreed, Doubted, Outvoted, Quorum
from keeper.errors import ObservationError
from keeper.model import BlockRef

log = structlog.get_logger(__name__)


class FinalityBroken(BranchLost):
    """A block that a node called final is not canonical any more."""


class Finality:
    """The last final block of one chain, kept for as long as the process lives."""

    def __init__(self) -> None:
        self.safe: BlockRef | None = None
        """The last block called safe; None where the node does not say."""
        self.finalized: BlockRef | None = None
        """The last block that was called final, ours or below ours; None where nobody says."""
        self.doubt = ""
        """Why nobody can say whether it still stands, or empty: nothing may be sent meanwhile."""

    def forget(self) -> None:
        """Know nothing any more: what was known has been undone, and that was said."""
        self.safe = self.finalized = None
        self.doubt = ""

    def check(self, orphaned: Sequence[BlockRef], adopted: Sequence[BlockRef]) -> None:
        """Raise FinalityBroken where the last final block is among what a step undoes.

        One that is taken again stands: it was told with a false parent or time.
        """
        final = self.finalized
        if final is None or any(block.hash == final.hash for block in adopted):
            return
        if any(block.hash == final.hash for block in orphaned):
            raise FinalityBroken(
                f"Block {final.number:,} {final.hash} was final and is not canonical any more: "
                f"{len(orphaned)} blocks were undone up to {adopted[-1].number:,}."
            )

    async def prove(self, quorum: Quorum) -> None:
        """Ask whether the last final block still stands: for when no branch of ours can tell.

        Raises FinalityBroken where it does not.  Where that cannot be told, `doubt` says why.
        """
        final = self.finalized
        if final is None:
            return
        match await quorum.canonical(final):
            case Outvoted(block=other):
                raise FinalityBroken(
                    f"Block {final.number:,} {final.hash} was final and is not canonical any more: "
                    f"that block is {other.hash} now."
                )
            case Doubted(reason=reason):
                if not self.doubt:
                    log.error("finality.unproven", number=final.number, reason=reason)
                self.doubt = (
                    f"whether block {final.number:,}, which was final, still stands cannot be "
                    f"told: {reason}"
                )
            case Agreed():
                if self.doubt:
                    log.warning("finality.proven", number=final.number)
                self.doubt = ""

    async def learn(self, quorum: Quorum, branch: Branch) -> None:
        """Ask what is safe and final; where nobody says, what was known stays.

        Raises FinalityBroken where the last final block turns out to be undone.
        """
        if self.doubt:
            await self.prove(quorum)
            if self.doubt:  # what is final by now may be so on another chain
                return
        try:
            self.safe = await quorum.called("safe")
        except ObservationError as error:
            log.debug("head.finality_unknown", tag="safe", reason=str(error))
        try:
            final = await quorum.called("finalized")
            if await self._ours(final, quorum, branch):
                self.finalized = final
        except ObservationError as error:
            log.debug("head.finality_unknown", tag="finalized", reason=str(error))

    async def _ours(self, final: BlockRef, quorum: Quorum, branch: Branch) -> bool:
        """Whether `final` is news, and on our branch as far as can be known.

        Another one belongs to a reorg on its way, or to a node that is behind.
        """
        if self.finalized is not None and final.number <= self.finalized.number:
            return False
        if final.number >= branch.oldest.number:
            return branch.holds(final)
        oldest = branch.oldest
        for block in (final, oldest):
            if not isinstance(await quorum.canonical(block), Agreed):
                return False
        return branch.oldest.number >= oldest.number
