"""Packed calls and answers against eth_abi; what cannot be true is refused by name."""

from collections.abc import Callable

import pytest
from eth_abi.abi import encode as abi_encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import BadAnswer
from keeper.model import Address, CallResult, Failed, Returned
from keeper.protocols.aave_v3 import codec

A, B = Address("0x" + "a1" * 20), Address("0x" + "0b" * 20)
TYPES = ["uint256"] * 8 + ["address"] * 4 + ["uint256"] * 3


def reserve_data(**changes: object) -> bytes:
    values: dict[str, object] = {
        "configuration": 0,
        "liquidityIndex": 10**27,
        "liquidityRate": 3,
        "debtIndex": 10**27 + 1,
        "debtRate": 4,
        "stableRate": 0,
        "updated": 1_795_219_200,
        "id": 3,
        "aToken": A,
        "stable": "0x" + "00" * 20,
        "debtToken": B,
        "strategy": B,
        "treasury": 77,
        "unbacked": 0,
        "isolation": 0,
    }
    return abi_encode(TYPES, list({**values, **changes}.values()))


def test_calldata_is_what_eth_abi_would_write() -> None:
    packed = codec.encode(codec.LIQUIDATION_CALL, A, B, A, 2**256 - 1, 0)

    assert packed == bytes.fromhex("00a718a9") + abi_encode(
        ["address", "address", "address", "uint256", "bool"], [A, B, A, 2**256 - 1, False]
    )


def test_a_reserve_is_read_from_its_fifteen_words() -> None:
    data = codec.decode_reserve_data(Returned(reserve_data()), "getReserveData")

    assert (data.id, data.a_token, data.debt_token) == (3, A, B)
    assert (data.liquidity_index, data.liquidity_rate) == (10**27, 3)
    assert (data.debt_index, data.debt_rate) == (10**27 + 1, 4)
    assert (data.updated_at, data.accrued_to_treasury) == (1_795_219_200, 77)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("liquidityIndex", 2**128, "liquidityIndex"),
        ("debtRate", 2**200, "currentVariableBorrowRate"),
        ("updated", 2**40, "lastUpdateTimestamp"),
        ("id", 2**16, "id"),
    ],
)
def test_a_number_outside_its_type_is_refused_by_name(field: str, value: int, said: str) -> None:
    answer = Returned(reserve_data(**{field: value}))

    with pytest.raises(BadAnswer, match=rf"getReserveData of WETH\.{said} answered {value}"):
        codec.decode_reserve_data(answer, "getReserveData of WETH")


@pytest.mark.parametrize("data", [b"", b"\0" * 31, b"\0" * 33, b"\0" * 64])
def test_an_answer_of_another_length_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer, match=f"price answered {len(data)} bytes where 32"):
        codec.uint(Returned(data), "price")


def test_a_call_that_failed_says_why() -> None:
    with pytest.raises(BadAnswer, match=r"price failed: out of gas\."):
        codec.uint(Failed("out of gas"), "price")


def test_a_list_of_addresses_is_read_and_a_false_length_refused() -> None:
    good = abi_encode(["address[]"], [[A, B]])

    assert codec.addresses(Returned(good), "list", 128) == (A, B)
    assert codec.addresses(Returned(abi_encode(["address[]"], [[]])), "list", 128) == ()
    for bad in (b"", good[:-1], good + b"\0" * 32, good[:32] + b"\xff" * 32 + good[64:]):
        with pytest.raises(BadAnswer, match="list"):
            codec.addresses(Returned(bad), "list", 128)
    with pytest.raises(BadAnswer, match="list of 2"):
        codec.addresses(Returned(good), "list", 1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (abi_encode(["string"], ["USD₮0"]), "USD₮0"),
        (b"MKR".ljust(32, b"\0"), "MKR"),
        (abi_encode(["string"], ["x" * 500]), "x" * 32),
        (abi_encode(["bytes"], [b"ok\xff\xfe"]), "ok��"),
        (abi_encode(["string"], ["a\x1b[31mb\u202ec\n"]), "a[31mbc"),
        (b"", ""),
        (b"\xff" * 64, ""),
        ((32).to_bytes(32, "big") + b"\xff" * 32 + b"abc", "abc"),
    ],
)
def test_a_symbol_is_shown_as_it_can_be(data: bytes, said: str) -> None:
    assert codec.text(data, 32) == said


@given(st.binary(max_size=300))
def test_no_bytes_break_a_symbol(data: bytes) -> None:
    assert len(codec.text(data, 32)) <= 32


def _addresses(result: CallResult, what: str) -> object:
    return codec.addresses(result, what, 128)


DECODERS: tuple[Callable[[CallResult, str], object], ...] = (
    codec.decode_reserve_data,
    codec.decode_legacy_e_mode,
    codec.decode_collateral_config,
    codec.decode_account_data,
    codec.uint,
    codec.boolean,
    codec.address,
    _addresses,
)


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary(max_size=700))
def test_no_bytes_break_a_decoder_but_with_a_bad_answer(
    decode: Callable[[CallResult, str], object], data: bytes
) -> None:
    said = "it"
    try:
        decode(Returned(data), "it")
    except BadAnswer as error:
        said = str(error)

    assert said.startswith("it")


def test_a_configuration_is_split_at_the_right_bits() -> None:
    bitmap = (
        8_050
        | 8_300 << 16
        | 10_500 << 32
        | 18 << 48
        | 1 << 56
        | 1 << 57
        | 1 << 60
        | 1_500 << 64
        | (2**36 - 1) << 116
        | 1_001 << 152
        | 255 << 168
    )

    config = codec.decode_configuration(bitmap)

    assert (config.ltv, config.liquidation_threshold, config.liquidation_bonus) == (
        8_050,
        8_300,
        10_500,
    )
    assert (config.decimals, config.active, config.frozen, config.paused) == (18, True, True, True)
    assert (config.reserve_factor, config.supply_cap) == (1_500, 2**36 - 1)
    assert (config.protocol_fee, config.e_mode) == (1_001, 255)
    without = codec.decode_configuration(bitmap & ~(1 << 56 | 1 << 57 | 1 << 60))
    assert (without.active, without.frozen, without.paused) == (False, False, False)


def test_an_old_e_mode_category_is_read_with_its_label_and_source() -> None:
    data = abi_encode(
        ["(uint16,uint16,uint16,address,string)"], [(9_000, 9_300, 10_100, A, "ETH correlated")]
    )

    said = codec.decode_legacy_e_mode(Returned(data), "category 1")

    assert (said.liquidation_threshold, said.liquidation_bonus) == (9_300, 10_100)
    assert (said.price_source, said.label) == (A, "ETH correlated")
