"""Which intents of a block go at once, and which may share a transaction."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from keeper.engine.engine import _together
from keeper.model import Funding, Intent, IntentKind
from tests.execution.fakes import FakeChain, intent

HEAD = FakeChain().head


def intents(kinds: str) -> list[Intent]:
    """``t`` a top-up, ``l`` a liquidation of one's own money, ``f`` of borrowed, ``d`` deleverage,
    ``o`` of borrowed money in another market.
    """
    known = {
        "t": (IntentKind.TOP_UP, Funding.OWN),
        "l": (IntentKind.LIQUIDATE, Funding.OWN),
        "f": (IntentKind.LIQUIDATE, Funding.FLASH),
        "o": (IntentKind.LIQUIDATE, Funding.FLASH),
        "d": (IntentKind.DELEVERAGE, Funding.FLASH),
    }
    made = []
    for number, letter in enumerate(kinds, start=1):
        kind, funding = known[letter]
        one = replace(intent(number, HEAD), kind=kind, funding=funding)
        if letter == "o":
            market = replace(one.position.market, name="another")
            one = replace(one, position=replace(one.position, market=market))
        made.append(one)
    return made


@pytest.mark.parametrize(
    ("kinds", "most", "sizes"),
    [
        ("ffffffff", 5, [1, 5, 2]),
        ("ffffffff", 1, [1] * 8),
        ("f", 5, [1]),
        ("", 5, []),
        ("fffofff", 5, [1, 2, 1, 3]),
        ("tttfff", 5, [1, 2, 3]),  # what protects goes side by side, and before
        ("ddfff", 5, [1, 1, 3]),
        ("dddd", 5, [1, 1, 1, 1]),
        ("l" * 12, 5, [1, 8, 3]),
    ],
)
def test_the_first_goes_alone_and_the_others_with_their_like(
    kinds: str, most: int, sizes: Sequence[int]
) -> None:
    wanted = intents(kinds)

    groups = list(_together(wanted, most, first_alone=True))

    assert [len(group) for group in groups] == list(sizes)
    assert [one for group in groups for one in group] == wanted


def test_once_the_first_of_a_block_is_sent_none_goes_alone_for_being_first() -> None:
    groups = list(_together(intents("ffffffff"), 5, first_alone=False))

    assert [len(group) for group in groups] == [5, 3]
