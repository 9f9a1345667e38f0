"""Nodes that cannot do everything: said by ``keeper check`` and at the start, with what it costs.

The node is Anvil with the real Pool; what it cannot do is played by the proxy in front of it.
"""

import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.app.checks import check_all
from keeper.app.finding import Finding, State
from keeper.devnet.network import Devnet
from keeper.devnet.toolchain import ensure
from keeper.errors import ConfigError
from keeper.settings import Settings, load
from tests.chain.watching import settings_of, watching
from tests.chain_unit.bare_anvil import bare_anvil
from tests.faults.proxy import Lies, Proxy

pytestmark = pytest.mark.chain

LIMITS = [
    pytest.param(
        Lies(no_lens=True),
        State.WARNING,
        "refuses the packed read and has no Multicall3: every value is an eth_call of its own, "
        "so raise calls_per_second or use another node",
        id="no lens",
    ),
    pytest.param(
        Lies(most_gas=2_900_000),
        State.WARNING,
        "runs an eth_call with too little gas for packed reads: every value is an eth_call of "
        "its own, so raise its RPC gas cap or use another node",
        id="gas cap",
    ),
    pytest.param(
        Lies(no_log_hashes=True),
        State.WARNING,
        "takes no block hash for logs: they are asked for by number and checked, one more "
        "request a block",
        id="no logs by hash",
    ),
    pytest.param(
        Lies(most_blocks=10),
        State.WARNING,
        "refuses the logs of 2,000 blocks in one request: history is read in shorter ranges, so "
        "the first start takes many more requests; set deployment_block, or use a node with wider "
        "ranges for it",
        id="short ranges",
    ),
    pytest.param(
        Lies(pruned_blocks=16),
        State.WARNING,
        "has no old state: set deployment_block of each market, or the start of its history "
        "cannot be found",
        id="pruned",
    ),
    pytest.param(
        Lies(no_receipts=True),
        State.WARNING,
        "gives no receipts of a block: logs that it leaves out are found by the sweep only, or "
        "at another node",
        id="no receipts",
    ),
    pytest.param(
        Lies(syncing=True),
        State.FAILED,
        "is still syncing: what it answers is old",
        id="not synced",
    ),
]


@asynccontextmanager
async def seen_through(
    devnet: Devnet, folder: Path, *lies: Lies, ws: bool = True
) -> AsyncIterator[tuple[Settings, list[Proxy]]]:
    """Settings whose nodes are proxies with these lies; where the market begins is told them."""
    await devnet.anvil.set_time(max(int(time.time()), await devnet.anvil.timestamp() + 1))
    await devnet.anvil.mine()  # a head that is not old, however long the other tests took
    async with contextlib.AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(
                Proxy(devnet.anvil.http_url, random.Random(7), lies=one)
            )
            for one in lies
        ]
        there = replace(
            devnet.deployment,
            rpc_url='", "'.join(proxy.url for proxy in proxies),  # into a TOML list
            ws_url=proxies[0].ws_url,
        )
        settings_of(Devnet(devnet.anvil, there, ensure()), folder)
        config = folder / "keeper.toml"
        text = config.read_text("utf-8").replace(
            "markets = [{", "markets = [{ deployment_block = 0,"
        )
        config.write_text(text if ws else text.replace("ws_urls", "# ws_urls"), "utf-8")
        yield load(config, {}, env_file=None), proxies


async def checked(settings: Settings) -> list[Finding]:
    return [finding async for finding in check_all(settings)]


async def started(devnet: Devnet, settings: Settings) -> list[tuple[str, str]]:
    """The limits that a keeper names that starts on these nodes and takes a block."""
    with capture_logs() as said:
        async with watching(devnet, settings) as here:
            await here.until(lambda: any(line["event"] == "node.limited" for line in said))
            done = await here.tick()
    assert done.readings
    assert not done.unread
    return [(str(e["node"]), str(e["reason"])) for e in said if e["event"] == "node.limited"]


def name_of(proxy: Proxy) -> str:
    return proxy.url.partition("/key/")[0]


