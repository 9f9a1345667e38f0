"""Permits as bytes: against eth_account's own EIP-712, and every form a signature may come in."""

from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import BadAnswer, ConfigError, ExecutionError
from keeper.execution.permits import (
    CURVE,
    Domain,
    decode_text,
    digest,
    parse_signature,
    parse_typed_data,
    signer_of,
    typed_data,
    uselessness,
)
from keeper.execution.signer import KeystoreSigner
from keeper.model import Address, Asset, Permit

KEY = Account.from_key("0x" + "b0" * 32)
OWNER = Address(KEY.address.lower())
TOKEN = Address("0x" + "c3" * 20)
WETH = Asset(address=Address("0x" + "e4" * 20), symbol="WETH", decimals=18)
PERMIT = Permit(
    chain_id=31_337,
    token=TOKEN,
    owner=OWNER,
    spender=Address("0x" + "d1" * 20),
    value=2_310_000_000_000_000_007,
    nonce=3,
    deadline=1_797_850_013,
)
DOMAIN = Domain(name="Aave Devnet WETH", version="1", chain_id=31_337, token=TOKEN)


def signature(of: Permit = PERMIT, domain: Domain = DOMAIN) -> bytes:
    """What a wallet answers: by eth_account, not by us."""
    return bytes(
        Account.sign_message(
            encode_typed_data(full_message=typed_data(of, domain)), KEY.key
        ).signature
    )


@given(
    value=st.integers(0, 2**256 - 1),
    nonce=st.integers(0, 2**256 - 1),
    deadline=st.integers(0, 2**256 - 1),
    chain_id=st.integers(1, 2**53),
    name=st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
)
def test_what_is_hashed_is_what_eth_account_hashes(
    value: int, nonce: int, deadline: int, chain_id: int, name: str
) -> None:
    permit = replace(PERMIT, value=value, nonce=nonce, deadline=deadline, chain_id=chain_id)
    domain = Domain(name=name, version="1", chain_id=chain_id, token=TOKEN)

    message = encode_typed_data(full_message=typed_data(permit, domain))

    assert message.header == domain.separator
    said = b"\x19" + message.version + message.header + message.body
    assert digest(permit, domain.separator) == keccak(said)


def test_the_signer_is_recovered_from_every_form_a_wallet_answers_in() -> None:
    seen = set()
    for nonce in range(16):  # until both parities came
        of = replace(PERMIT, nonce=nonce)
        hashed, long = digest(of, DOMAIN.separator), signature(of)
        with_parity = long[:64] + bytes([long[64] - 27])
        short = bytearray(long[:64])
        short[32] |= (long[64] - 27) << 7
        seen.add(long[64])

        for form in (long, with_parity, bytes(short)):
            v, r, s = parse_signature("0x" + form.hex())
            assert (r + s + bytes([v])) == long
            assert signer_of(hashed, v, r, s) == OWNER
    assert seen == {27, 28}
    assert parse_signature(long.hex().upper()) == parse_signature("0x" + long.hex())


def test_a_key_signs_permits_of_its_own_tokens_and_no_others() -> None:
    signer = KeystoreSigner.plain(KEY.key.hex(), 31_337)

    signed = signer.sign_permit(PERMIT, DOMAIN)

    assert (signed.r + signed.s + bytes([signed.v])) == signature()
    for permit, domain in (
        (replace(PERMIT, owner=TOKEN), DOMAIN),
        (PERMIT, replace(DOMAIN, token=OWNER)),
        (PERMIT, replace(DOMAIN, chain_id=1)),
    ):
        with pytest.raises(ExecutionError, match="signs permits of its own tokens only"):
            signer.sign_permit(permit, domain)


