"""Our numbers against the deployed Aave v3.6 and v3.0.2: wei for wei, or the test fails.

The contract's answers come by plain calls and `eth_simulateV1`, decoded by eth_abi; ours come from
the adapter's own packed reads.  Nothing is shared but the chain.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.errors import ConfigError
from keeper.model import (
    Address,
    Assessed,
    BlockRef,
    Hash,
    Holdings,
    IntentKind,
    Liquidation,
    Log,
    MarketId,
    Side,
    Unassessable,
)
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.liquidation import largest, most_debt
from keeper.protocols.aave_v3.view import _pair
from keeper.risk.book import Book
from keeper.risk.exact import endangered
from keeper.units import RAY, UINT256_MAX, WAD, Raw, Wad
from tests.chain.differential import (
    MUST_NOT_LEAVE_DUST,
    Seen,
    approve_everything,
    assert_equal_to_the_pool,
    block_of,
    health_after,
    intent,
    liquidated,
    run,
    see,
    simulate,
)

pytestmark = pytest.mark.chain


# --- tests ------------------------------------------------------------------------------------


async def test_the_market_is_discovered_from_its_provider_alone(devnet: Devnet) -> None:
    seen = await see(devnet)

    there = devnet.deployment
    assert seen.market.rules.release == "3.6"
    assert (seen.market.pool, seen.market.oracle, seen.market.configurator) == (
        there.pool,
        there.oracle,
        there.configurator,
    )
    assert seen.market.sentinel is None
    assert seen.market.base_unit == 10**8
    assert [
        (r.id, r.asset.symbol, r.asset.decimals, r.asset.address, r.a_token, r.debt_token, r.source)
        for r in seen.market.reserves
    ] == [
        (r.reserve, r.symbol, r.decimals, r.asset, r.a_token, r.variable_debt_token, r.source)
        for r in there.reserves
    ]
    assert [e.label for e in seen.market.e_modes.values()] == ["ETH correlated"]


@pytest.mark.parametrize("wrong", ["pool", "oracle", "nothing"])
async def test_what_is_not_a_provider_is_said_in_a_sentence(devnet: Devnet, wrong: str) -> None:
    address = {
        "pool": devnet.deployment.pool,
        "oracle": devnet.deployment.oracle,
        "nothing": Address("0x" + "5" * 40),
    }[wrong]
    adapter = AaveV3(MarketId(chain_id=31337, name="mine", protocol="aave_v3"), address)

    with pytest.raises(ConfigError, match=f"mine: {address} on chain 31337 is not the Pool"):
        await run(devnet.anvil, adapter.discover(), await block_of(devnet.anvil))


async def test_every_health_factor_is_the_pools_after_random_prices_and_times(
    either: Devnet,
) -> None:
    chance = random.Random(20261121)
    feeds = {f.name: Decimal(f.price) for f in either.deployment.feeds}
    for _ in range(8):
        moved = {
            name: (price * Decimal(repr(chance.uniform(0.55, 1.35)))).quantize(Decimal("1e-8"))
            for name, price in feeds.items()
        }
        await either.anvil.increase_time(chance.choice((1, 13, 3_601, 86_400, 40_000_000)))
        await either.push_prices(moved)

        assert (
            await assert_equal_to_the_pool(either, await see(either)) == len(either.borrowers) - 1
        )


async def test_indices_are_accrued_to_the_last_digit(either: Devnet) -> None:
    """Health factors hide the last digits of an index; the Pool tells them, at high rates too."""
    there, abi = either.deployment, either.artifacts.get("IPool")
    whale = there.account("whale").address
    for symbol in ("USDC", "DAI"):
        r = there.reserve(symbol)
        cash = await either.deployer.call(r.asset, "TestnetERC20", "balanceOf", r.a_token)
        out = cash - cash // 100_000
        await either.as_account(whale, there.pool, "IPool", "withdraw", r.asset, out, whale)
    seen, chance = await see(either), random.Random(20261121)
    assert max(s.debt_rate for s in seen.observed.reserves) > RAY // 5
    for elapsed_s in (1, 2, 3, 12, *(int(10 ** chance.uniform(1, 8.3)) for _ in range(60))):
        at = seen.block.timestamp + elapsed_s
        view = seen.view(at)
        asked = [
            (whale, there.pool, encode_call(abi, function, reserve.asset.address))
            for reserve in seen.market.reserves
            for function in ("getReserveNormalizedIncome", "getReserveNormalizedVariableDebt")
        ]
        said = await simulate(either, at, *asked)

        assert [int(x["returnData"], 16) for x in said] == [
            index
            for reserve in seen.market.reserves
            for now in (view.reserves[reserve.id],)
            for index in (now.liquidity_index, now.debt_index)
        ]


async def test_it_stays_equal_when_governance_changes_thresholds_and_e_modes(
    devnet: Devnet,
) -> None:
    there, admin = devnet.deployment, devnet.deployment.account("deployer").address

    async def configure(function: str, *arguments: Any) -> None:
        await devnet.as_account(
            admin, there.configurator, "PoolConfiguratorInstance", function, *arguments
        )

    weth, wsteth = there.reserve("WETH").asset, there.reserve("wstETH").asset
    await configure("configureReserveAsCollateral", weth, 7_001, 7_777, 10_633)
    await configure("setEModeCategory", 1, 8_111, 8_888, 10_123, "ETH")
    assert await assert_equal_to_the_pool(devnet, await see(devnet)) == 59
    await configure("setEModeCategory", 231, 7_111, 8_011, 10_323, "far away")
    await configure("setAssetLtvzeroInEMode", wsteth, 1, True)
    assert await assert_equal_to_the_pool(devnet, await see(devnet)) == 59
    await configure("setAssetLtvzeroInEMode", wsteth, 1, False)
    await configure("setAssetCollateralInEMode", wsteth, 1, False)

    seen = await see(devnet)

    assert sorted(seen.market.e_modes) == [1, 231]
    assert await assert_equal_to_the_pool(devnet, seen) == 59


async def crash(devnet: Devnet, eth: str, btc: str) -> Seen:
    for name, left in (("ETH/USD", eth), ("BTC/USD", btc)):
        price = (await devnet.price(name) * Decimal(left)).quantize(Decimal("1e-8"))
        await devnet.push_price(name, price)
    return await see(devnet)


@pytest.mark.parametrize(("eth", "btc"), [("0.937", "0.951"), ("0.83", "0.9"), ("0.6", "0.7")])
async def test_every_liquidation_takes_and_gives_what_we_say(
    either: Devnet, eth: str, btc: str
) -> None:
    keeper = await approve_everything(either)
    seen = await crash(either, eth, btc)
    at = seen.block.timestamp + 12
    view, tried = seen.view(at), 0
    for account, holdings in seen.holdings.items():
        for of in view.liquidations(holdings):
            for cut in (of, view.liquidation_at_most(holdings, of, Raw(of.debt_to_cover // 3 + 1))):
                if cut is None:
                    continue
                covered, seized = await liquidate(either, keeper, at, seen, account, cut)

                assert (covered, seized) == (cut.debt_to_cover, cut.seized)
                tried += 1
    assert tried > 3


async def liquidate(
    devnet: Devnet, keeper: Address, at: int, seen: Seen, account: Address, of: Liquidation
) -> tuple[int, int]:
    wanted = intent(
        IntentKind.LIQUIDATE,
        account,
        seen,
        asset=of.debt.asset,
        amount=of.amount,
        collateral=of.collateral.asset,
    )
    (result,) = await simulate(devnet, at, (keeper, *seen.view(at).encode(wanted)))
    return liquidated(result)


async def test_a_whole_liquidation_moves_the_balances_we_say(either: Devnet) -> None:
    keeper = await approve_everything(either)
    seen = await crash(either, "0.7", "0.7")
    at = seen.block.timestamp + 12
    view = seen.view(at)
    of, holdings = max(
        ((found[0], h) for h in seen.holdings.values() if (found := view.liquidations(h))),
        key=lambda pair: pair[0].profit,
    )
    target, data = view.encode(
        intent(
            IntentKind.LIQUIDATE,
            holdings.account,
            seen,
            asset=of.debt.asset,
            amount=of.amount,
            collateral=of.collateral.asset,
        )
    )
    before = await run(
        either.anvil, seen.adapter.inventory(seen.market, keeper, seen.block), seen.block
    )

    await either.anvil.set_time(at)
    sent = await either.anvil.send(keeper, target, data)
    while await either.anvil.receipt(sent) is None:
        await either.anvil.mine()

    block = await block_of(either.anvil)
    after = await run(either.anvil, seen.adapter.inventory(seen.market, keeper, block), block)
    paid, got = of.debt.asset.address, of.collateral.asset.address
    assert block.timestamp == at
    assert before.balances[paid] - after.balances[paid] == of.debt_to_cover
    assert after.balances[got] - before.balances[got] == of.seized
    assert of.profit > 0


async def test_a_wei_more_than_the_largest_part_leaves_dust(devnet: Devnet) -> None:
    """At the contract's own bound, with no margin of ours."""
    keeper = await approve_everything(devnet)
    seen = await crash(devnet, "0.8", "0.9")
    at = seen.block.timestamp + 12
    view, rules, tried = seen.view(at), seen.market.rules, 0
    for account, holdings in seen.holdings.items():
        valued = view._account(holdings)
        for c in valued.held:
            for d in valued.held:
                if view._illegal(valued, c, d):
                    continue
                pair = _pair(c, d)
                most = most_debt(rules, pair, valued.health_factor, valued.debt)
                # just short of everything: only a part may be taken then
                part = largest(rules, pair, Raw(min(most, pair.debt - 1)))
                if part is None or part.debt >= min(most, pair.debt - 1):
                    continue
                if part.seized + part.fee >= pair.collateral:
                    continue
                for amount, legal in ((part.debt, True), (part.debt + 1, False)):
                    call = seen.view(at).encode(
                        intent(
                            IntentKind.LIQUIDATE,
                            account,
                            seen,
                            asset=d.leg.asset,
                            amount=Raw(amount),
                            collateral=c.leg.asset,
                        )
                    )
                    (result,) = await simulate(devnet, at, (keeper, *call))

                    assert (result["status"] == "0x1") is legal, (result, pair, part)
                    if not legal:
                        assert MUST_NOT_LEAVE_DUST in str(result)
                tried += 1
    assert tried > 0


