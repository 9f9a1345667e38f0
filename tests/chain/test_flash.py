"""Liquidations with borrowed money, decided, routed, sent and settled by the keeper itself."""

import statistics
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.app.act import carry_out
from keeper.app.chain import open_chain
from keeper.app.checks import check_all
from keeper.app.deploy import Deployment, plan_deployment
from keeper.chain.rpc import Rpc
from keeper.devnet import uniswap
from keeper.devnet.anvil import until_mined
from keeper.devnet.network import Devnet
from keeper.errors import ExecutionError, RpcError
from keeper.execution.exchange import Exchange, Hop, encode_path
from keeper.execution.liquidator import VERSION
from keeper.execution.reverts import words
from keeper.execution.routes import Routes
from keeper.model import Address, Confirmed, Declined, Funding, Rehearsed, Submitted
from keeper.settings import Settings
from keeper.store.database import Database
from tests.chain.watching import settings_of, watching

pytestmark = pytest.mark.chain


def _armed(devnet: Devnet, more: str = "") -> str:
    keeper = devnet.deployment.account("keeper")
    return f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "2000000"
{more}
[signing]
armed_chain_ids = [31337]
private_key = "{keeper.private_key}"
max_per_tx_usd = "1"
max_per_day_usd = "1"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
"""


def _with(devnet: Devnet, folder: Path, contract: Address | None, more: str = "") -> Settings:
    settings = settings_of(devnet, folder, _armed(devnet, more))
    places = devnet.deployment.uniswap
    chain = settings.chains["devnet"].model_copy(
        update={
            "liquidator": contract,
            "uniswap_factory": places.factory,
            "uniswap_quoter": places.quoter,
        }
    )
    return settings.model_copy(update={"chains": {"devnet": chain}})


async def _deploy(devnet: Devnet, settings: Settings, *, send: bool = True) -> Deployment:
    keeper = devnet.deployment.account("keeper").address
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        deployment = await plan_deployment(settings, chain, keeper)
        submission, _ = await carry_out(
            settings, chain, database, deployment.planned, send=send, wait=False
        )
        assert isinstance(submission, Submitted if send else Rehearsed), submission
        return deployment


async def _balances(devnet: Devnet, account: str) -> dict[str, int]:
    return {
        r.symbol: int(await devnet.deployer.call(r.asset, "TestnetERC20", "balanceOf", account))
        for r in devnet.deployment.reserves
    }


async def test_a_rehearsed_deployment_deploys_nothing_and_a_sent_one_once(
    devnet: Devnet, tmp_path: Path
) -> None:
    settings = _with(devnet, tmp_path, None)

    rehearsed = await _deploy(devnet, settings, send=False)
    assert await devnet.anvil.rpc("eth_getCode", rehearsed.contract, "latest") == "0x"

    sent = await _deploy(devnet, settings)
    await devnet.anvil.mine()
    assert sent.contract == rehearsed.contract
    assert len(await devnet.anvil.rpc("eth_getCode", sent.contract, "latest")) > 2_000
    with pytest.raises(ExecutionError, match="already"):
        await _deploy(devnet, settings)


async def test_without_a_token_of_its_own_it_liquidates_and_keeps_the_profit(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    keeper = there.account("keeper").address
    contract = (await _deploy(devnet, _with(devnet, tmp_path, None))).contract
    await devnet.anvil.mine()
    for reserve in there.reserves:  # nothing to spend but gas
        held = (await _balances(devnet, keeper))[reserve.symbol]
        if held:
            await devnet.as_account(
                keeper,
                reserve.asset,
                "TestnetERC20",
                "transfer",
                there.account("bob").address,
                held,
            )
    # whoever put those transfers there vouches for them
    nonce = int(await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest"), 16)
    settings = _with(devnet, tmp_path, contract)
    settings = settings.model_copy(
        update={"signing": settings.signing.model_copy(update={"adopt_nonce": nonce})}
    )
    async with watching(devnet, settings) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.82"))
        await here.tick()
        for _ in range(8):
            await here.tick()
        submissions = [s for done in here.passes for s in done.submissions]
        outcomes = [o for done in here.passes for o in done.outcomes]
        sent = [s for s in submissions if isinstance(s, Submitted)]
        gained = await _balances(devnet, keeper)

    assert len(sent) >= 5
    assert all(isinstance(o, Confirmed) for o in outcomes), outcomes
    assert len(outcomes) == len(sent)
    assert all(s.intent.funding is Funding.FLASH for s in sent)
    assert all(s.intent.expected_profit > 10**8 for s in sent)
    gas = {
        o.plan.intent.intent_id: o.receipt.gas_used for o in outcomes if isinstance(o, Confirmed)
    }
    # 443,000 for two reserves and one pool; two pools, more reserves, and what the owner or the
    # treasury never had before cost more
    assert max(gas.values()) <= 600_000
    assert min(gas.values()) <= 450_000
    assert statistics.median(gas.values()) <= 515_000
    assert sum(gained.values()) > 0
    assert set((await _balances(devnet, contract)).values()) == {0}
    # what was promised is what came, within the slippage allowed
    came = Decimal(0)
    for symbol, amount in gained.items():
        unit = 10 ** there.reserve(symbol).decimals
        came += Decimal(amount) / unit * await devnet.asset_price(symbol)
    promised = sum(Decimal(s.intent.expected_profit) / 10**8 for s in sent)
    assert abs(came - promised) <= promised / 50, (came, promised)


async def test_what_is_not_worth_its_gas_is_declined_with_the_numbers(
    devnet: Devnet, tmp_path: Path
) -> None:
    contract = (await _deploy(devnet, _with(devnet, tmp_path, None))).contract
    await devnet.anvil.mine()
    settings = _with(devnet, tmp_path, contract)
    async with watching(devnet, settings) as here:
        # the market falls behind its exchange: what is seized sells for less than was repaid
        await devnet.fall_of("ETH/USD", Decimal("0.93"), exchange=Decimal("0.80"))
        done = await here.tick()
        declined = [s for s in done.submissions if isinstance(s, Declined)]

    assert declined
    reason = declined[0].reason
    assert "is seized" in reason
    assert " pays for " in reason
    assert "is below the floor of 1.00 USD" in reason


async def test_a_liquidator_that_is_not_there_is_said(devnet: Devnet, tmp_path: Path) -> None:
    settings = _with(devnet, tmp_path, Address("0x" + "77" * 20))
    async with watching(devnet, settings) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.93"))
        done = await here.tick()
        reasons = {s.reason for s in done.submissions if isinstance(s, Declined)}

    assert any("There is no liquidator of ours at 0x7777" in reason for reason in reasons)
    assert not [s for s in done.submissions if isinstance(s, Submitted)]


async def _checked(settings: Settings) -> list[tuple[str, str]]:
    """What ``keeper check`` says of the liquidator."""
    return [
        (str(finding.state), finding.said)
        async for finding in check_all(settings)
        if finding.what.endswith(": liquidator")
    ]


async def test_check_says_whether_the_liquidator_takes_our_orders(
    devnet: Devnet, tmp_path: Path
) -> None:
    keeper = devnet.deployment.account("keeper").address
    contract = (await _deploy(devnet, _with(devnet, tmp_path, None))).contract
    await devnet.anvil.mine()
    off = _with(devnet, tmp_path, contract)
    off = off.model_copy(update={"liquidate": off.liquidate.model_copy(update={"enabled": False})})

    good = await _checked(_with(devnet, tmp_path, contract))
    nowhere = await _checked(_with(devnet, tmp_path, Address("0x" + "77" * 20)))

    assert good == [("ok", f"{contract} takes orders of {keeper}")]
    assert [state for state, _ in nowhere] == ["failed"]
    assert "There is no liquidator of ours" in nowhere[0][1]
    assert await _checked(off) == await _checked(_with(devnet, tmp_path, None)) == []


async def test_a_liquidator_of_an_older_version_gets_no_orders(
    devnet: Devnet, tmp_path: Path
) -> None:
    contract = (await _deploy(devnet, _with(devnet, tmp_path, None))).contract
    await devnet.anvil.mine()
    code = bytes.fromhex((await devnet.anvil.rpc("eth_getCode", contract, "latest"))[2:])
    assert code.count(VERSION) == 1
    older = code.replace(VERSION, bytes(4))
    await devnet.anvil.rpc("anvil_setCode", contract, "0x" + older.hex())
    async with watching(devnet, _with(devnet, tmp_path, contract)) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.93"))
        done = await here.tick()
        reasons = {s.reason for s in done.submissions if isinstance(s, Declined)}
    checked = await _checked(_with(devnet, tmp_path, contract))

    assert [state for state, _ in checked] == ["failed"]
    assert "is of an older version: deploy a new one with `keeper deploy-liq" in checked[0][1]
    assert any("is of an older version: deploy a new one" in reason for reason in reasons)
    assert not [s for s in done.submissions if isinstance(s, Submitted)]


async def _move(devnet: Devnet, symbol: str, by: str) -> None:
    """Trade the exchange, and nothing else, to another price of `symbol`."""
    there = devnet.deployment
    symbols = {reserve.asset: reserve.symbol for reserve in there.reserves}
    prices = {name: await devnet.asset_price(name) for name in symbols.values()}
    prices[symbol] *= Decimal(by)
    await uniswap.align(devnet.deployer, there.uniswap, symbols, prices)


async def test_a_pool_that_is_moved_first_costs_the_gas_and_nothing_else(
    devnet: Devnet, tmp_path: Path
) -> None:
    """The sandwich: simulated, sent, and then somebody sells in front of it."""
    keeper = devnet.deployment.account("keeper").address
    contract = (await _deploy(devnet, _with(devnet, tmp_path, None))).contract
    await devnet.anvil.mine()
    async with watching(devnet, _with(devnet, tmp_path, contract)) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.93"))
        done = await here.tick()
        plans = [s.open_plan.plan for s in done.submissions if isinstance(s, Submitted)]
        [plan] = [p for p in plans if p.intent.collateral and p.intent.collateral.symbol == "WETH"][
            :1
        ]
    # the keeper has gone: what it sent is sent again, behind somebody else's sale
    await devnet.anvil.drop_all_transactions()
    await devnet.anvil.set_automine(on=True)
    await _move(devnet, "WETH", "0.97")
    before = await _balances(devnet, keeper)
    debt = (await devnet.account_data(plan.intent.position.account))[1]
    sent = await devnet.anvil.send(keeper, plan.to, plan.data, gas=plan.gas_limit)
    with pytest.raises(RpcError, match="was mined and failed"):
        await until_mined(devnet.anvil, sent)
    receipt = await devnet.anvil.receipt(sent)
    message = {"from": keeper, "to": plan.to, "data": "0x" + plan.data.hex()}
    with pytest.raises(RpcError) as caught:
        await devnet.anvil.rpc("eth_call", message, "latest")

    assert receipt is not None
    assert receipt["status"] == "0x0"
    # without the minimum it would have gone through, at a third of the profit
    assert words(bytes.fromhex((caught.value.data or "")[2:])).startswith("profit too small (")
    assert await _balances(devnet, keeper) == before
    assert set((await _balances(devnet, contract)).values()) == {0}
    after = (await devnet.account_data(plan.intent.position.account))[1]
    assert after == pytest.approx(debt, rel=1e-8)  # a block's interest


async def test_quotes_are_of_the_block_that_is_decided_on(devnet: Devnet) -> None:
    there = devnet.deployment
    weth, usdc = there.reserve("WETH").asset, there.reserve("USDC").asset
    exchange = Exchange(factory=there.uniswap.factory, quoter=there.uniswap.quoter)
    async with await Rpc.open([there.rpc_url], there.chain_id) as rpc:
        decided = await rpc.block("latest")
        first = await Routes(rpc, exchange).best(weth, usdc, 10**10, hubs=(), block=decided)
        await _move(devnet, "WETH", "0.97")
        moved = await rpc.block("latest")

        again = await Routes(rpc, exchange).best(weth, usdc, 10**10, hubs=(), block=decided)
        now = await Routes(rpc, exchange).best(weth, usdc, 10**10, hubs=(), block=moved)

    assert moved.number > decided.number
    assert again == first
    assert now.cost > first.cost * 1_025 // 1_000


async def test_what_is_quoted_is_what_a_pool_takes(devnet: Devnet) -> None:
    """Differential: over one pool and over two, by the exchange's own router."""
    there = devnet.deployment
    wbtc, usdc = there.reserve("WBTC"), there.reserve("USDC")
    dai, keeper = there.reserve("DAI"), there.account("keeper").address
    exchange = Exchange(factory=there.uniswap.factory, quoter=there.uniswap.quoter)
    await devnet.as_account(
        keeper, wbtc.asset, "TestnetERC20", "approve", there.uniswap.router, 2**255
    )
    for bought, amount, hubs in (
        (usdc, 123_456_789_013, ()),
        (dai, 98_765 * 10**18 + 7, (usdc.asset,)),
    ):
        async with await Rpc.open([there.rpc_url], there.chain_id) as rpc:
            head = await rpc.block("latest")
            sale = await Routes(rpc, exchange).best(
                wbtc.asset, bought.asset, amount, hubs=hubs, block=head
            )
        had = (await _balances(devnet, keeper))["WBTC"]
        backwards = [
            Hop(token_in=hop.token_out, token_out=hop.token_in, fee=hop.fee)
            for hop in reversed(sale.hops)
        ]
        await devnet.as_account(
            keeper, there.uniswap.router, "SwapRouter", "exactOutput",
            (encode_path(backwards), keeper, 2**63, amount, 2**200),
        )  # fmt: skip

        assert len(sale.hops) == 1 + len(hubs)
        assert had - (await _balances(devnet, keeper))["WBTC"] == sale.cost
