"""E1 and E2: many positions in danger at once, and gas that becomes dear while they wait.

E1: Ether falls so that about 500 accounts are below 1 in one block.  Counted is how many blocks of
Anvil it takes until nobody is left whom the keeper calls profitable, asked of the Pool itself.
E2: fifty protected positions are in danger while the base fee rises a hundredfold in ten blocks.
Each must be acted upon, or an alarm must name the cap.
"""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from bench.house import House, watched
from bench.line import Line, say
from keeper.devnet.abi import encode_call
from keeper.devnet.network import Stage, start
from keeper.model import Declined, Refuse, Submitted
from keeper.units import WAD

BORROWERS: Final = 2_400
WANTED: Final = 500
FALL: Final = Decimal("0.82")
BLOCK_GAS: Final = 60_000_000
"""Ethereum's block gas limit in 2026: three blocks hold about 500 liquidations of 350,000."""
BLOCKS: Final = 3
BLOCK_S: Final = 12.0


def run() -> Iterator[Line]:
    """Yield E1 and E2."""
    stage = start(BORROWERS)
    try:
        yield asyncio.run(flood(stage))
    finally:
        stage.stop()


def armed(stage: Stage, more: str = "") -> str:
    """Return a configuration that liquidates with the keeper's own money."""
    key = stage.deployment.account("keeper").private_key
    return f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "20000000"
[signing]
armed_chain_ids = [{stage.deployment.chain_id}]
private_key = "{key}"
max_per_tx_usd = "20000000"
max_per_day_usd = "10000000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "500"
{more}
"""


async def flood(stage: Stage, what: str = "", blocks: int = BLOCKS) -> Line:
    """Let Ether fall, and count who was below 1 and not liquidated `blocks` blocks later."""
    async with watched(stage, armed(stage), approve=True) as house:
        devnet = house.devnet
        await fund(house)
        await devnet.anvil.set_block_gas_limit(BLOCK_GAS)
        await devnet.fall_of("ETH/USD", FALL)
        fell = await house.tick()
        passes, took = [fell], [fell.decision_s]
        below = await below_one(house)
        started = time.monotonic()
        for _ in range(blocks):
            passes.append(await house.tick())
            took.append(time.monotonic() - started)
        worth = {
            s.intent.position.account
            for done in passes
            for s in done.submissions
            if isinstance(s, Submitted)
        }
        refused = {
            d.position.account: d.reason
            for done in passes
            for d in done.decisions
            if isinstance(d, Refuse)
        }
        done_to = {one.liquidated.position.account for done in passes for one in done.liquidations}
        declined = [s for p in passes for s in p.submissions if isinstance(s, Declined)]
        say(
            f"{len(below)} below; {len(worth)} worth; {len(done_to)} done; {len(refused)} refused; {len(declined)} declined; {[sum(isinstance(s, Submitted) for s in p.submissions) for p in passes]}; {took}; gas {[(p.block.number) for p in passes]} {list(refused.values())[:2]} {declined[:1]} "
        )
    return Line(id="E1", what=what, value=0, unit="", reach="", ok=False, runs=1, spread=(0, 0))


async def fund(house: House) -> None:
    """Give the keeper enough of every debt."""
    there = house.devnet.deployment
    whale, keeper = (there.account(name).address for name in ("whale", "keeper"))
    token = house.devnet.artifacts.get("TestnetERC20")
    for reserve in there.reserves:
        held = await house.devnet.deployer.call(reserve.asset, "TestnetERC20", "balanceOf", whale)
        data = encode_call(token, "transfer", keeper, held * 9 // 10)
        await house.devnet.anvil.send(whale, reserve.asset, data, gas=200_000)
    await house.devnet.anvil.set_balance(keeper, 10**22)
    await house.tick()


async def below_one(house: House) -> list[str]:
    """Return who is below 1 by the Pool's own word at the head."""
    accounts = [b.address for b in house.devnet.borrowers]
    found = await house.devnet.account_data_of(accounts)
    return [a for a, data in zip(accounts, found, strict=True) if data[5] < WAD]
