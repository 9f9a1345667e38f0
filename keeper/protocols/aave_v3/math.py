"""Aave v3 account arithmetic, bit for bit as the Pool computes it.

Whose numbers: `Pool.getUserAccountData`, by the `Rules` of the deployed POOL_REVISION.  Written
from the published rules and held against the deployed contract's answers (tests/chain,
tests/golden); all integers, no overflow, rounding always said.
"""

from keeper.protocols.aave_v3.rules import Rules
from keeper.units import (
    BPS,
    RAY,
    SECONDS_PER_YEAR,
    UINT256_MAX,
    WAD,
    Base,
    Bps,
    Raw,
    Rounding,
    Wad,
    mul_div,
)

DOWN, HALF_UP, UP = Rounding.DOWN, Rounding.HALF_UP, Rounding.UP


def ray_mul(x: int, y: int, rounding: Rounding = HALF_UP) -> int:
    """Return ``x * y`` of two rays, half up as `WadRayMath.rayMul` unless told otherwise."""
    return mul_div(x, y, RAY, rounding)


def ray_div(x: int, y: int, rounding: Rounding = HALF_UP) -> int:
    """Return ``x / y`` as a ray, half up as `WadRayMath.rayDiv` unless told otherwise."""
    return mul_div(x, RAY, y, rounding)


def percent_mul(x: int, bps: int, rounding: Rounding = HALF_UP) -> int:
    """Return `bps` ten-thousandths of `x`."""
    return mul_div(x, bps, BPS, rounding)


def percent_div(x: int, bps: int, rounding: Rounding = HALF_UP) -> int:
    """Return what `x` is `bps` ten-thousandths of."""
    return mul_div(x, BPS, bps, rounding)


# --- interest -------------------------------------------------------------------------------


def liquidity_index_at(index: int, rate: int, elapsed_s: int) -> int:
    """Return the supply index after `elapsed_s` at `rate` (ray per year): linear interest."""
    if elapsed_s == 0:
        return index
    return ray_mul(RAY + rate * elapsed_s // SECONDS_PER_YEAR, index)


def debt_index_at(rules: Rules, index: int, rate: int, elapsed_s: int) -> int:
    """Return the variable debt index after `elapsed_s` at `rate` (ray per year), compounded."""
    if elapsed_s == 0:
        return index
    compound = _taylor if rules.compounds_by_taylor else _binomial
    return ray_mul(compound(rate, elapsed_s), index)


def _taylor(rate: int, elapsed_s: int) -> int:
    """``exp`` to the third power of ``rate * elapsed_s`` (3.4+)."""
    x = rate * elapsed_s // SECONDS_PER_YEAR
    return RAY + x + ray_mul(x, x // 2 + ray_mul(x, x // 6))


def _binomial(rate: int, elapsed_s: int) -> int:
    """``(1 + rate/year)**elapsed_s`` to the third term (up to 3.3)."""
    square = ray_mul(rate, rate) // (SECONDS_PER_YEAR * SECONDS_PER_YEAR)
    cube = ray_mul(square, rate) // SECONDS_PER_YEAR
    pairs = elapsed_s * (elapsed_s - 1)
    triples = pairs * max(0, elapsed_s - 2)
    return RAY + rate * elapsed_s // SECONDS_PER_YEAR + pairs * square // 2 + triples * cube // 6


# --- balances and values --------------------------------------------------------------------


def collateral_balance(rules: Rules, scaled: int, index: int) -> Raw:
    """Return `aToken.balanceOf` (3.5+: floored, which favours the protocol)."""
    return Raw(ray_mul(scaled, index, rules.collateral_balance))


def debt_balance(rules: Rules, scaled: int, index: int) -> Raw:
    """Return `variableDebtToken.balanceOf` (3.5+: rounded up, which favours the protocol)."""
    return Raw(ray_mul(scaled, index, rules.debt_balance))


def collateral_value(balance: int, price: int, unit: int) -> Base:
    """Return what a collateral balance is worth, floored.  `unit`: ``10**decimals``."""
    return Base(mul_div(balance, price, unit, DOWN))


def debt_value(rules: Rules, balance: int, price: int, unit: int) -> Base:
    """Return what a debt balance is worth (3.5+: rounded up)."""
    return Base(mul_div(balance, price, unit, rules.debt_value))


def health_factor(rules: Rules, collateral: Base, weighted: int, debt: Base) -> Wad:
    """Return the Pool's health factor; `weighted` is ``sum(value * threshold in bps)``.

    Without debt: `UINT256_MAX`, as the contract has it.
    """
    if debt == 0:
        return Wad(UINT256_MAX)
    if rules.one_division_health:
        return Wad(mul_div(weighted, WAD, debt, HALF_UP) // BPS)
    average = weighted // collateral if collateral else 0
    return Wad(mul_div(percent_mul(collateral, average), WAD, debt, HALF_UP))


def least_health_factor(rules: Rules, collateral: Base, weighted: int, debt: Base) -> Wad:
    """Return the health factor if the average threshold lost a whole basis point to its flooring.

    From 3.5 on `health_factor` itself.  Before, never more than that, and other than that it only
    rises with each collateral.
    """
    if rules.one_division_health or debt == 0:
        return health_factor(rules, collateral, weighted, debt)
    return Wad(mul_div(max(0, weighted - collateral) // BPS, WAD, debt, DOWN))


def average_threshold(collateral: Base, weighted: int) -> Bps:
    """Return `currentLiquidationThreshold` of `getUserAccountData`; from 3.5 display only."""
    return Bps(weighted // collateral if collateral else 0)


# --- from amounts to scaled amounts and back --------------------------------------------------


def scaled_for(amount: int, index: int, rounding: Rounding) -> int:
    """Return the scaled amount that supplying or repaying `amount` adds or burns."""
    return ray_div(amount, index, rounding)


def least_amount_for(scaled: int, index: int, rounding: Rounding) -> Raw:
    """Return the least amount whose `scaled_for` is at least `scaled`."""
    match rounding:
        case Rounding.DOWN:  # floor(a * RAY / index) >= scaled
            return Raw(mul_div(scaled, index, RAY, UP))
        case Rounding.HALF_UP:  # (a * RAY + index // 2) // index >= scaled
            return Raw(-(-max(0, scaled * index - index // 2) // RAY))
        case Rounding.UP:  # a * RAY > (scaled - 1) * index
            return Raw(0 if scaled == 0 else (scaled - 1) * index // RAY + 1)
