"""What every version of Aave v3 is deployed by: provider, roles, Pool, oracle, parameters.

Order matters only where a constructor asks another contract; the rest is the configurator's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.devnet import market
from keeper.devnet.anvil import address_of
from keeper.devnet.deployer import ZERO, Deployer
from keeper.devnet.deployment import DeployedReserve
from keeper.model import Address

_BASE_UNIT: Final = 10**8
"""Of the market's base currency, the US dollar."""
_ROLES: Final = ("addPoolAdmin", "addRiskAdmin", "addAssetListingAdmin", "addEmergencyAdmin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Under which names the artifacts of a version are."""

    prefix: str
    """Of all of its artifacts: ``v3.0.2/`` or nothing."""
    pool: str
    configurator: str
    rates: str | None
    """The interest rate strategy the Pool's constructor takes, where it takes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A market without reserves."""

    provider: Address
    acl_manager: Address
    oracle: Address
    pool: Address
    configurator: Address
    data_provider: Address
    block: int
    """In which the Pool's proxy came to be."""


async def deploy_core(
    deployer: Deployer, version: Version, market_id: str, sources: Mapping[Address, Address]
) -> Core:
    """Deploy a market that prices each asset by its source; the deployer has every role."""
    admin = deployer.sender
    named = version.prefix + "PoolAddressesProvider"
    provider = await deployer.deploy(named, market_id, admin)

    async def provide(function: str, value: Address) -> None:
        await deployer.send(provider, named, function, value)

    async def provided(function: str) -> Address:
        return address_of(await deployer.call(provider, named, function))

    await provide("setACLAdmin", admin)
    acl_manager = await deployer.deploy(version.prefix + "ACLManager", provider)
    await provide("setACLManager", acl_manager)
    for role in _ROLES:
        await deployer.send(acl_manager, version.prefix + "ACLManager", role, admin)
    oracle = await deployer.deploy(
        version.prefix + "AaveOracle",
        provider,
        list(sources),
        list(sources.values()),
        ZERO,
        ZERO,
        _BASE_UNIT,
    )
    await provide("setPriceOracle", oracle)
    more = [await deployer.deploy(version.rates, provider)] if version.rates else []
    await provide("setPoolImpl", await deployer.deploy(version.pool, provider, *more))
    await deployer.flush()
    block = await deployer.anvil.block_number()
    await provide("setPoolConfiguratorImpl", await deployer.deploy(version.configurator))
    data_provider = await deployer.deploy(version.prefix + "AaveProtocolDataProvider", provider)
    await provide("setPoolDataProvider", data_provider)
    return Core(
        provider=provider,
        acl_manager=acl_manager,
        oracle=oracle,
        pool=await provided("getPool"),
        configurator=await provided("getPoolConfigurator"),
        data_provider=data_provider,
        block=block,
    )


async def set_parameters(
    deployer: Deployer, version: Version, core: Core, assets: Mapping[str, Address]
) -> None:
    """Set what each listed reserve may be used for, as `market.RESERVES` says."""

    async def configure(function: str, *arguments: Any) -> None:
        await deployer.send(core.configurator, version.configurator, function, *arguments)

    for spec in market.RESERVES:
        asset = assets[spec.symbol]
        await configure(
            "configureReserveAsCollateral",
            asset,
            spec.ltv_bps,
            spec.liquidation_threshold_bps,
            spec.liquidation_bonus_bps,
        )
        await configure("setReserveBorrowing", asset, spec.borrowable)
        await configure("setReserveFlashLoaning", asset, True)  # noqa: FBT003 - Aave's order
        await configure("setReserveFactor", asset, spec.reserve_factor_bps)
        await configure("setSupplyCap", asset, spec.supply_cap)
        await configure("setBorrowCap", asset, spec.borrow_cap)
        await configure("setLiquidationProtocolFee", asset, market.LIQUIDATION_PROTOCOL_FEE_BPS)
        await configure("setBorrowableInIsolation", asset, spec.borrowable_in_isolation)
        if spec.debt_ceiling_usd:
            await configure("setDebtCeiling", asset, spec.debt_ceiling_usd * 100)


async def describe(
    deployer: Deployer, core: Core, assets: Mapping[str, Address], sources: Mapping[str, Address]
) -> tuple[DeployedReserve, ...]:
    """All reserves with their tokens, as the data provider answers them."""
    reserves = []
    for number, spec in enumerate(market.RESERVES):
        a_token, _, debt_token = await deployer.call(
            core.data_provider,
            "AaveProtocolDataProvider",
            "getReserveTokensAddresses",
            assets[spec.symbol],
        )
        reserves.append(
            DeployedReserve(
                symbol=spec.symbol,
                reserve=number,
                asset=assets[spec.symbol],
                decimals=spec.decimals,
                a_token=address_of(a_token),
                variable_debt_token=address_of(debt_token),
                source=sources[spec.symbol],
                feed=spec.feed,
                ltv_bps=spec.ltv_bps,
                liquidation_threshold_bps=spec.liquidation_threshold_bps,
                liquidation_bonus_bps=spec.liquidation_bonus_bps,
                isolated=spec.debt_ceiling_usd > 0,
            )
        )
    return tuple(reserves)


async def lend(
    deployer: Deployer, pool: Address, assets: Mapping[str, Address], whale: Address
) -> None:
    """Make the whale approve the Pool and supply what others borrow."""
    for spec in market.RESERVES:
        asset = assets[spec.symbol]
        await deployer.send(asset, "TestnetERC20", "approve", pool, 2**256 - 1, sender=whale)
        if spec.liquidity_usd:
            lent = market.raw(spec.symbol, spec.liquidity_usd)
            await deployer.send(pool, "IPool", "supply", asset, lent, whale, 0, sender=whale)
