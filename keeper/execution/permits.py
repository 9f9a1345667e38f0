"""Permits (EIP-2612) as bytes: what is signed, whose signature it is, and what makes one useless.

Source: EIP-712, EIP-2612, EIP-2098 (short signatures), EIP-2 (the lower half of the curve).  A
permit is good for one token and chain (by the token's domain separator), one nonce and until a
deadline; there is no way to take one back but to use up its nonce with another.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from eth_utils.crypto import keccak

from keeper.errors import BadAnswer, ConfigError
from keeper.execution.deleverager import ALLOWANCE
from keeper.execution.liquidator import WORD, word
from keeper.execution.recovery import recovered
from keeper.model import Address, Asset, Call, Permit, SignedPermit
from keeper.strategies.text import have, need
from keeper.units import Raw

PERMIT_TYPE: Final = keccak(
    text="Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
DOMAIN_TYPE: Final = keccak(
    text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
CURVE: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
LAST: Final = 253_402_300_799
"""The last second of the year 9999."""
LONGEST_NAME: Final = 128

PERMIT: Final = keccak(text="permit(address,address,uint256,uint256,uint8,bytes32,bytes32)")[:4]
NAME: Final = keccak(text="name()")[:4]
REVISION: Final = keccak(text="EIP712_REVISION()")[:4]
PERMIT_TYPEHASH: Final = keccak(text="PERMIT_TYPEHASH()")[:4]
DOMAIN_SEPARATOR: Final = keccak(text="DOMAIN_SEPARATOR()")[:4]
NONCES: Final = keccak(text="nonces(address)")[:4]

_HEX: Final = re.compile("(0x)?[0-9a-fA-F]*", re.ASCII)
_LONG, _SHORT = 65, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """By what a token's signatures are kept apart from all others: EIP-712."""

    name: str
    version: str
    chain_id: int
    token: Address

    @property
    def separator(self) -> bytes:
        """What ``DOMAIN_SEPARATOR()`` must answer."""
        names = (keccak(text=self.name), keccak(text=self.version))
        return keccak(b"".join((DOMAIN_TYPE, *names, word(self.chain_id), word(self.token))))


def digest(permit: Permit, separator: bytes) -> bytes:
    """Return the 32 bytes that are signed."""
    said = (word(permit.owner), word(permit.spender))
    numbers = (word(permit.value), word(permit.nonce), word(permit.deadline))
    return keccak(b"\x19\x01" + separator + keccak(b"".join((PERMIT_TYPE, *said, *numbers))))


