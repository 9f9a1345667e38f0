"""What a Pool is seldom in: prices of zero, dropped reserves, bad debt.  To the wei, or it fails.

Each by the deployed contracts' own functions; every account is compared before and after.
"""

from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import until_mined
from keeper.devnet.deployer import ZERO
from keeper.devnet.implant import layout
from keeper.devnet.network import Devnet
from keeper.errors import BadAnswer, RpcError
from keeper.model import Address, Assessed, Holdings, IntentKind, Side, Unassessable
from keeper.risk.book import Book
from keeper.risk.exact import below, endangered
from keeper.units import UINT256_MAX, WAD
from tests.chain.differential import Seen, approve_everything, block_of, intent, run, see
from tests.chain.test_aave_v3_differential import logs_of
from tests.chain.watching import differences_from_the_pool, settings_of, watching

pytestmark = pytest.mark.chain

WETH = 0
Data = tuple[int, int, int]
"""Collateral, debt, health factor."""


# --- the Pool's answer and ours ---------------------------------------------------------------


async def theirs(devnet: Devnet, account: Address, block: str) -> Data | None:
    """What the Pool answers; None where it reverts."""
    try:
        [data] = await devnet.account_data_of([account], block)
    except RpcError:
        return None
    return data[0], data[1], data[5]


def ours(seen: Seen, holdings: Holdings) -> Data | None:
    try:
        health = seen.view().contract_health(holdings)
    except BadAnswer:
        return None
    return health.collateral, health.debt, health.health_factor


async def assert_equal(devnet: Devnet, seen: Seen) -> dict[Address, Data | None]:
    """Compare everybody, reverts with reverts; return the answers."""
    said = {}
    for account, holdings in seen.holdings.items():
        said[account] = await theirs(devnet, account, hex(seen.block.number))
        assert ours(seen, holdings) == said[account], holdings
    return said


def known(data: Data | None) -> Data:
    assert data is not None, "the Pool reverted"
    return data


def users(seen: Seen, reserve: int) -> set[Address]:
    return {a for a, h in seen.holdings.items() if any(e.reserve == reserve for e in h.entries)}


def book_of(seen: Seen) -> Book:
    book = Book()
    for holdings in seen.holdings.values():
        book.put(holdings)
    return book


# --- prices of zero ---------------------------------------------------------------------------


async def fixed(devnet: Devnet, answer: int) -> Address:
    return await devnet.deployer.deploy("FixedPrice", answer, "ETH / USD, fixed")


async def price_weth_by(devnet: Devnet, source: Address) -> None:
    there, admin = devnet.deployment, devnet.deployment.account("deployer").address
    weth = there.reserve("WETH").asset
    await devnet.as_account(admin, there.oracle, "AaveOracle", "setAssetSources", [weth], [source])


async def fall_back_on(devnet: Devnet, answer: int) -> None:
    """Give the market's oracle a fallback: another AaveOracle, which prices WETH alone."""
    there, admin = devnet.deployment, devnet.deployment.account("deployer").address
    weth, source = there.reserve("WETH").asset, await fixed(devnet, answer)
    fallback = await devnet.deployer.deploy(
        "AaveOracle", there.addresses_provider, [weth], [source], ZERO, ZERO, 10**8
    )
    await devnet.as_account(admin, there.oracle, "AaveOracle", "setFallbackOracle", fallback)


@pytest.mark.parametrize("answer", [0, -5])
async def test_a_price_of_nothing_is_the_fallbacks_where_there_is_one(
    either: Devnet, answer: int
) -> None:
    before = await assert_equal(either, await see(either))
    await fall_back_on(either, 301_123_456_789)
    await price_weth_by(either, await fixed(either, answer))

    seen = await see(either)
    after = await assert_equal(either, seen)

    assert seen.observed.prices[WETH] == 301_123_456_789
    assert None not in after.values()
    moved = {a for a in before if before[a] != after[a]}
    assert users(seen, WETH) <= moved
    sick = {a for a, data in after.items() if data is not None and data[2] < WAD}
    assert set(endangered(book_of(seen), seen.view().weights(), WAD)) == sick
    assert sick


