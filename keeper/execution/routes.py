"""The best way to sell one token for another, at one block, over Uniswap v3's pools.

Directly or over one hub.  A pool is a function of what was put in before, so what a sale brings
after others is ``quote(before + amount) - quote(before)``: sales of ours that are not mined yet are
counted, and nothing is promised twice.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.errors import BadAnswer, ExecutionError, RpcError
from keeper.execution.exchange import (
    FEES,
    Exchange,
    Hop,
    decode_pool,
    decode_quote,
    pool_call,
    quote_call,
)
from keeper.execution.node import Node, parse_bytes, pinned
from keeper.execution.simulate import METHOD_NOT_FOUND
from keeper.model import Address, BlockRef, Call, CallResult, Failed, Hash, Returned

FORGET_BLOCKS = 1_800
"""After which it is looked again which pools there are."""
QUOTE_GAS = 3_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """A way through pools, and what it brings."""

    hops: tuple[Hop, ...]
    amounts: tuple[int, ...]
    """What is put into each hop."""
    out: int


class Routes:
    """Finds sales; remembers which pools there are, and a block's quotes while it is the head."""

    def __init__(self, node: Node, exchange: Exchange) -> None:
        self._node = node
        self._exchange = exchange
        self._pools: dict[Hop, tuple[int, bool]] = {}
        self._quotes: dict[tuple[Hop, int], int | None] = {}
        self._quoted_at: Hash | None = None
        self._has_simulate_v1 = True

    async def best(
        self,
        sell: Address,
        buy: Address,
        amount: int,
        *,
        hubs: Sequence[Address],
        block: BlockRef,
        before: Iterable[Sale] = (),
    ) -> Sale:
        """Return the sale of `amount` that brings most.  Raises `ExecutionError` without one.

        `before`: sales that will be mined earlier.
        """
        if sell == buy:
            return Sale(hops=(), amounts=(), out=amount)
        if self._quoted_at != block.hash:
            self._quotes, self._quoted_at = {}, block.hash
        taken: dict[Hop, int] = {}
        for sale in before:
            for hop, put in zip(sale.hops, sale.amounts, strict=True):
                taken[hop] = taken.get(hop, 0) + put
        over = [hub for hub in hubs if hub not in (sell, buy)]
        first = {hub: _hops(sell, hub) for hub in over}
        second = {hub: _hops(hub, buy) for hub in over}
        await self._find_pools(
            [*_hops(sell, buy), *(h for hs in (*first.values(), *second.values()) for h in hs)],
            block,
        )
        reach = [hub for hub in over if self._any(first[hub]) and self._any(second[hub])]
        opening = {(hop, amount) for hub in reach for hop in self._there(first[hub])}
        direct = {(hop, amount) for hop in self._there(_hops(sell, buy))}
        paid = await self._paid(direct | opening, taken, block)
        sales = [Sale(hops=(h,), amounts=(a,), out=paid[h, a]) for h, a in direct if paid[h, a]]
        halfway: dict[Hop, int] = {}
        for hub in reach:
            brought = {hop: paid[hop, amount] for hop in self._there(first[hub])}
            best = max(brought, key=lambda hop: brought[hop])
            if brought[best]:
                halfway[best] = brought[best]
        closing = {
            (hop, middle): opened
            for opened, middle in halfway.items()
            for hop in self._there(second[opened.token_out])
        }
        paid = await self._paid(set(closing), taken, block)
        sales += [
            Sale(hops=(opened, hop), amounts=(amount, middle), out=paid[hop, middle])
            for (hop, middle), opened in closing.items()
            if paid[hop, middle]
        ]
        if not sales:
            raise ExecutionError(
                f"No pool of the exchange buys {sell} for {buy}, directly or over a hub."
            )
        return max(sales, key=lambda sale: (sale.out, -len(sale.hops)))

    # --- pools and quotes -------------------------------------------------------------------

    def _there(self, hops: Iterable[Hop]) -> list[Hop]:
        return [hop for hop in hops if self._pools[_either(hop)][1]]

    def _any(self, hops: Iterable[Hop]) -> bool:
        return bool(self._there(hops))

    async def _find_pools(self, hops: Sequence[Hop], block: BlockRef) -> None:
        unknown = [
            hop
            for hop in dict.fromkeys(map(_either, hops))
            if block.number - self._pools.get(hop, (-FORGET_BLOCKS, False))[0] >= FORGET_BLOCKS
        ]
        answers = await self._ask([pool_call(self._exchange, hop) for hop in unknown], block)
        for hop, answer in zip(unknown, answers, strict=True):
            self._pools[hop] = (block.number, decode_pool(answer))

    async def _paid(
        self, wanted: set[tuple[Hop, int]], taken: Mapping[Hop, int], block: BlockRef
    ) -> dict[tuple[Hop, int], int]:
        """What each hop pays for each amount after what was `taken`; 0 where it pays nothing."""
        needed = {(hop, amount + taken.get(hop, 0)) for hop, amount in wanted}
        needed |= {(hop, taken[hop]) for hop, _ in wanted if taken.get(hop)}
        unknown = [key for key in needed if key not in self._quotes]
        answers = await self._ask([quote_call(self._exchange, *key) for key in unknown], block)
        for key, answer in zip(unknown, answers, strict=True):
            quoted = decode_quote(answer.data) if isinstance(answer, Returned) else None
            self._quotes[key] = quoted
        paid: dict[tuple[Hop, int], int] = {}
        for hop, amount in wanted:
            earlier = taken.get(hop, 0)
            whole = self._quotes[hop, amount + earlier]
            part = self._quotes[hop, earlier] if earlier else 0
            paid[hop, amount] = 0 if whole is None or part is None else max(whole - part, 0)
        return paid

    async def _ask(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        """Make calls that may write (a quoter swaps and takes it back), all at `block`."""
        if not calls:
            return []
        if self._has_simulate_v1:
            try:
                return await self._simulate(calls, block)
            except RpcError as error:
                if error.code == METHOD_NOT_FOUND:
                    self._has_simulate_v1 = False
        return list(await asyncio.gather(*(self._call(call, block) for call in calls)))

    async def _simulate(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        asked = [{**_message(call), "gas": hex(QUOTE_GAS)} for call in calls]
        answer = await self._node.call(
            "eth_simulateV1",
            [{"blockStateCalls": [{"calls": asked}], "validation": False}, pinned(block)],
        )
        found = answer[0].get("calls") if isinstance(answer, list) and answer else None
        if not isinstance(found, list) or len(found) != len(calls):
            raise BadAnswer(f"eth_simulateV1 answered for other than the {len(calls)} calls asked.")
        return [
            Returned(parse_bytes(one.get("returnData"), "quote"))
            if one.get("status") == "0x1"
            else Failed("reverted")
            for one in found
        ]

    async def _call(self, call: Call, block: BlockRef) -> CallResult:
        try:
            answer = await self._node.call("eth_call", [_message(call), pinned(block)])
        except RpcError as error:
            if error.code is None:
                raise
            return Failed("reverted")
        return Returned(parse_bytes(answer, "quote"))


def _hops(sell: Address, buy: Address) -> tuple[Hop, ...]:
    return tuple(Hop(token_in=sell, token_out=buy, fee=fee) for fee in FEES)


def _either(hop: Hop) -> Hop:
    """The same pool, whichever way."""
    if int(hop.token_in, 16) <= int(hop.token_out, 16):
        return hop
    return Hop(token_in=hop.token_out, token_out=hop.token_in, fee=hop.fee)


def _message(call: Call) -> dict[str, Any]:
    return {"to": call.to, "data": "0x" + call.data.hex()}
