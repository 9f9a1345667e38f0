"""What a position is after some of its debt is repaid with some of its collateral sold.

The forward arithmetic of `account` with the two balances changed, every rounding against the
account: what is sold counts one unit more, what is left of it one scaled unit less, and up to 3.4
the average threshold loses a basis point, the most that flooring it takes.  So the health said is
not too good where less is sold either, though more of a low threshold is left then.
"""

from keeper.model import Deleverage
from keeper.protocols.aave_v3.account import Account, Held
from keeper.protocols.aave_v3.math import (
    collateral_balance,
    collateral_value,
    debt_balance,
    debt_value,
    least_health_factor,
    scaled_for,
)
from keeper.protocols.aave_v3.reach import least
from keeper.units import BPS, RAY, UINT256_MAX, WAD, Base, Bps, Raw, Rounding, Wad, mul_div


def deleveraged(
    account: Account, collateral: Held, debt: Held, repay: Raw, cost: Bps
) -> Deleverage | None:
    """Return what repaying `repay` of `debt` takes of `collateral`, and the least health after it.

    `cost`: how much dearer than the market's prices the exchange may be.  None where the account
    has not that much of either.
    """
    if not 0 < repay <= debt.leg.balance or collateral.leg.price <= 0:
        return None
    sells = 1 + mul_div(
        repay * debt.leg.price * collateral.now.unit,
        BPS + cost,
        debt.now.unit * collateral.leg.price * BPS,
        Rounding.UP,
    )
    if sells > collateral.leg.balance:
        return None
    gone = mul_div(sells, RAY, collateral.now.liquidity_index, Rounding.UP) + 1
    rules = account.rules
    left = collateral_value(
        collateral_balance(rules, max(0, collateral.scaled - gone), collateral.now.liquidity_index),
        collateral.leg.price,
        collateral.now.unit,
    )
    burnt = scaled_for(repay, debt.now.debt_index, rules.repay_scaled)
    whole = repay == debt.leg.balance
    owed = debt_value(
        rules,
        0 if whole else debt_balance(rules, max(0, debt.scaled - burnt), debt.now.debt_index),
        debt.leg.price,
        debt.now.unit,
    )
    fallen = collateral.leg.value - left
    owes = Base(account.debt - debt.leg.value + owed)
    health = (
        Wad(UINT256_MAX)
        if owes == 0
        else least_health_factor(
            rules,
            Base(account.collateral - fallen),
            account.weighted - fallen * collateral.leg.liquidation_threshold,
            owes,
        )
    )
    return Deleverage(
        collateral=collateral.leg,
        debt=debt.leg,
        repay=repay,
        sells=Raw(sells),
        sold_value=mul_div_up(sells, collateral),
        health=health,
    )


def deleverage_to_reach(
    account: Account, collateral: Held, debt: Held, target: Wad, cost: Bps
) -> Deleverage | None:
    """Return the least of it that reaches `target`; None where nothing does.

    Never below the target, as of this block and if no more is sold than it says.
    """
    if account.health_factor >= target:
        return None
    # The more is repaid the healthier, as long as a unit sold covers less debt than it repays.
    threshold = collateral.leg.liquidation_threshold
    if account.health_factor * BPS * BPS <= WAD * (BPS + cost) * threshold:
        return None

    def reaches(repay: int) -> bool:
        after = deleveraged(account, collateral, debt, Raw(repay), cost)
        return after is not None and after.health >= target

    most = _most(account, collateral, debt, cost)
    if most is None or not reaches(most):
        return None
    repay = least(1, most, reaches)
    return None if repay is None else deleveraged(account, collateral, debt, Raw(repay), cost)


def _most(account: Account, collateral: Held, debt: Held, cost: Bps) -> int | None:
    """Return the most debt that all of the collateral pays for; None for none."""

    def too_much(repay: int) -> bool:
        return deleveraged(account, collateral, debt, Raw(repay), cost) is None

    first = least(1, debt.leg.balance + 1, too_much)
    return None if first is None or first <= 1 else first - 1


def mul_div_up(raw: int, held: Held) -> Base:
    """Value `raw` of a leg's asset, rounded up."""
    return Base(mul_div(raw, held.leg.price, held.now.unit, Rounding.UP))