@pytest.mark.parametrize("answer", [0, -5])
async def test_without_a_fallback_nobody_can_value_its_users_and_we_say_so(
    either: Devnet, answer: int
) -> None:
    await price_weth_by(either, await fixed(either, answer))

    seen = await see(either)
    said = await assert_equal(either, seen)

    lost, view = users(seen, WETH), seen.view()
    assert {a for a, data in said.items() if data is None} == lost
    assert 0 < len(lost) < len(said)
    for account, holdings in seen.holdings.items():
        assessed = view.assess(holdings)
        if account not in lost:
            assert isinstance(assessed, Assessed)
            continue
        assert isinstance(assessed, Unassessable)
        assert assessed.reason == "WETH: the protocol's oracle does not answer"
        assert view.liquidations(holdings) == ()
    found = endangered(book_of(seen), view.weights(), WAD)
    flagged = below(book_of(seen), view, found, WAD)
    assert {a.position.account for a in flagged} == lost
    assert not any(isinstance(a, Assessed) for a in flagged)


async def test_a_fallback_that_says_nothing_either_makes_worthless_what_is_not_relied_upon(
    either: Devnet,
) -> None:
    """The Pool then counts with zero: what is owed in it is owed no more, what backs is gone."""
    await fall_back_on(either, 0)
    await price_weth_by(either, await fixed(either, 0))
    # The fallback has no fallback: it reverts.  One whose source is not asked answers zero.
    assert await weth_price(either) is None
    answers_zero = bytes.fromhex("60006000526020" + "6000f3")  # MSTORE(0, 0), RETURN(0, 32)
    stand_in = Address("0x" + "fa" * 20)
    await either.anvil.set_code(stand_in, answers_zero)
    there, admin = either.deployment, either.deployment.account("deployer").address
    await either.as_account(admin, there.oracle, "AaveOracle", "setFallbackOracle", stand_in)

    seen = await see(either)
    said = await assert_equal(either, seen)

    assert seen.observed.prices[WETH] == 0
    assert None not in said.values()
    assert any(data is not None and data[2] == 0 for data in said.values())
    view = seen.view()
    for account in users(seen, WETH):
        assessed = view.assess(seen.holdings[account])
        assert isinstance(assessed, Unassessable)
        assert assessed.reason == "WETH: the protocol's oracle answers 0"
        assert view.liquidations(seen.holdings[account]) == ()


async def weth_price(devnet: Devnet) -> int | None:
    there = devnet.deployment
    asset = there.reserve("WETH").asset
    try:
        price: int = await devnet.deployer.call(there.oracle, "AaveOracle", "getAssetPrice", asset)
    except RpcError:
        return None
    return price


@pytest.mark.parametrize("fallback", [None, 301_123_456_789])
async def test_the_engine_goes_on_and_says_what_the_pool_says_until_the_price_is_back(
    devnet: Devnet, tmp_path: Path, fallback: int | None
) -> None:
    there = devnet.deployment
    nothing, back = await fixed(devnet, 0), there.reserve("WETH").source
    if fallback is not None:
        await fall_back_on(devnet, fallback)
    admin, weth = there.account("deployer").address, there.reserve("WETH").asset

    async def price_by(source: Address) -> None:
        oracle = devnet.artifacts.get("AaveOracle")
        data = encode_call(oracle, "setAssetSources", [weth], [source])
        await devnet.anvil.send(admin, there.oracle, data)

    async with watching(devnet, settings_of(devnet, tmp_path)) as here:
        held = here.holdings
        lost = {a for a, h in held.items() if any(e.reserve == WETH for e in h.entries)}
        before = {a.position.account for a in here.passes[-1].assessments}
        await price_by(nothing)
        without = await here.tick()
        block = hex(without.block.number)
        said = {a: await theirs(devnet, a, block) for a in held}
        await price_by(back)
        await here.tick()
        again = await here.tick()
        different = await differences_from_the_pool(here)

    assert 0 < len(lost) < len(held)
    unknown = {a.position.account for a in without.assessments if not a.ok}
    assert unknown == {a for a, data in said.items() if data is None}
    assert unknown == (lost if fallback is None else set())
    assessed = {a.position.account: a for a in without.assessments if isinstance(a, Assessed)}
    for account, data in said.items():
        if data is not None and data[2] < WAD:
            ours = assessed[account]
            assert (ours.collateral, ours.debt, ours.health_factor) == data
    assert bool(assessed) is (fallback is not None)
    assert different == []
    assert {a.position.account for a in again.assessments} == before


