"""Health factor over time as a PNG, by matplotlib's own Figure on Agg: no display, no pyplot.

matplotlib is an extra (``keeper[charts]``): it is imported when the first chart is drawn, in the
thread that draws it.  What was unknown is a gap, never a line through it.  The line is what was so
at the end of each stretch, and its last value is the title's; the band is how low and high it went.
"""

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from keeper.alerts.numbers import duration_text, health_text, plain, symbol_text
from keeper.model import Thresholds
from keeper.units import UINT256_MAX, WAD, Base, Wad

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

HIGHEST: Final = 10.0
"""Health factors above this are drawn at it: an account without debt has a very great one."""


class ChartPoint(Protocol):
    """A stretch of time, by its end."""

    @property
    def at(self) -> int:
        """Seconds since the epoch, of its end."""
        ...

    @property
    def health(self) -> Wad | None:
        """At its end; None where it was unknown then."""
        ...

    @property
    def lowest(self) -> Wad | None:
        """The least that was known in it."""
        ...

    @property
    def highest(self) -> Wad | None: ...

    @property
    def collateral(self) -> Base | None: ...
    @property
    def debt(self) -> Base | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """The price of one asset over the same time."""

    symbol: str
    """As the chain says it."""
    points: tuple[tuple[int, Base | None], ...]
    """Seconds since the epoch and US dollars, oldest first; each holds until the next."""


def available() -> bool:
    """Whether matplotlib is installed; it is not imported to find out."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(
    name: str,
    points: Sequence[ChartPoint],
    thresholds: Thresholds,
    span_s: int,
    price: PriceLine | None = None,
) -> bytes:
    """Return a PNG of 900 by 560 pixels, taller with a price.  Takes about 0.1 s: call it in a
    thread.

    It shows the `span_s` up to the last of `points`, however few of them there are.
    Raises ValueError without any point.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and 0.5 s that only charts need

    with mpl.rc_context({"text.usetex": False, "text.parse_math": False, "font.size": 10}):
        figure = plotted(name, points, thresholds, span_s, price)
        made = io.BytesIO()
        figure.savefig(made, format="png")
        return made.getvalue()


