"""The liquidator contract, as shipped, against the real Aave and the real Uniswap."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import until_mined
from keeper.devnet.network import Devnet
from keeper.devnet.toolchain import LIQUIDATOR, liquidator_document
from keeper.errors import RpcError
from keeper.execution.exchange import Hop, encode_path
from keeper.execution.liquidator import (
    CALLERS,
    LIQUIDATE,
    POOLS,
    Order,
    deployment,
    encode_order,
    intent_word,
)
from keeper.execution.reverts import words
from keeper.model import Address
from keeper.units import UINT256_MAX

pytestmark = pytest.mark.chain

STRANGER = Address("0x" + "5f" * 20)
OWNER = Address("0x" + "0a" * 20)
ABI = {e["name"]: e for e in json.loads(LIQUIDATOR.read_text())["abi"] if "name" in e}


@dataclass
class House:
    """The contract on the devnet, and Alice below 1 with Ether and a debt of dollars."""

    devnet: Devnet
    contract: Address
    keeper: Address
    order: Order

    async def send(self, data: bytes, sender: str | None = None) -> dict[str, Any]:
        """Send calldata to the contract; the receipt."""
        anvil = self.devnet.anvil
        sent = await anvil.send(sender or self.keeper, self.contract, data, gas=3_000_000)
        return dict(await until_mined(anvil, sent))

    async def why(self, data: bytes, sender: str | None = None) -> str:
        """What the contract says of calldata that it refuses; empty if it takes it."""
        message = {"from": sender or self.keeper, "to": self.contract, "data": "0x" + data.hex()}
        try:
            await self.devnet.anvil.rpc("eth_call", message, "latest")
        except RpcError as error:
            return words(bytes.fromhex((error.data or "0x")[2:]))
        return ""

    async def balance(self, token: str, of: str) -> int:
        return int(await self.devnet.deployer.call(token, "TestnetERC20", "balanceOf", of))

    def asset(self, symbol: str) -> Address:
        return self.devnet.deployment.reserve(symbol).asset


def _path(house_or_devnet: Devnet, *route: str | int) -> bytes:
    there = house_or_devnet.deployment
    return encode_path(
        [
            Hop(
                token_in=there.reserve(str(route[i])).asset,
                fee=int(route[i + 1]),
                token_out=there.reserve(str(route[i + 2])).asset,
            )
            for i in range(0, len(route) - 2, 2)
        ]
    )


@pytest.fixture
async def house(devnet: Devnet) -> House:
    there = devnet.deployment
    keeper = there.account("keeper").address
    call, contract = deployment(OWNER, there.uniswap.factory, [keeper], [there.pool])
    await devnet.anvil.set_balance(STRANGER, 10**18)
    await devnet.anvil.set_balance(OWNER, 10**18)
    await devnet.anvil.send(keeper, call.to, call.data, gas=5_000_000)
    await devnet.push_price("ETH/USD", await devnet.price("ETH/USD") * Decimal("0.79"))
    await devnet.align_pools()
    order = Order(
        intent_id="0123456789abcdef",
        pool=there.pool,
        account=there.account("alice").address,
        collateral=there.reserve("WETH").asset,
        debt=there.reserve("USDC").asset,
        debt_token=None,
        amount=5_000 * 10**6,
        min_profit=10**14,
        deadline=await devnet.anvil.timestamp() + 1_000,
        path=_path(devnet, "WETH", 500, "USDC"),
    )
    return House(devnet, contract, keeper, order)


def _call(signature: str, *arguments: Any) -> bytes:
    types = signature.partition("(")[2].rstrip(")")
    return keccak(text=signature)[:4] + encode(types.split(",") if types else [], arguments)


async def _left(house: House, tokens: Sequence[str] = ("WETH", "USDC")) -> list[int]:
    """Balances and allowances that the contract is left with."""
    there = house.devnet.deployment
    found = []
    for symbol in tokens:
        token = there.reserve(symbol).asset
        found.append(await house.balance(token, house.contract))
        allowance = await house.devnet.deployer.call(
            token, "TestnetERC20", "allowance", house.contract, there.pool
        )
        found.append(int(allowance))
    return found


def test_the_shipped_liquidator_is_what_its_source_compiles_to() -> None:
    shipped = json.loads(LIQUIDATOR.read_text())

    assert shipped["bytecode"] == json.loads(liquidator_document())["bytecode"]


async def test_it_is_deployed_where_it_was_said(house: House) -> None:
    assert len(await house.devnet.anvil.rpc("eth_getCode", house.contract, "latest")) > 2_000
    for selector, address in ((CALLERS, house.keeper), (POOLS, house.devnet.deployment.pool)):
        data = "0x" + selector.hex() + address[2:].rjust(64, "0")
        answer = await house.devnet.anvil.rpc(
            "eth_call", {"to": house.contract, "data": data}, "latest"
        )
        assert int(answer, 16) == 1


async def test_it_liquidates_with_borrowed_money_and_hands_the_profit_to_the_owner(
    house: House,
) -> None:
    weth = house.order.collateral
    owned = await house.balance(weth, OWNER)

    receipt = await house.send(encode_order(house.order))

    profit = await house.balance(weth, OWNER) - owned
    worth = Decimal(profit) / 10**18 * await house.devnet.asset_price("WETH")
    # 5 % bonus less the protocol's tenth of it, 0.05 % for the exchange: 4.45 % of 5,000 is 222
    assert receipt["status"] == "0x1"
    assert 210 < worth < 225
    assert await _left(house) == [0, 0, 0, 0]
    assert await house.balance(house.order.debt, OWNER) == 0
    assert await house.balance(house.order.debt, house.keeper) == 5_000_000 * 10**6


async def test_it_costs_at_most_half_a_million_gas(house: House) -> None:
    """Once owner and treasury hold the tokens: the first of all pays for their storage."""
    await house.send(encode_order(replace(house.order, intent_id="first", amount=500 * 10**6)))

    receipt = await house.send(encode_order(house.order))

    assert int(receipt["gasUsed"], 16) <= 500_000


async def test_two_hops_pay_one_another(house: House) -> None:
    path = _path(house.devnet, "WETH", 3_000, "DAI", 500, "USDC")

    receipt = await house.send(encode_order(replace(house.order, path=path)))

    worth = Decimal(await house.balance(house.order.collateral, OWNER)) / 10**18
    assert receipt["status"] == "0x1"
    assert worth * await house.devnet.asset_price("WETH") > 180
    assert await _left(house, ("WETH", "USDC", "DAI")) == [0] * 6


async def test_what_was_left_there_by_mistake_is_not_counted_as_profit(house: House) -> None:
    devnet = house.devnet
    for token, amount in ((house.order.debt, 10**9), (house.order.collateral, 10**18)):
        await devnet.as_account(
            house.keeper, token, "TestnetERC20", "transfer", house.contract, amount
        )

    refused = await house.why(encode_order(replace(house.order, min_profit=10**17)))

    assert refused.startswith("profit too small (")
    await house.send(encode_order(house.order))
    assert await house.balance(house.order.debt, OWNER) == 10**9
    assert await house.balance(house.order.collateral, OWNER) > 107 * 10**16
    assert await _left(house) == [0, 0, 0, 0]


async def test_an_intent_is_executed_once(house: House) -> None:
    await house.send(encode_order(house.order))
    await house.devnet.push_price("ETH/USD", await house.devnet.price("ETH/USD") * Decimal("0.97"))

    again = await house.why(encode_order(house.order))

    assert again.startswith("intent used")
    assert await house.why(encode_order(replace(house.order, intent_id="another"))) == ""


@pytest.mark.parametrize("who", [STRANGER, OWNER])
async def test_only_named_callers_may_liquidate(house: House, who: str) -> None:
    assert (await house.why(encode_order(house.order), who)).startswith("caller not allowed")


async def test_bad_orders_are_refused_in_words(house: House) -> None:
    order, devnet = house.order, house.devnet
    now = await devnet.anvil.timestamp()
    uni = devnet.deployment.uniswap
    for changed, said in (
        ({"deadline": now - 7}, "deadline passed"),
        ({"pool": uni.pools[0].address}, "pool not allowed"),
        ({"min_profit": 10**18}, "profit too small"),
        ({"path": b""}, "bad path"),
        ({"path": order.path[:-1]}, "bad path"),
        ({"path": _path(devnet, "DAI", 500, "USDC")}, "bad path"),
        ({"path": _path(devnet, "WETH", 3_000, "DAI")}, "bad path"),
        ({"path": _path(devnet, "WETH", 100, "USDC")}, "no exchange pool"),
        ({"account": devnet.deployment.account("whale").address}, "health factor not below"),
        ({"amount": 0}, ""),
    ):
        why = await house.why(encode_order(replace(order, **changed)))

        assert why.startswith(said), (changed, why)
        assert why, changed


async def test_a_shallow_pool_is_refused_with_both_amounts(house: House) -> None:
    devnet = house.devnet
    there = devnet.deployment
    weth, usdc = sorted((house.asset("WETH"), house.asset("USDC")))
    manager = there.uniswap.position_manager
    # a pool of another fee with next to nothing in it, at the price of the deep one
    deep = next(
        p for p in there.uniswap.pools if {p.token0, p.token1} == {weth, usdc} and p.fee == 500
    )
    price = (await devnet.deployer.call(deep.address, "UniswapV3Pool", "slot0"))[0]
    await devnet.deployer.send(
        manager, "NonfungiblePositionManager",
        "createAndInitializePoolIfNecessary", weth, usdc, 10_000, price,
    )  # fmt: skip
    tick = (await devnet.deployer.call(deep.address, "UniswapV3Pool", "slot0"))[1] // 200 * 200
    await devnet.deployer.send(
        manager, "NonfungiblePositionManager", "mint",
        (weth, usdc, 10_000, tick - 2_000, tick + 2_000, 10**9, 10**9, 0, 0,
         devnet.deployer.sender, 2**64),
    )  # fmt: skip

    why = await house.why(
        encode_order(replace(house.order, path=_path(devnet, "WETH", 10_000, "USDC")))
    )

    assert why.startswith("exchange pool too shallow (")


async def test_nobody_else_can_call_back(house: House) -> None:
    params = encode(["uint256"], [1])
    asset = house.order.debt
    for sender in (STRANGER, OWNER, house.keeper, house.devnet.deployment.pool):
        loan = _call(
            "executeOperation(address,uint256,uint256,address,bytes)",
            asset, 1, 0, house.contract, params,
        )  # fmt: skip
        swap = _call("uniswapV3SwapCallback(int256,int256,bytes)", 1, 0, params)

        assert (await house.why(loan, sender)).startswith("callback not expected")
        assert (await house.why(swap, sender)).startswith("callback not expected")


async def test_a_loan_that_a_stranger_takes_for_it_is_refused(house: House) -> None:
    devnet = house.devnet
    order = encode_order(house.order)[4:]
    data = encode_call(
        devnet.artifacts.get("IPool"),
        "flashLoanSimple",
        house.contract, house.order.debt, 10**6, order, 0,
    )  # fmt: skip
    message = {"from": STRANGER, "to": devnet.deployment.pool, "data": "0x" + data.hex()}

    with pytest.raises(RpcError) as caught:
        await devnet.anvil.rpc("eth_call", message, "latest")

    assert words(bytes.fromhex((caught.value.data or "")[2:])).startswith("callback not expected")


async def test_only_the_owner_changes_who_may_and_rescues(house: House) -> None:
    devnet = house.devnet
    for data in (
        _call("setCaller(address,bool)", STRANGER, True),
        _call("setPool(address,bool)", STRANGER, True),
        _call("rescue(address,uint256)", house.order.debt, 0),
    ):
        for sender in (STRANGER, house.keeper):
            assert (await house.why(data, sender)).startswith("not the owner")

    await devnet.as_account(
        house.keeper, house.order.debt, "TestnetERC20", "transfer", house.contract, 12_345
    )
    await house.send(_call("rescue(address,uint256)", house.order.debt, 12_345), OWNER)
    await house.send(_call("setCaller(address,bool)", house.keeper, False), OWNER)

    assert await house.balance(house.order.debt, OWNER) == 12_345
    assert (await house.why(encode_order(house.order))).startswith("caller not allowed")


async def test_a_collateral_that_is_the_debt_needs_no_sale(house: House) -> None:
    devnet = house.devnet
    there = devnet.deployment
    owner, usdc = house.order.account, house.order.debt
    # a little of the debt's token as collateral does not save an account that is this far below
    await devnet.push_price("ETH/USD", await devnet.price("ETH/USD") * Decimal("0.5"))
    await devnet.as_account(house.keeper, usdc, "TestnetERC20", "transfer", owner, 3 * 10**9)
    await devnet.as_account(owner, usdc, "TestnetERC20", "approve", there.pool, UINT256_MAX)
    await devnet.as_account(owner, there.pool, "IPool", "supply", usdc, 3 * 10**9, owner, 0)
    await devnet.as_account(owner, there.pool, "IPool", "setUserUseReserveAsCollateral", usdc, True)
    assert (await devnet.account_data(owner))[5] < 10**18

    order = replace(house.order, account=owner, collateral=usdc, path=b"", amount=1_000 * 10**6)
    order = replace(order, min_profit=39 * 10**6)  # 4.5 % less the loan's 0.05 % is 44.5

    assert await house.why(encode_order(order)) == ""
    await house.send(encode_order(order))

    assert await _left(house) == [0, 0, 0, 0]


def test_orders_are_packed_as_the_abi_says() -> None:
    order = Order(
        intent_id="fedcba9876543210",
        pool=Address("0x" + "a1" * 20),
        account=Address("0x" + "b2" * 20),
        collateral=Address("0x" + "c3" * 20),
        debt=Address("0x" + "d4" * 20),
        debt_token=Address("0x" + "e5" * 20),
        amount=2**255 + 7,
        min_profit=11,
        deadline=1_790_000_013,
        path=bytes(range(43)),
    )
    kinds = ",".join(c["type"] for c in ABI["liquidate"]["inputs"][0]["components"])
    values = (
        intent_word(order.intent_id), order.pool, order.account, order.collateral, order.debt,
        order.debt_token, order.amount, order.min_profit, order.deadline, order.path,
    )  # fmt: skip

    assert keccak(text=f"liquidate(({kinds}))")[:4] == LIQUIDATE
    assert encode_order(order) == LIQUIDATE + encode([f"({kinds})"], [values])
