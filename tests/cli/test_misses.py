"""``keeper misses``, from rows that the store wrote."""

import asyncio
from pathlib import Path

import pytest

from keeper.model import PassRecord, Taken
from keeper.store.database import Database
from keeper.store.records import SqlRecords
from keeper.units import Base
from tests.cli.calling import Keeper
from tests.store.builders import block, liquidation

OLD = block(100)
"""Some days before the tests were written; the others are in the future."""


@pytest.fixture
def written(tmp_path: Path) -> None:
    """One late, one ours, one not covered, and one of the past."""

    async def work() -> None:
        async with await Database.open(str(tmp_path / "keeper.sqlite3")) as database:
            found = (
                liquidation(),
                liquidation(4, taken=Taken.OURS, reason="ours"),
                liquidation(
                    5, taken=Taken.NOT_COVERED, reason="who?", profit=None, seen_block=None
                ),
                liquidation(at=OLD, profit=Base(0)),
            )
            await SqlRecords(database).record(PassRecord(block=block(), liquidations=found))

    asyncio.run(work())


def test_nothing_seen_is_said(cli: Keeper) -> None:
    assert cli("misses").out.strip() == "No liquidation was seen in the watched markets yet."


@pytest.mark.usefixtures("written")
def test_it_says_who_took_what_and_why_not_the_keeper(cli: Keeper) -> None:
    out = cli("misses").out

    assert "4 liquidations: 1 ours, 3 by others (2 late, 1 not covered)" in out
    assert "the others took 147.13 at oracle prices" in out
    assert "late: ours was sent at block 7 with nonce 3; theirs was first" in out
    assert "repaid 2,938.10 USDC" in out
    assert "profit 147.13 before gas" in out
    assert "possible from a block between 21,034,509 and 21,034,510" in out
    assert "seen at block 21,034,510, taken 1 block later" in out
    assert "our intent i-1, expected profit 130.00" in out
    assert "not covered: who?" in out
    assert "not seen before it was taken" in out
    assert "\u202e" not in out
    assert "ours: ours" not in out
    assert "ours: ours" in cli("misses", "--ours").out


@pytest.mark.usefixtures("written")
def test_as_json_every_digit_is_kept(cli: Keeper) -> None:
    said = cli("misses", "--ours", "--json").json

    assert said["counts"] == {"late": 2, "ours": 1, "not_covered": 1}
    assert said["profit_of_others_base"] == "14713000009"
    assert [one["taken"] for one in said["liquidations"]] == ["not_covered", "ours", "late", "late"]
    assert said["liquidations"][2]["covered_raw"] == "2938100001"
    assert said["liquidations"][0]["profit_base"] is None
    assert len(cli("misses", "--ours", "--json", "--limit", "1").json["liquidations"]) == 1


@pytest.mark.usefixtures("written")
def test_only_the_last_days(cli: Keeper) -> None:
    blocks = {one["block"] for one in cli("misses", "--days", "1", "--json").json["liquidations"]}

    assert blocks == {block().number}
    assert len(cli("misses", "--json").json["liquidations"]) == 3
    assert "longer than there are chains" in cli("misses", "--days", "1e9").sentence
