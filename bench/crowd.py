"""Many made-up accounts: 1.68 collaterals and 1.22 debts each, as on Aave's Ethereum market.

Debts are sized for a health factor drawn between 0.97 and 3, by float; about one account in a
hundred is below 1.
"""

import random
from collections.abc import Iterator
from functools import cache

from bench.line import say
from bench.market import E_MODES, Made, make
from keeper.engine.two_threads import each
from keeper.model import Address, Entry, Holdings, Side
from keeper.risk.book import Book
from keeper.units import BPS, RAY


@cache
def market() -> Made:
    """The market of 50 reserves that all risk benchmarks share."""
    return make(50)


def accounts(made: Made, count: int, number: int = 1) -> Iterator[Holdings]:
    """Yield `count` accounts that `number` draws."""
    chance = random.Random(number)
    view = made.view()
    reserves = sorted(view.reserves)
    values = {
        i: (
            now.liquidity_index * (now.price or 0) / (RAY * now.unit),
            now.debt_index * (now.price or 0) / (RAY * now.unit),
            now.configuration.liquidation_threshold / BPS,
        )
        for i, now in view.reserves.items()
    }
    for index in range(count):
        collaterals = chance.sample(reserves, _many(chance, 0.68))
        debts = chance.sample(reserves, _many(chance, 0.22))
        e_mode = chance.randint(1, E_MODES) if chance.random() < 0.1 else 0
        entries = []
        capacity = 0.0
        for i in collaterals:
            usd = 10 ** chance.uniform(10, 14.5)
            scaled = max(1, int(usd / values[i][0]))
            capacity += scaled * values[i][0] * values[i][2]
            entries.append(Entry(reserve=i, side=Side.COLLATERAL, scaled=scaled))
        health = 0.97 + 2.03 * chance.random() ** 1.2
        for i in debts:
            usd = capacity / health / len(debts)
            entries.append(Entry(reserve=i, side=Side.DEBT, scaled=max(1, int(usd / values[i][1]))))
        entries.sort(key=lambda e: e.reserve)
        yield Holdings(account=address(index), e_mode=e_mode, entries=tuple(entries))


def address(index: int) -> Address:
    """An address that looks like one: its bytes are spread."""
    return Address(f"0x{(index * 0x9E3779B97F4A7C15F39CC0605CEDC834 + 7) % 2**160:040x}")


@cache
def crowd(count: int) -> tuple[Holdings, ...]:
    """The first `count` accounts; kept, since several benchmarks use them."""
    say(f"drawing {count:,} accounts")
    return tuple(accounts(market(), count))


@cache
def book(count: int) -> Book:
    """The same in a book, put in one by one as the engine does."""
    held = crowd(count)
    say(f"putting {count:,} accounts into a book")
    made = Book(each=each)
    for holdings in held:
        made.put(holdings)
    return made


def _many(chance: random.Random, more: float) -> int:
    """One, and with the probability `more` a second; a few have four. On average 1 + `more`."""
    if chance.random() < more / 10:
        return 4
    return 1 + (chance.random() < (more - 3 * more / 10) / (1 - more / 10))
