"""Uniswap v3 from its published bytecode, with deep liquidity at the feeds' prices."""

from collections.abc import Mapping
from decimal import Decimal
from math import isqrt
from typing import Final

from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import address_of
from keeper.devnet.deployer import ZERO, Deployer
from keeper.devnet.deployment import DeployedPool, DeployedUniswap
from keeper.devnet.market import POOLS, PoolSpec, raw, reserve
from keeper.model import Address

_MAX_TICK: Final = 887_272
_SPACING: Final[Mapping[int, int]] = {500: 10, 3_000: 60, 10_000: 200}
_FOREVER: Final = 2**64
_MORE_THAN_ENOUGH: Final = 2**120
_Q192: Final = 2**192
_TOLERANCE_BPS: Final = 2
_TRADE_GAS: Final = 500_000


async def deploy_uniswap(deployer: Deployer, assets: Mapping[str, Address]) -> DeployedUniswap:
    """Deploy factory, router, quoter and position manager, and fill the pools of `market.POOLS`.

    The deployer must hold and is made to approve the tokens.
    """
    weth = assets["WETH"]
    factory = await deployer.deploy("UniswapV3Factory")
    router = await deployer.deploy("SwapRouter", factory, weth)
    quoter = await deployer.deploy("QuoterV2", factory, weth)
    manager = await deployer.deploy("NonfungiblePositionManager", factory, weth, ZERO)
    for asset in assets.values():
        for spender in (router, manager):
            await deployer.send(asset, "TestnetERC20", "approve", spender, 2**256 - 1)
    filled = [(await _fill(deployer, spec, assets, manager), spec.fee) for spec in POOLS]
    pools = [
        DeployedPool(
            address=address_of(
                await deployer.call(factory, "UniswapV3Factory", "getPool", *tokens, fee)
            ),
            token0=tokens[0],
            token1=tokens[1],
            fee=fee,
        )
        for tokens, fee in filled
    ]
    return DeployedUniswap(
        factory=factory,
        router=router,
        quoter=quoter,
        position_manager=manager,
        pools=tuple(pools),
    )


async def _fill(
    deployer: Deployer,
    spec: PoolSpec,
    assets: Mapping[str, Address],
    manager: Address,
) -> tuple[Address, Address]:
    """Create one pool with the same value on both sides over the whole range; its tokens."""
    first, second = sorted((spec.a, spec.b), key=lambda symbol: int(assets[symbol], 16))
    tokens = (assets[first], assets[second])
    amounts = (raw(first, spec.side_usd), raw(second, spec.side_usd))
    await deployer.send(
        manager,
        "NonfungiblePositionManager",
        "createAndInitializePoolIfNecessary",
        *tokens,
        spec.fee,
        isqrt(amounts[1] * _Q192 // amounts[0]),
    )
    spacing = _SPACING[spec.fee]
    top = _MAX_TICK // spacing * spacing
    await deployer.send(
        manager,
        "NonfungiblePositionManager",
        "mint",
        (*tokens, spec.fee, -top, top, *amounts, 0, 0, deployer.sender, _FOREVER),
    )
    return tokens


async def align(
    deployer: Deployer,
    uniswap: DeployedUniswap,
    assets: Mapping[Address, str],
    prices: Mapping[str, Decimal],
    *,
    wait: bool = True,
) -> int:
    """Trade each pool to where `prices` (dollars a whole token, by symbol) say; count the trades.

    This is what arbitrage does after an oracle moves.  Pools within 2 bps are left alone.  Not to
    `wait` leaves the trades to the next block.
    """
    trades = 0
    for pool in uniswap.pools:
        first, second = assets[pool.token0], assets[pool.token1]
        ratio = (
            prices[first]
            / prices[second]
            * Decimal(10) ** (reserve(second).decimals - reserve(first).decimals)
        )
        wanted = isqrt(int(ratio * _Q192))
        now = (await deployer.call(pool.address, "UniswapV3Pool", "slot0"))[0]
        if abs(now - wanted) * 2 * 10_000 <= wanted * _TOLERANCE_BPS:
            continue
        falls = wanted < now
        tokens = (pool.token0, pool.token1) if falls else (pool.token1, pool.token0)
        order = (*tokens, pool.fee, deployer.sender, _FOREVER, _MORE_THAN_ENOUGH, 0, wanted)
        if wait:
            await deployer.send(uniswap.router, "SwapRouter", "exactInputSingle", order)
        else:
            data = encode_call(deployer.artifacts.get("SwapRouter"), "exactInputSingle", order)
            await deployer.anvil.send(deployer.sender, uniswap.router, data, gas=_TRADE_GAS)
        trades += 1
    return trades
