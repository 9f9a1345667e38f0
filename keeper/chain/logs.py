"""Event logs of one block, asked for by its hash; for long ranges see `keeper.chain.history`.

Logs say where to look; balances are read.  So a log twice is harmless and one of a wrong block is
refused.  Two logs of one index are not both true: a node that says both has not answered, and where
two nodes say one each, both count.

What came is held against the bloom of the block's header where that is known.  A contradiction that
the block's hash proves (`keeper.chain.bloom`) is the node's failure; a suspicion that logs were
left out costs a look at the block's receipts, or, where a node has none to give, at what the other
nodes say.  That fewer nodes answered than must agree on a head is such a suspicion too: nobody
makes up for what one of them leaves out.

Caveat: in a bloom that is nearly full nothing can be missed; reads and sweeps cover for that.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import structlog

from keeper.chain import wire
from keeper.chain.bloom import contradiction, suspicion
from keeper.chain.provider import HEDGE_S, NoAnswer, Provider
from keeper.chain.rpc import Rpc, malformed
from keeper.errors import BadAnswer, ObservationError, RpcError
from keeper.model import BlockRef, Hash, Log, LogFilter

log = structlog.get_logger(__name__)

_MAYBE_RECEIPTS: Final[Any] = list[wire.ReceiptLogs] | None
_NO_SUCH_PARAMETER: Final = frozenset({-32601, -32602})


def union(filters: Iterable[LogFilter]) -> LogFilter:
    """Return one filter that lets through at least what any of `filters` does."""
    wanted = tuple(filters)
    topics = {topic for one in wanted for topic in one.topics0}
    if any(not one.topics0 for one in wanted):  # any topic
        topics = set()
    return LogFilter(
        addresses=tuple(sorted({address for one in wanted for address in one.addresses})),
        topics0=tuple(sorted(topics)),
    )


class LogReader:
    """`ports.Logs`: one eth_getLogs a block, whatever the number of markets and borrowers."""

    def __init__(self, rpc: Rpc, wanted: LogFilter, *, nodes: int = 1) -> None:
        """`nodes`: how many must agree; with more than one, all are asked and what any of them has
        counts.
        """
        self._rpc = rpc
        self._nodes = nodes
        self.wanted = wanted
        """May be replaced between blocks, when a market lists a reserve."""
        self._by_number: set[Provider] = set()
        """The nodes that take no hash."""

    async def at(self, block: BlockRef) -> tuple[Log, ...]:
        """Return the wanted logs of `block`, asked for by its hash.

        A node that takes no hash is asked by number, and every log and that node's own block must
        then bear the hash.  Raises RpcError.
        """
        found, few = await self._from_nodes(block)
        why = self._suspected(block, found)
        if not (why or few):
            return found
        log.info("logs.suspected", number=block.number, reason=why or few)
        if not why:  # at every block while a node is away: nobody is waited for
            return self._with(block, found, await self._of_receipts_at_once(block))
        try:
            more = await self._of_receipts(block)
        except ObservationError as error:
            log.info("logs.no_receipts", number=block.number, reason=str(error))
            more = [one for answer in await self._of_all_nodes(block) for one in answer]
        return self._with(block, found, more)

    def _suspected(self, block: BlockRef, found: tuple[Log, ...]) -> str:
        """Return why the block's header makes believe that this is not all, or empty."""
        blooms = self._rpc.blooms
        if blooms.disputed(block.hash):
            return "the nodes have different headers of that hash"
        bloom = blooms.of(block.hash)
        if bloom is None:
            return ""
        return contradiction(bloom, found) or suspicion(bloom, self.wanted, found)

    def _with(
        self, block: BlockRef, found: tuple[Log, ...], more: Iterable[Log]
    ) -> tuple[Log, ...]:
        """Return `found` with whatever receipts or other nodes have besides."""
        together = merged(found, [one for one in more if lets_through(self.wanted, one)])
        if missing := len(together) - len(found):
            log.warning("logs.incomplete", number=block.number, missing=missing)
        return together

    async def _of_receipts_at_once(self, block: BlockRef) -> list[Log]:
        """Return what the receipts say of each node that is there and has them."""

        def decode(raw: msgspec.Raw) -> list[Log]:
            return receipt_logs_of(block, raw) or []

        answers = await self._rpc.each("eth_getBlockReceipts", [block.hash], decode)
        return [one for answer in answers if not isinstance(answer, RpcError) for one in answer]

    async def _of_receipts(self, block: BlockRef) -> list[Log]:
        found = await receipt_logs(self._rpc, block)
        if found is None:
            raise ObservationError(f"No node has the receipts of block {block.number:,}.")
        return found

    async def _from_nodes(self, block: BlockRef) -> tuple[tuple[Log, ...], str]:
        """Return what the nodes together have: a node that left some out is so made up for.

        And why that may not be all, where too few answered.
        """
        if self._nodes <= 1:
            return await self._answered(block), ""
        answers = await self._of_all_nodes(block)
        few = "" if len(answers) >= self._nodes else f"{len(answers)} of {self._nodes} answered"
        if not answers:
            return await self._answered(block), few
        together = merged(*answers)
        if any(len(answer) != len(together) for answer in answers):
            log.warning("logs.differ", number=block.number, logs=[len(a) for a in answers])
        return together, few

    async def _of_all_nodes(self, block: BlockRef) -> list[tuple[Log, ...]]:
        """Return the answer of each node that has one.

        Who is slower than others, when as many as must agree have said theirs, is left out.
        """

        async def ask(node: Provider) -> tuple[Log, ...]:
            return await self._of_node(node, block, urgent=True)

        def enough(said: Sequence[tuple[Log, ...]], _: int) -> bool:
            return len(said) >= max(self._nodes, 2)

        answers = await self._rpc.each_of(ask, enough=enough, beyond_s=HEDGE_S)
        return [answer for answer in answers if not isinstance(answer, RpcError)]

    async def _answered(self, block: BlockRef) -> tuple[Log, ...]:
        async def ask(node: Provider) -> tuple[Log, ...]:
            return await self._of_node(node, block)

        return await self._rpc.ask_pinned(ask)

    async def _of_node(
        self, node: Provider, block: BlockRef, *, urgent: bool = False
    ) -> tuple[Log, ...]:
        """Return one node's logs of `block`, by its hash or, where it takes none, by number."""
        if node in self._by_number:
            return await self._numbered(node, block, urgent=urgent)
        try:
            return await self._ask(node, {"blockHash": block.hash}, block, urgent=urgent)
        except NoAnswer:
            raise
        except RpcError as error:
            if error.code not in _NO_SUCH_PARAMETER:
                raise
            refusal = error
        found = await self._numbered(node, block, urgent=urgent)
        self._by_number.add(node)
        log.warning("logs.by_number", node=node.name, reason=str(refusal))
        return found

    async def _numbered(self, node: Provider, block: BlockRef, *, urgent: bool) -> tuple[Log, ...]:
        """The same by number.  Raises RpcError where the node has not that very block.

        It is asked for its block after the logs: one that was behind when it said that there are
        none, is passed over.
        """
        number = hex(block.number)
        where = {"fromBlock": number, "toBlock": number}
        found = await self._ask(node, where, block, urgent=urgent)
        there = await self._rpc.block_of(node, block.number, urgent=urgent)
        if there is None:
            raise RpcError(f"{node.name} has no block {block.number:,} yet.")
        if there.hash != block.hash:
            raise RpcError(f"Block {block.number:,} {block.hash} is no longer canonical.")
        return found

    async def _ask(
        self, node: Provider, where: dict[str, str], block: BlockRef, *, urgent: bool
    ) -> tuple[Log, ...]:
        raw = await node.ask("eth_getLogs", [where | criteria(self.wanted)], urgent=urgent)
        try:
            return self._decoded(block, raw, by_hash="blockHash" in where)
        except BadAnswer as error:
            raise malformed(node, "eth_getLogs", error) from error

    def _decoded(self, block: BlockRef, raw: msgspec.Raw, *, by_hash: bool) -> tuple[Log, ...]:
        """Return the logs in one node's answer.  Raises BadAnswer."""
        found = logs_of(block, raw, by_hash=by_hash)
        if wrong := self._rpc.blooms.refuses(block.hash, found):
            raise BadAnswer(f"The logs of block {block.number:,} are not its own: {wrong}.")
        return found


