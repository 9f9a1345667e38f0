"""Accounts written into storage are accounts to the deployed contracts, and to the keeper."""

import pytest

from keeper.devnet.implant import Implant, implant
from keeper.devnet.network import Devnet
from keeper.model import Address, Entry, Holdings, Side
from keeper.protocols.aave_v3 import topics
from tests.chain.differential import run, see

pytestmark = pytest.mark.chain

WRITTEN = Address("0x" + "57" * 20)
"""Supplies WETH as collateral and, disabled, WBTC; owes USDC; in the e-mode."""
HOLDINGS = Holdings(
    account=WRITTEN,
    e_mode=1,
    entries=(
        Entry(reserve=0, side=Side.COLLATERAL, scaled=3_171_931_004_113_717_733),
        Entry(reserve=3, side=Side.DEBT, scaled=5_113_117_919),
    ),
)
IDLE = Entry(reserve=2, side=Side.COLLATERAL, scaled=11_113)


async def codes(devnet: Devnet) -> list[str]:
    there = devnet.deployment
    tokens = [t for r in there.reserves for t in (r.a_token, r.variable_debt_token)]
    return [await devnet.anvil.rpc("eth_getCode", c, "latest") for c in (there.pool, *tokens)]


async def test_what_is_written_is_read_back_and_valued_by_the_pool(either: Devnet) -> None:
    before = await codes(either)
    await implant(either, [Implant(holdings=HOLDINGS, idle=(IDLE,))])
    seen = await see(either)
    observed = await run(
        either.anvil, seen.adapter.observe(seen.market, (WRITTEN,), lambda _: None), seen.block
    )
    wbtc = either.deployment.reserve("WBTC")
    idle = await either.deployer.call(wbtc.a_token, "ATokenInstance", "scaledBalanceOf", WRITTEN)
    theirs = await either.account_data(WRITTEN)
    health = seen.view().contract_health(HOLDINGS)

    assert observed.holdings == (HOLDINGS,)
    assert idle == IDLE.scaled
    assert (health.collateral, health.debt, health.health_factor) == (
        theirs[0],
        theirs[1],
        theirs[5],
    )
    assert theirs[1] > 0
    assert await codes(either) == before


async def test_history_finds_who_was_written_with_debt(devnet: Devnet) -> None:
    before = await devnet.anvil.block_number()
    await implant(devnet, [Implant(holdings=HOLDINGS)])
    seen = await see(devnet)
    wanted = seen.adapter.backfill_filter(seen.market)
    said = await devnet.anvil.rpc(
        "eth_getLogs",
        {
            "fromBlock": hex(before + 1),
            "address": list(wanted.addresses),
            "topics": [list(wanted.topics0)],
        },
    )

    [log] = said
    assert log["topics"] == [topics.TRANSFER, "0x" + "0" * 64, "0x" + "0" * 24 + WRITTEN[2:]]
    assert int(log["data"], 16) == 5_113_117_919
