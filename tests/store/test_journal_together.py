"""Several intents in one transaction: one nonce, and each of them once, whatever happens."""

from dataclasses import replace

import pytest

from keeper.errors import JournalError
from keeper.model import Ended, Plan, Share, TxState
from keeper.store.actions import SqlActions
from keeper.store.audit import trail
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.units import Wad
from tests.store.builders import MARKET, SIGNER, attempt, intent, plan, receipt
from tests.store.test_journal import until


@pytest.fixture
def journal(database: Database) -> SqlJournal:
    return SqlJournal(database, chain_id=MARKET.chain_id)


def together(count: int = 3) -> Plan:
    """A plan that carries `count` intents, of accounts 1, 2, ..."""
    names = [(f"i-{n}", n) for n in range(1, count + 1)]
    shares = tuple(Share(intent=intent(name, n), gas=100_003 * n) for name, n in names)
    return plan("i-1", 1, shares=shares)


def ended(name: str, state: TxState, gas: int | None) -> Ended:
    part = None
    if gas is not None:
        part = replace(receipt(1, succeeded=state is TxState.CONFIRMED), gas_used=gas)
    return Ended(intent_id=name, state=state, receipt=part)


async def states(database: Database) -> dict[str, str]:
    return {a.intent.intent_id: a.state for a in await SqlActions(database).last(10)}


async def test_several_intents_are_one_open_plan_that_keeps_every_position(
    journal: SqlJournal, database: Database
) -> None:
    claimed = await journal.claim(together(), SIGNER, 7)

    assert await journal.open_plans(SIGNER) == (claimed,)
    assert claimed.plan == together()
    assert await states(database) == {"i-1": "claimed", "i-2": "claimed", "i-3": "claimed"}
    for n in (1, 2, 3):
        with pytest.raises(JournalError, match=rf"has an open plan, i-{n}"):
            await journal.claim(plan("i-9", n), SIGNER, 7)
    # the nonce is taken once
    assert (await journal.claim(plan("i-4", 4), SIGNER, 7)).nonce == 8


async def test_each_of_them_is_claimed_with_the_health_that_was_simulated(
    journal: SqlJournal, database: Database
) -> None:
    simulated = [Wad(1_101 * 10**15), None, Wad(1_303 * 10**15)]

    await journal.claim(together(), SIGNER, 7, healths=simulated)
    await journal.claim(plan("i-4", 4), SIGNER, 7)

    found = {a.intent.intent_id: a.simulated_health for a in await SqlActions(database).last(10)}
    assert found == {**dict(zip(("i-1", "i-2", "i-3"), simulated, strict=True)), "i-4": None}


async def test_a_nonce_that_a_batch_uses_is_not_one_that_was_freed(journal: SqlJournal) -> None:
    await journal.claim(together(), SIGNER, 7)
    await journal.claim(plan("i-8", 8), SIGNER, 7)
    await journal.settle("i-8", TxState.ABANDONED, None, (), ())  # 8 is free, 7 is not

    again = await journal.claim(plan("i-9", 9), SIGNER, 7)

    assert again.nonce == 8
    assert (await journal.claim(plan("i-10", 10), SIGNER, 7)).nonce == 9


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_one_position_that_is_taken_claims_none_of_them(
    journal: SqlJournal, database: Database, taken: int
) -> None:
    await journal.claim(plan("i-9", taken), SIGNER, 7)

    with pytest.raises(JournalError, match="has an open plan, i-9"):
        await journal.claim(together(), SIGNER, 7)
    assert await states(database) == {"i-9": "claimed"}


async def test_one_intent_that_is_known_claims_none_of_them(journal: SqlJournal) -> None:
    await until(journal, TxState.CONFIRMED, "i-3", 3)

    with pytest.raises(JournalError, match="i-3 is in the journal already"):
        await journal.claim(together(), SIGNER, 8)


async def test_one_position_twice_in_a_transaction_is_refused(journal: SqlJournal) -> None:
    first, second, third = together().shares
    twice = replace(third, intent=replace(third.intent, position=second.intent.position))
    for wrong in ((first, second, twice), (second, first, third), (first, second, second)):
        with pytest.raises(JournalError, match="not one intent for each position"):
            await journal.claim(plan("i-1", 1, shares=wrong), SIGNER, 7)


async def test_all_of_them_go_from_state_to_state_together(
    journal: SqlJournal, database: Database
) -> None:
    seen: list[set[str]] = []

    async def note() -> None:
        seen.append(set((await states(database)).values()))

    await journal.claim(together(), SIGNER, 7)
    await journal.signed("i-1", attempt(1))
    await note()
    await journal.sent("i-1", 21_034_512)
    await note()
    await journal.mined("i-1", receipt(1))
    await note()
    await journal.unmined("i-1")
    await note()

    assert seen == [{"signed"}, {"sent"}, {"mined"}, {"sent"}]
    (third,) = await SqlActions(database).find("i-3")
    assert third.tx_hash == attempt(1).tx_hash
    assert third.nonce == 7


