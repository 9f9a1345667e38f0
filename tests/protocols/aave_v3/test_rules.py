"""Which revision computes how."""

import pytest

from keeper.errors import ConfigError
from keeper.protocols.aave_v3.rules import rules_for
from keeper.units import Rounding


@pytest.mark.parametrize(
    ("revision", "release"),
    [
        (1, "3.0"),
        (2, "3.0"),
        (3, "3.1"),
        (5, "3.2"),
        (7, "3.3"),
        (8, "3.4"),
        (9, "3.5"),
        (10, "3.6"),
        (11, "3.7"),
    ],
)
def test_each_supported_revision_knows_its_release(revision: int, release: str) -> None:
    rules = rules_for(revision)

    assert (rules.revision, rules.release) == (revision, release)


@pytest.mark.parametrize("revision", [0, 4, 6, 12, 2**256 - 1])
def test_an_unknown_revision_is_refused_with_what_to_do(revision: int) -> None:
    with pytest.raises(ConfigError, match=rf"POOL_REVISION {revision}, .* upgrade the keeper"):
        rules_for(revision)


def test_rounding_turned_in_favour_of_the_protocol_with_3_5() -> None:
    before, after = rules_for(8), rules_for(9)

    assert (before.collateral_balance, before.debt_balance, before.debt_value) == (
        Rounding.HALF_UP,
        Rounding.HALF_UP,
        Rounding.DOWN,
    )
    assert (after.collateral_balance, after.debt_balance, after.debt_value) == (
        Rounding.DOWN,
        Rounding.UP,
        Rounding.UP,
    )


@pytest.mark.parametrize(
    ("revision", "rounding"), [(1, Rounding.HALF_UP), (8, Rounding.HALF_UP), (9, Rounding.DOWN)]
)
def test_what_is_paid_in_is_scaled_half_up_and_from_3_5_down(
    revision: int, rounding: Rounding
) -> None:
    rules = rules_for(revision)

    assert (rules.supply_scaled, rules.repay_scaled) == (rounding, rounding)


def test_the_binomial_ended_with_3_4_and_the_old_close_factor_with_3_3() -> None:
    assert not rules_for(7).compounds_by_taylor
    assert rules_for(8).compounds_by_taylor
    assert not rules_for(5).close_factor_of_total
    assert rules_for(7).close_factor_of_total
    assert rules_for(7).must_not_leave_dust


def test_3_7_asks_the_sentinel_at_any_health_and_floors_the_bonus() -> None:
    assert rules_for(10).sentinel_bypass
    assert not rules_for(11).sentinel_bypass
    assert rules_for(11).bonus is Rounding.DOWN
