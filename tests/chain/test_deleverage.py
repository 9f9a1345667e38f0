"""Deleveraging: the borrower's own collateral repays, against the real Aave and Uniswap."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.app.checks import check_all
from keeper.devnet import uniswap
from keeper.devnet.anvil import until_mined
from keeper.devnet.network import Devnet
from keeper.devnet.toolchain import DELEVERAGER, deleverager_document
from keeper.errors import RpcError
from keeper.execution.deleverager import (
    DELEVERAGE,
    DELEVERAGE_WITH_PERMIT,
    Mandate,
    Order,
    decode_mandate,
    deployment,
    encode_order,
    mandate_call,
)
from keeper.execution.exchange import Hop, encode_path
from keeper.execution.liquidator import intent_word
from keeper.execution.reverts import words
from keeper.model import (
    Address,
    Assessed,
    Confirmed,
    Declined,
    Funding,
    IntentKind,
    Permit,
    SignedPermit,
    Submitted,
)
from keeper.ports import DeleverageView
from keeper.settings import Settings
from keeper.units import UINT256_MAX, WAD, Bps, Raw, Wad
from tests.chain.watching import settings_of, watching

pytestmark = pytest.mark.chain

ABI = {e["name"]: e for e in json.loads(DELEVERAGER.read_text())["abi"] if "name" in e}
MANDATE = Mandate(
    until=2**40 - 1,
    max_cost_bps=100,
    below=WAD * 115 // 100,
    per_transaction=50_000 * 10**8,
    per_day=60_000 * 10**8,
)


async def deployed(devnet: Devnet) -> Address:
    """Deploy the contract as anybody would, and return where it is."""
    call, contract = deployment(devnet.deployment.uniswap.factory)
    bob = devnet.deployment.account("bob").address
    await devnet.anvil.send(bob, call.to, call.data, gas=5_000_000)
    return contract


def encode_allow(operator: str, pool: str, mandate: Mandate) -> bytes:
    """What a borrower signs to give a mandate."""
    values = (
        mandate.until, mandate.max_cost_bps, mandate.below,
        mandate.per_transaction, mandate.per_day,
    )  # fmt: skip
    kinds = "(uint40,uint16,uint64,uint128,uint128)"
    return keccak(text=f"allow(address,address,{kinds})")[:4] + encode(
        ["address", "address", kinds], [operator, pool, values]
    )


async def consent(
    devnet: Devnet, contract: Address, mandate: Mandate = MANDATE, *, approve: bool = True
) -> None:
    """Have Alice give the keeper a mandate, and approve what she has supplied."""
    there = devnet.deployment
    alice, keeper = there.account("alice").address, there.account("keeper").address
    sent = await devnet.anvil.send(
        alice, contract, encode_allow(keeper, there.pool, mandate), gas=200_000
    )
    assert (await until_mined(devnet.anvil, sent))["status"] == "0x1"
    if approve:
        token = there.reserve("WETH").a_token
        await devnet.as_account(alice, token, "IAToken", "approve", contract, UINT256_MAX)


def settings_for(
    devnet: Devnet, folder: Path, contract: Address, strategy: str = "deleverage", more: str = ""
) -> Settings:
    """The keeper armed, protecting Alice."""
    alice = devnet.deployment.account("alice").address
    keeper = devnet.deployment.account("keeper")
    settings = settings_of(
        devnet,
        folder,
        f"""
