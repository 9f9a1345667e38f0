"""The nodes of one chain as one: reads are retried, hedged and fail over, a send is tried once.

    Rpc -> Provider, Provider, ...      in the order of the configuration

A node that is slow is not waited for: the next one is asked as well and the first answer counts.
A node that did not answer rests behind the others for a while and proves its chain id before it is
used again.  When all rest, all are still asked: the last node is kept, loudly; but one that asked
for a pause gets it.

Caveat: agreement between nodes is checked by `keeper.chain.quorum`, on heads and what they are
built on; what is then read by a hash that nodes agreed on is believed.

Whatever is checked of one node's answer is checked while that node is asked: its shape, its values,
and that it is of the block or transaction asked for.  An answer that is none is the node's failure,
and the next one is asked.

One class, though it is long: every way to ask, one node, each or all in a batch, goes by the same
turns, so that what one question finds out about a node holds for the next.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec
import structlog

from keeper.chain import wire
from keeper.chain.bloom import Blooms
from keeper.chain.compare import compare_branches, compare_heads
from keeper.chain.health import NodeHealth
from keeper.chain.provider import HEDGE_S, Limits, NoAnswer, Provider
from keeper.chain.race import INVALID_PARAMS, is_final
from keeper.chain.roll import ASKED_S, Enough, Roll
from keeper.chain.shapes import shaped
from keeper.chain.state import StateReads
from keeper.chain.turns import Turns
from keeper.chain.urls import check_url, guarded
from keeper.chain.wire import BlockTag
from keeper.errors import BadAnswer, ConfigError, ObservationError, RpcError
from keeper.model import BlockRef, Hash, Receipt

T = TypeVar("T")
_MAYBE_HEADER: Final[Any] = wire.Header | None
_MAYBE_RECEIPT: Final[Any] = wire.WireReceipt | None

log = structlog.get_logger(__name__)

_BEHIND_PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8)
"""How long a node may be behind the head that another backend announced."""
LAG_BLOCKS: Final = 3
"""A node so far behind the others is asked after them."""
ASIDE: Final = frozenset({"eth_getBlockReceipts", "eth_simulateV1"})
"""What some nodes cannot say in a usable way: no reason not to ask them for heads right after."""
ASIDE_REST_S: Final = 0.001
HISTORY_HEDGE_S: Final = 2.0
"""Before a second node is asked for a long range of logs as well."""


class _UnknownBlock(RpcError):  # noqa: N818 - it reads as what it is
    """One node has no block of that hash or number: as a refusal, so that the next is asked."""

    def __init__(self) -> None:
        super().__init__("no such block")


class Rpc(StateReads):
    """JSON-RPC to one chain.  Make it with `open`; close it, or use it as a context."""

    def __init__(
        self,
        providers: Sequence[Provider],
        session: aiohttp.ClientSession,
        *,
        expected_chain_id: int | None,
        counts: Counter[str],
        attempts: int,
        hedge_s: float = HEDGE_S,
        lag_blocks: int = LAG_BLOCKS,
    ) -> None:
        self._providers = tuple(providers)
        self._session = session
        self._turns = Turns(providers, attempts=attempts, hedge_s=hedge_s)
        self._roll = Roll(providers)
        self._lag_blocks = lag_blocks
        self.blooms: Final = Blooms()
        """What recent headers say of their logs."""
        self.expected_chain_id: Final = expected_chain_id
        self.counts: Final = counts
        """Calls sent by method, retries included; a batch counts each of its calls."""

    @classmethod
    async def open(
        cls,
        urls: Sequence[str],
        chain_id: int | None,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        attempts: int = 4,
        lag_blocks: int = LAG_BLOCKS,
        left_out: bool = False,
    ) -> Self:
        """Return an Rpc of which at least one node answered for `chain_id` (None: any).

        `lag_blocks`: how far behind the others a node is asked after them.  `left_out`: a node
        that answers for another chain is, rather than refused: all were of the right one before.
        Raises ConfigError for a bad URL or another chain behind any of them, and NoAnswer when
        no node can be reached, or none is of the chain.
        """
        if not urls:
            raise ConfigError("No RPC URL is configured: set rpc_urls of the chain.")
        for url in urls:
            check_url(url)
        session = aiohttp.ClientSession(connector=guarded(limit_per_host=16))
        counts: Counter[str] = Counter()
        providers = [
            Provider(url, session, limits=limits, chain_id=chain_id, counts=counts) for url in urls
        ]
        rpc = cls(
            providers,
            session,
            expected_chain_id=chain_id,
            counts=counts,
            attempts=attempts,
            hedge_s=limits.hedge_s,
            lag_blocks=lag_blocks,
        )
        try:
            await (rpc._verify() if left_out else rpc.check())
        except BaseException:  # undone, then raised on
            await rpc.close()
            raise
        return rpc

    async def close(self) -> None:
        """Close the connections."""
        await self._roll.close()
        for provider in self._providers:
            await provider.close()
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes by scheme and host, in order."""
        return tuple(provider.name for provider in self._providers)

    @property
    def healthy(self) -> tuple[bool, ...]:
        """Whether each node's last answer was usable, in the order of `names`."""
        return tuple(provider.healthy for provider in self._providers)

    @property
    def health(self) -> tuple[NodeHealth, ...]:
        """What each node is good for at the moment, in the order of `names`."""
        return tuple(provider.health for provider in self._providers)

    async def check(self) -> None:
        """Ask every node for its chain id.

        Raises ConfigError if one is of another chain; RpcError if none answers.
        """
        found = await asyncio.gather(*map(_chain_id_of, self._providers))
        for provider, answer in zip(self._providers, found, strict=True):
            if isinstance(answer, int) and self.expected_chain_id not in (None, answer):
                raise ConfigError(
                    f"{provider.name} answers for chain {answer}, the configuration says "
                    f"{self.expected_chain_id}: correct the URL or the chain_id."
                )
        failures = [answer for answer in found if isinstance(answer, RpcError)]
        if len(failures) == len(found):
            raise failures[0]

    async def _verify(self) -> None:
        """Leave out every node of another chain.  Raises NoAnswer where no node is left."""
        found = await asyncio.gather(
            *(provider.verify() for provider in self._providers), return_exceptions=True
        )
        failures = [answer for answer in found if answer is not None]
        for failure in failures:
            if not isinstance(failure, RpcError):
                raise failure
        if len(failures) == len(found):
            raise failures[0]

    # --- any method -------------------------------------------------------------------------

    async def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the JSON result of a read.  Never use it to send: it asks again.

        Of the methods in `keeper.chain.shapes` it has the shape that it must have.
        Raises RpcError: with a `code` when a node refused, without when none answered.
        """
        return await self.read(method, params, shaped(method, params))

    async def call_as(
        self,
        method: str,
        params: Sequence[Any],
        type_: Any,
        *,
        attempts: int | None = None,
        hedge_s: float | None = None,
    ) -> Any:
        """The same, decoded into the msgspec type `type_`; another shape counts as no answer.

        `hedge_s`: how patient to be with one node before the next is asked as well.
        """

        def decode(raw: msgspec.Raw) -> Any:
            return wire.convert(raw, type_, method)

        return await self.read(method, params, decode, attempts=attempts, hedge_s=hedge_s)

    async def read_pinned(
        self, method: str, params: Sequence[Any], decode: Callable[[msgspec.Raw], T]
    ) -> T:
        """`read` of a block just announced, which a node may not have yet."""
        return await self.ask_pinned(_reading(method, params, decode))

    async def ask_pinned(self, ask: Callable[[Provider], Awaitable[T]]) -> T:
        """`ask` about a block just announced, which a node may not have yet.

        A refusal is asked again for about 1.5 s, but a revert is not, nor what nobody understands.
        """
        for pause_s in _BEHIND_PAUSES_S:
            try:
                return await self.ask(ask)
            except NoAnswer:
                raise
            except RpcError as error:
                if is_final(error) or error.code == INVALID_PARAMS:
                    raise
                log.debug("rpc.behind", reason=str(error), pause_s=pause_s)
            await asyncio.sleep(pause_s)
        return await self.ask(ask)

    async def each(
        self,
        method: str,
        params: Sequence[Any],
        decode: Callable[[msgspec.Raw], T],
        *,
        enough: Enough[T] | None = None,
        late: Callable[[list[T | RpcError]], None] | None = None,
    ) -> list[T | RpcError]:
        """Return every node's own answer, in the order of `names`: to compare, not to rely on.

        One that asked for a pause, or does not say in time, has an error in its place.  `enough`:
        with what nobody else is waited for; `late` gets all answers when those have come too.
        """
        ask = _reading(method, params, decode, urgent=True)
        return await self._roll.call(ask, enough=enough, late=late)

    async def each_of(
        self,
        ask: Callable[[Provider], Awaitable[T]],
        *,
        enough: Enough[T] | None = None,
        beyond_s: float = 0.0,
    ) -> list[T | RpcError]:
        """The same of what `ask` has of each node.

        `beyond_s`: so long those who are relied on are waited for all the same.
        """
        return await self._roll.call(ask, enough=enough, beyond_s=beyond_s)

    async def block_of(
        self, node: Provider, number: int, *, urgent: bool = False
    ) -> BlockRef | None:
        """Return one node's own block of that number, None where it has none."""

        def decode(raw: msgspec.Raw) -> BlockRef | None:
            return self._block(raw, number)

        params = [hex(number), False]
        return await _reading(_block_method(number), params, decode, urgent=urgent)(node)

    async def each_block(
        self, at: str | int, *, enough: Enough[BlockRef | None] | None = None
    ) -> list[BlockRef | RpcError | None]:
        """Return every node's own block of that tag or number; None where it has none.

        Who lags or is on another branch is told by it: ask for what is near the head.  `enough`:
        with what nobody else is waited for.
        """

        def compare(answers: Sequence[BlockRef | RpcError | None]) -> None:
            self._compare(at, answers)

        answers = await self.each_header(at, enough=enough, late=compare)
        unheard = [
            provider
            for provider, answer in zip(self._providers, answers, strict=True)
            if answer is None and provider.head is None
        ]
        await asyncio.gather(*map(self._learn_head, unheard))
        compare(answers)
        return answers

    async def _learn_head(self, provider: Provider) -> None:
        """Ask a node for its head that never said one: to lack a block is not to have none."""

        def decode(raw: msgspec.Raw) -> BlockRef | None:
            return self._block(raw, "latest")

        with suppress(RpcError, TimeoutError):
            async with asyncio.timeout(ASKED_S):
                params = ["latest", False]
                ask = _reading(_block_method("latest"), params, decode, urgent=True)
                if (head := await ask(provider)) is not None:
                    provider.head = head.number

    def _compare(self, at: str | int, answers: Sequence[BlockRef | RpcError | None]) -> None:
        for provider, answer in zip(self._providers, answers, strict=True):
            if isinstance(answer, BlockRef):
                known = 0 if at == "latest" else provider.head or 0
                provider.head = max(answer.number, known)
            elif answer is None and isinstance(at, int) and provider.head is not None:
                provider.head = min(provider.head, at - 1)
        compare_heads(self._providers, self._lag_blocks)
        if isinstance(at, int):
            compare_branches(self._providers, answers)

    async def each_header(
        self,
        at: str | int,
        *,
        enough: Enough[BlockRef | None] | None = None,
        late: Callable[[list[BlockRef | RpcError | None]], None] | None = None,
    ) -> list[BlockRef | RpcError | None]:
        """The same for any block: nothing is concluded of the nodes."""

        def decode(raw: msgspec.Raw) -> BlockRef | None:
            return self._block(raw, at)

        params = [at if isinstance(at, str) else hex(at), False]
        return await self.each(_block_method(at), params, decode, enough=enough, late=late)

    async def send_raw(self, raw: bytes) -> Hash:
        """Send a signed transaction once, to the first node that is up; return the node's hash.

        Raises RpcError with a `code` when it was refused.  Without a code nothing is known: the
        transaction may be on its way.
        """
        failure: RpcError | None = None
        for provider in self._turns.ordered():
            try:
                await provider.verify()
            except RpcError as error:  # nothing was sent: the next may try
                failure = error
                continue
            answer = await provider.ask("eth_sendRawTransaction", ["0x" + raw.hex()], urgent=True)
            try:
                return wire.hash32(wire.convert(answer, Any, "a send"), "a sent transaction")
            except BadAnswer as error:
                raise malformed(provider, "eth_sendRawTransaction", error) from error
        assert failure is not None
        raise failure

    # --- typed reads ------------------------------------------------------------------------

    async def chain_id(self) -> int:
        """Return the chain id as the first node says it now."""
        return int(await self.call("eth_chainId"), 16)

    async def block_number(self) -> int:
        """Return the number of the latest block."""
        return int(await self.call("eth_blockNumber"), 16)

    async def block(self, at: BlockTag = "latest") -> BlockRef:
        """Return one block's header by tag, number or hash.

        A node that does not know it, being behind, is not the last word: the others are asked too.
        Raises ObservationError when no node knows it.
        """
        wanted = at.hash if isinstance(at, BlockRef) else at

        def decode(raw: msgspec.Raw) -> BlockRef:
            block = self._block(raw, wanted)
            if block is None:
                raise _UnknownBlock
            return block

        try:
            params = [wanted if isinstance(wanted, str) else hex(wanted), False]
            return await self.read(_block_method(wanted), params, decode)
        except _UnknownBlock:
            who = f"{self.names[0]} does not know" if len(self.names) == 1 else "No node knows"
            raise ObservationError(f"{who} block {wanted}.") from None

    async def blocks(self, numbers: Iterable[int]) -> list[BlockRef]:
        """Return canonical headers by number, in one batch, or one by one where none is taken.

        What is wrong in a batch, or missing, is asked for by itself.
        Raises ObservationError when one of them is not known.
        """
        wanted = list(numbers)
        if not wanted:
            return []
        requests = [("eth_getBlockByNumber", (hex(number), False)) for number in wanted]

        async def ask(provider: Provider) -> list[BlockRef | None]:
            answers = await provider.ask_many(requests)
            found: list[BlockRef | None] = []
            wrong: BadAnswer | None = None
            for number, answer in zip(wanted, answers, strict=True):
                block = None
                if not isinstance(answer, RpcError):
                    try:
                        block = self._block(answer, number)
                    except BadAnswer as error:
                        wrong = error
                found.append(block)
            if wrong is not None:
                malformed(provider, "a batch of eth_getBlockByNumber", wrong)
            return found

        try:
            found = await self.ask(ask)
        except NoAnswer:
            raise
        except RpcError:  # no batches here
            found = [None] * len(wanted)
        return [
            await self.block(number) if block is None else block
            for number, block in zip(wanted, found, strict=True)
        ]

    def _block(self, raw: msgspec.Raw, at: int | str) -> BlockRef | None:
        """Return the header in an answer, None for null.  Raises BadAnswer for another than `at`.

        `at`: the number or hash asked for; a tag names no block.
        """
        header: wire.Header | None = wire.convert(raw, _MAYBE_HEADER, "a block")
        if header is None:
            return None
        block = wire.block_ref(header)
        if isinstance(at, int):
            if block.number != at:
                raise BadAnswer(f"Asked for was block {at:,}, this is block {block.number:,}.")
        elif len(at) == 66 and block.hash != at:
            raise BadAnswer(f"Asked for was block {at}, this is block {block.hash}.")
        self.blooms.note(header)
        return block

    async def receipt(self, tx_hash: Hash) -> Receipt | None:
        """Return what became of a transaction; None while no block has it.

        Where there are several nodes, two that answer must say the same: neither one's receipt nor
        its silence is believed alone.  One that is left while the others are down is.
        Raises ObservationError while they do not agree, as when one of them is a block behind.
        """
        method = "eth_getTransactionReceipt"

        def decode(raw: msgspec.Raw) -> Receipt | None:
            answer: wire.WireReceipt | None = wire.convert(raw, _MAYBE_RECEIPT, method)
            if answer is None or answer.block_hash is None:
                return None
            receipt = wire.receipt(answer)
            if receipt.tx_hash != tx_hash:
                raise BadAnswer(f"Asked for was {tx_hash}, this is of {receipt.tx_hash}.")
            return receipt

        if len(self._providers) > 1:
            answers = await self.each(method, [tx_hash], decode)
            said = [answer for answer in answers if not isinstance(answer, RpcError)]
            if said:
                return _agreed(tx_hash, said)
        return await self.read(method, [tx_hash], decode)

    # --- how --------------------------------------------------------------------------------

    async def read(
        self,
        method: str,
        params: Sequence[Any],
        decode: Callable[[msgspec.Raw], T],
        *,
        attempts: int | None = None,
        hedge_s: float | None = None,
    ) -> T:
        """Return what `decode` makes of the answer; its `BadAnswer` counts as no answer."""
        ask = _reading(method, params, decode)
        return await self._turns.ask(ask, attempts=attempts, hedge_s=hedge_s)

    async def ask(
        self,
        ask: Callable[[Provider], Awaitable[T]],
        *,
        attempts: int | None = None,
        hedge_s: float | None = None,
        aside: bool = False,
    ) -> T:
        """Return what `ask` has of one node: the others are asked as for any read.

        `aside`: it may be too much for a node that is well, so that to be slow is not held against
        it.
        """
        return await self._turns.ask(ask, attempts=attempts, hedge_s=hedge_s, aside=aside)


