"""A chart is a picture of what was known."""

import asyncio
import struct
from dataclasses import dataclass

import pytest

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.notify.charts import PriceLine, draw
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