[protect.alice]
account = "{alice}"
strategy = "{strategy}"
below = "1.10"
target = "1.25"
max_per_tx_usd = "50000"
{more}
[signing]
armed_chain_ids = [31337]
private_key = "{keeper.private_key}"
max_per_tx_usd = "50000"
max_per_day_usd = "200000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "5"
""",
    )
    exchange = devnet.deployment.uniswap
    chain = settings.chains["devnet"].model_copy(
        update={
            "deleverager": contract,
            "uniswap_factory": exchange.factory,
            "uniswap_quoter": exchange.quoter,
        }
    )
    return settings.model_copy(update={"chains": {"devnet": chain}})


async def _down_to(devnet: Devnet, health: str) -> None:
    """Let Ether fall until Alice is a little below `health`; the exchange follows."""
    alice = devnet.deployment.account("alice").address
    now = Decimal((await devnet.account_data(alice))[5]) / WAD
    await devnet.fall_of("ETH/USD", Decimal(health) / now)


async def _left(devnet: Devnet, contract: Address) -> set[int]:
    found = set()
    for reserve in devnet.deployment.reserves:
        for token in (reserve.asset, reserve.a_token):
            call = devnet.deployer.call
            found.add(int(await call(token, "TestnetERC20", "balanceOf", contract)))
            pool = devnet.deployment.pool
            found.add(int(await call(token, "TestnetERC20", "allowance", contract, pool)))
    return found


def test_the_shipped_deleverager_is_what_its_source_compiles_to() -> None:
    shipped = json.loads(DELEVERAGER.read_text())

    assert shipped["bytecode"] == json.loads(deleverager_document())["bytecode"]


def test_orders_are_packed_as_the_abi_says() -> None:
    order = Order(
        intent_id="fedcba9876543210",
        pool=Address("0x" + "a1" * 20),
        account=Address("0x" + "b2" * 20),
        collateral=Address("0x" + "c3" * 20),
        debt=Address("0x" + "d4" * 20),
        repay=2**255 + 7,
        max_sold=13,
        min_health=WAD + 11,
        deadline=1_790_000_013,
        path=bytes(range(66)),
    )
    kinds = ",".join(c["type"] for c in ABI["deleverage"]["inputs"][0]["components"])
    values = (
        intent_word(order.intent_id), order.pool, order.account, order.collateral, order.debt,
        order.repay, order.max_sold, order.min_health, order.deadline, order.path,
    )  # fmt: skip

    assert keccak(text=f"deleverage(({kinds}))")[:4] == DELEVERAGE
    assert encode_order(order) == DELEVERAGE + encode([f"({kinds})"], [values])
    permit = SignedPermit(
        permit=Permit(
            chain_id=31_337,
            token=order.collateral,
            owner=order.account,
            spender=order.pool,
            value=2**256 - 3,
            nonce=5,
            deadline=2**255 + 1,
        ),
        v=28,
        r=bytes(range(32)),
        s=bytes(range(1, 33)),
    )
    named = ABI["deleverageWithPermit"]["inputs"][1]["components"]
    signed = ",".join(c["type"] for c in named)
    assert [c["name"] for c in named] == ["value", "deadline", "v", "r", "s"]
    assert keccak(text=f"deleverageWithPermit(({kinds}),({signed}))")[:4] == DELEVERAGE_WITH_PERMIT
    given = (permit.permit.value, permit.permit.deadline, permit.v, permit.r, permit.s)
    assert encode_order(order, permit) == DELEVERAGE_WITH_PERMIT + encode(
        [f"({kinds})", f"({signed})"], [values, given]
    )


async def test_a_falling_price_is_answered_with_the_borrowers_own_collateral(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    alice, keeper = there.account("alice").address, there.account("keeper").address
    contract = await deployed(devnet)
    await consent(devnet, contract)
    usdc, weth = there.reserve("USDC"), there.reserve("WETH")
    spent = int(await devnet.deployer.call(usdc.asset, "TestnetERC20", "balanceOf", keeper))
    async with watching(devnet, settings_for(devnet, tmp_path, contract)) as here:
        await _down_to(devnet, "1.08")
        await here.tick()
        had, owed, *_, before = await devnet.account_data(alice)
        held = await devnet.deployer.call(weth.a_token, "TestnetERC20", "balanceOf", alice)
        for _ in range(4):
            await here.tick()
        sent = [s for p in here.passes for s in p.submissions if isinstance(s, Submitted)]
        outcomes = [o for p in here.passes for o in p.outcomes]
        has, owes, *_, after = await devnet.account_data(alice)
        holds = await devnet.deployer.call(weth.a_token, "TestnetERC20", "balanceOf", alice)

    assert [s.intent.kind for s in sent] == [IntentKind.DELEVERAGE]
    assert sent[0].intent.funding is Funding.FLASH
    assert [type(o) for o in outcomes] == [Confirmed]
    assert before < 110 * WAD // 100 < 125 * WAD // 100 <= after
    # the pool's 0.05 %, the price it moves and the oracle's rounding: well within the 1 % allowed
    repaid, sold = owed - owes, had - has
    assert repaid > 0
    assert repaid < sold <= repaid * 1_002 // 1_000
    # less was sold than was allowed, since the exchange was cheaper than its bound
    assert held - holds < sent[0].intent.seized
    assert int(await devnet.deployer.call(usdc.asset, "TestnetERC20", "balanceOf", keeper)) == spent
    assert await _left(devnet, contract) == {0}
    gas = [o.receipt.gas_used for o in outcomes if isinstance(o, Confirmed)]
    assert max(gas) <= 750_000


async def test_what_is_sized_is_what_the_market_then_answers(
    devnet: Devnet, tmp_path: Path
) -> None:
    """Differential: the health said beforehand is never above the market's own, and close to it."""
    there = devnet.deployment
    alice, keeper = there.account("alice").address, there.account("keeper").address
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.09")
        done = await here.tick()
        view, holdings = done.readings[0].view, here.holdings[alice]
        assert isinstance(view, DeleverageView)
        assessed = view.assess(holdings)
        assert isinstance(assessed, Assessed)
        legs = {leg.asset.symbol: leg for leg in assessed.legs}
        way = view.deleverage_to_reach(
            holdings, legs["WETH"], legs["USDC"], Wad(13 * WAD // 10), Bps(50)
        )
        assert way is not None
        # the same by hand: the keeper pays the debt, Alice withdraws
        await devnet.anvil.set_automine(on=True)
        pool = there.pool
        await devnet.as_account(
            keeper, there.reserve("USDC").asset, "TestnetERC20", "approve", pool, UINT256_MAX
        )
        await devnet.as_account(
            keeper, pool, "IPool", "repay", there.reserve("USDC").asset, way.repay, 2, alice
        )
        await devnet.as_account(
            alice, pool, "IPool", "withdraw", there.reserve("WETH").asset, way.sells, alice
        )
        answered = (await devnet.account_data(alice))[5]

    assert way.health >= 13 * WAD // 10
    # a few blocks of interest, and one unit here and there
    assert abs(answered - way.health) <= WAD // 10**6
    less = view.deleveraged(holdings, legs["WETH"], legs["USDC"], Raw(way.repay - 2), Bps(50))
    assert less is not None
    assert less.health < 13 * WAD // 10


@pytest.mark.parametrize(
    ("mandate", "approve", "said"),
    [
        (MANDATE, False, "lets the deleverager take 0.00 WETH"),
        (replace(MANDATE, until=1), True, "no mandate that is in force"),
        (replace(MANDATE, below=WAD), True, "mandate is for a health factor below 1.000"),
        (replace(MANDATE, per_day=10**8), True, "mandate is for 1.00 USD in one transaction"),
    ],
)
async def test_what_the_borrower_did_not_allow_is_declined_in_words(
    devnet: Devnet, tmp_path: Path, mandate: Mandate, approve: bool, said: str
) -> None:
    contract = await deployed(devnet)
    await consent(devnet, contract, mandate, approve=approve)
    async with watching(devnet, settings_for(devnet, tmp_path, contract)) as here:
        await _down_to(devnet, "1.08")
        done = await here.tick()

    declined = [s.reason for s in done.submissions if isinstance(s, Declined)]
    assert len(declined) == 1
    assert said in declined[0]


async def test_an_exchange_that_is_too_dear_is_declined_with_the_numbers(
    devnet: Devnet, tmp_path: Path
) -> None:
    contract = await deployed(devnet)
    await consent(devnet, contract)
    async with watching(devnet, settings_for(devnet, tmp_path, contract)) as here:
        # the exchange pays two percent less than the oracle says
        await devnet.fall_of("ETH/USD", Decimal("0.86"), exchange=Decimal("0.843"))
        done = await here.tick()

    declined = [s.reason for s in done.submissions if isinstance(s, Declined)]
    assert len(declined) == 1
    assert declined[0].startswith("Too dear: the exchange takes ")
    assert "is the most that it may take" in declined[0]


async def test_a_pool_that_is_moved_first_makes_it_revert(devnet: Devnet, tmp_path: Path) -> None:
    """The sandwich: simulated, sent, and then somebody sells in front of it."""
    there = devnet.deployment
    alice = there.account("alice").address
    contract = await deployed(devnet)
    await consent(devnet, contract)
    async with watching(devnet, settings_for(devnet, tmp_path, contract)) as here:
        await _down_to(devnet, "1.08")
        await devnet.anvil.set_automine(on=False)
        done = await here.tick()
        sent = [s for s in done.submissions if isinstance(s, Submitted)]
        assert len(sent) == 1
        plan = sent[0].open_plan.plan
    # the keeper has gone: what it sent is sent again, behind somebody else's sale
    await devnet.anvil.drop_all_transactions()
    await devnet.anvil.set_automine(on=True)
    symbols = {reserve.asset: reserve.symbol for reserve in there.reserves}
    prices = {symbol: await devnet.asset_price(symbol) for symbol in symbols.values()}
    prices["WETH"] *= Decimal("0.97")
    await uniswap.align(devnet.deployer, there.uniswap, symbols, prices)
    before = await devnet.account_data(alice)
    keeper = there.account("keeper").address
    message = {"from": keeper, "to": plan.to, "data": "0x" + plan.data.hex()}
    with pytest.raises(RpcError) as caught:
        await devnet.anvil.rpc("eth_call", message, "latest")
    mined = await devnet.anvil.send(keeper, plan.to, plan.data, gas=plan.gas_limit)
    with pytest.raises(RpcError, match="was mined and failed"):
        await until_mined(devnet.anvil, mined)
    receipt = await devnet.anvil.receipt(mined)

    assert words(bytes.fromhex((caught.value.data or "")[2:])).startswith("too much sold (")
    assert receipt is not None
    assert receipt["status"] == "0x0"
    after = await devnet.account_data(alice)
    assert after[:2] == pytest.approx(before[:2], rel=1e-9)  # a block's interest
    assert await _left(devnet, contract) == {0}


async def test_a_waterfall_tries_its_own_money_first(devnet: Devnet, tmp_path: Path) -> None:
    contract = await deployed(devnet)
    await consent(devnet, contract)
    settings = settings_for(devnet, tmp_path, contract)
    protect = settings.protect["alice"].model_copy(update={"strategy": ("repay", "deleverage")})
    settings = settings.model_copy(update={"protect": {"alice": protect}})
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.08")
        done = await here.tick()

    # the keeper approved nothing to the Pool, so that its own money is out of reach
    sent = [s for s in done.submissions if isinstance(s, Submitted)]
    assert [s.intent.kind for s in sent] == [IntentKind.DELEVERAGE]
    assert "refused before: " in sent[0].intent.reason


async def test_a_mandate_is_read_as_it_was_given(devnet: Devnet) -> None:
    there = devnet.deployment
    contract = await deployed(devnet)
    await consent(devnet, contract)
    alice, keeper = there.account("alice").address, there.account("keeper").address
    call = mandate_call(contract, alice, keeper, there.pool)

    answer: Any = await devnet.anvil.rpc(
        "eth_call", {"to": call.to, "data": "0x" + call.data.hex()}, "latest"
    )

    assert decode_mandate(bytes.fromhex(answer[2:])) == MANDATE


async def _checked(settings: Settings) -> list[tuple[str, str, str]]:
    """What ``keeper check`` says about deleveraging."""
    return [
        (str(finding.state), finding.said, finding.remedy)
        async for finding in check_all(settings)
        if "deleveraging" in finding.what
    ]


async def test_check_says_which_consents_are_missing(devnet: Devnet, tmp_path: Path) -> None:
    there = devnet.deployment
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)

    before = await _checked(settings)
    await consent(devnet, contract, replace(MANDATE, per_transaction=49_999 * 10**8))
    less = await _checked(settings)
    await consent(devnet, contract)
    after = await _checked(settings)

    keeper, weth = there.account("keeper").address, there.reserve("WETH").a_token
    assert [state for state, _, _ in before] == ["warning", "warning"]
    assert f"gave {keeper} no mandate that is in force" in before[0][1]
    assert f"to {contract}, operator {keeper}, pool {there.pool}" in before[0][2]
    assert before[1][1].startswith("0.00 WETH of ")
    alice = there.account("alice").address
    assert before[1][2] == (
        f"let it approve {contract} on the aToken {weth}, or sign a permit with"
        f" `keeper permit {alice} --collateral WETH`"
    )
    assert [state for state, _, _ in less] == ["warning", "ok"]
    assert "at most 49,999.00 USD at once" in less[0][1]
    assert less[0][2] == "lower protect's max_per_tx_usd, or ask for another mandate"
    assert [state for state, _, _ in after] == ["ok", "ok"]
    assert "at most 50,000.00 USD at once and 60,000.00 USD a day, 1.00 % dearer" in after[0][1]
    assert after[1][1] == "all of the WETH supplied may be sold"


