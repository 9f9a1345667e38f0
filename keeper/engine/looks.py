"""In which order the accounts of a market are looked at, so that what is new is acted upon first.

Everybody that the screen cannot rule out is assessed exactly at every block.  But most of them
were below 1 before and were not worth acting upon: thousands of debts of a few cents must not keep
the one waiting that has just crossed the line.  So who was looked at in the pass before, with
nothing to do, nothing read of him since and no cool-down ended, comes after all others.

And when the next head has come before all of those were looked at, it is taken first: on a chain
with four blocks a second they would otherwise keep everybody waiting who crosses the line there.
The greatest debts of a market have their turn, of the others who was left out longest comes first,
and of markets the one of which nobody had a turn: everybody has one in the end.  Nothing that was
computed at another block is decided by.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.engine.market import Reading, WatchedMarket
from keeper.model import Address, Assessment, Holdings, PositionId
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
    reached: dict[int, Assessment] = field(default_factory=dict)
    """By row, what was found of those who were looked at so far, the watched left out."""

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
        """Assess those who were below 1 before, and the unknown.

        Half a lot of the greatest debts, then who was left out longest; among equals the greatest
        debt first and the unknown last.
        """
        book = self.market.book
        seen = screen(book, self.reading.view.weights())  # it may have grown since it was looked at
        rows = _by_debt(seen, self.standing)
        great, rest = rows[: LOT // 2], np.concatenate([rows[LOT // 2 :], self.unknown])
        longest = np.argsort(-self.market.left_out(rest), kind="stable")
        yield from self._of(np.concatenate([great, rest[longest]]))

    def stand(self, acted: Iterable[PositionId], *, left: bool = False) -> tuple[Assessment, ...]:
        """Note who was looked at, and that something was to be done for `acted`.

        `left`: not all of `others` were.  Returned is what was found of the rest when they were
        looked at last.
        """
        accounts = [p.account for p in acted if p.market == self.market.id]
        others = np.concatenate([self.standing, self.unknown]).tolist()
        waiting = [row for row in others if row not in self.reached] if left else []
        self.market.waited = self.market.waited + 1 if waiting and waiting == others else 0
        rows = np.concatenate([self.fresh, self.standing, self.unknown])
        return self.market.let_stand(rows, accounts, self.reached, waiting)

    def _of(self, rows: Rows) -> Iterator[tuple[Holdings, Assessment]]:
        watched, book = self.market.watched, self.market.book
        for row in rows.tolist():
            account = book.account(row)
            if account not in watched and account in book:
                for held, assessment in self._assessed(book.at(row)):
                    self.reached[row] = assessment
                    yield held, assessment

    def _assessed(self, held: Holdings) -> Iterator[tuple[Holdings, Assessment]]:
        if held.account not in self.unread and self.market.believed((held.account,)):
            yield held, self.reading.view.assess(held)


def by_wait(looks: Iterable[Look]) -> list[Look]:
    """Return `looks` by how long all of their standing ones were left out, the longest first."""
    return sorted(looks, key=lambda look: -look.market.waited)


def _by_debt(seen: Screen, rows: Rows) -> Rows:
    """Return `rows` by their debt in float64, the greatest first."""
    if rows.size < 2:
        return rows
    order: NDArray[np.intp] = np.argsort(-seen.sums(rows)[1], kind="stable")
    return rows[order]
