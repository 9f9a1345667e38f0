"""Whether a header is the one that its hash was made of, so that one node's word is enough for it.

Source: execution-specs, ``Header`` of Prague: the hash of a block is the keccak of the RLP of these
fields, in this order; what came with a fork is at the end, and absent before it.

Caveat: some chains' headers have fields of their own, or come without some.  They prove nothing,
and nothing is proved against them.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import rlp
from eth_utils.crypto import keccak

from keeper.chain import wire
from keeper.chain.wire import Header
from keeper.errors import BadAnswer


def _quantity(value: object, what: str) -> bytes:
    number = wire.amount(value, what)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


_FIELDS: Final[tuple[tuple[str, Callable[[object, str], bytes]], ...]] = (
    ("parent_hash", wire.octets),
    ("sha3_uncles", wire.octets),
    ("miner", wire.octets),
    ("state_root", wire.octets),
    ("transactions_root", wire.octets),
    ("receipts_root", wire.octets),
    ("logs_bloom", wire.octets),
    ("difficulty", _quantity),
    ("number", _quantity),
    ("gas_limit", _quantity),
    ("gas_used", _quantity),
    ("timestamp", _quantity),
    ("extra_data", wire.octets),
    ("mix_hash", wire.octets),
    ("nonce", wire.octets),
)
_LATER: Final[tuple[tuple[str, Callable[[object, str], bytes]], ...]] = (
    ("base_fee_per_gas", _quantity),
    ("withdrawals_root", wire.octets),
    ("blob_gas_used", _quantity),
    ("excess_blob_gas", _quantity),
    ("parent_beacon_block_root", wire.octets),
    ("requests_hash", wire.octets),
)
"""London, Shanghai, Cancun, Prague."""
MOST_CHARACTERS: Final = 8_192
"""Of all fields together: Ethereum's take 1,700, most of them the bloom."""


def kept(header: Header) -> Header:
    """Return what of `header` is worth keeping for a proof: its hash alone where none can come.

    Anybody may announce a header with megabytes in a field.
    """
    fields = [field for field in msgspec.structs.astuple(header) if field is not None]
    if all(isinstance(f, str) for f in fields) and sum(map(len, fields)) <= MOST_CHARACTERS:
        return header
    return Header(number="", hash=header.hash, parent_hash="", timestamp="")


def is_sealed(header: Header) -> bool:
    """Whether every field of `header` is proved by its hash.  False proves nothing."""
    if header.state_root is None:  # one of those that say little
        return False
    there = [field for field in _LATER if getattr(header, field[0]) is not None]
    if there != list(_LATER[: len(there)]):  # one field could stand in another's place
        return False
    try:
        fields = [read(getattr(header, name), name) for name, read in (*_FIELDS, *there)]
    except BadAnswer:
        return False
    return "0x" + keccak(rlp.encode(fields)).hex() == header.hash.lower()
