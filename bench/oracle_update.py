"""R4: one price moves at a million accounts: the hot set asked, its certificate checked.

R4 asks everybody within 5 % of the line (the outer tier), already endangered or not; R4_new is what
the engine does at a block: who is newly endangered among those within 1 % (the inner tier), who was
below before being taken as he is.  In both the new weights are looked up and the certificates
checked each time; computing the weights from what was read is not in it.  At every run another
reserve moves, up or down by at most 0.1 %.
"""

import random
import time
from collections.abc import Callable, Iterator

from bench import crowd
from bench.line import Line, median, say, spread
from keeper.model import Weights
from keeper.risk.book import Book
from keeper.risk.screen import Found, Screen, screen
from keeper.units import WAD, Base

ACCOUNTS = 1_000_000
MOVES = 99


def run() -> Iterator[Line]:
    """Yield R4 and R4_new."""
    book = crowd.book(ACCOUNTS)
    at_first = screen(book, crowd.market().view().weights())
    say("R4: making the hot set")
    began = time.perf_counter()
    hot = at_first.heat(WAD)
    made_s = time.perf_counter() - began
    book.edited.clear()
    moved = _moved()
    say("R4: moving prices")

    def whole(seen: Screen) -> Found:
        assert seen.holds(hot.outer.certificate), "moves this small do not end the certificate"
        return seen.found_in(hot.outer, WAD)

    def newly(seen: Screen) -> Found:
        assert seen.current(hot), "moves this small do not end the certificate"
        return seen.found_in(hot.inner, WAD)

    missed = 0
    for weights in moved[::10]:
        seen = screen(book, weights)
        missed += len(set(seen.surely_below(WAD).tolist()) - set(whole(seen).below.tolist()))
        missed += len(set(seen.surely_below(WAD).tolist()) - set(seen.found_by(hot).below.tolist()))
    context = {
        "accounts": ACCOUNTS,
        "outer": len(hot.outer),
        "inner": len(hot.inner),
        "below_already": len(hot.inner.sunk),
        "missed": missed,
        "making_it_ms": made_s * 1e3,
    }
    for id_, what, ask, reach in (
        ("R4", "oracle update at 1e6 accounts, 1.05 band", whole, 250),
        ("R4_new", "oracle update at 1e6 accounts, newly endangered, 1.01 band", newly, 30),
    ):
        times = _times_us(book, moved, ask)
        yield Line(
            id=id_,
            what=what,
            value=median(times),
            unit="us",
            reach=f"<= {reach}",
            ok=median(times) <= reach and missed == 0,
            runs=len(times),
            spread=spread(times),
            context=context,
        )


def _moved() -> tuple[Weights, ...]:
    made, chance = crowd.market(), random.Random(4)
    prices = [int(p or 0) for p in made.observed.prices]
    found = []
    for _ in range(MOVES):
        now = list(prices)
        n = chance.randrange(len(now))
        now[n] = round(now[n] * (1 + chance.uniform(-0.001, 0.001)))
        found.append(made.view(tuple(Base(p) for p in now)).weights())
    return tuple(found)


def _times_us(
    book: Book, moved: tuple[Weights, ...], ask: Callable[[Screen], Found]
) -> tuple[float, ...]:
    taken = []
    for weights in moved:
        began = time.perf_counter()
        ask(screen(book, weights))
        taken.append((time.perf_counter() - began) * 1e6)
    return tuple(taken)
