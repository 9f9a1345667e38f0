"""Whether enough nodes have the same block: a head is followed, or followed and not acted upon.

    head -> each node's block of that number -> Agreed | Outvoted | Doubted

One node cannot be checked and is believed.  Where several are configured, a block that fewer than
`needed` of them have is watched, since people must be warned whatever happens, but nothing is sent
because of it.  A majority for another block wins over whoever announced this one.

Caveat: two nodes with the same backend are one node.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError, RpcError
from keeper.model import BlockRef
from keeper.units import Wei

log = structlog.get_logger(__name__)

BEHIND_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4)
"""How long nodes may need to hear of a block that another one has."""
VOTES_AT_ONCE: Final = 8
VOTES_MOST: Final = 64
"""On what lies between two that were voted on, each asked of every node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """Enough nodes have this block."""

    block: BlockRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Outvoted:
    """Enough nodes have another block of that number."""

    block: BlockRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubted:
    """Not enough nodes agree on any block of that number."""

    block: BlockRef
    """What to go on with."""
    reason: str
    agreed: BlockRef | None = None
    """The newest block that enough nodes do agree on, where that was asked."""


Verdict = Agreed | Outvoted | Doubted
Answers = Sequence[BlockRef | RpcError | None]


def judge(head: BlockRef, answers: Answers, needed: int) -> Verdict:
    """Judge `head` by every node's own block of its number, in the order of the configuration.

    Parent and time are voted on with number and hash, whatever came with `head`; the base fee is
    what most of those who agree state.  Without a majority, and where as many have another, the
    first node that has any block of that number is followed.
    """
    there = [answer for answer in answers if isinstance(answer, BlockRef)]
    block, count = _most(there, head)
    if count >= needed and not _tied(there):
        return Agreed(block=block) if block.hash == head.hash else Outvoted(block=block)
    votes = Counter(block.hash for block in there)
    silent = sum(isinstance(answer, RpcError) for answer in answers)
    behind = sum(answer is None for answer in answers)
    parts = [f"{votes[head.hash]} of {len(answers)} nodes have block {head.number:,} {head.hash}"]
    if len({_told(block) for block in there if block.hash == head.hash}) > 1:
        parts.append("not with one parent and time")
    if others := len(there) - votes[head.hash]:
        parts.append(f"{others} another one")
    if behind:
        parts.append(f"{behind} none of that number")
    if silent:
        parts.append(f"{silent} did not answer")
    return Doubted(block=there[0] if there else head, reason=", ".join(parts))


def alike(one: BlockRef, other: BlockRef) -> bool:
    """Whether both tell the same of what is voted on."""
    return _told(one) == _told(other)


def _told(block: BlockRef) -> tuple[int, str, str, int]:
    """What is voted on; the base fee is left out, as some nodes do."""
    return block.number, block.hash, block.parent_hash, block.timestamp


def _most(blocks: Sequence[BlockRef], otherwise: BlockRef) -> tuple[BlockRef, int]:
    """Return what is told most often, the first of equals, and how often; `otherwise` of none.

    Its base fee is the one that most of those who tell it state.
    """
    for told, count in Counter(map(_told, blocks)).most_common(1):
        same = [block for block in blocks if _told(block) == told]
        return replace(same[0], base_fee_wei=_base_fee_wei(same)), count
    return otherwise, 0


def _tied(blocks: Sequence[BlockRef]) -> bool:
    """Whether two things are told by as many, more than by anybody else."""
    counts = [count for _, count in Counter(map(_told, blocks)).most_common(2)]
    return len(counts) == 2 and counts[0] == counts[1]


def _base_fee_wei(blocks: Sequence[BlockRef]) -> Wei:
    """Return what is stated most often, whoever leaves it out; 0 where all do."""
    stated = Counter(block.base_fee_wei for block in blocks if block.base_fee_wei)
    return stated.most_common(1)[0][0] if stated else Wei(0)


def _any_block(said: Sequence[BlockRef | None], _: int) -> bool:
    return any(block is not None for block in said)


def _otherwise(block: BlockRef) -> str:
    return f"most nodes tell block {block.number:,} otherwise than it was told"


