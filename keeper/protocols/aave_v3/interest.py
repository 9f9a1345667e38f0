"""When interest alone brings an account to liquidation, everything else standing still.

Collateral grows linearly and debt faster than that in every revision, so collateral less debt is
concave in time: from above it crosses zero once.  Bisection over exact accrual therefore finds the
second; at the last wei, where rounding goes up and down, it finds one at which the health factor is
below 1 and was not a second before.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from keeper.model import BlockRef, Holdings
from keeper.protocols.aave_v3.account import ReserveNow, reserve_now, value_account
from keeper.protocols.aave_v3.market import Market
from keeper.units import SECONDS_PER_YEAR, WAD, Base

A_DECADE_S: Final = 10 * SECONDS_PER_YEAR


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

    0 if it is below already.  Raises Unvalued where the contract could not answer.
    """
    used = {e.reserve: now for e in holdings.entries if (now := reserves.get(e.reserve))}

    def below_after(seconds: int) -> bool:
        then = replace(block, timestamp=block.timestamp + seconds)
        accrued = {
            number: reserve_now(
                market, now.reserve, now.state, price=now.price, block=then, why=now.unusable
            )
            for number, now in used.items()
        }
        account = value_account(market, accrued, e_mode_prices, holdings, relied_upon=False)
        return account.health_factor < WAD

    if below_after(0):
        return 0
    if not below_after(within_s):
        return None
    healthy, below = 0, within_s
    while below - healthy > 1:
        middle = (healthy + below) // 2
        if below_after(middle):
            below = middle
        else:
            healthy = middle
    return below