def plotted(
    name: str,
    points: Sequence[ChartPoint],
    thresholds: Thresholds,
    span_s: int,
    price: PriceLine | None = None,
) -> "Figure":
    """Return what `draw` makes a PNG of."""
    if not points:
        raise ValueError("a chart needs at least one point")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only a picture needs it, and it is slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - only a picture needs it, and it is slow to import

    start, end = points[-1].at - span_s, points[-1].at
    steps = () if price is None else _steps(price, start, end)
    shown_price = any(value for _, value in steps)
    figure = Figure(figsize=(9, 7.4 if shown_price else 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    ratios = (3, 2, 2) if shown_price else (3, 2)
    upper, *middle, lower = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
    times = [_instant(one.at) for one in points]
    upper.set_xlim(_instant(start), _instant(end + span_s // 100))
    _health(upper, times, points, thresholds)
    _values(lower, times, points)
    if price is not None and middle:
        _price(middle[0], price.symbol, steps)
    last = points[-1].health
    shown = "unknown" if last is None else health_text(last).replace("\u202f", " ")
    upper.set_title(
        f"{_drawable(plain(name, 40))}: health factor {shown}, last {duration_text(span_s)}",
        loc="left",
    )
    figure.autofmt_xdate(rotation=0, ha="center")
    lower.set_xlabel("UTC")
    return figure


def _health(
    axes: Any, times: list[datetime], points: Sequence[ChartPoint], thresholds: Thresholds
) -> None:
    blue = "#1f4e9c"
    band = [
        (at, _capped(one.lowest), _capped(one.highest))
        for at, one in zip(times, points, strict=True)
        if one.lowest is not None and one.highest is not None
    ]
    if band:
        axes.vlines(*zip(*band, strict=True), color=blue, alpha=0.35, linewidth=2.4)
    _plot(axes, times, [_known(one.health) for one in points], color=blue, linewidth=1.6)
    if points[-1].health is not None:
        axes.plot(times[-1:], [_capped(points[-1].health)], color=blue, marker="o", markersize=5)
    for level, color, word in (
        (thresholds.info, "#d4b106", "info"),
        (thresholds.warning, "#e67700", "warning"),
        (thresholds.critical, "#d9480f", "critical"),
        (WAD, "#c92a2a", "liquidation"),
    ):
        height = level / WAD
        axes.axhline(height, color=color, linewidth=0.9, linestyle="--")
        axes.annotate(
            f"{word} {height:g}",
            (0.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize=8,
            color=color,
        )
    low = min([*(lowest for _, lowest, _ in band), 0.98])
    high = max([*(highest for _, _, highest in band), thresholds.info / WAD])
    margin = max(0.02, (high - low) * 0.06)
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("health factor")
    _gaps(axes, times, points)
    axes.grid(visible=True, alpha=0.25)


def _steps(price: PriceLine, start: int, end: int) -> tuple[tuple[int, Base | None], ...]:
    """Return the price from `start` to `end`: what was so before `start` begins the picture."""
    kept = sorted((one for one in price.points if one[0] <= end), key=lambda one: one[0])
    before = [one for one in kept if one[0] <= start][-1:]
    shown = [(start, value) for _, value in before] + [one for one in kept if one[0] > start]
    return (*shown, (end, shown[-1][1])) if shown else ()


def _price(axes: Any, symbol: str, steps: Sequence[tuple[int, Base | None]]) -> None:
    """Draw what the protocol's oracle answered, as steps."""
    axes.plot(
        [_instant(at) for at, _ in steps],
        _line([None if value is None else value / 1e8 for _, value in steps]),
        color="#0b7285",
        linewidth=1.3,
        drawstyle="steps-post",
    )
    axes.set_ylabel(f"{_drawable(symbol_text(symbol))}, USD")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace(",", " "))
    axes.grid(visible=True, alpha=0.25)


def _values(axes: Any, times: list[datetime], points: Sequence[ChartPoint]) -> None:
    for word, color, values in (
        ("collateral", "#2b8a3e", [one.collateral for one in points]),
        ("debt", "#862e9c", [one.debt for one in points]),
    ):
        dollars = [None if one is None else one / 1e8 for one in values]
        _plot(axes, times, dollars, color=color, linewidth=1.3, label=word)
    axes.set_ylabel("USD at oracle prices")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", " "))
    axes.legend(loc="best", fontsize=8, frameon=False)
    axes.grid(visible=True, alpha=0.25)


def _gaps(axes: Any, times: list[datetime], points: Sequence[ChartPoint]) -> None:
    """Shade where the health factor was unknown."""
    ends = [*times[1:], _instant(round(axes.get_xlim()[1] * 86_400))]
    for at, end, point in zip(times, ends, points, strict=True):
        if point.health is None:
            axes.axvspan(at, end, color="#868e96", alpha=0.25, linewidth=0)


def _plot(axes: Any, times: list[datetime], values: Sequence[float | None], **style: Any) -> None:
    """Draw a line through what is known, and a dot where it has no neighbour to go to."""
    padded = (None, *values, None)
    alone = [
        at for at, value in enumerate(values)
        if value is not None and padded[at] is None and padded[at + 2] is None
    ]  # fmt: skip
    axes.plot(times, _line(values), marker=".", markevery=alone, **style)


def _line(values: Sequence[float | None]) -> "NDArray[np.float64]":
    import numpy as np  # noqa: PLC0415 - only a picture needs it, and it is slow to import

    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _known(health: Wad | None) -> float | None:
    return None if health is None else _capped(health)


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _capped(health: Wad) -> float:
    return HIGHEST if health == UINT256_MAX else min(HIGHEST, health / WAD)


def _drawable(text: str) -> str:
    """Return text without what the picture's font has no shape for: it would be a warning."""
    return "".join(char if ord(char) < 0x250 else "?" for char in text)
