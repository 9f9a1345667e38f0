"""R3: how the full revaluation grows from 1e5 to 1e6 accounts: 1 is proportional."""

import math
from collections.abc import Iterator

from bench import crowd
from bench.line import Line, median, say, spread, times_s
from keeper.risk.screen import screen
from keeper.units import WAD

SMALL, LARGE = 100_000, 1_000_000


def run() -> Iterator[Line]:
    """Yield R3."""
    weights = crowd.market().view().weights()
    large, small = crowd.book(LARGE), crowd.book(SMALL)
    say("R3: valuing 1e5 and 1e6 accounts")
    small_s = times_s(lambda: screen(small, weights).can_be_below(WAD), 27)
    large_s = times_s(lambda: screen(large, weights).can_be_below(WAD), 9)
    exponents = tuple(math.log10(one / median(small_s)) for one in large_s)
    yield Line(
        id="R3",
        what="scaling exponent of the full revaluation, 1e5 to 1e6 accounts",
        value=median(exponents),
        unit="",
        reach="<= 1.15",
        ok=median(exponents) <= 1.15,
        runs=len(exponents),
        spread=spread(exponents),
        context={"ms_at_1e5": median(small_s) * 1e3, "ms_at_1e6": median(large_s) * 1e3},
    )
