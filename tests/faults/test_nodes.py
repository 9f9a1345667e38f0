"""Each row of the fault matrix that is about nodes: no violation, and the planted bug is caught."""

from collections.abc import AsyncIterator

import pytest

from tests.chain_unit.bare_anvil import Anvil, bare_anvil
from tests.faults.campaign import Campaign, trials, with_the_bug
from tests.faults.nodes import NODES

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