class Quorum:
    """Judges heads; remembers whether the last one was agreed on, so that changes are said."""

    def __init__(self, rpc: Rpc, needed: int) -> None:
        """`needed`: 1 believes whoever speaks."""
        self._rpc = rpc
        self.needed = needed
        self.doubt = ""
        """Why the last head is not agreed on, or empty."""
        self._without_fee = 0
        """Heads in a row that nobody had a base fee for, where there is no vote."""
        self._fee_wei = Wei(0)
        """The last base fee that was known there."""

    async def judge(
        self, head: BlockRef, holds: Callable[[BlockRef], bool] | None = None
    ) -> Verdict:
        """Ask every node for its block of that number; wait a little for those behind.

        `holds`: whether a block is ours.  A head in doubt is then outvoted by the newest block that
        enough nodes agree on, where that is not ours: who is alone is so not followed for being
        ahead.
        """
        if self.needed <= 1:
            return Agreed(block=await self._with_fee(head))
        verdict = await self._vote(head, partial(self._rpc.each_block, enough=self._enough))
        if holds is not None and isinstance(verdict, Doubted):
            agreed = await self._agreed()
            if agreed is not None and not holds(agreed):
                verdict = Outvoted(block=agreed)
            else:
                verdict = replace(verdict, agreed=agreed)
        self._say(head, verdict)
        return verdict

    async def _agreed(self) -> BlockRef | None:
        """Return the newest block that `needed` nodes reach, if as many have that very block."""
        if not self._may_catch_up:
            return None
        answers = await self._rpc.each_block("latest")
        heads = sorted(
            (answer for answer in answers if isinstance(answer, BlockRef)),
            key=lambda block: -block.number,
        )
        if len(heads) < self.needed:
            return None
        verdict = await self.canonical(heads[self.needed - 1])
        return None if isinstance(verdict, Doubted) else verdict.block

    async def newest(self) -> BlockRef:
        """Return the newest block that `needed` nodes reach; the first node's where fewer answer.

        A single node that claims to be far ahead is so not run after.  Raises RpcError when none
        answers.
        """
        if self.needed <= 1:
            return await self._rpc.block("latest")
        answers = await self._rpc.each_block("latest", enough=self._enough)
        heads = sorted(
            (answer for answer in answers if isinstance(answer, BlockRef)),
            key=lambda block: -block.number,
        )
        if len(heads) > self.needed:
            return heads[self.needed - 1]
        return heads[0] if heads else await self._rpc.block("latest")

    async def compare(self) -> None:
        """Let every node say its head, so that one which is stuck is asked after the others.

        Nothing is asked of one node, or where each head is put to the vote, which tells the same.
        """
        if self.needed <= 1 and len(self._rpc.names) > 1:
            await self._rpc.each_block("latest")

    async def canonical(self, block: BlockRef) -> Verdict:
        """Ask whether `block` is the canonical one of its number; nobody who is behind is waited
        for, and nothing is said.
        """
        if self.needed > 1:
            return judge(block, await self._rpc.each_header(block.number), self.needed)
        try:
            found = await self._rpc.block(block.number)
        except ObservationError as error:
            return Doubted(block=block, reason=str(error))
        return Agreed(block=block) if found.hash == block.hash else Outvoted(block=found)

    async def untold(self, walked: Sequence[BlockRef]) -> tuple[str, BlockRef | None]:
        """Return why what `walked` leads to is doubtful, or empty, and a header to go by instead.

        `walked`: each the parent of the one before, the first one's hash voted on.  That nodes tell
        a hash as it is makes no block canonical: they remember what was orphaned.  So the lowest is
        voted on by its number, with its parent, which is what the rest is joined to; and then
        whatever is between and does not prove itself.
        """
        if self.needed <= 1 or not walked:
            return "", None
        lowest = walked[-1]
        match await self._vote(lowest, partial(self._rpc.each_header, enough=self._enough)):
            case Agreed(block=block) if alike(block, lowest):
                return await self._between(walked[:-1])
            case Doubted(reason=reason):
                doubt = reason
            case _:
                doubt = _otherwise(lowest)
        return doubt, await self.first_otherwise(walked)

    async def _between(self, blocks: Sequence[BlockRef]) -> tuple[str, BlockRef | None]:
        """The same of `blocks`, the lowest of them built on one that is agreed on.

        A false parent may lead to a block that is real, was orphaned, and has a canonical parent.
        Whose hash proves its parent cannot do that; the others are voted on, of more than
        `VOTES_MOST` some by chance.
        """
        unproved = [block for block in blocks if not self.proves_itself(block)]
        if len(unproved) > VOTES_MOST:
            among = sorted(random.sample(range(len(unproved)), VOTES_MOST))
            unproved = [unproved[at] for at in among]
        ask = partial(self._rpc.each_header, enough=self._enough)
        for first in range(0, len(unproved), VOTES_AT_ONCE):
            some = unproved[first : first + VOTES_AT_ONCE]
            verdicts = await asyncio.gather(*(self._vote(block, ask) for block in some))
            doubt = ""
            for block, verdict in zip(some, verdicts, strict=True):
                match verdict:
                    case Agreed(block=told) if alike(told, block):
                        continue
                    case Agreed(block=other):
                        return _otherwise(block), other
                    case Outvoted():
                        doubt = doubt or _otherwise(block)
                    case Doubted(reason=reason):
                        doubt = doubt or reason
            if doubt:
                return doubt, None
        return "", None

    async def each_canonical(self, blocks: Sequence[BlockRef]) -> list[Verdict]:
        """Ask of each of `blocks` whether it is the canonical one of its number, some at a time.

        Where one of them is doubtful those after it are not asked for.
        """
        verdicts: list[Verdict] = []
        for first in range(0, len(blocks), VOTES_AT_ONCE):
            some = blocks[first : first + VOTES_AT_ONCE]
            answers = await asyncio.gather(
                *(self._rpc.each_header(block.number, enough=self._enough) for block in some)
            )
            told = zip(some, answers, strict=True)
            verdicts += [judge(block, answer, self.needed) for block, answer in told]
            if any(isinstance(verdict, Doubted) for verdict in verdicts):
                break
        return verdicts

    def proves_itself(self, block: BlockRef) -> bool:
        """Whether the hash of `block` is known to be made of a header that tells the same."""
        true = self._rpc.blooms.true(block.hash)
        return true is not None and alike(true, block)

    async def first_otherwise(self, walked: Sequence[BlockRef]) -> BlockRef | None:
        """Return what enough nodes tell of a block of `walked` that was told otherwise, or None.

        Above a header that was made up there are canonical blocks, below it there are none: it is
        found by halves.
        """
        low, high = 0, len(walked)
        found: BlockRef | None = None
        while low < high:
            middle = (low + high) // 2
            block = walked[middle]
            match await self.canonical(block):
                case Agreed(block=same) if alike(same, block):
                    low = middle + 1
                case Agreed(block=other):
                    high, found = middle, other
                case _:
                    high, found = middle, None
        return found

    async def told_otherwise(self, block: BlockRef, number: int) -> BlockRef | None:
        """Return what `needed` nodes, most of those who do not tell the same, tell of `block`.

        None where fewer do.  For a header that cannot be joined to the others, where a block of
        that number would be.
        """
        answers = await self._rpc.each_header(block.hash)
        there = [answer for answer in answers if isinstance(answer, BlockRef)]
        others = [other for other in there if other.number == number and not alike(other, block)]
        most, count = _most(others, block)
        return most if count >= self.needed else None

    def _enough(self, said: Sequence[BlockRef | None], open_: int) -> bool:
        """Whether so many tell the same that those who did not say yet cannot outvote them.

        The same base fee too: of those who agree on the block it is what most of them state.
        """
        votes = Counter((_told(block), block.base_fee_wei) for block in said if block is not None)
        [most, second, *_] = [*sorted(votes.values(), reverse=True), 0, 0]
        return most >= self.needed and most > second + open_

    async def called(self, tag: str) -> BlockRef:
        """Return the block that is called ``safe`` or ``finalized``.

        Where heads are put to the vote so is this: of what the nodes say, the highest block that
        `needed` of them have reached, if as many have that very block.  One node alone can neither
        call final what is not, nor hold up what is.  Raises ObservationError where that is not
        said, or not agreed on.
        """
        if self.needed <= 1:
            return await self._rpc.block(tag)
        answers = await self._rpc.each_header(tag)
        said = sorted(
            (answer for answer in answers if isinstance(answer, BlockRef)),
            key=lambda block: -block.number,
        )
        if len(said) < self.needed:
            raise ObservationError(
                f"{len(said)} of {len(answers)} nodes say which block is {tag}, {self.needed} are "
                "needed."
            )
        match await self.canonical(said[self.needed - 1]):
            case Agreed(block=block):
                return block
            case Outvoted(block=other):
                raise ObservationError(f"Of what is {tag} the nodes have {other.hash} instead.")
            case Doubted(reason=reason):
                raise ObservationError(f"The nodes do not agree on what is {tag}: {reason}.")

    async def _vote(self, block: BlockRef, ask: Callable[[int], Awaitable[Answers]]) -> Verdict:
        """Judge `block` by what `ask` has each node say; wait a little for those behind."""
        verdict = judge(block, await ask(block.number), self.needed)
        for pause_s in BEHIND_PAUSES_S:
            if not isinstance(verdict, Doubted) or not self._may_catch_up:
                break
            await asyncio.sleep(pause_s)
            verdict = judge(block, await ask(block.number), self.needed)
        return verdict

    async def _with_fee(self, head: BlockRef) -> BlockRef:
        """Return `head` with its base fee, which some leave out of what they push.

        Where HTTP has none either the chain may know no base fee: it is asked ever more rarely.
        Where it cannot be asked now, the last one that was known is the best guess.
        """
        if not head.base_fee_wei:
            self._without_fee += 1
            if self._without_fee.bit_count() > 1:  # not the 1st, 2nd, 4th, 8th, ... in a row
                return head
            answers = await self._rpc.each_header(head.hash, enough=_any_block)
            there = [answer for answer in answers if isinstance(answer, BlockRef)]
            if not there:
                self._without_fee = 0
                return replace(head, base_fee_wei=self._fee_wei)
            head = replace(head, base_fee_wei=_base_fee_wei(there))
        if head.base_fee_wei:
            self._without_fee = 0
        self._fee_wei = head.base_fee_wei
        return head

    @property
    def _may_catch_up(self) -> bool:
        return sum(node.alive for node in self._rpc.health) >= self.needed

    def _say(self, head: BlockRef, verdict: Verdict) -> None:
        if isinstance(verdict, Outvoted) and verdict.block.number == head.number:
            log.error(
                "quorum.outvoted", number=head.number, announced=head.hash, nodes=verdict.block.hash
            )
        doubt = verdict.reason if isinstance(verdict, Doubted) else ""
        if doubt and not self.doubt:
            log.error("quorum.lost", number=head.number, needed=self.needed, reason=doubt)
        elif self.doubt and not doubt:
            log.warning("quorum.reached", number=head.number, needed=self.needed)
        self.doubt = doubt