# --- a reserve that is dropped ----------------------------------------------------------------


async def empty(devnet: Devnet, symbol: str) -> list[Address]:
    """Repay what its suppliers owe and withdraw all of it; return those who had it."""
    there, pool = devnet.deployment, devnet.deployment.pool
    reserve, whale = there.reserve(symbol), there.account("whale").address
    seen, had = await see(devnet), []
    for account in sorted(users(seen, reserve.reserve)):
        had.append(account)
        for entry in seen.holdings[account].entries:
            if entry.side is Side.DEBT:
                owed = next(r for r in there.reserves if r.reserve == entry.reserve)
                debt = await devnet.deployer.call(
                    owed.variable_debt_token, "TestnetERC20", "balanceOf", account
                )
                await devnet.as_account(
                    whale, pool, "IPool", "repay", owed.asset, debt * 2, 2, account
                )
        await devnet.as_account(
            account, pool, "IPool", "withdraw", reserve.asset, UINT256_MAX, account
        )
    supplied = await devnet.deployer.call(reserve.a_token, "TestnetERC20", "balanceOf", whale)
    if supplied:
        await devnet.as_account(whale, pool, "IPool", "withdraw", reserve.asset, UINT256_MAX, whale)
    return had


async def test_a_dropped_reserve_leaves_everybody_as_the_pool_has_him(devnet: Devnet) -> None:
    there, admin = devnet.deployment, devnet.deployment.account("deployer").address
    xis, whale = there.reserve("XIS"), there.account("whale").address
    had = await empty(devnet, "XIS")
    # they go on with another collateral, so that there is something to compare
    weth, usdc = there.reserve("WETH").asset, there.reserve("USDC").asset
    for account in had:
        await devnet.as_account(whale, there.pool, "IPool", "supply", weth, 10**18, account, 0)
        use = (weth, True)
        await devnet.as_account(account, there.pool, "IPool", "setUserUseReserveAsCollateral", *use)
        borrowed = (usdc, 1_234_567_891, 2, 0, account)
        await devnet.as_account(account, there.pool, "IPool", "borrow", *borrowed)
    listed = await see(devnet)
    before = await assert_equal(devnet, listed)
    block = await drop(devnet, xis.asset, admin)
    touched = listed.adapter.touched(listed.market, await logs_of(devnet, listed, block))
    assert touched.parameters

    seen = await see(devnet)
    after = await assert_equal(devnet, seen)

    assert had
    assert [r.asset.symbol for r in listed.market.reserves if r not in seen.market.reserves] == [
        "XIS"
    ]
    assert xis.reserve not in {r.id for r in seen.market.reserves}
    assert all(before[a] is not None and after[a] is not None for a in had)
    assert {a: h.entries for a, h in seen.holdings.items()} == {
        a: h.entries for a, h in listed.holdings.items()
    }


async def drop(devnet: Devnet, asset: Address, admin: Address) -> Any:
    configurator = devnet.deployment.configurator
    await devnet.as_account(admin, configurator, "PoolConfiguratorInstance", "dropReserve", asset)
    return await block_of(devnet.anvil)


