"""Heads of a real node: reorgs that it does not announce, restarts, lost sockets."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keeper.chain.branch import Advance
from keeper.chain.heads import HeadFollower
from keeper.model import BlockRef
from tests.chain_unit.bare_anvil import Anvil, bare_anvil

pytestmark = pytest.mark.chain


@asynccontextmanager
async def following(
    anvil: Anvil, *, ws: bool = True, after: BlockRef | None = None, silence_s: float = 0.4
) -> AsyncIterator["asyncio.Queue[Advance]"]:
    """Follow in the background; the queue has the advances."""
    heads = HeadFollower(anvil.rpc, [anvil.ws_url] if ws else [], silence_s=silence_s, poll_s=0.05)
    queue: asyncio.Queue[Advance] = asyncio.Queue()

    async def follow() -> None:
        async for advance in heads.follow(after):
            queue.put_nowait(advance)

    task = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(5):
            while ws and not heads.connected:  # noqa: ASYNC110 - it is polled
                await asyncio.sleep(0.01)
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(queue: "asyncio.Queue[Advance]", head: BlockRef) -> list[Advance]:
    """Return the advances up to the one that ends in `head`."""
    advances: list[Advance] = []
    async with asyncio.timeout(10):
        while not advances or advances[-1].adopted[-1] != head:
            advances.append(await queue.get())
    return advances


def replayed(advances: list[Advance], before: list[BlockRef]) -> list[BlockRef]:
    """Apply `advances` to `before` as an engine would; every step must fit exactly."""
    chain = list(before)
    for advance in advances:
        for block in advance.orphaned:
            assert chain.pop() == block
        for block in advance.adopted:
            assert not chain or chain[-1].hash == block.parent_hash
            chain.append(block)
    return chain


async def canonical(anvil: Anvil) -> list[BlockRef]:
    head = await anvil.rpc.block_number()
    return await anvil.rpc.blocks(range(head + 1))


@pytest.mark.parametrize("ws", [True, False], ids=["websocket", "polling"])
async def test_every_block_is_seen_once(ws: bool) -> None:
    async with bare_anvil() as anvil, following(anvil, ws=ws) as queue:
        [first] = await until(queue, await anvil.rpc.block())
        for count in (1, 1, 5, 1, 30):
            await anvil.mine(count)
        advances = await until(queue, await anvil.rpc.block())

        assert first.orphaned == ()
        assert replayed([first, *advances], []) == await canonical(anvil)


@pytest.mark.parametrize("ws", [True, False], ids=["websocket", "polling"])
@pytest.mark.parametrize("depth", [1, 3, 20])
async def test_a_reorg_is_orphaned_newest_first_and_adopted(depth: int, ws: bool) -> None:
    async with bare_anvil() as anvil:
        await anvil.mine(30)
        async with following(anvil, ws=ws) as queue:
            await until(queue, await anvil.rpc.block())
            before = await canonical(anvil)

            await anvil.reorg(depth)
            advances = await until(queue, await anvil.rpc.block())

            # over a WebSocket the new blocks may come in several steps
            assert advances[0].orphaned == tuple(reversed(before[-depth:]))
            assert all(advance.orphaned == () for advance in advances[1:])
            assert replayed(advances, before) == await canonical(anvil)


async def test_a_reorg_is_seen_with_the_block_that_follows_it() -> None:
    async with bare_anvil() as anvil:
        await anvil.mine(30)
        async with following(anvil, silence_s=60) as queue:
            await until(queue, await anvil.rpc.block())
            before = await canonical(anvil)

            await anvil.reorg(3)
            await anvil.mine()
            advances = await until(queue, await anvil.rpc.block())

            assert replayed(advances, before) == await canonical(anvil)
            assert sum(len(advance.orphaned) for advance in advances) >= 3


@pytest.mark.parametrize("ws", [True, False], ids=["websocket", "polling"])
async def test_a_node_that_is_restarted_costs_no_block(tmp_path: Path, ws: bool) -> None:
    async with bare_anvil("--state", str(tmp_path / "state.json")) as anvil:
        await anvil.mine(4)
        async with following(anvil, ws=ws) as queue:
            advances = await until(queue, await anvil.rpc.block())
            follower_rpc = anvil.rpc
            await anvil.mine(2)
            advances += await until(queue, await anvil.rpc.block())

            await anvil.stop_process(signal.SIGTERM)
            await asyncio.sleep(0.3)
            await anvil.start_process()
            await anvil.mine(5)
            head = await anvil.rpc.block()
            advances += await until(queue, head)

            assert follower_rpc is anvil.rpc
            assert replayed(advances, []) == (await canonical(anvil))[4:]
            assert all(advance.orphaned == () for advance in advances)


async def test_following_goes_on_after_a_given_block() -> None:
    async with bare_anvil() as anvil:
        await anvil.mine(100)
        after = await anvil.rpc.block(9)
        anvil.rpc.counts.clear()
        async with following(anvil, ws=False, after=after) as queue:
            head = await anvil.rpc.block()
            [advance] = await until(queue, head)

            assert [block.number for block in advance.adopted] == list(range(10, 101))
            assert anvil.rpc.counts["eth_getBlockByHash"] == 0  # in batches


async def test_a_reorg_across_the_block_to_go_on_from_is_said() -> None:
    async with bare_anvil() as anvil:
        await anvil.mine(20)
        before = await canonical(anvil)
        async with following(anvil, ws=False, after=before[-1]) as queue:
            await asyncio.sleep(0.3)
            await anvil.reorg(6)
            await anvil.mine(3)
            advances = await until(queue, await anvil.rpc.block())

            assert replayed(advances, before) == await canonical(anvil)


async def test_who_is_busy_with_a_head_knows_that_another_has_come() -> None:
    async with bare_anvil() as anvil:
        heads = HeadFollower(anvil.rpc, [anvil.ws_url], silence_s=60, poll_s=0.05)
        assert not heads.overtaken

        async with contextlib.aclosing(heads.follow(None)) as advances:
            await anext(advances)
            busy = heads.overtaken
            async with asyncio.timeout(5):
                while not heads.connected:  # noqa: ASYNC110 - it is polled
                    await asyncio.sleep(0.01)
            await anvil.mine()
            async with asyncio.timeout(5):
                while not heads.overtaken:  # noqa: ASYNC110 - it is polled
                    await asyncio.sleep(0.01)
            taken = await anext(advances)

            assert not busy
            assert taken.adopted[-1] == await anvil.rpc.block()
            assert not heads.overtaken