@pytest.mark.parametrize(("lies", "state", "words"), LIMITS)
async def test_what_a_node_cannot_do_is_said_by_check_and_at_the_start(
    devnet: Devnet, tmp_path: Path, lies: Lies, state: State, words: str
) -> None:
    async with seen_through(devnet, tmp_path, lies) as (settings, [proxy]):
        found = await checked(settings)
        said = await started(devnet, settings)

    node = f"devnet: node {name_of(proxy)}"
    assert [(f.state, f.said) for f in found if f.what == node and f.said.startswith(words)] == [
        (state, words)
    ]
    assert said == [(name_of(proxy), words)]
    assert "SECRET" not in repr(found)


async def test_a_node_that_can_do_everything_is_not_complained_of(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with seen_through(devnet, tmp_path, Lies()) as (settings, [proxy]):
        found = await checked(settings)

    node = f"devnet: node {name_of(proxy)}"
    assert len([f for f in found if f.what == node]) == 1
    assert not [f for f in found if f.state is State.FAILED]


async def test_a_node_of_another_chain_is_refused_by_check_and_at_the_start(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with seen_through(devnet, tmp_path, Lies(), Lies(chain_id=8453)) as (settings, nodes):
        found = await checked(settings)
        with pytest.raises(ConfigError, match="answers for chain 8453, the configuration says"):
            await started(devnet, settings)

    wrong = [f for f in found if f.what == f"devnet: node {name_of(nodes[1])}"]
    said = "answers for chain 8453, the configuration says 31337: correct the URL or the chain_id."
    assert [(f.state, f.said) for f in wrong] == [(State.FAILED, said)]


async def test_a_websocket_of_another_chain_is_said(devnet: Devnet, tmp_path: Path) -> None:
    async with seen_through(devnet, tmp_path, Lies(), Lies(chain_id=10)) as (_, nodes):
        config = tmp_path / "keeper.toml"
        text = config.read_text("utf-8").replace(nodes[0].ws_url, nodes[1].ws_url)
        config.write_text(text.replace(f', "{nodes[1].url}"', ""), "utf-8")
        found = await checked(load(config, {}, env_file=None))

    [wrong] = [f for f in found if "WebSocket" in f.what]
    assert (wrong.state, wrong.said[:28]) == (State.FAILED, "answers for chain 10, the co")


async def test_a_node_on_an_old_fork_is_said_and_nothing_is_sent_until_they_agree(
    devnet: Devnet, tmp_path: Path
) -> None:
    words = (
        "the nodes have different blocks of the same number: one is on an old fork; nothing is "
        "sent until they agree"
    )
    head = await devnet.anvil.block_number()
    options = ("--fork-url", devnet.anvil.http_url, "--fork-block-number", str(head - 3))
    async with (
        bare_anvil(*options, "--no-rate-limit", "--no-storage-caching") as fork,
        seen_through(devnet, tmp_path, Lies(), Lies(forked=True)) as (settings, nodes),
    ):
        await fork.mine(3)
        nodes[1].upstream = fork.url
        found = await checked(settings)
        said = await started(devnet, settings)

    together = f"{name_of(nodes[0])}, {name_of(nodes[1])}"
    assert [f.state for f in found if f.said == words] == [State.FAILED]
    assert (together, words) in said


async def test_a_chain_without_a_websocket_is_polled_and_that_is_said(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with seen_through(devnet, tmp_path, Lies(), ws=False) as (settings, _):
        found = await checked(settings)
        said = await started(devnet, settings)

    [line] = [f for f in found if f.what == "devnet: WebSocket"]
    assert (line.state, line.said) == (
        State.WARNING,
        "none is configured, so new blocks are polled for over HTTP",
    )
    assert said == [("websocket", "no ws_urls: heads are polled, each up to 0.33 s late")]


async def test_a_websocket_that_takes_no_subscription_is_said(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with seen_through(devnet, tmp_path, Lies(no_subscriptions=True)) as (settings, [proxy]):
        found = await checked(settings)
        said = await started(devnet, settings)

    where = proxy.ws_url.partition("/key/")[0]
    words = "refused eth_subscribe: 'notifications not supported'. Heads come from another one"
    assert [f.state for f in found if words in f.said] == [State.WARNING]
    assert [node for node, reason in said if words in reason] == [where]
