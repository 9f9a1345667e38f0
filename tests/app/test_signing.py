"""Whose caps are whose: one cap holds over both keys, unless the second has one for itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from keeper.app.signing import shared_caps
from keeper.execution.pair import LIQUIDATING
from keeper.execution.policy import SigningPolicy
from keeper.model import Address, IntentKind
from keeper.units import Base, Wei
from tests.app.test_hands import ARMED, settings

FIRST, SECOND = Address("0x" + "1a" * 20), Address("0x" + "2b" * 20)
PROTECTING = frozenset(IntentKind) - LIQUIDATING
POLICY = SigningPolicy(max_gas_per_day_wei=Wei(3 * 10**17), max_spend_per_day=Base(999_900_000_001))


def test_what_a_day_may_cost_holds_for_both_keys_together(tmp_path: Path) -> None:
    wanted = settings(tmp_path, ARMED)

    for other, kinds in ((SECOND, PROTECTING), (FIRST, LIQUIDATING)):
        allowance = shared_caps(POLICY, wanted, other, kinds).allowance(since=7)

        assert allowance.together_with == (other,)
        assert (allowance.value, allowance.gas_wei) == (999_900_000_001, 3 * 10**17)


@pytest.mark.parametrize(("kinds", "gas_wei"), [(PROTECTING, 3 * 10**17), (LIQUIDATING, 10**16)])
def test_a_cap_of_its_own_leaves_the_other_key_the_first_one(
    tmp_path: Path, kinds: frozenset[IntentKind], gas_wei: int
) -> None:
    wanted = settings(tmp_path, ARMED + 'liquidate_max_gas_per_day_eth = "0.01"\n')

    mine = shared_caps(POLICY, wanted, FIRST, kinds)

    assert mine == replace(POLICY, max_gas_per_day_wei=Wei(gas_wei))
    assert mine.allowance(since=7).together_with == ()
