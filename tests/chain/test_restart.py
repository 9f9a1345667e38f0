"""A keeper that ends and begins again on the real protocol: its balances come from the checkpoint,
and not one of them is believed."""

from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from keeper.devnet.network import Devnet
from keeper.model import Checkpoint, MarketId
from keeper.settings import Settings
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from tests.chain.watching import MARKET, differences_from_the_pool, settings_of, watching

pytestmark = pytest.mark.chain

ID = MarketId(chain_id=31337, name=MARKET, protocol="aave_v3")


async def saved(settings: Settings) -> Checkpoint:
    async with await Database.open(settings.database.url) as database:
        found = await SqlRecords(database).checkpoint(ID)
        assert found is not None
        return found


async def test_a_restart_has_everybody_at_once_and_reads_them_all_again(
    devnet: Devnet, tmp_path: Path
) -> None:
    settings = settings_of(devnet, tmp_path)
    async with watching(devnet, settings) as here:
        before = here.holdings
    kept = await saved(settings)
    alice = devnet.deployment.account("alice").address
    usdc = devnet.deployment.reserve("USDC").asset
    await devnet.anvil.set_automine(on=True)
    whale = devnet.deployment.account("whale").address
    await devnet.as_account(whale, devnet.deployment.pool, "IPool", "repay", usdc, 10**8, 2, alice)
    with structlog.testing.capture_logs() as logs:
        async with watching(devnet, settings) as here:
            after = here.holdings
            different = await differences_from_the_pool(here)

    [restored] = [e for e in logs if e["event"] == "checkpoint.restored"]
    assert {h.account for h in kept.holdings} == set(before)
    assert restored["accounts"] == len(before) - 1  # alice was touched meanwhile
    assert different == []
    assert {a for a in before if after[a] != before[a]} == {alice}
    assert [e for e in logs if e["event"] == "book.repaired"] == []


async def test_a_falsified_balance_is_noticed_before_it_is_used(
    devnet: Devnet, tmp_path: Path
) -> None:
    settings = settings_of(devnet, tmp_path)
    async with watching(devnet, settings):
        pass
    kept = await saved(settings)
    *others, last = kept.holdings
    richer = replace(
        last,
        entries=tuple(replace(entry, scaled=entry.scaled + 1) for entry in last.entries),
    )
    async with await Database.open(settings.database.url) as database:
        # a row that is whole: who wrote it also made its checksum
        await SqlRecords(database).save_checkpoint(replace(kept, holdings=(*others, richer)))
    with structlog.testing.capture_logs() as logs:
        async with watching(devnet, settings) as here:
            different = await differences_from_the_pool(here)

    [said] = [e for e in logs if e["event"] == "checkpoint.discarded"]
    assert said["account"] == last.account
    assert different == []
    assert [e for e in logs if e["event"] == "checkpoint.restored"] == []