def logs_of(block: BlockRef, raw: msgspec.Raw, *, by_hash: bool = True) -> tuple[Log, ...]:
    """Return the logs in one node's answer.  Raises BadAnswer for one of another block.

    Asked by number, a node may have another block of it for a while: RpcError, as for one behind.
    """
    wires = wire.convert(raw, list[wire.WireLog], "eth_getLogs")
    found = once([wire.log(one) for one in wires if not one.removed])
    for one in found:
        if one.block_number == block.number and one.block_hash == block.hash:
            continue
        why = (
            f"Asked for were the logs of block {block.number:,} {block.hash}, one is of block "
            f"{one.block_number:,} {one.block_hash}."
        )
        if by_hash or one.block_number != block.number:
            raise BadAnswer(why)
        raise RpcError(why)
    return found


def receipt_logs_of(block: BlockRef, raw: msgspec.Raw) -> list[Log] | None:
    """Return every log of one node's answer to eth_getBlockReceipts; None where it has none.

    Raises BadAnswer for receipts of another block.
    """
    receipts = wire.convert(raw, _MAYBE_RECEIPTS, "eth_getBlockReceipts")
    if receipts is None:
        return None
    found = [wire.log(one) for receipt in receipts for one in receipt.logs]
    said = {one.block_hash for one in found}
    said |= {
        wire.hash32(one.block_hash, "a receipt's blockHash") for one in receipts if one.block_hash
    }
    if said - {block.hash}:
        raise BadAnswer(
            f"Asked for were the receipts of block {block.number:,} {block.hash}, one is of "
            f"{min(said - {block.hash})}."
        )
    return found