async def test_what_we_call_healthy_the_pool_refuses_to_liquidate(either: Devnet) -> None:
    keeper = await approve_everything(either)
    seen = await crash(either, "0.9", "0.9")
    at = seen.block.timestamp + 12
    view = seen.view(at)
    for account, holdings in seen.holdings.items():
        assessed = view.assess(holdings)
        assert isinstance(assessed, Assessed)
        debts = [x for x in assessed.legs if x.side is Side.DEBT]
        collaterals = [x for x in assessed.legs if x.side is Side.COLLATERAL]
        if not debts:
            continue
        call = encode_call(
            either.artifacts.get("IPool"),
            "liquidationCall",
            collaterals[0].asset.address,
            debts[0].asset.address,
            account,
            UINT256_MAX,
            False,
        )
        (result,) = await simulate(either, at, (keeper, either.deployment.pool, call))

        healthy = assessed.health_factor >= WAD
        assert bool(view.liquidations(holdings)) is not healthy
        if healthy:
            assert result["status"] == "0x0"


async def test_the_least_supply_reaches_the_target_and_a_wei_less_does_not(
    either: Devnet,
) -> None:
    keeper = await approve_everything(either)
    seen = await see(either)
    at = seen.block.timestamp + 12
    view, tried = seen.view(at), 0
    for account, holdings in list(seen.holdings.items())[:25]:
        assessed = view.assess(holdings)
        assert isinstance(assessed, Assessed)
        if assessed.debt == 0:
            continue
        target = Wad(assessed.health_factor * 1_037 // 1_000 + 13)
        for leg in assessed.legs:
            if leg.side is not Side.COLLATERAL or leg.asset.symbol == "XIS":
                continue
            least = view.supply_to_reach(holdings, leg, target)
            assert least
            for amount, reaches in ((least, True), (least - 1, False)):
                wanted = intent(
                    IntentKind.TOP_UP, account, seen, asset=leg.asset, amount=Raw(amount)
                )
                after = await health_after(either, keeper, at, account, view.encode(wanted))

                assert (after >= target) is reaches
            tried += 1
    assert tried > 20


async def test_the_least_repayment_reaches_the_target_and_a_wei_less_does_not(
    either: Devnet,
) -> None:
    keeper = await approve_everything(either)
    seen = await see(either)
    at = seen.block.timestamp + 12
    view, tried = seen.view(at), 0
    for account, holdings in list(seen.holdings.items())[:25]:
        assessed = view.assess(holdings)
        assert isinstance(assessed, Assessed)
        if assessed.debt == 0:
            continue
        target = Wad(assessed.health_factor * 1_037 // 1_000 + 13)
        for leg in (x for x in assessed.legs if x.side is Side.DEBT):
            least = view.repay_to_reach(holdings, leg, target)
            assert least
            for amount, reaches in ((least, True), (least - 1, False)):
                wanted = intent(
                    IntentKind.REPAY, account, seen, asset=leg.asset, amount=Raw(amount)
                )
                after = await health_after(either, keeper, at, account, view.encode(wanted))

                assert (after >= target) is reaches
            tried += 1
    assert tried > 20


async def test_repaying_the_whole_balance_leaves_no_debt(either: Devnet) -> None:
    keeper = await approve_everything(either)
    seen = await see(either)
    at = seen.block.timestamp + 12
    alice = either.deployment.account("alice").address
    view, holdings = seen.view(at), seen.holdings[alice]
    assessed = view.assess(holdings)
    assert isinstance(assessed, Assessed)
    debt = next(x for x in assessed.legs if x.side is Side.DEBT)
    whole = view.repay_to_reach(holdings, debt, Wad(UINT256_MAX))

    wanted = intent(IntentKind.REPAY, alice, seen, asset=debt.asset, amount=whole)
    after = await health_after(either, keeper, at, alice, view.encode(wanted))

    assert whole == debt.balance
    assert after == UINT256_MAX


async def test_at_the_liquidation_price_the_health_factor_is_one(devnet: Devnet) -> None:
    seen = await see(devnet)
    alice = devnet.deployment.account("alice").address
    view, holdings = seen.view(), seen.holdings[alice]
    assessed = view.assess(holdings)
    assert isinstance(assessed, Assessed)
    leg = next(x for x in assessed.legs if x.side is Side.COLLATERAL)
    price = view.liquidation_price(holdings, leg)
    assert price is not None
    feed_price = Decimal(price) / 10**8
    await devnet.anvil.set_time(seen.block.timestamp + 1)

    await devnet.push_price("ETH/USD", feed_price)

    # a second of interest: the health factor is 1 less a few hundred-millionths
    health = (await devnet.account_data(alice))[5]
    assert WAD - 10**10 < health <= WAD + 10**10


async def test_a_book_fed_by_logs_is_a_book_read_afresh(devnet: Devnet) -> None:
    """Transfers, flags, e-modes, borrows, repayments and liquidations, each in a block."""
    keeper = await approve_everything(devnet)
    seen = await see(devnet)
    book = Book()
    for holdings in seen.holdings.values():
        book.put(holdings)
    pool, there = devnet.deployment.pool, devnet.deployment
    alice, bob = (there.account(n).address for n in ("alice", "bob"))
    weth, usdc, dai = (there.reserve(s) for s in ("WETH", "USDC", "DAI"))
    acts: list[tuple[str, str, str, str, tuple[Any, ...]]] = [
        (alice, weth.a_token, "TestnetERC20", "transfer", (bob, 10**17)),
        (alice, pool, "IPool", "borrow", (dai.asset, 10**18, 2, 0, alice)),
        (keeper, pool, "IPool", "repay", (dai.asset, UINT256_MAX - 1, 2, alice)),
        (keeper, pool, "IPool", "supply", (usdc.asset, 10**9, alice, 0)),
        (alice, pool, "IPool", "setUserUseReserveAsCollateral", (usdc.asset, True)),
        (keeper, pool, "IPool", "supply", (weth.asset, 10**18, keeper, 0)),
        (keeper, pool, "IPool", "setUserUseReserveAsCollateral", (weth.asset, True)),
        (keeper, pool, "IPool", "setUserEMode", (1,)),
        (keeper, pool, "IPool", "borrow", (weth.asset, 10**17, 2, 0, keeper)),
        (keeper, pool, "IPool", "liquidationCall", (weth.asset, usdc.asset, alice, 10**9, False)),
    ]
    surprises = 0
    for sender, to, contract, function, given in acts:
        arguments = given
        if function == "liquidationCall":
            await devnet.push_price("ETH/USD", "2700")
        if function == "repay":
            debt = await devnet.deployer.call(
                dai.variable_debt_token, "TestnetERC20", "balanceOf", alice
            )
            arguments = (dai.asset, debt + 10**15, 2, alice)
        await devnet.as_account(sender, to, contract, function, *arguments)
        block = await block_of(devnet.anvil)
        touched = seen.adapter.touched(seen.market, await logs_of(devnet, seen, block))
        wanted = touched.borrowers | frozenset(
            a for a in touched.accounts if book.get(a) is not None
        )
        steps = seen.adapter.observe(seen.market, tuple(wanted), book.get)
        observed = await run(devnet.anvil, steps, block)
        for holdings in observed.holdings:
            surprises += book.get(holdings.account) != holdings
            book.put(holdings)

    fresh = await run(
        devnet.anvil,
        seen.adapter.observe(seen.market, tuple(book.accounts()), lambda _: None),
        block,
    )
    assert surprises == 7
    assert len(book) == len(seen.holdings) + 1
    for holdings in fresh.holdings:
        assert book.get(holdings.account) == holdings


async def logs_of(devnet: Devnet, seen: Seen, block: BlockRef) -> tuple[Log, ...]:
    wanted = seen.adapter.log_filter(seen.market)
    said = await devnet.anvil.rpc(
        "eth_getLogs",
        {
            "blockHash": block.hash,
            "address": list(wanted.addresses),
            "topics": [list(wanted.topics0)],
        },
    )
    return tuple(
        Log(
            address=Address(x["address"].lower()),
            topics=tuple(Hash(t) for t in x["topics"]),
            data=bytes.fromhex(x["data"][2:]),
            block_number=block.number,
            block_hash=block.hash,
            log_index=int(x["logIndex"], 16),
        )
        for x in said
    )


async def test_the_screen_misses_nobody_whom_the_pool_calls_unhealthy(either: Devnet) -> None:
    seen = await crash(either, "0.81", "0.85")
    book = Book()
    for holdings in seen.holdings.values():
        book.put(holdings)
    everyone = list(seen.holdings)
    theirs = await either.account_data_of(everyone, hex(seen.block.number))
    below = {a for a, data in zip(everyone, theirs, strict=True) if data[5] < WAD}

    found = set(endangered(book, seen.view().weights(), WAD))

    assert below
    assert found == below


async def test_one_failing_price_source_costs_only_those_who_use_it(devnet: Devnet) -> None:
    source = devnet.deployment.reserve("USDC").source
    await devnet.anvil.set_code(source, bytes.fromhex("60006000fd"))
    seen = await see(devnet)
    usdc = devnet.deployment.reserve("USDC").reserve
    view = seen.view()
    answers_ = {a: view.assess(h) for a, h in seen.holdings.items()}

    for account, holdings in seen.holdings.items():
        uses = any(e.reserve == usdc for e in holdings.entries)
        assert answers_[account].ok is not uses
    assert {x.ok for x in answers_.values()} == {True, False}


async def test_an_e_mode_with_a_price_of_its_own_is_computed_but_not_relied_upon(
    devnet_v3_0: Devnet,
) -> None:
    """Up to 3.1 a category may price its assets itself; nobody watches that source's age."""
    there, admin = devnet_v3_0.deployment, devnet_v3_0.deployment.account("deployer").address
    await devnet_v3_0.as_account(
        admin,
        there.configurator,
        "v3.0.2/PoolConfigurator",
        "setEModeCategory",
        *(1, 9_000, 9_300, 10_100, there.reserve("WBTC").asset, "BTC for ETH"),
    )
    seen = await see(devnet_v3_0)
    users = [h for h in seen.holdings.values() if h.e_mode == 1]
    theirs = await devnet_v3_0.account_data_of([h.account for h in users], hex(seen.block.number))
    view = seen.view()

    assert users
    for holdings, data in zip(users, theirs, strict=True):
        ours = view.contract_health(holdings)
        assert (ours.collateral, ours.debt, ours.health_factor) == (data[0], data[1], data[5])
        assessed = view.assess(holdings)
        assert isinstance(assessed, Unassessable)
        assert "a source of its own" in assessed.reason
    assert await assert_equal_to_the_pool_but(devnet_v3_0, seen, users) > 10


async def assert_equal_to_the_pool_but(
    devnet: Devnet, seen: Seen, left_out: Sequence[Holdings]
) -> int:
    others = [h for h in seen.holdings.values() if h not in left_out]
    return await assert_equal_to_the_pool(
        devnet, replace(seen, observed=replace(seen.observed, holdings=tuple(others)))
    )


async def test_a_stable_rate_debt_is_unreadable_and_not_ignored(devnet_v3_0: Devnet) -> None:
    """A stand-in balance under the stable debt token: the devnet lends at variable rates only."""
    seen = await see(devnet_v3_0)
    alice = devnet_v3_0.deployment.account("alice").address
    usdc = next(r for r in seen.market.reserves if r.asset.symbol == "USDC")
    assert usdc.stable_debt_token is not None
    # any call answers 5: PUSH1 5, PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN
    await devnet_v3_0.anvil.set_code(usdc.stable_debt_token, bytes.fromhex("600560005260206000f3"))

    steps = seen.adapter.observe(seen.market, (alice,), lambda _: None)
    observed = await run(devnet_v3_0.anvil, steps, seen.block)

    assert observed.holdings == ()
    assert "stable-rate debt" in observed.unreadable[0][1]


async def test_interest_alone_takes_as_long_as_the_pool_says(either: Devnet) -> None:
    """The nearest of all borrowers: healthy a second before, below at the second."""
    seen = await crash(either, "0.81", "0.85")
    view = seen.view()
    times = {
        account: seconds
        for account, holdings in seen.holdings.items()
        if (seconds := view.seconds_to_liquidation(holdings, within_s=10**11))
    }
    account = min(times, key=lambda a: times[a])

    answers_ = []
    for before in (1, 0):
        snapshot = await either.anvil.snapshot()
        then = seen.block.timestamp + times[account] - before
        await either.anvil.rpc("evm_setNextBlockTimestamp", then)
        await either.anvil.rpc("evm_mine")
        assert (await block_of(either.anvil)).timestamp == then
        [data] = await either.account_data_of([account])
        answers_.append(data[5] >= WAD)
        await either.anvil.revert(snapshot)

    assert answers_ == [True, False]
