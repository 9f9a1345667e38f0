"""Each row of the fault matrix that is about nodes: no violation, and the planted bug is caught."""

import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.chain_unit.bare_anvil import Anvil, bare_anvil
from tests.faults.campaign import Campaign, trials, with_the_bug
from tests.faults.nodes import NODES
from tests.faults.proxy import Fault, Proxy
from tests.faults.rig import Pauses, until

pytestmark = pytest.mark.chain

ROWS = [pytest.param(row, id=row.id) for row in NODES]


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with bare_anvil() as started:
        yield started


@pytest.mark.parametrize("row", ROWS)
async def test_no_fault_makes_it_believe_or_miss_anything(row: Campaign, anvil: Anvil) -> None:
    result = await trials(row, anvil, first=1, count=2)

    assert result.violations == []
    assert result.suffered, "nothing was done to it"


@pytest.mark.parametrize("row", ROWS)
async def test_the_planted_bug_is_caught(row: Campaign, anvil: Anvil) -> None:
    result = await with_the_bug(row, anvil, first=1, most=10)

    assert result.violations, f"not caught: {row.bug_is}"


async def test_a_request_within_a_pause_is_noticed_and_one_under_way_is_not(anvil: Anvil) -> None:
    pauses, asked = Pauses(), {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    async with Proxy(anvil.url, random.Random(1)) as proxy, aiohttp.ClientSession() as session:
        pauses.watch(session)
        proxy.weather = {Fault.TOO_MANY: 1.0}
        await asyncio.gather(*(session.post(proxy.url, json=asked) for _ in range(3)))
        under_way = pauses.too_soon
        await until(lambda: bool(pauses._until))
        await session.post(proxy.url, json=asked)

    assert under_way == 0
    assert pauses.too_soon == 1
