"""Each row of the fault matrix that is about the whole keeper, and the planted bug it catches."""

import pytest

from keeper.devnet.network import Stage
from tests.faults.campaign import Campaign, trials, with_the_bug
from tests.faults.house import HOUSE

pytestmark = pytest.mark.chain

ROWS = [pytest.param(row, id=row.id) for row in HOUSE]


@pytest.mark.parametrize("row", ROWS)
async def test_no_fault_makes_it_act_wrongly(row: Campaign, stage: Stage) -> None:
    result = await trials(row, stage, first=1, count=1)

    assert result.violations == []
    assert result.suffered, "nothing was done to it"


@pytest.mark.parametrize("row", ROWS)
async def test_the_planted_bug_is_caught(row: Campaign, stage: Stage) -> None:
    result = await with_the_bug(row, stage, first=1, most=3)

    assert result.violations, f"not caught: {row.bug_is}"
