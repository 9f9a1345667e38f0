"""Deploys Aave v3.0.2 beside the devnet's market: the old end of the arithmetic by revision.

From the artifacts published in ``@aave/core-v3`` 1.19.3.  It lists the same tokens at the same
sources, so feeds, exchange and accounts are shared and only the market's addresses differ.
"""

from dataclasses import replace
from typing import Any, Final

from keeper.devnet import market
from keeper.devnet.aave import Core, Version, deploy_core, describe, lend, set_parameters
from keeper.devnet.deployer import ZERO, Deployer, account
from keeper.devnet.deployment import Deployment
from keeper.model import Address

PROTOCOL: Final = "aave_v3_0"
VERSION: Final = Version(
    prefix="v3.0.2/", pool="v3.0.2/Pool", configurator="v3.0.2/PoolConfigurator", rates=None
)

_RAY_PER_BPS: Final = 10**23
_STABLE_RATES: Final = (0, 0, 0, 0, 0)
"""Stable borrowing is not offered."""


async def deploy_v3_0(deployer: Deployer, there: Deployment) -> Deployment:
    """Deploy the market, with liquidity and without borrowers.

    Returns a `Deployment` to make borrowers on (`seed`), to read, or to give to a `Devnet`.
    Leaves automine on.
    """
    assets = {reserve.symbol: reserve.asset for reserve in there.reserves}
    sources = {reserve.symbol: reserve.source for reserve in there.reserves}
    async with deployer.gathered():
        core = await deploy_core(
            deployer,
            VERSION,
            "Keeper devnet v3.0.2",
            {reserve.asset: reserve.source for reserve in there.reserves},
        )
        await _list(deployer, core, assets)
        await lend(deployer, core.pool, assets, there.account("whale").address)
        reserves = await describe(deployer, core, assets, sources)
    return replace(
        there,
        protocol=PROTOCOL,
        deployment_block=core.block,
        pool=core.pool,
        addresses_provider=core.provider,
        configurator=core.configurator,
        oracle=core.oracle,
        data_provider=core.data_provider,
        acl_manager=core.acl_manager,
        reserves=reserves,
        borrowers=(),
    )


async def _list(deployer: Deployer, core: Core, assets: dict[str, Address]) -> None:
    """List every reserve with a rate strategy of its own; e-mode is a property of the asset."""
    a_token = await deployer.deploy("v3.0.2/AToken", core.pool)
    stable = await deployer.deploy("v3.0.2/StableDebtToken", core.pool)
    debt_token = await deployer.deploy("v3.0.2/VariableDebtToken", core.pool)

    async def configure(function: str, *arguments: Any) -> None:
        await deployer.send(core.configurator, VERSION.configurator, function, *arguments)

    listed = []
    for spec in market.RESERVES:
        rates = await deployer.deploy(
            "v3.0.2/DefaultReserveInterestRateStrategy",
            core.provider,
            *(bps * _RAY_PER_BPS for bps in spec.rates_bps),
            *_STABLE_RATES,
        )
        listed.append(
            (
                a_token,
                stable,
                debt_token,
                spec.decimals,
                rates,
                assets[spec.symbol],
                account("treasury").address,
                ZERO,
                f"Aave Old {spec.symbol}",
                f"aOld{spec.symbol}",
                f"Aave Old Variable Debt {spec.symbol}",
                f"variableDebtOld{spec.symbol}",
                f"Aave Old Stable Debt {spec.symbol}",
                f"stableDebtOld{spec.symbol}",
                b"",
            )
        )
    await configure("initReserves", listed)
    await set_parameters(deployer, VERSION, core, assets)
    await configure(
        "setEModeCategory", market.E_MODE, *market.E_MODE_BPS, ZERO, market.E_MODE_LABEL
    )
    for symbol in market.E_MODE_SYMBOLS:
        await configure("setAssetEModeCategory", assets[symbol], market.E_MODE)
    await configure("updateFlashloanPremiumTotal", market.FLASH_LOAN_PREMIUM_BPS)
