"""X1: flags that differ from exact integers, where everything is made to sit on a boundary.

Accounts, markets and levels of prices are those of `bench.adversary`; each book of them lives
through many blocks.  A block has the prices of one level: as they are, or a few units of the last
digit off, or with one price that jumps or is gone.  Now and then time passes, and everybody's
interest with it; at every block some accounts are edited in place, leave, or arrive, so that places
are handed out again and the book grows.  Hot sets are made, refreshed, used to their edge and
beyond.

A flag is what the keeper answers by the path that the engine takes: whom `candidates` finds,
through the hot set where there is one, looked up in the book and assessed in exact integers.  At
three blocks of four, who is found and `surely_below` by the screen is taken at its word.  The judge
is `bench.naive`: plain Python integers for every account at every block, without a line of the
product in it.  `float64_wrong` is what the float sums alone would have said at every eighth block,
which shows that the trials bite; `planted` are the wrong flags that each planted bug of
`bench.planted` brings, which shows that the judge would see one.
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing import get_context
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import adversary, naive, planted
from bench.adversary import Level, World, account, holdings
from bench.crowd import address
from bench.line import Line, say, spread
from bench.market import BLOCK, NOW
from keeper.model import Address, Assessed
from keeper.protocols.aave_v3.view import View
from keeper.risk.book import Book
from keeper.risk.exact import HOT_FROM_ROWS, candidates
from keeper.risk.screen import screen
from keeper.units import WAD, Base

Flags = NDArray[np.bool_]

ACCOUNTS: Final = 24_000
BLOCKS: Final = 160
EPOCH: Final = 40
"""Blocks at one instant; then time passes, and a third of the accounts is tuned anew."""
STATED: Final = 100_000_000
MOST_S: Final = 3_600.0
"""No book is begun after that: the soak is bounded, and says so when it fell short."""
REVISIONS: Final = (10, 1, 8)
"""One for each way the sums are rounded: one division, floored averages, and those with the
newer interest."""
ALL_EVERY: Final = 4
"""At every so many blocks whoever is found is assessed, as the engine does."""
EIGHTH: Final = 8
PLANTED: Final = (4_000, 40)
"""Accounts and blocks of the book that each planted bug is put into."""


def run() -> Iterator[Line]:
    """Yield X1."""
    wanted = int(os.environ.get("FLAGS_TRIALS", STATED))
    began = time.monotonic()
    caught = {name: _with_bug(name) for name in planted.BUGS}
    found = list(_soak(wanted))
    total = Counts.sum(found)
    yield Line(
        id="X1",
        what="flags that differ from exact ints, accounts tuned to the boundary",
        value=total.wrong,
        unit="flags",
        reach="0 of >= 1e8",
        ok=total.wrong == 0 and total.trials >= STATED and all(caught.values()),
        runs=len(found),
        spread=spread([counts.wrong for counts in found]),
        context={
            "trials": total.trials,
            "wanted": wanted,
            "accounts": total.accounts,
            "blocks": total.blocks,
            "below": total.below,
            "unknown": total.unknown,
            "asked_exactly": total.asked,
            "hot_sets_made": total.hot_sets,
            "inner_tiers_made": total.inner_tiers,
            "edits": total.edits,
            "float64_wrong": total.float_wrong,
            "planted": caught,
            "planted_caught": all(caught.values()),
            "pool_revisions": list(REVISIONS),
            "took_s": round(time.monotonic() - began),
        },
    )


@dataclass(slots=True, kw_only=True)
class Counts:
    """Of one book, or of many."""

    trials: int = 0
    accounts: int = 0
    blocks: int = 0
    below: int = 0
    """By the judge, as are the unknown."""
    unknown: int = 0
    wrong: int = 0
    float_wrong: int = 0
    asked: int = 0
    """Found by the screen, so asked in exact integers."""
    hot_sets: int = 0
    inner_tiers: int = 0
    """Made anew out of the outer one."""
    edits: int = 0
    first: str = ""
    """What the first wrong flag was about."""

    @classmethod
    def sum(cls, many: list["Counts"]) -> "Counts":
        """Add them up."""
        total = cls()
        for one in many:
            for name in cls.__slots__:
                setattr(total, name, getattr(total, name) + getattr(one, name))
        return total


# --- the soak ---------------------------------------------------------------------------------


def _soak(wanted: int) -> Iterator[Counts]:
    """Take books until that many flags are compared; as many at a time as there are processors."""
    cores = min(2, len(os.sched_getaffinity(0)))
    until = time.monotonic() + MOST_S
    bar = _Bar(wanted)
    numbers = count()
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        asked: set[Future[Counts]] = set()
        done = 0
        while True:
            each = ACCOUNTS * BLOCKS
            while len(asked) < cores and done + len(asked) * each < wanted:
                if time.monotonic() > until:
                    break
                asked.add(pool.submit(one_book, next(numbers)))
            if not asked:
                return
            finished, asked = wait(asked, return_when=FIRST_COMPLETED)
            for one in finished:
                counts = one.result()
                done += counts.trials
                bar.show(counts)
                yield counts


class _Bar:
    """How far it is, on standard error: a bar in place for a person, lines for a file."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.done = self.wrong = 0
        self.began = time.monotonic()

    def show(self, counts: Counts) -> None:
        self.done += counts.trials
        self.wrong += counts.wrong
        if counts.first:
            say(f"X1: wrong: {counts.first}")
        share = min(1.0, self.done / self.wanted)
        rate = self.done / (time.monotonic() - self.began)
        left_s = max(0.0, (self.wanted - self.done) / rate)
        text = (
            f"[{'#' * int(30 * share):30}] {self.done:,} of {self.wanted:,} flags, "
            f"{self.wrong:,} wrong, {rate:,.0f}/s, {left_s / 60:.1f} min left"
        )
        if sys.stderr.isatty():
            end = "\n" if share >= 1 else ""
            print(f"\r\033[Kbench: X1: {text}", end=end, file=sys.stderr, flush=True)
        else:
            say(f"X1: {text}")


