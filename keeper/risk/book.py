"""Every account of one market in numpy columns: edited in place, screened whole, read back exactly.

Knows no protocol: an entry is a reserve, a side, an e-mode and a scaled amount below 2**128;
what a scaled unit is worth comes from outside, block by block.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from keeper.errors import BadHoldings
from keeper.model import Address, Entry, Holdings, Side
from keeper.risk.hot import Hot
from keeper.risk.index import AddressIndex
from keeper.risk.kinds import FREE_KIND, Kinds
from keeper.risk.pieces import Each, one_by_one
from keeper.risk.product import Places
from keeper.risk.shapes import GROWTH, STRETCH, Shape, split, width_for

SCALED_BOUND = 1 << 128
E_MODE_BOUND = 1 << 8
RESERVE_BOUND = 1 << 16

Rows = NDArray[np.int64]


class Book:
    """The accounts of one market."""

    def __init__(self, capacity: int = 1024, *, each: Each = one_by_one) -> None:
        """`capacity`: accounts to make room for; it grows by itself.

        `each`: how the pieces of a pass over very many accounts are worked at.
        """
        self.each = each
        self._index = AddressIndex(capacity)
        self._e_mode: NDArray[np.uint8] = np.zeros(capacity, dtype=np.uint8)
        self._shape: NDArray[np.uint16] = np.zeros(capacity, dtype=np.uint16)
        self._place: NDArray[np.int32] = np.zeros(capacity, dtype=np.int32)
        self._numbers: dict[tuple[int, int], int] = {}
        self._great: dict[int, Holdings] = {}
        self.shapes: list[Shape] = []
        """Accounts by how many collaterals and debts they have; `place_of` says who is where."""
        self.most = 0
        """The most columns that any shape has or had."""
        self.kinds = Kinds()
        self.edited: set[int] = set()
        """Rows put or removed since `hot` was made; nobody is noted down while there is none."""
        self.hot: Hot | None = None
        """Who can be endangered by small moves; kept by `keeper.risk.exact`."""

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, account: object) -> bool:
        return isinstance(account, str) and self._index.find(Address(account)) is not None

    @property
    def rows(self) -> int:
        """How many rows there are, those of removed accounts included."""
        return self._index.rows

    @property
    def great(self) -> Mapping[int, Holdings]:
        """By row, accounts with an amount too great for the columns to be exact."""
        return self._great

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, room for growth and the hot set included."""
        beside = self._e_mode.nbytes + self._shape.nbytes + self._place.nbytes
        hot = 0 if self.hot is None else self.hot.nbytes
        return self._index.nbytes + beside + sum(s.nbytes for s in self.shapes) + hot

    def put(self, holdings: Holdings) -> int:
        """Store `holdings`, replacing what the account had; return its row.

        Raises BadHoldings for what cannot be, naming the account and the field; the book then
        holds what it held.
        """
        e_mode = holdings.e_mode
        _check(holdings)
        collateral: list[tuple[int, int]] = []
        debt: list[tuple[int, int]] = []
        for entry in holdings.entries:
            try:
                number = self.kinds.number(entry.side, e_mode, entry.reserve)
            except ValueError as error:
                raise BadHoldings(holdings.account, "reserve", f"is one of {error}") from error
            (debt if entry.side is Side.DEBT else collateral).append((number, entry.scaled))
        row, shape = self._seat(holdings.account, len(collateral), len(debt))
        self._e_mode[row] = e_mode
        kinds, scaled, rest, exact = _columns(shape, collateral, debt)
        shape.write(int(self._place[row]), kinds, scaled, rest)
        if exact:
            self._great.pop(row, None)
        else:
            self._great[row] = holdings
        return row

    def get(self, account: Address) -> Holdings | None:
        """Return what is stored of `account`: entries by reserve, collateral before debt."""
        row = self._index.find(account)
        return None if row is None else self.at(row)

    def at(self, row: int) -> Holdings:
        """Return what is stored in `row`, which must hold an account."""
        shape, place = self.shapes[self._shape[row]], int(self._place[row])
        if row in self._great:
            entries = list(self._great[row].entries)
        else:
            columns = zip(
                shape.kind[place].tolist(),
                shape.scaled[place].tolist(),
                shape.rest[place].tolist(),
                strict=True,
            )
            entries = [
                Entry(
                    reserve=self.kinds.reserve(kind),
                    side=Side.DEBT if kind % 2 else Side.COLLATERAL,
                    scaled=int(short * STRETCH) + rest,
                )
                for kind, short, rest in columns
                if kind != FREE_KIND
            ]
        entries.sort(key=lambda e: (e.reserve, e.side is Side.DEBT))
        return Holdings(
            account=self._index.account(row),
            e_mode=int(self._e_mode[row]),
            entries=tuple(entries),
        )

    def row(self, account: Address) -> int | None:
        """Return the row of `account`; None if it is not there."""
        return self._index.find(account)

    def account(self, row: int) -> Address:
        """Return whose row it is."""
        return self._index.account(row)

    def remove(self, account: Address) -> bool:
        """Forget `account`; False if it was not there."""
        row = self._index.remove(account)
        if row is None:
            return False
        self._unseat(row)
        return True

    def accounts(self) -> Iterator[Address]:
        """Yield every account, by row.  The book must not be edited meanwhile."""
        for row in np.flatnonzero(self._index.live):
            yield self._index.account(int(row))

    def live(self, rows: Rows) -> Rows:
        """Return those of `rows` that hold an account."""
        return rows[self._index.live[rows]]

    def by_shape(self, rows: Rows) -> Iterator[tuple[Shape, Rows, Places]]:
        """Yield each shape that occurs, which of `rows` (by position) have it, and their places."""
        numbers = self._shape[rows]
        for number in np.flatnonzero(np.bincount(numbers)):
            which = np.flatnonzero(numbers == number)
            yield self.shapes[number], which, self._place[rows[which]].astype(np.intp)

    # --- where an account is ------------------------------------------------------------------

    def _seat(self, account: Address, collaterals: int, debts: int) -> tuple[int, Shape]:
        """Return the row of `account`, in a shape of that many entries."""
        known = self._index.find(account)
        number = self._number(width_for(collaterals), width_for(debts))
        shape = self.shapes[number]
        row = self._index.add(account) if known is None else known
        self._edit(row)
        if row >= len(self._e_mode):
            more = max(64, row + 1 - len(self._e_mode), len(self._e_mode) // GROWTH)
            self._e_mode = np.concatenate([self._e_mode, np.zeros(more, dtype=np.uint8)])
            self._shape = np.concatenate([self._shape, np.zeros(more, dtype=np.uint16)])
            self._place = np.concatenate([self._place, np.zeros(more, dtype=np.int32)])
        if known is not None:
            if self._shape[row] == number:
                return row, shape
            self._unseat(row)
        self._shape[row] = number
        self._place[row] = shape.append(row)
        return row, shape

    def _unseat(self, row: int) -> None:
        place = int(self._place[row])
        moved = self.shapes[self._shape[row]].drop(place)
        self._place[moved] = place
        self._great.pop(row, None)
        self._edit(row)

    def _edit(self, row: int) -> None:
        if self.hot is not None:
            self.edited.add(row)

    def _number(self, collaterals: int, debts: int) -> int:
        number = self._numbers.get((collaterals, debts))
        if number is None:
            number = self._numbers[collaterals, debts] = len(self.shapes)
            self.shapes.append(Shape(collaterals, debts))
            self.most = max(self.most, collaterals + debts)
        return number


def _check(holdings: Holdings) -> None:
    """Refuse what no contract can answer: a float, NaN among them, is not an amount either."""
    account, e_mode = holdings.account, holdings.e_mode
    if not (type(e_mode) is int and 0 <= e_mode < E_MODE_BOUND):
        raise BadHoldings(account, "e_mode", f"{e_mode} is not uint8")
    seen = set()
    for entry in holdings.entries:
        reserve, scaled = entry.reserve, entry.scaled
        if not (type(reserve) is int and 0 <= reserve < RESERVE_BOUND):
            raise BadHoldings(account, "reserve", f"{reserve} is not uint16")
        if not (type(scaled) is int and 0 <= scaled < SCALED_BOUND):
            raise BadHoldings(account, "scaled", f"{scaled} in reserve {reserve} is not uint128")
        if (reserve, entry.side) in seen:
            raise BadHoldings(
                account, "entries", f"have two of {entry.side.value} in reserve {reserve}"
            )
        seen.add((reserve, entry.side))


def _columns(
    shape: Shape, collateral: list[tuple[int, int]], debt: list[tuple[int, int]]
) -> tuple[list[int], list[float], list[int], bool]:
    """Return kinds, floats and rests by column, and whether they are the amounts exactly."""
    free = (FREE_KIND, 0)
    entries = [
        *collateral,
        *[free] * (shape.collaterals - len(collateral)),
        *debt,
        *[free] * (shape.debts - len(debt)),
    ]
    parts = [split(scaled) for _, scaled in entries]
    return (
        [kind for kind, _ in entries],
        [short for short, _ in parts],
        [rest or 0 for _, rest in parts],
        all(rest is not None for _, rest in parts),
    )
