"""Prices over time as a PNG: what a feed or the protocol said, the reference, and where in doubt.

By matplotlib's own Figure on Agg, as `keeper.notify.charts`; an extra, imported when it is drawn.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keeper.alerts.numbers import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = tuple[tuple[int, float | None], ...]
"""(seconds since the epoch, price); None where it was not known, which is a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One feed or asset."""

    name: str
    points: Points
    others: Points = ()
    """Of its reference."""
    doubted: tuple[int, ...] = ()
    """Instants at which it was doubted."""


def draw_prices(lines: Sequence[Line], since: int, until: int) -> bytes:
    """Return a PNG 900 pixels wide of the time from `since` to `until`, one panel a line.

    Raises ValueError without any.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and 0.5 s that only charts need

    with mpl.rc_context({"text.usetex": False, "text.parse_math": False, "font.size": 10}):
        figure = plotted_prices(lines, since, until)
        made = io.BytesIO()
        figure.savefig(made, format="png")
        return made.getvalue()


def plotted_prices(lines: Sequence[Line], since: int, until: int) -> "Figure":
    """Return what `draw_prices` makes a PNG of."""
    if not lines:
        raise ValueError("a chart needs at least one line")
    import numpy as np  # noqa: PLC0415 - only a picture needs it, and it is slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only a picture needs it, and it is slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - only a picture needs it, and it is slow to import

    # a chain's clock may be ahead of this machine's
    until = max([until, *(at for line in lines for at, _ in (*line.points, *line.others))])
    figure = Figure(figsize=(9, 1 + 2.8 * len(lines)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(lines), 1, squeeze=False)
    for (axes,), line in zip(panels, lines, strict=True):
        for points, color, word in (
            (line.others, "#e67700", "reference"),
            (line.points, "#1f4e9c", "price"),
        ):
            held = [*points, *((until, value) for _, value in points[-1:])]
            times = [datetime.fromtimestamp(at, UTC) for at, _ in held]
            values = np.array([np.nan if v is None else v for _, v in held], dtype=np.float64)
            if points and not np.isnan(values).all():
                axes.step(times, values, where="post", color=color, linewidth=1.4, label=word)
        for at in line.doubted:
            axes.axvline(datetime.fromtimestamp(at, UTC), color="#c92a2a", alpha=0.35)
        name = "".join(c if ord(c) < 0x250 else "?" for c in plain(line.name, 40))
        axes.set_title(f"{name}: {len(line.doubted)} points in doubt", loc="left")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", fontsize=8, frameon=False)
        axes.set_xlim(datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(visible=True, alpha=0.25)
        axes.set_xlabel("UTC")
    return figure
