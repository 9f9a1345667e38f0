"""The bytes that are signed: eth-account is the reference."""

import asyncio

import pytest
from eth_account import Account
from eth_account.datastructures import SignedTransaction
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import ExecutionError
from keeper.execution.transaction import (
    UnsignedTx,
    cancellation,
    cancelling,
    decode_signed,
    decode_unsigned,
)
from keeper.model import Address, Attempt, Fees, OpenPlan, TxState
from keeper.units import Wei
from tests.execution.fakes import CHAIN, KEY, SIGNER
from tests.execution.test_policy import plan

U64 = st.integers(min_value=0, max_value=2**64 - 1)
FEES = Fees(max_fee_wei=Wei(21_000_000_017), priority_fee_wei=Wei(1_000_000_003))

transactions = st.builds(
    UnsignedTx,
    chain_id=st.integers(min_value=1, max_value=2**63 - 1),
    nonce=U64,
    to=st.binary(min_size=20, max_size=20).map(lambda b: Address("0x" + b.hex())),
    value_wei=st.integers(min_value=0, max_value=2**256 - 1).map(Wei),
    data=st.binary(max_size=200),
    gas_limit=U64,
    fees=st.builds(Fees, max_fee_wei=U64.map(Wei), priority_fee_wei=U64.map(Wei)),
)


@given(transactions)
def test_what_is_decoded_from_a_signing_payload_is_what_went_in(tx: UnsignedTx) -> None:
    assert decode_unsigned(tx.payload()) == tx


@given(transactions)
def test_a_transaction_signed_by_eth_account_decodes_to_the_same(tx: UnsignedTx) -> None:
    signed = _by_eth_account(tx)

    decoded = decode_signed(bytes(signed.raw_transaction))

    assert decoded.tx == tx
    assert decoded.sender == SIGNER.address
    assert decoded.tx_hash == "0x" + signed.hash.hex().removeprefix("0x")


@given(transactions)
def test_ours_signs_to_the_very_bytes_of_eth_account(tx: UnsignedTx) -> None:
    assert asyncio.run(SIGNER.sign(tx)).raw == bytes(_by_eth_account(tx).raw_transaction)


def _by_eth_account(tx: UnsignedTx) -> SignedTransaction:
    signed: SignedTransaction = Account.sign_transaction(
        {
            "type": 2,
            "chainId": tx.chain_id,
            "nonce": tx.nonce,
            "to": bytes.fromhex(tx.to[2:]),
            "value": tx.value_wei,
            "data": tx.data,
            "gas": tx.gas_limit,
            "maxFeePerGas": tx.fees.max_fee_wei,
            "maxPriorityFeePerGas": tx.fees.priority_fee_wei,
        },
        KEY,
    )
    return signed


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "type 2"),
        (b"\x01\xc0", "type 2"),
        (b"\x02\xff", "RLP"),
        (b"\x02\xc0", "fields"),
        (b"\x02\x80", "fields"),
    ],
)
def test_stored_bytes_that_are_no_transaction_are_a_plain_error(raw: bytes, words: str) -> None:
    with pytest.raises(ExecutionError, match=words):
        decode_signed(raw)


async def test_a_cancellation_is_told_by_its_bytes() -> None:
    attempt = await SIGNER.sign(cancellation(SIGNER.address, CHAIN, 41, FEES, 27_300))
    other = Attempt(tx_hash=attempt.tx_hash, raw=attempt.raw, fees=FEES)
    open_plan = OpenPlan(
        plan=plan(), signer=SIGNER.address, nonce=41, state=TxState.SENT, attempts=(other,)
    )

    assert cancelling(open_plan) == {attempt.tx_hash}
