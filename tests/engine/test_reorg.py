"""Blocks that turn out not to have been: whom they touched is read again on the branch that won."""

import pytest

from keeper.engine import market
from keeper.model import BlockRef, Refuse
from tests.engine.fakes import ALICE, BOB, CAROL, Story, done, holdings

HEALTHY = (3, 1_517)
DANGEROUS = (2, 2_027)


async def test_whom_an_orphaned_block_touched_is_read_again() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    await story.mine(moved={ALICE: (9, 1_000)})
    await story.mine(moved={BOB: (7, 1_000)})
    orphaned = story.chain.drop(2)

    passed = done(await story.take(story.chain.mine(), orphaned=orphaned))

    assert passed.orphaned == 2
    assert story.reader.accounts[-1] == {ALICE, BOB}
    assert story.market.holdings(ALICE) == holdings(ALICE, *HEALTHY)
    assert story.market.holdings(BOB) == holdings(BOB, *HEALTHY)


async def test_a_borrower_of_an_orphaned_block_is_known_to_owe_nothing() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={CAROL: DANGEROUS})
    assert story.acted_on() == [CAROL]
    orphaned = story.chain.drop(1)

    await story.take(story.chain.mine(), orphaned=orphaned)

    assert story.market.holdings(CAROL) == holdings(CAROL, 0, 0)


async def test_parameters_of_an_orphaned_block_are_learnt_again() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(parameters=True)
    orphaned = story.chain.drop(1)
    story.order.clear()

    await story.take(story.chain.mine(), orphaned=orphaned)

    assert story.order == ["logs", "discover", "read", "settle", "record"]


async def test_a_reorg_that_changed_no_parameters_costs_no_discovery() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine()
    orphaned = story.chain.drop(1)
    story.order.clear()

    await story.take(story.chain.mine(), orphaned=orphaned)

    assert story.order == ["read", "logs", "settle", "record"]


async def test_an_orphaned_block_that_was_never_heard_is_not_asked_for() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    deaf = story.chain.mine(moved={ALICE: DANGEROUS})
    story.logs.failing.add(deaf.hash)
    assert await story.take(deaf) is None
    story.logs.asked.clear()
    orphaned = story.chain.drop(1)

    won = story.chain.mine()
    done(await story.take(won, orphaned=orphaned))

    assert story.logs.asked == [won.number]
    assert story.acted_on() == []


async def test_the_reorg_is_written_down_with_its_depth() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    for _ in range(3):
        await story.mine()
    orphaned = story.chain.drop(3)

    await story.take(story.chain.mine(), orphaned=orphaned)

    [event] = story.records.kept[-1].audit
    assert (event.event, dict(event.fields)) == ("block.reorganised", {"depth": 3})


async def test_a_reorg_during_which_a_read_fails_still_reads_again_whom_it_touched() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: (9, 1_000)})
    orphaned = story.chain.drop(1)
    won = story.chain.mine()
    story.logs.failing.add(won.hash)

    assert await story.take(won, orphaned=orphaned) is None
    story.logs.failing.clear()
    await story.mine()

    assert story.market.holdings(ALICE) == holdings(ALICE, *HEALTHY)


async def test_an_account_that_entered_the_book_after_it_was_touched_is_read_again() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.chain.mine(moved={BOB: HEALTHY}, silently=True)  # of long ago, found by history below
    await story.take(story.chain.head)
    await story.mine(moved={BOB: (9, 1_000)})  # a log of him while he is not in the book
    story.market.admit((BOB,))
    await story.mine()
    assert story.market.holdings(BOB) == holdings(BOB, 9, 1_000)
    orphaned = story.chain.drop(2)

    await story.take(story.chain.mine(), orphaned=orphaned)

    assert story.market.holdings(BOB) == holdings(BOB, *HEALTHY)


async def test_a_reorg_of_blocks_from_before_the_start_reads_everybody_again() -> None:
    story = Story()
    old: BlockRef = story.chain.mine(moved={ALICE: HEALTHY})
    changed = story.chain.mine(moved={ALICE: DANGEROUS})
    await story.engine.start(changed)
    story.market.admit((ALICE,))
    await story.mine()
    assert story.market.holdings(ALICE) == holdings(ALICE, *DANGEROUS)
    orphaned = story.chain.drop(2)
    assert story.chain.head == old

    await story.take(story.chain.mine(), orphaned=orphaned)

    assert story.market.holdings(ALICE) == holdings(ALICE, *HEALTHY)


async def test_after_a_reorg_the_position_in_flight_is_still_held() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: DANGEROUS})
    orphaned = story.chain.drop(1)

    passed = done(await story.take(story.chain.mine(moved={ALICE: DANGEROUS}), orphaned=orphaned))

    assert story.acted_on() == [ALICE]
    assert not [d for d in passed.decisions if isinstance(d, Refuse)]


async def test_blocks_from_before_the_start_have_the_book_read_once_however_many_they_are() -> None:
    story = Story(sweep_per_block=0)
    before = [story.chain.mine() for _ in range(5)]
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    orphaned = (*story.chain.drop(1), *reversed(before))

    done(await story.take(story.chain.mine(), orphaned=orphaned))
    again = story.reader.accounts[-1]
    done(await story.mine())

    assert again == {ALICE, BOB}
    assert story.market.backlog == 0
    assert story.reader.accounts[-1] == set()


async def test_a_book_larger_than_a_blocks_share_is_queued_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story(sweep_per_block=0)
    await story.begin(dict.fromkeys((ALICE, BOB, CAROL), HEALTHY))
    monkeypatch.setattr(market, "READ_PER_BLOCK", 2)
    strangers = [story.chain.mine() for _ in range(4)]

    for block in strangers:
        story.market.unhear(block)

    assert story.market.backlog == 3
    done(await story.take(story.chain.mine()))
    assert story.market.backlog == 1
    assert len(story.reader.accounts[-1]) == 2


async def test_blocks_whose_logs_never_came_leave_the_book_as_it_is() -> None:
    story = Story(sweep_per_block=0)
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    for _ in range(3):
        deaf = story.chain.mine(moved={ALICE: DANGEROUS})
        story.logs.failing.add(deaf.hash)
        assert await story.take(deaf) is None
    orphaned = story.chain.drop(3)

    done(await story.take(story.chain.mine(moved={BOB: (9, 1_000)}), orphaned=orphaned))

    assert story.reader.accounts[-1] == {BOB}
    assert not story.market.must_discover
