"""When interest alone brings an account to liquidation, everything else standing still.

What is held and what is owed only grow.  So the health factor is nowhere below that of what is held
at the start of a span against what is owed at its end.

Collateral grows linearly and debt faster than that in every revision, so collateral less debt is
concave in time: what is above zero at both ends of a span is so throughout.  That is without
rounding: where a raw unit is worth more than a second's interest the health factor falls below 1
and rises above it again, for seconds or for days.  So it holds of what is above by more than can be
rounded.

Spans of which neither tells are halved, the earlier half first, down to single seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from keeper.model import BlockRef, Holdings, Side
from keeper.protocols.aave_v3.account import Account, Held, ReserveNow, reserve_now, value_account
from keeper.protocols.aave_v3.market import Market
from keeper.protocols.aave_v3.math import percent_mul
from keeper.units import BPS, RAY, SECONDS_PER_YEAR, WAD, Base

A_DECADE_S: Final = 10 * SECONDS_PER_YEAR
MOST_SPANS: Final = 5_000
"""Of 16,294 accounts just above 1 half took 30, 99 % up to 128, one more: at 1.0000000003."""


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

    The very first second, however it is rounded; 0 if it is below already.  Too soon, and never too
    late, where `MOST_SPANS` do not tell.  Raises Unvalued where the contract could not answer.
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

    return _first_below(after, within_s)


def _first_below(after: Callable[[int], Account], within_s: int) -> int | None:
    start, end = after(0), after(within_s)
    if _below(start):
        return 0
    # (from, until): it is healthy at the first of the last of them, which is the earliest
    spans = [((0, start), (within_s, end))]
    for _ in range(MOST_SPANS):
        if not spans:
            return None
        first, last = spans.pop()
        if _healthy_throughout(first[1], last[1]):
            continue
        if last[0] - first[0] > 1:
            at = (first[0] + last[0]) // 2
            middle = (at, after(at))
            spans = [] if _below(middle[1]) else [*spans, (middle, last)]
            spans.append((first, middle))
        elif _below(last[1]):
            return last[0]
    return spans[-1][0][0] + 1 if spans else None


def _healthy_throughout(start: Account, end: Account) -> bool:
    """Whether it is healthy for certain at each second from `start` to `end`."""
    spare = 2 * sum(_rounded(held) for held in end.held)
    threshold = 0 if start.rules.one_division_health else _least_threshold(start, end)
    counted = tuple(zip(_counts(start, threshold), _counts(end, threshold), strict=True))
    return counted[-1][0] >= BPS * end.debt or any(
        first >= BPS * (start.debt + spare) and last >= BPS * (end.debt + spare)
        for first, last in counted
    )


def _counts(account: Account, threshold: int) -> tuple[int, ...]:
    """Return what is no more than the collateral counts, base units x bps, and concave in time.

    Up to 3.4: with a whole basis point less, and with `threshold` for the average one, as the Pool
    rounds it.  The last of them only grows.
    """
    if account.rules.one_division_health:
        return (account.weighted,)
    return account.weighted - account.collateral, BPS * percent_mul(account.collateral, threshold)


def _least_threshold(start: Account, end: Account) -> int:
    """Return what the average threshold is nowhere below between two instants, floored.

    As if all that lowers it grew at once and what raises it not before the end.
    """
    held = [
        (one.leg.liquidation_threshold, one.leg.value, two.leg.value)
        for one, two in zip(start.held, end.held, strict=True)
        if one.leg.side is Side.COLLATERAL
    ]
    least = (start.weighted, int(start.collateral))
    while True:
        weighted, collateral = least
        values = [(t, late if t * collateral < weighted else early) for t, early, late in held]
        lower = (sum(t * value for t, value in values), sum(value for _, value in values))
        if lower == least:
            return weighted // collateral if collateral else 0
        least = lower


def _rounded(held: Held) -> int:
    """Return by how much a leg's value may be off what it is without rounding, base units.

    By a raw unit for the balance, one for its index and 8 ulps of a ray where there are so many,
    and by a base unit at either end.
    """
    raw = 2 + 8 * held.leg.balance // RAY
    return raw * held.leg.price // held.now.unit + 2


def _below(account: Account) -> bool:
    return account.health_factor < WAD
