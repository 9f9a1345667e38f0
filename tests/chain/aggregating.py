"""Stands in for 0x and 1inch, whose services cannot be asked from here.

It answers in the shapes that their documentation gives, with call data for a second exchange that
is really there: a Uniswap v3 of its own on the devnet, called through its router.  What it says of
amounts is what that exchange's quoter says, unless it is told to lie.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import web

from keeper.devnet import uniswap
from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import address_of
from keeper.devnet.deployer import ZERO
from keeper.devnet.deployment import DeployedPool, DeployedUniswap
from keeper.devnet.market import PoolSpec
from keeper.devnet.network import Devnet
from keeper.execution.exchange import Hop, encode_path
from keeper.model import Address

KEY = "k3y-of-the-stand-in"
THIEF = Address("0x" + "7e" * 20)
FOREVER = 2**64
SPEC = PoolSpec(a="WETH", b="USDC", fee=500, side_usd=200_000_000)


@dataclass
class StandIn:
    """Both services on one loopback port; `lie` says what is wrong with the next answers."""

    devnet: Devnet
    venue: DeployedUniswap
    url: str = ""
    lie: str = ""
    asked: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        match self.lie:
            case "slow":
                await asyncio.sleep(20)
            case "html":
                return web.Response(text="<html>please log in</html>", content_type="text/html")
            case "error":
                said = f"bad key {request.headers.get('0x-api-key', '')}"
                return web.Response(status=500, text=said)
            case "pause":
                return web.Response(status=429, headers={"Retry-After": "77"})
            case "endless":
                return web.Response(body=b'"' + b"x" * 5_000_000 + b'"')
            case "elsewhere":
                return web.Response(status=302, headers={"Location": self.url})
        if "/swap/allowance-holder/quote" in request.path:
            return web.json_response(await self._zero_ex(request.query))
        return web.json_response(await self._one_inch(request.query))

    async def _zero_ex(self, query: Any) -> dict[str, Any]:
        sell, buy, amount = query["sellToken"], query["buyToken"], int(query["sellAmount"])
        if {sell, buy} != {pool.token0 for pool in self.venue.pools} | {
            pool.token1 for pool in self.venue.pools
        }:
            return {"liquidityAvailable": False, "zid": "0x0"}
        bought = await self.quoted(sell, buy, amount)
        least = bought * (10_000 - int(query["slippageBps"])) // 10_000
        spender = THIEF if self.lie == "spender" else self.venue.router
        return {
            "liquidityAvailable": self.lie != "nobody",
            "chainId": int(query["chainId"]),
            "sellToken": sell,
            "buyToken": buy,
            "sellAmount": str(amount),
            "buyAmount": str(self._said(bought)),
            "minBuyAmount": str(least),
            "allowanceTarget": spender,
            "issues": {"allowance": {"actual": "0", "spender": spender}, "balance": None},
            "transaction": self._transaction(sell, buy, amount, least, query["taker"]),
        }

    async def _one_inch(self, query: Any) -> dict[str, Any]:
        sell, buy, amount = query["src"], query["dst"], int(query["amount"])
        bought = await self.quoted(sell, buy, amount)
        least = bought * (10_000 - int(Decimal(query["slippage"]) * 100)) // 10_000
        transaction = self._transaction(sell, buy, amount, least, query["from"])
        return {
            "dstAmount": str(self._said(bought)),
            "tx": {"from": query["from"], **transaction, "gas": 0},
        }

    def _said(self, bought: int) -> int:
        return bought * 3 if self.lie == "boast" else bought

    def _transaction(
        self, sell: str, buy: str, amount: int, least: int, taker: str
    ) -> dict[str, Any]:
        path = _path(sell, buy)
        to = THIEF if self.lie == "keep" else taker
        sold = amount // 2 if self.lie == "half" else amount
        data = encode_call(
            self.devnet.deployer.artifacts.get("SwapRouter"), "exactInput",
            (path, to, FOREVER, sold, 0 if self.lie else least),
        )  # fmt: skip
        return {
            "to": sell
            if self.lie == "token"
            else THIEF
            if self.lie == "target"
            else self.venue.router,
            "data": "0x" + data.hex(),
            "value": "1" if self.lie == "coin" else "0",
            "gas": "250000",
            "gasPrice": "1",
        }

    async def quoted(self, sell: str, buy: str, amount: int) -> int:
        """What the exchange's own quoter says."""
        message = {
            "to": self.venue.quoter,
            "data": "0x" + encode_call(
                self.devnet.deployer.artifacts.get("QuoterV2"), "quoteExactInput",
                _path(sell, buy), amount,
            ).hex(),
        }  # fmt: skip
        said = await self.devnet.anvil.rpc("eth_call", message, "latest")
        return int(said[2:66], 16)


def _path(sell: str, buy: str) -> bytes:
    return encode_path([Hop(token_in=Address(sell), token_out=Address(buy), fee=SPEC.fee)])


async def second_exchange(devnet: Devnet) -> DeployedUniswap:
    """Deploy another Uniswap v3 with one pool, at the oracle's price."""
    deployer = devnet.deployer
    assets = {reserve.symbol: reserve.asset for reserve in devnet.deployment.reserves}
    factory = await deployer.deploy("UniswapV3Factory")
    router = await deployer.deploy("SwapRouter", factory, assets["WETH"])
    quoter = await deployer.deploy("QuoterV2", factory, assets["WETH"])
    manager = await deployer.deploy("NonfungiblePositionManager", factory, assets["WETH"], ZERO)
    for symbol in (SPEC.a, SPEC.b):
        for spender in (router, manager):
            await deployer.send(assets[symbol], "TestnetERC20", "approve", spender, 2**256 - 1)
    tokens = await uniswap._fill(deployer, SPEC, assets, manager)
    at = await deployer.call(factory, "UniswapV3Factory", "getPool", *tokens, SPEC.fee)
    pool = DeployedPool(address=address_of(at), token0=tokens[0], token1=tokens[1], fee=SPEC.fee)
    return DeployedUniswap(
        factory=factory, router=router, quoter=quoter, position_manager=manager, pools=(pool,)
    )


async def pays(devnet: Devnet, venue: DeployedUniswap, share: str) -> None:
    """Trade the second exchange to `share` of the oracle's price of Ether."""
    symbols = {reserve.asset: reserve.symbol for reserve in devnet.deployment.reserves}
    prices = {symbol: await devnet.asset_price(symbol) for symbol in symbols.values()}
    prices["WETH"] *= Decimal(share)
    await uniswap.align(devnet.deployer, venue, symbols, prices)


@asynccontextmanager
async def standing_in(devnet: Devnet, venue: DeployedUniswap) -> AsyncIterator[StandIn]:
    """Serve on loopback until left."""
    here = StandIn(devnet, venue)
    app = web.Application()
    app.router.add_get("/{path:.*}", here.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    here.url = f"http://127.0.0.1:{port}"
    try:
        yield here
    finally:
        await runner.cleanup()


__all__ = ["KEY", "SPEC", "THIEF", "StandIn", "pays", "second_exchange", "standing_in"]
