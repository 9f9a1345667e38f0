"""The exact recheck of what the screen could not rule out.  Ints decide.

Strategies, alerts and people only ever see what comes out here.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from keeper.model import Address, Assessed, Assessment, Holdings, Unassessable, Weights
from keeper.risk.book import Book
from keeper.risk.hot import Hot
from keeper.risk.screen import Found, Screen, screen
from keeper.units import Wad


class Assessor(Protocol):
    """What is asked about each candidate: a market's view."""

    def assess(self, holdings: Holdings) -> Assessment:
        """Return the exact health factor, or why it is unknown."""
        ...


HOT_FROM_ROWS: Final = 10_000
"""A smaller book is screened whole in less time than it takes to ask whether it must be."""
EDITED_SHARE: Final = 50
"""The hot set is made anew when one in so many rows was edited since."""
IDLE_MOST: Final = 16
IDLE_ROWS: Final = 20_000
"""It is made anew after `IDLE_MOST` uses, and one more for so many rows, that asked somebody apart
though nobody was edited any more: asking them has then cost as much as making it."""


def endangered(book: Book, weights: Weights, threshold: Wad) -> tuple[Address, ...]:
    """Return every account that can be below `threshold`, and every one of unknown health.

    A superset: each is still to be assessed exactly.  Unknown here means without any price; an
    account on a stale price is among them only if it can be below `threshold` at that price.
    """
    found = candidates(screen(book, weights), threshold)
    rows = (*found.below.tolist(), *found.unknown.tolist())
    return tuple(book.account(row) for row in rows)


def candidates(seen: Screen, threshold: Wad, hot_from_rows: int = HOT_FROM_ROWS) -> Found:
    """Return the same by row.

    A book of `hot_from_rows` or more keeps a hot set, made anew where it cannot be relied upon.
    """
    book = seen.book
    if book.rows < hot_from_rows:
        return seen.found(threshold)
    hot = book.hot
    if hot is None or hot.threshold != threshold or _spent(book, hot) or not seen.current(hot):
        hot = book.hot = seen.heat(threshold)
        book.edited.clear()
    return seen.found_by(hot)


def _spent(book: Book, hot: Hot) -> bool:
    """Note that `hot` is asked; return whether those edited since cost more than a new one."""
    hot.asked(len(book.edited))
    return (
        len(book.edited) * EDITED_SHARE > book.rows or hot.idle > IDLE_MOST + book.rows // IDLE_ROWS
    )


def below(
    book: Book, view: Assessor, accounts: Iterable[Address], threshold: Wad
) -> tuple[Assessment, ...]:
    """Assess `accounts` and return those below `threshold` or unknown.

    By value at risk: the greatest debt first, the unknown last; accounts not in the book are left
    out.
    """
    found = [
        assessment
        for account in accounts
        if (holdings := book.get(account)) is not None
        and _is_below(assessment := view.assess(holdings), threshold)
    ]
    return tuple(sorted(found, key=value_at_risk))


def value_at_risk(assessment: Assessment) -> tuple[int, str]:
    """Return a key that sorts the greatest debt first and the unknown last."""
    match assessment:
        case Assessed(debt=debt, position=position):
            return -debt, str(position)
        case Unassessable(position=position):
            return 1, str(position)


def _is_below(assessment: Assessment, threshold: Wad) -> bool:
    return not isinstance(assessment, Assessed) or assessment.health_factor < threshold
