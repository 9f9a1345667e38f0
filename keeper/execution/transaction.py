"""Bytes of an EIP-1559 transaction: what is about to be signed, and what was.

The policy judges what these functions decode from the very bytes that are hashed, so that a
mistake anywhere before them cannot slip past it.  Source: EIP-2718, EIP-1559.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

import rlp
from eth_utils.crypto import keccak
from rlp.exceptions import RLPException

from keeper.errors import ExecutionError
from keeper.execution.recovery import recovered
from keeper.model import Address, Fees, Hash, OpenPlan, Plan
from keeper.units import Wei

TYPE_2: Final = 0x02
UNSIGNED_FIELDS: Final = 9
SIGNED_FIELDS: Final = 12
UINT256: Final = 2**256
REMEMBERED: Final = 1_024
"""Signed transactions that are not read anew: those on their way are looked at at each head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedTx:
    """Everything that a signature covers; there is no access list."""

    chain_id: int
    nonce: int
    to: Address
    value_wei: Wei
    data: bytes
    gas_limit: int
    fees: Fees

    @property
    def selector(self) -> bytes:
        """The first four bytes of the calldata, fewer if there are fewer."""
        return self.data[:4]

    @property
    def most_gas_wei(self) -> Wei:
        """What its gas costs at the worst."""
        return Wei(self.gas_limit * self.fees.max_fee_wei)

    def payload(self) -> bytes:
        """Return the bytes whose keccak is signed."""
        return bytes([TYPE_2]) + cast(bytes, rlp.encode(_unsigned_fields(self)))


def with_signature(tx: UnsignedTx, signature: bytes) -> bytes:
    """Return the signed bytes of `tx`; `signature` is r, s and v (0, 1, 27 or 28), 65 bytes."""
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    v = signature[64]
    fields = _unsigned_fields(tx)
    signed = [*fields, *map(_int_bytes, (v - 27 if v >= 27 else v, r, s))]
    return bytes([TYPE_2]) + cast(bytes, rlp.encode(signed))


def _unsigned_fields(tx: UnsignedTx) -> list[bytes | list[bytes]]:
    return [
        *map(_int_bytes, (tx.chain_id, tx.nonce, tx.fees.priority_fee_wei)),
        *map(_int_bytes, (tx.fees.max_fee_wei, tx.gas_limit)),
        bytes.fromhex(tx.to[2:]),
        _int_bytes(tx.value_wei),
        tx.data,
        [],
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTx:
    """A decoded signed transaction."""

    tx: UnsignedTx
    sender: Address
    tx_hash: Hash


def transaction(plan: Plan, chain_id: int, nonce: int, fees: Fees) -> UnsignedTx:
    """Return `plan` with its nonce and the fees of one attempt."""
    return UnsignedTx(
        chain_id=chain_id,
        nonce=nonce,
        to=plan.to,
        value_wei=plan.value_wei,
        data=plan.data,
        gas_limit=plan.gas_limit,
        fees=fees,
    )


def cancellation(
    signer: Address, chain_id: int, nonce: int, fees: Fees, gas_limit: int
) -> UnsignedTx:
    """Return the zero-value self-transfer that uses up `nonce` and does nothing else."""
    return UnsignedTx(
        chain_id=chain_id,
        nonce=nonce,
        to=signer,
        value_wei=Wei(0),
        data=b"",
        gas_limit=gas_limit,
        fees=fees,
    )


def is_cancellation(tx: UnsignedTx, signer: Address) -> bool:
    """Whether `tx` only uses up its nonce."""
    return tx.to == signer and tx.value_wei == 0 and not tx.data


def cancelling(open_plan: OpenPlan) -> frozenset[Hash]:
    """Return the hashes of those attempts that are cancellations, told by their stored bytes."""
    return frozenset(
        attempt.tx_hash
        for attempt in open_plan.attempts
        if is_cancellation(decode_signed(attempt.raw).tx, open_plan.signer)
    )


def decode_unsigned(payload: bytes) -> UnsignedTx:
    """Read back a signing payload.  Raises `ExecutionError` for anything but a plain type 2."""
    return _unsigned(_fields(payload, UNSIGNED_FIELDS))


@lru_cache(maxsize=REMEMBERED)
def decode_signed(raw: bytes) -> SignedTx:
    """Read a signed transaction and recover its sender.  Raises `ExecutionError`."""
    fields = _fields(raw, SIGNED_FIELDS)
    tx = _unsigned(fields[:UNSIGNED_FIELDS])
    parity, r, s = (_int(value) for value in fields[UNSIGNED_FIELDS:])
    if parity > 1 or r >= UINT256 or s >= UINT256:
        raise ExecutionError("A signed transaction carries a signature that cannot be one.")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    try:
        sender = recovered(keccak(tx.payload()), signature)
    except ValueError as error:
        raise ExecutionError("A signed transaction's sender cannot be recovered.") from error
    return SignedTx(tx=tx, sender=sender, tx_hash=Hash("0x" + keccak(raw).hex()))


def _fields(raw: bytes, count: int) -> list[bytes]:
    if raw[:1] != bytes([TYPE_2]):
        raise ExecutionError("A stored transaction is not of EIP-1559's type 2.")
    try:
        fields = rlp.decode(raw[1:], strict=True)
    except RLPException as error:
        raise ExecutionError("A stored transaction is not valid RLP.") from error
    if not isinstance(fields, (list, tuple)) or len(fields) != count:
        raise ExecutionError(f"A stored transaction does not have {count} fields.")
    if fields[8]:
        raise ExecutionError(
            "A stored transaction has an access list, which the keeper never makes."
        )
    if not all(isinstance(value, bytes) for i, value in enumerate(fields) if i != 8):
        raise ExecutionError("A stored transaction nests a list where a value belongs.")
    return list(fields)


def _unsigned(fields: list[bytes]) -> UnsignedTx:
    chain_id, nonce, tip, max_fee, gas_limit = (_int(value) for value in fields[:5])
    if len(fields[5]) != 20:
        raise ExecutionError("A stored transaction has no target: the keeper deploys nothing.")
    return UnsignedTx(
        chain_id=chain_id,
        nonce=nonce,
        to=Address("0x" + fields[5].hex()),
        value_wei=Wei(_int(fields[6])),
        data=bytes(fields[7]),
        gas_limit=gas_limit,
        fees=Fees(max_fee_wei=Wei(max_fee), priority_fee_wei=Wei(tip)),
    )


def _int_bytes(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _int(value: bytes) -> int:
    if value[:1] == b"\0":
        raise ExecutionError("A stored transaction has an integer with a leading zero.")
    return int.from_bytes(value, "big")
