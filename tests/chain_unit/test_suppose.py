"""Reads of a block that does not exist: what is asked of a node, and what it may answer."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from keeper.chain import lens
from keeper.chain.lens import Shares
from keeper.chain.pending import PendingTransactions, PendingTx, mentions
from keeper.chain.provider import Limits, NoAnswer
from keeper.chain.rpc import Rpc
from keeper.chain.suppose import LENS_AT, SupposingReader
from keeper.errors import RpcError, SimulationReverted
from keeper.model import Address, Call, CallResult, Returned, Supposed
from keeper.ports import Steps
from keeper.units import Wei
from tests.chain_unit.standin import Chain, Node, Refusal

FREELY = Limits(calls_per_second=10_000)
POOL, FEED = Address("0x" + "0f" * 20), Address("0x" + "fe" * 20)
RUNS = Supposed(sender=POOL, to=FEED, data=b"\xfe\xaf\x96\x8c")
ASKED = Call(to=POOL, data=b"\x01\x02\x03\x04")
AT = Chain().head.timestamp + 12


def answer(at: int) -> str:
    """What the lens says where it was run at this instant: that one call answered 7."""
    place = (1).to_bytes(8, "big") + at.to_bytes(8, "big") + bytes(32)
    body = b"\x01" + (32).to_bytes(3, "big") + (7).to_bytes(32, "big")
    return "0x" + (b"\x02" + place + body).hex()


def steps() -> Steps[CallResult]:
    (answer,) = yield (ASKED,)
    return answer


def simulated(*results: dict[str, Any]) -> Any:
    return lambda _: [{"number": "0x1", "calls": list(results)}]


RAN = {"status": "0x1", "returnData": "0x", "gasUsed": "0x5208"}
READ = {"status": "0x1", "returnData": answer(AT), "gasUsed": "0x5208"}


async def read(node: Node, *others: Node) -> CallResult:
    urls = [one.url for one in (node, *others)]
    async with await Rpc.open(urls, 31337, limits=FREELY, attempts=1) as rpc:
        reader = SupposingReader(rpc, (RUNS,), node.chain.head.timestamp + 12)
        return await reader.run(steps(), node.chain.head)


async def test_the_transactions_run_first_at_the_instant_said_and_then_the_lens() -> None:
    async with Node() as node:
        node.answers["eth_simulateV1"] = simulated(RAN, READ)
        assert await read(node) == Returned((7).to_bytes(32, "big"))
        [(_, [request, at])] = [seen for seen in node.seen if seen[0] == "eth_simulateV1"]

    [block] = request["blockStateCalls"]
    assert block["blockOverrides"] == {"time": hex(node.chain.head.timestamp + 12)}
    assert [call["to"] for call in block["calls"]] == [FEED, LENS_AT]
    code = block["stateOverrides"][LENS_AT]["code"]
    assert code == "0x" + lens.encode([ASKED], Shares()).hex()
    assert at["blockHash"] == node.chain.head.hash


async def test_a_long_answer_that_comes_as_revert_data_is_read_the_same() -> None:
    for reverted in (
        READ | {"status": "0x0"},
        {"status": "0x0", "returnData": "0x", "error": {"data": READ["returnData"]}},
    ):
        async with Node() as node:
            node.answers["eth_simulateV1"] = simulated(RAN, reverted)
            assert await read(node) == Returned((7).to_bytes(32, "big"))


async def test_a_transaction_that_would_revert_is_said_with_the_nodes_own_word() -> None:
    failed = {"status": "0x0", "returnData": "0x", "error": {"message": "its delay is not over"}}
    async with Node() as node:
        node.answers["eth_simulateV1"] = simulated(failed, READ)
        with pytest.raises(SimulationReverted, match=f"{FEED} would revert: 'its delay is not"):
            await read(node)


async def test_a_node_without_the_method_is_said_with_the_remedy() -> None:
    async with Node() as node:
        with pytest.raises(
            RpcError, match="has no eth_simulateV1, so that nothing can be supposed"
        ):
            await read(node)


async def test_a_node_that_refuses_is_not_read_as_an_answer() -> None:
    def refuse(_: list[Any]) -> Any:
        raise Refusal(-38014, "insufficient funds")

    async with Node() as node:
        node.answers["eth_simulateV1"] = refuse
        with pytest.raises(RpcError, match="insufficient funds"):
            await read(node)


async def test_a_node_that_does_not_heed_the_instant_is_not_believed() -> None:
    async with Node() as node:
        node.answers["eth_simulateV1"] = simulated(RAN, READ | {"returnData": answer(AT - 12)})
        with capture_logs() as said, pytest.raises(NoAnswer):
            await read(node)

    assert "eth_simulateV1 ran at the instant 1700000000, 1700000012 was asked" in said[0]["reason"]


@pytest.mark.parametrize(
    "said",
    [
        None, [], "0x", [{}], [{"calls": []}], [{"calls": [RAN]}], [{"calls": [1, 2]}],
        [{"calls": [RAN, {"status": "0x1"}]}], [{"calls": [{}, READ]}],
        [{"calls": [RAN, READ | {"returnData": "0x02"}]}],
        [{"calls": [RAN, READ | {"returnData": 7}]}],
    ],
)  # fmt: skip
async def test_nonsense_is_no_answer_and_the_next_node_is_asked(said: object) -> None:
    async with Node() as node, Node() as second:
        node.answers["eth_simulateV1"] = lambda _: said
        second.answers["eth_simulateV1"] = simulated(RAN, READ)
        with pytest.raises(NoAnswer, match="answered eth_simulateV1 in a shape that is wrong"):
            await read(node)

        assert await read(node, second) == Returned((7).to_bytes(32, "big"))


# --- what waits -------------------------------------------------------------------------------


def pending(**fields: Any) -> dict[str, Any]:
    whole = {
        "hash": "0x" + "ab" * 32, "from": POOL, "to": FEED, "input": "0xc980", "value": "0x0",
        "nonce": "0x7", "type": "0x2", "gas": "0x5208",
    }  # fmt: skip
    return whole | fields


async def heard(*results: Any) -> list[PendingTx]:
    """Hand these notifications to a subscriber that cares for `FEED`; return what it took."""
    took: list[PendingTx] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            asked = json.loads(frame.data)
            result = "0x7a69" if asked["method"] == "eth_chainId" else "0x5eed"
            await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": result})
            if asked["method"] == "eth_subscribe":
                assert asked["params"] == ["newPendingTransactions", True]
                for one in (*results, pending(hash="0x" + "ee" * 32)):
                    params = {"subscription": "0x5eed", "result": one}
                    await socket.send_json({"method": "eth_subscription", "params": params})
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    last = asyncio.Event()

    def take(one: PendingTx) -> None:
        took.append(one)
        if one.hash == "0x" + "ee" * 32:
            last.set()

    there = PendingTransactions(
        [f"ws://127.0.0.1:{port}/"], 31337,
        concerns=lambda runs: mentions(runs, frozenset({FEED})), take=take,
    )  # fmt: skip
    task = asyncio.create_task(there.run())
    try:
        async with asyncio.timeout(5):
            await last.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()
    return took[:-1]


async def test_what_goes_to_an_aggregator_or_names_one_first_is_taken() -> None:
    forwarded = "0x6fadcf72" + "00" * 12 + FEED[2:] + "00" * 32
    found = await heard(
        pending(value="0x11"),
        pending(to=POOL, input=forwarded),
        pending(to=POOL, input="0x6fadcf72" + "00" * 64),
    )

    assert [one.runs.to for one in found] == [FEED, POOL]
    assert found[0].runs == Supposed(sender=POOL, to=FEED, data=b"\xc9\x80", value_wei=Wei(17))


async def test_what_is_malformed_or_huge_is_passed_over_and_the_rest_is_heard() -> None:
    found = await heard(
        pending(to=None),
        pending(hash="0x12"),
        pending(input="0xabc"),
        pending(input="0x" + "ab" * 70_000),
        pending(value="lots"),
        "0x" + "cd" * 32,
        pending(**{"from": POOL.upper()}),
        pending(hash="0x" + "01" * 32),
    )

    assert [one.hash[:4] for one in found] == ["0x01"]
