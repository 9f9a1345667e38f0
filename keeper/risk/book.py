"""Every account of one market in numpy columns: edited in place, screened whole, read back exactly.

Knows no protocol: an entry is a reserve, a side, an e-mode and a scaled amount below 2**128;
what a scaled unit is worth comes from outside, block by block.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from keeper.model import Address, Entry, Holdings, Side
from keeper.risk.columns import Columns
from keeper.risk.index import AddressIndex

SCALED_BOUND = 1 << 128
KINDS_BOUND = 1 << 16

Kind = tuple[int, int]
"""(e-mode, reserve) as it numbers entries; kind 0 is that of freed places."""


class Kinds:
    """Numbers the (e-mode, reserve) pairs that occur: weights are then looked up by one gather."""

    def __init__(self) -> None:
        """Number 0 is taken by freed places."""
        self._number: dict[Kind, int] = {}
        self._kinds: list[Kind] = [(0, 0)]

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, number: int) -> Kind:
        return self._kinds[number]

    def number(self, kind: Kind) -> int:
        """Return the number of `kind`, a new one if it has none."""
        found = self._number.get(kind)
        if found is None:
            found = len(self._kinds)
            if found >= KINDS_BOUND:
                raise ValueError(f"more than {KINDS_BOUND - 1} pairs of e-mode and reserve")
            self._number[kind] = found
            self._kinds.append(kind)
        return found

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the e-modes and the reserves by number."""
        pairs = np.array(self._kinds, dtype=np.int64)
        return pairs[:, 0], pairs[:, 1]


class Book:
    """The accounts of one market."""

    def __init__(self, capacity: int = 1024) -> None:
        """`capacity`: accounts to make room for; it grows by itself."""
        self._index = AddressIndex(capacity)
        self._e_mode: NDArray[np.uint8] = np.zeros(capacity, dtype=np.uint8)
        self.collateral = Columns(capacity, 2 * capacity)
        self.debt = Columns(capacity, 2 * capacity)
        self.collateral_kinds = Kinds()
        self.debt_kinds = Kinds()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, account: object) -> bool:
        return isinstance(account, str) and self._index.find(Address(account)) is not None

    @property
    def rows(self) -> int:
        """How many rows there are, those of removed accounts included."""
        return self._index.rows

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, room for growth included."""
        return self._index.nbytes + self._e_mode.nbytes + self.collateral.nbytes + self.debt.nbytes

    def put(self, holdings: Holdings) -> int:
        """Store `holdings`, replacing what the account had; return its row.

        Raises ValueError for an amount that is not below 2**128, naming the account.
        """
        for entry in holdings.entries:
            if not 0 <= entry.scaled < SCALED_BOUND:
                raise ValueError(
                    f"{holdings.account}: {entry.scaled} in reserve {entry.reserve} is not uint128"
                )
        row = self._index.add(holdings.account)
        if row >= len(self._e_mode):
            more = max(64, row + 1 - len(self._e_mode), len(self._e_mode) // 2)
            self._e_mode = np.concatenate([self._e_mode, np.zeros(more, dtype=np.uint8)])
        self._e_mode[row] = holdings.e_mode
        e_mode = holdings.e_mode
        self.collateral.put(
            row,
            tuple(
                (self.collateral_kinds.number((e_mode, e.reserve)), e.scaled)
                for e in holdings.entries
                if e.side is Side.COLLATERAL
            ),
        )
        self.debt.put(
            row,
            tuple(
                (self.debt_kinds.number((e_mode, e.reserve)), e.scaled)
                for e in holdings.entries
                if e.side is Side.DEBT
            ),
        )
        return row

    def get(self, account: Address) -> Holdings | None:
        """Return what is stored of `account`: entries by reserve, collateral before debt."""
        row = self._index.find(account)
        return None if row is None else self.at(row)

    def at(self, row: int) -> Holdings:
        """Return what is stored in `row`, which must hold an account."""
        entries = [
            Entry(reserve=kinds[kind][1], side=side, scaled=scaled)
            for side, columns, kinds in (
                (Side.COLLATERAL, self.collateral, self.collateral_kinds),
                (Side.DEBT, self.debt, self.debt_kinds),
            )
            for kind, scaled in columns.of(row)
        ]
        entries.sort(key=lambda e: e.reserve)
        return Holdings(
            account=self._index.account(row),
            e_mode=int(self._e_mode[row]),
            entries=tuple(entries),
        )

    def account(self, row: int) -> Address:
        """Return whose row it is."""
        return self._index.account(row)

    def remove(self, account: Address) -> bool:
        """Forget `account`; False if it was not there."""
        row = self._index.remove(account)
        if row is None:
            return False
        self.collateral.clear(row)
        self.debt.clear(row)
        return True

    def accounts(self) -> Iterator[Address]:
        """Yield every account, by row.  The book must not be edited meanwhile."""
        for row in np.flatnonzero(self._index.live):
            yield self._index.account(int(row))
