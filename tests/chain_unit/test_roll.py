"""Who is asked when each node is, and who is waited for."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from keeper.chain.heads import HeadFollower
from keeper.chain.health import NodeState
from keeper.chain.logs import LogReader
from keeper.chain.provider import Limits, NoAnswer
from keeper.chain.quorum import Agreed, Quorum
from keeper.chain.rpc import Rpc
from tests.chain_unit import standin
from tests.chain_unit.standin import Chain, Node
from tests.chain_unit.test_logs import WANTED, wire

PATIENT = Limits(calls_per_second=10_000, timeout_s=4.0)


@asynccontextmanager
async def opened(*nodes: Node) -> AsyncIterator[Rpc]:
    async with await Rpc.open([node.url for node in nodes], 31337, limits=PATIENT) as rpc:
        yield rpc


def late(node: Node, seconds: float) -> Any:
    """Answer rightly, but late."""

    async def answer(_: web.Request, asked: Any) -> web.Response:
        await asyncio.sleep(seconds)
        return web.json_response(node._answer(asked))

    return answer


def _asking() -> list[Any]:
    return [task for task in asyncio.all_tasks() if "Roll._of" in repr(task)]


async def test_nodes_that_rest_are_asked_too_and_are_well_again_when_they_answer() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as second, opened(first, second) as rpc:
        for provider in rpc._providers:
            for _ in range(9):  # they rest for half a minute by now
                provider.failed("cannot be reached")

        assert await rpc.each_block(3) == [chain.head, chain.head]
        assert not any(provider.resting for provider in rpc._providers)


async def test_heads_are_agreed_on_again_as_soon_as_nodes_that_were_away_are_back() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as second, opened(first, second) as rpc:
        heads = HeadFollower(rpc, poll_s=0.02, quorum=2)
        advances = heads.follow(None)
        await anext(advances)
        for node in (first, second):
            node.next_answers += [standin.status(503)] * 60
        while first.next_answers or second.next_answers:
            for node in (first, second):
                if node.next_answers:
                    await rpc.each_block("latest")
        chain.grow()
        began_at = time.monotonic()
        back = await anext(advances)
        await advances.aclose()

        assert (back.adopted, back.doubt) == ((chain.head,), "")
        assert time.monotonic() - began_at < 3


async def test_a_node_that_hangs_is_waited_for_once_and_counts_again_when_it_answers() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as hung, opened(first, hung) as rpc:
        hung.next_answers += [standin.drip(9.0)] * 3
        took = []
        for _ in range(3):
            began_at = time.monotonic()
            [head, silent] = await rpc.each_block(3)
            took.append(time.monotonic() - began_at)
            assert head == chain.head
            assert isinstance(silent, NoAnswer)
        hung.next_answers.clear()
        while _asking():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
        await rpc.each_block(3)

        assert took[0] > 0.9
        assert took[1] < 0.4  # 0.1 where it hung before
        assert took[2] < 0.1  # it still owes its last answer
        assert await rpc.each_block(3) == [chain.head, chain.head]


async def test_one_that_hung_is_waited_for_where_nobody_else_is_there() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as second, opened(first, second) as rpc:
        for node in (first, second):
            node.next_answers += [standin.drip(9.0), late(node, 0.3)]
        silent = await rpc.each_block(3)

        assert all(isinstance(answer, NoAnswer) for answer in silent)
        assert await rpc.each_block(3) == [chain.head, chain.head]


async def test_a_node_of_another_chain_is_not_asked_at_every_head() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as second, opened(first, second) as rpc:
        second.chain_id = 1
        rpc._providers[1].failed("cannot be reached")
        for _ in range(5):
            await rpc.each_block(3)

        assert second.count("eth_chainId") == 2  # at the opening, and after it failed
        assert second.count("eth_getBlockByNumber") == 0


async def test_who_was_not_waited_for_is_given_up_on_closing() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as hung:
        async with opened(first, hung) as rpc:
            hung.next_answers += [standin.drip(9.0)] * 2
            await rpc.each_block(3)
            await rpc.each_block(3)

            assert _asking()
        assert not _asking()


class Slowly(list[Any]):
    """`Node.next_answers` of a node that says everything rightly, but late."""

    def __init__(self, node: Node, seconds: float) -> None:
        super().__init__([None])
        self.answer = late(node, seconds)

    def pop(self, _: Any = -1) -> Any:
        return self.answer


async def test_what_enough_nodes_tell_is_not_held_up_by_one_that_is_slow() -> None:
    chain = Chain(4)
    async with (
        Node(chain) as first,
        Node(chain) as second,
        Node(chain) as slow,
        opened(first, second, slow) as rpc,
    ):
        for node in (first, second, slow):
            node.answers["eth_getLogs"] = lambda _: []
        slow.next_answers = Slowly(slow, 0.9)
        quorum, logs = Quorum(rpc, 2), LogReader(rpc, WANTED, nodes=2)
        heads_s, logs_s = [], []
        for _ in range(5):
            began_at = time.monotonic()
            assert await quorum.judge(chain.head) == Agreed(block=chain.head)
            assert await quorum.newest() == chain.head
            assert await quorum.untold([chain.head]) == ("", None)
            heads_s.append(time.monotonic() - began_at)
            assert await logs.at(chain.head) == ()
            logs_s.append(time.monotonic() - began_at - heads_s[-1])
            await asyncio.sleep(0.5)

        assert max(heads_s) < 0.3
        assert max(logs_s) < 0.6
        assert [node.state for node in rpc.health] == [
            NodeState.ALIVE,
            NodeState.ALIVE,
            NodeState.ALIVE,  # that others were enough is no failure of it
        ]
        slow.next_answers = []
        assert await rpc.each_block(3) == [chain.head] * 3
        assert all(node.alive for node in rpc.health)
    assert not _asking()


async def test_what_a_node_says_that_was_not_waited_for_is_noted_all_the_same() -> None:
    chain, forked = Chain(9), Chain(9)
    forked.reorg(2, "b")
    async with (
        Node(chain) as first,
        Node(chain) as second,
        Node(forked) as third,
        opened(first, second, third) as rpc,
    ):
        third.next_answers.append(late(third, 0.2))
        await Quorum(rpc, 2).judge(chain.head)
        before = rpc.health[2].state
        await asyncio.sleep(0.3)

        assert (before, rpc.health[2].state) == (NodeState.ALIVE, NodeState.APART)


async def test_logs_of_a_node_that_is_a_little_slower_still_count() -> None:
    chain = Chain(4)
    async with (
        Node(chain) as first,
        Node(chain) as second,
        Node(chain) as third,
        opened(first, second, third) as rpc,
    ):
        for node in (first, second):
            node.answers["eth_getLogs"] = lambda _: []
        third.answers["eth_getLogs"] = lambda _: [wire(3)]
        third.next_answers.append(late(third, 0.2))

        assert len(await LogReader(rpc, WANTED, nodes=2).at(chain.head)) == 1


async def test_one_that_is_gone_does_not_make_a_slow_one_doubted() -> None:
    chain = Chain(4)
    async with (
        Node(chain) as first,
        Node(chain) as gone,
        Node(chain) as slow,
        opened(first, gone, slow) as rpc,
    ):
        gone.next_answers += [standin.status(503)] * 99
        slow.next_answers = Slowly(slow, 0.7)
        for _ in range(3):
            assert await Quorum(rpc, 2).judge(chain.head) == Agreed(block=chain.head)
