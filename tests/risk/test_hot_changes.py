"""What is no move of a price: governance, sources, categories, accounts that come or were wrong.

After each the flags are those of plain integers (`bench.naive`, which shares nothing with the
product), and the hot set is made anew where what it certifies is not so any more, and only there.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import adversary, naive
from bench.crowd import address
from bench.market import BLOCK, NOW
from keeper.model import Address, Assessed, Holdings
from keeper.protocols.aave_v3.market import EMode, Market, Observed
from keeper.protocols.aave_v3.view import View, bind
from keeper.risk.book import Book
from keeper.risk.exact import HOT_FROM_ROWS, IDLE_MOST, candidates, endangered
from keeper.risk.screen import screen
from keeper.units import WAD, Base, Bps, Wad
from tests.protocols.aave_v3 import builders as b

REVISIONS = (1, 8, 10)
FIRST, SECOND, GREATEST = adversary.CATEGORIES
COUNT = 30


# --- anything, in any order -------------------------------------------------------------------


class Watched:
    """A market and its accounts, in a book with a hot set and as the judge has them."""

    def __init__(self, revision: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = adversary.world(self.chance, revision, seed % 1_000)
        self.market: Market = self.world.made.market
        self.observed: Observed = self.world.made.observed
        self.prices: list[int | None] = list(self.world.base)
        self.instant = NOW
        self.book = Book(capacity=4)
        self.rows: dict[Address, naive.Row] = {}
        self.given = 0
        for _ in range(COUNT):
            self.arrive()

    def arrive(self) -> None:
        """Somebody enters, tuned to one of the levels at today's parameters."""
        self.given += 1
        self.put(address(self.given), self._drawn())

    def put(self, who: Address, row: naive.Row) -> None:
        self.rows[who] = row
        self.book.put(replace(adversary.holdings(row, 0), account=who))

    def _drawn(self) -> naive.Row:
        level = self.chance.choice(self.world.levels)
        prices = level.prices([price or 1 for price in self.prices])
        return adversary.account(self.chance, self.world, self._judged(prices))

    def _judged(self, prices: tuple[int | None, ...]) -> naive.Reserves:
        made = replace(self.world.made, market=self.market, observed=self.observed)
        return naive.reserves(made, prices, self.instant)

    def assert_flags_are_those_of_plain_integers(self) -> None:
        prices = tuple(self.prices)
        seen = replace(self.observed, prices=tuple(None if p is None else Base(p) for p in prices))
        view = bind(self.market, seen, replace(BLOCK, timestamp=self.instant), {})
        found = candidates(screen(self.book, view.weights()), WAD, hot_from_rows=0)
        said = {
            held.account
            for row in (*found.below.tolist(), *found.unknown.tolist())
            for held in (self.book.at(row),)
            if endangers(view, held)
        }
        below = self.world.below(list(self.rows.values()), self._judged(prices))
        gone = {i for i, price in enumerate(prices) if price is None}
        truth = {
            who
            for (who, row), is_below in zip(self.rows.items(), below, strict=True)
            if is_below or any(i in gone for side in row[1:] for i, _ in side)
        }
        assert said == truth

    # --- what happens -------------------------------------------------------------------------

    def threshold(self) -> None:
        i = self.chance.randrange(adversary.RESERVES)
        was = self.observed.reserves[i].configuration.liquidation_threshold
        moved = was + self.chance.choice((-1, 1, -40, -400, 300))
        self._configure(i, liquidation_threshold=Bps(max(100, min(8_990, moved))))

    def category(self) -> None:
        i = self.chance.choice(adversary.CATEGORIES)
        if i in self.market.e_modes:
            was = self.market.e_modes[i]
            moved = was.liquidation_threshold + self.chance.choice((-1, 1, -60, -700, 90))
            terms = Bps(max(8_000, min(9_900, moved)))
            self._categories({**self.market.e_modes, i: replace(was, liquidation_threshold=terms)})

    def membership(self) -> None:
        i = self.chance.randrange(adversary.RESERVES)
        if self.market.rules.e_mode_bitmaps:
            was = self.market.e_modes[GREATEST]
            moved = replace(was, collateral_bitmap=was.collateral_bitmap ^ 1 << i)
            self._categories({**self.market.e_modes, GREATEST: moved})
        else:
            self._configure(i, e_mode=self.chance.choice((0, *adversary.CATEGORIES)))

    def set_up_or_removed(self) -> None:
        """5 is in use by accounts before it is a category; the first may go."""
        i = self.chance.choice((5, FIRST))
        kept = {number: of for number, of in self.market.e_modes.items() if number != i}
        if i not in self.market.e_modes:
            kept[i] = replace(self.market.e_modes[GREATEST], id=i)
        self._categories(kept)

    def source(self) -> None:
        i = self.chance.randrange(adversary.RESERVES)
        was = self.prices[i] or self.world.base[i]
        factor = self.chance.choice((0.6, 0.96, 0.995, 1.0, 1.004, 1.7))
        self.prices[i] = max(1, int(was * factor) + self.chance.randint(-1, 1))

    def source_answers_no_more(self) -> None:
        i = self.chance.randrange(adversary.RESERVES)
        self.prices[i] = None if self.prices[i] else self.world.base[i]

    def another_category(self) -> None:
        """An account changes over; only the kinds of its entries are others."""
        who = self.chance.choice(list(self.rows))
        _, collaterals, debts = self.rows[who]
        e_mode = self.chance.choice((0, *adversary.CATEGORIES, 5, 11))
        self.put(who, (e_mode, collaterals, debts))

    def wrong_all_along(self) -> None:
        """A second reading says that an account holds something else: it is put right."""
        self.put(self.chance.choice(list(self.rows)), self._drawn())

    def leaves(self) -> None:
        if len(self.rows) > 1:
            who = self.chance.choice(list(self.rows))
            del self.rows[who]
            assert self.book.remove(who)

    def time(self) -> None:
        self.instant += int(10 ** self.chance.uniform(0, 7))

    def _configure(self, i: int, **changes: Bps | int) -> None:
        states = list(self.observed.reserves)
        states[i] = replace(
            states[i],
            configuration=replace(states[i].configuration, **changes),  # type: ignore[arg-type]
        )
        self.observed = replace(self.observed, reserves=tuple(states))

    def _categories(self, e_modes: dict[int, EMode]) -> None:
        self.market = replace(self.market, e_modes=e_modes)


