"""The engine on the real protocol: whatever the crowd and the chain do, its book is the chain's."""

from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from keeper.devnet.network import Devnet
from keeper.engine.passes import Pass
from keeper.model import Act, Address, Confirmed, Holdings, Intent, Side, Submitted
from keeper.units import WAD
from tests.chain.watching import (
    MARKET,
    Crowd,
    approve_everything,
    differences_from_the_pool,
    replayed,
    settings_of,
    watching,
)

pytestmark = pytest.mark.chain

STRANGER = Address("0x" + "5a" * 20)
LIQUIDATION_CALL = (
    "0x"
    + keccak(text="LiquidationCall(address,address,address,uint256,uint256,address,bool)").hex()
)


async def test_after_twenty_random_blocks_the_book_is_the_chains(
    devnet: Devnet, tmp_path: Path
) -> None:
    crowd = Crowd(devnet, 2026)
    async with watching(devnet, settings_of(devnet, tmp_path)) as here:
        different: list[str] = []
        repaired = 0
        for _ in range(20):
            await crowd.move_prices()
            await crowd.act(12)
            done = await here.tick()
            repaired += sum(len(reading.repaired) for reading in done.readings)
            different += await differences_from_the_pool(here)
        fresh = await replayed(devnet, tmp_path)

        assert different == []
        assert repaired == 0, "the sweep found something that no log had spoken of"
        assert here.holdings == fresh
        assert len(fresh) >= len(devnet.borrowers) - 1  # all but the one without debt
    taken = await crowd.succeeded()
    assert min(taken.values()) >= 3, taken
    assert len(taken) == 6


async def test_a_reorg_of_five_blocks_in_which_positions_changed_ends_equal(
    devnet: Devnet, tmp_path: Path
) -> None:
    crowd = Crowd(devnet, 5)
    async with watching(devnet, settings_of(devnet, tmp_path)) as here:
        before = here.holdings
        for _ in range(5):
            await crowd.move_prices()
            await crowd.act(12)
            await here.tick()
        changed = here.holdings
        await devnet.anvil.reorg(5)
        await here.tick()
        fresh = await replayed(devnet, tmp_path)

        assert changed != before
        assert sum(done.orphaned for done in here.passes) == 5
        assert here.holdings == fresh
        assert await differences_from_the_pool(here) == []
        assert {a: here.holdings[a] for a in before} == before


def _owes(holdings: Holdings) -> bool:
    return any(entry.side is Side.DEBT for entry in holdings.entries)


async def test_a_reorg_of_blocks_from_before_the_start_ends_equal(
    devnet: Devnet, tmp_path: Path
) -> None:
    crowd = Crowd(devnet, 6)
    await devnet.anvil.set_automine(on=False)
    before = await replayed(devnet, tmp_path)
    for _ in range(3):
        await crowd.act(12)
        await devnet.anvil.mine()
    async with watching(devnet, settings_of(devnet, tmp_path)) as here:
        changed = here.holdings
        depth = 3 + len(here.passes)
        await devnet.anvil.reorg(depth)
        await here.tick()
        fresh = await replayed(devnet, tmp_path)

        extra = [here.holdings[a] for a in here.holdings.keys() - fresh.keys()]
        assert changed != before
        # Who borrowed only in an orphaned block stays in the book, without debt.
        assert {a: here.holdings[a] for a in fresh} == fresh
        assert not any(_owes(h) for h in extra)
        assert await differences_from_the_pool(here) == []


async def test_a_borrower_of_a_block_that_was_mined_while_it_opened_is_not_missed(
    devnet: Devnet, tmp_path: Path
) -> None:
    crowd = Crowd(devnet, 8)

    async def two_blocks_pass() -> None:
        await crowd.arrive(STRANGER)
        await devnet.anvil.mine()
        await devnet.anvil.mine()

    settings = settings_of(devnet, tmp_path)
    async with watching(devnet, settings, two_blocks_pass) as here:
        fresh = await replayed(devnet, tmp_path)

        assert STRANGER in fresh
        assert here.holdings == fresh


async def test_a_restart_resumes_from_the_checkpoint_and_misses_nobody(
    devnet: Devnet, tmp_path: Path
) -> None:
    crowd = Crowd(devnet, 7)
    settings = settings_of(devnet, tmp_path)
    async with watching(devnet, settings) as here:
        await crowd.act(12)
        await here.tick()
        stopped_at = here.passes[-1].block.number
        assert not here.progress[0].resumed
        first_block = here.progress[0].from_block
    for _ in range(3):  # nobody looks
        await crowd.move_prices()
        await crowd.act(20)
        await devnet.anvil.mine()
    async with watching(devnet, settings) as again:
        fresh = await replayed(devnet, tmp_path)

        assert again.progress[0].resumed
        assert first_block < again.progress[0].from_block <= stopped_at + 1
        assert again.holdings == fresh
        assert await differences_from_the_pool(again) == []


async def test_armed_it_liquidates_dangerous_accounts_once_for_each_decision(
    devnet: Devnet, tmp_path: Path
) -> None:
    keeper = devnet.deployment.account("keeper")
    pool = devnet.deployment.pool
    armed = f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "2000000"
[signing]
armed_chain_ids = [31337]
private_key = "{keeper.private_key}"
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
"""
    settings = settings_of(devnet, tmp_path, armed)
    await approve_everything(devnet, settings)
    async with watching(devnet, settings) as here:
        nonce = await _nonce(devnet, keeper.address)
        began_at = here.passes[-1].block.number
        eth = await devnet.price("ETH/USD")
        await devnet.push_price("ETH/USD", eth * 930 / 1000)
        await here.tick()
        reading = here.engine.readings[MARKET]
        dangerous = {
            account
            for account, holdings in here.holdings.items()
            if reading.view.contract_health(holdings).health_factor < WAD
        }
        for _ in range(
            30
        ):  # one that is still below 1 after half of its debt is repaid comes again
            await here.tick()
            assert here.watcher.executor is not None
            if not here.watcher.executor.open_intents():
                break
        acted = [i for done in here.passes for i in _submitted(done)]
        outcomes = [o for done in here.passes for o in done.outcomes]
        logs = await devnet.anvil.rpc(
            "eth_getLogs",
            {"address": pool, "fromBlock": hex(began_at), "topics": [LIQUIDATION_CALL]},
        )
        liquidated = sorted("0x" + entry["topics"][3][-40:] for entry in logs)

        assert dangerous
        assert {i.position.account for i in acted} <= dangerous
        refused = {
            d.position.account
            for done in here.passes
            for d in done.decisions
            if not isinstance(d, Act)
        }
        assert liquidated == sorted(i.position.account for i in acted)
        assert len({i.intent_id for i in acted}) == len(acted), "decided twice in a block"
        assert set(liquidated) | refused >= dangerous
        assert liquidated
        assert all(isinstance(o, Confirmed) for o in outcomes)
        assert await _nonce(devnet, keeper.address) == nonce + len(liquidated)
        assert await differences_from_the_pool(here) == []


def _submitted(done: Pass) -> list[Intent]:
    return [s.intent for s in done.submissions if isinstance(s, Submitted)]


async def _nonce(devnet: Devnet, account: str) -> int:
    return int(await devnet.anvil.rpc("eth_getTransactionCount", account, "latest"), 16)
