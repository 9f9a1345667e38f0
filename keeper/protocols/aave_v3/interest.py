"""When interest alone brings an account to liquidation, everything else standing still.

Collateral grows linearly and debt faster than that in every revision, so collateral less debt is
concave in time: from above it crosses zero once.  Bisection over exact accrual therefore finds the
second; at the last wei, where rounding goes up and down, it finds one at which the health factor is
below 1 and was not a second before.

Up to 3.4 that is so only while the average threshold, floored to a basis point, stays as it is:
one collateral earns more than another, and at each step down the health factor falls.  There the
steps are gone through one by one, as far as a basis point could matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from keeper.model import BlockRef, Holdings
from keeper.protocols.aave_v3.account import Account, ReserveNow, reserve_now, value_account
from keeper.protocols.aave_v3.market import Market
from keeper.protocols.aave_v3.reach import least
from keeper.units import SECONDS_PER_YEAR, WAD, Base, Bps

A_DECADE_S: Final = 10 * SECONDS_PER_YEAR
MOST_STEPS: Final = 32


def seconds_to_liquidation(
    market: Market,
    reserves: Mapping[int, ReserveNow],
    e_mode_prices: Mapping[int, Base | None],
    holdings: Holdings,
    *,
    block: BlockRef,
    within_s: int,
) -> int | None:
    """Return the seconds from `block` until the health factor is below 1; None if none up to then.

    0 if it is below already.  Up to 3.4 it may be too soon where there are more than `MOST_STEPS`
    steps of the average threshold.  Raises Unvalued where the contract could not answer.
    """
    used = {e.reserve: now for e in holdings.entries if (now := reserves.get(e.reserve))}

    def after(seconds: int) -> Account:
        then = replace(block, timestamp=block.timestamp + seconds)
        accrued = {
            number: reserve_now(
                market, now.reserve, now.state, price=now.price, block=then, why=now.unusable
            )
            for number, now in used.items()
        }
        return value_account(market, accrued, e_mode_prices, holdings, relied_upon=False)

    if _below(after(0)):
        return 0
    if not market.rules.one_division_health:
        return _by_steps(after, within_s)
    return _between(0, within_s, lambda s: _below(after(s))) if _below(after(within_s)) else None


def _by_steps(after: Callable[[int], Account], within_s: int) -> int | None:
    """Go from step to step of the average threshold, where it could matter; healthy at the first.

    Without a basis point of it the collateral that counts less the debt is concave too.
    """
    healthy = 0
    for _ in range(MOST_STEPS):
        if after(healthy).least_health_factor >= WAD:
            if after(within_s).least_health_factor >= WAD:
                return None
            doubtful = _between(healthy, within_s, lambda s: after(s).least_health_factor < WAD)
            if _below(after(doubtful)):
                return doubtful
            healthy = doubtful
        threshold = after(healthy).threshold
        stepped = least(healthy, within_s, _steps_from(after, threshold))
        last = within_s if stepped is None else stepped - 1
        if _below(after(last)):
            return _between(healthy, last, lambda s: _below(after(s)))
        if stepped is None or _below(after(stepped)):
            return stepped
        healthy = stepped
    return healthy


def _steps_from(after: Callable[[int], Account], threshold: Bps) -> Callable[[int], bool]:
    return lambda seconds: after(seconds).threshold != threshold


def _between(before: int, then: int, holds: Callable[[int], bool]) -> int:
    """Return an instant in between at which `holds` and did not a second before."""
    while then - before > 1:
        middle = (before + then) // 2
        if holds(middle):
            then = middle
        else:
            before = middle
    return then


def _below(account: Account) -> bool:
    return account.health_factor < WAD
