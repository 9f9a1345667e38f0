"""The demo as it is started, with few borrowers: the story must not hang on how many there are."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.chain

POSITIONS = 40
"""So few that Carol is in danger in her quiet hours, and nothing is kept back for a digest."""


@pytest.mark.timeout(180)
async def test_the_demo_passes_with_few_borrowers_too(tmp_path: Path) -> None:
    verdict = tmp_path / "verdict.json"
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keeper.devnet.demo", "--positions", str(POSITIONS),
        "--json", str(verdict), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await demo.communicate()

    assert demo.returncode == 0, said.decode()[-2_000:]
    found = json.loads(verdict.read_text("utf-8"))
    assert found["ok"]
    assert found["health"]["compared"] >= POSITIONS
    assert found["actions"]