def _with_bug(name: str) -> int:
    """How many wrong flags a planted bug brings, in a book for each arithmetic until one does."""
    accounts, blocks = PLANTED
    for number in range(2 * len(REVISIONS)):
        with planted.BUGS[name]():
            wrong = one_book(number, accounts, blocks, hot_from_rows=0).wrong
        if wrong:
            break
    say(f"X1: planted: {name}: {wrong:,} wrong of {accounts * blocks:,} flags")
    return wrong


# --- one book ---------------------------------------------------------------------------------


def one_book(
    number: int,
    accounts: int = ACCOUNTS,
    blocks: int = BLOCKS,
    *,
    hot_from_rows: int = HOT_FROM_ROWS,
) -> Counts:
    """Take one book through its blocks; `hot_from_rows` as in `candidates`."""
    life = _Life(number, accounts, hot_from_rows)
    for block in range(blocks):
        if block and block % EPOCH == 0:
            life.age()
        life.block()
    return life.counts


@dataclass(slots=True)
class _Life:
    """One book, and the same accounts as the judge has them."""

    number: int
    accounts: int
    hot_from_rows: int
    counts: Counts = field(default_factory=Counts)
    book: Book = field(default_factory=Book)
    rows: list[naive.Row] = field(default_factory=list)
    row: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """By place, the row in the book."""
    place: dict[Address, int] = field(default_factory=dict)
    """Where an account's row is in `rows`."""
    instant: int = NOW
    chance: random.Random = field(init=False)
    world: World = field(init=False)
    at: tuple[naive.Reserves, ...] = field(init=False)
    """The market at each level, at this instant."""
    given: int = 0
    """Addresses handed out."""

    def __post_init__(self) -> None:
        self.chance = random.Random(1_000 + self.number)
        revision = REVISIONS[self.number % len(REVISIONS)]
        self.world = adversary.world(self.chance, revision, 78 + self.number)
        self._look()
        for _ in range(self.accounts):
            self._arrive()

    def _look(self) -> None:
        self.at = tuple(self.world.at(level, self.instant) for level in self.world.levels)

    def _level(self) -> int:
        weights = [level.tuned for level in self.world.levels]
        [chosen] = self.chance.choices(range(len(weights)), weights)
        return chosen

    # --- edits --------------------------------------------------------------------------------

    def _arrive(self) -> None:
        self._put(len(self.rows), account(self.chance, self.world, self.at[self._level()]))

    def _put(self, place: int, row: naive.Row, known: Address | None = None) -> None:
        if known is None:
            known = address(self.given)
            self.given += 1
            self.place[known] = place
            self.counts.accounts += 1
        if place == len(self.rows):
            self.rows.append(row)
            self.row = np.append(self.row, -1)
        self.rows[place] = row
        self.row[place] = self.book.put(replace(holdings(row, 0), account=known))
        self.counts.edits += 1

    def _edit(self) -> None:
        """Some are tuned anew, some become others, some make room for others, one is new."""
        known = list(self.place)
        for who in self.chance.sample(known, 6):
            place, at = self.place[who], self.at[self._level()]
            self._put(
                place, adversary.tuned(self.chance, self.rows[place], at, self.world.below), who
            )
        for who in self.chance.sample(known, 3):
            place, at = self.place[who], self.at[self._level()]
            self._put(place, account(self.chance, self.world, at), who)
        for who in self.chance.sample(known, 2):
            place, at = self.place.pop(who), self.at[self._level()]
            assert self.book.remove(who)
            self._put(place, account(self.chance, self.world, at))
        self._arrive()

    def age(self) -> None:
        """Let time pass: interest grows, a third of the accounts is tuned to where that leads."""
        self.instant += int(10 ** self.chance.uniform(0, 6.5))
        self._look()
        for who, place in self.place.items():
            if self.chance.random() < 1 / 3:
                at = self.at[self._level()]
                row = adversary.tuned(self.chance, self.rows[place], at, self.world.below)
                self._put(place, row, who)

    # --- a block ------------------------------------------------------------------------------

    def block(self) -> None:
        """Edit some, move the prices, and compare what the keeper says of everybody."""
        if self.counts.blocks:
            self._edit()
        if self.chance.random() < 0.03:
            self.book.hot = None  # as at a start
        prices = self._prices()
        of = naive.reserves(self.world.made, prices, self.instant)
        truth = np.array(self.world.below(self.rows, of))
        gone = [i for i, price in enumerate(prices) if price is None]
        if gone:
            users = [self._uses(row, gone[0]) for row in self.rows]
            self.counts.unknown += sum(users)
            truth |= np.array(users)
        view = self._view(prices)
        hot, inner = self.book.hot, self.book.hot and self.book.hot.inner
        said, by_float = self._said(view)
        wrong = np.flatnonzero(said != truth)
        if wrong.size and not self.counts.first:
            self.counts.first = self._about(int(wrong[0]), truth, view)
        made = self.book.hot is not hot
        self.counts.hot_sets += made
        self.counts.inner_tiers += not made and hot is not None and hot.inner is not inner
        self.counts.wrong += wrong.size
        self.counts.float_wrong += int((by_float != truth).sum())
        self.counts.below += int(truth.sum())
        self.counts.trials += len(truth)
        self.counts.blocks += 1

    def _said(self, view: View) -> tuple[Flags, Flags]:
        """What the keeper says of each, and what float64 alone would say."""
        book = self.book
        seen = screen(book, view.weights())
        found = candidates(seen, WAD, self.hot_from_rows)
        said = np.zeros(len(self.rows), dtype=np.bool_)
        asked = np.concatenate((found.below, found.unknown))
        if self.counts.blocks % ALL_EVERY:
            surely = seen.surely_below(WAD)
            surely = surely[np.isin(surely, found.below)]  # whom the hot set missed stays wrong
            said_of = np.zeros(book.rows, dtype=np.bool_)
            said_of[surely] = True
            said |= said_of[self.row]
            asked = asked[~said_of[asked]]
        for row in asked.tolist():
            held = book.at(row)
            assessed = view.assess(held)
            below = not isinstance(assessed, Assessed) or assessed.health_factor < WAD
            said[self.place[held.account]] = below
            self.counts.asked += 1
        if self.counts.blocks % EIGHTH:  # it takes as long as the screen
            return said, said
        collateral, debt = seen.sums(self.row)
        return said, collateral < debt

    def _prices(self) -> tuple[int | None, ...]:
        """The prices of a block."""
        chance, levels = self.chance, self.world.levels
        level: Level = levels[0]  # hot sets are made there, and moves begin there
        if self.counts.blocks % 3 == 1:
            [level] = chance.choices(levels, [level.often for level in levels])
        prices: list[int | None] = list(level.prices(self.world.base))
        way, one = chance.random(), chance.randrange(len(prices))
        if 0.4 < way < 0.85:
            for i in chance.sample(range(len(prices)), chance.randint(1, len(prices))):
                prices[i] = max(1, (prices[i] or 0) + chance.randint(-3, 3))
        elif 0.85 < way < 0.88:
            prices[one] = max(1, int((prices[one] or 0) * chance.uniform(0.5, 2)))
        elif way > 0.98:
            prices[one] = None
        return tuple(prices)

    def _view(self, prices: tuple[int | None, ...]) -> View:
        made = self.world.made
        observed = replace(
            made.observed, prices=tuple(None if p is None else Base(p) for p in prices)
        )
        block = replace(BLOCK, timestamp=self.instant)
        return made.adapter.view(made.market, observed, block, {})

    @staticmethod
    def _uses(row: naive.Row, reserve: int) -> bool:
        return any(i == reserve for side in row[1:] for i, _ in side)

    def _about(self, place: int, truth: Flags, view: View) -> str:
        who = next(a for a, at in self.place.items() if at == place)
        row = self.rows[place]
        return (
            f"book {self.number}, block {self.counts.blocks}: {who} is "
            f"{'below' if truth[place] else 'not below'} 1; {row}; {view.assess(holdings(row, 0))}"
        )
