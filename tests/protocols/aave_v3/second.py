"""The rules of Aave v3 written a second time, from their text, with other means.

Fractions and a release number compared in place, where the product has integers and a table of
roundings by POOL_REVISION.  It shares nothing with `keeper.protocols.aave_v3` but the dataclasses
that say what there is.  Slow and plain on purpose.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from keeper.model import Holdings, Side
from keeper.protocols.aave_v3.market import Market, Observed

RELEASE_OF = {
    1: Fraction("3.0"),
    2: Fraction("3.0"),
    3: Fraction("3.1"),
    5: Fraction("3.2"),
    7: Fraction("3.3"),
    8: Fraction("3.4"),
    9: Fraction("3.5"),
    10: Fraction("3.6"),
    11: Fraction("3.7"),
}
YEAR_S = 365 * 24 * 60 * 60
E27, E18, E4 = Fraction(10**27), Fraction(10**18), Fraction(10**4)
NO_DEBT = 2**256 - 1


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def before(release: Fraction, other: str) -> bool:
    return release < Fraction(other)


# --- interest ---------------------------------------------------------------------------------


def supply_index(stored: int, rate: int, elapsed_s: int) -> int:
    """Linear: 1 + rate * time, the product with the year floored."""
    if elapsed_s == 0:
        return stored
    growth = 1 + math.floor(Fraction(rate * elapsed_s, YEAR_S)) / E27
    return half_up(growth * stored)


def debt_index(release: Fraction, stored: int, rate: int, elapsed_s: int) -> int:
    """Up to 3.3 the binomial's first three terms, from 3.4 those of the exponential."""
    if elapsed_s == 0:
        return stored
    if before(release, "3.4"):
        square = math.floor(Fraction(half_up(rate * rate / E27), YEAR_S**2))
        cube = math.floor(Fraction(half_up(square * rate / E27), YEAR_S))
        n = elapsed_s
        second = math.floor(Fraction(n * (n - 1) * square, 2))
        third = math.floor(Fraction(n * (n - 1) * max(n - 2, 0) * cube, 6))
        growth = 10**27 + math.floor(Fraction(rate * n, YEAR_S)) + second + third
    else:
        x = math.floor(Fraction(rate * elapsed_s, YEAR_S))
        inner = x // 2 + half_up(x * math.floor(Fraction(x, 6)) / E27)
        growth = 10**27 + x + half_up(x * inner / E27)
    return half_up(growth * stored / E27)


# --- an account -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    collateral: int
    weighted: int
    debt: int
    health: int


def account(market: Market, seen: Observed, holdings: Holdings, at: int) -> Sums:
    """What `getUserAccountData` answers at the instant `at`; every price must be known."""
    release = RELEASE_OF[market.rules.revision]
    collateral = weighted = debt = 0
    for entry in holdings.entries:
        state = next(s for s in seen.reserves if s.id == entry.reserve)
        price = seen.prices[entry.reserve]
        assert price is not None
        whole = 10**state.configuration.decimals
        elapsed_s = at - state.updated_at
        if entry.side is Side.DEBT:
            index = debt_index(release, state.debt_index, state.debt_rate, elapsed_s)
            exact = Fraction(entry.scaled * index) / E27
            balance = half_up(exact) if before(release, "3.5") else math.ceil(exact)
            worth = Fraction(balance * price, whole)
            debt += math.floor(worth) if before(release, "3.5") else math.ceil(worth)
            continue
        own = state.configuration.liquidation_threshold
        if before(release, "3.6") and own == 0:
            continue
        category = market.e_modes.get(holdings.e_mode)
        if holdings.e_mode and category is not None:
            named = state.configuration.e_mode == holdings.e_mode
            listed = category.collateral_bitmap // 2**entry.reserve % 2 == 1
            if named if before(release, "3.2") else listed:
                own = category.liquidation_threshold
        index = supply_index(state.liquidity_index, state.liquidity_rate, elapsed_s)
        exact = Fraction(entry.scaled * index) / E27
        balance = half_up(exact) if before(release, "3.5") else math.floor(exact)
        worth_base = math.floor(Fraction(balance * price, whole))
        collateral += worth_base
        weighted += worth_base * own
    return Sums(collateral, weighted, debt, health(release, collateral, weighted, debt))


def health(release: Fraction, collateral: int, weighted: int, debt: int) -> int:
    if debt == 0:
        return NO_DEBT
    if not before(release, "3.5"):
        return math.floor(half_up(weighted * E18 / debt) / E4)
    average = math.floor(Fraction(weighted, collateral)) if collateral else 0
    counted = half_up(collateral * average / E4)
    return half_up(counted * E18 / debt)


# --- a liquidation ----------------------------------------------------------------------------

USD = 10**8


def most_debt(
    release: Fraction,
    health: int,
    debt: tuple[int, int],
    collateral_value: int,
    total_debt: int,
    debt_price: tuple[int, int],
) -> int:
    """The close factor.  `debt`: raw and value; `debt_price`: price and raw units of a token."""
    raw, value = debt
    low = Fraction(health) <= Fraction("0.95") * E18
    if before(release, "3.3"):
        return raw if low else half_up(Fraction(raw, 2))
    small = collateral_value < 2_000 * USD or value < 2_000 * USD
    half = half_up(Fraction(total_debt, 2))
    if low or small or value <= half:
        return raw
    return math.floor(Fraction(half * debt_price[1], debt_price[0]))


@dataclass(frozen=True)
class Taken:
    debt: int
    seized: int
    fee: int


def taken(
    release: Fraction,
    debt: int,
    collateral: int,
    debt_price: tuple[int, int],
    collateral_price: tuple[int, int],
    bonus_bps: int,
    fee_bps: int,
) -> Taken:
    """What covering `debt` takes of `collateral`; prices with the raw units of a token."""
    rate = Fraction(*debt_price) / Fraction(*collateral_price)
    with_bonus = math.floor(debt * rate) * bonus_bps / E4
    wanted = math.floor(with_bonus) if not before(release, "3.7") else half_up(with_bonus)
    paid = debt
    if wanted > collateral:
        wanted = collateral
        needed = math.floor(collateral / rate) * E4 / bonus_bps
        paid = half_up(needed) if before(release, "3.5") else math.ceil(needed)
    extra = wanted - half_up(wanted * E4 / bonus_bps)
    share = extra * fee_bps / E4
    fee = half_up(share) if before(release, "3.7") else math.ceil(share)
    return Taken(paid, wanted - fee, fee)


def dust(
    release: Fraction,
    left: tuple[int, int],
    debt_price: tuple[int, int],
    collateral_price: tuple[int, int],
) -> bool:
    """Whether what is `left` of (collateral, debt) is too little of either."""
    if before(release, "3.3") or min(left) <= 0:
        return False
    worth = left[1] * Fraction(*debt_price)
    owed = math.floor(worth) if before(release, "3.5") else math.ceil(worth)
    backing = math.floor(left[0] * Fraction(*collateral_price))
    return min(owed, backing) < 1_000 * USD
