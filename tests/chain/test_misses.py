"""Liquidations by a rival, by the keeper, and in blocks that are taken back: all accounted for.

What is compared with is the chain's own logs and the Pool's own health factors, by plain calls.
"""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper import log
from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.model import Reckoned, Taken
from keeper.settings import Settings
from keeper.store.database import Database
from keeper.store.liquidations import SqlLiquidations
from keeper.units import UINT256_MAX, WAD
from tests.chain.watching import approve_everything, settings_of, watching
from tests.cli.calling import Keeper, log_put_back

pytestmark = pytest.mark.chain

EVENT = (
    "0x"
    + keccak(text="LiquidationCall(address,address,address,uint256,uint256,address,bool)").hex()
)
USDC_RUNG = 4
"""Which borrower owes USDC for WETH, not far from 1."""
LIQUIDATES = '[liquidate]\nenabled = true\nmin_profit_usd = "1"\nmax_debt_usd = "2000000"\n'


def armed(devnet: Devnet) -> str:
    key = devnet.deployment.account("keeper").private_key
    return f"""{LIQUIDATES}
[signing]
armed_chain_ids = [31337]
private_key = "{key}"
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
"""


async def rival_takes(devnet: Devnet, account: str) -> None:
    """The whale liquidates what `account` owes in USDC; mined last in the next block."""
    there = devnet.deployment
    weth, usdc = (there.reserve(symbol).asset for symbol in ("WETH", "USDC"))
    data = encode_call(
        devnet.artifacts.get("IPool"), "liquidationCall", weth, usdc, account, UINT256_MAX, False
    )
    head = await devnet.anvil.rpc("eth_getBlockByNumber", "latest", False)
    message = {
        "from": there.account("whale").address,
        "to": there.pool,
        "data": "0x" + data.hex(),
        "gas": hex(1_500_000),
        "maxFeePerGas": hex(int(head["baseFeePerGas"], 16) * 9 // 8),
        "maxPriorityFeePerGas": hex(0),
    }
    await devnet.anvil.rpc("eth_sendTransaction", message)


async def on_chain(devnet: Devnet, since: int) -> dict[tuple[int, int], dict[str, Any]]:
    logs = await devnet.anvil.rpc(
        "eth_getLogs",
        {"fromBlock": hex(since), "address": devnet.deployment.pool, "topics": [EVENT]},
    )
    return {(int(log["blockNumber"], 16), int(log["logIndex"], 16)): log for log in logs}


async def misses(folder: Path, capture: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    keeper = Keeper(config=folder / "keeper.toml", capture=capture)
    with log_put_back():
        log.set_up(stream=sys.stderr)  # the watcher logs meanwhile, before the command sets it up
        capture.readouterr()
        said = await asyncio.to_thread(keeper, "misses", "--json", *more)
    assert said.code == 0, said.err
    document: dict[str, Any] = said.json
    return document


async def test_whose_each_liquidation_was_is_what_the_chain_says(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(devnet, tmp_path, armed(devnet))
    there = devnet.deployment
    victim, whale = there.borrowers[USDC_RUNG].address, there.account("whale").address
    await approve_everything(devnet, settings)
    await devnet.anvil.mine()
    async with watching(devnet, settings) as here:
        start = await devnet.anvil.block_number() + 1
        await devnet.fall_of("ETH/USD", Decimal("0.82"))
        await rival_takes(devnet, victim)  # in the very block that makes it possible
        await here.tick()
        for _ in range(3):
            await here.tick()

        logs = await on_chain(devnet, start)
        found = await misses(tmp_path, capsys, "--ours", "--limit", "500")
        rows = {(one["block"], one["log_index"]): one for one in found["liquidations"]}
        assert set(rows) == set(logs)
        assert len(rows) >= 5
        keeper = there.account("keeper").address
        for key, one in rows.items():
            data = logs[key]["data"]
            assert one["liquidator"] == "0x" + data[2 + 2 * 64 + 24 : 2 + 3 * 64]
            assert int(one["covered_raw"]) == int(data[2:66], 16)
            assert int(one["seized_raw"]) == int(data[66:130], 16)
            assert (one["taken"] == "ours") == (one["liquidator"] == keeper)
            # possible: the Pool's own health says so at that block, and not at the one before
            now = (await devnet.account_data(one["address"], hex(one["possible_by_block"])))[5]
            then = (await devnet.account_data(one["address"], hex(one["possible_after_block"])))[5]
            assert then >= WAD
            assert now < WAD or one["seen_block"] is None
        [theirs] = [one for one in rows.values() if one["liquidator"] == whale]
        assert theirs["address"] == victim
        assert (theirs["taken"], theirs["seen_block"]) == ("late", None)
        assert (theirs["possible_after_block"], theirs["possible_by_block"]) == (start - 1, start)
        assert int(theirs["profit_base"]) > 0
        assert found["counts"]["late"] == 1
        assert found["profit_of_others_base"] == theirs["profit_base"]

        # the block with ours is taken back: what did not happen is not told
        mined = max(number for number, _ in logs)
        await devnet.anvil.reorg(await devnet.anvil.block_number() - mined + 1)
        await devnet.anvil.drop_all_transactions()
        await here.tick()
        logs = await on_chain(devnet, start)
        found = await misses(tmp_path, capsys, "--ours", "--limit", "500")
        assert {(one["block"], one["log_index"]) for one in found["liquidations"]} == set(logs)
        assert len(logs) < len(rows)


async def test_a_keeper_that_only_watches_tells_what_it_would_have_earned(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = devnet.deployment.account("keeper").private_key
    unarmed = f'{LIQUIDATES}\n[signing]\nprivate_key = "{key}"\n'
    victim = devnet.deployment.borrowers[USDC_RUNG].address
    await approve_everything(devnet, settings_of(devnet, tmp_path, armed(devnet), name="armed"))
    await devnet.anvil.mine()
    async with watching(devnet, settings_of(devnet, tmp_path, unarmed)) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.82"))
        fell = (await here.tick()).block.number
        await here.tick()
        await rival_takes(devnet, victim)
        await here.tick()
        [one] = (await misses(tmp_path, capsys))["liquidations"]

    assert one["taken"] == "watch_only"
    assert one["reason"] == f"nothing is armed: rehearsed at block {fell}"
    assert (one["possible_after_block"], one["possible_by_block"]) == (fell - 1, fell)
    assert (one["seen_block"], one["block"]) == (fell, fell + 2)
    assert one["intent"]
    assert int(one["expected_profit_base"]) > 10**8


async def told_of(settings: Settings, wanted: int) -> tuple[Reckoned, ...]:
    """Wait until so many liquidations are known, and return what is said of each."""
    async with await Database.open(settings.database.url) as database:
        rows = SqlLiquidations(database)
        async with asyncio.timeout(20):
            while len(found := await rows.last(500)) != wanted:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
    return found


async def test_what_happened_while_it_was_stopped_is_accounted_for_after_the_start(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = devnet.deployment.account("keeper").private_key
    settings = settings_of(devnet, tmp_path, f'{LIQUIDATES}\n[signing]\nprivate_key = "{key}"\n')
    victim = devnet.deployment.borrowers[USDC_RUNG].address
    async with watching(devnet, settings) as here:
        left_at = (await here.tick()).block.number
    for _ in range(2):  # the same pair twice: logs that differ in nothing but amounts
        health = Decimal((await devnet.account_data(victim))[5]) / WAD
        await devnet.fall_of("ETH/USD", Decimal("0.97") / health)  # so that half is taken at most
        await rival_takes(devnet, victim)
        await devnet.anvil.mine()
    await devnet.anvil.mine()

    async with watching(devnet, settings) as here:
        back_at = here.passes[0].block.number
        logs = await on_chain(devnet, left_at)
        await told_of(settings, len(logs))
        found = await misses(tmp_path, capsys)
    assert len(logs) == 2
    rows = {(one["block"], one["log_index"]): one for one in found["liquidations"]}
    assert set(rows) == set(logs)
    assert found["counts"] == {"stopped": 2}
    for one in rows.values():
        assert left_at < one["block"] < back_at
        assert one["reason"] == (
            f"the keeper was stopped: the last block known to be watched was {left_at:,},"
            f" the next one {back_at:,}"
        )
        assert (one["possible_after_block"], one["seen_block"]) == (None, None)
        assert int(one["profit_base"]) > 0
        assert one["address"] == victim

    # while it is stopped again the chain takes the second one back: it did not happen
    second = max(number for number, _ in logs)
    await devnet.anvil.reorg(await devnet.anvil.block_number() - second + 1)
    await devnet.anvil.drop_all_transactions()
    await devnet.anvil.mine()
    async with watching(devnet, settings):
        [one] = await told_of(settings, 1)
    assert (one.taken, one.liquidated.block.number) == (Taken.STOPPED, min(logs)[0])
