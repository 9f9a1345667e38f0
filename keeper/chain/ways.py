"""How one node is asked for a packed read: by the lens, else Multicall3, else call by call.

    lens          one eth_call without `to`: gas and answers capped for each call
    Multicall3    one eth_call, where the contract is: `keeper.chain.fallback`
    call by call  JSON-RPC batches of eth_calls with gas of their own: the same

All of them pinned to the block's hash.  A node starts with the lens.  When it refuses that, even
without a call in it, before and after it runs a plain call at the same block, the next way is
taken, said once, and the lens tried again later.  The results are the same to the byte, but for
the words of a failure.

A read whose contract saw another block than the one asked for (`keeper.chain.place`) is made again.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import structlog

from keeper.chain import lens, multicall, wire
from keeper.chain.fallback import ZERO_ADDRESS, Fallback, plain_call, refuses
from keeper.chain.lens import Shares
from keeper.chain.place import Place, Places, placed
from keeper.chain.provider import NoAnswer, Provider, Request
from keeper.chain.wire import at_block
from keeper.errors import BadAnswer, RpcError
from keeper.model import BlockRef, Call, CallResult, Hash

log = structlog.get_logger(__name__)

LENS_AGAIN_S: Final = 600.0
"""How long a node that refused the lens is not asked for it."""


class Way(StrEnum):
    """How a node is asked."""

    LENS = "the lens"
    MULTICALL = "Multicall3"
    SINGLY = "call by call"


@dataclass(slots=True)
class _Known:
    """What is known of one node."""

    fallback: Fallback
    way: Way = Way.LENS
    since: float = 0.0
    """Monotonic: when the way was taken."""
    doubted: Hash | None = None
    """The last block at which a refusal was looked into."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while that is done."""


def empty_lens(block: BlockRef, shares: Shares) -> Request:
    """Return the request of a lens without a call: whether a node runs it at all."""
    data = "0x" + lens.encode([], shares).hex()
    return "eth_call", [{"from": ZERO_ADDRESS, "data": data}, at_block(block)]


class Ways:
    """Makes packed reads at single nodes, each in the best way that it allows."""

    def __init__(self, shares: Shares, chain_id: int | None) -> None:
        self._shares = shares
        self._multicall = multicall.address_on(chain_id)
        self._known: dict[Provider, _Known] = {}
        self._places = Places()

    @property
    def by_node(self) -> dict[str, Way]:
        """How each node is asked that was asked at all."""
        return {node.name: known.way for node, known in self._known.items()}

    async def read(
        self, node: Provider, calls: Sequence[Call], block: BlockRef
    ) -> tuple[CallResult, ...]:
        """Return the results of the first of `calls` at `block`: all of them where gas allows.

        Raises NoAnswer, RpcError for a refusal, BadAnswer.
        """
        known = self._known.get(node)
        if known is None:
            fallback = Fallback(node, self._multicall, self._shares, self._places)
            known = self._known[node] = _Known(fallback)
        if known.way is not Way.LENS and time.monotonic() - known.since >= LENS_AGAIN_S:
            await self._try_lens_again(node, known, block)
        match known.way:
            case Way.LENS:
                return await self._by_lens(node, known, calls, block)
            case Way.MULTICALL:
                return await self._by_multicall(node, known, calls, block)
            case Way.SINGLY:
                return await known.fallback.singly(calls, block)

    async def _by_lens(
        self, node: Provider, known: _Known, calls: Sequence[Call], block: BlockRef
    ) -> tuple[CallResult, ...]:
        try:
            results = await self._lens(node, calls, block)
        except NoAnswer:
            raise
        except (RpcError, BadAnswer) as refusal:
            async with known.turn:
                if known.way is Way.LENS and not await self._refuses_lens(node, known, block):
                    raise
                if known.way is Way.LENS:
                    await self._change(node, known, block, str(refusal))
            return await self.read(node, calls, block)
        if calls and not results:
            reason = f"it has too little gas for a call of {self._shares.call_gas:,}"
            self._take(node, known, Way.SINGLY, reason)
            return await self.read(node, calls, block)
        return results

    async def _lens(
        self, node: Provider, calls: Sequence[Call], block: BlockRef
    ) -> tuple[CallResult, ...]:
        code = lens.encode(calls, self._shares)
        params = [{"from": ZERO_ADDRESS, "data": "0x" + code.hex()}, at_block(block)]

        async def once() -> tuple[Place, tuple[CallResult, ...]]:
            text: object
            try:
                text = wire.convert(await node.ask("eth_call", params), Any, "a packed read")
            except RpcError as error:
                if error.data is None:
                    raise
                text = error.data  # more than a contract's size is handed over as revert data
            return lens.decode(wire.octets(text, "a packed read"), len(calls), self._shares)

        return await placed(self._places, node, block, once)

    async def _refuses_lens(self, node: Provider, known: _Known, block: BlockRef) -> bool:
        """Whether it is the lens that the node refuses, and neither its size nor the block.

        Refused before a plain call is run and after it: a balancer's backend that did not have
        the block, and then one that does, is no reason to read on without a place.
        """
        if known.doubted == block.hash:
            return False
        known.doubted = block.hash
        lens_alone = empty_lens(block, self._shares)
        return (
            await refuses(node, lens_alone)
            and not await refuses(node, plain_call(block))
            and await refuses(node, lens_alone)
        )

    async def _change(self, node: Provider, known: _Known, block: BlockRef, reason: str) -> None:
        """Take the best of the other ways."""
        way = Way.MULTICALL
        try:
            await known.fallback.aggregated([], block)
        except NoAnswer:
            raise
        except (RpcError, BadAnswer):
            way = Way.SINGLY
        self._take(node, known, way, reason)

    async def _by_multicall(
        self, node: Provider, known: _Known, calls: Sequence[Call], block: BlockRef
    ) -> tuple[CallResult, ...]:
        try:
            return await known.fallback.by_multicall(calls, block)
        except BadAnswer:
            if known.doubted == block.hash:
                raise
            known.doubted = block.hash
            self._take(node, known, Way.SINGLY, "Multicall3 answered what it cannot have said")
            return await known.fallback.singly(calls, block)

    async def _try_lens_again(self, node: Provider, known: _Known, block: BlockRef) -> None:
        known.since = time.monotonic()
        known.fallback.forget()
        if not await refuses(node, empty_lens(block, self._shares)):
            self._take(node, known, Way.LENS, "it runs the lens again")

    def _take(self, node: Provider, known: _Known, way: Way, reason: str) -> None:
        known.way, known.since = way, time.monotonic()
        log.warning("read.way", node=node.name, way=str(way), reason=reason)
