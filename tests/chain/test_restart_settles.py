"""What was mined while the keeper was stopped is told as if it had been there."""

import time
from pathlib import Path

import pytest

from keeper.alerts.numbers import health_text
from keeper.devnet.network import Devnet
from keeper.model import Submitted, Watch
from keeper.store.database import Database
from keeper.store.outbox import SqlOutbox
from keeper.store.watches import SqlWatches
from keeper.units import Wad
from tests.chain.test_deleverage import _down_to
from tests.chain.watching import approve_everything, settings_of, watching

pytestmark = pytest.mark.chain


async def test_an_action_that_a_restart_finds_done_is_told_with_label_and_health(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    alice = there.account("alice").address
    settings = settings_of(
        devnet,
        tmp_path,
        f"""
[protect.alice]
account = "{alice}"
strategy = "top_up"
below = "1.10"
target = "1.25"
max_per_tx_usd = "50000"
[signing]
armed_chain_ids = [31337]
private_key = "{there.account("keeper").private_key}"
max_per_tx_usd = "50000"
max_per_day_usd = "200000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "5"
""",
    )
    async with await Database.open(settings.database.url) as database:
        await SqlWatches(database).add(Watch(chat="log:", account=alice, label="main"))
    await approve_everything(devnet, settings)
    await devnet.anvil.mine()
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.05")
        done = await here.tick()
    [sent] = [one for one in done.submissions if isinstance(one, Submitted)]
    await devnet.anvil.mine(5)

    async with watching(devnet, settings):
        pass

    async with await Database.open(settings.database.url) as database:
        rows = await SqlOutbox(database).due(time.time() + 10**6, 1_000)
    texts = [one.message.text.replace("\u202f", " ") for one in rows]
    [told] = [one for one in texts if one.startswith("\u2705 Added")]
    # As the contract has it in the very block: the target of 1.25, give or take the interest of
    # the seconds until inclusion, so that it is written as 1.250 or as 1.249.
    tx_hash = sent.open_plan.attempts[-1].tx_hash
    mined = await devnet.anvil.rpc("eth_getTransactionReceipt", tx_hash)
    after = Wad((await devnet.account_data(alice, mined["blockNumber"]))[5])
    assert Wad(1_249 * 10**15) < after < Wad(1_251 * 10**15)
    assert " for main: 1.04" in told.splitlines()[0], told
    assert f"\u2192 {health_text(after)}," in told.splitlines()[0], told
