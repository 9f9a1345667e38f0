"""Which arithmetic a Pool uses, by its POOL_REVISION.

Aave v3's rounding and its liquidation rules changed several times under the same interface; only
`Pool.POOL_REVISION()` says which one is deployed.  Every difference is a field here, and nothing
else in this folder asks for the revision.

Source: facts collected from the releases 3.0 to 3.7, believed after a differential run against the
deployed contract: 3.6 (revision 10) and 3.0.2 (revision 1) on Anvil (tests/chain).  No other
revision is on npm: every `@aave/core-v3` from 1.16.2 to 1.19.3 says 1.  They are held against a
second writing of the rules (tests/protocols/aave_v3/second.py); 3.7 is from the rules alone.
"""

from dataclasses import dataclass, replace
from typing import Final

from keeper.errors import ConfigError
from keeper.units import Bps, Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The arithmetic of one POOL_REVISION."""

    revision: int
    release: str
    """Aave's own version number: ``3.6``."""

    compounds_by_taylor: bool
    """Debt index: ``1 + x + x^2/2 + x^3/6`` by ray products (3.4+), else a three-term binomial."""

    collateral_balance: Rounding
    debt_balance: Rounding
    debt_value: Rounding
    """Collateral values are floored in every revision."""
    supply_scaled: Rounding
    repay_scaled: Rounding
    withdraw_scaled: Rounding

    one_division_health: bool
    """3.5+: ``sum(value * threshold)`` is divided by the debt once; before, the average threshold
    is floored to a basis point first."""
    counts_collateral_without_threshold: bool
    """3.6+: a reserve with base threshold 0 may still be collateral inside an e-mode."""

    e_mode_loan_to_value: bool
    """3.6+: in an e-mode its loan to value decides which collateral must be withdrawn first."""
    e_mode_bitmaps: bool
    """3.2+: a category lists its collaterals; before, a reserve names its one category."""
    grace_period: bool
    """3.1+: `getLiquidationGracePeriod` exists; old deployments may lack it all the same."""
    stable_debt: bool
    """Up to 3.1 a stable-rate debt may exist, which the keeper does not compute."""

    close_factor_of_total: bool
    """3.3+: half of the *total* debt, and only for big positions; before, half of that debt."""
    must_not_leave_dust: bool
    bonus: Rounding
    debt_needed: Rounding
    protocol_fee: Rounding
    sentinel_bypass: bool
    """Below a health factor of 0.95 the price oracle sentinel is not asked (up to 3.6)."""


CLOSE_FACTOR_BPS: Final = Bps(5_000)

_HALF, _DOWN, _UP = Rounding.HALF_UP, Rounding.DOWN, Rounding.UP

_V3_0: Final = Rules(
    revision=1,
    release="3.0",
    compounds_by_taylor=False,
    collateral_balance=_HALF,
    debt_balance=_HALF,
    debt_value=_DOWN,
    supply_scaled=_HALF,
    repay_scaled=_HALF,
    withdraw_scaled=_HALF,
    one_division_health=False,
    counts_collateral_without_threshold=False,
    e_mode_loan_to_value=False,
    e_mode_bitmaps=False,
    grace_period=False,
    stable_debt=True,
    close_factor_of_total=False,
    must_not_leave_dust=False,
    bonus=_HALF,
    debt_needed=_HALF,
    protocol_fee=_HALF,
    sentinel_bypass=True,
)
_V3_2: Final = replace(
    _V3_0, revision=5, release="3.2", e_mode_bitmaps=True, grace_period=True, stable_debt=False
)
_V3_3: Final = replace(
    _V3_2, revision=7, release="3.3", close_factor_of_total=True, must_not_leave_dust=True
)
_V3_4: Final = replace(_V3_3, revision=8, release="3.4", compounds_by_taylor=True)
_V3_5: Final = replace(
    _V3_4,
    revision=9,
    release="3.5",
    collateral_balance=_DOWN,
    debt_balance=_UP,
    debt_value=_UP,
    supply_scaled=_DOWN,
    repay_scaled=_DOWN,
    withdraw_scaled=_UP,
    one_division_health=True,
    debt_needed=_UP,
)
_V3_6: Final = replace(
    _V3_5,
    revision=10,
    release="3.6",
    counts_collateral_without_threshold=True,
    e_mode_loan_to_value=True,
)
_V3_7: Final = replace(
    _V3_6, revision=11, release="3.7", bonus=_DOWN, protocol_fee=_UP, sentinel_bypass=False
)
"""3.7 floors the bonus.  Which way its protocol fee rounds is not verified: up is the way that
never promises a liquidator more than he gets."""

_BY_REVISION: Final = {
    1: _V3_0,
    2: replace(_V3_0, revision=2),
    3: replace(_V3_0, revision=3, release="3.1", grace_period=True),
    5: _V3_2,
    7: _V3_3,
    8: _V3_4,
    9: _V3_5,
    10: _V3_6,
    11: _V3_7,
}


def rules_for(revision: int) -> Rules:
    """Return the arithmetic of `revision`.

    Raises ConfigError for one the keeper does not know: a guess could be wrong by a wei, and a
    wei decides.
    """
    rules = _BY_REVISION.get(revision)
    if rules is None:
        known = ", ".join(str(r) for r in sorted(_BY_REVISION))
        raise ConfigError(
            f"The Pool says POOL_REVISION {revision}, whose arithmetic this keeper does not know "
            f"(known: {known}): remove the market from the configuration or upgrade the keeper."
        )
    return rules
