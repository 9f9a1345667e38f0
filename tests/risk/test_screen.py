"""The float screen against exact integers: it never misses anybody, however near the edge."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model import Address, Assessed, Assessment, Entry, Holdings, Side, Unassessable, Weights
from keeper.protocols.aave_v3.view import View
from keeper.risk.book import Book
from keeper.risk.exact import below, candidates, endangered
from keeper.risk.screen import screen
from keeper.units import WAD, Wad
from tests.protocols.aave_v3 import builders as b

REVISIONS = (1, 8, 10, 11)
"""One for each way the sums are rounded; 3.7 for the sake of being the newest."""
RESERVES = (b.WETH, b.WBTC, b.USDC, b.DAI, b.LST)


def account(n: int) -> Address:
    return Address(f"0x{n:040x}")


def book_of(*all_holdings: Holdings) -> Book:
    book = Book(capacity=4)
    for holdings in all_holdings:
        book.put(holdings)
    return book


def health(view: View, holdings: Holdings) -> int:
    found = view.assess(holdings)
    assert isinstance(found, Assessed), found
    return found.health_factor


def assert_the_screen_is_right(view: View, everyone: list[Holdings], threshold: Wad) -> None:
    book = book_of(*everyone)
    seen = screen(book, view.weights())
    can = {book.account(r) for r in seen.can_be_below(threshold).tolist()}
    surely = {book.account(r) for r in seen.surely_below(threshold).tolist()}
    exact = {h.account for h in everyone if health(view, h) < threshold}

    assert surely <= exact <= can


@st.composite
def positions(draw: st.DrawFn) -> Holdings:
    """Any size from dust to 2**120 raw units, up to five entries a side."""
    sizes = st.one_of(st.integers(1, 2**100), st.integers(1, 10**6))
    entries = [
        Entry(reserve=reserve, side=side, scaled=draw(sizes))
        for side in Side
        for reserve in draw(st.sets(st.sampled_from(RESERVES), max_size=5))
    ]
    return b.holdings(*entries, e_mode=draw(st.sampled_from([0, b.ETH_CORRELATED, 3, 0])))


@pytest.mark.parametrize("revision", REVISIONS)
@given(holdings=positions(), threshold=st.integers(1, 3 * WAD))
def test_nobody_below_any_threshold_is_missed(
    revision: int, holdings: Holdings, threshold: int
) -> None:
    view = b.view(revision)

    assert_the_screen_is_right(view, [holdings], Wad(threshold))
    # and at the very edge: its own health factor, and one wad unit to either side
    own = health(view, holdings)
    if own < 2**200:
        for edge in (own - 1, own, own + 1):
            assert_the_screen_is_right(view, [holdings], Wad(max(1, edge)))


@pytest.mark.parametrize("revision", REVISIONS)
@given(holdings=positions(), debt=st.sampled_from(RESERVES))
def test_accounts_tuned_to_the_boundary_are_all_seen(
    revision: int, holdings: Holdings, debt: int
) -> None:
    """The greatest debt that is still healthy, and its neighbours by a scaled unit."""
    view = b.view(revision)
    entries = tuple(e for e in holdings.entries if (e.reserve, e.side) != (debt, Side.DEBT))

    def with_debt(scaled: int, number: int = 1) -> Holdings:
        return replace(holdings, account=account(number), entries=(*entries, b.debt(debt, scaled)))

    low, high = 1, 2**127
    if health(view, with_debt(low)) < WAD or health(view, with_debt(high)) >= WAD:
        return
    while high - low > 1:
        middle = (low + high) // 2
        if health(view, with_debt(middle)) >= WAD:
            low = middle
        else:
            high = middle
    around = [with_debt(max(1, low + n), 10 + n) for n in range(-3, 5)]

    assert {health(view, h) < WAD for h in around[3:5]} == {False, True}
    assert_the_screen_is_right(view, around, Wad(WAD))


def crowd(count: int) -> list[Holdings]:
    """Ordinary accounts between half and three times healthy, dollars 100 to 10 million."""
    chance = np.random.default_rng(20261121)
    made = []
    for n in range(count):
        usd = 10 ** chance.uniform(2, 7)
        factor = chance.uniform(0.5, 3)
        made.append(
            Holdings(
                account=account(n),
                e_mode=0,
                entries=(
                    b.collateral(b.WETH, int(usd / 3_512 * 1e18)),
                    b.debt(b.USDC, int(usd * 0.83 / factor * 1e6)),
                ),
            )
        )
    return made


@pytest.mark.parametrize("revision", [8, 10])
def test_the_screen_is_a_screen_and_not_everybody(revision: int) -> None:
    view, everyone = b.view(revision), crowd(1_000)
    exact = {h.account for h in everyone if health(view, h) < WAD}

    seen = screen(book_of(*everyone), view.weights())
    can, surely = seen.can_be_below(Wad(WAD)), seen.surely_below(Wad(WAD))

    assert len(exact) > 100
    assert len(can) <= len(exact) + 5
    assert len(surely) >= len(exact) - 5


def test_accounts_without_debt_and_removed_ones_are_never_seen() -> None:
    book = book_of(
        b.holdings(b.collateral(b.WETH, 10**18)),
        b.holdings(b.debt(b.USDC, 10**9), account=b.BOB),
    )
    view = b.view()
    assert endangered(book, view.weights(), Wad(WAD)) == (b.BOB,)

    book.remove(b.BOB)

    assert endangered(book, view.weights(), Wad(2**255)) == ()


def test_an_empty_book_is_screened() -> None:
    assert endangered(Book(), b.view().weights(), Wad(WAD)) == ()


def test_who_has_no_price_is_unknown_and_among_the_endangered() -> None:
    view = b.view(prices={b.USDC: None})
    healthy = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.DAI, 10**18))
    unknown = b.holdings(b.collateral(b.USDC, 10**12), b.debt(b.DAI, 1), account=b.BOB)
    book = book_of(healthy, unknown)

    assert screen(book, view.weights()).unknown().tolist() == [1]
    assert endangered(book, view.weights(), Wad(WAD)) == (b.BOB,)
    (found,) = below(book, view, [b.ALICE, b.BOB], Wad(WAD))
    assert isinstance(found, Unassessable)


def test_a_stale_price_hides_nobody_whom_the_protocol_would_liquidate() -> None:
    view = b.view(prices={b.WETH: 10**9}, unusable={b.WETH: "ETH/USD is stale"})
    book = book_of(b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.DAI, 10**20)))

    assert endangered(book, view.weights(), Wad(WAD)) == (b.ALICE,)


def test_an_e_mode_beyond_the_weights_is_unknown() -> None:
    book = book_of(b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.DAI, 1), e_mode=200))

    assert screen(book, b.view().weights()).unknown().tolist() == [0]


def test_a_reserve_beyond_the_weights_is_unknown() -> None:
    one = np.ones((1, 1))
    weights = Weights(collateral=one, debt=one[0], collateral_slack=one, debt_slack=one[0])
    book = book_of(b.holdings(b.collateral(0, 5), b.debt(7, 1)))

    assert screen(book, weights).unknown().tolist() == [0]


@pytest.mark.parametrize("field", ["collateral", "debt", "collateral_slack", "debt_slack"])
def test_nan_anywhere_in_the_weights_clears_nobody(field: str) -> None:
    one = np.ones((1, 1))
    fields = {"collateral": one, "debt": one[0], "collateral_slack": one, "debt_slack": one[0]}
    weights = Weights(**{**fields, field: np.full_like(fields[field], np.nan)})
    book = book_of(b.holdings(b.collateral(0, 10**18), b.debt(0, 10**6)))

    found = screen(book, weights).found(Wad(WAD))
    by_hot = candidates(screen(book, weights), Wad(WAD), hot_from_rows=0)

    assert {*found.below.tolist(), *found.unknown.tolist()} == {0}
    assert {*by_hot.below.tolist(), *by_hot.unknown.tolist()} == {0}


class Fixed:
    """Says of each account what it was told to."""

    def __init__(self, *answers: Assessment) -> None:
        self.answers = {a.position.account: a for a in answers}

    def assess(self, holdings: Holdings) -> Assessment:
        return self.answers[holdings.account]


def test_the_greatest_debt_comes_first_and_the_unknown_last() -> None:
    view = b.view()
    sick = [
        b.holdings(b.collateral(b.WETH, 10**15), b.debt(b.USDC, usd * 10**6), account=account(n))
        for n, usd in enumerate((500, 7_000, 900), start=1)
    ]
    healthy = b.holdings(b.collateral(b.WETH, 10**18), account=account(8))
    lost = Unassessable(
        position=replace(view.assess(healthy).position, account=account(9)),
        block=b.BLOCK,
        reason="no price",
    )
    answers = (*(view.assess(h) for h in (*sick, healthy)), lost)
    book = book_of(*sick, healthy, replace(healthy, account=account(9)))

    found = below(book, Fixed(*answers), [account(n) for n in range(12)], Wad(WAD))

    assert [x.position.account for x in found] == [account(n) for n in (2, 3, 1, 9)]
