"""Addresses to rows: open addressing over int32 slots, a fifth of what a dict of strings costs.

Hashed with Python's own keyed hash of bytes: whoever grinds addresses cannot make them collide.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model import Address

EMPTY: Final = -1
GONE: Final = -2
ADDRESS_BYTES: Final = 20


class AddressIndex:
    """Which row an address has.  Rows are dense: a removed row is handed out again."""

    def __init__(self, capacity: int = 1024) -> None:
        """`capacity`: accounts to make room for; it grows by itself."""
        self._keys: NDArray[np.uint8] = np.zeros((capacity, ADDRESS_BYTES), dtype=np.uint8)
        self._slots: NDArray[np.int32] = np.full(_slots_for(capacity), EMPTY, dtype=np.int32)
        self._used_slots = 0
        self._free_rows: list[int] = []
        self._live: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self.rows = 0
        """Rows ever handed out: arrays beside the index are this long."""

    def __len__(self) -> int:
        return self.rows - len(self._free_rows)

    @property
    def live(self) -> NDArray[np.bool_]:
        """bool[rows]: which rows hold an account; a view, not to be kept or written."""
        return self._live[: self.rows]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._keys.nbytes + self._slots.nbytes + self._live.nbytes

    def find(self, account: Address) -> int | None:
        """Return the row of `account`."""
        slot = self._find(_key(account))
        return None if slot is None else int(self._slots[slot])

    def add(self, account: Address) -> int:
        """Return the row of `account`, a new or a free one if it has none."""
        key = _key(account)
        slot = self._find(key)
        if slot is not None:
            return int(self._slots[slot])
        row = self._free_rows.pop() if self._free_rows else self._new_row()
        if (self._used_slots + 1) * 2 > len(self._slots):
            self._rehash()
        self._keys[row] = np.frombuffer(key, dtype=np.uint8)
        self._live[row] = True
        self._place(key, row)
        return row

    def remove(self, account: Address) -> int | None:
        """Forget `account`; return the row it had."""
        slot = self._find(_key(account))
        if slot is None:
            return None
        row = int(self._slots[slot])
        self._slots[slot] = GONE
        self._live[row] = False
        self._free_rows.append(row)
        return row

    def account(self, row: int) -> Address:
        """Return the address in `row`."""
        return Address("0x" + self._keys[row].tobytes().hex())

    def _find(self, key: bytes) -> int | None:
        mask = len(self._slots) - 1
        slot = hash(key) & mask
        while (row := int(self._slots[slot])) != EMPTY:
            if row >= 0 and self._keys[row].tobytes() == key:
                return slot
            slot = (slot + 1) & mask
        return None

    def _place(self, key: bytes, row: int) -> None:
        mask = len(self._slots) - 1
        slot = hash(key) & mask
        while int(self._slots[slot]) >= 0:
            slot = (slot + 1) & mask
        self._used_slots += int(self._slots[slot]) == EMPTY
        self._slots[slot] = row

    def _new_row(self) -> int:
        if self.rows == len(self._keys):
            more = max(64, self.rows // 8)
            self._keys = np.concatenate(
                [self._keys, np.zeros((more, ADDRESS_BYTES), dtype=np.uint8)]
            )
            self._live = np.concatenate([self._live, np.zeros(more, dtype=np.bool_)])
        self.rows += 1
        return self.rows - 1

    def _rehash(self) -> None:
        self._slots = np.full(_slots_for(2 * (len(self) + 1)), EMPTY, dtype=np.int32)
        self._used_slots = 0
        for row in np.flatnonzero(self.live):
            self._place(self._keys[row].tobytes(), int(row))


def _key(account: Address) -> bytes:
    return bytes.fromhex(account[2:])


def _slots_for(accounts: int) -> int:
    """A power of two that is at least twice `accounts`."""
    return 1 << max(6, (2 * accounts - 1).bit_length())
