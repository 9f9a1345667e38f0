"""Markets and accounts that are made to be decided wrongly.

A market mixes decimals from 0 to 27, prices of cents and of billions, indices at and far above 1,
categories with gaps between them.  Its reserves are of two camps, volatile and steady: only where
one moves against the other does a health factor move.

A `Level` is one set of prices.  Every account is tuned to one of them: its first debt is sized in
exact integers to the last scaled unit at which the account is not below 1 there, and then put a
few units, a few of its own roundings, a few float32 roundings or a relative distance drawn over
twenty orders of magnitude to either side.  Levels lie at 1, at the very edge of every band that a
hot set goes by, a hair to either side of it, and far away; so whichever level a block has, there
are accounts on the boundary, and all others are a known way off it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import Final

from bench import naive
from bench.crowd import address
from bench.market import Made, make
from keeper.model import Entry, Holdings, Side
from keeper.protocols.aave_v3.market import EMode
from keeper.units import RAY, Base, Bps

RESERVES: Final = 30
DECIMALS: Final = (18, 18, 18, 18, 18, 18, 6, 6, 6, 6, 8, 8, 8, 27)
COARSE: Final = {3: 2, 12: 0}
"""Reserves whose raw units are worth something: dimes, or cents."""
SPREADS: Final = ((7, 13), (7, 13), (5, 13.5))
"""Decades of prices, base units of 8 decimals."""
CATEGORIES: Final = (1, 2, 7)
E_MODES: Final = (0,) * 72 + (1, 2, 7) * 8 + (5, 11)
"""5 and 11 were never set up: one is within the greatest, one beyond."""
PARTS: Final = 10**12
BANDS: Final = (1_001, 1_002, 1_005, 1_010, 1_050)
"""In thousandths: where the rings and tiers of a hot set end."""
KINDS: Final = {
    "several": 40,
    "pair": 41,
    "tiny": 2.5,  # a few base units, where roundings are everything
    "huge": 3,  # beyond what the columns hold exactly
    "dust": 4,  # beside one great collateral: float32 loses or doubles each
    "many": 3,
    "both sides": 4,  # of one reserve
    "no debt": 1.5,
    "no collateral": 1,
}
"""How often accounts of each kind are drawn."""
MOST_SCALED: Final = 2**127
Row = naive.Row
Judge = Callable[[Sequence[Row], naive.Reserves], list[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Factors of all prices, in parts of `PARTS`, by reserve."""

    factors: tuple[int, ...]
    often: float
    """How often a block has it."""
    tuned: float
    """How many accounts are tuned to it."""

    def prices(self, base: Sequence[int]) -> tuple[int, ...]:
        """The prices at this level; never 0."""
        pairs = zip(base, self.factors, strict=True)
        return tuple(max(1, price * factor // PARTS) for price, factor in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A market, its levels, and who judges its accounts."""

    made: Made
    base: tuple[int, ...]
    """Prices by reserve, of which levels are factors."""
    levels: tuple[Level, ...]
    below: Judge
    pure: bool
    """Whether nobody borrows what is volatile or supplies what is steady: a fall then raises
    nobody's health, so that only its own edge ends a certificate."""

    def at(self, level: Level, instant: int) -> naive.Reserves:
        """The market at a level's prices and an instant."""
        return naive.reserves(self.made, level.prices(self.base), instant)


def world(chance: random.Random, revision: int, number: int) -> World:
    """Draw a market by the arithmetic of a POOL_REVISION."""
    made = make(RESERVES, revision, number)
    states = []
    for state in made.observed.reserves:
        # 3.6 lets a reserve count in a category alone; before, it counts nowhere then
        threshold = (
            0 if revision >= 10 and state.id == 6 else state.configuration.liquidation_threshold
        )
        index = chance.choice((RAY, state.liquidity_index, 2 * state.liquidity_index))
        states.append(
            replace(
                state,
                configuration=replace(
                    state.configuration,
                    decimals=COARSE.get(state.id, chance.choice(DECIMALS)),
                    liquidation_threshold=Bps(threshold),
                    e_mode=chance.choice((0, *CATEGORIES)),
                ),
                liquidity_index=index,
                debt_index=index + chance.choice((0, state.debt_index - RAY)),
            )
        )
    base = tuple(
        int(10 ** chance.uniform(*((6, 8) if i in COARSE else chance.choice(SPREADS))))
        for i in range(RESERVES)
    )
    e_modes = {
        i: EMode(
            id=i,
            label=f"category {i}",
            liquidation_threshold=Bps(9_000 + 100 * i + 7),
            liquidation_bonus=Bps(10_100),
            collateral_bitmap=chance.getrandbits(RESERVES) | 1 << 6,
            price_source=None,
        )
        for i in CATEGORIES
    }
    return World(
        made=replace(
            made,
            market=replace(made.market, e_modes=e_modes),
            observed=replace(made.observed, reserves=tuple(states), prices=tuple(map(Base, base))),
        ),
        base=base,
        levels=levels(chance),
        below=naive.flags_new if revision >= 9 else naive.flags_old,
        pure=number % 2 == 1,
    )


def volatile(reserve: int) -> bool:
    """Which camp a reserve is of."""
    return reserve % 2 == 0


def levels(chance: random.Random) -> tuple[Level, ...]:
    """Draw the levels, the anchor first: where hot sets are made."""
    made = [_level(PARTS, PARTS, often=1, tuned=3)]
    for band in BANDS:
        edge = PARTS * 1_000 // band
        made += (
            _level(edge - away, PARTS, often=1, tuned=1.5)
            for away in (0, PARTS * 3 // 100_000, int(PARTS * 10 ** -chance.uniform(5, 11)))
        )
        # the same distance made by the other side, and by both
        made.append(_level(PARTS, PARTS * band // 1_000 + 1, often=0.5, tuned=0.5))
        half = int(PARTS * (1_000 / band) ** 0.5)
        made.append(_level(half, 2 * PARTS - half, often=0.5, tuned=0.5))
    for factor, often, tuned in ((1.013, 3, 0.3), (1.3, 3, 0.1), (0.9, 0.1, 8), (0.8, 0.1, 12)):
        made.append(_level(int(factor * PARTS), PARTS, often=often, tuned=tuned))
    for _ in range(3):  # every price on its own
        own = 10 ** -chance.uniform(2, 11)
        factors = tuple(int(PARTS * (1 + own * chance.uniform(-1, 1))) for _ in range(RESERVES))
        made.append(Level(factors=factors, often=1, tuned=0.7))
    return tuple(made)


def _level(of_volatile: int, of_steady: int, *, often: float, tuned: float) -> Level:
    factors = tuple(of_volatile if volatile(i) else of_steady for i in range(RESERVES))
    return Level(factors=factors, often=often, tuned=tuned)


# --- accounts ---------------------------------------------------------------------------------


def account(chance: random.Random, there: World, of: naive.Reserves) -> Row:
    """Draw one account and tune it to the boundary at `of`."""
    return tuned(chance, drawn(chance, of, pure=there.pure), of, there.below)


def drawn(chance: random.Random, of: naive.Reserves, *, pure: bool) -> Row:
    """Draw an account of any size and shape; its first debt is to be sized."""
    [kind] = chance.choices(list(KINDS), list(KINDS.values()))

    def pick(of_volatile: float, many: int) -> list[int]:
        return _pick(chance, round(of_volatile) if pure else of_volatile, many)

    collaterals, debts = pick(0.98, 1), pick(0.02, 1)
    match kind:
        case "several":
            collaterals = pick(0.98, chance.choice((1, 2, 2, 3, 4)))
            debts = pick(0.02, chance.choice((1, 1, 1, 2)))
        case "tiny" | "huge":
            collaterals = pick(0.95, chance.choice((1, 2, 3)))
        case "dust":
            collaterals = pick(0.9, chance.randint(3, 13))
        case "many":
            collaterals, debts = pick(0.8, chance.randint(5, 15)), pick(0.2, chance.randint(1, 12))
        case "both sides" if not pure:
            collaterals = [*debts, *(i for i in collaterals if i not in debts)]
        case "no debt":
            debts = []
        case "no collateral":
            collaterals = []
    usd = _sizes(chance, kind)
    supplied = ((i, usd(), of.supply_index[i]) for i in collaterals)
    owed = ((i, _usd(chance), of.debt_index[i]) for i in debts)
    return (
        chance.choice(E_MODES),
        tuple((i, _scaled(value, index, of.price[i], of.unit[i])) for i, value, index in supplied),
        tuple((i, _scaled(value, index, of.price[i], of.unit[i])) for i, value, index in owed),
    )


def _sizes(chance: random.Random, kind: str) -> Callable[[], float]:
    """What draws the values of an account's collaterals, one after the other."""
    match kind:
        case "tiny":
            return partial(_usd, chance, 0, 9)
        case "huge":
            return partial(_usd, chance, 20, 34)
        case "dust":
            great, share = _usd(chance), chance.uniform(0.4, 1.1) * 2.0**-24
            return partial(next, chain((great,), repeat(great * share)))
        case _:
            return partial(_usd, chance)


def tuned(chance: random.Random, row: Row, of: naive.Reserves, below: Judge) -> Row:
    """Size the first debt to the boundary; an account that is below without it stays."""
    e_mode, collaterals, debts = row
    if not debts or not collaterals:
        return row
    (i, _), *others = debts
    per_debt = of.debt_index[i] * of.price[i] / (RAY * of.unit[i])
    threshold = of.threshold[e_mode]
    capacity = slack = 0.0
    for c, scaled in collaterals:
        each = of.price[c] / of.unit[c]
        capacity += scaled * of.supply_index[c] / RAY * each * threshold[c] / 1e4
        slack += each * threshold[c] / 1e4 + 1
    # what else it owes is made small beside what it may owe, so that a boundary is there
    cut = max(1, len(others)) * 2
    rest = []
    for d, scaled in others:
        each = of.price[d] / of.unit[d]
        most = int(capacity / cut / (each * of.debt_index[d] / RAY))
        owed = max(1, min(scaled, most))
        rest.append((d, owed))
        capacity -= owed * of.debt_index[d] / RAY * each
        slack += each + 1
    units = max(1, int((slack + of.price[i] / of.unit[i] + 1) / per_debt))

    def sized(scaled: int) -> Row:
        return e_mode, collaterals, ((i, scaled), *rest)

    edge = _edge(lambda scaled: below((sized(scaled),), of)[0], int(capacity / per_debt), units)
    if edge == 0:
        return sized(1)
    return sized(min(MOST_SCALED, max(1, edge + _off(chance, edge, units))))


def _off(chance: random.Random, edge: int, units: int) -> int:
    """How far beyond the last unit that is not below: above 0 the account is below."""
    way = chance.random()
    if way < 0.35:
        return chance.randint(0, 1)
    if way < 0.45:
        return chance.randint(-3, 4)
    if way < 0.65:
        return int(units * chance.uniform(-2, 2))
    if way < 0.8:
        return int(edge * chance.uniform(-4, 4) * 1e-6)
    return chance.choice((-1, 1)) * (int(edge * 10 ** -chance.uniform(1, 21)) + 1)


def _edge(below: Callable[[int], bool], guess: int, step: int) -> int:
    """The greatest amount that is not below, by bisection; 0 if none is."""
    low = high = max(0, guess)
    width = step
    while low > 0 and below(low):
        low, width = max(0, low - width), 2 * width
    width = step
    while not below(high) and high < MOST_SCALED:
        high, width = high + width, 2 * width
    if low == 0 and below(0):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if below(middle) else (middle, high)
    return low


def _pick(chance: random.Random, of_volatile: float, many: int) -> list[int]:
    """So many different reserves, mostly of one camp."""
    picked: dict[int, None] = {}
    while len(picked) < many:
        i = chance.randrange(RESERVES)
        if volatile(i) == (chance.random() < of_volatile):
            picked[i] = None
    return list(picked)


def _usd(chance: random.Random, low: float = 9, high: float = 15) -> float:
    """Base units of 8 decimals."""
    return 10 ** chance.uniform(low, high)


def _scaled(value: float, index: int, price: int, unit: int) -> int:
    return min(MOST_SCALED, max(1, int(value * unit / price * (RAY / index))))


def holdings(row: Row, number: int) -> Holdings:
    """The account `number` as the keeper is given it."""
    e_mode, collaterals, debts = row
    entries = [
        *(Entry(reserve=i, side=Side.COLLATERAL, scaled=s) for i, s in collaterals),
        *(Entry(reserve=i, side=Side.DEBT, scaled=s) for i, s in debts),
    ]
    return Holdings(account=address(number), e_mode=e_mode, entries=tuple(entries))