def endangers(view: View, held: Holdings) -> bool:
    assessed = view.assess(held)
    return not isinstance(assessed, Assessed) or assessed.health_factor < WAD


HAPPENINGS: tuple[Callable[[Watched], None], ...] = (
    Watched.threshold,
    Watched.category,
    Watched.membership,
    Watched.set_up_or_removed,
    Watched.source,
    Watched.source_answers_no_more,
    Watched.another_category,
    Watched.wrong_all_along,
    Watched.arrive,
    Watched.leaves,
    Watched.time,
)


@pytest.mark.parametrize("revision", REVISIONS)
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    happenings=st.lists(st.sampled_from(HAPPENINGS), min_size=1, max_size=9),
)
def test_flags_are_those_of_plain_integers_whatever_happened(
    revision: int, seed: int, happenings: list[Callable[[Watched], None]]
) -> None:
    watched = Watched(revision, seed)
    watched.assert_flags_are_those_of_plain_integers()
    for happens in happenings:
        happens(watched)
        watched.assert_flags_are_those_of_plain_integers()


# --- when a certificate ends ------------------------------------------------------------------


def ladder() -> Book:
    """Health factors about 0.975 to 1.965 on WETH, and as many on staked Ether in the category."""
    view, book = b.view(), Book()
    for n in range(100):
        for e_mode, backing, owed in ((0, b.WETH, b.USDC), (b.ETH_CORRELATED, b.LST, b.WETH)):
            entries = (b.collateral(backing, (975 + 10 * n) * 10**16), b.debt(owed, 10**9))
            who = Address(f"0x{2 * n + (e_mode != 0) + 1:040x}")
            held = b.holdings(*entries, account=who, e_mode=e_mode)
            health = view.contract_health(held).health_factor
            scaled = entries[1].scaled * health * 1_000 // (WAD * (975 + 10 * n))
            book.put(replace(held, entries=(entries[0], b.debt(owed, scaled))))
    return book


def found_by(book: Book, view: View) -> set[Address]:
    """Flag by the hot set; the same as everybody assessed in exact integers, or it fails."""
    found = candidates(screen(book, view.weights()), WAD, hot_from_rows=0)
    asked = (*found.below.tolist(), *found.unknown.tolist())
    said = {book.account(row) for row in asked if endangers(view, book.at(row))}
    everybody = [held for who in book.accounts() if (held := book.get(who)) is not None]
    assert said == {held.account for held in everybody if endangers(view, held)}
    return said


def with_weth_at(threshold: int) -> View:
    configuration = replace(b.CONFIGURATIONS[b.WETH], liquidation_threshold=Bps(threshold))
    return b.view(states={b.WETH: b.state(b.WETH, configuration)})


def with_category_at(threshold: int | None) -> View:
    market = b.market()
    e_modes = dict(market.e_modes)
    if threshold is None:
        del e_modes[b.ETH_CORRELATED]
    else:
        was = e_modes[b.ETH_CORRELATED]
        e_modes[b.ETH_CORRELATED] = replace(was, liquidation_threshold=Bps(threshold))
    moved = replace(market, e_modes=e_modes)
    return bind(moved, b.observed(moved), b.BLOCK, {})


def with_weth_priced(factor: float | None) -> View:
    return b.view(prices={b.WETH: None if factor is None else int(b.PRICES[b.WETH] * factor)})


KEPT, INNER, ANEW = "as it was", "its inner tier made anew", "made anew"


