"""How much of a debt may be liquidated, for how much collateral, and what must not be left.

Whose numbers: `Pool.liquidationCall`, by the `Rules` of the deployed POOL_REVISION.  Amounts are
raw units, values base units with 8 decimals as the contract's own constants are.
"""

from dataclasses import dataclass
from typing import Final

from keeper.protocols.aave_v3.math import percent_div, percent_mul
from keeper.protocols.aave_v3.rules import CLOSE_FACTOR_BPS, Rules
from keeper.units import BPS, Base, Bps, Raw, Rounding, Wad, mul_div

CLOSE_FACTOR_HEALTH: Final = Wad(950_000_000_000_000_000)
"""At or below it everything may be liquidated."""
SENTINEL_HEALTH: Final = Wad(950_000_000_000_000_000)
"""Below it the sentinel is not asked (up to 3.6)."""
CLOSE_FACTOR_MIN_BASE: Final = Base(2_000 * 10**8)
"""3.3+: the close factor protects only reserves of at least this collateral and this debt."""
MIN_LEFTOVER_BASE: Final = Base(1_000 * 10**8)
"""3.3+: what must remain of both, unless all of one is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One collateral and one debt of one account, as the liquidation sees them."""

    collateral: Raw
    collateral_value: Base
    collateral_price: Base
    collateral_unit: int
    bonus: Bps
    protocol_fee: Bps
    debt: Raw
    debt_value: Base
    debt_price: Base
    debt_unit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seizure:
    """What a call really takes."""

    debt: Raw
    """Paid by the liquidator."""
    seized: Raw
    """Received by the liquidator; the event's ``liquidatedCollateralAmount``."""
    fee: Raw
    """Collateral that goes to the protocol's treasury."""


def most_debt(rules: Rules, pair: Pair, health: Wad, total_debt: Base) -> Raw:
    """Return the most of the pair's debt that one call may repay: the close factor.

    The contract clamps what is passed to this; it does not revert.
    """
    if not rules.close_factor_of_total:
        if health <= CLOSE_FACTOR_HEALTH:
            return pair.debt
        return Raw(percent_mul(pair.debt, CLOSE_FACTOR_BPS))
    protected = (
        pair.collateral_value >= CLOSE_FACTOR_MIN_BASE
        and pair.debt_value >= CLOSE_FACTOR_MIN_BASE
        and health > CLOSE_FACTOR_HEALTH
    )
    half = percent_mul(total_debt, CLOSE_FACTOR_BPS)
    if not protected or pair.debt_value <= half:
        return pair.debt
    return Raw(mul_div(half, pair.debt_unit, pair.debt_price, Rounding.DOWN))


def seizure(rules: Rules, pair: Pair, debt_to_cover: Raw) -> Seizure:
    """Return what covering `debt_to_cover` takes, limited by the collateral there is.

    The bonus goes on top of the debt's value; the protocol's fee is a part of the bonus only.
    """
    numerator = pair.debt_price * debt_to_cover * pair.collateral_unit
    base = numerator // (pair.collateral_price * pair.debt_unit)
    taken = percent_mul(base, pair.bonus, rules.bonus)
    debt: int = debt_to_cover
    if taken > pair.collateral:
        taken = pair.collateral
        worth = (pair.collateral_price * taken * pair.debt_unit) // (
            pair.debt_price * pair.collateral_unit
        )
        debt = percent_div(worth, pair.bonus, rules.debt_needed)
    fee = 0
    if pair.protocol_fee:
        bonus = taken - percent_div(taken, pair.bonus)
        fee = percent_mul(bonus, pair.protocol_fee, rules.protocol_fee)
    return Seizure(debt=Raw(debt), seized=Raw(taken - fee), fee=Raw(fee))


def least_limited(rules: Rules, pair: Pair) -> Raw:
    """Return the least debt for which `seizure` is limited by the collateral there is.

    From it on the Pool takes no more of what is passed; just below it, it may take all of that for
    the same collateral, or leave a raw unit of it.
    """
    base = max(0, pair.collateral * BPS // pair.bonus - 1)
    while percent_mul(base, pair.bonus, rules.bonus) <= pair.collateral:
        base += 1
    worth = base * pair.collateral_price * pair.debt_unit
    return Raw(-(-worth // (pair.debt_price * pair.collateral_unit)))


def leaves_dust(rules: Rules, pair: Pair, of: Seizure, leftover: Base = MIN_LEFTOVER_BASE) -> bool:
    """Whether the contract would revert with `MustNotLeaveDust` (3.3+)."""
    if not rules.must_not_leave_dust:
        return False
    collateral_left = pair.collateral - of.seized - of.fee
    debt_left = pair.debt - of.debt
    if debt_left <= 0 or collateral_left <= 0:
        return False
    debt_value = mul_div(debt_left, pair.debt_price, pair.debt_unit, rules.debt_value)
    collateral_value = collateral_left * pair.collateral_price // pair.collateral_unit
    return debt_value < leftover or collateral_value < leftover


def largest(
    rules: Rules, pair: Pair, limit: Raw, leftover: Base = MIN_LEFTOVER_BASE
) -> Seizure | None:
    """Return the largest legal seizure for at most `limit` of the debt; None if there is none.

    Where the whole `limit` would leave dust, the most that leaves `leftover` of both.
    """
    if not (pair.collateral_price and pair.debt_price and pair.bonus and limit > 0):
        return None
    whole = seizure(rules, pair, limit)
    if not leaves_dust(rules, pair, whole, leftover):
        return whole if whole.seized > 0 and whole.debt > 0 else None
    low, high = 0, int(limit)  # low is legal or 0, high leaves dust
    while high - low > 1:
        middle = (low + high) // 2
        if leaves_dust(rules, pair, seizure(rules, pair, Raw(middle)), leftover):
            high = middle
        else:
            low = middle
    part = seizure(rules, pair, Raw(low))
    if leaves_dust(rules, pair, part, leftover) or part.seized <= 0 or part.debt <= 0:
        return None
    return part
