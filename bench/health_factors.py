"""X2: how many health factors are, to the wei, what `getUserAccountData` answers.

Two ways.  The keeper as it runs, on 10,000 accounts written into the storage of a real v3.6 market
and 700 made by real transactions, block after block with new prices and touched accounts.  And
worlds drawn by hypothesis (parameters, indices, categories, prices, time, accounts of every shape)
on v3.6 and v3.0.2, with liquidations carried out and compared too.  The contract is asked by plain
calls and another decoder than the keeper's.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from bench.house import House, watched
from bench.line import Line, say, spread
from bench.written import SAID
from keeper.devnet.network import Stage, start
from keeper.devnet.toolchain import ensure
from tests.chain.arena import RELEASES, Arena

WRITTEN: Final = 10_000
REAL: Final = 700
BLOCKS: Final = 9
WORLDS, HOLDERS = 120, 40


def run() -> Iterator[Line]:
    """Yield X2."""
    stage = start(REAL)
    try:
        equal, context = asyncio.run(_measure(stage))
    finally:
        stage.stop()
    compared = context["compared_as_it_runs"]
    same = sum(equal) / len(equal) * compared / 100
    for release in RELEASES:
        tally, difference = _worlds(release)
        compared += tally.compared
        same += tally.compared - bool(difference)
        context[f"worlds_{release}"] = str(tally)
        if difference:
            context[f"difference_{release}"] = difference
    yield Line(
        id="X2",
        what="health factors wei-identical to the deployed contract",
        value=100 * same / compared,
        unit="%",
        reach="100 %, all modes",
        ok=same == compared,
        runs=len(equal),
        spread=spread(equal),
        context={"compared": compared} | context,
    )


def _worlds(release: str) -> tuple[Any, str]:
    """The tally of all worlds on one release, and the first difference or nothing."""
    say(f"X2: {WORLDS} worlds of {HOLDERS} accounts on v{release}")
    stage = start(0)
    arena = Arena(stage, ensure(), release)
    try:
        arena.play(WORLDS, HOLDERS)
    except AssertionError as error:
        return arena.tally, str(error)[:2_000]
    finally:
        stage.stop()
    return arena.tally, ""


async def _measure(stage: Stage) -> tuple[list[float], dict[str, Any]]:
    async with watched(stage, written=WRITTEN) as house:
        say(f"X2: comparing {house.borrowers:,} accounts at each of {BLOCKS} blocks")
        equal, compared = [], 0
        for number in range(BLOCKS):
            await house.push_eth(Decimal("0.9941") if number % 2 else Decimal("1.0027"))
            await house.touch(10)
            await house.tick(seconds=12 + 61 * number)
            same, asked = await _compare(house)
            equal.append(100 * same / asked)
            compared += asked
        return equal, {
            "compared_as_it_runs": compared,
            "accounts": house.borrowers,
            "accounts_made": SAID,
            "by_real_transactions": REAL,
        }


async def _compare(house: House) -> tuple[int, int]:
    """How many accounts are equal, of how many."""
    reading = next(iter(house.engine.readings.values()))
    held = [
        holdings
        for account in house.market.book.accounts()
        if (holdings := house.market.holdings(account)) is not None
    ]
    theirs = await house.devnet.account_data_of(
        [holdings.account for holdings in held], hex(reading.block.number)
    )
    same = 0
    for holdings, data in zip(held, theirs, strict=True):
        mine = reading.view.contract_health(holdings)
        same += (mine.collateral, mine.debt, mine.health_factor) == (data[0], data[1], data[5])
    return same, len(held)
