"""Deploys Aave v3.6 with its feeds and an exchange: the protocols' own code, configured by us."""

from typing import Any, Final

from eth_abi.abi import encode

from keeper.devnet import market
from keeper.devnet.aave import (
    Core,
    Version,
    deploy_core,
    describe,
    lend,
    set_parameters,
)
from keeper.devnet.anvil import CHAIN_ID, Anvil
from keeper.devnet.artifacts import Artifacts
from keeper.devnet.deployer import ZERO, Deployer, account
from keeper.devnet.deployment import (
    DeployedFeed,
    Deployment,
)
from keeper.devnet.feeds import deploy_feed
from keeper.devnet.uniswap import deploy_uniswap
from keeper.model import Address

PROTOCOL: Final = "aave_v3_6"
ACCOUNTS: Final = ("deployer", "oracle", "whale", "keeper", "alice", "bob")

VERSION: Final = Version(
    prefix="",
    pool="PoolInstance",
    configurator="PoolConfiguratorInstance",
    rates="DefaultReserveInterestRateStrategyV2",
)

_ETHER: Final = 10**18
_PLENTY: Final = 10**7 * _ETHER
_POCKET: Final = 100 * _ETHER
_WETH: Final = 2 * 10**6 * _ETHER
_MINTED_USD: Final = 20 * 10**9
_INVENTORY: Final = {
    "WETH": 500,
    "wstETH": 400,
    "WBTC": 25,
    "USDC": 5_000_000,
    "DAI": 5_000_000,
}
"""Whole tokens of the keeper's own account."""


async def deploy(anvil: Anvil, artifacts: Artifacts) -> Deployment:
    """Deploy everything on an automining Anvil that impersonates any sender."""
    accounts = tuple(account(name) for name in ACCOUNTS)
    by_name = {entry.name: entry.address for entry in accounts}
    treasury = account("treasury").address
    for entry in accounts:
        rich = entry.name in {"deployer", "whale"}
        await anvil.set_balance(entry.address, _PLENTY if rich else _POCKET)
    deployer = Deployer(anvil, artifacts, by_name["deployer"])

    async with deployer.gathered():
        feeds = {
            spec.name: await deploy_feed(deployer, spec, by_name["oracle"]) for spec in market.FEEDS
        }
        assets = {spec.symbol: await _token(deployer, spec) for spec in market.RESERVES}
        ratio_provider = await deployer.deploy("RatioProvider", int(market.LST_RATIO * 10**18))
        sources = await _sources(deployer, feeds, ratio_provider)
        core = await deploy_core(
            deployer,
            VERSION,
            "Keeper devnet",
            {assets[symbol]: source for symbol, source in sources.items()},
        )
        await _list(deployer, core, assets, treasury)
        uniswap = await deploy_uniswap(deployer, assets)
        await _endow(deployer, assets, by_name["whale"], by_name["keeper"])
        await lend(deployer, core.pool, assets, by_name["whale"])
        reserves = await describe(deployer, core, assets, sources)
    return Deployment(
        protocol=PROTOCOL,
        chain_id=CHAIN_ID,
        rpc_url=anvil.http_url,
        ws_url=anvil.ws_url,
        deployment_block=core.block,
        pool=core.pool,
        addresses_provider=core.provider,
        configurator=core.configurator,
        oracle=core.oracle,
        data_provider=core.data_provider,
        acl_manager=core.acl_manager,
        ratio_provider=ratio_provider,
        reserves=reserves,
        feeds=tuple(feeds.values()),
        uniswap=uniswap,
        accounts=accounts,
    )


async def _token(deployer: Deployer, spec: market.ReserveSpec) -> Address:
    if spec.symbol == "WETH":
        weth = await deployer.deploy("WETH9")
        await deployer.send(weth, "WETH9", "deposit", value=_WETH)
        return weth
    token = await deployer.deploy(
        "TestnetERC20", spec.name, spec.symbol, spec.decimals, deployer.sender
    )
    amount = market.raw(spec.symbol, _MINTED_USD)
    await deployer.send(token, "TestnetERC20", "mint", deployer.sender, amount)
    return token


async def _sources(
    deployer: Deployer, feeds: dict[str, DeployedFeed], ratio_provider: Address
) -> dict[str, Address]:
    """Symbol -> what the oracle asks: the feed's proxy, or the adapter of the staked token."""
    sources = {spec.symbol: feeds[spec.feed].proxy for spec in market.RESERVES}
    sources[market.LST] = await deployer.deploy(
        "RatioAdapter",
        sources["WETH"],
        ratio_provider,
        market.LST_YEARLY_GROWTH_BPS,
        "Capped wstETH / ETH / USD",
    )
    return sources


async def _list(
    deployer: Deployer, core: Core, assets: dict[str, Address], treasury: Address
) -> None:
    """List every reserve and set its parameters, the e-mode category and the flash premium."""
    a_token = await deployer.deploy("ATokenInstance", core.pool, ZERO, treasury)
    debt_token = await deployer.deploy("VariableDebtTokenInstance", core.pool, ZERO)

    async def configure(function: str, *arguments: Any) -> None:
        await deployer.send(core.configurator, VERSION.configurator, function, *arguments)

    listed = [
        (
            a_token,
            debt_token,
            assets[spec.symbol],
            f"Aave Devnet {spec.symbol}",
            f"aDev{spec.symbol}",
            f"Aave Devnet Variable Debt {spec.symbol}",
            f"variableDebtDev{spec.symbol}",
            b"",
            encode(["(uint16,uint32,uint32,uint32)"], [spec.rates_bps]),
        )
        for spec in market.RESERVES
    ]
    await configure("initReserves", listed)
    await set_parameters(deployer, VERSION, core, assets)
    await configure("setEModeCategory", market.E_MODE, *market.E_MODE_BPS, market.E_MODE_LABEL)
    for symbol in market.E_MODE_SYMBOLS:
        await configure("setAssetCollateralInEMode", assets[symbol], market.E_MODE, True)  # noqa: FBT003 - positional in the call's encoding
        await configure("setAssetBorrowableInEMode", assets[symbol], market.E_MODE, True)  # noqa: FBT003 - positional in the call's encoding
    await configure("updateFlashloanPremium", market.FLASH_LOAN_PREMIUM_BPS)


async def _endow(
    deployer: Deployer, assets: dict[str, Address], whale: Address, keeper: Address
) -> None:
    """Give the whale what it lends and supplies for others, and the keeper its inventory."""
    for spec in market.RESERVES:
        asset = assets[spec.symbol]
        stock = market.raw(spec.symbol, 2 * spec.liquidity_usd + 500_000_000)
        await deployer.send(asset, "TestnetERC20", "transfer", whale, stock)
        if spec.symbol in _INVENTORY:
            amount = _INVENTORY[spec.symbol] * 10**spec.decimals
            await deployer.send(asset, "TestnetERC20", "transfer", keeper, amount)