@pytest.mark.parametrize("bit", [0, 1])
async def test_a_flag_that_outlives_its_reserve_counts_for_nothing(
    devnet: Devnet, bit: int
) -> None:
    """As left behind by what no path of 3.6 leaves behind: written into the Pool's storage."""
    there, admin = devnet.deployment, devnet.deployment.account("deployer").address
    xis, alice = there.reserve("XIS"), there.account("alice").address
    await empty(devnet, "XIS")
    await drop(devnet, xis.asset, admin)
    before = await assert_equal(devnet, await see(devnet))
    place = (await layout(devnet)).bitmaps
    slot = int.from_bytes(
        keccak(bytes(12) + bytes.fromhex(alice[2:]) + place.to_bytes(32, "big")), "big"
    )
    word = int(await devnet.anvil.rpc("eth_getStorageAt", there.pool, hex(slot), "latest"), 16)
    assert word
    await devnet.anvil.set_storage_at(there.pool, slot, word | 1 << (2 * xis.reserve + bit))
    await devnet.anvil.mine()

    seen = await see(devnet)
    after = await assert_equal(devnet, seen)

    was, has = known(before[alice])[0], known(after[alice])[0]
    assert was <= has < was + was // 10**6  # by what the seconds in between earn
    assert xis.reserve not in {e.reserve for e in seen.holdings[alice].entries}


# --- bad debt ---------------------------------------------------------------------------------


async def deficits(devnet: Devnet) -> dict[str, int]:
    there = devnet.deployment
    return {
        r.symbol: await devnet.deployer.call(there.pool, "IPool", "getReserveDeficit", r.asset)
        for r in there.reserves
    }


async def owing_in_two(devnet: Devnet) -> Address:
    """Make alice owe DAI too: a second debt, which no liquidator will touch."""
    there, alice = devnet.deployment, devnet.deployment.account("alice").address
    dai = there.reserve("DAI").asset
    await devnet.as_account(alice, there.pool, "IPool", "borrow", dai, 13 * 10**18 + 7, 2, 0, alice)
    return alice


async def test_bad_debt_is_burned_with_the_last_collateral_and_its_deficit_eliminated(
    devnet: Devnet,
) -> None:
    there, keeper = devnet.deployment, await approve_everything(devnet)
    alice = await owing_in_two(devnet)
    await devnet.push_price("ETH/USD", "611.13")
    seen = await see(devnet)
    before = await assert_equal(devnet, seen)
    holdings, book = seen.holdings[alice], book_of(seen)
    assert [(e.reserve, e.side) for e in holdings.entries] == [
        (there.reserve("WETH").reserve, Side.COLLATERAL),
        (there.reserve("USDC").reserve, Side.DEBT),
        (there.reserve("DAI").reserve, Side.DEBT),
    ]
    at = seen.block.timestamp + 12
    view = seen.view(at)
    of = next(x for x in view.liquidations(holdings) if x.debt.asset.symbol == "USDC")
    wanted = intent(
        IntentKind.LIQUIDATE,
        alice,
        seen,
        asset=of.debt.asset,
        amount=of.amount,
        collateral=of.collateral.asset,
    )
    owed = {
        leg.asset.symbol: leg.balance
        for leg in view._account(holdings).legs
        if leg.side is Side.DEBT
    }
    assert await deficits(devnet) == dict.fromkeys((r.symbol for r in there.reserves), 0)

    await devnet.anvil.set_time(at)
    sent = await devnet.anvil.send(keeper, *view.encode(wanted), gas=3_000_000)
    receipt = await until_mined(devnet.anvil, sent)  # by itself, in a block of its own

    # what was owed and not covered is the reserves' deficit, the untouched debt whole
    left = await deficits(devnet)
    assert left["USDC"] == owed["USDC"] - of.debt_to_cover
    assert left["DAI"] == owed["DAI"]
    after_block = await block_of(devnet.anvil, receipt["blockNumber"])
    assert after_block.timestamp == at
    # a book that only heard the logs knows that alice owes nothing any more
    logs = await logs_of(devnet, seen, after_block)
    untouched_debt = [x for x in logs if x.address == there.reserve("DAI").variable_debt_token]
    for some in (logs, untouched_debt):  # its own token says that it is gone
        assert alice in seen.adapter.touched(seen.market, some).accounts
    steps = seen.adapter.observe(seen.market, (alice,), book.get)
    [again] = (await run(devnet.anvil, steps, after_block)).holdings
    assert again.entries == ()
    after = await assert_equal(devnet, await see(devnet))
    assert after[alice] == (0, 0, UINT256_MAX)
    assert known(before[alice])[2] < WAD

    # the umbrella pays for it: nobody's health is another for it but by the seconds that pass
    umbrella, admin = there.account("whale").address, there.account("deployer").address
    name = b"UMBRELLA".ljust(32, b"\0")
    await devnet.as_account(
        admin, there.addresses_provider, "PoolAddressesProvider", "setAddress", name, umbrella
    )
    for symbol in ("USDC", "DAI"):
        paid = (there.reserve(symbol).asset, UINT256_MAX)
        await devnet.as_account(umbrella, there.pool, "IPool", "eliminateReserveDeficit", *paid)
        await assert_equal(devnet, await see(devnet))
    assert set((await deficits(devnet)).values()) == {0}


