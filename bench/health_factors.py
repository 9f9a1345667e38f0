"""X2: how many health factors are, to the wei, what `getUserAccountData` answers.

Block after block with new prices and touched accounts, everybody in the book is compared with the
deployed Aave v3.6; the contract is asked by plain calls and another decoder than the keeper's.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

from bench.house import House, watched
from bench.line import Line, median, say, spread
from keeper.devnet.network import Stage, start

BORROWERS = 600
BLOCKS = 12


def run() -> Iterator[Line]:
    """Yield X2."""
    stage = start(100)
    try:
        yield asyncio.run(_measure(stage))
    finally:
        stage.stop()


async def _measure(stage: Stage) -> Line:
    async with watched(stage) as house:
        await house.grow(BORROWERS)
        say(f"X2: comparing {house.borrowers:,} accounts at each of {BLOCKS} blocks")
        equal, compared = [], 0
        for number in range(BLOCKS):
            await house.push_eth(Decimal("0.9941") if number % 2 else Decimal("1.0027"))
            await house.touch(10)
            await house.tick(seconds=12 + 61 * number)
            same, asked = await _compare(house)
            equal.append(100 * same / asked)
            compared += asked
        kinds = sorted({b.kind for b in house.devnet.borrowers})
    return Line(
        id="X2",
        what="health factors wei-identical to the deployed contract",
        value=median(equal),
        unit="%",
        reach="100 %, all modes",
        ok=min(equal) == 100,
        runs=len(equal),
        spread=spread(equal),
        context={"compared": compared, "protocols": ["aave_v3 3.6"], "kinds": kinds},
    )


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
