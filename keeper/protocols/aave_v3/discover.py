"""A market from its PoolAddressesProvider alone: what only governance changes.

Read again whenever a log of PoolConfigurator, AaveOracle or the provider is heard.
"""

from collections.abc import Mapping

from keeper.errors import BadAnswer, ConfigError
from keeper.model import Address, Asset, Call, CallResult, Failed, MarketId, Returned
from keeper.ports import Steps
from keeper.protocols.aave_v3 import codec
from keeper.protocols.aave_v3.codec import call
from keeper.protocols.aave_v3.market import EMode, Market, Reserve
from keeper.protocols.aave_v3.rules import Rules, rules_for
from keeper.units import Bps

ZERO = Address("0x" + "0" * 40)
FIRST_REVISION_WITH_GRACE_FOR_SURE = 5
E_MODE_IDS = range(1, 256)
"""Every id a uint8 can say: categories have gaps, and mainnet has had 48."""


def discover(market: MarketId, provider: Address) -> Steps[Market]:
    """Learn the market.  Raises ConfigError where `provider` is not one of Aave v3."""
    pool, configurator, oracle, sentinel = yield from _contracts(market, provider)
    rules, listed, base_unit, premium = yield from _pool(market, provider, pool, oracle)
    reserves = yield from _reserves(pool, oracle, listed, rules)
    by_bitmap = rules.e_mode_bitmaps
    e_modes = yield from _bitmap_e_modes(pool, rules) if by_bitmap else _legacy_e_modes(pool)
    return Market(
        id=market,
        provider=provider,
        pool=pool,
        configurator=configurator,
        oracle=oracle,
        sentinel=sentinel,
        rules=rules,
        base_unit=base_unit,
        flash_loan_premium=premium,
        reserves=reserves,
        e_modes=e_modes,
    )


def _contracts(
    market: MarketId, provider: Address
) -> Steps[tuple[Address, Address, Address, Address | None]]:
    pool, configurator, oracle, sentinel = yield (
        call(provider, codec.GET_POOL),
        call(provider, codec.GET_POOL_CONFIGURATOR),
        call(provider, codec.GET_PRICE_ORACLE),
        call(provider, codec.GET_PRICE_ORACLE_SENTINEL),
    )
    try:
        said = (
            _contract(pool, "getPool"),
            _contract(configurator, "getPoolConfigurator"),
            _contract(oracle, "getPriceOracle"),
            codec.address(sentinel, "getPriceOracleSentinel"),
        )
    except BadAnswer as error:
        raise _not_aave(market, provider, str(error)) from error
    return (*said[:3], said[3] if said[3] != ZERO else None)


def _pool(
    market: MarketId, provider: Address, pool: Address, oracle: Address
) -> Steps[tuple[Rules, tuple[Address, ...], int, Bps]]:
    revision, back, listed, base_unit, premium = yield (
        call(pool, codec.POOL_REVISION),
        call(pool, codec.ADDRESSES_PROVIDER),
        call(pool, codec.GET_RESERVES_LIST),
        call(oracle, codec.BASE_CURRENCY_UNIT),
        call(pool, codec.FLASHLOAN_PREMIUM_TOTAL),
    )
    try:
        rules = rules_for(codec.uint(revision, f"POOL_REVISION of {pool}"))
        owner = codec.address(back, f"ADDRESSES_PROVIDER of {pool}")
        reserves = codec.addresses(listed, f"getReservesList of {pool}", codec.RESERVES_CAP)
        unit = codec.uint(base_unit, f"BASE_CURRENCY_UNIT of {oracle}", 128)
        fee = Bps(codec.uint(premium, f"FLASHLOAN_PREMIUM_TOTAL of {pool}", 128))
    except BadAnswer as error:
        raise _not_aave(market, provider, str(error)) from error
    if owner != provider:
        raise _not_aave(market, provider, f"Its pool {pool} belongs to {owner}.")
    if unit == 0:
        raise _not_aave(market, provider, f"BASE_CURRENCY_UNIT of {oracle} is 0.")
    return rules, reserves, unit, fee


