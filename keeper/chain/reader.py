"""Packed reads: what several `Steps` want to know of one block, in as few eth_calls as fit.

    batches of all steps -> merged, equal calls once -> chunks -> a node -> results back in order

All calls of one `run` are pinned to the block's hash.  A typical block is one eth_call.  A contract
that reverts, loops or answers megabytes costs its own call (`Failed`); a node that refuses a chunk
gets half of it, one that refuses the lens is asked in another way (`keeper.chain.ways`); a node
that cannot answer the block at all fails the whole run.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

import structlog

from keeper.chain import lens
from keeper.chain.lens import Shares
from keeper.chain.provider import NoAnswer, Provider
from keeper.chain.rpc import Rpc, malformed
from keeper.chain.ways import Way, Ways
from keeper.errors import BadAnswer, KeeperError, ObservationError, RpcError
from keeper.model import BlockRef, Call, CallResult, Failed
from keeper.ports import Steps

T = TypeVar("T")

log = structlog.get_logger(__name__)

MOST_CALLS: Final = 700
"""Of one packed read; Aave reads of 15,000 to 40,000 gas fit 30 million so."""
BEHIND_PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8)
"""How long a node may be behind the head that another backend announced."""
BEHIND_MOST: Final = 3
"""How often a chunk waits for a node that is behind before its size is blamed."""
GROW_AFTER: Final = 64
"""Good reads after which a shrunk chunk may grow again."""


class LensReader:
    """`ports.Reader` over the deployless lens, or whatever a node allows instead."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        shares: Shares = Shares(),  # noqa: B008 - frozen
        most_calls: int = MOST_CALLS,
        concurrency: int = 4,
    ) -> None:
        """`concurrency`: packed reads in flight at once."""
        self._rpc = rpc
        self._shares = shares
        self._most_calls = most_calls
        self._fitting = most_calls
        self._good = 0
        self._slots = asyncio.Semaphore(concurrency)
        self._ways = Ways(shares, rpc.expected_chain_id)

    @property
    def ways(self) -> dict[str, Way]:
        """How each node is read that was read at all, by its name."""
        return self._ways.by_node

    async def run(self, steps: Steps[T], block: BlockRef) -> T:
        """Drive `steps` to its end, every call pinned to ``block.hash``.

        Raises what `steps` raises, and ObservationError when the node cannot answer.
        """
        [outcome] = await self.run_all_settled([steps], block)
        if isinstance(outcome, KeeperError):
            raise outcome
        return outcome

    async def run_all(self, steps: Sequence[Steps[T]], block: BlockRef) -> list[T]:
        """The same for several at once, their batches merged into common packed reads.

        All are driven to their end; then the first error is raised, if there was one.
        """
        results: list[T] = []
        for outcome in await self.run_all_settled(steps, block):
            if isinstance(outcome, KeeperError):
                raise outcome
            results.append(outcome)
        return results

    async def run_all_settled(
        self, steps: Sequence[Steps[T]], block: BlockRef
    ) -> list[T | KeeperError]:
        """The same, with the error of each that raised in its place: one costs itself only.

        A decoder that stumbles over an answer (ValueError, LookupError, ArithmeticError) becomes
        `BadAnswer`.  Raises ObservationError, for all, when the node cannot answer.
        """
        outcomes: list[T | KeeperError | None] = [None] * len(steps)
        batches: dict[int, tuple[Call, ...]] = {}

        def advance(index: int, results: tuple[CallResult, ...] | None) -> None:
            try:
                if results is None:
                    batches[index] = next(steps[index])
                else:
                    batches[index] = steps[index].send(results)
            except StopIteration as end:
                outcomes[index] = end.value
            except KeeperError as error:
                outcomes[index] = error
            except (ValueError, LookupError, ArithmeticError) as error:
                bad = BadAnswer(f"An answer could not be understood: {error}.")
                bad.__cause__ = error
                outcomes[index] = bad

        try:
            for index in range(len(steps)):
                advance(index, None)
            while batches:
                asked, batches = batches, {}
                wanted = dict.fromkeys(call for batch in asked.values() for call in batch)
                answers = await self._answers(tuple(wanted), block)
                for index, batch in asked.items():
                    advance(index, tuple([answers[call] for call in batch]))
        finally:
            for generator in steps:
                generator.close()
        return outcomes  # type: ignore[return-value]  # all are settled

    async def call(self, calls: Sequence[Call], block: BlockRef) -> tuple[CallResult, ...]:
        """Return the results of `calls` at `block`, in order."""
        answers = await self._answers(tuple(dict.fromkeys(calls)), block)
        return tuple([answers[call] for call in calls])

    # --- chunks -----------------------------------------------------------------------------

    async def _answers(self, calls: tuple[Call, ...], block: BlockRef) -> dict[Call, CallResult]:
        answers: dict[Call, CallResult] = {}
        room = lens.room_for_calls()
        chunks: list[list[Call]] = []
        size = room + 1
        for call in calls:
            needed = lens.packed_size(call)
            if needed > room:
                answers[call] = Failed(f"has {len(call.data):,} bytes of call data, too many")
                continue
            if size + needed > room or len(chunks[-1]) >= self._fitting:
                chunks.append([])
                size = 0
            chunks[-1].append(call)
            size += needed
        if len(chunks) == 1:
            answers.update(await self._chunk(chunks[0], block))
            return answers
        settled = await asyncio.gather(
            *(self._chunk(chunk, block) for chunk in chunks), return_exceptions=True
        )
        for outcome in settled:
            if isinstance(outcome, BaseException):
                raise outcome
            answers.update(outcome)
        return answers

    async def _chunk(self, calls: list[Call], block: BlockRef) -> dict[Call, CallResult]:
        """Return the results of a chunk, in several packed reads where one does not do."""
        async with self._slots:
            results: list[CallResult] = []
            waited = 0
            while len(results) < len(calls):
                part = calls[len(results) : len(results) + self._fitting]
                try:
                    answered = await self._packed(part, block)
                except RpcError as error:
                    if waited < BEHIND_MOST and await self._was_behind(block):
                        waited += 1
                        continue
                    if len(part) == 1:
                        raise
                    self._shrink(len(part), error)
                    continue
                if not answered:
                    raise ObservationError(
                        f"{self._rpc.names[0]} runs an eth_call with too little gas for a call of "
                        f"{self._shares.call_gas:,}: raise its RPC gas cap."
                    )
                results.extend(answered)
                self._grow()
            return dict(zip(calls, results, strict=True))

    async def _was_behind(self, block: BlockRef) -> bool:
        """Tell by an empty read whether the node had to be waited for, and wait.

        Raises RpcError when it cannot read this block at all.
        """
        try:
            await self._packed([], block)
        except NoAnswer:
            raise
        except RpcError:
            await self._packed([], block, patiently=True)
            return True
        return False

    def _shrink(self, calls: int, error: ObservationError) -> None:
        self._fitting = min(self._fitting, max(1, calls // 2))
        self._good = 0
        log.warning("read.halved", calls=calls, now=self._fitting, reason=str(error))

    def _grow(self) -> None:
        self._good += 1
        if self._fitting < self._most_calls and self._good >= GROW_AFTER:
            self._fitting = min(self._most_calls, self._fitting * 2)
            self._good = 0

    async def _packed(
        self, calls: Sequence[Call], block: BlockRef, *, patiently: bool = False
    ) -> tuple[CallResult, ...]:
        """Run one packed read: the results of its first calls, all of them where gas allows."""

        async def ask(node: Provider) -> tuple[CallResult, ...]:
            try:
                return await self._ways.read(node, calls, block)
            except NoAnswer:
                raise
            except BadAnswer as error:
                raise malformed(node, "a packed read", error) from error
            except RpcError as error:  # without the code: what one node refuses another may do
                raise RpcError(str(error)) from error

        for pause_s in BEHIND_PAUSES_S if patiently else ():
            try:
                return await self._rpc.ask(ask)
            except NoAnswer:
                raise
            except RpcError:
                await asyncio.sleep(pause_s)
        return await self._rpc.ask(ask)
