"""Heads pushed over a Unix socket: as over a WebSocket, whatever the node does in between."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.chain.branch import Advance
from keeper.chain.doctor import Grade, examine
from keeper.chain.heads import HeadFollower
from keeper.chain.rpc import Rpc
from keeper.chain.subscription import Mailbox, Subscription
from keeper.errors import ConfigError
from keeper.model import BlockRef
from tests.chain.test_ipc import QUICK
from tests.chain_unit import standin
from tests.chain_unit.bare_anvil import Anvil, bare_anvil
from tests.faults.rig import until

pytestmark = pytest.mark.chain

LONG_S = 30.0
"""Longer than any test: what comes is pushed and not polled for."""


@pytest.fixture
async def anvil(tmp_path: Path) -> AsyncIterator[tuple[Anvil, str]]:
    path = tmp_path / "anvil.ipc"
    async with bare_anvil("--ipc", str(path)) as started:
        await started.mine(3)
        await listening(path)
        yield started, f"ipc://{path}"


async def listening(path: Path) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_unix_connection(path)
                writer.close()
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def following(
    rpc_url: str, ipc_url: str, *, silence_s: float = LONG_S, poll_s: float = 0.05
) -> AsyncIterator[tuple[HeadFollower, "asyncio.Queue[Advance]"]]:
    """A follower that is subscribed, and what it says."""
    said: asyncio.Queue[Advance] = asyncio.Queue()
    async with await Rpc.open([rpc_url], 31337, limits=QUICK) as rpc:
        heads = HeadFollower(rpc, [ipc_url], block_time_s=1.0, silence_s=silence_s, poll_s=poll_s)

        async def run() -> None:
            async with contextlib.aclosing(heads.follow(None)) as advances:
                async for advance in advances:
                    said.put_nowait(advance)

        task = asyncio.create_task(run())
        try:
            async with asyncio.timeout(10):
                await said.get()
                assert await until(lambda: heads.connected)
            yield heads, said
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def taken(said: "asyncio.Queue[Advance]", head: BlockRef) -> list[Advance]:
    """Everything that is said until `head` is."""
    found: list[Advance] = []
    async with asyncio.timeout(10):
        while not found or found[-1].adopted[-1] != head:
            found.append(await said.get())
    return found


def numbers(advances: Sequence[Advance]) -> list[int]:
    return [block.number for advance in advances for block in advance.adopted]


async def test_heads_are_pushed_over_the_socket_and_a_reorg_is_said(
    anvil: tuple[Anvil, str],
) -> None:
    node, url = anvil
    async with following(url, url) as (heads, said):
        await node.mine(4)
        built = await taken(said, await node.rpc.block())
        await node.reorg(2)
        await node.mine()
        turned = await taken(said, await node.rpc.block())

        assert numbers(built) == [4, 5, 6, 7]
        assert [block.number for a in turned for block in a.orphaned] == [7, 6]
        assert numbers(turned) == [6, 7, 8]
        assert heads.connected


async def test_a_node_that_went_away_is_subscribed_to_again_and_nothing_is_missed(
    tmp_path: Path,
) -> None:
    path, state = tmp_path / "anvil.ipc", tmp_path / "state.json"
    async with bare_anvil("--ipc", str(path), "--state", str(state)) as node:
        await node.mine(3)
        await listening(path)
        async with following(node.url, f"ipc://{path}") as (heads, said):
            await node.stop_process(signal.SIGTERM)
            assert await until(lambda: not heads.connected)
            await asyncio.to_thread(path.unlink, missing_ok=True)
            await node.start_process()
            assert await until(lambda: heads.connected)
            await node.mine(5)
            again = await taken(said, await node.rpc.block())

            assert numbers(again) == [4, 5, 6, 7, 8]
            assert heads.connected


async def test_check_says_what_pushes_heads(anvil: tuple[Anvil, str]) -> None:
    node, url = anvil
    async with await Rpc.open([node.url], 31337, limits=QUICK) as rpc:
        pushes = await examine(rpc, [url], block_time_s=12.0)
        gone = await examine(rpc, [url + ".gone"], block_time_s=12.0)

    assert [(f.grade, f.says) for f in pushes if f.node == url] == [(Grade.OK, "pushes heads")]
    [finding] = [f for f in gone if f.node == url + ".gone"]
    assert finding.grade is Grade.WARNING
    assert "No such file" in finding.says
    assert "polled" in finding.says


async def test_another_chain_behind_the_socket_is_the_operators_matter(
    anvil: tuple[Anvil, str],
) -> None:
    with pytest.raises(ConfigError, match="answers for chain 31337, the configuration says 1"):
        await Subscription.prove(anvil[1], 1)


# --- sockets that do not behave ---------------------------------------------------------------


@asynccontextmanager
async def socket(path: Path, after_subscribing: Sequence[bytes]) -> AsyncIterator[str]:
    """A socket that takes a subscription, then says these bytes and nothing more."""
    open_: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.append(writer)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                asked: dict[str, Any] = json.loads(line)
                result = "0x7a69" if asked["method"] == "eth_chainId" else "0x1"
                answer = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
                writer.write(json.dumps(answer).encode())
                if asked["method"] == "eth_subscribe":
                    for some in after_subscribing:
                        writer.write(some)
                        await writer.drain()
                        await asyncio.sleep(0.002)

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield f"ipc://{path}"
    finally:
        server.close()
        for writer in open_:
            writer.close()


async def test_a_socket_that_stays_open_and_says_nothing_is_given_up(
    anvil: tuple[Anvil, str], tmp_path: Path
) -> None:
    node, _ = anvil
    with capture_logs() as logs:
        async with (
            socket(tmp_path / "silent.ipc", ()) as url,
            following(node.url, url, silence_s=0.3) as (_, said),
        ):
            await node.mine(2)
            found = await taken(said, await node.rpc.block())
            await asyncio.sleep(0.5)
            await node.mine()
            found += await taken(said, await node.rpc.block())

    assert numbers(found) == [4, 5, 6]
    assert "ws.silent" in [line["event"] for line in logs]


async def test_heads_that_come_in_pieces_and_without_line_feeds_are_told_apart(
    anvil: tuple[Anvil, str], tmp_path: Path
) -> None:
    node, _ = anvil
    await node.mine(3)
    headers = [await node.control("eth_getBlockByNumber", hex(n), False) for n in (4, 5, 6)]
    text = b"".join(
        json.dumps(
            {
                "jsonrpc": "2.0",
                "method": "eth_subscription",
                "params": {"subscription": "0x1", "result": header | {"extraData": "}{\\u00e9"}},
            },
            ensure_ascii=False,
        ).encode()
        for header in headers
    )
    pieces = [text[at : at + 311] for at in range(0, len(text), 311)]
    noted: list[str] = []
    async with socket(tmp_path / "pieces.ipc", pieces) as url:
        one = Subscription([url], 31337, Mailbox(), lambda header: noted.append(header.number))
        task = asyncio.create_task(one.run())
        await until(lambda: len(noted) >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert noted == ["0x4", "0x5", "0x6"]


async def test_a_number_of_any_length_is_passed_over_where_nobody_reads_it(tmp_path: Path) -> None:
    block = standin.Chain(5).head
    digits = b"9" * 5_000
    head = {"subscription": "0x1", "result": standin.header(block)}
    says = (
        b'{"jsonrpc":"2.0","method":"x","blobGas":%b,"excess":%b.0e%b}' % (digits, digits, digits),
        json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": head}).encode(),
    )
    mailbox = Mailbox()
    async with socket(tmp_path / "long.ipc", says) as url:
        task = asyncio.create_task(Subscription([url], 31337, mailbox).run())
        task.add_done_callback(mailbox.ended)
        async with asyncio.timeout(5):
            found = await mailbox.take()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert found.block.hash == block.hash


@pytest.mark.parametrize(
    ("says", "why"),
    [(b"HTTP/1.1 400 Bad Request", "no JSON-RPC"), (b"[" + b" " * 5_000_000, "at once")],
    ids=["another protocol", "a flood"],
)
async def test_nonsense_ends_the_connection_with_a_reason(
    tmp_path: Path, says: bytes, why: str
) -> None:
    with capture_logs() as logs:
        async with socket(tmp_path / "odd.ipc", (says,)) as url:
            task = asyncio.create_task(Subscription([url], 31337, Mailbox()).run())
            await until(lambda: any(line["event"] == "ws.lost" for line in logs))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert why in next(line["reason"] for line in logs if line["event"] == "ws.lost")
