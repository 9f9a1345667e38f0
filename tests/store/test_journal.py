"""One intent, one nonce; every step durable; the same answers on both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import JournalError, PolicyViolation
from keeper.model import (
    Allowance,
    AuditEvent,
    Declined,
    OpenPlan,
    PassRecord,
    Plan,
    Rehearsed,
    Submitted,
    TxState,
)
from keeper.ports import Journal
from keeper.store import rows, spending, write
from keeper.store.actions import SqlActions
from keeper.store.audit import trail
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.store.outbox import SqlOutbox
from keeper.store.records import SqlRecords
from keeper.store.types import Unfit
from keeper.units import UINT256_MAX, Base, Wad, Wei
from tests.store.builders import (
    MARKET,
    SIGNER,
    Clock,
    address,
    assessed,
    attempt,
    block,
    intent,
    message,
    plan,
    receipt,
)


@pytest.fixture
def journal(database: Database) -> SqlJournal:
    return SqlJournal(database, chain_id=MARKET.chain_id)


async def until(journal: SqlJournal, state: TxState, name: str = "i-1", account: int = 1) -> None:
    """Bring a new plan to `state`."""
    number = account
    await journal.claim(plan(name, account), SIGNER, 7)
    if state is TxState.CLAIMED:
        return
    await journal.signed(name, attempt(number))
    if state is TxState.SIGNED:
        return
    await journal.sent(name, 21_034_512)
    if state is TxState.SENT:
        return
    await journal.mined(name, receipt(number))
    if state is TxState.MINED:
        return
    good = state is TxState.CONFIRMED
    told = None if state is TxState.ABANDONED else receipt(number, succeeded=good)
    await journal.settle(name, state, told, (), ())


def test_it_is_a_journal() -> None:
    check: type[Journal] = SqlJournal

    assert check is SqlJournal


async def test_a_claimed_plan_comes_back_exactly_with_its_intent(
    journal: SqlJournal, database: Database
) -> None:
    claimed = await journal.claim(plan(), SIGNER, 7)

    assert claimed == OpenPlan(plan=plan(), signer=SIGNER, nonce=7, state=TxState.CLAIMED)
    assert await journal.open_plans(SIGNER) == (claimed,)


async def test_amounts_of_any_size_survive(journal: SqlJournal) -> None:
    wide = plan(
        max_fee_wei=Wei(UINT256_MAX),
        spends=Base(UINT256_MAX),
        value_wei=Wei(UINT256_MAX),
        data=b"",
        intent=intent(amount=UINT256_MAX, health_before=UINT256_MAX, expected_profit=-17),
    )

    assert (await journal.claim(wide, SIGNER, 0)).plan == wide
    assert (await journal.open_plans(SIGNER))[0].plan == wide


async def test_all_steps_of_a_plan_come_back(journal: SqlJournal) -> None:
    await until(journal, TxState.MINED)
    (found,) = await journal.open_plans(SIGNER)

    assert found == OpenPlan(
        plan=plan("i-1", 1),
        signer=SIGNER,
        nonce=7,
        state=TxState.MINED,
        attempts=(attempt(1),),
        sent_at_block=21_034_512,
        receipt=receipt(1),
    )


async def test_a_position_has_one_open_plan(journal: SqlJournal) -> None:
    await journal.claim(plan("i-1"), SIGNER, 7)

    with pytest.raises(JournalError, match=r"aave-v3-local:0x.* has an open plan, i-1"):
        await journal.claim(plan("i-2"), SIGNER, 7)
    with pytest.raises(JournalError, match="has an open plan"):
        await journal.claim(plan("i-3"), address(0x0D3), 0)  # another signer is no way round
    assert len(await journal.open_plans(SIGNER)) == 1


async def test_an_intent_is_claimed_once_even_after_it_ended(journal: SqlJournal) -> None:
    await until(journal, TxState.CONFIRMED)

    with pytest.raises(JournalError, match="i-1 is in the journal already"):
        await journal.claim(plan("i-1", 2), SIGNER, 8)


async def test_consecutive_claims_take_consecutive_nonces_whatever_the_chain_says(
    journal: SqlJournal,
) -> None:
    said = [7, 7, 3, 12, 12]  # the third answer is from a node that lags, the fourth jumped
    nonces = [
        (await journal.claim(plan(f"i-{n}", n), SIGNER, chain)).nonce
        for n, chain in enumerate(said)
    ]

    assert nonces == [7, 8, 9, 12, 13]


async def test_a_lagging_node_does_not_bring_back_a_nonce_that_was_confirmed(
    journal: SqlJournal,
) -> None:
    await until(journal, TxState.CONFIRMED)

    assert (await journal.claim(plan("i-2", 2), SIGNER, 7)).nonce == 8


async def test_another_signer_has_nonces_of_its_own(journal: SqlJournal) -> None:
    await journal.claim(plan("i-1", 1), SIGNER, 7)

    assert (await journal.claim(plan("i-2", 2), address(0x0D3), 7)).nonce == 7


async def test_the_nonce_of_a_plan_that_was_never_signed_is_given_out_again_first(
    journal: SqlJournal,
) -> None:
    for number in (1, 2, 3):
        await journal.claim(plan(f"i-{number}", number), SIGNER, 7)  # 7, 8, 9
    await journal.settle("i-2", TxState.ABANDONED, None, (), ())

    assert (await journal.claim(plan("i-4", 4), SIGNER, 7)).nonce == 8
    assert (await journal.claim(plan("i-5", 5), SIGNER, 7)).nonce == 10


async def test_a_freed_nonce_that_the_chain_is_past_stays_unused(journal: SqlJournal) -> None:
    await journal.claim(plan("i-1", 1), SIGNER, 7)
    await journal.claim(plan("i-2", 2), SIGNER, 7)
    await journal.settle("i-1", TxState.ABANDONED, None, (), ())

    assert (await journal.claim(plan("i-3", 3), SIGNER, 8)).nonce == 9


async def test_the_nonce_of_a_signed_plan_is_never_given_out_again(journal: SqlJournal) -> None:
    await until(journal, TxState.SIGNED)
    await journal.settle("i-1", TxState.ABANDONED, None, (), ())

    assert (await journal.claim(plan("i-2", 2), SIGNER, 7)).nonce == 8


async def test_bumps_are_appended_and_the_same_attempt_twice_is_one(journal: SqlJournal) -> None:
    await until(journal, TxState.SENT)
    await journal.signed("i-1", attempt(2))
    await journal.signed("i-1", attempt(2))
    (found,) = await journal.open_plans(SIGNER)

    assert found.state is TxState.SIGNED
    assert found.attempts == (attempt(1), attempt(2))
    assert found.nonce == 7


async def test_other_bytes_under_a_known_hash_are_refused(journal: SqlJournal) -> None:
    await until(journal, TxState.SIGNED)

    with pytest.raises(JournalError, match="already holds other bytes"):
        await journal.signed("i-1", replace(attempt(1), raw=b"\x02other"))


async def test_a_receipt_of_a_transaction_that_was_never_signed_is_refused(
    journal: SqlJournal,
) -> None:
    await until(journal, TxState.SENT)

    with pytest.raises(JournalError, match=r"never signed 0x0*7a0009"):
        await journal.mined("i-1", receipt(9))
    with pytest.raises(JournalError, match="never signed"):
        await journal.settle("i-1", TxState.CONFIRMED, receipt(9), (), ())


async def test_a_reorg_takes_the_receipt_back_and_another_block_may_bring_it_again(
    journal: SqlJournal,
) -> None:
    await until(journal, TxState.MINED)
    await journal.unmined("i-1")
    (orphaned,) = await journal.open_plans(SIGNER)
    await journal.mined("i-1", receipt(1, at=21_034_519))
    (again,) = await journal.open_plans(SIGNER)

    assert (orphaned.state, orphaned.receipt) == (TxState.SENT, None)
    assert (again.state, again.receipt) == (TxState.MINED, receipt(1, at=21_034_519))


async def step(journal: SqlJournal, name: str) -> None:
    match name:
        case "signed":
            await journal.signed("i-1", attempt(8))
        case "sent":
            await journal.sent("i-1", 21_034_599)
        case "mined":
            await journal.mined("i-1", receipt(1))
        case "unmined":
            await journal.unmined("i-1")
        case "confirmed":
            await journal.settle("i-1", TxState.CONFIRMED, receipt(1), (), ())
        case "reverted":
            await journal.settle("i-1", TxState.REVERTED, receipt(1, succeeded=False), (), ())
        case _:
            await journal.settle("i-1", TxState.ABANDONED, None, (), ())


LEGAL = {
    TxState.CLAIMED: {"signed", "abandoned"},
    TxState.SIGNED: {"signed", "sent", "mined", "confirmed", "reverted", "abandoned"},
    TxState.SENT: {"signed", "sent", "mined", "unmined", "confirmed", "reverted", "abandoned"},
    TxState.MINED: {"mined", "unmined", "confirmed", "reverted", "abandoned"},
    TxState.CONFIRMED: {"confirmed"},  # the same end again
    TxState.REVERTED: {"reverted"},
    TxState.ABANDONED: {"abandoned"},
}


@pytest.mark.parametrize("state", list(TxState))
async def test_only_the_drawn_transitions_are_legal(journal: SqlJournal, state: TxState) -> None:
    taken = set()
    await until(journal, state)
    before = await journal.open_plans(SIGNER)
    for name in ("signed", "sent", "mined", "unmined", "confirmed", "reverted", "abandoned"):
        if name in LEGAL[state]:
            continue
        with pytest.raises(JournalError):
            await step(journal, name)
        taken.add(name)

    assert await journal.open_plans(SIGNER) == before
    assert taken | LEGAL[state] >= {"signed", "sent", "mined", "unmined", "confirmed"}


@pytest.mark.parametrize(
    ("state", "name"), [(state, name) for state, names in LEGAL.items() for name in sorted(names)]
)
async def test_each_legal_transition_is_taken(
    journal: SqlJournal, state: TxState, name: str
) -> None:
    await until(journal, state)
    await step(journal, name)
    found = await journal.open_plans(SIGNER)

    if name in {"confirmed", "reverted", "abandoned"}:
        assert found == ()
    else:
        assert found[0].state == {"unmined": "sent"}.get(name, name)


async def test_the_end_its_messages_and_its_audit_rows_are_one_transaction(
    journal: SqlJournal, database: Database
) -> None:
    await until(journal, TxState.MINED)
    told = (message("done:i-1", kind="action"),)
    broken = AuditEvent(event="plan.paid", fields={"gas": 1.5})  # type: ignore[dict-item]

    with pytest.raises(Unfit, match=r"gas=1\.5"):
        await journal.settle("i-1", TxState.CONFIRMED, receipt(1), told, (broken,))
    outbox = SqlOutbox(database)
    assert (await outbox.counts()).pending == 0
    assert (await journal.open_plans(SIGNER))[0].state is TxState.MINED

    whole = AuditEvent(event="plan.paid", fields={"gas": 15})
    await journal.settle("i-1", TxState.CONFIRMED, receipt(1), told, (whole,))
    await journal.settle("i-1", TxState.CONFIRMED, receipt(1), told, (whole,))
    assert (await outbox.counts()).pending == 1
    events = [row.event.event for row in await trail(database, 3)]
    assert events == ["plan.paid", "plan.confirmed", "plan.signed"]


async def test_an_end_needs_the_receipt_that_says_so(journal: SqlJournal) -> None:
    await until(journal, TxState.MINED)

    with pytest.raises(JournalError, match="cannot be confirmed on no receipt"):
        await journal.settle("i-1", TxState.CONFIRMED, None, (), ())
    with pytest.raises(JournalError, match="cannot be confirmed on a receipt that says otherwise"):
        await journal.settle("i-1", TxState.CONFIRMED, receipt(1, succeeded=False), (), ())
    with pytest.raises(JournalError, match="sent is not an end"):
        await journal.settle("i-1", TxState.SENT, None, (), ())


async def test_an_unknown_intent_and_another_chain_are_refused(
    journal: SqlJournal, database: Database
) -> None:
    await journal.claim(plan(), SIGNER, 7)
    other = SqlJournal(database, chain_id=1)

    with pytest.raises(JournalError, match="i-9 is not in the journal of chain 31337"):
        await journal.sent("i-9", 1)
    with pytest.raises(JournalError, match="i-1 is for chain 31337, this journal is for chain 1"):
        await other.claim(plan(), SIGNER, 7)
    with pytest.raises(JournalError, match="i-1 is not in the journal of chain 1"):
        await other.signed("i-1", attempt())
    assert await other.open_plans(SIGNER) == ()


async def test_a_malformed_plan_is_refused_and_takes_no_nonce(journal: SqlJournal) -> None:
    shouting = plan(to="0x" + "AB" * 20)
    negative = plan(spends=Base(-1))
    fractional: Any = plan(gas_limit=1.5)

    for bad, name in (
        (shouting, "plan.to"),
        (negative, "intents.spends"),
        (fractional, "intents.plan"),
    ):
        with pytest.raises(JournalError, match=name):
            await journal.claim(bad, SIGNER, 7)
    with pytest.raises(JournalError, match="chain_nonce: -1"):
        await journal.claim(plan(), SIGNER, -1)
    assert (await journal.claim(plan(), SIGNER, 7)).nonce == 7


async def test_two_connections_that_claim_at_once_get_distinct_nonces(url: str) -> None:
    async with await Database.open(url) as one, await Database.open(url) as other:
        journals = [SqlJournal(database, chain_id=31337) for database in (one, other)]
        claimed = await asyncio.gather(
            *(journals[n % 2].claim(plan(f"i-{n}", n), SIGNER, 7) for n in range(12))
        )

    assert sorted(item.nonce for item in claimed) == list(range(7, 19))


async def test_two_connections_that_claim_one_position_at_once_make_one_plan(url: str) -> None:
    async with await Database.open(url) as one, await Database.open(url) as other:
        journals = [SqlJournal(database, chain_id=31337) for database in (one, other)]
        results = await asyncio.gather(
            *(journals[n % 2].claim(plan(f"i-{n}", 1), SIGNER, 7) for n in range(8)),
            return_exceptions=True,
        )
        found = await journals[0].open_plans(SIGNER)

    assert len(found) == 1
    assert sum(isinstance(item, OpenPlan) for item in results) == 1
    assert sum(isinstance(item, JournalError) for item in results) == 7


async def test_the_watermark_is_the_highest_nonce_in_use_or_used(journal: SqlJournal) -> None:
    assert await journal.watermark(SIGNER) is None

    await until(journal, TxState.CONFIRMED, "i-1", 1)  # 7
    await journal.claim(plan("i-2", 2), SIGNER, 8)
    assert await journal.watermark(SIGNER) == 8

    await journal.settle("i-2", TxState.ABANDONED, None, (), ())
    assert await journal.watermark(SIGNER) == 7


async def test_what_was_spent_counts_open_plans_at_their_worst(journal: SqlJournal) -> None:
    states = [TxState.CONFIRMED, TxState.REVERTED, TxState.SENT, TxState.CLAIMED, TxState.ABANDONED]
    for number, state in enumerate(states, start=1):
        await until(journal, state, f"i-{number}", number)
    spent = await journal.spent_since(SIGNER, block().timestamp)
    later = await journal.spent_since(SIGNER, block().timestamp + 1)

    paid, worst = 311_113 * 18_000_000_011, 431_007 * 60_000_000_007
    # confirmed and the two open ones took or may take their value; the reverted one only gas
    assert (spent.value, spent.gas_wei) == (3 * 293_810_000_009, 2 * paid + 2 * worst)
    assert (later.value, later.gas_wei) == (2 * 293_810_000_009, 2 * worst)


async def test_of_what_one_cap_of_the_day_declines_the_first_is_kept(
    journal: SqlJournal, database: Database
) -> None:
    first, *others = (
        Declined(intent=intent(f"i-{n}", n), reason="over the daily cap", again=n > 1)
        for n in (1, 2, 3)
    )

    await journal.record_submission(first, *others)

    assert [one.intent for one in await SqlActions(database).last(10)] == [first.intent]


async def test_actions_show_what_was_done_rehearsed_and_declined(
    journal: SqlJournal, database: Database, clock: Clock
) -> None:
    expected = Wad(1_502 * 10**15)
    sent = await journal.claim(plan("i-1", 1), SIGNER, 7, healths=[expected])
    await journal.record_submission(Submitted(open_plan=sent, health_after=expected))
    await journal.signed("i-1", attempt(1))
    mined = Wad(1_503 * 10**15)
    await journal.settle("i-1", TxState.CONFIRMED, receipt(1), (), (), health_after=mined)
    dry = plan("i-2", 2, intent=intent("i-2", 2, block=block(21_034_520)))
    rehearsed = Rehearsed(plan=dry, health_after=Wad(1_499 * 10**15))
    await journal.record_submission(rehearsed)
    await journal.record_submission(rehearsed)
    late = intent("i-3", 3, block=block(21_034_521))
    await journal.record_submission(Declined(intent=late, reason="over the daily cap"))
    after = PassRecord(
        block=block(21_034_513), history=(assessed(1_501 * 10**15, 1, block(21_034_513)),)
    )
    await SqlRecords(database).record(after)
    declined, rehearsal, done = await SqlActions(database).last(10)

    assert (declined.state, declined.intent, declined.reason) == (
        "declined",
        late,
        "over the daily cap",
    )
    assert (rehearsal.state, rehearsal.intent) == ("rehearsed", dry.intent)
    assert rehearsal.simulated_health == 1_499 * 10**15
    assert (done.state, done.nonce, done.tx_hash) == ("confirmed", 7, attempt(1).tx_hash)
    assert done.gas_wei == 311_113 * 18_000_000_011
    # not 1.501, which was recorded at a later block
    assert (done.simulated_health, done.observed_health) == (1_502 * 10**15, 1_503 * 10**15)
    assert await SqlActions(database).find("i-1") == (done,)
    assert len(await SqlActions(database).last(2)) == 2


@given(
    st.integers(0, UINT256_MAX),
    st.integers(0, UINT256_MAX),
    st.binary(max_size=200),
    st.text(st.characters(), max_size=40),
    st.integers(-(2**255), 2**255),
)
def test_any_plan_comes_back_from_its_row(
    amount: int, fee: int, data: bytes, symbol: str, profit: int
) -> None:
    asset = replace(intent().asset, symbol=symbol)
    made = plan(
        data=data,
        max_fee_wei=fee,
        intent=intent(amount=amount, asset=asset, expected_profit=profit, reason=symbol),
    )

    assert rows.plan_of(rows.intent_row(made, SIGNER, 1, at=1.5)) == made


def test_a_plan_whose_fields_are_of_other_types_is_not_stored() -> None:
    bad: Plan = plan(deadline="soon")

    with pytest.raises(JournalError, match=r"intents\.plan"):
        rows.intent_row(bad, SIGNER, 1, at=1.5)


@pytest.mark.parametrize("tight", ["value", "gas_wei"])
async def test_two_connections_that_claim_what_is_left_of_a_day_do_not_both_get_it(
    url: str, tight: str
) -> None:
    one, two = plan("i-1", 1), plan("i-2", 2)
    gas_wei = one.gas_limit * one.max_fee_wei
    room = {"value": 10 * one.spends, "gas_wei": 10 * gas_wei} | {
        tight: one.spends if tight == "value" else gas_wei
    }
    within = Allowance(since=0, value=Base(room["value"]), gas_wei=Wei(room["gas_wei"]))

    async def claim(what: Plan) -> OpenPlan | PolicyViolation:
        async with await Database.open(url) as database:
            try:
                return await SqlJournal(database, chain_id=31337).claim(what, SIGNER, 7, within)
            except PolicyViolation as error:
                return error

    got = await asyncio.gather(claim(one), claim(two))

    assert sorted(type(each).__name__ for each in got) == ["CapOfDay", "OpenPlan"]
    [refused] = [each for each in got if isinstance(each, PolicyViolation)]
    assert "another claim was first" in str(refused)
    async with await Database.open(url) as database:
        journal = SqlJournal(database, chain_id=31337)
        assert len(await journal.open_plans(SIGNER)) == 1


@pytest.mark.parametrize("tight", ["value", "gas_wei"])
async def test_two_keys_under_one_cap_do_not_both_get_what_is_left_of_a_day(
    url: str, tight: str
) -> None:
    keys = (SIGNER, address(0x5EC0))
    one = plan("i-1", 1)
    gas_wei = one.gas_limit * one.max_fee_wei
    room = {"value": 10 * one.spends, "gas_wei": 10 * gas_wei} | {
        tight: 2 * one.spends - 1 if tight == "value" else 2 * gas_wei - 1
    }

    async def claim(number: int) -> OpenPlan | PolicyViolation:
        mine, other = keys[number], keys[1 - number]
        within = Allowance(
            since=0, value=Base(room["value"]), gas_wei=Wei(room["gas_wei"]), together_with=(other,)
        )
        wanted = plan(f"i-{number}", number + 1)
        async with await Database.open(url) as database:
            try:
                return await SqlJournal(database, chain_id=31337).claim(wanted, mine, 7, within)
            except PolicyViolation as error:
                return error

    got = await asyncio.gather(claim(0), claim(1))

    assert sorted(type(each).__name__ for each in got) == ["CapOfDay", "OpenPlan"]
    async with await Database.open(url) as database:
        journal = SqlJournal(database, chain_id=31337)
        spent = await journal.spent_since(keys[0], 0, keys[1])
        assert (spent.value, spent.gas_wei) == (one.spends, gas_wei)
        assert sum([len(await journal.open_plans(key)) for key in keys]) == 1


async def test_keys_with_a_cap_each_have_it_each(journal: SqlJournal) -> None:
    one = plan("i-1", 1)
    within = Allowance(since=0, value=one.spends, gas_wei=Wei(one.gas_limit * one.max_fee_wei))

    await journal.claim(one, SIGNER, 7, within)
    await journal.claim(plan("i-2", 2), address(0x5EC0), 7, within)
    with pytest.raises(PolicyViolation):
        await journal.claim(plan("i-3", 3), SIGNER, 7, within)


async def test_what_another_process_did_since_it_was_last_asked_counts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "FORGET_FROM", 0)
    ours, theirs = (SqlJournal(database, chain_id=MARKET.chain_id) for _ in range(2))
    await until(theirs, TxState.SENT, "i-1", 1)
    await theirs.claim(plan("i-2", 2), SIGNER, 7)
    open_ones = await ours.spent_since(SIGNER, 0)

    await theirs.mined("i-1", receipt(1))
    await theirs.settle("i-1", TxState.CONFIRMED, receipt(1), (), ())
    await theirs.settle("i-2", TxState.ABANDONED, None, (), ())
    await theirs.claim(plan("i-3", 3), SIGNER, 7)
    of_a_day = await ours.spent_since(SIGNER, 0)
    of_later = await ours.spent_since(SIGNER, block().timestamp + 1)
    again = await ours.spent_since(SIGNER, 0)

    paid, worst, value = 311_113 * 18_000_000_011, 431_007 * 60_000_000_007, 293_810_000_009
    assert (open_ones.value, open_ones.gas_wei) == (2 * value, 2 * worst)
    assert (of_a_day.value, of_a_day.gas_wei) == (2 * value, paid + worst)
    assert (of_later.value, of_later.gas_wei) == (value, worst)
    assert again == of_a_day
    assert set(ours._spending._known) == {"i-1", "i-2", "i-3"}


async def test_many_plans_are_looked_at_a_few_hundred_at_a_time(
    journal: SqlJournal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 8):
        await journal.claim(plan(f"i-{number}", number), SIGNER, 7)
    monkeypatch.setattr(write, "LOTS", (1, 3))

    spent = await SqlJournal(database, chain_id=MARKET.chain_id).spent_since(SIGNER, 0)

    assert spent.value == 7 * 293_810_000_009


async def test_value_is_counted_on_every_chain_and_gas_on_its_own(database: Database) -> None:
    here, there = (SqlJournal(database, chain_id=chain_id) for chain_id in (31337, 10))
    elsewhere = replace(MARKET, chain_id=10)
    one = plan("i-1", 1)
    far = replace(
        one.intent,
        intent_id="i-2",
        position=replace(one.intent.position, market=elsewhere),
    )
    await there.claim(replace(one, intent=far), SIGNER, 7)
    spent = await here.spent_since(SIGNER, 0)
    within = Allowance(since=0, value=Base(2 * one.spends - 1), gas_wei=Wei(10**30))

    assert (spent.value, spent.gas_wei) == (one.spends, 0)
    with pytest.raises(PolicyViolation, match="spending"):
        await here.claim(one, SIGNER, 7, within)


async def test_reverts_in_a_row_are_those_since_the_last_success(
    journal: SqlJournal, clock: Clock
) -> None:
    states = [TxState.REVERTED, TxState.CONFIRMED, TxState.REVERTED, TxState.ABANDONED]
    for number, state in enumerate([*states, TxState.REVERTED, TxState.SENT], start=1):
        clock.at += 1
        await until(journal, state, f"i-{number}", number)
    decided_at = block().timestamp

    assert await journal.reverts(SIGNER, decided_at) == (plan("i-3", 3), plan("i-5", 5))
    assert await journal.reverts(SIGNER, decided_at + 1) == ()
    assert await journal.reverts(address(9), 0) == ()
