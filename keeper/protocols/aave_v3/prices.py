"""At which prices an account comes to a health factor of 1.

By bisection over the forward arithmetic, as `reach` does it.  An account may both hold and owe an
asset: then what it owes moves with what it holds, and where it owes more than that counts, a rise
is what it is liquidated by.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from keeper.model import Holdings, Leg, Side
from keeper.protocols.aave_v3.account import (
    PRICE_BOUND,
    Account,
    ReserveNow,
    Unvalued,
    value_account,
)
from keeper.protocols.aave_v3.market import Market
from keeper.protocols.aave_v3.reach import least
from keeper.units import BPS, WAD, Base

HIGHEST = PRICE_BOUND - 1
MOST_STEPS = 100


def liquidation_price(
    market: Market,
    reserves: Mapping[int, ReserveNow],
    e_mode_prices: Mapping[int, Base | None],
    holdings: Holdings,
    leg: Leg,
) -> Base | None:
    """Return the least price of collateral `leg` from which on the health factor is at least 1.

    Where the asset is owed too: from which on it is that for certain, see `_surely_healthy`.  None
    if it never falls below 1 by a fall of this price alone, or never reaches 1.  Raises Unvalued.
    """
    if leg.side is not Side.COLLATERAL:
        return None
    at = _at_price(market, reserves, e_mode_prices, holdings, leg.reserve)
    owed = _sides(holdings, leg.reserve) == set(Side)
    if not owed and not market.rules.one_division_health:
        return _from_above(at)
    if _healthy(at(0)):
        return None
    good = _surely_healthy if owed else _healthy
    price = least(1, HIGHEST, lambda p: good(at(p)))
    return None if price is None else Base(price)


def _from_above(at: Callable[[int], Account]) -> Base | None:
    """Return one more than the greatest price at which the health factor is below 1, up to 3.4.

    There a rising price lowers the average threshold in steps where the asset's own is lower, and
    at each of them the health factor falls.  Start where it is healthy for certain, and go down
    from step to step: within one the health factor only rises.  Of more than `MOST_STEPS` the
    price they began at is returned, which is too high.
    """
    above = least(0, HIGHEST, lambda p: _surely_healthy(at(p)))
    if above is None:  # a threshold of next to nothing
        above = HIGHEST
    for _ in range(MOST_STEPS):
        first = least(0, above, _same_threshold(at, above))
        assert first is not None, "it is the same at `above` itself"
        if not _healthy(at(first)):
            found = least(first, above, lambda p: _healthy(at(p)))
            return None if found is None else Base(found)
        if first == 0:
            return None
        if not _healthy(at(first - 1)):
            return Base(first)
        above = first - 1
    return Base(above) if above else None


def _same_threshold(at: Callable[[int], Account], price: int) -> Callable[[int], bool]:
    there = at(price).threshold
    return lambda p: at(p).threshold == there


def liquidation_price_above(
    market: Market,
    reserves: Mapping[int, ReserveNow],
    e_mode_prices: Mapping[int, Base | None],
    holdings: Holdings,
    leg: Leg,
) -> Base | None:
    """Return the greatest price of owed `leg` at which the health factor is at least 1.

    Where the asset is collateral too: up to which it is that for certain, see `_surely_healthy`.
    None if a rise of this price alone does not lead below 1, or it is below 1 at every price.
    Raises Unvalued.
    """
    sides = _sides(holdings, leg.reserve)
    if Side.DEBT not in sides:
        return None
    at = _at_price(market, reserves, e_mode_prices, holdings, leg.reserve)
    good = _surely_healthy if sides == set(Side) else _healthy
    first = least(1, HIGHEST, lambda p: not good(at(p)))
    return None if first is None or first == 1 else Base(first - 1)


def _at_price(
    market: Market,
    reserves: Mapping[int, ReserveNow],
    e_mode_prices: Mapping[int, Base | None],
    holdings: Holdings,
    reserve: int,
) -> Callable[[int], Account]:
    """Return what values the account with another price of `reserve`, all else as it is."""
    now = reserves.get(reserve)
    if now is None:
        raise Unvalued(f"reserve {reserve} of {holdings.account} is not known")

    def at(price: int) -> Account:
        moved = replace(now, price=Base(price), unusable="", broken="")
        then = {**reserves, reserve: moved}
        return value_account(market, then, e_mode_prices, holdings, relied_upon=True)

    return at


def _sides(holdings: Holdings, reserve: int) -> set[Side]:
    return {entry.side for entry in holdings.entries if entry.reserve == reserve}


def _healthy(account: Account) -> bool:
    return account.health_factor >= WAD


def _surely_healthy(account: Account) -> bool:
    """Whether it is healthy however the values of two legs were rounded, a base unit each.

    Up to 3.4 also however much of a basis point the average threshold lost.  What counts less what
    is owed is then linear in the price, so that one price tells of all beyond it.
    """
    lost = 0 if account.rules.one_division_health else account.collateral
    return account.weighted - lost >= BPS * (account.debt + 2)
