"""Nodes without a network: what `keeper.chain.rpc.Rpc` answers, from chains in memory.

A head is pushed by putting it into the follower's mailbox.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

from keeper.chain.bloom import Blooms
from keeper.chain.branch import Advance
from keeper.chain.finality import Finality
from keeper.chain.heads import HeadFollower
from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError, RpcError
from keeper.model import BlockRef, Hash
from tests.chain_unit.standin import Chain

NEVER_S = 3_600.0
ANSWERED_S = 5.0


class Told:
    """One node for each chain, the first of which is asked; `tags` says what each calls final."""

    expected_chain_id = None

    def __init__(self, *chains: Chain) -> None:
        self.chains = list(chains)
        self.tags: list[dict[str, int]] = [{} for _ in chains]
        self.lacks: set[int] = set()
        """Numbers that no node has an answer for."""
        self.latest: BlockRef | None = None
        """What the first node calls the latest instead of its head."""
        self.blooms = Blooms()
        self.shown: dict[Hash, BlockRef] = {}
        """What a node has told as it is."""
        self.asked: Counter[str] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"http://node{index}" for index in range(len(self.chains)))

    health: tuple[Any, ...] = ()

    def prove(self) -> None:
        """Let headers prove themselves as soon as a node told them as they are."""
        self.blooms.true = self.shown.get  # type: ignore[method-assign, assignment]

    async def block(self, at: Any = "latest") -> BlockRef:
        self.asked[f"block {at}"] += 1
        found = self._of(0, at)
        if isinstance(found, RpcError):
            raise found
        if found is None:
            raise ObservationError(f"No node knows block {at}.")
        return found

    async def blocks(self, numbers: Iterable[int]) -> list[BlockRef]:
        return [await self.block(number) for number in numbers]

    async def each_header(self, at: str | int, **_: Any) -> list[BlockRef | RpcError | None]:
        self.asked[f"each {at}"] += 1
        return [self._of(index, at) for index in range(len(self.chains))]

    each_block = each_header

    def _of(self, index: int, at: str | int) -> BlockRef | RpcError | None:
        found = self._had(index, at)
        if isinstance(found, BlockRef):
            self.shown[found.hash] = found
        return found

    def _had(self, index: int, at: str | int) -> BlockRef | RpcError | None:
        blocks = self.chains[index].blocks
        if at == "latest":
            return (None if index else self.latest) or blocks[-1]
        if at in ("safe", "finalized"):
            number = self.tags[index].get(str(at))
            return RpcError("Unknown block", code=-39001) if number is None else blocks[number]
        if isinstance(at, str):
            known = (*blocks, *self.chains[index].orphans.values())
            return next((block for block in known if block.hash == at), None)
        return blocks[at] if at < len(blocks) and at not in self.lacks else None


class Following:
    """A follower in the background and what it said."""

    def __init__(self, heads: HeadFollower, after: BlockRef | None) -> None:
        self.heads = heads
        self.said: list[Advance] = []
        self.task = asyncio.create_task(self._follow(after))

    async def _follow(self, after: BlockRef | None) -> None:
        async for advance in self.heads.follow(after):
            self.said.append(advance)

    def push(self, block: BlockRef) -> None:
        """Hand over a head as a WebSocket does."""
        self.heads._mailbox.put(block)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(ANSWERED_S):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.001)

    async def takes(self, head: BlockRef) -> None:
        """Push `head` and wait until it was taken."""
        self.push(head)
        await self.reaches(head)

    async def reaches(self, head: BlockRef) -> None:
        await self.until(lambda: self.said and self.said[-1].adopted[-1] == head)

    async def rests(self) -> None:
        """Wait until what was pushed was looked at."""
        await self.until(lambda: not self.heads._mailbox._full.is_set())
        for _ in range(100):
            await asyncio.sleep(0)

    async def ends(self) -> None:
        """Wait for the end.  Raises what ended it."""
        async with asyncio.timeout(ANSWERED_S):
            await self.task


@asynccontextmanager
async def following(
    told: Told,
    *,
    quorum: int = 1,
    poll_s: float = NEVER_S,
    block_time_s: float = 12.0,
    silence_s: float = NEVER_S,
    memory_blocks: int = 512,
    finality: Finality | None = None,
) -> AsyncIterator[Following]:
    """Follow from the first node's head; nothing is polled after the first look."""
    heads = HeadFollower(
        cast("Rpc", told),
        poll_s=poll_s,
        block_time_s=block_time_s,
        silence_s=silence_s,
        memory_blocks=memory_blocks,
        quorum=quorum,
        finality=finality,
    )
    one = Following(heads, told.chains[0].head)
    try:
        await one.until(lambda: heads._branch is not None)
        yield one
    finally:
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)
