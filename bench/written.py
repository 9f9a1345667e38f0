"""Borrowers written into a devnet market's storage, 1.68 collaterals and 1.22 debts each.

What cannot be had by real transactions in a minute.  Health factors are drawn between 1.03 and 3,
as those of `keeper.devnet.seed` are; some are in the e-mode, none is isolated.
"""

import random
from collections.abc import Iterator
from typing import Final

from bench.line import say
from keeper.devnet.implant import Implant, implant
from keeper.devnet.market import E_MODE, E_MODE_BPS, E_MODE_SYMBOLS, RESERVES, start_price
from keeper.devnet.network import Devnet
from keeper.model import Address, Entry, Holdings, Side
from keeper.units import BPS

SAID: Final = "written into the real contracts' storage, with logs; cash is not synthesised"
COLLATERALS: Final = {"WETH": 6, "wstETH": 3, "WBTC": 4, "USDC": 2, "DAI": 1}
DECIMALS: Final = {spec.symbol: spec.decimals for spec in RESERVES}
DEBTS: Final = {"USDC": 8, "DAI": 5, "WETH": 2, "WBTC": 1}


async def write(devnet: Devnet, count: int, number: int = 21) -> tuple[Address, ...]:
    """Make `count` borrowers that `number` draws; automine is as it was on afterwards."""
    say(f"writing {count:,} borrowers into the contracts' storage")
    made = tuple(drawn(devnet, count, number))
    await implant(devnet, made)
    return tuple(one.holdings.account for one in made)


def drawn(devnet: Devnet, count: int, number: int) -> Iterator[Implant]:
    """Yield the borrowers; indices are taken to be 1, which they nearly are on a young chain."""
    chance = random.Random(number)
    reserves = {r.symbol: r for r in devnet.deployment.reserves}
    for index in range(count):
        e_mode = E_MODE if chance.random() < 0.1 else 0
        collaterals = some(chance, COLLATERALS, 1 + (chance.random() < 0.68))
        debts = some(
            chance,
            {s: w for s, w in DEBTS.items() if s not in collaterals},
            1 + (chance.random() < 0.22),
        )
        entries, capacity = [], 0.0
        for symbol in collaterals:
            usd = 10 ** chance.uniform(3, 6)
            bps = reserves[symbol].liquidation_threshold_bps
            if e_mode and symbol in E_MODE_SYMBOLS:
                bps = E_MODE_BPS[1]
            capacity += usd * bps / BPS
            entries.append(_entry(reserves[symbol].reserve, Side.COLLATERAL, symbol, usd))
        health = 1.03 + 1.97 * chance.random() ** 1.2
        for symbol in debts:
            usd = capacity / health / len(debts)
            entries.append(_entry(reserves[symbol].reserve, Side.DEBT, symbol, usd))
        entries.sort(key=lambda e: e.reserve)
        holdings = Holdings(account=_address(number, index), e_mode=e_mode, entries=tuple(entries))
        yield Implant(holdings=holdings)


def some(chance: random.Random, of: dict[str, int], many: int) -> list[str]:
    """Draw that many symbols, each once, by their weights."""
    symbols: list[str] = []
    while len(symbols) < many:
        [symbol] = chance.choices(list(of), list(of.values()))
        if symbol not in symbols:
            symbols.append(symbol)
    return symbols


def _entry(reserve: int, side: Side, symbol: str, usd: float) -> Entry:
    raw = usd / float(start_price(symbol)) * 10 ** DECIMALS[symbol]
    return Entry(reserve=reserve, side=side, scaled=max(1, int(raw)))


def _address(number: int, index: int) -> Address:
    seed = (number << 64) + index + 1
    return Address(f"0x{seed * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**160:040x}")