def typed_data(permit: Permit, domain: Domain) -> dict[str, Any]:
    """Return what a wallet's ``eth_signTypedData_v4`` takes; amounts as decimal numerals."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Permit": [
                {"name": "owner", "type": "address"},
                {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ],
        },
        "primaryType": "Permit",
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": domain.chain_id,
            "verifyingContract": domain.token,
        },
        "message": {
            "owner": permit.owner,
            "spender": permit.spender,
            "value": str(permit.value),
            "nonce": str(permit.nonce),
            "deadline": str(permit.deadline),
        },
    }


def parse_typed_data(document: object) -> Permit:
    """Return the permit of what `typed_data` made.  Raises `ConfigError` in one sentence."""
    sentence = "The file's typed_data is no permit: give what `keeper permit` printed, as it was."
    if not isinstance(document, dict):
        raise ConfigError(sentence)
    try:
        domain, message = document["domain"], document["message"]
        if document["primaryType"] != "Permit":
            raise ConfigError(sentence)
        numbers = [int(str(message[key])) for key in ("value", "nonce", "deadline")]
        addresses = [
            str(found).lower()
            for found in (domain["verifyingContract"], message["owner"], message["spender"])
        ]
        chain_id = int(str(domain["chainId"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(sentence) from error
    if not all(re.fullmatch("0x[0-9a-f]{40}", one) for one in addresses) or not all(
        0 <= number < 2**256 for number in (chain_id, *numbers)
    ):
        raise ConfigError(sentence)
    token, owner, spender = (Address(one) for one in addresses)
    value, nonce, deadline = numbers
    return Permit(
        chain_id=chain_id,
        token=token,
        owner=owner,
        spender=spender,
        value=value,
        nonce=nonce,
        deadline=deadline,
    )


def parse_signature(text: str) -> tuple[int, bytes, bytes]:
    """Return v (27 or 28), r and s of 65 bytes, or of EIP-2098's 64.

    v of 0 or 1, which some wallets write, is 27 or 28.  Raises `ConfigError` in one sentence.
    """
    if not _HEX.fullmatch(text) or len(text) % 2:
        raise ConfigError("The signature is not hexadecimal: give what the wallet answered, 0x...")
    data = bytes.fromhex(text.removeprefix("0x"))
    if len(data) == _SHORT:
        high = data[WORD] >> 7
        data = data[:WORD] + bytes([data[WORD] & 0x7F]) + data[WORD + 1 :] + bytes([27 + high])
    if len(data) != _LONG:
        raise ConfigError(
            f"The signature has {len(data)} bytes, an account's has 65, or 64 in its short form:"
            " contract wallets' (EIP-1271) are not taken by tokens' permits."
        )
    r, s = (int.from_bytes(data[at : at + WORD], "big") for at in (0, WORD))
    v = data[-1] + 27 if data[-1] in {0, 1} else data[-1]
    if v not in {27, 28}:
        raise ConfigError(f"The signature ends in {data[-1]}: it must be 27 or 28, or 0 or 1.")
    if not (0 < r < CURVE and 0 < s < CURVE):
        raise ConfigError("The signature's numbers are off the curve: it is damaged, sign again.")
    if s > CURVE // 2:
        raise ConfigError(
            "The signature is the malleable twin of one (its s is in the upper half of the curve),"
            " which tokens refuse: give what the wallet answered."
        )
    return v, data[:WORD], data[WORD : 2 * WORD]


def signer_of(hashed: bytes, v: int, r: bytes, s: bytes) -> Address:
    """Return who signed `hashed`.  Raises `ConfigError` where nobody can have."""
    try:
        return recovered(hashed, r + s + bytes([v - 27]))
    except ValueError as error:
        raise ConfigError("The signature is nobody's: it is damaged, sign again.") from error


# --- the token ------------------------------------------------------------------------------


def nonce_call(token: Address, owner: Address) -> Call:
    """Return the read of the nonce of `owner`'s next permit."""
    return Call(to=token, data=NONCES + word(owner))


def allowed_call(permit: Permit) -> Call:
    """Return the read of what the permit would set."""
    return Call(to=permit.token, data=ALLOWANCE + word(permit.owner) + word(permit.spender))


def permit_call(signed: SignedPermit) -> Call:
    """Return the call by which anybody may hand a permit to its token."""
    of = signed.permit
    numbers = (of.value, of.deadline, signed.v)
    words = (*map(word, (of.owner, of.spender)), *map(word, numbers), signed.r, signed.s)
    return Call(to=of.token, data=PERMIT + b"".join(words))


def decode_text(data: bytes, what: str) -> str:
    """Return a string or bytes that a contract answered.  Raises `BadAnswer`."""
    length = int.from_bytes(data[WORD : 2 * WORD], "big")
    if data[:WORD] != word(WORD) or not 0 < length <= LONGEST_NAME:
        raise BadAnswer(f"{what} did not answer with a text of at most {LONGEST_NAME} bytes.")
    text = data[2 * WORD : 2 * WORD + length]
    if len(text) != length:
        raise BadAnswer(f"{what} answered with less text than it says.")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise BadAnswer(f"{what} answered with text that is not UTF-8.") from None


# --- whether one is of use ------------------------------------------------------------------


def uselessness(
    permit: Permit, *, asset: Asset, nonce: int, needs: int, at: int, last: int | None = None
) -> str:
    """Return why `permit` allows nothing, or too little; empty where it does what is needed.

    `asset`: what `permit.token` is a claim to; `nonce`: of the token now; `needs`: raw units that
    must be allowed; `at`: the chain's second; `last`: until when it must be good, `at` if left out.
    """
    if permit.deadline < at:
        return f"its permit ran out on {instant(permit.deadline)}"
    if permit.deadline < (at if last is None else last):
        return f"its permit runs out on {instant(permit.deadline)}: too soon for a transaction"
    if permit.nonce < nonce:
        return f"its permit was used up: it is number {permit.nonce}, the token is at {nonce}"
    if permit.nonce > nonce:
        return f"its permit is number {permit.nonce}, the token is at {nonce} yet"
    if permit.value < needs:
        allowed = have(Raw(permit.value), asset)
        return f"its permit is for {allowed} and it needs {need(Raw(needs), asset)}"
    return ""


def instant(second: int) -> str:
    """Return ``2026-12-21 11:00Z``."""
    return f"{datetime.fromtimestamp(min(second, LAST), UTC):%Y-%m-%d %H:%MZ}"
