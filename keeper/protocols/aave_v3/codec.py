"""Hand-packed calls and answers of what is read from an Aave v3 market.

Selectors and topics are checked against the published ABIs in tests/protocols/aave_v3/test_abis.py.
Every decoder takes the answer as it came and the name of what was asked, and raises `BadAnswer`
naming both for an answer that failed, is too short, or holds a number outside its type.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import (
    Address,
    Call,
    CallResult,
    ContractHealth,
    Failed,
    Returned,
)
from keeper.protocols.aave_v3.market import Configuration
from keeper.units import (
    Base,
    Bps,
    Wad,
)

# PoolAddressesProvider
GET_POOL: Final = bytes.fromhex("026b1d5f")  # getPool()
GET_POOL_CONFIGURATOR: Final = bytes.fromhex("631adfca")  # getPoolConfigurator()
GET_PRICE_ORACLE: Final = bytes.fromhex("fca513a8")  # getPriceOracle()
GET_PRICE_ORACLE_SENTINEL: Final = bytes.fromhex("5eb88d3d")  # getPriceOracleSentinel()

# Pool
POOL_REVISION: Final = bytes.fromhex("0148170e")  # POOL_REVISION()
ADDRESSES_PROVIDER: Final = bytes.fromhex("0542975c")  # ADDRESSES_PROVIDER()
GET_RESERVES_LIST: Final = bytes.fromhex("d1946dbc")  # getReservesList()
FLASHLOAN_PREMIUM_TOTAL: Final = bytes.fromhex("074b2e43")  # FLASHLOAN_PREMIUM_TOTAL()
GET_RESERVE_DATA: Final = bytes.fromhex("35ea6a75")  # getReserveData(address)
GET_RESERVE_ADDRESS_BY_ID: Final = bytes.fromhex("52751797")  # getReserveAddressById(uint16)
GET_LIQUIDATION_GRACE_PERIOD: Final = bytes.fromhex("5c9a8b18")
"""getLiquidationGracePeriod(address)"""
GET_E_MODE_CATEGORY_DATA: Final = bytes.fromhex("6c6f6ae1")  # getEModeCategoryData(uint8)
GET_E_MODE_COLLATERAL_CONFIG: Final = bytes.fromhex("b286f467")
"""getEModeCategoryCollateralConfig(uint8)"""
GET_E_MODE_COLLATERAL_BITMAP: Final = bytes.fromhex("b0771dba")
"""getEModeCategoryCollateralBitmap(uint8)"""
GET_E_MODE_LTV_ZERO_BITMAP: Final = bytes.fromhex("fd89dee5")
"""getEModeCategoryLtvzeroBitmap(uint8)"""
GET_E_MODE_LABEL: Final = bytes.fromhex("2083e183")  # getEModeCategoryLabel(uint8)
GET_VIRTUAL_UNDERLYING_BALANCE: Final = bytes.fromhex("6fb07f96")
"""getVirtualUnderlyingBalance(address)"""
GET_USER_CONFIGURATION: Final = bytes.fromhex("4417a583")  # getUserConfiguration(address)
GET_USER_E_MODE: Final = bytes.fromhex("eddf1b79")  # getUserEMode(address)
GET_USER_ACCOUNT_DATA: Final = bytes.fromhex("bf92857c")  # getUserAccountData(address)

# AaveOracle, PriceOracleSentinel
BASE_CURRENCY_UNIT: Final = bytes.fromhex("8c89b64f")  # BASE_CURRENCY_UNIT()
GET_ASSET_PRICE: Final = bytes.fromhex("b3596f07")  # getAssetPrice(address)
GET_SOURCE_OF_ASSET: Final = bytes.fromhex("92bf2be0")  # getSourceOfAsset(address)
IS_LIQUIDATION_ALLOWED: Final = bytes.fromhex("7a5d20ea")  # isLiquidationAllowed()

# tokens
TOTAL_SUPPLY: Final = bytes.fromhex("18160ddd")  # totalSupply()
SCALED_BALANCE_OF: Final = bytes.fromhex("1da24f3e")  # scaledBalanceOf(address)
SCALED_TOTAL_SUPPLY: Final = bytes.fromhex("b1bf962d")  # scaledTotalSupply()
GET_SUPPLY_DATA: Final = bytes.fromhex("79774338")  # getSupplyData()
BALANCE_OF: Final = bytes.fromhex("70a08231")  # balanceOf(address)
ALLOWANCE: Final = bytes.fromhex("dd62ed3e")  # allowance(address,address)
SYMBOL: Final = bytes.fromhex("95d89b41")  # symbol()
DECIMALS: Final = bytes.fromhex("313ce567")  # decimals()

# transactions
SUPPLY: Final = bytes.fromhex("617ba037")  # supply(address,uint256,address,uint16)
REPAY: Final = bytes.fromhex("573ade81")  # repay(address,uint256,uint256,address)
LIQUIDATION_CALL: Final = bytes.fromhex("00a718a9")
"""liquidationCall(address,address,address,uint256,bool)"""
APPROVE: Final = bytes.fromhex("095ea7b3")  # approve(address,uint256)

WORD: Final = 32
SYMBOL_CAP: Final = 32
LABEL_CAP: Final = 64
RESERVES_CAP: Final = 128
"""`MAX_NUMBER_RESERVES`: a user bitmap has two bits for each."""


# --- encoding -------------------------------------------------------------------------------


def encode(selector: bytes, *arguments: Address | int) -> bytes:
    """Return calldata of static arguments: addresses, or unsigned integers."""
    return selector + b"".join(
        (int(a, 16) if isinstance(a, str) else a).to_bytes(WORD, "big") for a in arguments
    )


@lru_cache(maxsize=4_096)
def call(to: Address, selector: bytes, *arguments: Address | int) -> Call:
    """Return a static call.  Most are made at each block anew: the same one is handed out."""
    return Call(to=to, data=encode(selector, *arguments))


# --- decoding -------------------------------------------------------------------------------


def returned(result: CallResult, what: str) -> bytes:
    """Return the bytes of a call that must have succeeded."""
    match result:
        case Returned(data=data):
            return data
        case Failed(reason=reason):
            raise BadAnswer(f"{what} failed: {reason or 'no reason given'}.")


def words(result: CallResult, count: int, what: str) -> tuple[int, ...]:
    """Return exactly `count` words."""
    data = returned(result, what)
    if len(data) != count * WORD:
        raise BadAnswer(f"{what} answered {len(data)} bytes where {count * WORD} were expected.")
    return tuple(int.from_bytes(data[i : i + WORD], "big") for i in range(0, len(data), WORD))


def uint(result: CallResult, what: str, bits: int = 256) -> int:
    """Return one unsigned integer of at most `bits`."""
    (value,) = words(result, 1, what)
    return _bounded(value, bits, what)


def boolean(result: CallResult, what: str) -> bool:
    """Return one bool."""
    return uint(result, what, 1) == 1


def address(result: CallResult, what: str) -> Address:
    """Return one address, lower-case."""
    (value,) = words(result, 1, what)
    return _address(value, what)


def addresses(result: CallResult, what: str, cap: int) -> tuple[Address, ...]:
    """Return a dynamic array of at most `cap` addresses."""
    data = returned(result, what)
    head = [int.from_bytes(data[i : i + WORD], "big") for i in (0, WORD)]
    if len(data) < 2 * WORD or head[0] != WORD:
        raise BadAnswer(f"{what} answered {len(data)} bytes that are not a list of addresses.")
    if head[1] > cap or len(data) != (2 + head[1]) * WORD:
        raise BadAnswer(f"{what} answered a list of {head[1]} in {len(data)} bytes.")
    return tuple(
        _address(int.from_bytes(data[i : i + WORD], "big"), what)
        for i in range(2 * WORD, len(data), WORD)
    )


def text(data: bytes, cap: int) -> str:
    """Return a symbol or label, `string` or `bytes32`, cut at `cap` characters; never raises.

    Invalid UTF-8 is replaced and unprintable characters are dropped: whoever lists a token
    chooses this text.
    """
    if len(data) == WORD:
        raw = data.rstrip(b"\0")
    elif len(data) >= 2 * WORD and int.from_bytes(data[:WORD], "big") == WORD:
        length = int.from_bytes(data[WORD : 2 * WORD], "big")
        raw = data[2 * WORD : 2 * WORD + min(length, 4 * cap)]
    else:
        raw = b""
    said = "".join(c for c in raw.decode("utf-8", "replace") if c.isprintable())
    return said[:cap]


@lru_cache(maxsize=1_024)
def decode_configuration(bitmap: int) -> Configuration:
    """Split a reserve's configuration bitmap."""

    def field(start: int, bits: int) -> int:
        return bitmap >> start & (1 << bits) - 1

    return Configuration(
        ltv=Bps(field(0, 16)),
        liquidation_threshold=Bps(field(16, 16)),
        liquidation_bonus=Bps(field(32, 16)),
        decimals=field(48, 8),
        active=bool(field(56, 1)),
        frozen=bool(field(57, 1)),
        paused=bool(field(60, 1)),
        reserve_factor=Bps(field(64, 16)),
        borrow_cap=field(80, 36),
        supply_cap=field(116, 36),
        protocol_fee=Bps(field(152, 16)),
        e_mode=field(168, 8),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveData:
    """`Pool.getReserveData`, as every revision answers it: 15 words."""

    configuration: Configuration
    liquidity_index: int
    liquidity_rate: int
    debt_index: int
    debt_rate: int
    updated_at: int
    id: int
    a_token: Address
    stable_debt_token: Address
    debt_token: Address
    accrued_to_treasury: int


def decode_reserve_data(result: CallResult, what: str) -> ReserveData:
    """Return one reserve's stored numbers and tokens."""
    return _reserve_data(returned(result, what), what)


@lru_cache(maxsize=1_024)
def _reserve_data(data: bytes, what: str) -> ReserveData:
    """Decode what `decode_reserve_data` is given: at most blocks most reserves are as before."""
    w = words(Returned(data), 15, what)
    return ReserveData(
        configuration=decode_configuration(w[0]),
        liquidity_index=_bounded(w[1], 128, f"{what}.liquidityIndex"),
        liquidity_rate=_bounded(w[2], 128, f"{what}.currentLiquidityRate"),
        debt_index=_bounded(w[3], 128, f"{what}.variableBorrowIndex"),
        debt_rate=_bounded(w[4], 128, f"{what}.currentVariableBorrowRate"),
        updated_at=_bounded(w[6], 40, f"{what}.lastUpdateTimestamp"),
        id=_bounded(w[7], 16, f"{what}.id"),
        a_token=_address(w[8], f"{what}.aTokenAddress"),
        stable_debt_token=_address(w[9], f"{what}.stableDebtTokenAddress"),
        debt_token=_address(w[10], f"{what}.variableDebtTokenAddress"),
        accrued_to_treasury=_bounded(w[12], 128, f"{what}.accruedToTreasury"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyEMode:
    """`Pool.getEModeCategoryData` up to 3.1."""

    liquidation_threshold: Bps
    liquidation_bonus: Bps
    price_source: Address
    label: str


def decode_legacy_e_mode(result: CallResult, what: str) -> LegacyEMode:
    """Return one category: a tuple (ltv, threshold, bonus, price source, label)."""
    data = returned(result, what)
    if len(data) < 7 * WORD or int.from_bytes(data[:WORD], "big") != WORD:
        raise BadAnswer(f"{what} answered {len(data)} bytes that are not an e-mode category.")
    body = data[WORD:]
    w = [int.from_bytes(body[i : i + WORD], "big") for i in range(0, 5 * WORD, WORD)]
    label = WORD.to_bytes(WORD, "big") + body[w[4] :] if w[4] < len(body) else b""
    return LegacyEMode(
        liquidation_threshold=Bps(_bounded(w[1], 16, f"{what}.liquidationThreshold")),
        liquidation_bonus=Bps(_bounded(w[2], 16, f"{what}.liquidationBonus")),
        price_source=_address(w[3], f"{what}.priceSource"),
        label=text(label, LABEL_CAP),
    )


def decode_collateral_config(result: CallResult, what: str) -> tuple[Bps, Bps, Bps]:
    """Return (loan to value, liquidation threshold, liquidation bonus) of a category (3.2+)."""
    ltv, threshold, bonus = (Bps(_bounded(word, 16, what)) for word in words(result, 3, what))
    return ltv, threshold, bonus


def decode_account_data(result: CallResult, what: str) -> ContractHealth:
    """Return what `Pool.getUserAccountData` says: collateral, debt and health factor."""
    w = words(result, 6, what)
    return ContractHealth(collateral=Base(w[0]), debt=Base(w[1]), health_factor=Wad(w[5]))


def _bounded(value: int, bits: int, what: str) -> int:
    if value >> bits:
        raise BadAnswer(f"{what} answered {value}, which does not fit {bits} bits.")
    return value


def _address(value: int, what: str) -> Address:
    return Address(f"0x{_bounded(value, 160, what):040x}")
