"""Every kind of rule on the real protocol: it fires, and its number is the contracts' own."""

from pathlib import Path

import pytest

from keeper.alerts.machine import RULE
from keeper.alerts.measures import Known, measure
from keeper.alerts.rules import parse_rule
from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.model import Address, Gauge
from keeper.store.database import Database
from keeper.store.people import SqlPeople
from keeper.store.watches import SqlWatches
from tests.chain.watching import Watching, settings_of, watching

pytestmark = pytest.mark.chain

AT_ONCE = (
    "price WETH < 1000000",
    "distance alice < 99",
    "borrow_rate USDC > 0.0001",
    "utilisation USDC > 0.0001",
    "liquidity USDC < 900000000000",
    "supply_room WETH < 900000000000",
    "borrow_room WETH < 900000000000",
    "balance gas < 900000000000",
    "balance USDC < 900000000000",
)
LATER = ("moved alice > 1", "oracle WETH", "price WETH < 1")


async def firing(here: Watching) -> set[str]:
    async with await Database.open(here.settings.database.url) as database:
        states = await SqlPeople(database).alerts()
    return {one.subject.partition(":")[2].partition(" ")[0] for one in states if one.rule == RULE}


async def test_each_kind_of_rule_fires_and_reads_what_the_contracts_say(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    alice, keeper = there.account("alice").address, there.account("keeper")
    rules = ",\n".join(f'"{one}"' for one in (*AT_ONCE, *LATER))
    settings = settings_of(
        devnet,
        tmp_path,
        f"""
[alerts]
rules = [{rules}]
[[watch]]
address = "{alice}"
label = "alice"
[signing]
private_key = "{keeper.private_key}"
""",
    )
    async with await Database.open(settings.database.url) as database:
        for watch in settings.watches():  # as `keeper run` does before it opens a chain
            await SqlWatches(database).add(watch)
    async with watching(devnet, settings) as here:
        await here.watcher.read_gas()
        await here.tick()
        first = await firing(here)
        [gauges] = (await here.engine.gauges()).values()
        block = hex(here.passes[-1].block.number)

        def read(text: str) -> int:
            found = measure(parse_rule(text, "log:", lambda _: alice), gauges)
            assert isinstance(found, Known), (text, found)
            return found.value

        usdc, weth = there.reserve("USDC"), there.reserve("WETH")

        async def asked(to: Address, function: str, *arguments: object) -> int:
            return int(await devnet.deployer.call(to, "TestnetERC20", function, *arguments))

        debt = await asked(usdc.variable_debt_token, "totalSupply")
        held = await asked(usdc.asset, "balanceOf", usdc.a_token)
        owed = await asked(weth.variable_debt_token, "totalSupply")
        assert read("price WETH < 1") == await devnet.asset_price_at("WETH", block) * 10**18
        assert read("liquidity USDC < 1") == held * 10**12
        assert read("utilisation USDC > 1") == debt * 100 * 10**18 // (debt + held)
        assert read("borrow_room WETH < 1") == 2_700_000 * 10**18 - owed
        assert read("balance USDC < 1") == 10**12 * await asked(
            usdc.asset, "balanceOf", keeper.address
        )
        assert read("balance gas < 1") == int(
            await devnet.anvil.rpc("eth_getBalance", keeper.address, block), 16
        )
        supplied = await asked(weth.a_token, "totalSupply")
        room = 3_000_000 * 10**18 - read("supply_room WETH < 1")
        assert 0 <= room - supplied < 10**15  # and what the treasury has not minted yet

        whale = there.account("whale").address
        await devnet.anvil.send(
            whale, there.pool, supply_call(devnet, weth.asset, alice), gas=10**6
        )
        await here.tick()
        moved = await firing(here)
        await here.tick()
        after = await firing(here)
        await here.tick(90_000)
        doubted = await firing(here)

    kinds = {one.partition(" ")[0] for one in AT_ONCE}
    assert first == kinds
    assert moved == kinds | {"moved"}
    assert after == kinds  # a movement is over with its block
    assert doubted == kinds | {"oracle"}
    assert kinds | {"moved", "oracle"} == set(Gauge)


def supply_call(devnet: Devnet, asset: Address, whom: Address) -> bytes:
    return encode_call(devnet.artifacts.get("IPool"), "supply", asset, 2 * 10**18, whom, 0)
