"""Many positions in danger at once, and gas that becomes dear: the short form of E1 and E2."""

import pytest

from bench import storm
from keeper.devnet.network import Devnet, Stage

pytestmark = pytest.mark.chain


@pytest.mark.usefixtures("devnet")
async def test_everybody_worth_it_is_liquidated_within_three_blocks(stage: Stage) -> None:
    line = await storm.flood(stage)

    found = line.context
    assert found["fell_below_1"] >= 12
    assert found["liquidated"] >= 8
    assert line.value == 0, found


@pytest.mark.usefixtures("devnet")
async def test_when_gas_becomes_dear_everybody_is_acted_for_or_alarmed(stage: Stage) -> None:
    line = await storm.dear_gas(stage, positions=20)

    found = line.context
    assert found["base_fee_to_wei"] >= 99 * found["base_fee_from_wei"]
    assert found["in_danger"] >= 8
    assert found["acted_for"] >= 1
    assert found["alarmed_with_the_cap"] >= 1, found
    assert line.value == 0, found


@pytest.mark.usefixtures("devnet")
async def test_the_count_of_the_missed_sees_who_was_left_out(stage: Stage, devnet: Devnet) -> None:
    line = await storm.flood(stage, blocks=0)  # nothing was mined: all of them are missed

    assert line.value >= 8
    assert not line.ok
    assert devnet.borrowers
