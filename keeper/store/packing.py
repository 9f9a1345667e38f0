"""Checkpoints as rows: accounts and balances packed, compressed, and under a checksum.  Pure.

    magic | zlib( anchor, layout, count | addresses | entries of each | e-modes | entries )

An account whose balances are not kept has `UNKNOWN` for its number of entries; one with so many
entries or more is not kept either, and is read again like them.  A row of another magic, such as
that of an older keeper, is discarded: a checkpoint is a cache.
"""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, Final

from keeper.model import Address, BlockRef, Checkpoint, Entry, Holdings, MarketId, Side
from keeper.store.documents import document, read_document
from keeper.store.tables import CheckpointRow
from keeper.store.types import Damaged, Unfit, canonical

MAGIC: Final = b"keeper book 3\n"
UNKNOWN: Final = 255
_ADDRESS_BYTES: Final = 20
_SCALED_BYTES: Final = 16
_ENTRY_BYTES: Final = 1 + _SCALED_BYTES
"""Reserve and side in one byte, the scaled amount."""
_LAYOUT_BYTES: Final = 32
_COUNT_BYTES: Final = 4
_RESERVES: Final = 128


def checkpoint_row(checkpoint: Checkpoint, *, at: float) -> CheckpointRow:
    """The row of a checkpoint.  About 0.4 s for a hundred thousand accounts with balances."""
    packed = MAGIC + zlib.compress(_packed(checkpoint), level=1)
    block = document(checkpoint.block)
    market = checkpoint.market
    return CheckpointRow(
        chain_id=market.chain_id,
        market=market.name,
        protocol=market.protocol,
        block=block,
        accounts=packed,
        checksum=_checksum(market, block, packed),
        saved_at=at,
    )


def checkpoint_of(row: CheckpointRow, market: MarketId) -> Checkpoint:
    """The checkpoint.  Raises `Damaged` unless every byte is as it was written."""
    if row.checksum != _checksum(market, row.block, row.accounts):
        raise Damaged(f"checkpoints: that of {market.name} does not match its checksum")
    if not row.accounts.startswith(MAGIC):
        raise Damaged(f"checkpoints: that of {market.name} is of another version of the keeper")
    try:
        packed = zlib.decompress(row.accounts[len(MAGIC) :])
        anchor, layout, accounts, holdings = _unpacked(packed)
    except (zlib.error, ValueError) as error:
        raise Damaged(f"checkpoints: that of {market.name} cannot be read: {error}") from error
    return Checkpoint(
        market=market,
        anchor=anchor,
        block=read_document("checkpoints.block", row.block, BlockRef),
        accounts=accounts,
        holdings=holdings,
        layout=layout,
    )


# --- one after the other ------------------------------------------------------------------------


def _packed(checkpoint: Checkpoint) -> bytes:
    try:
        anchor = bytes.fromhex(checkpoint.anchor[2:])
        addresses = b"".join(bytes.fromhex(account[2:]) for account in checkpoint.accounts)
        layout = bytes.fromhex(checkpoint.layout.removeprefix("0x")).rjust(_LAYOUT_BYTES, b"\0")
    except (TypeError, ValueError) as error:
        raise Unfit(f"checkpoints.accounts: {error}; nothing was written") from error
    if len(anchor + addresses) != _ADDRESS_BYTES * (1 + len(checkpoint.accounts)):
        raise Unfit(
            f"checkpoints.accounts: one is not {_ADDRESS_BYTES} bytes long; nothing was written"
        )
    known = {h.account: h for h in checkpoint.holdings if len(h.entries) < UNKNOWN}
    kept = [known.get(account) for account in checkpoint.accounts]
    return b"".join(
        (
            anchor,
            layout,
            len(kept).to_bytes(_COUNT_BYTES, "little"),
            addresses,
            bytes(UNKNOWN if h is None else len(h.entries) for h in kept),
            bytes(0 if h is None else h.e_mode for h in kept),
            *(_entry(entry) for h in kept if h is not None for entry in h.entries),
        )
    )


def _entry(entry: Entry) -> bytes:
    if not 0 <= entry.reserve < _RESERVES or entry.scaled >> 8 * _SCALED_BYTES:
        raise Unfit(
            f"checkpoints.accounts: {entry.scaled} in reserve {entry.reserve}; nothing was written"
        )
    place = entry.reserve << 1 | (entry.side is Side.DEBT)
    return place.to_bytes(1, "little") + entry.scaled.to_bytes(_SCALED_BYTES, "little")


def _unpacked(packed: bytes) -> tuple[Address, str, tuple[Address, ...], tuple[Holdings, ...]]:
    """Raises ValueError unless every byte has its place."""
    anchor, packed = packed[:_ADDRESS_BYTES], packed[_ADDRESS_BYTES:]
    head = _LAYOUT_BYTES + _COUNT_BYTES
    count = int.from_bytes(packed[_LAYOUT_BYTES:head], "little")
    names = head + _ADDRESS_BYTES * count
    sizes, e_modes = packed[names : names + count], packed[names + count : names + 2 * count]
    body = packed[names + 2 * count :]
    expected = _ENTRY_BYTES * sum(size for size in sizes if size != UNKNOWN)
    if len(packed) < names + 2 * count or len(body) != expected:
        raise ValueError(f"{len(packed)} bytes are not those of {count} accounts")
    digits = packed[head:names].hex()
    step = 2 * _ADDRESS_BYTES
    accounts = tuple(Address(f"0x{digits[at : at + step]}") for at in range(0, len(digits), step))
    layout = packed[:_LAYOUT_BYTES].hex()
    return (
        Address(f"0x{anchor.hex()}"),
        f"0x{layout}" if layout.strip("0") else "",
        accounts,
        tuple(_holdings(accounts, sizes, e_modes, body)),
    )


def _holdings(
    accounts: Sequence[Address], sizes: bytes, e_modes: bytes, body: bytes
) -> list[Holdings]:
    found: list[Holdings] = []
    at = 0
    for account, size, e_mode in zip(accounts, sizes, e_modes, strict=True):
        if size == UNKNOWN:
            continue
        entries = []
        for _ in range(size):
            place = body[at]
            scaled = int.from_bytes(body[at + 1 : at + _ENTRY_BYTES], "little")
            side = Side.DEBT if place & 1 else Side.COLLATERAL
            entries.append(Entry(reserve=place >> 1, side=side, scaled=scaled))
            at += _ENTRY_BYTES
        found.append(Holdings(account=account, e_mode=e_mode, entries=tuple(entries)))
    return found


def _checksum(market: MarketId, block: Any, accounts: bytes) -> str:
    told = [market.chain_id, market.name, market.protocol, block]
    body = hashlib.sha256(canonical(told).encode())
    body.update(accounts)
    return f"0x{body.hexdigest()}"
