"""Buying over pools that are a formula: x * y = k, by the real calls and answers."""

import asyncio
from typing import Any

import pytest

from keeper.errors import ExecutionError, RpcError
from keeper.execution.exchange import GET_POOL, QUOTE, Exchange, Hop, encode_path
from keeper.execution.routes import Routes, Sale
from keeper.model import Address
from tests.execution.fakes import FakeChain

WETH, USDC, DAI, XIS = (Address(f"0x{digit * 40}") for digit in "1234")
EXCHANGE = Exchange(factory=Address("0x" + "fa" * 20), quoter=Address("0x" + "90" * 20))


class Pools:
    """A node that knows nothing but a factory and a quoter."""

    def __init__(self, *, simulates: bool = True) -> None:
        self.simulates = simulates
        self.requests = 0
        self.depth = {
            (WETH, USDC, 500): 10**6,
            (WETH, DAI, 500): 3 * 10**6,
            (DAI, USDC, 100): 10**8,
        }

    async def call(self, method: str, params: list[Any], /) -> Any:
        self.requests += 1
        if method == "eth_simulateV1":
            if not self.simulates:
                raise RpcError("no such method", code=-32601)
            calls = params[0]["blockStateCalls"][0]["calls"]
            return [{"calls": [self._simulated(call) for call in calls]}]
        answer = self._answer(params[0])
        if answer is None:
            raise RpcError("execution reverted", code=3)
        return answer

    def _simulated(self, call: dict[str, Any]) -> dict[str, str]:
        answer = self._answer(call)
        return {"status": "0x0"} if answer is None else {"status": "0x1", "returnData": answer}

    def _answer(self, call: dict[str, Any]) -> str | None:
        data = bytes.fromhex(call["data"][2:])
        words = [int.from_bytes(data[i : i + 32], "big") for i in range(4, len(data), 32)]
        a, b = (Address(f"0x{word:040x}") for word in words[:2])
        if data[:4] == GET_POOL:
            there = (a, b, words[2]) in self.depth or (b, a, words[2]) in self.depth
            return "0x" + f"{int(there):064x}"
        assert data[:4] == QUOTE
        amount, fee = words[2], words[3]
        deep = self.depth.get((a, b, fee)) or self.depth.get((b, a, fee))
        if not deep:
            return None
        if amount >= deep:
            return None
        put = -(-deep * amount // (deep - amount))
        return "0x" + f"{-(-put * 10**6 // (10**6 - fee)):064x}" + "0" * 192


async def _best(pools: Pools, amount: int, **more: Any) -> Sale:
    routes = more.pop("routes", None) or Routes(pools, EXCHANGE)  # type: ignore[arg-type]
    given: dict[str, Any] = {"hubs": (WETH, DAI), "block": FakeChain().head}
    return await routes.best(WETH, USDC, amount, **given | more)


@pytest.mark.parametrize("simulates", [True, False])
async def test_little_is_bought_directly_and_much_over_the_deeper_hub(simulates: bool) -> None:
    little = await _best(Pools(simulates=simulates), 1_000)
    much = await _best(Pools(simulates=simulates), 700_000)

    assert [hop.fee for hop in little.hops] == [500]
    assert [(hop.token_out, hop.fee) for hop in much.hops] == [(DAI, 500), (USDC, 100)]
    # 1e8 * 7e5 / 993e5 = 704935 and 0.01 % more is 705006 of the hub; 3e6 * 705006 / 2294994 =
    # 921580 and 0.05 % more
    assert much.amounts == (705_006, 700_000)
    assert much.cost == 922_041


async def test_a_pool_that_has_not_enough_is_left_out() -> None:
    pools = Pools()
    pools.depth[DAI, USDC, 100] = 999_999

    with pytest.raises(ExecutionError, match="No pool of the exchange buys"):
        await _best(pools, 1_000_000)


async def test_what_is_on_its_way_is_counted_before() -> None:
    pools = Pools()
    del pools.depth[WETH, DAI, 500]
    first = await _best(pools, 300_000)
    second = await _best(pools, 300_000, before=[first])
    both = await _best(pools, 600_000)

    assert second.cost > first.cost
    assert first.cost + second.cost == both.cost


async def test_a_block_costs_few_requests_and_the_next_fewer() -> None:
    pools = Pools()
    routes = Routes(pools, EXCHANGE)  # type: ignore[arg-type]
    block = FakeChain().head

    await _best(pools, 5_000, routes=routes, block=block)
    first = pools.requests
    await _best(pools, 6_000, routes=routes, block=block)

    assert first == 3  # pools, last hops, first hops
    assert pools.requests - first == 2


async def test_no_pool_no_sale() -> None:
    routes = Routes(Pools(), EXCHANGE)  # type: ignore[arg-type]

    with pytest.raises(ExecutionError, match="No pool of the exchange buys"):
        await routes.best(XIS, USDC, 7, hubs=(WETH, DAI), block=FakeChain().head)


async def test_a_token_that_is_wanted_already_is_not_sold() -> None:
    routes = Routes(Pools(), EXCHANGE)  # type: ignore[arg-type]

    sale = await routes.best(USDC, USDC, 31_337, hubs=(), block=FakeChain().head)

    assert sale == Sale(hops=(), amounts=(), cost=31_337)


def test_a_path_is_token_fee_token() -> None:
    hops = (
        Hop(token_in=WETH, token_out=DAI, fee=500),
        Hop(token_in=DAI, token_out=USDC, fee=100),
    )

    assert encode_path(hops).hex() == f"{'1' * 40}0001f4{'3' * 40}000064{'2' * 40}"
    assert encode_path(()) == b""


async def test_a_factory_that_answers_nothing_is_said() -> None:
    class Empty(Pools):
        def _answer(self, call: dict[str, Any]) -> str | None:
            return "0x"

    with pytest.raises(Exception, match="is it Uniswap v3's"):
        await asyncio.wait_for(_best(Empty(), 1), 5)
