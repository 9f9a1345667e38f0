"""``keeper actions`` and the story of an intent, from a journal that was written by the store."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.model import (
    BlockRef,
    Cost,
    Declined,
    IntentKind,
    Plan,
    Rehearsed,
    TxState,
)
from keeper.store.actions import SqlActions
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.units import Base, Wad, Wei
from tests.cli.calling import Keeper
from tests.store.builders import SIGNER, attempt, block, intent, plan, receipt

CONFIRMED, REHEARSED, DECLINED = "00000000000000c1", "00000000000000a2", "00000000000000d3"


@pytest.fixture
def journal(tmp_path: Path) -> None:
    """One confirmed, one rehearsed, one declined."""

    async def write() -> None:
        async with await Database.open(str(tmp_path / "keeper.sqlite3")) as database:
            journal = SqlJournal(database, chain_id=31337)
            after = Wad(1_204_999_999_999_999_999)
            await journal.claim(plan(CONFIRMED), SIGNER, 7, healths=[after])
            await journal.signed(CONFIRMED, attempt())
            await journal.sent(CONFIRMED, 21_034_511)
            await journal.settle(CONFIRMED, TxState.CONFIRMED, receipt(), (), ())
            await journal.record_submission(Rehearsed(plan=plan(REHEARSED, 2), health_after=after))
            await journal.record_submission(
                Declined(intent=intent(DECLINED, 3), reason="It would revert: 35.")
            )

    asyncio.run(write())


@pytest.mark.usefixtures("journal")
def test_actions_say_what_was_done_tried_and_declined(cli: Keeper) -> None:
    lines = {line.split()[2]: line for line in cli("actions").out.splitlines() if "Z" in line[:24]}

    assert set(lines) == {CONFIRMED, REHEARSED, DECLINED}
    assert "0.973 → 1.204 simulated" in lines[CONFIRMED]
    assert "0.005600" in lines[CONFIRMED]  # 311,113 gas x 18,000,000,011 wei
    assert "0x00000..a0001" in lines[CONFIRMED]
    assert " rehearsed " in lines[REHEARSED]
    assert lines[DECLINED].rstrip().endswith("It would revert: 35.")


@pytest.mark.usefixtures("journal")
def test_foreign_symbols_are_printed_without_what_steers_a_terminal(cli: Keeper) -> None:
    out = cli("actions").out

    assert not {char for char in out if not char.isprintable()} - {"\n"}


@pytest.mark.usefixtures("journal")
def test_actions_as_json_keep_every_digit(cli: Keeper) -> None:
    found = {entry["intent"]: entry for entry in cli("actions", "--json").json["actions"]}

    assert found[CONFIRMED]["health_before_wad"] == "973210000000000001"
    assert found[CONFIRMED]["gas_wei"] == str(311_113 * 18_000_000_011)
    assert found[CONFIRMED]["tx"] == receipt().tx_hash
    assert found[REHEARSED]["tx"] is None
    assert len(cli("actions", "--limit", "1", "--json").json["actions"]) == 1


@pytest.mark.usefixtures("journal")
def test_the_story_of_an_intent_ends_with_its_audit_trail(cli: Keeper) -> None:
    said = cli("explain", CONFIRMED)

    assert said.code == 0
    assert f"intent {CONFIRMED}: liquidate with 2,938.10 USDC" in said.out
    # 311,113 gas at 18.000000011 gwei
    paid = "311,113 gas, 0.005600 ETH paid for it"
    assert f"mined           block 21,034,513, succeeded, {paid}" in said.out
    events = [line.split()[2] for line in said.out.split("audit trail\n")[1].splitlines()]
    assert events == ["plan.claimed", "plan.signed", "plan.confirmed"]


def test_an_unknown_intent_says_where_it_was_looked_for(cli: Keeper, tmp_path: Path) -> None:
    said = cli("explain", "0123456789abcdef")

    assert said.code == 2
    assert said.sentence == (
        f"no intent 0123456789abcdef is in {tmp_path / 'keeper.sqlite3'}: `keeper actions` lists "
        "the last ones"
    )


@pytest.mark.usefixtures("journal")
def test_on_a_narrow_terminal_an_action_has_three_lines_and_keeps_its_id_whole(
    cli: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeper.cli.output.PIPE_WIDTH", 100)

    lines = cli("actions").out.splitlines()

    at = next(i for i, line in enumerate(lines) if CONFIRMED in line)
    assert lines[at].endswith(f"Z  {CONFIRMED}  liquidate with 2,938.10 USDC???, confirmed")
    assert lines[at + 1].startswith("    aave-v3-local 0x00000..A11cE  health 0.973 → 1.204")
    assert lines[at + 2] == "    health factor 0.973 is below 1"


def test_nothing_done_yet_is_said(cli: Keeper) -> None:
    assert cli("actions").out == "Nothing was done, tried or declined yet.\n"


COST = Cost(gas_used=411_007, wei=Wei(7_398_126_000_000_000), value=Base(14_71000001))


def rehearse(folder: Path) -> None:
    """Two liquidations of one account in one danger, a third a day later, a top-up, and an old
    one whose cost was not kept.
    """
    later = replace(block(), timestamp=block().timestamp + 600)
    tomorrow = replace(block(), timestamp=block().timestamp + 86_400)
    found = [
        Rehearsed(plan=plan("r1", 2), health_after=None, cost=COST),
        Rehearsed(plan=dated("r2", 2, later), health_after=None, cost=COST),
        Rehearsed(plan=dated("00000000000000e3", 2, tomorrow), health_after=None, cost=COST),
        Rehearsed(plan=dated("r4", 4, later, IntentKind.TOP_UP), health_after=None, cost=COST),
        Rehearsed(plan=plan("r5", 5), health_after=None),
    ]

    async def write() -> None:
        async with await Database.open(str(folder / "keeper.sqlite3")) as database:
            for one in found:
                await SqlJournal(database, chain_id=31337).record_submission(one)

    asyncio.run(write())


def dated(name: str, account: int, at: BlockRef, kind: IntentKind = IntentKind.LIQUIDATE) -> Plan:
    made = plan(name, account)
    worth = Base(100_00000001)
    return replace(made, intent=replace(made.intent, block=at, kind=kind, expected_profit=worth))


@pytest.fixture
def rehearsals(tmp_path: Path) -> None:
    rehearse(tmp_path)


@pytest.mark.usefixtures("rehearsals")
def test_what_sending_would_have_brought_is_added_up_once_for_each_danger(cli: Keeper) -> None:
    said = cli("actions", "--json").json

    # r1 (4,711,003) and r3 (100.00000001), each less 14.71000001; r5 4,711,003 of unknown cost
    assert said["would_have"] == {
        "liquidations": 3,
        "earned_base": str(4_711_003 + 100_00000001 - 2 * 14_71000001 + 4_711_003),
        "protections": 1,
        "saved_base": str(1_943_810_000_001),
        "paid_to_protect_base": str(14_71000001),
        "unpriced": 1,
    }
    [one] = [entry for entry in said["actions"] if entry["intent"] == "00000000000000e3"]
    assert (one["rehearsed_gas_used"], one["rehearsed_cost_base"]) == (411_007, "1471000001")


@pytest.mark.usefixtures("rehearsals")
def test_what_sending_would_have_brought_is_said_in_words(cli: Keeper) -> None:
    out = cli("actions").out

    assert (
        "3 rehearsed liquidations would have earned 70.67 USD after gas, had they been sent" in out
    )
    assert (
        "1 rehearsed protections would have saved up to 19,438.10 USD for 14.71 USD of gas, "
        "had they been sent" in out
    )
    assert "the gas of 1 of them is not known" in out
    assert "sent, it would have earned 85.29 USD after 14.71 USD of gas" in out
    told = cli("explain", "00000000000000e3").out
    assert (
        "rehearsed       sent, it would have earned 85.29 USD after 14.71 USD of gas, 411,007 gas"
        in told
    )


@pytest.mark.usefixtures("rehearsals")
def test_what_was_sent_later_in_the_same_danger_would_not_have_brought_more(
    cli: Keeper, tmp_path: Path
) -> None:
    before = cli("actions", "--json").json["would_have"]
    later = replace(block(), timestamp=block().timestamp + 600)

    async def write() -> None:
        async with await Database.open(str(tmp_path / "keeper.sqlite3")) as database:
            journal = SqlJournal(database, chain_id=31337)
            await journal.claim(dated(CONFIRMED, 2, later), SIGNER, 7)
            claimed = (await SqlActions(database).would_have()).liquidations
            await journal.signed(CONFIRMED, attempt())
            await journal.sent(CONFIRMED, 21_034_511)
            assert claimed == before["liquidations"]

    asyncio.run(write())
    after = cli("actions", "--json").json["would_have"]

    # r1 is left out, r3 of the next day is not
    assert (before["liquidations"], after["liquidations"]) == (3, 2)
    assert int(before["earned_base"]) - int(after["earned_base"]) == 4_711_003 - 14_71000001
    assert after["protections"] == before["protections"]
