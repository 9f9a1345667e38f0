import unicodedata

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import BadAnswer
from keeper.model import Failed, Returned
from keeper.oracles.abi import (
    SELECTORS,
    clean,
    decode_address,
    decode_decimals,
    decode_round,
    decode_text,
)
from tests.oracles.fakes import round_data, text, word


@pytest.mark.parametrize("function", SELECTORS)
def test_each_selector_is_the_hash_of_its_signature(function: str) -> None:
    assert SELECTORS[function] == keccak(text=f"{function}()")[:4]


def test_a_round_is_decoded_with_its_sign_and_its_phase() -> None:
    # phase 7, aggregator round 12,345
    data = round_data(answer=-17, updated_at=1_700_000_003, round_id=(7 << 64) | 12_345)

    assert decode_round(data, "it") == ((7 << 64) | 12_345, -17, 1_700_000_003)


def test_answers_of_the_wrong_length_name_both_lengths() -> None:
    with pytest.raises(BadAnswer, match="answered 128 bytes, 160 were expected"):
        decode_round(Returned(round_data().data[:-32]), "latestRoundData()")
    with pytest.raises(BadAnswer, match="answered 0 bytes, 32 were expected"):
        decode_decimals(Returned(b""), "decimals()")


def test_a_round_id_above_80_bits_is_no_round() -> None:
    with pytest.raises(BadAnswer, match="80 bits"):
        decode_round(round_data(round_id=2**80), "it")


def test_decimals_of_255_are_refused() -> None:
    with pytest.raises(BadAnswer, match="255"):
        decode_decimals(word(255), "decimals()")


@pytest.mark.parametrize("value", [0, 2**160, 2**255])
def test_a_word_that_is_no_address_is_refused(value: int) -> None:
    with pytest.raises(BadAnswer, match="not a contract's address"):
        decode_address(word(value), "aggregator()")


def test_both_kinds_of_strings_are_read() -> None:
    assert decode_text(text("ETH / USD")) == "ETH / USD"
    assert decode_text(Returned(b"MKR".ljust(32, b"\0"))) == "MKR"


def test_a_failed_or_lying_string_is_empty() -> None:
    # says it is 2**64 bytes long, and holds none of them
    lying = Returned((32).to_bytes(32, "big") + (2**64).to_bytes(32, "big"))

    # says 40 bytes, holds 32
    short = Returned((32).to_bytes(32, "big") + (40).to_bytes(32, "big") + b"E" * 32)

    assert decode_text(lying) == decode_text(short) == ""
    assert decode_text(Failed("reverted")) == ""


def test_text_loses_what_could_deceive_a_reader() -> None:
    # right-to-left override, a bell, an escape sequence, a zero-width space, a line break
    assert clean("ETH\u202e / \x07\x1b[31mUSD\u200b\nx") == "ETH / [31mUSD x"


def test_long_text_is_cut_and_says_so() -> None:
    assert clean("abcdefghij", 5) == "abcd…"


@given(st.binary(max_size=600))
def test_no_bytes_make_a_long_or_unprintable_text(data: bytes) -> None:
    for result in (Returned(data), text(data)):
        shown = decode_text(result, 40)

        assert len(shown) <= 40
        assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)
