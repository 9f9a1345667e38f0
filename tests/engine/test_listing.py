"""A reserve that is listed while blocks are taken: who borrows it is heard of from its first one.

Until the market is learnt again nobody knows the new token, so the blocks that were heard by then
are heard once more.
"""

from dataclasses import replace

from keeper.engine.observe import HEARD_AGAIN
from keeper.errors import ObservationError
from keeper.model import Address, BlockRef, Hash, LogFilter
from keeper.ports import Steps
from tests.engine.fakes import (
    ALICE,
    BOB,
    CAROL,
    PARAMETERS,
    Adapter,
    Chain,
    Story,
    done,
)

HEALTHY = (3, 1_517)
TOKEN = Address("0x" + "c0" * 20)
"""Of the reserve that is listed."""


class Listing(Adapter):
    """Learns of `TOKEN` at the first block that said `PARAMETERS`."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain

    def discover(self) -> Steps[str]:
        known = yield from super().discover()
        said = (log for b in self.chain.canonical for log in self.chain.states[b.hash].logs)
        return f"{known} with it" if any(log.topics[0] == PARAMETERS for log in said) else known

    def log_filter(self, market: str) -> LogFilter:
        wanted = super().log_filter(market)
        more = (TOKEN,) if market.endswith("with it") else ()
        return replace(wanted, addresses=(*wanted.addresses, *more))


async def begun() -> Story:
    story = Story()
    story.market.adapter = Listing(story.chain)
    await story.begin({ALICE: HEALTHY})
    story.logs.asked.clear()
    return story


def borrows(story: Story, account: Address, *, listed: bool = False) -> BlockRef:
    """Mine a block in which `account` borrows of the new token; it may be the listing's own."""
    block = story.chain.mine(moved={account: HEALTHY}, parameters=listed)
    state = story.chain.states[block.hash]
    logs = tuple(
        log if log.topics[0] == PARAMETERS else replace(log, address=TOKEN) for log in state.logs
    )
    story.chain.states[block.hash] = replace(state, logs=logs)
    return block


async def test_who_borrows_it_later_in_the_same_advance_is_read_at_its_head() -> None:
    story = await begun()
    listed = story.chain.mine(parameters=True)

    await story.take(listed, borrows(story, CAROL), story.chain.mine())

    assert CAROL in story.reader.accounts[-1]
    assert story.market.holdings(CAROL) is not None
    assert story.logs.asked == [102, 103, 104, 102, 103, 104]


async def test_who_borrows_it_in_the_block_that_lists_it_is_heard_of() -> None:
    story = await begun()

    await story.take(borrows(story, CAROL, listed=True))

    assert story.market.holdings(CAROL) is not None
    assert story.logs.asked == [102, 102]


async def test_blocks_before_the_listing_are_not_asked_for_again() -> None:
    story = await begun()
    before = (story.chain.mine(), story.chain.mine())

    await story.take(*before, borrows(story, CAROL, listed=True))

    assert story.logs.asked == [102, 103, 104, 104]


async def test_parameters_that_list_nothing_cost_no_request() -> None:
    story = await begun()
    await story.take(borrows(story, CAROL, listed=True))
    story.logs.asked.clear()

    await story.take(story.chain.mine(parameters=True), story.chain.mine())
    await story.mine()

    assert story.logs.asked == [103, 104, 105]


async def test_a_market_that_cannot_be_learnt_at_once_is_heard_again_from_the_listing_on() -> None:
    story = await begun()
    story.reader.undiscovered = [ObservationError("no"), ObservationError("no, once more")]
    await story.take(story.chain.mine(parameters=True))
    await story.take(borrows(story, CAROL))
    assert story.market.holdings(CAROL) is None

    await story.take(borrows(story, BOB))

    assert story.market.holdings(CAROL) is not None
    assert story.market.holdings(BOB) is not None
    assert story.logs.asked == [102, 103, 104, 102, 103, 104]


async def test_what_cannot_be_heard_again_costs_the_pass_and_is_heard_at_the_next_head() -> None:
    story = await begun()
    listed, borrowed = story.chain.mine(parameters=True), borrows(story, CAROL)
    heard_before = story.logs.at

    async def at(block: BlockRef) -> object:
        if block == borrowed and story.logs.asked.count(block.number) == 1:
            story.logs.asked.append(block.number)
            raise ObservationError("the node stumbles over it")
        return await heard_before(block)

    story.logs.at = at  # type: ignore[method-assign, assignment]
    assert await story.take(listed, borrowed) is None
    await story.mine()

    assert story.market.holdings(CAROL) is not None


async def test_a_checkpoint_claims_no_block_that_may_have_to_be_heard_again() -> None:
    story = Story()
    story.market.adapter = Listing(story.chain)
    await story.engine.start(story.chain.head)
    story.engine.covered = True
    story.reader.undiscovered = [ObservationError("the new token has no symbol")]
    await story.take(story.chain.mine(parameters=True))
    await story.engine.save_checkpoints()
    assert story.records.checkpoints == []

    await story.mine()
    await story.engine.save_checkpoints()

    assert [kept.block.number for kept in story.records.checkpoints] == [101]


async def test_an_orphaned_block_is_not_heard_again() -> None:
    story = await begun()
    story.reader.undiscovered = [ObservationError("no")]
    await story.take(borrows(story, CAROL, listed=True))
    orphaned = story.chain.drop(1)
    gone: Hash = orphaned[0].hash
    story.logs.failing.add(gone)

    passed = await story.take(borrows(story, BOB, listed=True), orphaned=orphaned)

    assert done(passed).unread == {}
    assert story.market.holdings(BOB) is not None


async def test_a_liquidation_in_a_block_that_is_heard_again_is_told_once() -> None:
    story = await begun()
    listed = story.chain.mine(parameters=True)
    taken = story.chain.mine(liquidated={ALICE: BOB}, moved={ALICE: (1, 517)})
    passed = await story.take(listed, taken)

    assert [one.liquidated.block for one in done(passed).liquidations] == [taken]


async def test_many_blocks_are_heard_again_some_at_each_head() -> None:
    story = await begun()
    listed = story.chain.mine(parameters=True)
    many = [story.chain.mine() for _ in range(HEARD_AGAIN)]
    last = borrows(story, CAROL)

    await story.take(listed, *many, last)
    there = len(story.logs.asked)
    known = story.market.holdings(CAROL)
    claimed = story.engine._observer.oldest  # what a checkpoint would claim
    await story.mine()

    assert there == (2 + HEARD_AGAIN) + HEARD_AGAIN
    assert known is None
    assert claimed is not None
    assert claimed.number < listed.number
    assert story.market.holdings(CAROL) is not None
    # the head, and the two that were left
    assert story.logs.asked[there:] == [last.number + 1, last.number - 1, last.number]