@pytest.mark.parametrize(
    "of",
    [
        replace(PERMIT, chain_id=1),
        replace(PERMIT, value=PERMIT.value + 1),
        replace(PERMIT, nonce=4),
        replace(PERMIT, deadline=PERMIT.deadline + 1),
        replace(PERMIT, spender=TOKEN),
    ],
)
def test_a_signature_for_other_words_is_somebody_elses(of: Permit) -> None:
    v, r, s = parse_signature(signature().hex())
    domain = replace(DOMAIN, chain_id=of.chain_id)

    assert signer_of(digest(of, domain.separator), v, r, s) != OWNER


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0xzz", "is not hexadecimal"),
        ("0x123", "is not hexadecimal"),
        ("0x" + "11" * 63, "has 63 bytes, an account's has 65, or 64 in its short form"),
        ("0x" + "11" * 96, "contract wallets' (EIP-1271) are not taken"),
        ("0x" + "11" * 64 + "02", "ends in 2: it must be 27 or 28, or 0 or 1."),
        ("0x" + "11" * 64 + "25", "ends in 37"),
        ("0x" + "00" * 32 + "11" * 32 + "1b", "off the curve"),
        ("0x" + "11" * 32 + "00" * 32 + "1b", "off the curve"),
        ("0x" + "ff" * 32 + "11" * 32 + "1b", "off the curve"),
        ("", "has 0 bytes"),
    ],
)
def test_what_is_no_signature_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        parse_signature(text)

    assert sentence in str(caught.value)


def test_the_malleable_twin_is_refused() -> None:
    long = signature()
    twin = CURVE - int.from_bytes(long[32:64], "big")
    other = long[:32] + twin.to_bytes(32, "big") + bytes([27 + 28 - long[64]])
    # it recovers to the same account, so that only its s gives it away
    assert signer_of(digest(PERMIT, DOMAIN.separator), other[64], other[:32], other[32:64]) == OWNER

    with pytest.raises(ConfigError, match="malleable twin"):
        parse_signature(other.hex())


def test_a_signature_off_the_curve_is_nobodys() -> None:
    with pytest.raises(ConfigError, match="nobody's"):
        # no point of the curve has this x
        signer_of(bytes(32), 27, (5).to_bytes(32, "big"), (1).to_bytes(32, "big"))


def test_what_was_printed_is_read_back() -> None:
    assert parse_typed_data(typed_data(PERMIT, DOMAIN)) == PERMIT


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"domain": {}, "message": {}, "primaryType": "Permit"},
        {**typed_data(PERMIT, DOMAIN), "primaryType": "Order"},
        {**typed_data(PERMIT, DOMAIN), "message": {"value": "1"}},
        {**typed_data(PERMIT, DOMAIN), "domain": {"chainId": 1, "verifyingContract": "0x12"}},
        {**typed_data(replace(PERMIT, value=2**256), DOMAIN)},
        {**typed_data(replace(PERMIT, nonce=-1), DOMAIN)},
    ],
)
def test_what_was_not_printed_is_refused_in_one_sentence(broken: object) -> None:
    with pytest.raises(ConfigError, match="is no permit"):
        parse_typed_data(broken)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"at": PERMIT.deadline}, ""),
        ({"at": PERMIT.deadline + 1}, "its permit ran out on 2026-12-21 10:46Z"),
        (
            {"last": PERMIT.deadline + 1},
            "its permit runs out on 2026-12-21 10:46Z: too soon for a transaction",
        ),
        ({"nonce": 4}, "its permit was used up: it is number 3, the token is at 4"),
        ({"nonce": 2}, "its permit is number 3, the token is at 2 yet"),
        ({"needs": PERMIT.value}, ""),
        ({"needs": 10**19}, "its permit is for 2.3100 WETH and it needs 10.0000 WETH"),
    ],
)
def test_a_permit_is_of_no_use_for_one_reason_or_another(
    changed: dict[str, int], said: str
) -> None:
    given = {"nonce": 3, "needs": 1, "at": PERMIT.deadline - 1_000, **changed}

    assert uselessness(PERMIT, asset=WETH, **given) == said


def test_a_deadline_beyond_the_calendar_is_said_all_the_same() -> None:
    for_ever = replace(PERMIT, deadline=2**256 - 1, nonce=9)

    assert "is number 9" in uselessness(for_ever, asset=WETH, nonce=3, needs=1, at=1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        (32).to_bytes(32, "big"),
        (32).to_bytes(32, "big") + (4).to_bytes(32, "big") + b"abc",
        (32).to_bytes(32, "big") + (10**9).to_bytes(32, "big") + b"abc",
        (64).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"a",
        (32).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"\xff",
    ],
)
def test_a_name_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        decode_text(data, "The token")
