"""A long history of event logs, in ranges that adapt to what the nodes allow.

    range, range, range -> asked ahead of their turn -> complete ones in order, without a gap

A range is either complete or asked again, so the caller may store the last block of one and go on
from there later.  A refusal of any kind halves the next ranges, success lengthens them; while one
range is worked on the next are on their way, and what is kept of an answer is bounded.

Where several nodes are configured each range is asked of two.  If they differ, whatever either has
counts, less what is of no block that any node knows, or is refused by its block's header.

One node alone cannot be compared with any; nor can one where the second refuses even single blocks,
or does not answer.  What it says is held against headers and receipts: `keeper.chain.complete`.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import structlog

from keeper.chain import wire
from keeper.chain.complete import Check, Completeness
from keeper.chain.logs import criteria, merged, once
from keeper.chain.pace import Pace, Silences
from keeper.chain.provider import NoAnswer, Provider
from keeper.chain.rpc import HISTORY_HEDGE_S, Rpc, malformed
from keeper.chain.scan import LogPage, scan
from keeper.errors import BadAnswer, ObservationError, RpcError
from keeper.model import Address, Hash, Log, LogFilter

log = structlog.get_logger(__name__)

FIRST_RANGE_BLOCKS: Final = 2_000
REMEMBERED: Final = 200_000
"""Of whom `Distinct` knows that they were handed on: 30 MB."""
REFUSALS_MOST: Final = 3
"""Single blocks that a second node refuses before it is not asked any more."""
DIFFERING_BLOCKS: Final = 256
"""Of so many blocks in which nodes differ the headers are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The logs of one range, each once: by columns where their layout allows."""

    page: LogPage | None
    one_by_one: tuple[Log, ...]
    """Where there is no page."""
    count: int
    lowest: int
    highest: int
    """The blocks they are from; 0 where none came."""

    def logs(self) -> tuple[Log, ...]:
        """Return each log once."""
        return self.one_by_one if self.page is None else self.page.logs()

    def in_block(self, number: int) -> tuple[Log, ...]:
        """Return each log of one block once."""
        if self.page is None:
            return tuple([one for one in self.one_by_one if one.block_number == number])
        rows = np.flatnonzero(self.page.block_number == number)
        return self.page.logs_at([int(row) for row in rows])

    def some_blocks(self, most: int) -> tuple[int, ...]:
        """Return up to `most` blocks that have logs, drawn by chance from the logs."""
        if not self.count:
            return ()
        rows = {secrets.randbelow(self.count) for _ in range(most)}
        if self.page is None:
            return tuple({self.one_by_one[row].block_number for row in rows})
        return tuple({int(self.page.block_number[row]) for row in rows})


Select = Callable[[Answer], tuple[Log, ...]]
"""Which logs of a complete range are handed on."""


def every_log(answer: Answer) -> tuple[Log, ...]:
    """Return each log once."""
    return answer.logs()


class Distinct:
    """Hands on the first log of each address and topics: enough to know who there is.

    It remembers whom it handed on, in bounded memory: what is forgotten is handed on again.
    """

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._seen: set[bytes] = set()

    def __call__(self, answer: Answer) -> tuple[Log, ...]:
        """Return the logs of `answer` that say something new of whom."""
        if answer.page is None:
            return tuple({(one.address, one.topics): one for one in answer.one_by_one}.values())
        new = answer.page.distinct(self._seen)
        for key in new:
            if len(self._seen) >= self._most:
                break
            self._seen.add(key)
        return answer.page.logs_at(new.values())


def read_answer(raw: msgspec.Raw) -> Answer:
    """Return an answer to eth_getLogs.  Raises BadAnswer."""
    page = scan(bytes(raw))
    if page is not None and page.repeats():
        return _of_logs(once(page.logs()))
    if page is None:
        wires = wire.convert(raw, list[wire.WireLog], "eth_getLogs")
        return _of_logs(once([wire.log(one) for one in wires if not one.removed]))
    numbers = page.block_number
    return Answer(
        page=page,
        one_by_one=(),
        count=len(page),
        lowest=int(numbers.min()),
        highest=int(numbers.max()),
    )


def _of_logs(logs: tuple[Log, ...]) -> Answer:
    numbers = [one.block_number for one in logs]
    lowest, highest = min(numbers, default=0), max(numbers, default=0)
    return Answer(page=None, one_by_one=logs, count=len(logs), lowest=lowest, highest=highest)


OnProgress = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""


async def backfill(
    rpc: Rpc,
    wanted: LogFilter,
    from_block: int,
    to_block: int,
    on_progress: OnProgress | None = None,
    *,
    first_range_blocks: int = FIRST_RANGE_BLOCKS,
    select: Select = every_log,
    nodes: int = 1,
    check: Check = Check.OFF,
) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
    """Yield (first block, last block, logs) until `to_block`, both ends included.

    `select`: which logs of a range are handed on.  `nodes`: with more than one, each range is asked
    of two.  `check`: how much is looked at of what only one tells.  Raises RpcError when not even a
    single block is answered.

    Caveat: blocks near the head may still be orphaned; the caller checks that `to_block` is
    canonical afterwards, or follows heads from a block before it.
    """
    pace = Pace(first_range_blocks)
    whole = Completeness(rpc, wanted, check)
    asker = _Asker(rpc, wanted, whole, compare=nodes > 1)
    ahead: deque[_Range] = deque()
    start = from_block
    try:
        while ahead or start <= to_block:
            while start <= to_block and len(ahead) < pace.ahead:
                end = min(start + whole.at_most(pace.blocks) - 1, to_block)
                ahead.append(_Range(start, end, asyncio.ensure_future(asker.timed(start, end))))
                start = end + 1
            first = ahead[0]
            try:
                answer, took_s = await first.task
            except (RpcError, BadAnswer) as error:
                await _give_up(ahead)
                if first.start == first.end:
                    raise
                start = first.start
                await pace.refused(error, first.end - first.start + 1)
                continue
            ahead.popleft()
            yield first.start, first.end, select(answer)
            if on_progress is not None:
                on_progress(first.end - from_block + 1, to_block - from_block + 1)
            pace.went(first.end - first.start + 1, answer.count, took_s)
    finally:
        await _give_up(ahead)


@dataclass(frozen=True, slots=True)
class _Range:
    start: int
    end: int
    task: "asyncio.Future[tuple[Answer, float]]"


async def _give_up(ahead: "deque[_Range]") -> None:
    tasks = [one.task for one in ahead]
    ahead.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Asker:
    """Asks for single ranges, of one node or of two."""

    def __init__(self, rpc: Rpc, wanted: LogFilter, whole: Completeness, *, compare: bool) -> None:
        self._rpc = rpc
        self._whole = whole
        self._criteria = criteria(wanted)
        self._compare = compare
        self._refusals = 0
        self._silences = Silences()
        self._said = False

    async def timed(self, start: int, end: int) -> tuple[Answer, float]:
        """Return the logs of a range and the seconds it took."""
        began_at = time.monotonic()
        answer = await self._range(start, end)
        return answer, time.monotonic() - began_at

    async def _range(self, start: int, end: int) -> Answer:
        """Return the logs of a range; a single block is asked for with all patience."""
        params = [{"fromBlock": hex(start), "toBlock": hex(end)} | self._criteria]
        asked: list[Provider] = []

        async def ask(node: Provider) -> Answer:
            if node in asked:
                raise NoAnswer(f"{node.name} was asked already.")
            with self._silences.noted(node, among=len(self._rpc.names)):
                raw = await node.ask("eth_getLogs", params, aside=True)
                try:
                    answer = read_answer(raw)
                    _held_to(start, end, answer)
                except BadAnswer as error:
                    raise malformed(node, "eth_getLogs", error) from error
            asked.append(node)
            return answer

        attempts = None if start == end else 1
        answer = await self._rpc.ask(ask, attempts=attempts, hedge_s=HISTORY_HEDGE_S, aside=True)
        if not self._compare:
            return await self._completed(start, end, answer)
        try:
            other = await self._rpc.ask(ask, attempts=1, hedge_s=HISTORY_HEDGE_S, aside=True)
        except NoAnswer as error:
            self._say(start, end, error)
            return await self._completed(start, end, answer)
        except RpcError as refusal:
            if start < end:  # its limits may be lower
                raise
            self._refusals += 1
            self._compare = self._refusals < REFUSALS_MOST
            self._say(start, end, refusal)
            return await self._completed(start, end, answer)
        return answer if _alike(answer, other) else await self._together(answer, other)

    async def _completed(self, start: int, end: int, answer: Answer) -> Answer:
        """Return what one node said, with what it can be shown to have left out."""
        missing = await self._whole.missing(start, end, answer)
        if not missing:
            return answer
        return _of_logs(merged(answer.logs(), missing))

    def _say(self, start: int, end: int, error: ObservationError) -> None:
        if not self._said:
            log.info("history.not_compared", first=start, last=end, reason=str(error))
            self._said = True

    async def _together(self, answer: Answer, other: Answer) -> Answer:
        """Return whatever either has, less what a header refuses and what is of no known block."""
        ours, theirs = set(answer.logs()), set(other.logs())
        doubtful = ours ^ theirs
        numbers = sorted({one.block_number for one in doubtful})[:DIFFERING_BLOCKS]
        headers = await self._rpc.blocks(numbers)
        looked_at = set(numbers)
        known: dict[Hash, int | None] = {block.hash: block.number for block in headers}
        refused: set[Log] = set()
        for one in doubtful:
            if one.block_number not in looked_at:
                continue
            if one.block_hash not in known:  # the header may be the lie
                known[one.block_hash] = await self._number_of(one.block_hash)
            if known[one.block_hash] != one.block_number or self._rpc.blooms.refuses(
                one.block_hash, [one]
            ):
                refused.add(one)
        if doubtful:
            log.warning(
                "history.differs",
                first=numbers[0],
                last=numbers[-1],
                logs=[len(ours), len(theirs)],
                refused=len(refused),
            )
        return _of_logs(merged((ours | theirs) - refused))

    async def _number_of(self, hash_: Hash) -> int | None:
        """Return the number of the block that any node knows by this hash."""
        try:
            return (await self._rpc.block(hash_)).number
        except RpcError:
            raise
        except ObservationError:
            return None


def _held_to(start: int, end: int, answer: Answer) -> None:
    """Raise BadAnswer for a log from outside the range."""
    if answer.count and not start <= answer.lowest <= answer.highest <= end:
        outside = answer.lowest if answer.lowest < start else answer.highest
        raise BadAnswer(
            f"Asked for were the logs of blocks {start:,} to {end:,}, one is of block {outside:,}."
        )


def _alike(one: Answer, other: Answer) -> bool:
    """Whether two answers have the same logs."""
    if one.count != other.count:
        return False
    if one.page is not None and other.page is not None:
        return one.page.same_logs(other.page)
    return set(one.logs()) == set(other.logs())


async def deployment_block(rpc: Rpc, address: Address) -> int:
    """Return the first block with code at `address`, by binary search over eth_getCode.

    Assumes that code stays once it is there.  Raises ObservationError for an address without code
    now, and for a node that has forgotten old state.
    """
    low, high = 0, await rpc.block_number()
    if not await rpc.code(address, high):
        raise ObservationError(f"There is no contract at {address} in block {high:,}.")
    while low < high:
        middle = (low + high) // 2
        try:
            there = bool(await rpc.code(address, middle))
        except NoAnswer:
            raise
        except RpcError as error:
            raise ObservationError(
                f"The node has no state of block {middle:,}, so the block in which {address} was "
                f"deployed cannot be found: set deployment_block of the market, or use an archive "
                f"node ({error})"
            ) from error
        low, high = (low, middle) if there else (middle + 1, high)
    return low