async def test_what_is_left_to_a_borrower_keeps_his_debt_from_being_burned(devnet: Devnet) -> None:
    """A second collateral, however small: nothing becomes a deficit, and all stay equal."""
    there, keeper = devnet.deployment, await approve_everything(devnet)
    alice, whale = await owing_in_two(devnet), there.account("whale").address
    wbtc = there.reserve("WBTC").asset
    await devnet.as_account(whale, there.pool, "IPool", "supply", wbtc, 3, alice, 0)
    use = (wbtc, True)
    await devnet.as_account(alice, there.pool, "IPool", "setUserUseReserveAsCollateral", *use)
    await devnet.push_price("ETH/USD", "611.13")
    seen = await see(devnet)
    at = seen.block.timestamp + 12
    view, holdings = seen.view(at), seen.holdings[alice]
    [least] = [e for e in holdings.entries if e.reserve == there.reserve("WBTC").reserve]
    assert (least.side, least.scaled) == (Side.COLLATERAL, 2)  # three, less interest
    of = next(
        x
        for x in view.liquidations(holdings)
        if (x.collateral.asset.symbol, x.debt.asset.symbol) == ("WETH", "USDC")
    )
    wanted = intent(
        IntentKind.LIQUIDATE,
        alice,
        seen,
        asset=of.debt.asset,
        amount=of.amount,
        collateral=of.collateral.asset,
    )

    await devnet.anvil.set_time(at)
    sent = await devnet.anvil.send(keeper, *view.encode(wanted), gas=3_000_000)
    while (receipt := await devnet.anvil.receipt(sent)) is None:
        await devnet.anvil.mine()

    assert receipt["status"] == "0x1"
    assert set((await deficits(devnet)).values()) == {0}
    seen = await see(devnet)
    after = await assert_equal(devnet, seen)
    assert 0 < known(after[alice])[2] < WAD // 100
    left = {(e.reserve, e.side) for e in seen.holdings[alice].entries}
    assert (there.reserve("WETH").reserve, Side.COLLATERAL) not in left
    assert (there.reserve("DAI").reserve, Side.DEBT) in left


async def test_a_flag_without_a_balance_asks_for_its_price_all_the_same(devnet: Devnet) -> None:
    """As liquidations before 3.1 left them behind: `LiquidationLogic` says so itself."""
    there, alice = devnet.deployment, devnet.deployment.account("alice").address
    admin, flagged = there.account("deployer").address, there.reserve("WBTC")
    place = (await layout(devnet)).bitmaps
    key = bytes(12) + bytes.fromhex(alice[2:]) + place.to_bytes(32, "big")
    slot = int.from_bytes(keccak(key), "big")
    word = int(await devnet.anvil.rpc("eth_getStorageAt", there.pool, hex(slot), "latest"), 16)
    await devnet.anvil.set_storage_at(there.pool, slot, word | 1 << (2 * flagged.reserve))
    await devnet.anvil.mine()

    seen = await see(devnet)
    assert ours(seen, seen.holdings[alice]) == await theirs(devnet, alice, "latest")
    source = await fixed(devnet, 0)
    await devnet.as_account(
        admin, there.oracle, "AaveOracle", "setAssetSources", [flagged.asset], [source]
    )

    seen = await see(devnet)
    assert await theirs(devnet, alice, "latest") is None
    assert ours(seen, seen.holdings[alice]) is None
    assert not seen.view().assess(seen.holdings[alice]).ok
