"""What the Pool refuses one way is done another way: the keeper itself, on the real Aave."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.model import Act, Address, Assessed, Declined, Leg, PositionId, Side, Submitted
from keeper.strategies.deleverage import Deleveraging
from keeper.strategies.protect import Bounds
from keeper.units import UINT256_MAX, WAD, Bps, Raw, Wad
from tests.chain.differential import approve_everything, see, simulate
from tests.chain.watching import settings_of, watching

pytestmark = pytest.mark.chain

LIMITS = """
max_per_tx_usd = "100000"
max_per_day_usd = "900000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "5"
"""


class Rich:
    def spendable(self, asset: Address) -> Raw:
        return Raw(10**30)

    def held(self, asset: Address) -> Raw:
        return self.spendable(asset)


async def legs_of(devnet: Devnet, account: Address) -> dict[tuple[Side, str], Leg]:
    seen = await see(devnet)
    found = seen.view().assess(seen.holdings[account])
    assert isinstance(found, Assessed)
    return {(leg.side, leg.asset.symbol): leg for leg in found.legs}


async def health_of(devnet: Devnet, account: Address) -> Decimal:
    return Decimal((await devnet.account_data(account))[5]) / WAD


async def configure(devnet: Devnet, function: str, *arguments: Any) -> None:
    there = devnet.deployment
    admin, configurator = there.account("deployer").address, there.configurator
    await devnet.as_account(admin, configurator, "PoolConfiguratorInstance", function, *arguments)


async def supply_for(devnet: Devnet, account: Address, symbol: str, amount: int) -> None:
    """The whale supplies for somebody, who counts it as collateral."""
    there, asset = devnet.deployment, devnet.deployment.reserve(symbol).asset
    whale = there.account("whale").address
    await devnet.as_account(whale, asset, "TestnetERC20", "approve", there.pool, UINT256_MAX)
    await devnet.as_account(whale, there.pool, "IPool", "supply", asset, amount, account, 0)
    await devnet.as_account(
        account, there.pool, "IPool", "setUserUseReserveAsCollateral", asset, True
    )


async def borrow(devnet: Devnet, account: Address, symbol: str, amount: int) -> None:
    asset = devnet.deployment.reserve(symbol).asset
    await devnet.as_account(
        account, devnet.deployment.pool, "IPool", "borrow", asset, amount, 2, 0, account
    )


async def give(devnet: Devnet, symbol: str, amount: int) -> None:
    """The keeper's account gets some of the whale's."""
    there = devnet.deployment
    whale, keeper = there.account("whale").address, there.account("keeper").address
    asset = there.reserve(symbol).asset
    await devnet.as_account(whale, asset, "TestnetERC20", "transfer", keeper, amount)


async def two_collaterals(devnet: Devnet) -> Address:
    """Alice with as much WBTC as WETH."""
    alice = devnet.deployment.account("alice").address
    legs = await legs_of(devnet, alice)
    wbtc = int(legs[Side.COLLATERAL, "WETH"].value / await devnet.asset_price("WBTC"))
    await supply_for(devnet, alice, "WBTC", wbtc)
    return alice


async def fall_to(devnet: Devnet, account: Address, health: str, *feeds: str) -> None:
    """Let `feeds` fall alike until the account, all of whose collateral they price, is there."""
    left = Decimal(health) / await health_of(devnet, account)
    prices = {feed: await devnet.price(feed) * left for feed in feeds}
    await devnet.push_prices({f: str(p.quantize(Decimal("0.00000001"))) for f, p in prices.items()})


async def signing(devnet: Devnet) -> str:
    keeper = devnet.deployment.account("keeper")
    nonce = int(await devnet.anvil.rpc("eth_getTransactionCount", keeper.address, "latest"), 16)
    return f"""
[signing]
armed_chain_ids = [{devnet.deployment.chain_id}]
adopt_nonce = {nonce}
private_key = "{keeper.private_key}"
{LIMITS}"""


async def test_of_two_debts_the_paused_one_is_left_alone(devnet: Devnet, tmp_path: Path) -> None:
    alice = devnet.deployment.account("alice").address
    await approve_everything(devnet)
    legs = await legs_of(devnet, alice)
    await supply_for(devnet, alice, "WETH", legs[Side.COLLATERAL, "WETH"].balance)
    await borrow(devnet, alice, "DAI", legs[Side.DEBT, "USDC"].balance * 10**12 * 8 // 10)
    for symbol, amount in (("USDC", 20_000 * 10**6), ("DAI", 30_000 * 10**18)):
        await give(devnet, symbol, amount)
    settings = settings_of(
        devnet,
        tmp_path,
        f"""
