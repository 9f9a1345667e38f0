"""A node behind a Unix socket: the same as behind HTTP, and no answer mistaken for another's."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keeper.chain.doctor import Grade, examine
from keeper.chain.heads import HeadFollower
from keeper.chain.provider import Limits, NoAnswer
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.chain.subscription import Subscription
from keeper.errors import ConfigError, RpcError
from keeper.model import Address, Call, Returned
from tests.chain_unit.bare_anvil import Anvil, bare_anvil

pytestmark = pytest.mark.chain

ECHO = Address("0x" + "ec" * 20)
QUICK = Limits(calls_per_second=100_000, timeout_s=1.5, body_cap_bytes=4_000_000)


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[tuple[Anvil, str]]:
    path = tmp_path / "anvil.ipc"
    async with bare_anvil("--ipc", str(path)) as anvil:
        await anvil.set_code(ECHO, "365f5f37365ff3")
        await anvil.mine(3)
        async with asyncio.timeout(10):
            while True:  # it is opened after the port
                try:
                    _, writer = await asyncio.open_unix_connection(path)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield anvil, f"ipc://{path}"


async def test_whatever_is_asked_over_http_is_answered_over_the_socket(
    socket: tuple[Anvil, str],
) -> None:
    anvil, url = socket
    async with await Rpc.open([url], 31337, limits=QUICK) as rpc:
        head = await rpc.block()
        calls = [Call(to=ECHO, data=bytes([n]) * 700) for n in range(200)]

        assert head == await anvil.rpc.block()
        assert await rpc.blocks(range(4)) == await anvil.rpc.blocks(range(4))
        assert await LensReader(rpc).call(calls, head) == tuple(Returned(c.data) for c in calls)
        assert rpc.names == (url,)
        with pytest.raises(RpcError, match="refused eth_nonsense"):
            await rpc.call("eth_nonsense")


async def test_requests_at_once_do_not_mix(socket: tuple[Anvil, str]) -> None:
    _, url = socket
    async with await Rpc.open([url], 31337, limits=QUICK) as rpc:
        answers = await asyncio.gather(
            *(rpc.eth_call(ECHO, n.to_bytes(2, "big") * 3_000) for n in range(60))
        )

        assert answers == [n.to_bytes(2, "big") * 3_000 for n in range(60)]


async def test_heads_are_followed_and_the_node_is_examined(socket: tuple[Anvil, str]) -> None:
    anvil, url = socket
    async with await Rpc.open([url], 31337, limits=QUICK) as rpc:
        heads = HeadFollower(rpc, block_time_s=1.0, poll_s=0.02)
        async with contextlib.aclosing(heads.follow(None)) as advances:
            first = await anext(advances)
            await anvil.mine(2)
            second = await anext(advances)
        found = await examine(rpc, [], block_time_s=12.0)

        assert second.adopted[-1].number >= first.adopted[-1].number + 1
        assert {finding.node for finding in found} == {url, "websocket"}
        assert not [f for f in found if f.grade is Grade.FAILED]


async def test_a_node_that_went_away_is_said_and_used_again_when_it_is_back(
    socket: tuple[Anvil, str],
) -> None:
    anvil, url = socket
    async with await Rpc.open([url], 31337, limits=QUICK, attempts=1) as rpc:
        await rpc.block()
        await anvil.stop_process(signal.SIGKILL)
        with pytest.raises(NoAnswer, match="cannot be reached"):
            await rpc.block()
        await asyncio.to_thread(Path(url.removeprefix("ipc://")).unlink, missing_ok=True)
        await anvil.start_process()
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(NoAnswer):
                    if (await rpc.block()).number == 0:
                        break
                await asyncio.sleep(0.02)

        assert rpc.healthy == (True,)


async def test_another_chain_behind_the_socket_is_refused(socket: tuple[Anvil, str]) -> None:
    with pytest.raises(ConfigError, match="answers for chain 31337, the configuration says 1"):
        await Rpc.open([socket[1]], 1, limits=QUICK)


# --- sockets that do not behave ---------------------------------------------------------------

Handler = Callable[[dict[str, object], asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def badly(path: Path, handler: Handler) -> AsyncIterator[tuple[Rpc, list[int]]]:
    """A socket that answers the chain id, and everything else by `handler`."""
    opened: list[int] = []
    serving: list[tuple[asyncio.Task[None] | None, asyncio.StreamWriter]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        serving.append((asyncio.current_task(), writer))
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                asked = json.loads(line)
                if asked["method"] == "eth_chainId":
                    writer.write(_answer(asked, "0x7a69"))
                else:
                    await handler(asked, writer)

    server = await asyncio.start_unix_server(serve, path)
    try:
        async with await Rpc.open([f"ipc://{path}"], 31337, limits=QUICK, attempts=1) as rpc:
            yield rpc, opened
    finally:
        server.close()
        for task, writer in serving:
            if task is not None:
                task.cancel()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _answer(asked: dict[str, object], result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()


async def test_an_answer_in_pieces_that_look_whole_is_put_together(tmp_path: Path) -> None:
    async def whole(asked: dict[str, object], writer: asyncio.StreamWriter) -> None:
        data = _answer(asked, [{"a": "}"}, {"b": {"c": []}}]) + b"\n"
        for start in range(0, len(data), 7):
            writer.write(data[start : start + 7])
            await writer.drain()
            await asyncio.sleep(0.002)

    async with badly(tmp_path / "other.ipc", whole) as (rpc, _):
        assert await rpc.call("web3_pieces") == [{"a": "}"}, {"b": {"c": []}}]


async def test_a_late_answer_is_never_taken_for_the_next_ones(tmp_path: Path) -> None:
    async def late_once(asked: dict[str, object], writer: asyncio.StreamWriter) -> None:
        if asked["method"] == "web3_slow":
            await asyncio.sleep(1.8)
        writer.write(_answer(asked, asked["method"]))

    async with badly(tmp_path / "node.ipc", late_once) as (rpc, opened):
        with pytest.raises(NoAnswer, match=r"did not answer web3_slow within 1\.5 s"):
            await rpc.call("web3_slow")
        await asyncio.sleep(0.5)

        assert await rpc.call("web3_quick") == "web3_quick"
        assert len(opened) >= 2, "the connection of the late answer was used again"


async def test_a_flood_is_cut_off_and_a_closed_socket_is_said(tmp_path: Path) -> None:
    async def floods(_: dict[str, object], writer: asyncio.StreamWriter) -> None:
        for _step in range(80):
            writer.write(b" " * 65_536)
            await writer.drain()

    async def hangs_up(_: dict[str, object], writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"jsonrpc":"2.0"')
        writer.close()

    async with badly(tmp_path / "flood.ipc", floods) as (rpc, _):
        with pytest.raises(NoAnswer, match="more than 4,000,000 bytes"):
            await rpc.call("web3_flood")
    async with badly(tmp_path / "closed.ipc", hangs_up) as (rpc, _):
        with pytest.raises(NoAnswer, match="cannot be reached"):
            await rpc.call("web3_closed")


async def test_a_socket_that_is_not_there_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match=r"ipc:///.*gone.ipc cannot be reached \('No such file"):
        await Rpc.open([f"ipc://{tmp_path}/gone.ipc"], 31337, limits=QUICK)


async def test_a_path_that_is_too_long_for_a_socket_is_said_with_its_length() -> None:
    url = "ipc:///tmp/" + "x" * 195 + "\u00fc"  # 5 + 195 + 2 bytes
    words = (
        r"cannot be reached \(.?its path has 202 bytes, and a Unix socket's has 10[37] at the most"
    )

    with pytest.raises(NoAnswer, match=words):
        await Rpc.open([url], 31337, limits=QUICK, attempts=1)
    with pytest.raises(RpcError, match=words):
        await Subscription.prove(url, 31337)
