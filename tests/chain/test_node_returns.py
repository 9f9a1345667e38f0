"""A node that is killed while the keeper watches, and comes back with its chain.

The long form, in the middle of ``./run demo --stay``, is ``./run bench killed``.
"""

import asyncio
import gzip
import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.devnet.anvil import AnvilProcess
from keeper.devnet.network import Devnet, start
from keeper.devnet.toolchain import Toolchain
from keeper.settings import Settings, load
from tests.chain.watching import (
    Crowd,
    differences_from_the_pool,
    replayed,
    settings_of,
    watching,
)
from tests.faults.proxy import Fault, Proxy

pytestmark = pytest.mark.chain

AWAY_S = 2.5


async def test_a_killed_node_that_returns_is_read_again_without_a_restart_and_that_is_said(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    stage = await asyncio.to_thread(start, 20)
    again: AnvilProcess | None = None
    try:
        async with (
            stage.devnet() as devnet,
            watching(devnet, settings_of(devnet, tmp_path)) as here,
        ):
            await Crowd(devnet, 3).act(6)
            before = await here.tick()
            engine, passes = here.watcher.engine, len(here.passes)
            state = tmp_path / "state.json"
            dumped = await devnet.anvil.rpc("anvil_dumpState")
            await asyncio.to_thread(state.write_bytes, gzip.decompress(bytes.fromhex(dumped[2:])))
            time_then = await devnet.anvil.timestamp()
            port = stage.process.port
            with capture_logs() as said:
                stage.process.kill()
                await asyncio.sleep(AWAY_S)
                silent_s = here.watcher.unwatched_s
                words = ("--auto-impersonate", "--no-mining", "--load-state", str(state))
                again = AnvilProcess(toolchain.anvil, *words, port=port)
                await devnet.anvil.set_time(time_then + 12)
                await Crowd(devnet, 4).act(6)
                await devnet.anvil.mine()
                after = await here.seen()
            events = [line["event"] for line in said]

            assert silent_s >= AWAY_S
            assert after.block.number == before.block.number + 1
            assert after.block.parent_hash == before.block.hash
            assert here.watcher.engine is engine
            assert len(here.passes) == passes + 1
            assert events.index("rpc.failed") < events.index("rpc.recovered")
            assert "head.silent" in events
            assert 1 <= events.count("head.unread") <= 5, "it is said ever more rarely"
            assert await differences_from_the_pool(here) == []
    finally:
        stage.stop()
        if again is not None:
            again.kill()


def through(proxy: Proxy, devnet: Devnet, folder: Path) -> Settings:
    """Let the keeper ask `proxy`, as often as it asks a node where nothing is configured."""
    settings_of(devnet, folder)
    config = folder / "keeper.toml"
    text = config.read_text("utf-8")
    for ours, theirs in (
        (devnet.deployment.rpc_url, proxy.url),
        (devnet.deployment.ws_url, proxy.ws_url),
        ("calls_per_second = 5000", "calls_per_second = 20"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    config.write_text(text, "utf-8")
    return load(config, {}, env_file=None)


async def test_after_a_long_outage_the_history_is_read_and_the_keeper_is_soon_back(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with Proxy(upstream=devnet.anvil.http_url, chance=random.Random(1)) as proxy:
        settings = through(proxy, devnet, tmp_path)
        async with watching(devnet, settings) as here:
            with capture_logs() as said:
                proxy.weather = {Fault.DROP: 1.0}  # what is connected already
                await proxy.down()
                for _ in range(3):
                    await Crowd(devnet, 5).act(4)
                    await devnet.anvil.rpc("anvil_mine", hex(250), hex(1))
                await proxy.up()
                proxy.weather = {}
                await here.seen()
            lost = [line["reason"] for line in said if line["event"] == "chain.lost"]

            assert any("750 blocks after the last one taken" in why for why in lost)
            assert here.watcher.chain is not None
            assert here.watcher.chain.rpc.counts["eth_getLogs"] < 20
            await here.until(lambda: here.watcher.engine is not None and here.engine.covered)
            await here.tick()
            assert here.holdings == await replayed(devnet, tmp_path)
            assert await differences_from_the_pool(here) == []
