"""Whole markets drawn by hypothesis and put onto the deployed contracts' storage and feeds.

A world is parameters, indices, rates, prices, categories and accounts that governance and time
could leave behind, most of which no transaction reaches quickly.  The contracts' own code then
answers for it; nothing of ours takes part in that answer.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import strategies as st

from keeper.devnet.abi import encode_call
from keeper.devnet.deployment import DeployedReserve
from keeper.devnet.implant import Implant, found, implant
from keeper.devnet.network import Devnet
from keeper.model import Address, Entry, Holdings, Side
from keeper.units import RAY

RESERVES = 6
FEEDS = ("ETH/USD", "BTC/USD", "USDC/USD", "DAI/USD", "XIS/USD")
FEED_OF = (0, 0, 1, 2, 3, 4)
"""By reserve id."""
E_MODE_IDS = (1, 2, 7)
UNSET_E_MODE = 9
UPDATED_AT = 2_100_000_000
"""When every reserve was updated last, by the chain's clock: the same whenever this is run."""
LTV, THRESHOLD, BONUS, DECIMALS = (0, 16), (16, 16), (32, 16), (48, 8)
ACTIVE, FROZEN, PAUSED, FEE, LEGACY_E_MODE = (56, 1), (57, 1), (60, 1), (152, 16), (168, 8)


@dataclass(frozen=True, kw_only=True)
class ReserveWish:
    ltv: int
    threshold: int
    bonus: int
    decimals: int
    fee: int
    frozen: bool
    paused: bool
    legacy_e_mode: int
    liquidity_index: int
    liquidity_rate: int
    debt_index: int
    debt_rate: int


