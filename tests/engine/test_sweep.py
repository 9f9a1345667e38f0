"""Reads that no log asked for: what was missed is found, put right, and said."""

from collections.abc import Callable, Iterable

import pytest
import structlog

from keeper.engine import market
from keeper.engine.market import DIFFERED, FEW_STRANGERS
from keeper.errors import ObservationError
from keeper.model import Address, Assessed, Side, Unassessable, Watch
from tests.engine.fakes import ALICE, BOB, CAROL, DAVE, Story, done, holdings, position

HEALTHY = (3, 1_517)
CHANGED = (3, 2_900)


async def test_the_sweep_repairs_an_account_that_changed_without_a_log_and_says_so() -> None:
    story = Story(sweep_per_block=1)
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    repaired = []
    with structlog.testing.capture_logs() as logs:
        await story.mine(moved={BOB: CHANGED}, silently=True)
        for _ in range(3):
            repaired += [r.repaired for r in done(await story.mine()).readings]

    assert story.market.holdings(BOB) == holdings(BOB, *CHANGED)
    said = [entry for entry in logs if entry["event"] == "book.repaired"]
    assert [entry["account"] for entry in said] == [BOB]
    assert said[0]["log_level"] == "warning"


async def test_a_whole_round_of_the_sweep_reads_everybody_once() -> None:
    story = Story(sweep_per_block=2)
    people = (ALICE, BOB, CAROL, DAVE)
    await story.begin(dict.fromkeys(people, HEALTHY))
    reads = len(story.reader.accounts)

    for _ in range(2):
        await story.mine()

    assert set().union(*story.reader.accounts[reads:]) == set(people)
    assert [len(asked) for asked in story.reader.accounts[reads:]] == [2, 2]


async def test_an_account_that_a_log_spoke_of_is_not_called_repaired() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})

    passed = done(await story.mine(moved={ALICE: CHANGED}))

    assert story.market.holdings(ALICE) == holdings(ALICE, *CHANGED)
    assert passed.readings[0].repaired == ()


async def test_an_account_that_was_swept_before_its_log_was_heard_is_not_called_repaired() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})
    reads = len(story.reader.accounts)

    passed = done(await story.mine(moved={ALICE: CHANGED}))

    assert story.reader.accounts[reads:] == [{ALICE}]  # by the sweep, and not a second time
    assert story.market.holdings(ALICE) == holdings(ALICE, *CHANGED)
    assert passed.readings[0].repaired == ()
    assert passed.readings[0].unreadable == ()


async def test_who_has_more_than_was_asked_for_is_read_with_those_the_logs_speak_of() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    story.adapter.surprising = frozenset({ALICE})
    reads = len(story.reader.accounts)

    passed = done(await story.mine(moved={ALICE: CHANGED}))

    assert passed.rpc_calls == 3
    assert story.reader.accounts[reads + 1] == {ALICE}
    assert story.market.holdings(ALICE) == holdings(ALICE, *CHANGED)
    assert passed.readings[0].repaired == ()


async def test_of_whom_nothing_spoke_though_he_has_more_it_is_said_that_he_was_repaired() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    story.adapter.surprising = frozenset({ALICE})

    passed = done(await story.mine(moved={ALICE: CHANGED}, silently=True))

    assert story.market.holdings(ALICE) == holdings(ALICE, *CHANGED)
    assert passed.readings[0].repaired == (ALICE,)


async def test_a_few_strangers_are_asked_for_everything_and_many_are_not() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})

    await story.mine(moved={BOB: HEALTHY})
    asked = story.adapter.expected[BOB]
    crowd = [Address(f"0x{0xC0000 + n:040x}") for n in range(FEW_STRANGERS + 1)]
    await story.mine(moved=dict.fromkeys(crowd, HEALTHY))

    assert asked is not None
    assert {(e.reserve, e.side) for e in asked.entries} == {(r, s) for r in (0, 1) for s in Side}
    assert {story.adapter.expected[account] for account in crowd} == {None}


async def test_what_the_sweep_finds_is_unknown_until_a_second_read_says_the_same() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})

    first = done(await story.mine(moved={ALICE: (1, 5_000)}, silently=True))
    acted_at_first = story.acted_on()
    second = done(await story.mine())

    [unknown] = first.assessments
    assert isinstance(unknown, Unassessable)
    assert unknown.reason == DIFFERED
    assert acted_at_first == []
    assert second.readings[0].unreadable == ()
    assert second.readings[0].repaired == ()
    assert story.acted_on() == [ALICE]


async def test_an_account_that_reads_differently_each_time_stays_unknown() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})

    passes = [
        done(await story.mine(moved={ALICE: (1, 5_000 + n)}, silently=True)) for n in range(3)
    ]

    assert [[type(a) for a in p.assessments] for p in passes] == [[Unassessable]] * 3
    assert story.acted_on() == []


async def test_who_is_sent_dust_at_every_block_is_known_again_at_the_second_read() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})
    with structlog.testing.capture_logs() as logs:
        first = done(await story.mine(moved={ALICE: (1, 5_000)}, silently=True))
        later = [done(await story.mine(moved={ALICE: (1, 5_001 + n)})) for n in range(3)]

    assert [type(a) for a in first.assessments] == [Unassessable]
    assert [[type(a) for a in p.assessments] for p in later] == [[Assessed]] * 3
    assert [p.readings[0].repaired for p in later] == [()] * 3
    assert [e["account"] for e in logs if e["event"] == "book.repaired"] == [ALICE]
    assert story.acted_on() == [ALICE]


