"""A picture of prices shows the time that was asked for."""

from typing import Any

import pytest

from keeper.notify.price_chart import Line, plotted_prices

pytest.importorskip("matplotlib", reason="keeper[charts] is not installed")


def test_one_kept_price_is_a_line_in_the_time_that_was_asked_for() -> None:
    until = 1_795_000_003
    line = Line(name="ETH/USD", points=((until - 7_205, 2_501.25),))

    drawing: Any = plotted_prices((line,), until - 86_400, until)
    [axes] = drawing.axes

    left, right = axes.get_xlim()  # days
    assert (left, right) == (
        pytest.approx((until - 86_400) / 86_400),
        pytest.approx(until / 86_400),
    )
    [drawn] = axes.lines
    assert [at.timestamp() for at in drawn.get_xdata()] == [until - 7_205, until]


def test_a_chain_whose_clock_is_ahead_of_this_machine_is_not_drawn_backwards() -> None:
    until = 1_795_000_003
    line = Line(name="ETH/USD", points=((until - 60, 2_501.25), (until + 7_200, 2_502.5)))

    drawing: Any = plotted_prices((line,), until - 86_400, until)

    [axes] = drawing.axes
    assert axes.get_xlim()[1] == pytest.approx((until + 7_200) / 86_400)
    at = [one.timestamp() for one in axes.lines[0].get_xdata()]
    assert at == sorted(at)