def _reserves(
    pool: Address, oracle: Address, listed: tuple[Address, ...], rules: Rules
) -> Steps[tuple[Reserve, ...]]:
    calls: list[Call] = []
    for asset in listed:
        calls.append(call(pool, codec.GET_RESERVE_DATA, asset))
        calls.append(call(oracle, codec.GET_SOURCE_OF_ASSET, asset))
        calls.append(call(asset, codec.SYMBOL))
        if rules.grace_period:
            calls.append(call(pool, codec.GET_LIQUIDATION_GRACE_PERIOD, asset))
    answers = iter((yield tuple(calls)))
    reserves: dict[int, Reserve] = {}
    for asset in listed:
        data = codec.decode_reserve_data(next(answers), f"getReserveData({asset}) of {pool}")
        source = codec.address(next(answers), f"getSourceOfAsset({asset}) of {oracle}")
        symbol = _symbol(next(answers), asset)
        grace_until = _grace_until(next(answers), asset, pool, rules) if rules.grace_period else 0
        if data.id in reserves or data.id >= codec.RESERVES_CAP or data.a_token == ZERO:
            raise BadAnswer(
                f"getReserveData({asset}) of {pool} answered id {data.id} with aToken "
                f"{data.a_token}: ids must differ and be below {codec.RESERVES_CAP}."
            )
        stable = data.stable_debt_token if rules.stable_debt else ZERO
        reserves[data.id] = Reserve(
            id=data.id,
            asset=Asset(address=asset, symbol=symbol, decimals=data.configuration.decimals),
            a_token=data.a_token,
            debt_token=data.debt_token,
            stable_debt_token=stable if stable != ZERO else None,
            source=source,
            grace_until=grace_until,
        )
    return tuple(reserves[i] for i in sorted(reserves))


def _grace_until(answer: CallResult, asset: Address, pool: Address, rules: Rules) -> int:
    if isinstance(answer, Failed) and rules.revision < FIRST_REVISION_WITH_GRACE_FOR_SURE:
        return 0
    return codec.uint(answer, f"getLiquidationGracePeriod({asset}) of {pool}", 40)


def _bitmap_e_modes(pool: Address, rules: Rules) -> Steps[Mapping[int, EMode]]:
    """3.2 and later."""
    configs = yield tuple(call(pool, codec.GET_E_MODE_COLLATERAL_CONFIG, i) for i in E_MODE_IDS)
    set_up: dict[int, tuple[Bps, Bps, Bps]] = {}
    for i, answer in zip(E_MODE_IDS, configs, strict=True):
        config = codec.decode_collateral_config(
            answer, f"getEModeCategoryCollateralConfig({i}) of {pool}"
        )
        if any(config[1:]):
            set_up[i] = config
    if not set_up:
        return {}
    asked = [codec.GET_E_MODE_COLLATERAL_BITMAP, codec.GET_E_MODE_LABEL]
    if rules.e_mode_loan_to_value:
        asked.append(codec.GET_E_MODE_LTV_ZERO_BITMAP)
    more = iter((yield tuple(call(pool, selector, i) for i in set_up for selector in asked)))
    return {
        i: EMode(
            id=i,
            liquidation_threshold=threshold,
            liquidation_bonus=bonus,
            collateral_bitmap=codec.uint(
                next(more), f"getEModeCategoryCollateralBitmap({i}) of {pool}", 128
            ),
            label=_label(next(more)),
            price_source=None,
            ltv=ltv,
            ltv_zero_bitmap=_ltv_zero(next(more), i) if rules.e_mode_loan_to_value else 0,
        )
        for i, (ltv, threshold, bonus) in set_up.items()
    }


def _legacy_e_modes(pool: Address) -> Steps[Mapping[int, EMode]]:
    """Up to 3.1: one category for each reserve, with an optional price source of its own."""
    answers = yield tuple(call(pool, codec.GET_E_MODE_CATEGORY_DATA, i) for i in E_MODE_IDS)
    found: dict[int, EMode] = {}
    for i, answer in zip(E_MODE_IDS, answers, strict=True):
        said = codec.decode_legacy_e_mode(answer, f"getEModeCategoryData({i}) of {pool}")
        if said.liquidation_threshold == 0 and said.liquidation_bonus == 0:
            continue
        found[i] = EMode(
            id=i,
            label=said.label,
            liquidation_threshold=said.liquidation_threshold,
            liquidation_bonus=said.liquidation_bonus,
            collateral_bitmap=0,
            price_source=said.price_source if said.price_source != ZERO else None,
        )
    return found


def _ltv_zero(answer: CallResult, e_mode: int) -> int:
    """0 where a pool does not say: it decides nobody's health, only what may be withdrawn first."""
    if isinstance(answer, Failed):
        return 0
    return codec.uint(answer, f"getEModeCategoryLtvzeroBitmap({e_mode})", 128)


def _contract(result: CallResult, what: str) -> Address:
    said = codec.address(result, what)
    if said == ZERO:
        raise BadAnswer(f"{what} answered the zero address.")
    return said


def _symbol(result: CallResult, asset: Address) -> str:
    match result:
        case Returned(data=data):
            return codec.text(data, codec.SYMBOL_CAP) or asset[:10]
        case Failed():
            return asset[:10]


def _label(result: CallResult) -> str:
    return codec.text(result.data, codec.LABEL_CAP) if isinstance(result, Returned) else ""


def _not_aave(market: MarketId, provider: Address, why: str) -> ConfigError:
    return ConfigError(
        f"{market}: {provider} on chain {market.chain_id} is not the PoolAddressesProvider of an "
        f"Aave v3 market: {why} Check the market's provider and its chain in the configuration."
    )