async def test_dust_does_not_end_it_before_the_second_read() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: (1, 5_000)}, silently=True)

    unread = done(await story.mine(moved={ALICE: (1, 5_001)}, unreadable=frozenset({ALICE})))
    acted_unread = story.acted_on()
    second = done(await story.mine(unreadable=frozenset()))

    assert [type(a) for a in unread.assessments] == [Unassessable]
    assert acted_unread == []
    assert second.readings[0].unreadable == ()
    assert second.readings[0].repaired == ()  # a log spoke of it, at the block before
    assert story.acted_on() == [ALICE]


async def test_what_changes_in_silence_after_a_log_is_unknown_once_more() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: (1, 5_000)}, silently=True)
    await story.mine(moved={ALICE: (2, 5_000)})

    again = done(await story.mine(moved={ALICE: (1, 5_000)}, silently=True))

    assert [type(a) for a in again.assessments] == [Unassessable]
    assert again.readings[0].repaired == (ALICE,)


async def test_a_repair_is_in_the_audit_trail() -> None:
    story = Story(sweep_per_block=5)
    await story.begin({ALICE: HEALTHY})

    passed = done(await story.mine(moved={ALICE: CHANGED}, silently=True))

    audit = [e for record in story.records.kept for e in record.audit]
    assert [(e.event, e.fields["account"]) for e in audit] == [("book.repaired", ALICE)]
    assert passed.readings[0].repaired == (ALICE,)


async def test_borrowers_found_in_history_enter_the_book_at_the_next_block() -> None:
    story = Story()
    await story.begin()
    story.chain.mine(moved={ALICE: HEALTHY, BOB: (1, 5_000)}, silently=True)
    story.market.admit((ALICE, BOB))
    assert story.market.backlog == 2

    passed = done(await story.take(story.chain.head))

    assert story.market.backlog == 0
    assert [a.position for a in passed.assessments] == [position(BOB)]
    assert story.market.holdings(ALICE) == holdings(ALICE, *HEALTHY)


# --- who cannot be read -------------------------------------------------------------------------

CROWD = frozenset(Address(f"0x{0xD0000 + n:040x}") for n in range(7))


async def crowded(monkeypatch: pytest.MonkeyPatch) -> Story:
    """Seven who borrowed and cannot be read, of whom two have their turn at each block."""
    monkeypatch.setattr(market, "TRIED_AGAIN_PER_BLOCK", 2)
    story = Story()
    await story.engine.start(story.chain.head)
    await story.mine(moved=dict.fromkeys(CROWD, (1, 5_000)), unreadable=CROWD)
    return story


async def waiting(monkeypatch: pytest.MonkeyPatch) -> Story:
    """The same after each was tried once more."""
    story = await crowded(monkeypatch)
    await story.mine()
    return story


async def test_who_cannot_be_read_is_tried_at_the_next_block_and_then_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = await crowded(monkeypatch)

    passes = [done(await story.mine()) for _ in range(5)]

    once_more, *turns = story.reader.accounts[-5:]
    assert once_more == CROWD
    assert [len(asked) for asked in turns] == [2] * 4
    assert set().union(*turns) == CROWD
    assert [len([a for a in p.assessments if not a.ok]) for p in passes] == [len(CROWD)] * 5


async def test_what_ails_many_for_one_block_is_over_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = await crowded(monkeypatch)

    passed = done(await story.mine(unreadable=frozenset()))

    assert passed.readings[0].unreadable == ()
    assert set(story.acted_on()) == CROWD


async def test_whoever_can_be_read_again_is_found_within_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = await waiting(monkeypatch)

    for _ in range(4):  # two of seven at each block
        await story.mine(unreadable=frozenset())

    assert set(story.acted_on()) == CROWD


async def test_passes_that_fail_put_no_more_of_them_on_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = await waiting(monkeypatch)
    asked = []
    for _ in range(5):
        story.reader.failures.append(ObservationError("no node answers"))
        assert await story.mine() is None
        await story.mine()
        asked.append(story.reader.accounts[-1])

    assert [len(some) for some in asked] == [2] * 5
    assert set().union(*asked) == CROWD


@pytest.mark.parametrize("which", [min, max], ids=["in his turn", "not in his turn"])
async def test_who_cannot_be_read_is_read_at_the_block_whose_log_speaks_of_him(
    which: Callable[[Iterable[Address]], Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = await waiting(monkeypatch)
    spoken_of = which(CROWD)  # turns go by address
    reads = len(story.reader.accounts)

    await story.mine(moved={spoken_of: (1, 4_000)})  # a repayment: he is known from nowhere else
    at_once = set().union(*story.reader.accounts[reads:])
    await story.mine(unreadable=CROWD - {spoken_of})  # what failed was over at once

    assert spoken_of in at_once
    assert story.acted_on() == [spoken_of]


async def test_who_cannot_be_read_is_read_at_every_block_while_he_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = await waiting(monkeypatch)
    last = max(CROWD)
    story.market.book.put(holdings(last, *HEALTHY))  # what he had when he could be read
    story.records.people = (Watch(chat="log:", account=last, label="last"),)
    asked = []
    for _ in range(4):
        reads = len(story.reader.accounts)
        passed = done(await story.mine())
        asked.append(set().union(*story.reader.accounts[reads:]))
    assert not any(a.ok for a in passed.assessments)
    passed = done(await story.mine(unreadable=CROWD - {last}))

    assert [last in some for some in asked] == [True] * 4
    assert passed.rpc_calls == 2  # the block's logs, and one read of all
    assert position(last) in {a.position for a in passed.assessments if a.ok}


async def test_those_who_wait_for_their_turn_are_in_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = await waiting(monkeypatch)
    story.engine.covered = True

    await story.engine.save_checkpoints()

    assert story.records.checkpoints[-1].accounts == tuple(sorted(CROWD))