async def test_check_says_that_there_is_no_deleverager(devnet: Devnet, tmp_path: Path) -> None:
    nowhere = await _checked(settings_for(devnet, tmp_path, Address("0x" + "77" * 20)))
    settings = settings_for(devnet, tmp_path, Address("0x" + "77" * 20))
    chain = settings.chains["devnet"].model_copy(update={"deleverager": None})
    none = await _checked(settings.model_copy(update={"chains": {"devnet": chain}}))

    assert nowhere[0][2] == f"is there a deleverager of ours at 0x{'77' * 20}?"
    assert none == [
        (
            "warning",
            "no deleverager is configured",
            "deploy one with `keeper deploy-deleverager`",
        )
    ]


async def _borrower(devnet: Devnet) -> tuple[Address, int]:
    """Somebody with WETH supplied and USDC owed, and how much is owed."""
    there = devnet.deployment
    weth, usdc = there.reserve("WETH"), there.reserve("USDC")
    call = devnet.deployer.call
    for borrower in there.borrowers:
        owed = int(
            await call(usdc.variable_debt_token, "TestnetERC20", "balanceOf", borrower.address)
        )
        held = int(await call(weth.a_token, "TestnetERC20", "balanceOf", borrower.address))
        if owed > 500 * 10**6 and held > 10**18:
            return borrower.address, owed
    raise AssertionError("nobody owes dollars against Ether")


