"""In which order the accounts of a market are looked at, so that what is new is acted upon first.

Everybody that the screen cannot rule out is assessed exactly at every block.  But most of them
were below 1 before and were not worth acting upon: thousands of debts of a few cents must not keep
the one waiting that has just crossed the line.  So who was looked at in the pass before, with
nothing to do, nothing read of him since and no cool-down ended, comes after all others.  This is an
order and nothing else: nobody is left out, and nothing that was computed at another block is used.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.engine.market import Reading, WatchedMarket
from keeper.model import Address, Assessment, Holdings
from keeper.risk.book import Rows
from keeper.risk.exact import candidates
from keeper.risk.screen import Screen, screen
from keeper.units import WAD

LOT: Final = 256
"""Accounts that are looked at before others of the process get their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One market at one block: whom to look at."""

    market: WatchedMarket[Any, Any]
    reading: Reading
    fresh: Rows
    """Rows of those about whom something is new, the greatest debt first."""
    standing: Rows
    """The others that can be below 1, in no order."""
    unknown: Rows
    """Rows of those without any price."""
    unread: dict[Address, str]
    """Who could not be read, and why."""

    @classmethod
    def at(cls, market: WatchedMarket[Any, Any], reading: Reading) -> Self:
        """Screen the book at the reading's prices."""
        seen = screen(market.book, reading.view.weights())
        found = candidates(seen, WAD)
        stands = market.stands(found.below)
        return cls(
            market=market,
            reading=reading,
            fresh=_by_debt(seen, found.below[~stands]),
            standing=found.below[stands],
            unknown=found.unknown,
            unread=dict(reading.unreadable),
        )

    @property
    def name(self) -> str:
        """Of the market."""
        return self.market.id.name

    def named(self) -> Iterator[tuple[Holdings, Assessment]]:
        """Assess those whom people watch or the keeper protects."""
        for account in self.market.watched:
            if (held := self.market.book.get(account)) is not None:
                yield from self._assessed(held)

    def fresh_ones(self) -> Iterator[tuple[Holdings, Assessment]]:
        """Assess those about whom something is new, watched or not, one when asked for."""
        return self._of(self.fresh)

    def others(self) -> Iterator[tuple[Holdings, Assessment]]:
        """Assess those who were below 1 before, the greatest debt first, then the unknown."""
        book = self.market.book
        seen = screen(book, self.reading.view.weights())  # it may have grown since it was looked at
        yield from self._of(_by_debt(seen, self.standing))
        yield from self._of(self.unknown)

    def stand(self, acted: Iterable[Address]) -> None:
        """Note that all of them were looked at, and that something was to be done for `acted`."""
        self.market.let_stand(np.concatenate([self.fresh, self.standing, self.unknown]), acted)

    def _of(self, rows: Rows) -> Iterator[tuple[Holdings, Assessment]]:
        watched, book = self.market.watched, self.market.book
        for row in rows.tolist():
            account = book.account(row)
            if account not in watched and account in book:
                yield from self._assessed(book.at(row))

    def _assessed(self, held: Holdings) -> Iterator[tuple[Holdings, Assessment]]:
        if held.account not in self.unread and self.market.believed((held.account,)):
            yield held, self.reading.view.assess(held)


def _by_debt(seen: Screen, rows: Rows) -> Rows:
    """Return `rows` by their debt in float64, the greatest first."""
    if rows.size < 2:
        return rows
    order: NDArray[np.intp] = np.argsort(-seen.sums(rows)[1], kind="stable")
    return rows[order]
