"""A chart is a picture of what was known."""

import asyncio
import struct
from dataclasses import dataclass
from typing import Any

import pytest

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.notify.charts import PriceLine, draw, plotted
from keeper.units import UINT256_MAX, Base, Wad

pytest.importorskip("matplotlib", reason="keeper[charts] is not installed")


COLLATERAL = Base(25_000_12345678)
DEBT = Base(19_438_10000000)


@dataclass(frozen=True)
class Point:
    at: int
    health: Wad | None
    collateral: Base | None = COLLATERAL
    debt: Base | None = DEBT
    low: Wad | None = None
    high: Wad | None = None

    @property
    def lowest(self) -> Wad | None:
        return self.low or self.health

    @property
    def highest(self) -> Wad | None:
        return self.high or self.health


UNKNOWN = Point(1_795_000_015, None, None, None)


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize(
    "points",
    [
        (Point(1_795_000_003, Wad(1_142_857142857142857)),),
        (UNKNOWN,),
        (
            Point(1_795_000_003, Wad(UINT256_MAX), Base(0), Base(0)),
            UNKNOWN,
            Point(1_795_000_027, Wad(1)),
        ),
        tuple(Point(1_795_000_003 + 12 * at, Wad(10**18 + at * 10**15)) for at in range(400)),
    ],
    ids=["one", "unknown", "no debt, unknown, almost nothing", "many"],
)
def test_whatever_was_known_makes_a_picture(points: tuple[Point, ...]) -> None:
    assert size(draw("main", points, DEFAULT_THRESHOLDS, 86_400)) == (900, 560)


def test_hostile_names_are_drawn_as_text() -> None:
    name = "$\\frac{x}{$ \u202e\U0001f600 <b>" + "x" * 500

    assert size(draw(name, (UNKNOWN,), DEFAULT_THRESHOLDS, 60)) == (900, 560)


async def test_charts_are_drawn_in_threads_side_by_side() -> None:
    points = (Point(1_795_000_003, Wad(1_142_857142857142857)), UNKNOWN)

    made = await asyncio.gather(
        *(asyncio.to_thread(draw, "main", points, DEFAULT_THRESHOLDS, 60) for _ in range(3))
    )

    assert len({size(one) for one in made}) == 1


def test_nothing_known_is_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        draw("main", (), DEFAULT_THRESHOLDS, 60)


def test_a_price_has_a_panel_of_its_own() -> None:
    points = tuple(Point(1_795_000_003 + 12 * at, Wad(12 * 10**17)) for at in range(300))
    price = PriceLine(
        symbol="W\u202eETH",
        points=(
            (1_795_000_000 - 3600, Base(2501_00000000)),
            (1_795_001_000, None),
            (1_795_002_000, Base(2291_00000000)),
        ),
    )

    drawn = draw("main", points, DEFAULT_THRESHOLDS, 3600, price)
    unknown = PriceLine(symbol="X", points=((1_795_000_000, None),))
    assert size(drawn) == (900, 740)
    assert size(draw("main", points, DEFAULT_THRESHOLDS, 3600, unknown)) == (900, 560)


def panels(points: tuple[Point, ...], span_s: int, price: PriceLine | None = None) -> list[Any]:
    """What is drawn for the label main, from above."""
    return list(plotted("main", points, DEFAULT_THRESHOLDS, span_s, price).axes)


NOW = 1_795_000_003
WEEK_S = 7 * 86_400


def test_the_title_and_the_last_dot_are_what_is_so_now_and_the_least_stays_visible() -> None:
    fell = Point(NOW, Wad(1_249_000_000_000_000_001), low=Wad(10**18), high=Wad(1_310 * 10**15))

    upper, *_ = panels((fell,), WEEK_S)

    assert upper.get_title(loc="left") == "main: health factor 1.249, last 7 d"
    [band] = [one.get_segments()[0] for one in upper.collections]
    assert [round(y, 3) for _, y in band] == [1.0, 1.31]
    dots = [line for line in upper.lines if line.get_marker() == "o"]
    assert [round(float(line.get_ydata()[0]), 3) for line in dots] == [1.249]


def test_a_young_watch_is_shown_in_the_time_that_was_asked_for() -> None:
    upper, *_, lower = panels((Point(NOW, Wad(12 * 10**17)),), 86_400)

    left, right = lower.get_xlim()  # days
    assert left == pytest.approx((NOW - 86_400) / 86_400)
    assert 1.0 <= right - left < 1.02
    assert [list(line.get_markevery()) for line in lower.lines] == [[0], [0]]  # dots, not nothing
    assert list(upper.lines[0].get_markevery()) == [0]


def test_the_price_never_goes_back_in_time() -> None:
    # the watch is a minute old, the price was kept for days, and one was kept after the last point
    points = tuple(Point(NOW - 60 + 12 * at, Wad(12 * 10**17)) for at in range(6))
    kept = [(NOW - hours * 3_600, Base((2_500 + hours) * 10**8)) for hours in range(200, 0, -1)]
    later = (NOW + 30, Base(9_999_00000000))
    price = PriceLine(symbol="WETH", points=(*kept, later, (NOW - 1_800, Base(2_222_00000000))))

    _, middle, _ = panels(points, WEEK_S, price)
    [line] = middle.lines

    at = [float(one.timestamp()) for one in line.get_xdata()]
    end = points[-1].at
    assert at == sorted(at)
    assert (at[0], at[-1]) == (end - WEEK_S, end)
    assert len(at) == 1 + 167 + 1 + 1  # before it, each hour within it, the late one, now
    assert list(line.get_ydata()[:2]) == [2_668.0, 2_667.0]
    assert line.get_ydata()[-1] == 2_222.0


def test_unknown_at_the_end_is_said_and_shaded() -> None:
    points = (Point(NOW - 600, Wad(12 * 10**17)), Point(NOW, None, None, None))

    upper, *_ = panels(points, 3_600)

    assert upper.get_title(loc="left") == "main: health factor unknown, last 60 min"
    [shade] = upper.patches
    assert shade.get_width() > 0