@pytest.fixture(params=["devnet", "devnet_v3_0"])
def either(request: pytest.FixtureRequest) -> Devnet:
    """Both ends of the revisions: 3.6 and 3.0.2."""
    found: Devnet = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("part", [1, 3])
async def test_a_borrower_deleverages_without_a_mandate_at_both_ends_of_the_revisions(
    either: Devnet, part: int
) -> None:
    devnet, there = either, either.deployment
    contract = await deployed(devnet)
    borrower, owed = await _borrower(devnet)
    weth, usdc = there.reserve("WETH"), there.reserve("USDC")
    await devnet.anvil.set_balance(borrower, 10**18)
    await devnet.as_account(borrower, weth.a_token, "IAToken", "approve", contract, UINT256_MAX)
    repay = owed // part + (0 if part > 1 else owed // 1_000)
    hop = Hop(token_in=weth.asset, token_out=usdc.asset, fee=500)
    order = Order(
        intent_id="0123456789abcdef",
        pool=there.pool,
        account=borrower,
        collateral=weth.asset,
        debt=usdc.asset,
        repay=repay,
        max_sold=10**24,
        min_health=WAD,
        deadline=await devnet.anvil.timestamp() + 1_000,
        path=encode_path([hop]),
    )
    had, debt, *_, before = await devnet.account_data(borrower)
    spare = int(await devnet.deployer.call(usdc.asset, "TestnetERC20", "balanceOf", borrower))

    sent = await devnet.anvil.send(borrower, contract, encode_order(order), gas=3_000_000)
    receipt = await until_mined(devnet.anvil, sent)

    has, left, *_, after = await devnet.account_data(borrower)
    returned = int(await devnet.deployer.call(usdc.asset, "TestnetERC20", "balanceOf", borrower))
    owes = int(
        await devnet.deployer.call(usdc.variable_debt_token, "TestnetERC20", "balanceOf", borrower)
    )
    assert receipt["status"] == "0x1"
    assert after > before
    # a pool of 0.05 %, its price a little off the oracle's, and at most a thousandth returned
    assert 0 < had - has <= (debt - left) * 1_005 // 1_000
    if part == 1:
        assert owes == 0
        assert 0 < returned - spare <= owed // 1_000
    else:
        assert owes == pytest.approx(owed - repay, rel=1e-6)
        assert returned == spare
    assert await _left(devnet, contract) == {0}
    message = {"from": borrower, "to": contract, "data": "0x" + encode_order(order).hex()}
    with pytest.raises(RpcError) as caught:
        await devnet.anvil.rpc("eth_call", message, "latest")
    assert words(bytes.fromhex((caught.value.data or "")[2:])).startswith("intent used")
