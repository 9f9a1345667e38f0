"""One key protects, another liquidates: each does its own and nothing else."""

from decimal import Decimal
from pathlib import Path

import pytest
from eth_account import Account

from keeper.app.act import carry_out
from keeper.app.chain import open_chain
from keeper.app.deploy import plan_deployment
from keeper.app.signing import executor_for
from keeper.devnet.network import Devnet
from keeper.errors import ConfigError
from keeper.execution.signer import KeystoreSigner
from keeper.model import Address, Confirmed, IntentKind, Submitted
from keeper.settings import Settings
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.units import WAD
from tests.chain.watching import approve_everything, settings_of, watching

pytestmark = pytest.mark.chain

SECOND = "0x" + "5a" * 32
SECOND_ADDRESS = Address(Account.from_key(SECOND).address.lower())


def two_keys(devnet: Devnet, folder: Path, contract: Address | None) -> Settings:
    there = devnet.deployment
    settings = settings_of(
        devnet,
        folder,
        f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "2000000"
[protect.victim]
account = "{there.borrowers[4].address}"
strategy = ["repay"]
below = "1.03"
target = "1.10"
max_per_tx_usd = "2000000"
[signing]
armed_chain_ids = [31337]
private_key = "{there.account("keeper").private_key}"
liquidate_private_key = "{SECOND}"
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
""",
    )
    chain = settings.chains["devnet"].model_copy(
        update={
            "liquidator": contract,
            "uniswap_factory": there.uniswap.factory,
            "uniswap_quoter": there.uniswap.quoter,
        }
    )
    return settings.model_copy(update={"chains": {"devnet": chain}})


async def test_each_key_does_its_own(devnet: Devnet, tmp_path: Path) -> None:
    first = devnet.deployment.account("keeper").address
    await devnet.anvil.set_balance(SECOND_ADDRESS, 10**20)
    plain = two_keys(devnet, tmp_path, None)
    plain = plain.model_copy(
        update={"liquidate": plain.liquidate.model_copy(update={"enabled": False})}
    )
    async with (
        await Database.open(plain.database.url) as database,
        open_chain(plain, plain.select()[0]) as chain,
    ):
        deployment = await plan_deployment(plain, chain, SECOND_ADDRESS)
        await carry_out(plain, chain, database, deployment.planned, send=True, wait=False)
    await devnet.anvil.mine()
    settings = two_keys(devnet, tmp_path, deployment.contract)
    await approve_everything(devnet, settings)
    await devnet.anvil.mine()

    async with watching(devnet, settings) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.82"))
        for _ in range(9):
            await here.tick()
        passes = here.passes
    sent = [s for done in passes for s in done.submissions if isinstance(s, Submitted)]
    done_ = {
        o.plan.intent.intent_id: o.receipt
        for one in passes
        for o in one.outcomes
        if isinstance(o, Confirmed)
    }

    by = {kind: {s.open_plan.signer for s in sent if s.intent.kind is kind} for kind in IntentKind}
    assert by[IntentKind.LIQUIDATE] == {SECOND_ADDRESS}
    assert by[IntentKind.REPAY] == {first}
    assert done_
    for one in sent:
        if (receipt := done_.get(one.intent.intent_id)) is None:
            continue
        mined = await devnet.anvil.rpc("eth_getTransactionByHash", receipt.tx_hash)
        assert mined["from"] == one.open_plan.signer
    assert (await devnet.account_data(devnet.deployment.borrowers[4].address))[5] > WAD


async def test_a_key_of_its_own_needs_borrowed_money_and_another_key(
    devnet: Devnet, tmp_path: Path
) -> None:
    settings = two_keys(devnet, tmp_path, None)
    second = KeystoreSigner.plain(SECOND, 31337)
    main = KeystoreSigner.plain(devnet.deployment.account("keeper").private_key, 31337)
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        journal = SqlJournal(database, chain_id=31337)
        for signer, words in ((main, "borrowed money only"), (second, "another one besides it")):
            with pytest.raises(ConfigError, match=words):
                executor_for(
                    settings,
                    chain,
                    journal=journal,
                    signer=signer,
                    liquidating=second,
                    on_settled=lambda *_: ((), ()),
                )
