"""Every block once, whatever the socket does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper import ports
from keeper.chain.branch import Advance, BranchLost
from keeper.chain.finality import FinalityBroken
from keeper.chain.heads import HeadFollower
from keeper.chain.logs import LogReader
from keeper.chain.provider import Limits
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.errors import ConfigError
from keeper.model import BlockRef, LogFilter
from tests.chain_unit import standin
from tests.chain_unit.standin import Chain, Node, header

FREELY = Limits(calls_per_second=100_000, timeout_s=1.0)


class Follower:
    """A follower in the background and what it said."""

    def __init__(self, heads: HeadFollower, after: BlockRef | None) -> None:
        self.heads = heads
        self.said: list[Advance] = []
        self.chain: list[BlockRef] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.task = asyncio.create_task(self._follow(after))

    async def _follow(self, after: BlockRef | None) -> None:
        async for advance in self.heads.follow(after):
            for block in advance.orphaned:
                assert self.chain.pop() == block
            for block in advance.adopted:
                assert not self.chain or self.chain[-1].hash == block.parent_hash
                self.chain.append(block)
            self.said.append(advance)
            await self.may_take.wait()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.005)

    async def reaches(self, head: BlockRef) -> None:
        await self.until(lambda: self.chain and self.chain[-1] == head)

    async def connects(self) -> None:
        await self.until(lambda: self.heads.connected)

    async def is_pushed_to(self, node: Node) -> None:
        """Let a first head be pushed, after which nothing is polled."""
        head = node.chain.grow()
        await node.push()
        await self.reaches(head)
        await self.until(lambda: self.heads._subscription.pushing)
        await asyncio.sleep(0.05)  # what was being asked


@asynccontextmanager
async def following(
    node: Node,
    *,
    ws: bool = True,
    silence_s: float = 60.0,
    poll_s: float = 0.02,
    after: BlockRef | None = None,
    memory_blocks: int = 512,
) -> AsyncIterator[Follower]:
    async with await Rpc.open([node.url], 31337, limits=FREELY, attempts=1) as rpc:
        heads = HeadFollower(
            rpc,
            [node.ws_url] if ws else [],
            silence_s=silence_s,
            poll_s=poll_s,
            memory_blocks=memory_blocks,
        )
        follower = Follower(heads, after)
        try:
            if after is None:
                await follower.reaches(node.chain.head)
            if ws:
                await follower.connects()
            yield follower
        finally:
            follower.task.cancel()
            await asyncio.gather(follower.task, return_exceptions=True)


async def test_a_head_that_is_pushed_is_taken_without_asking() -> None:
    async with Node(Chain(10)) as node, following(node) as follower:
        await follower.is_pushed_to(node)
        node.seen.clear()

        for _ in range(3):
            head = node.chain.grow()
            await node.push()
            await follower.reaches(head)

        assert [len(advance.adopted) for advance in follower.said] == [1, 1, 1, 1, 1]
        assert [asked for _, asked in node.seen if asked[0] not in ("safe", "finalized")] == []


async def test_a_node_that_lacks_older_headers_is_followed_from_its_head() -> None:
    async with Node(Chain(10)) as node:
        held = node.answers["eth_getBlockByNumber"]
        node.answers["eth_getBlockByNumber"] = lambda asked: (
            None if asked[0] == "0x5" else held(asked)
        )

        with capture_logs() as logs:
            async with following(node, ws=False) as follower:
                head = node.chain.grow(2)
                await follower.reaches(head)
                assert follower.chain == node.chain.blocks[9:]

                node.chain.reorg(5, "b")
                with pytest.raises(BranchLost):
                    await follower.until(lambda: False)
        assert "head.without_ancestors" in [line["event"] for line in logs]


async def test_blocks_that_were_not_pushed_are_fetched() -> None:
    async with Node(Chain(10)) as node, following(node) as follower:
        head = node.chain.grow(40)
        await node.push()

        await follower.reaches(head)

        assert follower.chain == node.chain.blocks[9:]


async def test_a_socket_that_closes_costs_no_block_and_is_replaced() -> None:
    async with Node(Chain(10)) as node, following(node) as follower:
        await node.drop_sockets()
        head = node.chain.grow(4)
        await follower.reaches(head)  # polled meanwhile
        await follower.connects()
        await follower.until(lambda: node.sockets)

        node.seen.clear()
        head = node.chain.grow()
        await node.push()
        await follower.reaches(head)

        assert follower.chain == node.chain.blocks[9:]
        assert node.count("eth_subscribe") == 0


async def test_a_socket_that_is_silent_about_a_block_is_given_up() -> None:
    async with Node(Chain(10)) as node, following(node, silence_s=0.1) as follower:
        await follower.reaches(node.chain.grow(2))
        await follower.until(lambda: follower.heads._subscription.mute_for_s > 0.1)

        await follower.reaches(node.chain.grow())
        await follower.until(lambda: node.count("eth_subscribe") == 2)

        assert follower.chain == node.chain.blocks[9:]


async def test_a_socket_that_falls_silent_is_given_up() -> None:
    async with Node(Chain(10)) as node, following(node, silence_s=0.1) as follower:
        await follower.is_pushed_to(node)

        await follower.reaches(node.chain.grow())
        await follower.until(lambda: node.count("eth_subscribe") == 2)

        assert follower.chain == node.chain.blocks[9:]


async def test_a_socket_that_never_brings_a_head_makes_none_late() -> None:
    async with Node(Chain(10)) as node, following(node, silence_s=60.0) as follower:
        for _ in range(3):
            await follower.reaches(node.chain.grow())

        assert follower.heads.connected
        assert node.count("eth_subscribe") == 1


async def test_a_quiet_chain_is_not_a_broken_socket() -> None:
    async with Node(Chain(10)) as node, following(node, silence_s=0.05) as follower:
        await asyncio.sleep(0.4)

        assert node.count("eth_subscribe") == 1
        assert len(follower.said) == 1


@pytest.mark.parametrize("depth", [1, 2, 5, 60])
async def test_a_reorg_undoes_newest_first(depth: int) -> None:
    async with Node(Chain(100)) as node, following(node, after=node.chain.head) as follower:
        before = list(node.chain.blocks)
        follower.chain = list(before)

        head = node.chain.reorg(depth, "b", depth + 1)
        await node.push()
        await follower.reaches(head)

        [advance] = follower.said
        assert advance.orphaned == tuple(reversed(before[-depth:]))
        assert follower.chain == node.chain.blocks


async def test_a_shorter_chain_is_a_reorg_too() -> None:
    async with Node(Chain(100)) as node, following(node, after=node.chain.head) as follower:
        follower.chain = list(node.chain.blocks)

        head = node.chain.reorg(10, "b", 2)
        await node.push()
        await follower.reaches(head)

        assert follower.chain == node.chain.blocks


async def test_a_reorg_back_and_forth_is_followed() -> None:
    async with Node(Chain(50)) as node, following(node, after=node.chain.head) as follower:
        follower.chain = list(node.chain.blocks)
        old = list(node.chain.blocks)
        head = node.chain.reorg(3, "b", 4)
        await node.push()
        await follower.reaches(head)

        node.chain.blocks = old
        head = node.chain.grow(3)
        await node.push()
        await follower.reaches(head)

        assert follower.chain == node.chain.blocks


async def test_a_late_word_of_an_orphan_is_not_a_reorg() -> None:
    async with Node(Chain(20)) as node, following(node) as follower:
        orphan = node.chain.grow(1, "a")
        head = node.chain.reorg(1, "b")
        await node.push()
        await follower.reaches(head)

        for late in (orphan, node.chain.blocks[15], orphan):
            await node.push(late)
            await asyncio.sleep(0.05)

        assert follower.chain[-1] == head
        assert len(follower.said) == 2


async def test_a_head_that_was_orphaned_and_is_canonical_again_is_polled() -> None:
    async with Node(Chain(20)) as node, following(node, ws=False) as follower:
        old = list(node.chain.blocks)
        await follower.reaches(node.chain.reorg(1, "b"))

        node.chain.blocks = old
        await follower.reaches(old[-1])

        assert len(follower.said) == 3


async def test_a_slow_consumer_gets_several_blocks_at_once() -> None:
    async with Node(Chain(5)) as node, following(node) as follower:
        follower.may_take.clear()
        node.chain.grow()
        await node.push()
        await follower.reaches(node.chain.head)
        for _ in range(30):
            node.chain.grow()
            await node.push()
        await asyncio.sleep(0.1)
        node.seen.clear()

        follower.may_take.set()
        await follower.reaches(node.chain.head)

        assert len(follower.said) == 3
        assert len(follower.said[-1].adopted) == 30
        assert node.seen == []  # all were announced


async def test_a_burst_of_ten_thousand_heads_loses_none() -> None:
    async with Node(Chain(5)) as node, following(node) as follower:
        for _ in range(10_000):
            node.chain.grow()
            await node.push()
        await follower.until(lambda: follower.chain[-1] == node.chain.head)

        assert follower.chain == node.chain.blocks[4:]


async def test_a_node_that_is_down_is_waited_for() -> None:
    async with Node(Chain(10)) as node, following(node, ws=False) as follower:
        node.answers["eth_getBlockByNumber"], honest = (
            lambda _: "nonsense",
            node.answers["eth_getBlockByNumber"],
        )
        node.chain.grow(3)
        await asyncio.sleep(0.2)
        assert len(follower.said) == 1

        node.answers["eth_getBlockByNumber"] = honest
        await follower.reaches(node.chain.head)

        assert follower.chain == node.chain.blocks[9:]


async def test_a_parent_that_the_node_does_not_have_yet_is_asked_for_again() -> None:
    async with Node(Chain(10)) as node, following(node) as follower:
        honest = node.answers["eth_getBlockByHash"]
        node.answers["eth_getBlockByHash"] = lambda _: None
        node.chain.grow(2)
        await node.push()
        await asyncio.sleep(0.1)
        assert len(follower.said) == 1

        node.answers["eth_getBlockByHash"] = honest
        await follower.reaches(node.chain.head)

        assert follower.chain == node.chain.blocks[9:]


async def test_headers_that_do_not_link_are_never_adopted() -> None:
    async with Node(Chain(10)) as node, following(node) as follower:
        lie = header(node.chain.blocks[3])
        node.answers["eth_getBlockByHash"] = lambda _: lie
        node.chain.grow(2)
        await node.push()
        await asyncio.sleep(0.1)

        assert len(follower.said) == 1
        assert not follower.task.done()


async def test_a_reorg_deeper_than_the_memory_ends_the_following() -> None:
    async with Node(Chain(100)) as node, following(node, memory_blocks=16) as follower:
        node.chain.reorg(40, "b", 41)
        await node.push()

        with pytest.raises(BranchLost, match="shares none of the last 16 blocks"):
            await follower.until(lambda: False)


@pytest.mark.parametrize("text", ["{", "<html>", '{"method":"eth_subscription","params":7}', "[]"])
async def test_nonsense_on_the_socket_costs_the_socket_and_nothing_else(text: str) -> None:
    async with Node(Chain(10)) as node, following(node) as follower:
        await node.sockets[0].send_str(text)
        await follower.until(lambda: node.count("eth_subscribe") == 2)
        await follower.connects()

        head = node.chain.grow()
        await node.push()
        await follower.reaches(head)

        assert follower.chain == node.chain.blocks[9:]


async def test_another_chain_behind_a_websocket_is_the_operators_matter() -> None:
    async with (
        Node() as node,
        Node(chain_id=1) as other,
        await Rpc.open([node.url], 31337, limits=FREELY) as rpc,
    ):
        heads = HeadFollower(rpc, [other.ws_url])

        with pytest.raises(ConfigError, match="answers for chain 1"):
            await heads.check()


async def test_heads_of_another_chain_are_not_listened_to() -> None:
    async with (
        Node(Chain(3)) as node,
        Node(Chain(9), chain_id=1) as other,
        await Rpc.open([node.url], 31337, limits=FREELY) as rpc,
    ):
        heads = HeadFollower(rpc, [other.ws_url], poll_s=0.02)
        follower = Follower(heads, None)
        await follower.reaches(node.chain.head)
        head = node.chain.grow()
        await follower.reaches(head)

        follower.task.cancel()
        await asyncio.gather(follower.task, return_exceptions=True)

        assert other.count("eth_chainId") > 0
        assert other.count("eth_subscribe") == 0


async def test_closing_leaves_no_task_behind() -> None:
    async with Node(Chain(3)) as node:
        before = asyncio.all_tasks()
        async with following(node):
            pass
        await asyncio.sleep(0.05)

        left = [
            task
            for task in asyncio.all_tasks() - before
            if "keeper" in str(task.get_coro()) or "Follower" in str(task.get_coro())
        ]
        assert left == []


async def test_a_socket_that_nobody_answers_does_not_keep_heads_from_coming() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        Node(Chain(3)) as node,
        await Rpc.open([node.url], 31337, limits=FREELY) as rpc,
    ):
        follower = Follower(HeadFollower(rpc, [f"ws://127.0.0.1:{port}"], poll_s=0.02), None)
        await follower.reaches(node.chain.head)
        await follower.reaches(node.chain.grow(3))

        assert not follower.heads.connected
        follower.task.cancel()
        await asyncio.gather(follower.task, return_exceptions=True)


async def test_a_reorg_past_what_was_final_ends_the_following() -> None:
    async with Node(Chain(20)) as node:
        node.final = 15
        async with following(node, ws=False) as follower:
            follower.heads._finality_s = 0.0
            await follower.until(lambda: follower.heads.finalized == node.chain.blocks[15])

            node.chain.reorg(5, "b", 6)  # block 15 is among them

            with pytest.raises(FinalityBroken, match=r"Block 15 .* is not canonical any more"):
                await follower.until(lambda: False)


async def test_a_reorg_down_to_what_was_final_is_only_a_reorg() -> None:
    async with Node(Chain(20)) as node:
        node.final = 15
        async with following(node, ws=False) as follower:
            follower.heads._finality_s = 0.0
            await follower.until(lambda: follower.heads.finalized == node.chain.blocks[15])

            follower.chain = list(node.chain.blocks)
            await follower.reaches(node.chain.reorg(4, "b", 6))

            assert len(follower.said[-1].orphaned) == 4


def test_the_shell_fits_its_ports() -> None:
    def fits(heads: ports.Heads, reader: ports.Reader, logs: ports.Logs) -> int:
        return len((heads, reader, logs))

    rpc = Rpc((), None, expected_chain_id=None, counts=Counter(), attempts=1)  # type: ignore[arg-type]
    wanted = LogFilter(addresses=(), topics0=())

    assert fits(HeadFollower(rpc), LensReader(rpc), LogReader(rpc, wanted)) == 3


async def test_a_head_that_cannot_be_asked_for_is_said_ever_more_rarely() -> None:
    async with Node(Chain(3)) as node, following(node, ws=False, poll_s=0.005) as follower:
        with capture_logs() as said:
            node.next_answers += [standin.status(503)] * 60
            await follower.until(lambda: not node.next_answers)
            node.chain.grow()
            await follower.reaches(node.chain.head)

        times = [line["times"] for line in said if line["event"] == "head.unread"]
        assert times == [2**n for n in range(len(times))]
        assert len(times) >= 4
