"""Who signed: an address from a signature (secp256k1, SEC 1, section 4.1.6)."""

import coincurve
from eth_utils.crypto import keccak

from keeper.model import Address


def recovered(hashed: bytes, signature: bytes) -> Address:
    """Return who signed the 32 bytes `hashed`.  Raises ValueError where nobody can have.

    `signature`: r, s and the parity, 65 bytes.
    """
    try:
        key = coincurve.PublicKey.from_signature_and_message(signature, hashed, hasher=None)
    except Exception as error:  # coincurve raises bare Exception for a signature off the curve
        raise ValueError("the signature is nobody's") from error
    return Address("0x" + keccak(key.format(compressed=False)[1:])[12:].hex())
