"""What a simple bot does: every account, every block, in Python's integers.

Written from the protocol's rules without a line of the product, so that it can contradict it:
balances by ray product, values in the base currency, one division for the health factor.  Only the
rounding of revision 10 (3.6) and that of revisions 1 to 8 (3.0 to 3.4) is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.market import Made
from keeper.model import Holdings, Side

RAY = 10**27
WAD = 10**18
HALF = RAY // 2
YEAR = 365 * 86_400
UNSET = 5
"""So many numbers beyond the last category may be asked about too."""

Row = tuple[int, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
"""(e-mode, collaterals as (reserve, scaled), debts likewise)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserves:
    """What every account is computed from, by reserve id."""

    supply_index: tuple[int, ...]
    debt_index: tuple[int, ...]
    price: tuple[int, ...]
    unit: tuple[int, ...]
    threshold: tuple[tuple[int, ...], ...]
    """By e-mode, then reserve; a category that was never set up is none."""


def rows(held: Sequence[Holdings]) -> tuple[Row, ...]:
    """The accounts as plain tuples: as cheap to walk as Python has it."""
    return tuple(
        (
            h.e_mode,
            tuple((e.reserve, e.scaled) for e in h.entries if e.side is Side.COLLATERAL),
            tuple((e.reserve, e.scaled) for e in h.entries if e.side is Side.DEBT),
        )
        for h in held
    )


def reserves(
    made: Made, prices: Sequence[int | None] | None = None, at: int = 1_763_680_121
) -> Reserves:
    """Accrue every reserve to the instant `at`, once.  No price counts as 0."""
    market, seen = made.market, made.observed
    taylor, bitmaps = market.rules.revision >= 8, market.rules.revision >= 5
    asked = seen.prices if prices is None else prices
    supply, debt = [], []
    for state in seen.reserves:
        seconds = at - state.updated_at
        linear = RAY + state.liquidity_rate * seconds // YEAR
        supply.append((linear * state.liquidity_index + HALF) // RAY)
        grown = _taylor(state.debt_rate, seconds) if taylor else _binomial(state.debt_rate, seconds)
        debt.append((grown * state.debt_index + HALF) // RAY)
    base = tuple(int(s.configuration.liquidation_threshold) for s in seen.reserves)
    modes = [base] * (max(market.e_modes, default=0) + 1 + UNSET)
    for number, mode in market.e_modes.items():
        modes[number] = tuple(
            int(mode.liquidation_threshold)
            if (
                mode.collateral_bitmap >> i & 1
                if bitmaps
                else seen.reserves[i].configuration.e_mode == number
            )
            else own
            for i, own in enumerate(base)
        )
    return Reserves(
        supply_index=tuple(supply),
        debt_index=tuple(debt),
        price=tuple(int(p or 0) for p in asked),
        unit=tuple(10**s.configuration.decimals for s in seen.reserves),
        threshold=tuple(modes),
    )


def flags_new(held: Sequence[Row], of: Reserves) -> list[bool]:
    """Whether each is below 1, by revision 10: collateral floored, debt rounded up."""
    supply_index, debt_index, price, unit = of.supply_index, of.debt_index, of.price, of.unit
    found = []
    for e_mode, collaterals, debts in held:
        threshold = of.threshold[e_mode]
        weighted = debt = 0
        for i, scaled in collaterals:
            weighted += scaled * supply_index[i] // RAY * price[i] // unit[i] * threshold[i]
        for i, scaled in debts:
            debt -= -(-scaled * debt_index[i] // RAY) * -price[i] // unit[i]
        found.append(debt > 0 and (weighted * WAD + debt // 2) // debt // 10_000 < WAD)
    return found


def flags_old(held: Sequence[Row], of: Reserves) -> list[bool]:
    """The same by revisions 1 to 8: balances half up, and the average threshold floored first."""
    found = []
    for e_mode, collaterals, debts in held:
        threshold = of.threshold[e_mode]
        total = weighted = debt = 0
        for i, scaled in collaterals:
            value = (scaled * of.supply_index[i] + HALF) // RAY * of.price[i] // of.unit[i]
            total += value
            weighted += value * threshold[i]
        for i, scaled in debts:
            debt += (scaled * of.debt_index[i] + HALF) // RAY * of.price[i] // of.unit[i]
        average = weighted // total if total else 0
        counted = (total * average + 5_000) // 10_000
        found.append(debt > 0 and (counted * WAD + debt // 2) // debt < WAD)
    return found


def _taylor(rate: int, seconds: int) -> int:
    x = rate * seconds // YEAR
    square = (x * (x // 2 + (x * (x // 6) + HALF) // RAY) + HALF) // RAY
    return RAY + x + square


def _binomial(rate: int, seconds: int) -> int:
    square = (rate * rate + HALF) // RAY // (YEAR * YEAR)
    cube = (square * rate + HALF) // RAY // YEAR
    pairs = seconds * (seconds - 1)
    return (
        RAY + rate * seconds // YEAR + pairs * square // 2 + pairs * max(0, seconds - 2) * cube // 6
    )
