"""How little must be supplied or repaid for a health factor to reach a target.

Found by bisection over the forward arithmetic itself, so that rounding needs no inverse formulas:
the amount returned is computed forwards once more and never ends below the target.
"""

from collections.abc import Callable

from keeper.protocols.aave_v3.account import SCALED_BOUND, Account, Held
from keeper.protocols.aave_v3.math import (
    average_threshold,
    collateral_balance,
    collateral_value,
    debt_balance,
    debt_value,
    health_factor,
    least_amount_for,
    percent_mul,
    scaled_for,
)
from keeper.units import BPS, UINT256_MAX, WAD, Base, Raw, Rounding, Wad, mul_div


def least(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """Return the least integer in ``low..high`` for which `holds`, which must stay true once true.

    None if it holds nowhere.  Gallops up from `low`, so that small answers are found fast.
    """
    step, probe = 1, low
    below = low - 1
    while not holds(probe):
        if probe >= high:
            return None
        below, probe = probe, min(high, probe + step)
        step *= 2
    while probe - below > 1:
        middle = (below + probe) // 2
        if holds(middle):
            probe = middle
        else:
            below = middle
    return probe


# --- supply -----------------------------------------------------------------------------------


def supply_to_reach(account: Account, held: Held, target: Wad) -> Raw | None:
    """Return the least supply into `held` that reaches `target`; None if no legal amount does.

    Legal: the reserve is active, neither frozen nor paused, and the supply cap has room.
    """
    if account.health_factor >= target:
        return Raw(0)
    scaled = _least_scaled(account, held, target) if _may_supply(held) else None
    if scaled is None:
        return None
    rules, index = account.rules, held.now.liquidity_index
    amount = least_amount_for(scaled - held.scaled, index, rules.supply_scaled)
    for _ in range(100):
        after = held.scaled + scaled_for(amount, index, rules.supply_scaled)
        if _after_supply(account, held, after) >= target:
            break
        amount = Raw(amount + 1)
    else:
        return None
    if held.now.headroom is not None and amount > held.now.headroom:
        return None
    return amount


def _may_supply(held: Held) -> bool:
    return (
        not held.now.shut
        and not held.now.configuration.frozen
        and held.leg.liquidation_threshold > 0
    )


def _totals(account: Account, held: Held, scaled: int) -> tuple[Base, int]:
    balance = collateral_balance(account.rules, scaled, held.now.liquidity_index)
    value = collateral_value(balance, held.leg.price, held.now.unit)
    more = value - held.leg.value
    return (
        Base(account.collateral + more),
        account.weighted + more * held.leg.liquidation_threshold,
    )


def _after_supply(account: Account, held: Held, scaled: int) -> Wad:
    collateral, weighted = _totals(account, held, scaled)
    return health_factor(account.rules, collateral, weighted, account.debt)


def _least_scaled(account: Account, held: Held, target: Wad) -> int | None:
    """Return the least scaled balance of `held` at which the health factor is `target`."""
    top = SCALED_BOUND - 1
    if account.rules.one_division_health:
        return least(held.scaled, top, lambda s: _after_supply(account, held, s) >= target)
    # Up to 3.4 the average threshold is floored to a basis point, so that supplying something of
    # a lower threshold can lower the health factor by a step.  Start where it may be reached at
    # all, then go from step to step: within one the health factor only rises.
    debt = account.debt

    def possible(scaled: int) -> bool:
        weighted = _totals(account, held, scaled)[1]
        return (weighted + BPS // 2) * WAD + debt * BPS // 2 + BPS >= target * debt * BPS

    start = least(held.scaled, top, possible)
    while start is not None:
        average = average_threshold(*_totals(account, held, start))

        def reached(scaled: int, average: int = average) -> bool:
            there = percent_mul(_totals(account, held, scaled)[0], average)
            return mul_div(there, WAD, debt, Rounding.HALF_UP) >= target

        def stepped(scaled: int, average: int = average) -> bool:
            return average_threshold(*_totals(account, held, scaled)) != average

        found = least(start, top, reached)
        step = least(start, top, stepped)
        if found is not None and (step is None or found < step):
            return found
        start = step
    return None


# --- repay ------------------------------------------------------------------------------------


def repay_to_reach(account: Account, held: Held, target: Wad) -> Raw | None:
    """Return the least repayment of `held` that reaches `target`, or its whole balance.

    Zero if it is there already; None if the reserve is paused or inactive
    (`ValidationLogic.validateRepay`).
    """
    if account.health_factor >= target:
        return Raw(0)
    if held.now.shut:
        return None
    rules, index, whole = account.rules, held.now.debt_index, held.leg.balance
    burnt = least(0, held.scaled, lambda s: _after_repay(account, held, held.scaled - s) >= target)
    if burnt is None or burnt == held.scaled:
        return whole
    amount = least_amount_for(burnt, index, rules.repay_scaled)
    while amount < whole:
        after = held.scaled - scaled_for(amount, index, rules.repay_scaled)
        if _after_repay(account, held, after) >= target:
            return amount
        amount = Raw(amount + 1)
    return whole


def _after_repay(account: Account, held: Held, scaled: int) -> Wad:
    balance = debt_balance(account.rules, max(0, scaled), held.now.debt_index)
    value = debt_value(account.rules, balance, held.leg.price, held.now.unit)
    debt = Base(account.debt - held.leg.value + value)
    if debt == 0:
        return Wad(UINT256_MAX)
    return health_factor(account.rules, account.collateral, account.weighted, debt)
