"""New heads of one chain: every block exactly once, gaps filled, reorgs said.

    WebSocket newHeads -> mailbox -> Branch.step_to -> Advance
    HTTP ``latest``    -> mailbox

Silence is a fault: when nothing came for `silence_s` the node is asked over HTTP, and keeps being
asked; a WebSocket that was silent about a block HTTP knows is given up and replaced.  Of several
nodes all are asked then, so that one which is stuck is asked after the others.  Without a
WebSocket, and until one that is connected has brought a head, HTTP is polled.  A consumer slower
than the chain gets several blocks in one `Advance`.

Where several nodes are configured a head is put to the vote (`keeper.chain.quorum`): an `Advance`
that too few agree on bears the `doubt`, and what it took is voted on again once enough do.  A reorg
that undoes a block which was called final ends the following with `FinalityBroken`: what stood on
it must be judged by a person.  That holds for reorgs deeper than what is remembered of the chain
too (`keeper.chain.finality`).

What is pushed proves nothing of the chain: where our own head does not advance HTTP is asked, and
a head that nobody else has is left for the newest one that enough nodes agree on.

One class, though it is long: what is pushed, polled, voted on and taken is one head's way.
"""

import asyncio
import math
import time
from collections import ChainMap
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import structlog

from keeper.chain.branch import GAP_LIMIT_BLOCKS, GAP_MOST_BLOCKS, Advance, Branch, BranchLost
from keeper.chain.finality import Finality, FinalityBroken
from keeper.chain.health import NodeState
from keeper.chain.quorum import Agreed, Doubted, Outvoted, Quorum, Verdict, alike
from keeper.chain.rpc import Rpc
from keeper.chain.subscription import Announced, Mailbox, Subscription
from keeper.chain.vouched import Step, Vouched
from keeper.errors import ObservationError
from keeper.model import BlockRef, Hash

log = structlog.get_logger(__name__)

MEMORY_BLOCKS: Final = 512
"""The deepest reorg that can be said, once so many blocks were followed."""
ANCESTORS_AT_START: Final = 64
"""The same right after the start."""
TRIES_FOR_ANCESTORS: Final = 3
"""Times the blocks under the first head are asked for before it is followed without them."""
WS_GRACE_S: Final = 0.25
"""How much later than HTTP a WebSocket may bring a head."""
OUTVOTED_MOST: Final = 3
"""Heads in a row that the nodes do not have, after which who pushes them is given up."""
FINALITY_BLOCKS: Final = 8
"""Block times between looks at what is safe and final."""


