"""E1 and E2: many positions in danger at once, and gas that becomes dear while they wait.

E1: Ether falls so that about 500 accounts are below 1 in one block.  Counted is how many blocks of
Anvil it takes until nobody is left whom the keeper calls profitable, asked of the Pool itself.
E2: fifty protected positions are in danger while the base fee rises a hundredfold in ten blocks.
Each must be acted upon, or an alarm must name the cap.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from bench.house import House, watched
from bench.line import Line
from keeper.devnet.abi import encode_call
from keeper.devnet.network import Stage, start
from keeper.engine.passes import Pass
from keeper.model import Assessed, Confirmed, Declined, Refuse, Reverted, Taken, Why
from keeper.store.actions import SqlActions
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from keeper.units import WAD

BORROWERS: Final = 2_400
WANTED: Final = 500
FALL: Final = Decimal("0.82")
BLOCK_GAS: Final = 60_000_000
"""Ethereum's block gas limit in 2026: three blocks hold about 500 liquidations of 350,000."""
BLOCKS: Final = 3
CROWD: Final = 600
POSITIONS: Final = 50
RISING: Final = 10
AFTER: Final = 12
"""Blocks at the dear base fee, for what is on its way to end."""
NEAR: Final = (107 * WAD // 100, 126 * WAD // 100)
"""Health factors of those that are protected: Ether's slide brings most of them below `BELOW`."""
BELOW: Final = "1.05"
TARGET: Final = "1.10"
SLIDE: Final = Decimal("0.83")
SMALL_BLOCK_GAS: Final = 4_000_000
"""Holds a dozen protections of 200,000 to 300,000, and the keeper's own reads."""


def run() -> Iterator[Line]:
    """Yield E1 and E2."""
    stage = start(BORROWERS)
    try:
        yield asyncio.run(flood(stage))
    finally:
        stage.stop()
    stage = start(CROWD)
    try:
        yield asyncio.run(dear_gas(stage))
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


async def flood(stage: Stage, blocks: int = BLOCKS) -> Line:
    """Let Ether fall, and count who was worth liquidating and was not within `blocks` blocks.

    Below 1 is the Pool's own word; whose liquidation is not worth its gas the keeper says, with
    the numbers.  Whoever was below 1 and neither liquidated nor refused as unprofitable is missed.
    """
    async with watched(stage, armed(stage), approve=True) as house:
        devnet = house.devnet
        await fund(house)
        await devnet.anvil.set_block_gas_limit(BLOCK_GAS)
        await devnet.fall_of("ETH/USD", FALL)
        began = time.monotonic()
        passes: list[Pass] = [await house.tick()]
        first_s = time.monotonic() - began
        fallen = set(await below_one(house))
        following_s = []
        for _ in range(blocks):
            began = time.monotonic()
            passes.append(await house.tick())
            following_s.append(time.monotonic() - began)
    poor = {
        d.position.account
        for done in passes
        for d in done.decisions
        if isinstance(d, Refuse) and d.why in (Why.UNPROFITABLE, Why.TOO_SMALL)
    }
    poor |= {
        s.intent.position.account
        for done in passes
        for s in done.submissions
        if isinstance(s, Declined) and s.why is Why.UNPROFITABLE
    }
    taken = Counter(
        one.liquidated.block.number - passes[0].block.number
        for done in passes
        for one in done.liquidations
    )
    by_us = {
        one.liquidated.position.account
        for done in passes
        for one in done.liquidations
        if one.taken is Taken.OURS
    }
    missed = fallen - by_us - poor
    reverted = sum(isinstance(o, Reverted) for done in passes for o in done.outcomes)
    return Line(
        id="E1",
        what=f"profitable accounts not liquidated {blocks} blocks after {len(fallen)} fell at once",
        value=len(missed),
        unit="accounts",
        reach=f"0 of {WANTED}",
        ok=not missed and len(fallen) >= WANTED and blocks <= BLOCKS,
        runs=1,
        spread=(len(missed), len(missed)),
        context={
            "fell_below_1": len(fallen),
            "liquidated": len(by_us),
            "not_worth_it": len(fallen & poor),
            "liquidations_by_block": {str(n): count for n, count in sorted(taken.items())},
            "reverted": reverted,
            "block_gas_limit": BLOCK_GAS,
            "first_sent_s": passes[0].broadcast_s,
            "pass_s": first_s,
            "following_passes_s": following_s,
        },
    )


# --- E2 -----------------------------------------------------------------------------------------


async def dear_gas(stage: Stage, positions: int = POSITIONS, blocks: int = RISING) -> Line:
    """Let fifty protected positions need help while gas becomes a hundred times dearer.

    Blocks are so small that a few transactions fit: most have to be bumped while the base fee
    rises.  Afterwards everybody was acted for, or told that the cap stands in the way.
    """
    async with stage.devnet() as before:
        accounts = [b.address for b in before.borrowers]
        found = await before.account_data_of(accounts)
    near = (a for a, data in zip(accounts, found, strict=True) if NEAR[0] < data[5] < NEAR[1])
    protected = list(near)[: positions * 3]
    more = "".join(
        f"""
[protect.p{number}]
account = "{account}"
strategy = ["repay", "top_up"]
below = "{BELOW}"
target = "{TARGET}"
max_per_tx_usd = "20000000"
"""
        for number, account in enumerate(protected)
    )
    async with watched(stage, armed(stage, more), approve=True) as house:
        passes: list[Pass] = []
        devnet = house.devnet
        await fund(house)
        base_fee = (await house.tick()).block.base_fee_wei
        await devnet.anvil.set_block_gas_limit(SMALL_BLOCK_GAS)
        await devnet.fall_of("ETH/USD", SLIDE)
        for n in range(1, blocks + 1):
            await devnet.anvil.set_next_base_fee(int(base_fee * 100 ** (n / blocks)))
            passes.append(await house.tick())
        top = passes[-1].block.base_fee_wei
        for _ in range(AFTER):
            await devnet.anvil.set_next_base_fee(top)
            passes.append(await house.tick())
        async with await Database.open(house.watcher.settings.database.url) as database:
            actions = await SqlActions(database).last(500)
            alarms = {f"{a.rule} {a.subject}" for a in await SqlRecords(database).alert_states()}
        bumped = sum(len(one.attempts) > 1 for one in actions)
    needed = {
        a.position.account
        for done in passes
        for a in done.assessments
        if isinstance(a, Assessed)
        and a.position.account in protected
        and a.health_factor < int(Decimal(BELOW) * WAD)
    }
    outcomes = [o for done in passes for o in done.outcomes]
    acted = {o.plan.intent.position.account for o in outcomes if isinstance(o, Confirmed)}
    said = " ".join(m.text for done in passes for m in done.messages)
    capped = {
        o.plan.intent.position.account
        for o in outcomes
        if not isinstance(o, Confirmed) and f"keeper explain {o.plan.intent.intent_id}" in said
    } | {
        s.intent.position.account
        for done in passes
        for s in done.submissions
        if isinstance(s, Declined) and f"refused {s.intent.position}" in alarms
    }
    silent = needed - acted - capped
    return Line(
        id="E2",
        what="endangered protected positions neither acted for nor alarmed, base fee x100",
        value=len(silent),
        unit="positions",
        reach=f"0 of {POSITIONS}",
        ok=not silent and len(needed) >= POSITIONS and top >= 99 * base_fee,
        runs=1,
        spread=(len(silent), len(silent)),
        context={
            "in_danger": len(needed),
            "acted_for": len(needed & acted),
            "alarmed_with_the_cap": len((needed & capped) - acted),
            "base_fee_from_wei": base_fee,
            "base_fee_to_wei": top,
            "blocks": blocks,
            "bumped": bumped,
        },
    )


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
