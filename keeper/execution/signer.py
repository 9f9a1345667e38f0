"""The key, and the one thing done with it.

A signer is asked for a signature only after the journal holds the claim and the policy has judged
the decoded bytes.  What it returns is decoded again and compared with what was asked.
"""

import re
from pathlib import Path
from typing import Final, NoReturn, Protocol

from coincurve import PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from keeper.errors import ConfigError, ExecutionError, PolicyViolation
from keeper.execution.keystore import DEVNET, read_key, read_passphrase
from keeper.execution.permits import Domain, digest, parse_signature, signer_of, typed_data
from keeper.execution.policy import Denied, SigningPolicy
from keeper.execution.transaction import UnsignedTx, decode_signed, decode_unsigned, with_signature
from keeper.model import Address, Attempt, OpenPlan, Permit, SignedPermit

PLAIN_KEY: Final = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class Signer(Protocol):
    """Holds one key, or knows who does."""

    @property
    def address(self) -> Address: ...

    async def sign(self, tx: UnsignedTx) -> Attempt:
        """Return the signed bytes of exactly `tx`."""
        ...


class GuardedSigner:
    """A key and the policy that stands before it: the only way to a signature.

    The policy judges what it decodes from the very bytes that would be hashed, right before each
    signature, whoever asked and whatever was judged before.
    """

    def __init__(self, signer: Signer, policy: SigningPolicy) -> None:
        self._signer = signer
        self._policy = policy

    async def sign(self, tx: UnsignedTx, plan: OpenPlan) -> Attempt:
        """Return `tx` signed as an attempt of `plan`.  Raises `PolicyViolation`."""
        payload = decode_unsigned(tx.payload())
        verdict = self._policy.check_final(payload, plan)
        if isinstance(verdict, Denied):
            raise PolicyViolation(verdict.reason)
        if plan.signer != self._signer.address:
            raise PolicyViolation(
                f"The plan is of {plan.signer}, the key is that of {self._signer.address}."
            )
        return await self._signer.sign(payload)


class KeystoreSigner:
    """A key in this process's memory, from a keystore v3 file."""

    __slots__ = ("_account", "_key", "address")

    def __init__(self, account: LocalAccount) -> None:
        """Use `open` or `plain`."""
        self._account = account
        self._key = PrivateKey(bytes(account.key))
        self.address = Address(account.address.lower())

    @classmethod
    async def open(cls, path: Path, passphrase: Path | int, chain_id: int) -> "KeystoreSigner":
        """Open a keystore with the passphrase in a file or behind a descriptor.

        Raises `ConfigError` for a file, parameters or passphrase that will not do.
        """
        key = await read_key(path, read_passphrase(passphrase), chain_id)
        return cls(Account.from_key(key))

    @classmethod
    def plain(cls, key: str, chain_id: int) -> "KeystoreSigner":
        """Take a private key as text: on chain 31337 only.  Raises `ConfigError`."""
        if chain_id != DEVNET:
            raise ConfigError(
                f"A private key in plain text is accepted on chain {DEVNET} only, this is chain"
                f" {chain_id}: put it into a keystore file and name that."
            )
        if not PLAIN_KEY.fullmatch(key):
            raise ConfigError("The private key is not 64 hex digits.")
        try:
            return cls(Account.from_key(key))
        except ValueError:
            raise ConfigError("The private key is not a valid secp256k1 key.") from None

    async def sign(self, tx: UnsignedTx) -> Attempt:
        """Sign the very bytes that were judged; what comes of it is decoded and compared before it
        is returned.  The signature is deterministic (RFC 6979), with the lower s (EIP-2).
        """
        signature = self._key.sign_recoverable(keccak(tx.payload()), hasher=None)
        return checked(with_signature(tx, signature), tx, self.address)

    def sign_permit(self, permit: Permit, domain: Domain) -> SignedPermit:
        """Sign what lets `permit.spender` take tokens of this key's own account, and only that.

        The signature is recovered before it is returned.  Raises `ExecutionError`.
        """
        if permit.owner != self.address or (domain.chain_id, domain.token) != (
            permit.chain_id,
            permit.token,
        ):
            raise ExecutionError(f"The key of {self.address} signs permits of its own tokens only.")
        signed = self._account.sign_typed_data(full_message=typed_data(permit, domain))
        v, r, s = parse_signature(bytes(signed.signature).hex())
        if signer_of(digest(permit, domain.separator), v, r, s) != self.address:
            raise ExecutionError("The key signed something else than it was asked to sign.")
        return SignedPermit(permit=permit, v=v, r=r, s=s)

    def __repr__(self) -> str:
        """Name the address, never the key."""
        return f"KeystoreSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: the key stays here."""
        raise TypeError("A signer is neither copied nor pickled.")


def checked(raw: bytes, tx: UnsignedTx, signer: Address) -> Attempt:
    """Return `raw` as an attempt if it is `tx` signed by `signer`.  Raises `ExecutionError`."""
    signed = decode_signed(raw)
    if signed.tx != tx or signed.sender != signer:
        raise ExecutionError("The signer returned another transaction than it was asked to sign.")
    return Attempt(tx_hash=signed.tx_hash, raw=raw, fees=tx.fees)