class HeadFollower:
    """`ports.Heads` over a WebSocket subscription and HTTP.  One `follow` at a time."""

    def __init__(
        self,
        rpc: Rpc,
        ws_urls: Sequence[str] = (),
        *,
        block_time_s: float = 12.0,
        silence_s: float | None = None,
        poll_s: float | None = None,
        memory_blocks: int = MEMORY_BLOCKS,
        quorum: int = 1,
        finality: Finality | None = None,
    ) -> None:
        """`block_time_s`: what the chain is expected to take for a block.

        `silence_s`: when the node is asked by itself, by default after 1.5 block times.
        `poll_s`: between polls without a WebSocket, by default a third of a block time, between
        0.1 and 2 s.  `quorum`: how many nodes must have a head for it to be beyond doubt.
        `finality`: what was known to be final when the chain was followed before.
        """
        self._rpc = rpc
        self._silence_s = silence_s or max(1.0, 1.5 * block_time_s)
        self._poll_s = poll_s or min(2.0, max(0.1, block_time_s / 3))
        self._memory_blocks = memory_blocks
        self._quorum = Quorum(rpc, quorum)
        self._vouched = Vouched(self._quorum)
        self._branch: Branch | None = None
        self._finality_s = FINALITY_BLOCKS * block_time_s
        self._finality_at = -math.inf
        self.finality: Final = finality or Finality()
        """What was called final, to hand to whoever follows the chain after this one."""
        self._ws_urls = tuple(ws_urls)
        self._mailbox = Mailbox()
        self._subscription = Subscription(
            ws_urls, rpc.expected_chain_id, self._mailbox, rpc.blooms.note
        )
        self._advanced_at = time.monotonic()
        self._silences = 0
        self._outvoted = 0
        """Times in a row that the nodes had another head than was announced."""
        self._free_from = self._looked_at = -math.inf
        self._under_way = False
        """Whether a head was taken since it is followed: what came before was not announced."""
        self._came = 0
        """How many had been announced when a head was taken last."""
        self._unread = 0
        """Times in a row that no head could be asked for."""

    @property
    def silent_for_s(self) -> float:
        """Seconds since the last new head, for metrics and health."""
        return time.monotonic() - self._advanced_at

    @property
    def connected(self) -> bool:
        """Whether heads are pushed at the moment."""
        return self._subscription.connected

    @property
    def overtaken(self) -> bool:
        """Whether a head above ours has come since the last `Advance` was yielded."""
        head, branch = self._mailbox.waiting, self._branch
        if head is None or branch is None:
            return False
        return 0 < head.number - branch.head.number <= GAP_MOST_BLOCKS

    @property
    def safe(self) -> BlockRef | None:
        """The last block called safe; None where the node does not say."""
        return self.finality.safe

    @property
    def finalized(self) -> BlockRef | None:
        """The last block of our chain that was called final; None where the node does not say."""
        return self.finality.finalized

    @property
    def doubt(self) -> str:
        """Why the last head is not agreed on by enough nodes, or empty."""
        return self._quorum.doubt or self.finality.doubt

    async def newest(self) -> tuple[BlockRef, str]:
        """Return the newest block that the nodes agree on, and why it is doubtful, or empty."""
        await self._quorum.compare()
        verdict = await self._quorum.judge(await self._quorum.newest())
        return verdict.block, _doubt(verdict)

    async def doubt_about(self, block: BlockRef) -> str:
        """Return why `block` is not agreed on by enough nodes, or empty."""
        verdict = await self._quorum.judge(block)
        if isinstance(verdict, Doubted):
            return verdict.reason
        if not alike(verdict.block, block):
            return f"the others have {verdict.block.hash}"
        return self.finality.doubt

    async def prove_final(self) -> None:
        """Make sure that what was final before still is.  Raises FinalityBroken.

        Where that cannot be told there is a `doubt` until it can.
        """
        await self.finality.prove(self._quorum)

    async def check(self) -> None:
        """Ask every WebSocket URL for its chain id.  Raises ConfigError, or RpcError."""
        await self._subscription.check()

    async def follow(self, after: BlockRef | None) -> AsyncGenerator[Advance, None]:
        """Yield an `Advance` for each change of the canonical head after `after`.

        Without `after` the first one adopts the current head alone.  Close the iterator
        (`contextlib.aclosing`): tasks run behind it.  A node that is down is waited for.  Raises
        BranchLost when the node's chain cannot be joined to ours: read the history again and
        follow from there; `FinalityBroken` among them.
        """
        self._mailbox = mailbox = Mailbox()
        self._subscription = Subscription(
            self._ws_urls, self._rpc.expected_chain_id, mailbox, self._rpc.blooms.note
        )
        self._advanced_at = time.monotonic()
        self._silences = 0
        self._outvoted = 0
        self._free_from = self._looked_at = self._advanced_at
        self._branch, self._finality_at = None, -math.inf
        self._under_way, self._came = False, 0
        tasks = [asyncio.create_task(self._poll(mailbox))]
        if self._ws_urls:
            tasks.append(asyncio.create_task(self._subscription.run()))
        for task in tasks:
            task.add_done_callback(mailbox.ended)
        try:
            news = await mailbox.take()
            first, doubt = after, ""
            if first is None:
                verdict = await self._quorum.judge(news.block, lambda _: False)
                first, doubt = verdict.block, _doubt(verdict)
            self._branch = branch = await self._begin(first)
            self._vouched.begin(first)
            if after is None:
                self._free_from = math.inf
                yield Advance(
                    orphaned=(), adopted=(first,), received_at=news.received_at, doubt=doubt
                )
                self._free_from = time.monotonic()
            while True:
                advance = await self._linked(branch, news)
                if advance is not None:
                    self._under_way = True
                    self._advanced_at = time.monotonic()
                    self._silences = 0
                    self._free_from = math.inf
                    yield advance
                    self._free_from = time.monotonic()
                news = await mailbox.take()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, head: BlockRef) -> Branch:
        """Return the branch that ends in `head`: alone where its ancestors are not to be had.

        Nodes that were set back or synced from a snapshot lack headers.  What a reorg below `head`
        would undo then cannot be said, and ends the following with BranchLost.
        """
        for _ in range(TRIES_FOR_ANCESTORS):
            try:
                return await Branch.ending_in(
                    self._rpc, head, memory=self._memory_blocks, depth=ANCESTORS_AT_START
                )
            except ObservationError as error:
                log.warning("head.unlinked", number=head.number, reason=str(error))
            await asyncio.sleep(self._poll_s)
        log.warning("head.without_ancestors", number=head.number)
        return Branch(self._rpc, (head,), memory=self._memory_blocks)

    async def _linked(self, branch: Branch, news: Announced) -> Advance | None:
        """Return the step to `news`, or to what is newest by the time the node can tell."""
        while True:
            try:
                return await self._advance(branch, news)
            except BranchLost:
                raise
            except ObservationError as error:
                log.warning("head.unlinked", number=news.block.number, reason=str(error))
            await asyncio.sleep(self._poll_s)
            news = self._mailbox.newest

    async def _advance(self, branch: Branch, news: Announced) -> Advance | None:
        """Take the step to `news`, or to what the nodes agree on.  None when it is no news.

        A head that is not above ours, or cannot be joined to it, may be old or made up: what the
        nodes call the latest is judged in its place.  Only where that is lost, our branch is.
        """
        head = news.block
        if branch.holds(head):
            return None
        if head.number > branch.head.number:
            try:
                return await self._taken(branch, head, news.received_at, confirm=True)
            except FinalityBroken:
                raise
            except BranchLost as error:
                log.warning("head.unlinked", number=head.number, reason=str(error))
        latest = await self._quorum.newest()
        if latest.number < head.number <= branch.head.number:
            raise ObservationError(f"No node says yet that block {head.number:,} is the latest.")
        try:
            return await self._taken(branch, latest, news.received_at, confirm=False)
        except FinalityBroken:
            raise
        except BranchLost:
            if await self._stands(branch, latest):
                return None
            await self.finality.prove(self._quorum)
            raise

    async def _stands(self, branch: Branch, latest: BlockRef) -> bool:
        """Whether our head is canonical all the same: whoever said `latest` is behind."""
        if latest.number > branch.head.number:
            return False
        return isinstance(await self._quorum.canonical(branch.head), Agreed)

    async def _taken(
        self, branch: Branch, head: BlockRef, received_at: float, *, confirm: bool
    ) -> Advance | None:
        """Take the step to `head`, or to what the nodes agree on.  None when it is no news.

        `confirm`: where it is a reorg, only if the node has that head by now.
        """
        if branch.holds(head):
            return None
        verdict = await self._quorum.judge(head, branch.knows)
        self._count(verdict)
        head, doubt = verdict.block, _doubt(verdict)
        if branch.holds(head):
            return None
        confirm = confirm and not self._agreed(doubt)
        came = self._mailbox.came
        agreed = verdict.agreed if isinstance(verdict, Doubted) else None
        try:
            await self._vouched.as_far_as(agreed, branch)
            orphaned, adopted, unsure = await self._step(branch, head, doubt, confirm=confirm)
        except BranchLost as error:
            if not doubt:
                raise
            log.error("head.refused", number=head.number, reason=str(error), doubt=doubt)  # noqa: TRY400 - the reason says it all
            return None
        if not adopted:
            return None
        if agreed is not None and any(block.hash == agreed.hash for block in orphaned):
            reason = f"It would undo block {agreed.number:,}, which enough nodes agree on."
            log.error("head.refused", number=head.number, reason=reason, doubt=doubt)
            return None
        headers = self._mailbox.headers
        missed = [block for block in adopted[:-1] if block.hash not in headers]
        if orphaned:
            log.warning(
                "head.reorg",
                depth=len(orphaned),
                orphaned=orphaned[0].hash,
                adopted=adopted[-1].hash,
                number=adopted[-1].number,
            )
        elif missed:
            log.info("head.gap_filled", blocks=len(missed), number=adopted[-1].number)
        branch.take(orphaned, adopted)
        self._vouched.took(adopted, doubt or unsure)
        self._came = came
        if self.finality.doubt:  # with this head it may be told
            await self.finality.prove(self._quorum)
        return Advance(
            orphaned=orphaned,
            adopted=adopted,
            received_at=received_at,
            doubt=doubt or unsure or self.finality.doubt,
        )

    def _gap_limit(self, doubt: str) -> int:
        """Return how many blocks are followed before history is read instead.

        In doubt no chain is lost, and what is missed during a long beginning would be again.
        """
        if doubt or not self._under_way:
            return GAP_MOST_BLOCKS
        return GAP_LIMIT_BLOCKS + self._mailbox.came - self._came

    async def _step(self, branch: Branch, head: BlockRef, doubt: str, *, confirm: bool) -> Step:
        """Return what is orphaned and adopted, and why that is doubtful, or empty.

        `doubt`: about `head` itself.  Nothing is adopted to stay where we are.
        """
        limit = self._gap_limit(doubt)
        orphaned, adopted, unsure = await self._joined(branch, head, limit)
        if orphaned and confirm:
            confirmed = await self._confirmed(branch, head)
            if confirmed is None:
                return (), (), ""
            if confirmed != head:
                orphaned, adopted, unsure = await self._joined(branch, confirmed, limit)
        try:
            self.finality.check(orphaned, adopted)
        except FinalityBroken as error:
            if unsure:  # one node's word is not enough for that
                raise ObservationError(f"{error} But {unsure}.") from error
            raise
        if doubt or unsure:
            return orphaned, adopted, unsure
        undone, told, unsure = await self._vouched.made_good(branch, adopted)
        orphaned, adopted = (*orphaned, *undone), (*told, *adopted)
        self.finality.check(orphaned, adopted)
        return orphaned, adopted, unsure

    async def _joined(self, branch: Branch, head: BlockRef, gap_limit: int) -> Step:
        """Return the step to `head`, and why it is doubtful, or empty.

        Hashes tie the blocks to the head that was voted on, but what a block is built on may be one
        node's word: it could hide a reorg, or make one up.  So the lowest of them is voted on too,
        and where it is not the canonical one, the header that was made up is looked for.
        """
        quorum, voted = self._quorum, dict[Hash, BlockRef]()
        while True:
            lost: BranchLost | None = None
            try:
                announced = ChainMap(voted, self._mailbox.headers)
                orphaned, adopted = await branch.step_to(
                    head, announced, quorum.told_otherwise, gap_limit
                )
                walked = adopted[::-1]
            except BranchLost as error:
                lost, orphaned, adopted, walked = error, (), (), error.walked
            below = tuple(block for block in walked if block != head)
            doubt, other = await quorum.untold(below)
            if other is not None and other.hash not in voted:
                log.error("head.retold", number=other.number, parent=other.parent_hash)
                voted[other.hash] = other
                continue
            if lost is not None:
                raise lost
            return orphaned, adopted, doubt

    def _agreed(self, doubt: str) -> bool:
        return self._quorum.needed > 1 and not doubt

    def _count(self, verdict: Verdict) -> None:
        """Give the socket up whose heads are outvoted: once may be a reorg.

        One that pushed what the nodes agree on is only ahead of them.
        """
        headers = self._mailbox.headers
        outvoted = isinstance(verdict, Outvoted) and verdict.block.hash not in headers
        self._outvoted = self._outvoted + 1 if outvoted else 0
        if self._outvoted >= OUTVOTED_MOST:
            self._outvoted = 0
            self._subscription.drop("pushes what the other nodes do not have")

    async def _confirmed(self, branch: Branch, head: BlockRef) -> BlockRef | None:
        """Return the head to take for one that is not built on ours; None to stay where we are.

        A message about a block that was orphaned meanwhile would make a reorg and undo it again.
        A node that is behind `head` cannot contradict it.
        """
        latest = await self._rpc.block("latest")
        if latest.hash == head.hash or latest.number < head.number:
            return head
        return None if branch.holds(latest) else latest

    @property
    def _waiting_for_s(self) -> float:
        """Seconds in which no head could be taken and none was asked for, whatever was pushed.

        Below zero while whoever follows is busy with one.
        """
        return time.monotonic() - max(self._free_from, self._looked_at)

    async def _poll(self, mailbox: Mailbox) -> None:
        """Ask for the head: in silence, and always until a WebSocket has brought one."""
        subscription = self._subscription
        while True:
            quiet_for_s = max(mailbox.quiet_for_s, self._waiting_for_s)
            if not subscription.pushing or quiet_for_s >= self._silence_s:
                try:
                    if self.silent_for_s >= self._silence_s:
                        await self._quorum.compare()
                    await self._ask(mailbox, subscription)
                    self._unread = 0
                except ObservationError as error:
                    self._unread += 1
                    if self._unread.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ... in a row
                        log.warning("head.unread", reason=str(error), times=self._unread)
            await self._now_and_then()
            if self.silent_for_s >= self._silence_s * 2**self._silences:
                self._silences += 1
                log.warning("head.silent", silent_s=round(self.silent_for_s, 1))
            await asyncio.sleep(self._poll_s)

    async def _ask(self, mailbox: Mailbox, subscription: Subscription) -> None:
        pushed = subscription.pushing or subscription.mute_for_s >= self._silence_s
        block = await self._quorum.newest()
        if self._branch is not None and self._branch.holds(block):
            self._looked_at = time.monotonic()
        if mailbox.ends_in(block):
            mailbox.touch()
            return
        if pushed and block.hash not in mailbox.headers:
            await asyncio.sleep(WS_GRACE_S)
            if block.hash in mailbox.headers:
                return
            log.warning("ws.silent", number=block.number)
            subscription.drop("silent while blocks were made")
        mailbox.put(block)

    async def _now_and_then(self) -> None:
        """Ask what is final: as soon as there is a branch, then every `FINALITY_BLOCKS`.

        So often a node that was behind may have caught up, too.
        """
        waited_s = time.monotonic() - self._finality_at
        if self._branch is None or (waited_s < self._finality_s and not self.finality.doubt):
            return
        self._finality_at = time.monotonic()
        if any(node.state is NodeState.LAGGING for node in self._rpc.health):
            await self._quorum.compare()
        await self.finality.learn(self._quorum, self._branch)


def _doubt(verdict: Verdict) -> str:
    """Return why a head is doubtful, or empty."""
    return verdict.reason if isinstance(verdict, Doubted) else ""
