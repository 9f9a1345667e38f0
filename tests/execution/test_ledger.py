"""The journal is read between passes, and what it says is never older than what was claimed."""

from keeper.errors import JournalError
from keeper.model import Confirmed, Submitted
from tests.execution.fakes import CHAIN, FakeView, intent
from tests.execution.rig import Rig


async def test_a_submission_after_a_pass_waits_for_the_journal_only_to_claim() -> None:
    rig = Rig()
    await rig.submit(1)
    await rig.block()
    rig.journal.fail = {"open_plans": JournalError("it would have been read")}

    assert isinstance(await rig.submit(2), Submitted)
    assert rig.journal.fail, "nobody asked for it"


async def test_what_another_process_claimed_meanwhile_does_not_look_like_a_stolen_key() -> None:
    rig = Rig()
    await rig.block()
    other = rig.build()
    other.arm(CHAIN)
    for number in (1, 2):
        head = rig.chain.head
        assert isinstance(await other.submit(intent(number, head), FakeView(block=head)), Submitted)
    rig.chain.mine()

    submitted = await rig.submit(3)

    assert rig.executor.disarmed_reason is None
    assert isinstance(submitted, Submitted)
    assert submitted.open_plan.nonce == 2


async def test_own_claims_since_the_reading_are_no_foreign_transactions() -> None:
    rig = Rig()
    await rig.block()
    for number in (1, 2, 3):
        assert isinstance(await rig.submit(number), Submitted)
        rig.chain.mine()

    assert rig.executor.disarmed_reason is None


async def test_an_outcome_is_told_although_the_journal_cannot_be_read_for_the_next_pass() -> None:
    rig = Rig()
    await rig.submit(1)
    await rig.blocks(2)
    plans, reads = rig.journal.open_plans, 0

    async def fails_the_second_time(signer: object) -> object:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise JournalError("the database is locked")
        return await plans(signer)  # type: ignore[arg-type]  # handed through

    rig.journal.open_plans = fails_the_second_time  # type: ignore[method-assign,assignment]  # a stumble of this one journal

    outcomes = [outcome for outcome in await rig.block() if isinstance(outcome, Confirmed)]

    assert len(outcomes) == 1
    assert reads == 2
    assert isinstance(await rig.submit(2), Submitted)
