"""Stories of one executor over a strict fake chain."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from keeper.errors import BadAnswer, CapOfDay, ConfigError, JournalError, RpcError
from keeper.execution import tracking
from keeper.execution.liquidator import LIQUIDATE_OVER
from keeper.execution.policy import SigningPolicy
from keeper.execution.pricing import Pricing
from keeper.execution.submitted import CapsOfDay
from keeper.execution.transaction import decode_signed, is_cancellation
from keeper.model import (
    Abandoned,
    BlockRef,
    Call,
    Confirmed,
    Declined,
    Hash,
    Intent,
    IntentKind,
    Receipt,
    Rehearsed,
    Reverted,
    Submission,
    Submitted,
    Supposed,
    TxState,
    Unknown,
)
from keeper.units import Base, Wad, Wei
from tests.execution.fakes import (
    CHAIN,
    GWEI,
    SIGNER,
    TARGET,
    FakeChain,
    FakeView,
    intent,
    policy,
)
from tests.execution.rig import PRICING, SETTINGS, Rig


def declined(submission: Submission) -> str:
    assert isinstance(submission, Declined)
    return submission.reason


def sent(submission: Submission) -> Submitted:
    assert isinstance(submission, Submitted)
    return submission


# --- watch-only -------------------------------------------------------------------------------


async def test_not_armed_it_rehearses_and_signs_nothing() -> None:
    rig = Rig()
    executor = rig.build(policy=SigningPolicy())

    submission = await executor.submit(intent(1, rig.chain.head), FakeView(block=rig.chain.head))

    assert isinstance(submission, Rehearsed)
    assert submission.health_after == 1_500_000_000_000_000_000
    assert submission.plan.gas_limit == 280_000
    assert not rig.journal.plans
    assert not rig.chain.sent


async def test_a_rehearsal_keeps_to_the_configured_cap_of_gas() -> None:
    rig = Rig()
    cap = Wei(280_000 * 41 * 10**9 + 7)
    kept = replace(SETTINGS, most_gas_wei=cap)
    executor = rig.build(policy=SigningPolicy(), settings=kept)

    submission = await executor.submit(intent(1, rig.chain.head), FakeView(block=rig.chain.head))

    assert isinstance(submission, Rehearsed)
    assert submission.plan.max_fee_wei == 41 * 10**9


async def test_without_a_key_it_rehearses_as_the_account_it_is_told() -> None:
    rig = Rig()
    executor = rig.build(signer=None, rehearse_as=SIGNER.address)
    nobody = rig.build(signer=None)
    head = rig.chain.head

    assert isinstance(await executor.submit(intent(1, head), FakeView(block=head)), Rehearsed)
    assert "keystore" in declined(await nobody.submit(intent(1, head), FakeView(block=head)))
    assert await executor.recover(head) == await executor.settle(head) == ()
    with pytest.raises(ConfigError, match="there is no key"):
        executor.arm(CHAIN)


def test_arming_needs_the_chains_id_and_a_policy() -> None:
    rig = Rig()

    with pytest.raises(ConfigError, match="names chain 1, this is chain 31337"):
        rig.build().arm(1)
    with pytest.raises(ConfigError, match="allows nothing on chain 31337"):
        rig.build(policy=SigningPolicy()).arm(CHAIN)


def test_with_the_kill_switch_on_it_starts_disarmed_and_goes_on_watching(tmp_path: Path) -> None:
    executor = Rig().build(kill_switch=tmp_path)

    executor.arm(CHAIN)

    assert not executor.armed
    assert executor.disarmed_reason == f"the kill switch {tmp_path} was thrown"


# --- the plain path ---------------------------------------------------------------------------


async def test_an_intent_is_sent_once_and_confirmed_at_depth() -> None:
    rig = Rig()

    submission = sent(await rig.submit())
    outcomes = [await rig.block() for _ in range(3)]

    assert submission.open_plan.state is TxState.SENT
    assert submission.open_plan.nonce == 0
    assert submission.health_after == 1_500_000_000_000_000_000
    assert outcomes[:2] == [(), ()]
    assert [type(o) for o in outcomes[2]] == [Confirmed]
    assert len(rig.chain.sent) == len(rig.chain.executed()) == 1
    assert rig.journal.plans["intent-1"].state is TxState.CONFIRMED
    assert [event.event for event in rig.journal.audit] == ["intent.confirmed"]


async def test_the_health_that_is_said_is_of_the_block_in_which_it_was_mined() -> None:
    rig = Rig()
    sent(await rig.submit())
    await rig.block()
    mined = rig.chain.head
    await rig.block()
    rig.chain.healths[mined.hash] = 1_250_000_000_000_000_001
    later = rig.chain.mine()
    rig.chain.healths[later.hash] = 940_000_000_000_000_003  # prices fell meanwhile

    [outcome] = await rig.executor.settle(later)

    assert isinstance(outcome, Confirmed)
    assert outcome.receipt.block_hash == mined.hash
    [event] = rig.journal.audit
    assert event.fields["health_after_wad"] == 1_250_000_000_000_000_001
    assert rig.journal.healths == {"intent-1": 1_250_000_000_000_000_001}


async def test_no_health_is_said_where_no_node_has_the_block_any_more() -> None:
    rig = Rig()
    sent(await rig.submit())
    await rig.blocks(2)
    later = rig.chain.mine()
    rig.chain.healths[later.hash] = 940_000_000_000_000_003

    [outcome] = await rig.executor.settle(later)

    assert isinstance(outcome, Confirmed)
    assert [event.fields["health_after_wad"] for event in rig.journal.audit] == [None]
    assert rig.journal.healths == {"intent-1": None}


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_plan_of_a_market_that_is_no_more_configured_settles_without_a_health(
    restarted: bool,
) -> None:
    def gone(_: Intent) -> Call | None:
        raise KeyError("aave-v3-gone")

    rig = Rig()
    await rig.submit()
    if restarted:
        for _ in range(7):
            rig.chain.mine()
    rig.restart(pricing=replace(PRICING, health_call=gone))

    [outcome] = await rig.executor.recover(rig.chain.head) if restarted else await rig.blocks(4)

    assert isinstance(outcome, Confirmed)
    assert rig.journal.healths == {"intent-1": None}


async def test_no_health_is_said_of_a_transaction_that_reverted() -> None:
    rig = Rig()
    await rig.submit()
    rig.chain.mined_ok = False
    await rig.block()
    rig.chain.healths[rig.chain.head.hash] = 1_250_000_000_000_000_001

    [outcome] = await rig.blocks(2)

    assert isinstance(outcome, Reverted)
    assert rig.journal.healths == {"intent-1": None}


async def test_after_a_restart_the_health_is_of_the_block_in_which_it_was_mined_too() -> None:
    rig = Rig()
    sent(await rig.submit())
    mined = rig.chain.mine()
    rig.chain.healths[mined.hash] = 1_250_000_000_000_000_001
    for _ in range(7):
        rig.chain.healths[rig.chain.mine().hash] = 940_000_000_000_000_003
    rig.restart()

    [outcome] = await rig.executor.recover(rig.chain.head)

    assert isinstance(outcome, Confirmed)
    assert rig.journal.healths == {"intent-1": 1_250_000_000_000_000_001}


async def test_a_transaction_that_fails_on_chain_is_reverted() -> None:
    rig = Rig()
    await rig.submit()
    rig.chain.mined_ok = False

    outcomes = await rig.blocks(3)

    assert [type(o) for o in outcomes] == [Reverted]
    assert rig.journal.plans["intent-1"].state is TxState.REVERTED


async def test_several_intents_take_consecutive_nonces() -> None:
    rig = Rig()

    nonces = [sent(await rig.submit(n)).open_plan.nonce for n in (1, 2, 3)]
    assert {i.intent_id for i in rig.executor.open_intents()} == {
        "intent-1",
        "intent-2",
        "intent-3",
    }
    outcomes = await rig.blocks(3)

    assert nonces == [0, 1, 2]
    assert [type(o) for o in outcomes] == [Confirmed] * 3
    assert rig.executor.open_intents() == ()


async def test_an_idle_executor_asks_the_node_nothing() -> None:
    rig = Rig()

    await rig.blocks(3)

    assert rig.chain.calls == []


async def test_the_same_intent_or_position_is_not_acted_on_twice() -> None:
    rig = Rig()
    await rig.submit(1)

    assert "has an action in flight" in declined(await rig.submit(1))
    await rig.blocks(3)
    assert "in the journal already" in declined(await rig.submit(1))
    assert len(rig.chain.sent) == 1


# --- refusals ---------------------------------------------------------------------------------


async def test_what_would_revert_is_declined_in_words() -> None:
    rig = Rig()
    rig.chain.revert_data = bytes.fromhex("930bb771")

    submission = await rig.submit()

    assert declined(submission) == "It would revert: health factor not below threshold."
    assert isinstance(submission, Declined)
    assert submission.this_way  # another pair may go
    assert not rig.journal.plans


async def test_a_protection_that_does_not_help_is_declined() -> None:
    rig = Rig()
    rig.chain.health_after = 1_061_060_494_595_665_214

    assert "would not help" in declined(await rig.submit())


async def test_gas_dearer_than_what_is_at_stake_is_declined() -> None:
    rig = Rig()
    # Half of 971.9055 USD is 0.24298 ETH; over 280,000 gas that is 867.77 gwei.  The absolute cap
    # is 500, of which the action may offer eight ninths: a cancellation must fit above it.
    rig.chain.base_fee_wei = 445 * GWEI
    rig.chain.mine()

    submission = await rig.submit()
    assert "444444444444 is the most" in declined(submission)
    assert isinstance(submission, Declined)
    assert not submission.this_way  # gas costs as much for any other
    rig.chain.base_fee_wei = 444 * GWEI
    rig.chain.mine()
    assert sent(await rig.submit()).open_plan.plan.max_fee_wei == 500 * GWEI


async def test_a_value_that_is_not_known_is_declined() -> None:
    rig = Rig()
    rig.restart(
        pricing=Pricing(
            spends=lambda _i, _v: None,
            native=PRICING.native,
            health_call=PRICING.health_call,
            health=PRICING.health,
        )
    )

    assert "is not known, so no cap can be kept" in declined(await rig.submit())


async def test_the_policy_and_the_days_caps_are_kept() -> None:
    rig = Rig()
    rig.restart(policy=policy(max_spend_per_day=Base(2 * 293_810_420_100)))

    first, second = await rig.submit(1), await rig.submit(2)

    sent(first)
    sent(second)
    assert "the day's spending" in declined(await rig.submit(3))
    await rig.blocks(3)
    assert "the day's spending" in declined(await rig.submit(4))


async def test_a_cap_of_the_day_that_is_reached_is_said_once() -> None:
    rig = Rig()
    rig.restart(policy=policy(max_spend_per_day=Base(3 * 293_810_420_100 - 1)))
    for number in (1, 2):
        sent(await rig.submit(number))

    with structlog.testing.capture_logs() as said:
        first = [await rig.submit(number) for number in (3, 4, 5)]
        await rig.blocks(3)
        later = [await rig.submit(number) for number in (6, 7)]

    every = [*first, *later]
    assert all("the day's spending" in declined(one) for one in every)
    assert [isinstance(one, Declined) and one.again for one in every] == [False, *[True] * 4]
    assert [line["event"] for line in said].count("intent.declined") == 1


def test_a_cap_of_the_day_is_said_again_when_more_or_less_is_taken_of_it() -> None:
    caps = CapsOfDay()

    def take(number: int, cap: str, taken: int) -> tuple[bool, int]:
        error = CapOfDay("It is over a cap.", cap=cap, taken=taken, most=100)
        told = caps.declined(intent(number, FakeChain().head), error)
        return told.again, told.others

    assert [
        take(1, "spending", 97),
        take(2, "spending", 97),
        take(3, "gas", 98),
        take(4, "spending", 97),
        take(5, "spending", 99),
        take(6, "gas", 98),
        take(7, "spending", 97),
    ] == [(False, 0), (True, 0), (False, 0), (True, 0), (False, 2), (True, 0), (False, 0)]


async def test_what_is_too_much_for_one_transaction_is_said_each_time() -> None:
    rig = Rig()
    rig.restart(policy=policy(max_spend=Base(1)))

    both = [await rig.submit(n) for n in (1, 2)]

    assert [isinstance(one, Declined) and one.again for one in both] == [False, False]


async def test_an_intent_of_another_block_or_chain_is_declined() -> None:
    rig = Rig()
    old = rig.chain.head
    head = rig.chain.mine()

    stale = await rig.executor.submit(intent(1, old), FakeView(block=head))
    market = replace(intent(1, head).position.market, chain_id=1)
    foreign = replace(intent(1, head), position=replace(intent(1, head).position, market=market))

    assert "decided at block 100, the market was read at 101" in declined(stale)
    assert "on chain 1" in declined(await rig.executor.submit(foreign, FakeView(block=head)))


async def test_an_unreadable_node_or_a_nonsense_answer_is_a_refusal_and_no_exception() -> None:
    rig = Rig()
    for fault in (RpcError("the node is gone"), BadAnswer("nonsense")):
        rig.chain.read_fault = fault
        assert declined(await rig.submit()) == str(fault)
        assert await rig.executor.settle(rig.chain.mine()) == ()
    rig.chain.read_fault = None

    sent(await rig.submit())


async def test_another_chain_behind_the_node_means_no_signature() -> None:
    rig = Rig()
    await rig.submit(1)
    rig.chain.chain_id = 1
    rig.chain.mine()

    assert "answers for chain 1" in declined(await rig.submit(2))
    assert not rig.executor.armed
    assert len(rig.chain.sent) == 1


async def test_the_kill_switch_stops_signatures_and_sends(tmp_path: Path) -> None:
    rig = Rig()
    switch = tmp_path / "stop"
    rig.restart(kill_switch=switch)
    await rig.submit(1)
    rig.chain.pool.clear()
    switch.touch()

    reason = declined(await rig.submit(2))
    outcomes = await rig.blocks(5)

    assert "kill switch" in reason
    assert "kill switch" in (rig.executor.disarmed_reason or "")
    assert len(rig.chain.sent) == 1
    assert [type(o) for o in outcomes] == [Unknown]
    switch.unlink()
    assert "kill switch" in declined(await rig.submit(3))  # a person arms again, not a file


async def test_a_kill_switch_taken_back_before_anything_was_due_has_disarmed(
    tmp_path: Path,
) -> None:
    rig = Rig()
    switch = tmp_path / "stop"
    rig.restart(kill_switch=switch)
    switch.touch()

    rig.executor.heed_kill_switch()
    switch.unlink()
    rig.executor.heed_kill_switch()

    assert not rig.executor.armed
    assert rig.executor.disarmed_reason == f"the kill switch {switch} was thrown"
    assert "kill switch" in declined(await rig.submit())
    assert not rig.chain.sent


def test_a_kill_switch_disarms_nobody_who_was_never_armed(tmp_path: Path) -> None:
    executor = Rig().build(kill_switch=tmp_path)

    executor.heed_kill_switch()

    assert executor.disarmed_reason is None


async def test_a_kill_switch_thrown_between_claim_and_signature_is_obeyed(tmp_path: Path) -> None:
    rig = Rig()
    switch = tmp_path / "stop"

    def throw(name: str) -> None:
        if name == "tx.judged":
            switch.touch()

    rig.restart(kill_switch=switch, failpoint=throw)

    assert "kill switch" in declined(await rig.submit())
    assert not rig.chain.sent
    assert rig.journal.plans["intent-1"].attempts == ()
    assert rig.journal.plans["intent-1"].state is TxState.ABANDONED


async def test_a_kill_switch_that_cannot_be_looked_for_counts_as_thrown(tmp_path: Path) -> None:
    rig = Rig()
    (tmp_path / "folder").mkdir()
    rig.restart(kill_switch=tmp_path / "folder" / "stop")
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").touch()

    assert "cannot be checked" in declined(await rig.submit())
    assert not rig.chain.sent


async def test_gas_that_open_plans_may_take_is_not_promised_twice() -> None:
    rig = Rig()
    rig.restart(policy=policy(min_balance_wei=Wei(0)))
    # one plan reserves 280,000 gas at 500 gwei: 0.14 ETH
    rig.chain.balance_wei = 270_000_000_000_000_000

    sent(await rig.submit(1))

    assert "Fund it" in declined(await rig.submit(2))


# --- the pool ---------------------------------------------------------------------------------


async def test_fees_rise_by_valid_replacements_until_it_is_mined() -> None:
    rig = Rig()
    await rig.submit()
    rig.chain.base_fee_wei = 100 * GWEI

    outcomes = await rig.blocks(8)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert {signed.tx.nonce for signed in rig.chain.sent} == {0}
    assert len(rig.chain.executed()) == 1
    assert rig.chain.blocks[-1][0].base_fee_wei == 100 * GWEI


async def test_at_the_cap_it_waits_says_so_once_and_is_mined_when_gas_falls() -> None:
    rig = Rig()
    rig.restart(settings=replace(SETTINGS, max_fee_wei=Wei(25 * GWEI), deadline_s=10_000))
    await rig.submit()
    rig.chain.base_fee_wei = 100 * GWEI

    outcomes = await rig.blocks(12)

    assert [type(o) for o in outcomes] == [Unknown]
    [told] = outcomes
    assert isinstance(told, Unknown)
    assert told.stuck  # people are told, with the cap
    assert "gas cap of 25000000000 wei" in told.reason
    assert all(s.tx.fees.max_fee_wei <= 25 * GWEI for s in rig.chain.sent)
    rig.chain.base_fee_wei = 10 * GWEI
    assert [type(o) for o in await rig.blocks(3)] == [Confirmed]


async def test_a_dropped_transaction_is_sent_again_within_two_blocks() -> None:
    rig = Rig()
    await rig.submit()
    first = rig.chain.sent[0]
    rig.chain.pool.clear()

    await rig.block()
    assert [signed.tx_hash for signed in rig.chain.sent] == [first.tx_hash] * 2
    outcomes = await rig.blocks(3)

    assert [type(o) for o in outcomes] == [Confirmed]


async def test_past_its_deadline_an_action_is_cancelled_with_its_own_nonce() -> None:
    rig = Rig()
    await rig.submit()
    for _ in range(16):  # 12 s each; the deadline is 180 s
        await rig.block(include=False)

    assert rig.chain.sent[-1].tx.to == SIGNER.address
    outcomes = await rig.blocks(3)

    assert [type(o) for o in outcomes] == [Abandoned]
    assert {s.tx.nonce for s in rig.chain.sent} == {0}
    assert rig.chain.executed() == [b""]
    assert rig.journal.plans["intent-1"].state is TxState.ABANDONED
    assert sent(await rig.submit(2)).open_plan.nonce == 1


@pytest.mark.parametrize("fault", ["lost reply", "refused", "black hole"])
async def test_what_the_node_says_about_a_send_decides_nothing(fault: str) -> None:
    rig = Rig()
    rig.chain.send_faults = [fault]

    submission = sent(await rig.submit())
    outcomes = await rig.blocks(5)

    assert submission.open_plan.state is TxState.SENT
    assert [type(o) for o in outcomes] == [Confirmed]
    assert len(rig.chain.executed()) == 1
    assert {signed.tx.nonce for signed in rig.chain.sent} == {0}


# --- reorgs and strangers ---------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
async def test_an_orphaned_transaction_is_taken_back_and_mined_again(
    depth: int, keep: bool
) -> None:
    rig = Rig()
    await rig.submit()
    await rig.blocks(depth)
    assert rig.journal.plans["intent-1"].state is TxState.MINED

    head = rig.chain.reorg(depth, keep=keep)
    await rig.executor.settle(head)
    assert rig.journal.plans["intent-1"].state is not TxState.MINED
    assert rig.journal.plans["intent-1"].receipt is None
    outcomes = await rig.blocks(5)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert len(rig.chain.executed()) == 1


async def test_a_stolen_nonce_disarms_and_ends_the_plan_only_at_depth() -> None:
    rig = Rig()
    await rig.submit()
    rig.chain.steal(0)

    first = await rig.block()
    assert rig.executor.armed
    assert "nonce does not agree" in declined(await rig.submit(2))
    second = await rig.block()
    assert not rig.executor.armed
    third = await rig.block()

    assert [type(o) for o in (*first, *second, *third)] == [Unknown, Abandoned]
    assert "adopt_nonce" in (rig.executor.disarmed_reason or "")
    assert rig.journal.plans["intent-1"].state is TxState.ABANDONED
    assert len(rig.chain.sent) == 1
    assert "disarmed" in declined(await rig.submit(3))


async def test_looking_twice_at_one_head_is_one_look() -> None:
    rig = Rig()
    await rig.submit()
    rig.chain.steal(0)
    await rig.block()

    for _ in range(3):
        await rig.executor.settle(rig.chain.head)

    assert rig.executor.armed


async def test_a_plan_that_another_process_ended_leaves_no_doubt_behind() -> None:
    rig = Rig()
    await rig.submit(1)
    rig.chain.steal(0)
    await rig.block()

    await rig.journal.settle("intent-1", TxState.ABANDONED, None, (), ())
    await rig.block()

    assert sent(await rig.submit(2)).open_plan.nonce == 1


async def test_receipts_that_come_late_are_not_a_theft() -> None:
    rig = Rig()
    await rig.submit()
    rig.chain.hide_receipts = True

    first = await rig.block()
    rig.chain.hide_receipts = False
    rest = await rig.blocks(3)

    assert [type(o) for o in first] == [Unknown]
    assert [type(o) for o in rest] == [Confirmed]
    assert rig.executor.armed


async def test_receipts_of_many_plans_are_asked_for_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig, under_way, most = Rig(), 0, 0
    answer = rig.chain.receipt

    async def slowly(tx_hash: Hash) -> Receipt | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await answer(tx_hash)

    monkeypatch.setattr(rig.chain, "receipt", slowly)
    monkeypatch.setattr(tracking, "AT_ONCE", 3)
    for number in range(1, 6):
        await rig.submit(number)
    outcomes = [*await rig.block(), *await rig.blocks(2)]

    assert most == 3
    assert [o.plan.intent.intent_id for o in outcomes] == [f"intent-{n}" for n in range(1, 6)]
    assert {type(o) for o in outcomes} == {Confirmed}


async def test_a_receipt_that_cannot_be_had_costs_its_own_plan_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig()
    answer = rig.chain.receipt
    for number in (1, 2, 3):
        await rig.submit(number)
    second = rig.chain.sent[1].tx_hash

    async def not_the_second(tx_hash: Hash) -> Receipt | None:
        if tx_hash == second:
            raise RpcError("the node is busy", code=-32000)
        return await answer(tx_hash)

    with monkeypatch.context() as failing:
        failing.setattr(rig.chain, "receipt", not_the_second)
        first = await rig.block()
    states = [rig.journal.plans[f"intent-{n}"].state for n in (1, 2, 3)]
    rest = await rig.blocks(3)

    assert [(type(o), o.plan.intent.intent_id) for o in first] == [(Unknown, "intent-2")]
    assert states == [TxState.MINED, TxState.SENT, TxState.MINED]
    assert {type(o) for o in rest} == {Confirmed}


async def test_a_nonce_that_the_journal_does_not_know_disarms_before_a_signature() -> None:
    rig = Rig()
    rig.chain.steal(0)
    rig.chain.mine()

    assert "the journal knows of 0 transactions" in declined(await rig.submit())
    assert not rig.executor.armed
    assert not rig.chain.sent
    adopting = rig.restart(settings=replace(SETTINGS, adopt_nonce=1))
    head = rig.chain.head
    assert isinstance(await adopting.submit(intent(1, head), FakeView(block=head)), Submitted)


async def test_what_is_pending_and_vouched_for_is_stepped_over() -> None:
    rig = Rig()
    rig.restart(settings=replace(SETTINGS, adopt_nonce=1))
    rig.chain.steal(0)

    assert sent(await rig.submit()).open_plan.nonce == 1


async def test_an_old_journal_is_noticed_at_recovery() -> None:
    rig = Rig()
    rig.chain.steal(0)
    head = rig.chain.mine()

    await rig.executor.recover(head)

    assert "the journal is an old one" in (rig.executor.disarmed_reason or "")


async def test_a_confirmed_transaction_lost_in_a_deep_reorg_is_a_hole_that_disarms() -> None:
    rig = Rig()
    await rig.submit(1)
    await rig.blocks(3)
    await rig.submit(2)
    rig.chain.reorg(4, keep=False)

    outcomes = await rig.blocks(2)

    assert [type(o) for o in outcomes] == [Unknown]
    assert "neither mined nor in the journal" in (rig.executor.disarmed_reason or "")


# --- the journal ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["claim", "open_plans"])
async def test_without_a_journal_nothing_is_signed(method: str) -> None:
    rig = Rig()
    rig.journal.fail = {method: JournalError("the database is locked")}

    assert "the database is locked" in declined(await rig.submit())
    assert not rig.chain.sent
    assert not rig.journal.plans


async def test_bytes_that_could_not_be_stored_are_not_sent_and_the_claim_is_given_up() -> None:
    rig = Rig()
    rig.journal.fail = {"signed": JournalError("the disk is full")}

    assert "the disk is full" in declined(await rig.submit(1))
    assert not rig.chain.sent
    outcomes = await rig.block()

    assert [type(o) for o in outcomes] == [Abandoned]
    assert sent(await rig.submit(2)).open_plan.nonce == 0


async def test_a_send_that_could_not_be_noted_is_noted_later() -> None:
    rig = Rig()
    rig.journal.fail = {"sent": JournalError("the disk is full")}

    assert sent(await rig.submit()).open_plan.state is TxState.SIGNED
    outcomes = await rig.blocks(4)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert len(rig.chain.executed()) == 1


async def test_a_signature_that_the_policy_forbids_frees_the_claim_at_once() -> None:
    rig = Rig()

    class Turncoat(SigningPolicy):
        def check_final(self, payload: object, open_plan: object) -> object:  # type: ignore[override]
            return SigningPolicy().check_final(payload, open_plan)  # type: ignore[arg-type]

    plain = policy()
    rig.restart(policy=Turncoat(**{name: getattr(plain, name) for name in SigningPolicy.__slots__}))

    assert "empty" in declined(await rig.submit())
    assert rig.journal.plans["intent-1"].state is TxState.ABANDONED
    assert not rig.chain.sent


async def test_approvals_are_not_priced_and_liquidations_are_capped_by_their_profit() -> None:
    rig = Rig()
    head = rig.chain.head
    unprofitable = replace(
        intent(1, head, IntentKind.LIQUIDATE), expected_profit=Base(100_000_000)
    )  # 1 USD: 80 cents are 0.0004 ETH, 1.43 gwei over 280,000 gas

    refused = await rig.executor.submit(unprofitable, FakeView(block=head))
    approval = await rig.executor.submit(
        replace(intent(2, head, IntentKind.APPROVE), value_at_risk=Base(0)), FakeView(block=head)
    )

    assert "is the most that this is worth" in declined(refused)
    assert sent(approval).open_plan.plan.spends == 0


# --- looked at again before it is paid for ----------------------------------------------------


async def test_a_liquidation_that_would_revert_by_now_is_cancelled_instead_of_bumped() -> None:
    rig = Rig()
    head = rig.chain.head
    waiting = intent(1, head, IntentKind.LIQUIDATE)
    sent(await rig.executor.submit(waiting, FakeView(block=head)))

    rig.chain.revert_data = bytes.fromhex("930bb771")  # somebody else was faster
    for _ in range(SETTINGS.progress.bump_after):
        await rig.block(include=False)
    attempts = rig.journal.plans["intent-1"].attempts
    outcomes = await rig.blocks(4)

    assert len(attempts) == 2
    assert is_cancellation(decode_signed(attempts[1].raw).tx, SIGNER.address)
    assert [type(o) for o in outcomes] == [Abandoned]
    assert rig.chain.executed() == [b""]  # the nonce, and nothing else


class Overloaded(FakeChain):
    """Cannot say what a call would do."""

    def _eth_call(self, _params: list[Any]) -> Any:
        raise RpcError("overloaded")


async def test_a_liquidation_that_still_works_is_bumped_and_so_is_one_nobody_can_judge() -> None:
    for chain in (FakeChain(), Overloaded()):
        rig = Rig(chain=chain)
        head = rig.chain.head
        sent(await rig.executor.submit(intent(1, head, IntentKind.LIQUIDATE), FakeView(block=head)))

        chain.has_simulate_v1 = False
        for _ in range(SETTINGS.progress.bump_after):
            await rig.block(include=False)
        newest = rig.journal.plans["intent-1"].attempts[-1]

        assert decode_signed(newest.raw).tx.data
        assert len(rig.journal.plans["intent-1"].attempts) == 2


async def test_a_dropped_liquidation_is_not_sent_again_when_it_would_revert() -> None:
    rig = Rig()
    head = rig.chain.head
    sent(await rig.executor.submit(intent(1, head, IntentKind.LIQUIDATE), FakeView(block=head)))

    rig.chain.pool.clear()
    rig.chain.revert_data = bytes.fromhex("930bb771")
    await rig.block(include=False)
    outcomes = await rig.blocks(4)

    assert [type(o) for o in outcomes] == [Abandoned]
    assert rig.chain.executed() == [b""]


async def test_a_protection_is_bumped_without_being_judged_again() -> None:
    rig = Rig()
    sent(await rig.submit())

    rig.chain.revert_data = bytes.fromhex("930bb771")
    for _ in range(SETTINGS.progress.bump_after):
        await rig.block(include=False)

    newest = rig.journal.plans["intent-1"].attempts[-1]
    assert decode_signed(newest.raw).tx.data


# --- the breaker ------------------------------------------------------------------------------


async def test_reverts_in_a_row_disarm_and_nothing_more_is_signed() -> None:
    rig = Rig()
    rig.restart(settings=replace(SETTINGS, most_reverts=3))
    rig.chain.mined_ok = False
    for number in (1, 2, 3):
        assert rig.executor.armed
        await rig.submit(number)
        assert [type(o) for o in await rig.blocks(4)] == [Reverted]

    assert not rig.executor.armed
    assert "3 transactions in a row reverted" in (rig.executor.disarmed_reason or "")
    assert "disarmed" in declined(await rig.submit(4))
    assert len(rig.chain.sent) == 3


async def test_a_success_between_reverts_and_an_hour_are_forgiven() -> None:
    rig = Rig()
    rig.restart(settings=replace(SETTINGS, most_reverts=2))
    for number, good in enumerate((False, True, False), 1):
        rig.chain.mined_ok = good
        await rig.submit(number)
        await rig.blocks(4)
    assert rig.executor.armed

    for _ in range(300):  # an hour of blocks of 12 seconds
        rig.chain.mine()
    await rig.submit(4)
    await rig.blocks(4)
    assert rig.executor.armed

    await rig.submit(5)
    await rig.blocks(4)
    assert not rig.executor.armed


async def test_a_restart_does_not_forgive_reverts_until_a_person_says_so() -> None:
    rig = Rig()
    three = replace(SETTINGS, most_reverts=3)
    rig.restart(settings=three)
    rig.chain.mined_ok = False
    for number in (1, 2):
        await rig.submit(number)
        await rig.blocks(4)
    rig.restart(settings=three)
    await rig.executor.recover(rig.chain.head)
    assert rig.executor.armed  # two are remembered, and two are not three
    await rig.submit(3)
    await rig.blocks(4)
    assert not rig.executor.armed

    rig.restart(settings=three)
    await rig.executor.recover(rig.chain.head)
    reason = rig.executor.disarmed_reason or ""
    assert "3 transactions in a row reverted" in reason
    assert "disarmed" in declined(await rig.submit(4))

    judged_at = int(reason.rpartition("reverts_judged_at = ")[2].split()[0])
    rig.restart(settings=replace(three, reverts_judged_at=judged_at))
    await rig.executor.recover(rig.chain.head)
    rig.chain.mined_ok = True
    await rig.submit(5)
    assert [type(o) for o in await rig.blocks(4)] == [Confirmed]
    assert rig.executor.armed


async def test_a_restart_holds_no_sale_against_anybody_that_others_can_make_revert() -> None:
    rig = Rig()
    rig.restart(settings=replace(SETTINGS, most_reverts=1000))
    rig.chain.mined_ok = False
    for number in (1, 2):
        await rig.submit(number)
        await rig.blocks(4)
    plans = rig.journal.plans
    sale, over = plans["intent-1"].plan, plans["intent-2"].plan
    deleverage = replace(sale.intent, kind=IntentKind.DELEVERAGE)
    plans["intent-1"] = replace(plans["intent-1"], plan=replace(sale, intent=deleverage))
    rig.restart(settings=replace(SETTINGS, most_reverts=1))
    await rig.executor.recover(rig.chain.head)
    assert not rig.executor.armed  # the other one counts

    over = replace(over, data=LIQUIDATE_OVER + over.data[4:])
    plans["intent-2"] = replace(plans["intent-2"], plan=over)
    rig.restart(settings=replace(SETTINGS, most_reverts=1))
    await rig.executor.recover(rig.chain.head)

    assert rig.executor.armed


async def test_reverts_of_an_hour_ago_do_not_disarm_a_restart() -> None:
    rig = Rig()
    two = replace(SETTINGS, most_reverts=2)
    rig.restart(settings=two)
    rig.chain.mined_ok = False
    for number in (1, 2):
        await rig.submit(number)
        await rig.blocks(4)
    for _ in range(300):  # an hour of blocks of 12 seconds
        rig.chain.mine()

    rig.restart(settings=two)
    await rig.executor.recover(rig.chain.head)

    assert rig.executor.armed


# --- what was simulated beforehand --------------------------------------------------------------


async def anticipated(rig: Rig) -> BlockRef:
    """Prepare action 1 for the next block behind an oracle update; return the block that comes."""
    parent = rig.chain.head
    supposed = replace(parent, timestamp=parent.timestamp + 12)
    update = Supposed(sender=SIGNER.address, to=TARGET, data=b"\x20\x2e\xe0\xed")
    wanted = intent(1, supposed)

    assert await rig.executor.prepare(
        wanted, FakeView(block=supposed), parent=parent, after=(update,)
    )
    return rig.chain.mine()


async def test_what_was_simulated_behind_an_update_that_did_not_come_is_not_believed() -> None:
    rig = Rig()
    block = await anticipated(rig)
    rig.chain.revert_data = bytes.fromhex("930bb771")  # health factor not below the threshold

    # the same call to the byte, decided on by the price that is really there
    without_it = replace(intent(1, block), health_before=Wad(1_061_060_494_595_665_999))
    submission = await rig.executor.submit(without_it, FakeView(block=block))

    assert "would revert" in declined(submission)
    assert rig.chain.sent == []
    assert rig.journal.plans == {}


async def test_where_the_update_came_what_was_simulated_is_used() -> None:
    rig = Rig()
    block = await anticipated(rig)
    asked = rig.chain.calls.count("eth_simulateV1")

    submission = await rig.executor.submit(intent(1, block), FakeView(block=block))

    assert isinstance(submission, Submitted)
    assert rig.chain.calls.count("eth_simulateV1") == asked