def _reading(
    method: str, params: Sequence[Any], decode: Callable[[msgspec.Raw], T], *, urgent: bool = False
) -> Callable[[Provider], Awaitable[T]]:
    """Return what asks one node and decodes its answer: a `BadAnswer` is that node's failure."""

    async def ask(node: Provider) -> T:
        raw = await node.ask(method, params, urgent=urgent)
        try:
            return decode(raw)
        except BadAnswer as error:
            raise malformed(node, method, error) from error

    return ask


def _block_method(at: str | int) -> str:
    by_hash = isinstance(at, str) and len(at) == 66
    return "eth_getBlockByHash" if by_hash else "eth_getBlockByNumber"


def _agreed(tx_hash: Hash, said: Sequence[Receipt | None]) -> Receipt | None:
    """Return what two nodes say, or the only one that answered.  Raises ObservationError."""
    if len(said) == 1:
        return said[0]
    [(word, votes)] = Counter(said).most_common(1)
    if votes < 2:
        kinds = ("no receipt" if one is None else f"block {one.block_hash}" for one in said)
        raise ObservationError(
            f"The nodes do not agree on what became of {tx_hash}: {', '.join(kinds)}."
        )
    return word


async def _chain_id_of(provider: Provider) -> int | RpcError:
    try:
        return await provider.chain_id()
    except RpcError as error:
        return error


def malformed(provider: Provider, what: str, error: BadAnswer) -> NoAnswer:
    """Note that a node's answer is none, and return the error to raise."""
    why = str(error).rstrip(".")
    rest_s = ASIDE_REST_S if what in ASIDE else None
    return provider.failed(f"answered {what} in a shape that is wrong ({why})", rest_s=rest_s)