[protect.alice]
account = "{alice}"
strategy = ["repay", "top_up"]
below = "1.10"
target = "1.25"
max_per_tx_usd = "50000"
{await signing(devnet)}""",
    )
    await configure(devnet, "setReservePause", devnet.deployment.reserve("DAI").asset, True, 0)

    async with watching(devnet, settings) as here:
        await fall_to(devnet, alice, "1.05", "ETH/USD")
        done = await here.tick()
        await here.tick()

        [sent] = [s for s in done.submissions if s.intent.position.account == alice]
        assert isinstance(sent, Submitted)
        assert (sent.intent.kind, sent.intent.asset.symbol) == ("repay", "USDC")
        assert await health_of(devnet, alice) >= Decimal("1.2499")


async def test_collateral_that_is_lent_out_gives_way_to_the_other_at_the_next_block(
    devnet: Devnet, tmp_path: Path
) -> None:
    there, alice = devnet.deployment, await two_collaterals(devnet)
    await approve_everything(devnet)
    owed = (await legs_of(devnet, alice))[Side.DEBT, "USDC"].balance
    more = int(await health_of(devnet, alice) * owed / Decimal("1.08")) - owed
    await borrow(devnet, alice, "USDC", more)
    await configure(devnet, "setBorrowCap", there.reserve("WBTC").asset, 0)
    await configure(devnet, "setSupplyCap", there.reserve("USDC").asset, 0)
    await configure(
        devnet, "configureReserveAsCollateral", there.reserve("WBTC").asset, 7_300, 7_800, 10_650
    )
    left = int(
        await devnet.deployer.call(
            there.reserve("WBTC").asset,
            "TestnetERC20",
            "balanceOf",
            there.reserve("WBTC").a_token,
        )
    )
    whale = there.account("whale").address
    await give(devnet, "USDC", 10**12)
    await supply_for(devnet, whale, "USDC", 9 * 10**14)
    await borrow(devnet, whale, "WBTC", left - 10)
    settings = settings_of(
        devnet,
        tmp_path,
        f"""
[liquidate]
enabled = true
min_profit_usd = "1"
{await signing(devnet)}""",
    )

    async with watching(devnet, settings) as here:
        await fall_to(devnet, alice, "0.97", "ETH/USD", "BTC/USD")
        tried: list[tuple[type, str]] = []
        for _ in range(3):
            done = await here.tick()
            tried += [
                (type(s), s.intent.collateral.symbol)
                for s in done.submissions
                if s.intent.position.account == alice and s.intent.collateral is not None
            ]

        assert tried == [(Declined, "WBTC"), (Submitted, "WETH")]
        position = PositionId(market=here.market.id, account=alice)
        health = here.engine.health_of(position)
        assert health is not None
        assert health > WAD * 97 // 100


@pytest.mark.parametrize("governance", ["loan to value 0", "frozen", "paused"])
async def test_a_deleverage_sells_what_the_pool_lets_go_of(devnet: Devnet, governance: str) -> None:
    there, alice = devnet.deployment, await two_collaterals(devnet)
    owed = (await legs_of(devnet, alice))[Side.DEBT, "USDC"].balance
    await borrow(
        devnet,
        alice,
        "USDC",
        int(await health_of(devnet, alice) * owed / Decimal("1.2")) - owed,
    )
    strategy = Deleveraging(
        accounts=(alice,),
        bounds=Bounds(below=Wad(WAD * 13 // 10), target=Wad(WAD * 135 // 100)),
        cost=Bps(50),
    )

    async def sold() -> Act:
        seen = await see(devnet)
        view = seen.view()
        held = seen.holdings[alice]
        decision = strategy.decide(view, held, view.assess(held), Rich())
        assert isinstance(decision, Act)
        return decision

    at_first = (await sold()).intent.collateral
    assert at_first is not None
    assert at_first.symbol == "WBTC"
    weth, wbtc = there.reserve("WETH").asset, there.reserve("WBTC").asset
    if governance == "loan to value 0":
        await configure(devnet, "configureReserveAsCollateral", weth, 0, 8_300, 10_500)
    elif governance == "frozen":
        await configure(devnet, "setReserveFreeze", weth, True)
    else:
        await configure(devnet, "setReservePause", wbtc, True, 0)

    now = (await sold()).intent.collateral
    assert now is not None
    assert now.symbol == "WETH"
    bob, stamp = there.account("bob").address, await devnet.anvil.timestamp() + 12
    succeeded = []
    for symbol in ("WETH", "WBTC"):
        some = (await legs_of(devnet, alice))[Side.COLLATERAL, symbol].balance // 50
        data = encode_call(devnet.artifacts.get("IAToken"), "transfer", bob, some)
        [said] = await simulate(devnet, stamp, (alice, there.reserve(symbol).a_token, data))
        succeeded.append(said["status"] == "0x1")
    assert succeeded == [True, False]
