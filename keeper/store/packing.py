"""Checkpoints as rows: accounts packed, compressed, and under a checksum.  Pure."""

import hashlib
import zlib
from typing import Any, Final

from keeper.model import Address, BlockRef, Checkpoint, MarketId
from keeper.store.documents import document, read_document
from keeper.store.tables import CheckpointRow
from keeper.store.types import Damaged, Unfit, canonical

_ADDRESS_BYTES: Final = 20


def checkpoint_row(checkpoint: Checkpoint, *, at: float) -> CheckpointRow:
    """The row of a checkpoint.  Takes about half a second for a million accounts."""
    try:
        packed = b"".join(bytes.fromhex(account[2:]) for account in checkpoint.accounts)
    except (TypeError, ValueError) as error:
        raise Unfit(f"checkpoints.accounts: {error}; nothing was written") from error
    if len(packed) != _ADDRESS_BYTES * len(checkpoint.accounts):
        raise Unfit(
            f"checkpoints.accounts: one is not {_ADDRESS_BYTES} bytes long; nothing was written"
        )
    accounts = zlib.compress(packed, level=1)
    block = document(checkpoint.block)
    market = checkpoint.market
    return CheckpointRow(
        chain_id=market.chain_id,
        market=market.name,
        protocol=market.protocol,
        block=block,
        accounts=accounts,
        checksum=_checksum(market, block, accounts),
        saved_at=at,
    )


def checkpoint_of(row: CheckpointRow, market: MarketId) -> Checkpoint:
    """The checkpoint.  Raises `Damaged` unless every byte is as it was written."""
    if row.checksum != _checksum(market, row.block, row.accounts):
        raise Damaged(f"checkpoints: that of {market.name} does not match its checksum")
    packed = zlib.decompress(row.accounts)
    digits = packed.hex()
    size = 2 * _ADDRESS_BYTES
    return Checkpoint(
        market=market,
        block=read_document("checkpoints.block", row.block, BlockRef),
        accounts=tuple(
            Address(f"0x{digits[start : start + size]}") for start in range(0, len(digits), size)
        ),
    )


def _checksum(market: MarketId, block: Any, accounts: bytes) -> str:
    told = [market.chain_id, market.name, market.protocol, block]
    body = hashlib.sha256(canonical(told).encode())
    body.update(accounts)
    return f"0x{body.hexdigest()}"
