"""Packed reads at a node that refuses the lens: by Multicall3, or call by call.

A call that breaks a Multicall3 (it burns the gas of all, or fills memory) is found by halves, asked
by itself, and left out of the others from then on: it costs its account, not the block.  By itself
a call has gas of its own, so an answer is bounded by what memory costs.

Caveat: call by call nothing says which block was seen; the node is believed to keep to the hash.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import structlog

from keeper.chain import multicall, wire
from keeper.chain.lens import Shares
from keeper.chain.place import Place, Places, placed
from keeper.chain.provider import NoAnswer, Provider, Request
from keeper.chain.wire import at_block
from keeper.errors import RpcError
from keeper.model import Address, BlockRef, Call, CallResult, Failed

log = structlog.get_logger(__name__)

ZERO_ADDRESS: Final = "0x" + "00" * 20
IDENTITY: Final = Address("0x" + "00" * 19 + "04")
"""The precompile that answers what it is asked: every EVM runs it, without state."""
MULTICALL_GAS: Final = 30_000_000
"""Bounds what one answer may cost in memory where a node has no cap of its own."""
BATCH_CALLS: Final = 100
CALLS_AT_ONCE: Final = 8
"""Of a node that takes no batches."""
INTRINSIC_GAS: Final = 21_000
GAS_A_BYTE: Final = 40
"""The most that a byte of call data costs (EIP-7623)."""
MOST_ALONE: Final = 1_000
_REVERTED: Final = 3


def plain_call(block: BlockRef) -> Request:
    """Return the request of the plainest call: whether a node reads at this block at all."""
    request = {"from": ZERO_ADDRESS, "to": IDENTITY, "data": "0x6b"}
    return "eth_call", [request, at_block(block)]


async def refuses(node: Provider, request: Request) -> bool:
    """Whether the node says no to an eth_call, or nothing with it.  Raises NoAnswer."""
    text: object
    try:
        text = wire.convert(await node.ask(*request), Any, "a question")
    except NoAnswer:
        raise
    except RpcError as error:
        text = error.data
    return text is None or text == "0x"


class Fallback:
    """Makes packed reads at one node without the lens."""

    def __init__(self, node: Provider, address: Address, shares: Shares, places: Places) -> None:
        """`address`: where Multicall3 is, if it is there."""
        self._node = node
        self._address = address
        self._shares = shares
        self._places = places
        self._batches = True
        self._alone: dict[Address, None] = {}
        """Contracts that broke a Multicall3: each is asked by itself."""

    def forget(self) -> None:
        """Try again whatever did not work."""
        self._alone.clear()
        self._batches = True

    # --- Multicall3 -------------------------------------------------------------------------

    async def by_multicall(self, calls: Sequence[Call], block: BlockRef) -> tuple[CallResult, ...]:
        """Return the result of each call.  Raises NoAnswer, RpcError, BadAnswer."""
        together = [call for call in calls if call.to not in self._alone]
        alone = [call for call in calls if call.to in self._alone]
        found = dict(zip(together, await self._halved(together, block), strict=True))
        if alone:
            found |= dict(zip(alone, await self.singly(alone, block), strict=True))
        return tuple([found[call] for call in calls])

    async def _halved(
        self, calls: Sequence[Call], block: BlockRef, *, able: bool = False
    ) -> tuple[CallResult, ...]:
        """Return the results of `calls`, those that break the others found by halves.

        `able`: it is known that the node reads at this block.
        """
        try:
            return await self.aggregated(calls, block)
        except NoAnswer:
            raise
        except RpcError:
            if not calls or not (able or not await refuses(self._node, plain_call(block))):
                raise
        if len(calls) == 1:
            [result] = await self.singly(calls, block)
            if isinstance(result, Failed) and len(self._alone) < MOST_ALONE:
                self._alone[calls[0].to] = None
            return (result,)
        middle = len(calls) // 2
        first = await self._halved(calls[:middle], block, able=True)
        return first + await self._halved(calls[middle:], block, able=True)

    async def aggregated(self, calls: Sequence[Call], block: BlockRef) -> tuple[CallResult, ...]:
        """Return the results of one eth_call.  Raises what a call that breaks it makes of it."""
        data = "0x" + multicall.encode(calls, self._address).hex()
        request = {"from": ZERO_ADDRESS, "to": self._address, "data": data}
        request["gas"] = hex(MULTICALL_GAS)

        async def once() -> tuple[Place, tuple[CallResult, ...]]:
            raw = await self._node.ask("eth_call", [request, at_block(block)])
            answer = wire.octets(wire.convert(raw, Any, "Multicall3"), "Multicall3")
            return multicall.decode(answer, len(calls), self._shares.answer_cap_bytes)

        return await placed(self._places, self._node, block, once)

    # --- call by call -----------------------------------------------------------------------

    async def singly(self, calls: Sequence[Call], block: BlockRef) -> tuple[CallResult, ...]:
        """Return the result of each call.  Raises NoAnswer, RpcError, BadAnswer."""
        results: list[CallResult] = []
        for start in range(0, max(1, len(calls)), BATCH_CALLS):
            requests = [plain_call(block)]
            requests += [self._one(call, block) for call in calls[start : start + BATCH_CALLS]]
            able, *answers = await self._asked(requests)
            if isinstance(able, RpcError):
                raise able  # it is the block, not the calls
            for request, answer in zip(requests[1:], answers, strict=True):
                results.append(await self._result(request, answer))
        return tuple(results)

    def _one(self, call: Call, block: BlockRef) -> Request:
        gas = self._shares.call_gas + INTRINSIC_GAS + GAS_A_BYTE * len(call.data)
        request = {"from": ZERO_ADDRESS, "to": call.to, "data": "0x" + call.data.hex()}
        return "eth_call", [request | {"gas": hex(gas)}, at_block(block)]

    async def _asked(self, requests: Sequence[Request]) -> list[Any]:
        """Return each raw answer or RpcError: by one batch, or several at a time."""
        if self._batches:
            try:
                return list(await self._node.ask_many(requests))
            except NoAnswer:
                raise
            except RpcError as error:
                self._batches = False
                log.info("read.no_batches", node=self._node.name, reason=str(error))
        slots = asyncio.Semaphore(CALLS_AT_ONCE)

        async def ask(request: Request) -> Any:
            async with slots:
                try:
                    return await self._node.ask(*request)
                except RpcError as error:
                    return error

        return list(await asyncio.gather(*map(ask, requests)))

    async def _result(self, request: Request, answer: Any) -> CallResult:
        """Return what the lens would have made of one answer.

        A refusal that is no revert is asked for again: a failure of the node is not the contract's.
        """
        if isinstance(answer, RpcError) and not _reverted(answer):
            try:
                answer = await self._node.ask(*request)
            except NoAnswer:
                raise
            except RpcError as error:
                answer = error
        cap = self._shares.answer_cap_bytes
        if not isinstance(answer, RpcError):
            data = wire.octets(wire.convert(answer, Any, "eth_call"), "eth_call")
            return multicall.result(data, cap)
        if _reverted(answer):
            return multicall.reverted(wire.octets(answer.data or "0x", "a revert"), cap)
        return Failed("was refused by the node: it needs too much gas, or reverts")


def _reverted(error: RpcError) -> bool:
    return error.data is not None or error.code == _REVERTED