async def receipt_logs(rpc: Rpc, block: BlockRef) -> list[Log] | None:
    """Return every log of a block by its receipts; None where the node that answers has none."""

    def decode(raw: msgspec.Raw) -> list[Log] | None:
        return receipt_logs_of(block, raw)

    return await rpc.read("eth_getBlockReceipts", [block.hash], decode)


def once(logs: Iterable[Log]) -> tuple[Log, ...]:
    """Return each log once, in the order first met: some nodes repeat themselves.

    Raises BadAnswer where two logs of one block and index are not the same.
    """
    found: dict[tuple[Hash, int], Log] = {}
    for one in logs:
        there = found.setdefault((one.block_hash, one.log_index), one)
        if there is not one and there != one:
            raise BadAnswer(
                f"Log {one.log_index} of block {one.block_number:,} is said twice, and differently."
            )
    return tuple(found.values())


def merged(*answers: Iterable[Log]) -> tuple[Log, ...]:
    """Return whatever any of `answers` has, in the order of the chain.

    Logs of one index that differ are all there.
    """
    every = dict.fromkeys(one for answer in answers for one in answer)
    return tuple(sorted(every, key=lambda one: (one.block_number, one.log_index)))


def lets_through(wanted: LogFilter, one: Log) -> bool:
    """Whether `one` is what `wanted` asks for."""
    return one.address in wanted.addresses and (
        not wanted.topics0 or not set(one.topics[:1]).isdisjoint(wanted.topics0)
    )


def criteria(wanted: LogFilter) -> dict[str, Any]:
    """Return the filter's part of the request.  Raises ValueError for one of the whole chain."""
    if not wanted.addresses:
        raise ValueError("a log filter without addresses would ask for the whole chain")
    topics: list[list[str]] = [list(wanted.topics0)] if wanted.topics0 else []
    return {"address": list(wanted.addresses), "topics": topics}