@pytest.mark.parametrize(
    ("change", "renewed", "more"),
    [
        (lambda: with_weth_at(8_300), KEPT, 0),
        (lambda: with_weth_at(8_258), KEPT, 1),  # 0.99494: 1.005 is 0.99991
        (lambda: with_weth_at(8_176), INNER, 2),  # 0.98506: 1.015 is 0.99984
        (lambda: with_weth_at(8_051), INNER, 3),  # 0.97: 1.005 to 1.025
        (lambda: with_weth_at(7_927), ANEW, 5),  # 0.95506: 1.045 is 0.99804
        (lambda: with_weth_at(7_470), ANEW, 11),  # 0.9: 1.005 to 1.105
        (lambda: with_weth_at(8_600), INNER, -3),  # 1.036: nobody is below, the nearest is 1.0102
        (lambda: with_category_at(9_215), INNER, 3),
        (lambda: with_category_at(8_550), ANEW, 11),
        (lambda: with_category_at(None), ANEW, None),
        (lambda: with_weth_priced(None), ANEW, None),
    ],
)
def test_a_certificate_ends_where_what_it_says_is_so_no_more(
    change: Callable[[], View], renewed: str, more: int | None
) -> None:
    book = ladder()
    at_first = found_by(book, b.view())
    hot = book.hot
    assert hot is not None
    inner = hot.inner

    view = change()
    found = found_by(book, view)

    kept = book.hot is hot
    assert renewed == (ANEW if not kept else KEPT if hot.inner is inner else INNER)
    assert len(at_first) == 6  # 0.975, 0.985 and 0.995, twice
    if more is not None:
        assert len(found) == 6 + more
    else:
        assert len(found) > 20


def test_a_price_source_that_is_replaced_counts_like_any_move() -> None:
    """Its answer moves collateral of the one half and the debt of the other, each its own way."""
    book = ladder()
    found_by(book, b.view())
    for factor in (0.998, 0.99, 1.008, 0.93, 1.4, 0.2, 1.0):
        found_by(book, with_weth_priced(factor))


def test_who_is_discovered_while_a_hot_set_is_in_use_is_asked_at_once() -> None:
    book = ladder()
    before = found_by(book, b.view())
    hot = book.hot
    sick = b.holdings(b.collateral(b.WBTC, 10**7), b.debt(b.DAI, 10**22), account=b.ALICE)
    new_kind = b.holdings(
        b.collateral(b.LST, 10**17), b.debt(b.DAI, 10**21), account=b.BOB, e_mode=3
    )

    book.put(sick)
    book.put(new_kind)
    found = found_by(book, b.view())

    assert book.hot is hot  # two of two hundred are no reason to make it anew
    assert found == {*before, b.ALICE, b.BOB}


def test_many_edits_are_a_reason_to_make_it_anew() -> None:
    book = ladder()
    found_by(book, b.view())
    hot = book.hot

    for n in range(5):  # one in fifty of two hundred is four
        book.put(b.holdings(b.debt(b.DAI, 10**18), account=Address(f"0x{n + 7:040x}")))
    found_by(book, b.view())

    assert book.hot is not hot
    assert book.edited == set()


def test_few_edits_long_ago_are_a_reason_to_make_it_anew() -> None:
    book = ladder()
    before = found_by(book, b.view())
    hot = book.hot
    book.put(b.holdings(b.collateral(b.WBTC, 10**7), b.debt(b.DAI, 10**22), account=b.ALICE))

    for _ in range(IDLE_MOST + 1):  # the first of them notices her
        assert found_by(book, b.view()) == {*before, b.ALICE}
    assert book.hot is hot
    book.put(b.holdings(b.debt(b.DAI, 10**18), account=b.BOB))  # somebody anew: from the start
    for _ in range(IDLE_MOST + 1):
        assert found_by(book, b.view()) == {*before, b.ALICE, b.BOB}
    assert book.hot is hot

    assert found_by(book, b.view()) == {*before, b.ALICE, b.BOB}
    assert book.hot is not hot
    assert book.edited == set()


def test_another_threshold_is_another_certificate() -> None:
    book, weights = ladder(), b.view().weights()
    for threshold in (WAD, Wad(WAD * 3 // 2), Wad(WAD // 2), WAD):
        seen = screen(book, weights)
        by_hot = candidates(seen, threshold, hot_from_rows=0)
        assert set(seen.surely_below(threshold).tolist()) <= set(by_hot.below.tolist())
        assert book.hot is not None
        assert book.hot.threshold == threshold


def test_from_ten_thousand_rows_on_a_hot_set_is_kept() -> None:
    book, view = ladder(), b.view()
    for n in range(book.rows, HOT_FROM_ROWS - 1):
        book.put(b.holdings(account=Address(f"0x{n + 1_000_000:040x}")))
    assert book.rows == 9_999
    without = set(endangered(book, view.weights(), WAD))
    assert book.hot is None

    newcomer = b.holdings(b.collateral(b.WBTC, 10**7), b.debt(b.DAI, 10**22), account=b.ALICE)
    book.put(newcomer)
    first = set(endangered(book, view.weights(), WAD))
    hot = book.hot
    fallen = with_weth_priced(0.9951)
    after = set(endangered(book, fallen.weights(), WAD))

    assert hot is not None
    assert book.hot is hot
    assert first == without | {b.ALICE}
    exactly = {
        held.account
        for who in book.accounts()
        if (held := book.get(who)) is not None and endangers(fallen, held)
    }
    assert exactly <= after
    assert len(after - exactly) <= 1
