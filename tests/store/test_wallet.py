"""Gas is promised once: what others with the same key claimed counts in the claiming transaction.

Two connections stand for two processes, each with an executor that does not know of the other's
claim.  On both databases.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from keeper.errors import PolicyViolation
from keeper.execution.executor import TxExecutor
from keeper.model import (
    Allowance,
    Declined,
    Ended,
    OpenPlan,
    Plan,
    Share,
    Submission,
    TxState,
    Wallet,
)
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.units import Base, Wei
from tests.execution.fakes import FakeChain, FakeView, policy
from tests.execution.fakes import intent as wanted
from tests.execution.rig import SETTINGS, Rig
from tests.store.builders import MARKET, SIGNER, address, attempt, intent, plan, receipt

GAS_WEI = plan().most_gas_wei
"""The most that a plan of the builders may pay."""
LEAST_WEI = 1_000_000_007


@pytest.fixture
def journal(database: Database) -> SqlJournal:
    return SqlJournal(database, chain_id=MARKET.chain_id)


def within(balance_wei: int, nonce: int = 7) -> Allowance:
    wallet = Wallet(balance_wei=Wei(balance_wei), nonce=nonce, least_wei=Wei(LEAST_WEI))
    return Allowance(since=0, value=Base(10**30), gas_wei=Wei(10**30), wallet=wallet)


async def claimed(url: str, what: Plan, given: Allowance) -> OpenPlan | PolicyViolation:
    async with await Database.open(url) as database:
        try:
            return await SqlJournal(database, chain_id=31337).claim(what, SIGNER, 7, given)
        except PolicyViolation as error:
            return error


async def test_two_connections_that_claim_what_is_left_of_a_balance_do_not_both_get_it(
    url: str,
) -> None:
    enough_for_one = within(2 * GAS_WEI + LEAST_WEI - 1)

    got = await asyncio.gather(
        claimed(url, plan("i-1", 1), enough_for_one), claimed(url, plan("i-2", 2), enough_for_one)
    )

    assert sorted(type(each).__name__ for each in got) == ["OpenPlan", "PolicyViolation"]
    [refused] = [each for each in got if isinstance(each, PolicyViolation)]
    assert (
        f"{GAS_WEI} of it reserved, and {LEAST_WEI} must be left: another claim was first"
        in str(refused)
    )


async def test_what_is_enough_for_both_is_given_to_both(url: str) -> None:
    enough = within(2 * GAS_WEI + LEAST_WEI)

    got = await asyncio.gather(
        claimed(url, plan("i-1", 1), enough), claimed(url, plan("i-2", 2), enough)
    )

    assert [type(each) for each in got] == [OpenPlan, OpenPlan]


async def test_two_processes_with_one_key_leave_the_least_in_its_account(url: str) -> None:
    chain = FakeChain()
    # a plan reserves 280,000 gas at 500 gwei, which is 0.14 ETH
    chain.balance_wei = 2 * 140_000_000_000_000_000 + 10**17 - 1
    async with await Database.open(url) as one, await Database.open(url) as other:
        executors = [await _begun(chain, database) for database in (one, other)]
        got = await asyncio.gather(
            *(_submitted(executor, chain, n) for n, executor in enumerate(executors, start=1))
        )
        chain.balance_wei += 1
        again = [await _submitted(executor, chain, 3) for executor in executors]

    assert sorted(type(each).__name__ for each in got) == ["Declined", "Submitted"]
    [refused] = [each for each in got if isinstance(each, Declined)]
    assert "another claim was first; nothing was written" in refused.reason
    assert len(chain.sent) == 1
    assert [type(each) for each in again] == [Declined, Declined]


async def _begun(chain: FakeChain, database: Database) -> TxExecutor:
    """A process that has read what is open, and will not again before it claims."""
    rig = Rig(chain=chain)
    executor = rig.restart(
        journal=SqlJournal(database, chain_id=chain.chain_id),
        policy=policy(min_balance_wei=Wei(10**17)),
        settings=SETTINGS,
    )
    await executor.recover(chain.head)
    return executor


async def _submitted(executor: TxExecutor, chain: FakeChain, number: int) -> Submission:
    return await executor.submit(wanted(number, chain.head), FakeView(block=chain.head))


# --- what counts ----------------------------------------------------------------------------------


async def given_after(journal: SqlJournal, balance_wei: int, nonce: int = 7) -> bool:
    """Whether one more plan may be claimed by a key that held `balance_wei` at `nonce`."""
    try:
        await journal.claim(plan("i-9", 9), SIGNER, nonce, within(balance_wei, nonce))
    except PolicyViolation:
        return False
    return True


async def test_another_keys_claims_are_paid_from_another_account(journal: SqlJournal) -> None:
    other = address(0x5EC0)
    await journal.claim(plan("i-1", 1), other, 7)
    under_one_cap = replace(within(GAS_WEI + LEAST_WEI), together_with=(other,))

    assert await journal.claim(plan("i-2", 2), SIGNER, 7, under_one_cap)


async def test_another_chains_claims_are_paid_in_another_coin(database: Database) -> None:
    far = plan("i-1", 1)
    market = replace(MARKET, chain_id=10)
    position = replace(far.intent.position, market=market)
    far = replace(far, intent=replace(far.intent, position=position))
    await SqlJournal(database, chain_id=10).claim(far, SIGNER, 7)

    assert await given_after(SqlJournal(database, chain_id=31337), GAS_WEI + LEAST_WEI)


@pytest.mark.parametrize(("balance_wei", "given"), [(0, True), (-1, False)])
async def test_what_was_mined_when_the_balance_was_read_is_gone_from_it_already(
    journal: SqlJournal, balance_wei: int, given: bool
) -> None:
    await journal.claim(plan("i-1", 1), SIGNER, 7)
    await journal.signed("i-1", attempt())
    await journal.sent("i-1", 21_034_512)
    await journal.mined("i-1", receipt())

    # nonce 7 was used by then
    assert await given_after(journal, GAS_WEI + LEAST_WEI + balance_wei, nonce=8) is given


@pytest.mark.parametrize(("balance_wei", "given"), [(0, True), (-1, False)])
async def test_what_ended_since_the_balance_was_read_counts_by_what_it_paid(
    journal: SqlJournal, balance_wei: int, given: bool
) -> None:
    """One process is blocks behind the one that saw the end."""
    await journal.claim(plan("i-1", 1, data_fee_wei=Wei(12_345)), SIGNER, 7)
    await journal.signed("i-1", attempt())
    await journal.mined("i-1", receipt())
    await journal.settle("i-1", TxState.CONFIRMED, receipt(), (), ())
    paid_wei = 311_113 * 18_000_000_011 + 12_345

    assert await given_after(journal, paid_wei + GAS_WEI + LEAST_WEI + balance_wei) is given


async def test_a_claim_that_was_given_up_takes_nothing(journal: SqlJournal) -> None:
    await journal.claim(plan("i-1", 1), SIGNER, 7)
    await journal.settle("i-1", TxState.ABANDONED, None, (), ())

    assert await given_after(journal, GAS_WEI + LEAST_WEI)


@pytest.mark.parametrize(("balance_wei", "given"), [(0, True), (-1, False)])
@pytest.mark.parametrize("ended", [False, True])
async def test_what_carries_several_counts_once(
    journal: SqlJournal, ended: bool, balance_wei: int, given: bool
) -> None:
    names = ("i-1", "i-2", "i-3")
    carried = [Share(intent=intent(name, n), gas=100 * n) for n, name in enumerate(names, start=1)]
    await journal.claim(plan("i-1", 1, shares=tuple(carried)), SIGNER, 7)
    taken_wei = await _end(journal, names) if ended else GAS_WEI

    assert await given_after(journal, taken_wei + GAS_WEI + LEAST_WEI + balance_wei) is given


async def _end(journal: SqlJournal, names: Sequence[str]) -> int:
    """Settle them with a part of the gas each; return what all of it cost."""
    await journal.signed(names[0], attempt())
    await journal.mined(names[0], receipt())
    parts = [
        replace(receipt(), gas_used=gas) for gas in (311_113 - 70_001 - 90_003, 70_001, 90_003)
    ]
    further = [
        Ended(intent_id=name, state=TxState.CONFIRMED, receipt=part)
        for name, part in zip(names[1:], parts[1:], strict=True)
    ]
    await journal.settle(names[0], TxState.CONFIRMED, parts[0], (), (), further=further)
    return receipt().gas_used * receipt().effective_gas_price_wei
