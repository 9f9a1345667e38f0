"""Whether one node alone left logs out of a range of history: headers are asked, receipts decide.

    range, answer -> some of its headers -> bloom says more than came? -> receipts of that block

A bloom that has one of our addresses and topics of which no log came is a suspicion, or chance: the
block's receipts tell which.  What is left of the receipts' share goes to blocks of which logs did
come, since a bloom cannot say that there was another one like them.

Cost, of a node that leaves nothing out: a header for every `BLOCKS_A_HEADER` blocks, and the
receipts of at most `RECEIPTS_A_RANGE` of them.  Once something was found missing the range is asked
for again in small parts, each block of which is looked at, and so is what follows, until
`CLEAN_RANGES` of them in a row were whole.

Caveat: a sample.  One log left out of a million blocks is found where all are looked at (`full`: a
header a block), by a second node, or by the sweep once the account is known.
"""

import secrets
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, Protocol

import structlog

from keeper.chain.bloom import has
from keeper.chain.logs import lets_through, receipt_logs
from keeper.chain.provider import NoAnswer
from keeper.chain.rpc import Rpc
from keeper.errors import BadAnswer, ObservationError
from keeper.model import BlockRef, Log, LogFilter

log = structlog.get_logger(__name__)

BLOCKS_A_HEADER: Final = 2_000
FIRST_HEADERS: Final = 16
"""Looked at before any were earned: a short history is not passed over."""
HEADERS_A_RANGE: Final = 64
RECEIPTS_A_RANGE: Final = 4
WHOLE_BLOCKS: Final = 64
"""A range no longer than this can be looked at block by block."""
CLEAN_RANGES: Final = 32


class Check(StrEnum):
    """How much of a history that only one node tells is looked at."""

    OFF = "off"
    SAMPLED = "sampled"
    FULL = "full"


class Told(Protocol):
    """The logs of a range, as far as they are asked for here."""

    def in_block(self, number: int) -> tuple[Log, ...]:
        """Those of one block."""
        ...

    def some_blocks(self, most: int) -> Sequence[int]:
        """Up to `most` blocks that have any."""
        ...


class Completeness:
    """Looks for what a node left out, and remembers whether it ever did."""

    def __init__(self, rpc: Rpc, wanted: LogFilter, check: Check) -> None:
        self._rpc = rpc
        self._wanted = wanted
        self._check = check
        self._headers = float(FIRST_HEADERS)
        self._suspect = 0
        """Ranges that are still to be found whole before a sample will do again."""
        self._receipts = True
        self._said = False

    def at_most(self, blocks: int) -> int:
        """Return how long a range may be: short ones while each block is looked at."""
        return min(blocks, WHOLE_BLOCKS) if self._whole else blocks

    @property
    def _whole(self) -> bool:
        return self._check is Check.FULL or self._suspect > 0

    async def missing(self, start: int, end: int, told: Told) -> tuple[Log, ...]:
        """Return logs of these blocks that were left out of `told`.

        Raises BadAnswer for logs that are not of the chain, and for a range with something missing
        that is too long to be looked at as a whole: ask for less.  Raises NoAnswer.
        """
        if self._check is Check.OFF:
            return ()
        numbers = self._looked_at(start, end, told)
        if not numbers:
            return ()
        try:
            blocks = await self._rpc.blocks(numbers)
        except NoAnswer:
            raise
        except ObservationError as error:
            self._cannot(str(error))
            return ()
        found = await self._left_out(blocks, told)
        if found:
            self._suspect = CLEAN_RANGES
            log.error(
                "history.incomplete",
                first=start,
                last=end,
                missing=len(found),
                block=found[0].block_number,
            )
            if len(numbers) <= end - start:
                raise BadAnswer(
                    f"{self._rpc.names[0]} left logs out of blocks {start:,} to {end:,}: they are "
                    f"asked for again in small parts."
                )
        elif self._suspect:
            self._suspect -= 1
        return found

    def _looked_at(self, start: int, end: int, told: Told) -> list[int]:
        """Return the blocks to look at: all, or as many as were earned, spread over the range."""
        blocks = end - start + 1
        if self._whole and blocks <= WHOLE_BLOCKS:
            return list(range(start, end + 1))
        self._headers += blocks / BLOCKS_A_HEADER
        count = min(int(self._headers), HEADERS_A_RANGE, blocks)
        self._headers -= count
        if count == 0:
            return []
        stride = blocks // count
        offset = secrets.randbelow(stride)
        spread = {start + offset + at * stride for at in range(count)}
        with_logs = told.some_blocks(RECEIPTS_A_RANGE // 2) if count > RECEIPTS_A_RANGE else ()
        return sorted(spread | set(with_logs))

    async def _left_out(self, blocks: Sequence[BlockRef], told: Told) -> tuple[Log, ...]:
        blooms = self._rpc.blooms
        hits: list[tuple[int, BlockRef]] = []
        others: list[BlockRef] = []
        for block in blocks:
            logs = told.in_block(block.number)
            bloom, disputed = blooms.of(block.hash), blooms.disputed(block.hash)
            if bloom is None and not disputed:
                self._cannot("its headers say nothing of their logs")
                continue
            if any(one.block_hash != block.hash for one in logs):
                raise BadAnswer(
                    f"A log of block {block.number:,} is of another one of that number."
                )
            if why := blooms.refuses(block.hash, logs):
                raise BadAnswer(f"The logs of block {block.number:,} are not its own: {why}.")
            if bloom is None:
                hits.append((0, block))
            elif claims_more(bloom, self._wanted, logs):
                hits.append((bloom.bit_count(), block))
            elif logs:
                others.append(block)
        hits.sort(key=lambda hit: hit[0])  # the emptier a bloom is, the less it says by chance
        asked = [block for _, block in hits] + others
        found: list[Log] = []
        for block in asked if self._whole else asked[:RECEIPTS_A_RANGE]:
            found += await self._not_told(block, told.in_block(block.number))
        return tuple(found)

    async def _not_told(self, block: BlockRef, logs: Sequence[Log]) -> list[Log]:
        """Return what the receipts of `block` have besides `logs`."""
        if not self._receipts:
            return []
        try:
            every = await receipt_logs(self._rpc, block)
        except NoAnswer:
            raise
        except ObservationError as error:
            every, self._receipts = None, False
            self._cannot(str(error))
        there = set(logs)
        return [one for one in every or () if one not in there and lets_through(self._wanted, one)]

    def _cannot(self, reason: str) -> None:
        if not self._said:
            self._said = True
            log.warning("history.unverified", reason=reason)


def claims_more(bloom: int, wanted: LogFilter, logs: Iterable[Log]) -> bool:
    """Whether `bloom` may have a log of `wanted` of an address or topic that none of `logs` has.

    False is certain but for a second log of the same address and topic.
    """
    came = {(one.address, one.topics[0] if one.topics else "") for one in logs}
    addresses = [one for one in wanted.addresses if has(bloom, one)]
    topics = [one for one in wanted.topics0 if has(bloom, one)]
    if not wanted.topics0:
        return not set(addresses) <= {address for address, _ in came}
    if not addresses or not topics:
        return False
    silent = set(addresses) - {address for address, _ in came}
    unheard = set(topics) - {topic for _, topic in came}
    return bool(silent or unheard)
