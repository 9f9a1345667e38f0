"""What the deployed 3.6 and 3.0.2 answered once, replayed: wei for wei, without a chain."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keeper.errors import BadAnswer
from keeper.model import Address, Assessed, Call, CallResult, Failed, MarketId, Returned
from keeper.protocols.aave_v3 import codec
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.market import Market
from keeper.protocols.aave_v3.rules import rules_for
from keeper.protocols.aave_v3.view import View
from keeper.risk.book import Book
from keeper.risk.exact import endangered
from keeper.units import WAD, Wad

from . import builders as b

GOLDEN = Path(__file__).parents[2] / "golden"


def recorded(release: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / f"aave_v3_{release}.json").read_text())
    return document


class Golden:
    """The market as it was recorded."""

    def __init__(self, release: str) -> None:
        said = recorded(release)
        self.said = {Address(a): tuple(map(int, data)) for a, data in said["accounts"].items()}
        adapter = AaveV3(
            MarketId(chain_id=31337, name="golden", protocol="aave_v3"), Address(said["provider"])
        )

        def answer(call: Call) -> CallResult:
            data = said["answers"].get(f"{call.to}:{call.data.hex()}")
            data = said["default"].get(call.data[:4].hex()) if data is None else data
            return Failed("not recorded") if data is None else Returned(bytes.fromhex(data))

        self.market, _ = b.drive(adapter.discover(), answer)
        self.seen, _ = b.drive(
            adapter.observe(self.market, tuple(self.said), lambda _: None), answer
        )
        self.block = replace(b.BLOCK, timestamp=said["timestamp"])
        self.adapter = adapter

    @property
    def view(self) -> View:
        return self.adapter.view(self.market, self.seen, self.block, {})

    def ours(self, view: View) -> dict[Address, tuple[int, ...]]:
        found: dict[Address, tuple[int, ...]] = {}
        for holdings in self.seen.holdings:
            assessed = view.assess(holdings)
            assert isinstance(assessed, Assessed), assessed
            found[holdings.account] = (
                assessed.collateral,
                assessed.debt,
                assessed.health_factor,
            )
        return found


@pytest.mark.parametrize("release", ["3.6", "3.0.2"])
def test_every_recorded_account_is_valued_as_the_pool_valued_it(release: str) -> None:
    golden = Golden(release)

    assert len(golden.said) == 14
    assert golden.seen.unreadable == ()
    assert golden.ours(golden.view) == golden.said


@pytest.mark.parametrize(
    ("release", "wrong"), [("3.6", 8), ("3.6", 1), ("3.0.2", 10), ("3.0.2", 9)]
)
def test_another_revisions_arithmetic_gives_other_numbers(release: str, wrong: int) -> None:
    """Why the revision is asked: the numbers differ in the last digits only."""
    golden = Golden(release)
    rules = replace(rules_for(wrong), e_mode_bitmaps=golden.market.rules.e_mode_bitmaps)
    golden.market = replace(golden.market, rules=rules)

    ours = golden.ours(golden.view)

    assert ours != golden.said
    for account, (_, _, health) in ours.items():
        assert health == pytest.approx(golden.said[account][2], rel=2e-4)


@pytest.mark.parametrize("release", ["3.6", "3.0.2"])
def test_the_screen_finds_exactly_the_recorded_unhealthy(release: str) -> None:
    golden = Golden(release)
    book = Book()
    for holdings in golden.seen.holdings:
        book.put(holdings)

    found = set(endangered(book, golden.view.weights(), Wad(WAD)))

    assert found == {a for a, (_, _, health) in golden.said.items() if health < WAD}
    assert found


def learnt(release: str, grace: CallResult, revision: int | None = None) -> Market:
    """The recorded market, with another answer to `getLiquidationGracePeriod` and revision."""
    said = recorded(release)
    adapter = AaveV3(
        MarketId(chain_id=31337, name="golden", protocol="aave_v3"), Address(said["provider"])
    )

    def answer(call: Call) -> CallResult:
        if call.data[:4] == codec.GET_LIQUIDATION_GRACE_PERIOD:
            return grace
        if call.data[:4] == codec.POOL_REVISION and revision is not None:
            return Returned(revision.to_bytes(32, "big"))
        data = said["answers"].get(f"{call.to}:{call.data.hex()}")
        data = said["default"].get(call.data[:4].hex()) if data is None else data
        return Failed("not recorded") if data is None else Returned(bytes.fromhex(data))

    made, _ = b.drive(adapter.discover(), answer)
    return made


def test_a_grace_period_is_learnt_with_its_reserve() -> None:
    market = learnt("3.6", Returned((1_795_222_801).to_bytes(32, "big")))

    assert {r.grace_until for r in market.reserves} == {1_795_222_801}
    assert len(market.reserves) > 3


def test_an_early_deployment_of_3_1_may_lack_the_getter_and_a_later_one_not() -> None:
    early = learnt("3.0.2", Failed("no such function"), revision=3)

    assert {r.grace_until for r in early.reserves} == {0}
    with pytest.raises(BadAnswer, match="getLiquidationGracePeriod"):
        learnt("3.6", Failed("no such function"))
