"""What a rehearsed action is said to cost."""

from dataclasses import replace

from keeper.cli.act_words import became
from keeper.model import Cost, Rehearsed
from keeper.units import Base, Wei
from tests.store.builders import plan

COST = Cost(gas_used=161_007, wei=Wei(2_898_126_000_000_000), value=Base(5_79000001))


def test_a_rehearsal_says_the_expected_cost_beside_the_most_it_may_be() -> None:
    rehearsed = Rehearsed(plan=plan("r1", 2), health_after=None, cost=COST)

    lines = became(rehearsed, armed=False, wait=True)
    unpriced = became(replace(rehearsed, cost=replace(COST, value=None)), armed=False, wait=True)

    at = next(i for i, line in enumerate(lines) if line.startswith("  gas  "))
    assert "at most" in lines[at]
    assert lines[at + 1] == "  expected        161,007 gas, 0.002898 ETH, 5.79 USD"
    assert unpriced[at + 1] == "  expected        161,007 gas, 0.002898 ETH"
