"""The cheapest way to get one token for another, at one block, over Uniswap v3's pools.

Directly or over one hub, and for an exact amount of what is bought: that is owed and must be there.
A pool is a function of what was taken out before, so what a sale costs after others is
``quote(before + amount) - quote(before)``: sales of ours that are not mined yet are counted, and
nothing is promised twice.
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
    """A way through pools, and what it takes."""

    hops: tuple[Hop, ...]
    """In the order of the path: the first takes what is sold, the last pays out what is bought."""
    amounts: tuple[int, ...]
    """What is taken out of each hop."""
    cost: int
    """What is put into the first."""


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
        """Return the sale that gets `amount` of `buy` for least.  Raises `ExecutionError`
        without one.

        `before`: sales that will be mined earlier.
        """
        if sell == buy:
            return Sale(hops=(), amounts=(), cost=amount)
        if self._quoted_at != block.hash:
            self._quotes, self._quoted_at = {}, block.hash
        taken: dict[Hop, int] = {}
        for sale in before:
            for hop, out in zip(sale.hops, sale.amounts, strict=True):
                taken[hop] = taken.get(hop, 0) + out
        over = [hub for hub in hubs if hub not in (sell, buy)]
        first = {hub: _hops(sell, hub) for hub in over}
        second = {hub: _hops(hub, buy) for hub in over}
        await self._find_pools(
            [*_hops(sell, buy), *(h for hs in (*first.values(), *second.values()) for h in hs)],
            block,
        )
        reach = [hub for hub in over if self._any(first[hub]) and self._any(second[hub])]
        closing = {(hop, amount) for hub in reach for hop in self._there(second[hub])}
        direct = {(hop, amount) for hop in self._there(_hops(sell, buy))}
        cost = await self._costs(direct | closing, taken, block)
        sales = [
            Sale(hops=(hop,), amounts=(amount,), cost=cost[hop, amount])
            for hop, _ in direct
            if (hop, amount) in cost
        ]
        halfway: dict[Hop, int] = {}
        for hub in reach:
            asked = {
                hop: cost[hop, amount] for hop in self._there(second[hub]) if (hop, amount) in cost
            }
            if asked:
                cheapest = min(asked, key=lambda hop: (asked[hop], hop.fee))
                halfway[cheapest] = asked[cheapest]
        opening = {
            (hop, middle): closed
            for closed, middle in halfway.items()
            for hop in self._there(first[closed.token_in])
        }
        cost = await self._costs(set(opening), taken, block)
        sales += [
            Sale(hops=(hop, closed), amounts=(middle, amount), cost=cost[hop, middle])
            for (hop, middle), closed in opening.items()
            if (hop, middle) in cost
        ]
        if not sales:
            raise ExecutionError(
                f"No pool of the exchange buys {sell} for {buy}, directly or over a hub."
            )
        return min(sales, key=lambda sale: (sale.cost, len(sale.hops), sale.hops[0].fee))

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

    async def _costs(
        self, wanted: set[tuple[Hop, int]], taken: Mapping[Hop, int], block: BlockRef
    ) -> dict[tuple[Hop, int], int]:
        """What each hop takes for each amount after what was `taken`, where it has that much."""
        needed = {(hop, amount + taken.get(hop, 0)) for hop, amount in wanted}
        needed |= {(hop, taken[hop]) for hop, _ in wanted if taken.get(hop)}
        unknown = [key for key in needed if key not in self._quotes]
        answers = await self._ask([quote_call(self._exchange, *key) for key in unknown], block)
        for key, answer in zip(unknown, answers, strict=True):
            quoted = decode_quote(answer.data) if isinstance(answer, Returned) else None
            self._quotes[key] = quoted
        costs: dict[tuple[Hop, int], int] = {}
        for hop, amount in wanted:
            earlier = taken.get(hop, 0)
            whole = self._quotes[hop, amount + earlier]
            part = self._quotes[hop, earlier] if earlier else 0
            if whole is not None and part is not None and whole > part:
                costs[hop, amount] = whole - part
        return costs

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
