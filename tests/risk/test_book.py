"""The book against a dict: whatever was put is what is there, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keeper.model import Address, Entry, Holdings, Side
from keeper.risk.book import Book
from keeper.risk.index import AddressIndex
from keeper.risk.shapes import STRETCH

ACCOUNTS = st.integers(0, 40).map(lambda n: Address(f"0x{n * 0x1234567890ABCDEF:040x}"))
SCALED = st.one_of(
    st.integers(0, 2**128 - 1),
    st.sampled_from([0, 1, 2**64 - 1, 2**64, 2**64 + 1, 2**128 - 1]),
)


@st.composite
def holdings(draw: st.DrawFn) -> Holdings:
    keys = draw(st.sets(st.tuples(st.integers(0, 127), st.sampled_from(list(Side))), max_size=8))
    return Holdings(
        account=draw(ACCOUNTS),
        e_mode=draw(st.integers(0, 255)),
        entries=tuple(
            Entry(reserve=reserve, side=side, scaled=draw(SCALED))
            for reserve, side in sorted(keys, key=lambda k: (k[0], k[1] is Side.DEBT))
        ),
    )


class BookMachine(RuleBasedStateMachine):
    """Puts, replaces and removes in any order; rows and places are handed out again."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(capacity=2)
        self.expected: dict[Address, Holdings] = {}

    @rule(of=holdings())
    def put(self, of: Holdings) -> None:
        row = self.book.put(of)
        self.expected[of.account] = of
        assert self.book.at(row) == of

    @rule(account=ACCOUNTS)
    def remove(self, account: Address) -> None:
        assert self.book.remove(account) is (self.expected.pop(account, None) is not None)

    @rule(account=ACCOUNTS)
    def look(self, account: Address) -> None:
        assert self.book.get(account) == self.expected.get(account)
        assert (account in self.book) is (account in self.expected)

    @invariant()
    def everybody_is_there_once(self) -> None:
        assert len(self.book) == len(self.expected)
        assert sorted(self.book.accounts()) == sorted(self.expected)

    @invariant()
    def the_columns_hold_what_the_accounts_hold_and_nothing_else(self) -> None:
        held = []
        for shape in self.book.shapes:
            scaled = shape.scaled[: shape.size].astype(float) * STRETCH
            scaled += shape.rest[: shape.size]
            held += scaled[scaled > 0].tolist()
        amounts = [
            pytest.approx(e.scaled, rel=2**-23)
            for h in self.expected.values()
            for e in h.entries
            if e.scaled
        ]
        assert sorted(held) == sorted(amounts, key=lambda a: a.expected)

    @invariant()
    def every_account_is_where_the_book_says(self) -> None:
        rows = np.flatnonzero(self.book._index.live)
        seen = []
        for shape, which, places in self.book.by_shape(rows):
            assert shape.row[places].tolist() == rows[which].tolist()
            seen += which.tolist()
        assert sorted(seen) == list(range(len(rows)))
        assert sum(shape.size for shape in self.book.shapes) == len(rows)


TestBook = BookMachine.TestCase


@given(st.integers(0, 2**128 - 1))
def test_a_scaled_amount_survives_to_the_last_bit(scaled: int) -> None:
    book = Book(capacity=1)
    entry = Entry(reserve=3, side=Side.DEBT, scaled=scaled)
    of = Holdings(account=Address("0x" + "f" * 40), e_mode=255, entries=(entry,))

    book.put(of)

    assert book.get(of.account) == of


@pytest.mark.parametrize("scaled", [-1, 2**128])
def test_an_amount_that_is_no_uint128_is_refused_and_nothing_changes(scaled: int) -> None:
    book = Book()
    good = Holdings(account=Address("0x" + "1" * 40), e_mode=0, entries=())
    book.put(good)
    bad = Entry(reserve=3, side=Side.DEBT, scaled=scaled)

    with pytest.raises(ValueError, match=f"{good.account}: {scaled} in reserve 3"):
        book.put(Holdings(account=good.account, e_mode=0, entries=(bad,)))

    assert book.get(good.account) == good


def test_an_account_of_nothing_is_kept() -> None:
    book = Book()
    empty = Holdings(account=Address("0x" + "1" * 40), e_mode=0, entries=())

    book.put(empty)

    assert book.get(empty.account) == empty
    assert book.get(Address("0x" + "2" * 40)) is None


def test_an_account_takes_little_memory() -> None:
    book = Book(capacity=20_000)
    for n in range(20_000):
        entries = (
            Entry(reserve=n % 7, side=Side.COLLATERAL, scaled=10**21 + n),
            Entry(reserve=n % 5, side=Side.DEBT, scaled=10**20 + n),
        )
        book.put(Holdings(account=Address(f"0x{n:040x}"), e_mode=0, entries=entries))

    assert book.nbytes / len(book) < 90


def test_removed_rows_and_slots_are_used_again() -> None:
    index = AddressIndex(capacity=4)
    for n in range(10_000):
        index.add(Address(f"0x{n:040x}"))
        assert index.remove(Address(f"0x{n:040x}")) is not None

    assert len(index) == 0
    assert index.rows == 1
    assert index.nbytes < 10_000


def test_a_live_row_knows_whose_it_is() -> None:
    index = AddressIndex(capacity=1)
    accounts = [Address(f"0x{n:040x}") for n in range(500)]
    rows = [index.add(account) for account in accounts]
    index.remove(accounts[7])

    assert [index.account(row) for row in rows] == accounts
    assert np.flatnonzero(~index.live).tolist() == [7]
    assert index.find(accounts[7]) is None
    assert index.find(accounts[499]) == 499


def test_removing_some_loses_none_of_those_they_collided_with() -> None:
    index = AddressIndex(capacity=2_000)
    accounts = [Address(f"0x{n:040x}") for n in range(2_000)]
    for account in accounts:
        index.add(account)

    for account in accounts[::3]:
        index.remove(account)

    kept = [a for n, a in enumerate(accounts) if n % 3]
    assert [index.find(a) for a in accounts[::3]] == [None] * len(accounts[::3])
    assert all(index.find(a) is not None for a in kept)
    assert len(index) == len(kept)
