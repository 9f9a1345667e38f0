"""A book great enough for a hot set, in the engine: nobody escapes it for being new or wrong.

10,000 accounts without entries make up the number; the hot set is the product's own, made and used
by the engine's passes.
"""

from keeper.engine.market import DIFFERED
from keeper.model import Address, Assessed, Holdings, Unassessable
from keeper.risk.exact import HOT_FROM_ROWS
from keeper.risk.hot import Hot
from keeper.units import WAD
from tests.engine.fakes import ALICE, BOB, CAROL, PRICE, Story, done, holdings

HEALTHY = (3, 1_517)
AT_THE_LINE = (3, 3 * PRICE - 4)
"""Four units of 3,039 from 1: within every band."""
SICK = (3, 3_111)


async def great() -> Story:
    """ALICE is healthy, BOB at the line; the hot set is made."""
    made = Story()
    await made.begin({ALICE: HEALTHY, BOB: AT_THE_LINE})
    for n in range(HOT_FROM_ROWS):
        account = Address(f"0x{0xF00000 + n:040x}")
        made.market.book.put(Holdings(account=account, e_mode=0, entries=()))
    assert await flagged(made) == {}
    assert made.market.book.hot is not None
    return made


async def flagged(story: Story, **what: object) -> dict[Address, str]:
    """Mine a block; whom the engine says to be below 1, or unknown and why."""
    said = {}
    for of in done(await story.mine(**what)).assessments:
        match of:
            case Assessed(health_factor=health) if health < WAD:
                said[of.position.account] = "below"
            case Assessed():
                pass
            case Unassessable(reason=reason):
                said[of.position.account] = reason
    return said


def sweep_next(story: Story, account: Address) -> None:
    """Let the sweep read `account` at the next block, and the row after it."""
    row = story.market.book._index.find(account)
    assert row is not None
    story.market._swept_to = row - 1
    story.market._sweep_per_block = 2


def hot_of(story: Story) -> Hot:
    assert story.market.book.hot is not None
    return story.market.book.hot


async def test_a_price_that_falls_a_little_is_answered_from_the_hot_set() -> None:
    story = await great()
    hot = hot_of(story)

    said = await flagged(story, price=PRICE - 2)

    assert said == {BOB: "below"}
    assert hot_of(story) is hot


async def test_who_borrows_while_a_hot_set_is_in_use_is_found_at_his_block() -> None:
    story = await great()
    hot = hot_of(story)

    said = await flagged(story, moved={CAROL: SICK})

    assert said == {CAROL: "below"}
    assert story.acted_on() == [CAROL]
    assert hot_of(story) is hot


async def test_what_a_hot_set_left_out_is_asked_again_when_it_was_wrong_all_along() -> None:
    """ALICE was far from the line; she is read again by the sweep, and differs."""
    story = await great()
    hot = hot_of(story)
    sweep_next(story, ALICE)

    at_first = await flagged(story, moved={ALICE: SICK}, silently=True)
    acted_at_first = story.acted_on()
    then = await flagged(story)

    assert at_first == {ALICE: DIFFERED}
    assert acted_at_first == []
    assert then == {ALICE: "below"}
    assert story.acted_on() == [ALICE]
    assert hot_of(story) is hot


async def test_who_was_repaired_to_good_health_is_below_no_more() -> None:
    story = await great()
    assert await flagged(story, moved={CAROL: SICK}) == {CAROL: "below"}
    sweep_next(story, CAROL)

    at_first = await flagged(story, moved={CAROL: HEALTHY}, silently=True)
    then = await flagged(story)

    assert at_first == {CAROL: DIFFERED}
    assert then == {}
    assert story.market.holdings(CAROL) == holdings(CAROL, *HEALTHY)


async def test_a_fall_beyond_every_band_makes_it_anew_and_misses_nobody() -> None:
    story = await great()
    hot = hot_of(story)

    said = await flagged(story, price=PRICE * 2 // 5)

    assert said == {ALICE: "below", BOB: "below"}
    assert hot_of(story) is not hot


async def test_what_the_sweep_found_as_it_was_is_no_edit() -> None:
    made = Story(sweep_per_block=3)
    await made.begin({ALICE: HEALTHY, BOB: AT_THE_LINE})
    for n in range(HOT_FROM_ROWS):
        account = Address(f"0x{0xF00000 + n:040x}")
        made.market.book.put(Holdings(account=account, e_mode=0, entries=()))
    await flagged(made)
    edited = len(made.market.book.edited)

    await flagged(made)

    assert edited == len(made.market.book.edited) == 0
