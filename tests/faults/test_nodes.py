"""Each row of the fault matrix that is about nodes: no violation, and the planted bug is caught."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from keeper.chain.provider import Provider
from tests.chain_unit.bare_anvil import Anvil, bare_anvil
from tests.faults.campaign import Campaign, trials, with_the_bug
from tests.faults.nodes import NODES
from tests.faults.rig import planted

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


async def test_a_client_that_does_not_keep_a_pause_is_noticed(anvil: Anvil) -> None:
    [c1] = [row for row in NODES if row.id == "C1"]
    careless = replace(c1, bug=lambda: planted(Provider, "limited_for_s", property(lambda _: 0.0)))

    result = await with_the_bug(careless, anvil, first=1, most=15)

    assert any("before a Retry-After was over" in one for one in result.violations)
