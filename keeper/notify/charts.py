"""Health factor over time as a PNG, by matplotlib's own Figure on Agg: no display, no pyplot.

matplotlib is an extra (``keeper[charts]``): it is imported when the first chart is drawn, in the
thread that draws it.  What was unknown is a gap, never a line through it.
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
    from numpy.typing import NDArray

HIGHEST: Final = 10.0
"""Health factors above this are drawn at it: an account without debt has a very great one."""


class ChartPoint(Protocol):
    """The worst of a stretch of time."""

    @property
    def at(self) -> int:
        """Seconds since the epoch."""
        ...

    @property
    def health(self) -> Wad | None:
        """None where it was unknown."""
        ...

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

    Raises ValueError without any point.
    """
    if not points:
        raise ValueError("a chart needs at least one point")
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and 0.5 s that only charts need
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only a picture needs it, and it is slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - only a picture needs it, and it is slow to import

    with mpl.rc_context({"text.usetex": False, "text.parse_math": False, "font.size": 10}):
        shown_price = price is not None and any(value for _, value in price.points)
        height = 7.4 if shown_price else 5.6
        figure = Figure(figsize=(9, height), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        ratios = (3, 2, 2) if shown_price else (3, 2)
        upper, *middle, lower = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
        times = [datetime.fromtimestamp(one.at, UTC) for one in points]
        _health(upper, times, points, thresholds)
        _values(lower, times, points)
        if price is not None and middle:
            _price(middle[0], times, price)
        last = next((one.health for one in reversed(points) if one.health is not None), None)
        shown = "unknown" if last is None else health_text(last).replace("\u202f", " ")
        upper.set_title(
            f"{_drawable(plain(name, 40))}: health factor {shown}, last {duration_text(span_s)}",
            loc="left",
        )
        figure.autofmt_xdate(rotation=0, ha="center")
        lower.set_xlabel("UTC")
        made = io.BytesIO()
        figure.savefig(made, format="png")
        return made.getvalue()


def _health(
    axes: Any, times: list[datetime], points: Sequence[ChartPoint], thresholds: Thresholds
) -> None:
    health = _line([None if one.health is None else _capped(one.health) for one in points])
    axes.plot(times, health, color="#1f4e9c", linewidth=1.6, marker="." if len(times) < 3 else "")
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
    known = [_capped(one.health) for one in points if one.health is not None]
    low, high = min([*known, 0.98]), max([*known, thresholds.info / WAD])
    margin = max(0.02, (high - low) * 0.06)
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("health factor")
    _gaps(axes, times, points)
    axes.grid(visible=True, alpha=0.25)


def _price(axes: Any, times: list[datetime], price: PriceLine) -> None:
    """Draw what the protocol's oracle answered, as steps, to the last of `times`."""
    at = [datetime.fromtimestamp(one, UTC) for one, _ in price.points]
    dollars = [None if value is None else value / 1e8 for _, value in price.points]
    at[0] = max(at[0], times[0])  # what was answered before the chart begins
    axes.plot(
        [*at, max(at[-1], times[-1])],
        _line([*dollars, dollars[-1]]),
        color="#0b7285",
        linewidth=1.3,
        drawstyle="steps-post",
    )
    axes.set_ylabel(f"{_drawable(symbol_text(price.symbol))}, USD")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace(",", " "))
    axes.grid(visible=True, alpha=0.25)


def _values(axes: Any, times: list[datetime], points: Sequence[ChartPoint]) -> None:
    for word, color, values in (
        ("collateral", "#2b8a3e", [one.collateral for one in points]),
        ("debt", "#862e9c", [one.debt for one in points]),
    ):
        dollars = [None if one is None else one / 1e8 for one in values]
        axes.plot(times, _line(dollars), color=color, linewidth=1.3, label=word)
    axes.set_ylabel("USD at oracle prices")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", " "))
    axes.legend(loc="best", fontsize=8, frameon=False)
    axes.grid(visible=True, alpha=0.25)


def _gaps(axes: Any, times: list[datetime], points: Sequence[ChartPoint]) -> None:
    """Shade where the health factor was unknown."""
    for at, point in enumerate(points):
        if point.health is None:
            end = times[min(at + 1, len(times) - 1)]
            axes.axvspan(times[at], end, color="#868e96", alpha=0.25, linewidth=0)


def _line(values: Sequence[float | None]) -> "NDArray[np.float64]":
    import numpy as np  # noqa: PLC0415 - only a picture needs it, and it is slow to import

    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _capped(health: Wad) -> float:
    return HIGHEST if health == UINT256_MAX else min(HIGHEST, health / WAD)


def _drawable(text: str) -> str:
    """Return text without what the picture's font has no shape for: it would be a warning."""
    return "".join(char if ord(char) < 0x250 else "?" for char in text)
