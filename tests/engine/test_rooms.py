"""The room under supply caps is read for whoever may be told to supply, and for nobody else."""

from collections.abc import Set as AbstractSet

from keeper.model import Address, Watch
from tests.engine.fakes import ALICE, BOB, Story

HEALTHY = (3, 1_517)
NO_COLLATERAL = (0, 1_517)


def watch(story: Story, *accounts: Address) -> None:
    story.records.people = tuple(Watch(chat="log:", account=a, label="") for a in accounts)


async def asked(story: Story) -> AbstractSet[int] | None:
    """What is asked for at the next block."""
    await story.mine()
    return story.adapter.rooms[-1]


async def test_of_nobody_who_is_watched_no_room_is_asked_and_at_the_first_read_all() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})

    assert story.adapter.rooms[0] is None
    assert await asked(story) == set()
    assert await asked(story) == set()


async def test_of_whoever_is_watched_all_are_asked_from_the_next_block_on() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: NO_COLLATERAL})
    watch(story, BOB)

    assert await asked(story) == set()  # the watch is read at the same time
    assert await asked(story) is None
    watch(story)
    assert await asked(story) is None
    assert await asked(story) == set()


async def test_who_is_watched_from_the_start_is_never_without() -> None:
    story = Story()
    watch(story, ALICE)
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})

    await story.mine(moved={ALICE: (4, 1_517)})

    assert set(story.adapter.rooms) == {None}