@dataclass(frozen=True, kw_only=True)
class Category:
    ltv: int
    threshold: int
    bonus: int
    collaterals: int
    """Bitmap of reserves."""
    ltv_zero: int


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Amounts in ten-thousandths of a decade of dollars: 37_000 is 5,000 dollars."""

    collateral: dict[int, int]
    debt: dict[int, int]
    idle: dict[int, int]
    e_mode: int
    health: float | None
    """What the debts are sized for, by float; None leaves them as drawn."""
    off_by: int


@dataclass(frozen=True, kw_only=True)
class World:
    reserves: tuple[ReserveWish, ...]
    categories: dict[int, Category]
    prices: tuple[int, ...]
    """By feed, 8 decimals."""
    ratio: Decimal
    elapsed_s: int
    holders: tuple[Holder, ...]


# --- drawing ----------------------------------------------------------------------------------


def _decades(low: float, high: float) -> st.SearchStrategy[int]:
    """Powers of ten with all digits."""
    return st.floats(low, high, allow_nan=False).map(lambda x: int(10**x))


INDEX = st.one_of(st.just(RAY), _decades(27, 27.8))
RATE = st.one_of(st.just(0), _decades(20, 27.2))

RESERVE = st.builds(
    ReserveWish,
    ltv=st.one_of(st.just(0), st.integers(1, 9_000)),
    threshold=st.one_of(st.just(0), st.integers(1, 9_500), st.integers(7_000, 8_999)),
    bonus=st.one_of(st.just(10_000), st.integers(10_001, 11_500)),
    decimals=st.sampled_from((6, 8, 12, 18, 18)),
    fee=st.sampled_from((0, 1_000, 1_037, 10_000)),
    frozen=st.booleans(),
    paused=st.sampled_from((False, False, False, True)),
    legacy_e_mode=st.sampled_from((0, 0, 1, 2)),
    liquidity_index=INDEX,
    liquidity_rate=RATE,
    debt_index=INDEX,
    debt_rate=RATE,
)
CATEGORY = st.builds(
    Category,
    ltv=st.integers(1_000, 9_000),
    threshold=st.integers(9_001, 9_700),
    bonus=st.integers(10_001, 10_200),
    collaterals=st.integers(0, 2**RESERVES - 1),
    ltv_zero=st.integers(0, 2**RESERVES - 1),
)
AMOUNT = st.one_of(st.integers(20_000, 70_000), st.integers(-60_000, 130_000))
LEGS = st.dictionaries(st.integers(0, RESERVES - 1), AMOUNT, max_size=4)
HOLDER = st.builds(
    Holder,
    collateral=LEGS,
    debt=st.dictionaries(st.integers(0, RESERVES - 1), AMOUNT, max_size=3),
    idle=st.dictionaries(st.integers(0, RESERVES - 1), AMOUNT, max_size=1),
    e_mode=st.sampled_from((0, 0, *E_MODE_IDS, UNSET_E_MODE)),
    health=st.one_of(
        st.none(), st.just(1.0), st.floats(0.4, 1.1), st.floats(0.94, 0.96), st.floats(0.9, 3)
    ),
    off_by=st.integers(-2, 2),
)


def worlds(holders: int) -> st.SearchStrategy[World]:
    """Markets with up to `holders` accounts each."""
    return st.builds(
        World,
        reserves=st.tuples(*[RESERVE] * RESERVES),
        categories=st.dictionaries(st.sampled_from(E_MODE_IDS), CATEGORY, min_size=2),
        prices=st.tuples(*[_decades(4, 13.9)] * len(FEEDS)),
        ratio=st.decimals(Decimal("0.9"), Decimal("1.18"), places=17),
        elapsed_s=st.one_of(st.just(1), st.integers(2, 100_000), st.integers(2, 90_000_000)),
        holders=st.lists(HOLDER, min_size=holders, max_size=holders).map(tuple),
    )


# --- putting it there -------------------------------------------------------------------------


def account(index: int) -> Address:
    return Address(f"0x{0xACC0 << 128 | (index + 1) * 0x9E3779B97F4A7C15:040x}")


async def settle(devnet: Devnet, world: World) -> tuple[Implant, ...]:
    """Make the market what `world` says; return the accounts as written."""
    legacy = devnet.deployment.protocol == "aave_v3_0"
    place = await _reserves_place(devnet)
    listed = tuple(zip(devnet.deployment.reserves, world.reserves, strict=True))
    for reserve, wish in listed:  # a configurator looks at the members that a category has
        tame = replace(wish, ltv=1, threshold=2, frozen=False, legacy_e_mode=0)
        await _write_reserve(devnet, place, reserve, tame)
    for number, category in world.categories.items():
        await (_legacy_category if legacy else _category)(devnet, number, category)
    for reserve, wish in listed:
        member = wish.legacy_e_mode if wish.legacy_e_mode in world.categories else 0
        await _write_reserve(devnet, place, reserve, replace(wish, legacy_e_mode=member))
    holders = tuple(_implant(world, i, h, legacy=legacy) for i, h in enumerate(world.holders))
    await implant(devnet, holders)
    await devnet.deployer.send(
        devnet.deployment.ratio_provider, "RatioProvider", "setRatio", int(world.ratio * 10**18)
    )
    await devnet.anvil.set_time(UPDATED_AT + world.elapsed_s)
    prices = zip(FEEDS, world.prices, strict=True)
    await devnet.push_prices({name: Decimal(price).scaleb(-8) for name, price in prices})
    return holders


async def _reserves_place(devnet: Devnet) -> int:
    asset = devnet.deployment.reserves[0].asset
    data = encode_call(devnet.artifacts.get("IPool"), "getConfiguration", asset)
    return await found(
        devnet.anvil, devnet.deployment.pool, data, lambda place: _struct(asset, place)
    )


def _struct(asset: Address, place: int) -> int:
    return int.from_bytes(keccak(encode(["address", "uint256"], [asset, place])), "big")


async def _write_reserve(
    devnet: Devnet, place: int, reserve: DeployedReserve, wish: ReserveWish
) -> None:
    pool, slot = devnet.deployment.pool, _struct(reserve.asset, place)
    word = int(await devnet.anvil.rpc("eth_getStorageAt", pool, hex(slot), "latest"), 16)
    bonus = wish.bonus if wish.threshold else 0
    for (start, bits), value in (
        (LTV, min(wish.ltv, wish.threshold)),
        (THRESHOLD, wish.threshold),
        (BONUS, bonus),
        (DECIMALS, wish.decimals),
        (ACTIVE, 1),
        (FROZEN, wish.frozen),
        (PAUSED, wish.paused),
        (FEE, wish.fee),
        (LEGACY_E_MODE, wish.legacy_e_mode),
    ):
        word = word & ~((1 << bits) - 1 << start) | int(value) << start
    await devnet.anvil.set_storage_at(pool, slot, word)
    await devnet.anvil.set_storage_at(
        pool, slot + 1, wish.liquidity_rate << 128 | wish.liquidity_index
    )
    await devnet.anvil.set_storage_at(pool, slot + 2, wish.debt_rate << 128 | wish.debt_index)
    third = int(await devnet.anvil.rpc("eth_getStorageAt", pool, hex(slot + 3), "latest"), 16)
    third = third & ~((1 << 40) - 1 << 128) | UPDATED_AT << 128
    await devnet.anvil.set_storage_at(pool, slot + 3, third)


async def _configure(devnet: Devnet, contract: str, function: str, *arguments: Any) -> None:
    there = devnet.deployment
    admin = there.account("deployer").address
    await devnet.as_account(admin, there.configurator, contract, function, *arguments)


async def _category(devnet: Devnet, number: int, category: Category) -> None:
    contract = "PoolConfiguratorInstance"
    terms = (category.ltv, category.threshold, category.bonus)
    await _configure(devnet, contract, "setEModeCategory", number, *terms, f"category {number}")
    for reserve in devnet.deployment.reserves:
        member = bool(category.collaterals >> reserve.reserve & 1)
        await _configure(
            devnet, contract, "setAssetCollateralInEMode", reserve.asset, number, member
        )
        if member and category.ltv_zero >> reserve.reserve & 1:
            await _configure(
                devnet, contract, "setAssetLtvzeroInEMode", reserve.asset, number, True
            )


async def _legacy_category(devnet: Devnet, number: int, category: Category) -> None:
    await _configure(
        devnet,
        "v3.0.2/PoolConfigurator",
        "setEModeCategory",
        *(number, category.ltv, category.threshold, category.bonus),
        *("0x" + "0" * 40, f"category {number}"),
    )


def _implant(world: World, index: int, holder: Holder, *, legacy: bool) -> Implant:
    def scaled(reserve: int, decades: float, side: Side) -> int:
        wish = world.reserves[reserve]
        price = world.prices[FEED_OF[reserve]] / 1e8
        grown = wish.debt_index if side is Side.DEBT else wish.liquidity_index
        raw = 10 ** (decades / 10_000) / price * 10**wish.decimals / (grown / RAY)
        return min(max(1, int(raw)), 2**100)

    entries = {
        (reserve, side): scaled(reserve, decades, side)
        for side, legs in ((Side.COLLATERAL, holder.collateral), (Side.DEBT, holder.debt))
        for reserve, decades in legs.items()
    }
    if holder.health is not None and holder.debt and holder.collateral:
        backing = sum(
            10 ** (d / 10_000) * _threshold(world, holder.e_mode, r, legacy=legacy) / 1e4
            for r, d in holder.collateral.items()
        )
        owed = sum(10 ** (d / 10_000) for d in holder.debt.values())
        factor = backing / holder.health / owed
        for reserve in holder.debt:
            known = entries[reserve, Side.DEBT]
            sized = int(known * factor) + holder.off_by
            entries[reserve, Side.DEBT] = min(max(1, sized), 2**100)
    holdings = Holdings(
        account=account(index),
        e_mode=holder.e_mode,
        entries=tuple(
            Entry(reserve=r, side=side, scaled=amount)
            for (r, side), amount in sorted(
                entries.items(), key=lambda kept: (kept[0][0], kept[0][1] is Side.DEBT)
            )
        ),
    )
    idle = tuple(
        Entry(reserve=r, side=Side.COLLATERAL, scaled=scaled(r, decades, Side.COLLATERAL))
        for r, decades in holder.idle.items()
        if r not in holder.collateral
    )
    return Implant(holdings=holdings, idle=idle)


def _threshold(world: World, e_mode: int, reserve: int, *, legacy: bool) -> int:
    category = world.categories.get(e_mode)
    wish = world.reserves[reserve]
    if category is not None:
        member = (
            wish.legacy_e_mode == e_mode if legacy else bool(category.collaterals >> reserve & 1)
        )
        if member and (wish.threshold or not legacy):
            return category.threshold
    return wish.threshold
