"""What governance changes reprices accounts that no event names, at the block of the change."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.model import Address, Assessed, Holdings, Side
from keeper.protocols.aave_v3.view import View
from keeper.units import WAD
from tests.chain.differential import approve_everything, simulate
from tests.chain.watching import (
    MARKET,
    Watching,
    differences_from_the_pool,
    settings_of,
    watching,
)

pytestmark = pytest.mark.chain

WETH = 0
Change = Callable[[Devnet], Awaitable[None]]


async def configure(devnet: Devnet, function: str, *arguments: Any) -> None:
    there = devnet.deployment
    admin = there.account("deployer").address
    data = devnet.deployer.artifacts.get("PoolConfiguratorInstance")
    await devnet.anvil.send(admin, there.configurator, encode_call(data, function, *arguments))


async def lower_the_threshold(devnet: Devnet) -> None:
    weth = devnet.deployment.reserve("WETH").asset
    await configure(devnet, "configureReserveAsCollateral", weth, 6_001, 6_777, 10_633)


async def lower_the_category(devnet: Devnet) -> None:
    await configure(devnet, "setEModeCategory", 1, 7_111, 7_333, 10_123, "ETH correlated")


async def take_an_asset_out_of_the_category(devnet: Devnet) -> None:
    wsteth = devnet.deployment.reserve("wstETH").asset
    await configure(devnet, "setAssetCollateralInEMode", wsteth, 1, False)


async def replace_the_price_source(devnet: Devnet) -> None:
    there = devnet.deployment
    admin = there.account("deployer").address
    price = int(await devnet.price("ETH/USD") * Decimal("0.7") * 10**8)
    await devnet.anvil.set_automine(on=True)
    source = await devnet.deployer.deploy("FixedPrice", price, "ETH / USD, fixed")
    await devnet.anvil.set_automine(on=False)
    data = encode_call(
        devnet.artifacts.get("AaveOracle"),
        "setAssetSources",
        [there.reserve("WETH").asset],
        [source],
    )
    await devnet.anvil.send(admin, there.oracle, data)


async def healths(here: Watching) -> dict[Address, int]:
    """By the engine's own arithmetic, stale prices or not."""
    view = here.engine.readings[MARKET].view
    return {a: view.contract_health(h).health_factor for a, h in here.holdings.items()}


def backed_by_weth(holdings: Holdings) -> bool:
    sides = {entry.side for entry in holdings.entries if entry.reserve == WETH}
    return sides == {Side.COLLATERAL} and holdings.e_mode == 0


def in_the_category(holdings: Holdings) -> bool:
    return holdings.e_mode == 1


@pytest.mark.parametrize(
    ("change", "concerns", "danger"),
    [
        (lower_the_threshold, backed_by_weth, True),
        (lower_the_category, in_the_category, True),
        (take_an_asset_out_of_the_category, in_the_category, True),
        (replace_the_price_source, backed_by_weth, False),
    ],
)
async def test_a_change_reprices_everybody_it_concerns_at_its_block(
    devnet: Devnet,
    tmp_path: Path,
    change: Change,
    concerns: Callable[[Holdings], bool],
    danger: bool,
) -> None:
    async with watching(devnet, settings_of(devnet, tmp_path)) as here:
        held, before = here.holdings, await healths(here)
        adapter = here.market.adapter
        concerned = {a for a, h in held.items() if has_debt(before[a]) and concerns(h)}
        await change(devnet)
        done = await here.tick()
        logs = await here.engine._observer._logs.at(done.block)
        after = await healths(here)
        different = await differences_from_the_pool(here)

    assert adapter.touched(here.market.market, logs).accounts == frozenset()
    assert adapter.touched(here.market.market, logs).parameters
    assert different == []
    assert here.holdings == held  # nobody's balances changed
    moved = {a for a in held if after[a] < before[a] * 999 // 1_000}
    assert concerned
    assert concerned <= moved
    if danger:
        below = {a for a, health in after.items() if health < WAD}
        found = {a.position.account for a in done.assessments if isinstance(a, Assessed)}
        assert below - {a for a in before if before[a] < WAD}
        assert below <= found


def has_debt(health: int) -> bool:
    return health < 2**255


async def test_a_grace_period_is_heeded_from_its_block_until_it_is_over(
    devnet: Devnet, tmp_path: Path
) -> None:
    there, liquidator = devnet.deployment, await approve_everything(devnet)
    usdc = there.reserve("USDC").asset

    async with watching(devnet, settings_of(devnet, tmp_path)) as here:
        await devnet.push_price("ETH/USD", await devnet.price("ETH/USD") * Decimal("0.8"))
        await here.tick()
        offers = [o for h in here.holdings.values() for o in view(here).liquidations(h)]
        offer = next(o for o in offers if o.debt.asset.address == usdc)
        [who] = [a for a, h in here.holdings.items() if offer in view(here).liquidations(h)]

        async def pool_takes() -> bool:
            at = await devnet.anvil.timestamp()
            call = (offer.collateral.asset.address, usdc, who, offer.debt_to_cover, False)
            data = encode_call(devnet.artifacts.get("IPool"), "liquidationCall", *call)
            [done] = await simulate(devnet, at, (liquidator, there.pool, data))
            return bool(done["status"] == "0x1")

        def keeper_offers() -> bool:
            found = view(here).liquidations(here.holdings[who])
            return any(o.debt.asset.address == usdc for o in found)

        seen = [(keeper_offers(), await pool_takes())]
        await configure(devnet, "setReservePause", usdc, False, 3_600)
        await here.tick()
        seen.append((keeper_offers(), await pool_takes()))
        await here.tick(3_600)
        seen.append((keeper_offers(), await pool_takes()))
        await here.tick(1)
        seen.append((keeper_offers(), await pool_takes()))
        await configure(devnet, "setReservePause", usdc, False, 3_600)
        await here.tick()
        await configure(devnet, "disableLiquidationGracePeriod", usdc)
        await here.tick()
        seen.append((keeper_offers(), await pool_takes()))

    assert seen == [(True, True), (False, False), (False, False), (True, True), (True, True)]


def view(here: Watching) -> View:
    made = here.engine.readings[MARKET].view
    assert isinstance(made, View)
    return made