async def test_each_of_them_ends_its_own_way_and_the_gas_adds_up(
    journal: SqlJournal, database: Database
) -> None:
    await journal.claim(together(), SIGNER, 7)
    await journal.signed("i-1", attempt(1))
    await journal.mined("i-1", receipt(1))
    further = [
        ended("i-2", TxState.REVERTED, 100_001),
        ended("i-3", TxState.CONFIRMED, 100_002),
    ]
    # 311,113 in all: 111,110 + 100,001 + 100,002
    mine = replace(receipt(1), gas_used=111_110)

    await journal.settle("i-1", TxState.CONFIRMED, mine, (), (), further=further)

    assert await journal.open_plans(SIGNER) == ()
    assert await states(database) == {"i-1": "confirmed", "i-2": "reverted", "i-3": "confirmed"}
    actions = await SqlActions(database).last(3)
    assert sum(a.gas_wei or 0 for a in actions) == 311_113 * 18_000_000_011
    spent = await journal.spent_since(SIGNER, 0)
    assert spent.gas_wei == 311_113 * 18_000_000_011
    assert spent.value == 293_810_000_009  # once
    # the third may be acted on again, and so may the second
    assert (await journal.claim(plan("i-8", 2), SIGNER, 8)).nonce == 8
    told = [audited.event for audited in await trail(database, 5)]
    assert [e.event for e in told if e.event.startswith("plan.")][1:4] == [
        "plan.confirmed",
        "plan.reverted",
        "plan.confirmed",
    ]


async def test_a_transaction_that_reverted_counts_once_and_one_that_did_something_not_at_all(
    journal: SqlJournal,
) -> None:
    await journal.claim(together(), SIGNER, 7)
    await journal.signed("i-1", attempt(1))
    failed = replace(receipt(1, succeeded=False), gas_used=1)
    others = [ended(name, TxState.REVERTED, 1) for name in ("i-2", "i-3")]
    await journal.settle("i-1", TxState.REVERTED, failed, (), (), further=others)
    [reverted] = await journal.reverts(SIGNER, 0)

    assert reverted.data == together().data

    again = [intent(f"j-{n}", n) for n in (1, 2, 3)]
    shares = tuple(Share(intent=one, gas=1) for one in again)
    await journal.claim(plan("j-1", 1, shares=shares), SIGNER, 8)
    await journal.signed("j-1", attempt(2))
    mixed = [
        Ended(intent_id="j-2", state=TxState.CONFIRMED, receipt=receipt(2)),
        Ended(intent_id="j-3", state=TxState.REVERTED, receipt=receipt(2, succeeded=False)),
    ]
    mine = receipt(2, succeeded=False)
    await journal.settle("j-1", TxState.REVERTED, mine, (), (), further=mixed)

    assert await journal.reverts(SIGNER, 0) == ()


async def test_an_open_one_reserves_its_worst_case_once(journal: SqlJournal) -> None:
    await journal.claim(together(), SIGNER, 7)

    assert (await journal.spent_since(SIGNER, 0)).gas_wei == together().most_gas_wei


async def test_one_that_is_left_out_or_does_not_add_up_ends_none_of_them(
    journal: SqlJournal, database: Database
) -> None:
    await journal.claim(together(2), SIGNER, 7)
    await journal.signed("i-1", attempt(1))
    await journal.mined("i-1", receipt(1))
    mine = replace(receipt(1), gas_used=111_113)
    good = ended("i-2", TxState.CONFIRMED, 200_000)
    other = replace(good.receipt, tx_hash=receipt(2).tx_hash) if good.receipt else None
    for further, why in (
        ((), "carries 1 more intents"),
        ((replace(good, intent_id="i-7"),), "carries 1 more intents"),
        ((ended("i-2", TxState.CONFIRMED, 200_001),), "the parts of its gas are 311114"),
        ((replace(good, state=TxState.REVERTED),), "i-2 cannot be reverted"),
        ((replace(good, state=TxState.SENT),), "i-2 cannot be sent"),
        ((replace(good, receipt=other),), "i-2 cannot be confirmed"),
    ):
        with pytest.raises(JournalError, match=why):
            await journal.settle("i-1", TxState.CONFIRMED, mine, (), (), further=further)
    assert await states(database) == {"i-1": "mined", "i-2": "mined"}


async def test_one_that_was_never_signed_is_given_up_with_all_it_carries(
    journal: SqlJournal, database: Database
) -> None:
    await journal.claim(together(), SIGNER, 7)

    await journal.settle("i-1", TxState.ABANDONED, None, (), ())

    assert set((await states(database)).values()) == {"abandoned"}
    assert await journal.watermark(SIGNER) is None
    assert (await journal.claim(plan("i-9", 3), SIGNER, 7)).nonce == 7


async def test_what_another_ones_transaction_carries_is_not_led_by_itself(
    journal: SqlJournal,
) -> None:
    await journal.claim(together(), SIGNER, 7)

    with pytest.raises(JournalError, match="i-2 has no transaction of its own: i-1's carries it"):
        await journal.signed("i-2", attempt(2))
    with pytest.raises(JournalError, match="i-3 has no transaction of its own"):
        await journal.settle("i-3", TxState.ABANDONED, None, (), ())
