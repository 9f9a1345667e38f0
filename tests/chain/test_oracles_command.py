"""``keeper oracles`` on the devnet: before, during and after a freeze and a rotation."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.network import Devnet
from tests.chain.watching import settings_of

pytestmark = pytest.mark.chain

ROOT = Path(__file__).parents[2]


async def keeper(devnet: Devnet, folder: Path, *words: str, **more: str) -> str:
    """Run the command as a person does; return what it printed."""
    settings_of(devnet, folder, "[references]\nwindow_s = 60")
    variables = {"KEEPER__CHAINS__DEVNET__UNISWAP_FACTORY": devnet.deployment.uniswap.factory}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keeper", *words, "--config", str(folder / "keeper.toml"),
        cwd=ROOT, env={**os.environ, **variables, **more},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


async def prices(devnet: Devnet, folder: Path) -> dict[str, dict[str, Any]]:
    document = json.loads(await keeper(devnet, folder, "oracles", "--json"))
    return {price["symbol"]: price for price in document["markets"][0]["prices"]}


async def test_a_freeze_and_a_rotation_are_seen_and_end(devnet: Devnet, tmp_path: Path) -> None:
    await devnet.align_pools()
    await devnet.anvil.increase_time(72)
    await devnet.refresh_feeds()
    before = await prices(devnet, tmp_path)
    await devnet.anvil.increase_time(3_600 + 120 + 60)
    await devnet.refresh_feeds("ETH/USD")
    during = await prices(devnet, tmp_path)
    shown = await keeper(devnet, tmp_path, "oracles")
    fresh = await devnet.rotate_aggregator("ETH/USD")
    after = await prices(devnet, tmp_path)

    assert before["WETH"]["usable"]
    assert abs(before["WETH"]["difference_bps"]) <= 10
    assert before["WETH"]["reference"]["quotes"][0]["source"].startswith("Uniswap v3 WETH/")
    assert before["wstETH"]["caps"] == [{"capped": False, "headroom_bps": 0}]
    assert not during["WETH"]["usable"]
    assert [doubt["cause"] for doubt in during["WETH"]["doubts"]] == ["stale"]
    assert during["USDC"]["usable"]
    assert "stale (hold_all): ETH/USD: last answer" in shown
    assert "liquidations are held on 2 of" in shown
    assert after["WETH"]["usable"]
    assert after["WETH"]["doubts"] == []
    assert fresh
