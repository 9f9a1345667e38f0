"""Heads that are old, made up or impossible cost a question, and never the branch."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from keeper.chain.branch import GAP_LIMIT_BLOCKS, Advance, Branch, BranchLost
from keeper.chain.heads import HeadFollower
from keeper.chain.rpc import Rpc
from keeper.chain.subscription import ANNOUNCED_MOST
from keeper.model import BlockRef, Hash
from tests.chain_unit.standin import Chain, Node, block_hash
from tests.chain_unit.told import Following, Told, following

LENGTH = 300
OLD = 150
"""Below the 65 blocks that are held right after the start."""


async def goes_on(follower: Following, told: Told) -> None:
    """Wait until what was pushed was looked at, then see that the next head is taken as ever."""
    await follower.rests()
    before = len(follower.said)
    for chain in told.chains:
        chain.grow()
    await follower.takes(told.chains[0].head)

    assert follower.said[-1].adopted == (told.chains[0].head,)
    assert len(follower.said) == before + 1


@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_true_head_far_below_what_is_held_is_no_news(quorum: int) -> None:
    chain = Chain(LENGTH)
    told = Told(chain, chain)
    async with following(told, quorum=quorum) as follower:
        for _ in range(3):
            follower.push(chain.blocks[OLD])
            await goes_on(follower, Told(chain))

        assert all(advance.orphaned == () for advance in follower.said)


@pytest.mark.parametrize("quorum", [1, 2])
async def test_an_old_head_makes_what_is_the_latest_by_now_be_taken(quorum: int) -> None:
    chain = Chain(LENGTH)
    async with following(Told(chain, chain), quorum=quorum) as follower:
        chain.grow(3)

        follower.push(chain.blocks[OLD])

        await follower.reaches(chain.head)
        assert len(follower.said[-1].adopted) == 3


@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_head_with_an_impossible_number_is_no_news(quorum: int) -> None:
    chain = Chain(LENGTH)
    far = replace(
        chain.head, number=2**64 - 1, hash=block_hash(1, "z"), parent_hash=block_hash(2, "z")
    )
    async with following(Told(chain, chain), quorum=quorum) as follower:
        follower.push(far)
        await goes_on(follower, Told(chain))


@pytest.mark.parametrize(
    ("number", "overtaken"),
    [(1, False), (LENGTH - 1, False), (LENGTH, True), (LENGTH + 40_000, True), (2**64 - 1, False)],
)
async def test_only_a_head_that_can_come_next_overtakes_ours(number: int, overtaken: bool) -> None:
    chain = Chain(LENGTH)
    async with following(Told(chain)) as follower:
        follower.push(replace(chain.head, number=number, hash=block_hash(number, "z")))

        assert follower.heads.overtaken == overtaken


async def test_a_gap_that_is_too_wide_is_lost_when_the_node_says_the_same() -> None:
    chain = Chain(LENGTH)
    async with following(Told(chain)) as follower:
        chain.grow(50_001)
        follower.push(chain.head)

        with pytest.raises(BranchLost, match="read the history first"):
            await follower.ends()


async def test_a_latest_that_is_behind_us_is_no_news_while_our_head_stands() -> None:
    chain, old = Chain(LENGTH), Chain(OLD)
    told = Told(chain)
    async with following(told) as follower:
        told.latest = old.head  # one backend of several behind one URL
        follower.push(old.head)
        await follower.rests()
        told.latest = None

        await goes_on(follower, told)


async def test_a_chain_that_became_shorter_than_what_is_held_is_lost() -> None:
    chain = Chain(LENGTH)
    async with following(Told(chain)) as follower:
        chain.reorg(100, "b", 2)
        follower.push(chain.head)

        with pytest.raises(BranchLost, match="shares none of the last 65"):
            await follower.ends()


async def test_a_sibling_that_the_node_does_not_have_yet_is_taken_when_it_has() -> None:
    ahead = Chain(LENGTH)
    sibling = Chain(LENGTH - 1).grow(1, "b")
    told = Told(ahead)
    async with following(told, poll_s=0.005) as follower:
        follower.heads._subscription.pushing = True  # nothing is polled
        told.latest = ahead.blocks[-2]
        follower.push(sibling)
        await follower.until(lambda: told.asked["block latest"] > 3)
        before = len(follower.said)

        ahead.reorg(1, "b")
        told.latest = None
        await follower.reaches(sibling)

        assert before == 0
        assert [block.number for block in follower.said[-1].orphaned] == [LENGTH - 1]


@pytest.mark.parametrize("number", [3, LENGTH - 1, LENGTH + 10_000])
@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_head_of_another_number_than_its_parent_has_room_for_is_never_taken(
    number: int, quorum: int
) -> None:
    chain = Chain(LENGTH)
    odd = replace(chain.head, number=number, hash=block_hash(77, "z"), parent_hash=chain.head.hash)
    async with following(Told(chain, chain), quorum=quorum, poll_s=0.005) as follower:
        follower.heads._subscription.pushing = True  # nothing is polled
        follower.push(odd)
        await asyncio.sleep(0.05)
        for _ in range(2):
            chain.grow()
            await follower.takes(chain.head)
        chain.reorg(4, "q", 5)
        await follower.takes(chain.head)

        taken = [block.number for advance in follower.said for block in advance.adopted]
        assert taken == [300, 301, 298, 299, 300, 301, 302]


async def test_an_ancestor_of_another_number_shortens_the_memory() -> None:
    chain = Chain(LENGTH)
    chain.blocks[290] = replace(chain.blocks[290], number=289)

    branch = await Branch.ending_in(cast("Rpc", Told(chain)), chain.head, memory=512, depth=64)

    assert branch.oldest == chain.blocks[291]


def test_a_step_from_another_head_than_ours_is_an_error_that_a_person_can_read() -> None:
    chain = Chain(5)
    branch = Branch(cast("Rpc", Told(chain)), tuple(chain.blocks), memory=16)

    with pytest.raises(BranchLost, match="Block 2 was to be undone, our head is block 4"):
        branch.take((chain.blocks[2],), ())


# --- headers that tell of another parent than they have ------------------------------------------


def told_falsely(block: BlockRef, parent: Hash) -> BlockRef:
    return replace(block, parent_hash=parent)


@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_head_that_came_with_a_made_up_parent_is_joined_by_what_the_nodes_tell(
    quorum: int,
) -> None:
    chain = Chain(LENGTH)
    async with following(Told(chain, chain), quorum=quorum) as follower:
        chain.grow()

        follower.push(told_falsely(chain.head, block_hash(7, "z")))

        await follower.reaches(chain.head)
        for _ in range(2):
            chain.grow()
            await follower.takes(chain.head)
        assert [len(advance.adopted) for advance in follower.said] == [1, 1, 1]


async def test_a_header_with_a_made_up_parent_is_asked_of_the_others_in_a_gap() -> None:
    honest = Chain(LENGTH)
    lies = Chain(LENGTH)
    async with following(Told(lies, honest)) as follower:
        honest.grow(5)
        lies.grow(5)
        lies.blocks[302] = told_falsely(lies.blocks[302], block_hash(7, "z"))

        follower.push(honest.head)

        await follower.reaches(honest.head)
        assert follower.said[-1].adopted == tuple(honest.blocks[300:])


async def test_several_lies_about_one_header_are_asked_about_once() -> None:
    chains = [Chain(LENGTH) for _ in range(3)]
    async with following(Told(*chains), poll_s=0.005) as follower:
        follower.heads._subscription.pushing = True  # nothing is polled
        for chain in chains:
            chain.grow()
        true = chains[0].head
        for number, chain in enumerate(chains):
            chain.blocks[-1] = told_falsely(true, block_hash(number, "z"))
        follower.push(told_falsely(true, block_hash(9, "z")))
        await asyncio.sleep(0.05)

        assert follower.said == []
        chains[2].blocks[-1] = true
        chains[1].blocks[-1] = true
        await follower.reaches(true)


async def test_what_nobody_tells_otherwise_is_not_taken() -> None:
    chain = Chain(LENGTH)
    async with following(Told(chain, chain), poll_s=0.005) as follower:
        follower.heads._subscription.pushing = True  # nothing is polled
        odd = BlockRef(
            number=LENGTH,
            hash=block_hash(LENGTH, "z"),
            parent_hash=block_hash(7, "z"),
            timestamp=chain.head.timestamp + 12,
        )
        follower.push(odd)
        await asyncio.sleep(0.05)

        assert follower.said == []
        await goes_on(follower, Told(chain))


async def hiding(told: Told, quorum: int, *, announced: bool) -> Advance:
    """Undo two blocks, and let who lies tell that one was; return what is made of it.

    `announced`: by what was pushed, else by the node that is asked first.
    """
    lies, *honest = told.chains
    async with following(told, quorum=quorum) as follower:
        kept = lies.blocks[LENGTH - 2]
        for chain in honest:
            chain.reorg(2, "b", 3)
        true = honest[0].blocks[LENGTH - 1]
        false = told_falsely(true, kept.hash)
        if announced:
            lies.reorg(2, "b", 3)
            follower.push(false)
        else:
            lies.reorg(2, "b", 3)
            lies.blocks[LENGTH - 1] = false
        follower.push(honest[0].head)
        await follower.reaches(honest[0].head)
        return follower.said[-1]


@pytest.mark.parametrize("announced", [True, False])
async def test_one_node_hides_no_reorg_where_others_are_asked(announced: bool) -> None:
    told = Told(Chain(LENGTH), Chain(LENGTH), Chain(LENGTH))

    step = await hiding(told, 2, announced=announced)

    assert [block.number for block in step.orphaned] == [LENGTH - 1, LENGTH - 2]
    assert step.adopted == tuple(told.chains[1].blocks[LENGTH - 2 :])
    assert step.doubt == ""


async def test_where_two_nodes_tell_two_things_nothing_is_sent_because_of_it() -> None:
    told = Told(Chain(LENGTH), Chain(LENGTH))

    step = await hiding(told, 2, announced=False)

    assert "2 of 2 nodes have block 299" in step.doubt
    assert "not with one parent and time" in step.doubt


async def test_a_parent_that_most_tell_and_nobody_has_is_a_doubt() -> None:
    honest, others = Chain(LENGTH), [Chain(LENGTH) for _ in range(2)]
    async with following(Told(*others, honest, honest), quorum=2) as follower:
        for chain in (honest, *others):
            chain.grow(3)
        for chain in others:
            chain.blocks[LENGTH] = told_falsely(chain.blocks[LENGTH], block_hash(7, "z"))

        follower.push(honest.head)

        await follower.reaches(honest.head)
        assert follower.said[-1].adopted == tuple(honest.blocks[LENGTH:])
        assert "block 300" in follower.said[-1].doubt


@pytest.mark.parametrize("proved", [False, True])
@pytest.mark.parametrize("quorum", [2, 3])
async def test_an_honest_reorg_is_voted_on_once_and_beyond_doubt(
    quorum: int, *, proved: bool
) -> None:
    chain = Chain(LENGTH)
    told = Told(chain, chain, chain)
    if proved:
        told.prove()
    async with following(told, quorum=quorum) as follower:
        chain.reorg(4, "b", 6)
        follower.push(chain.head)
        await follower.reaches(chain.head)

        assert len(follower.said[-1].orphaned) == 4
        assert follower.said[-1].doubt == ""
        votes = [asked for asked in told.asked.elements() if asked.startswith("each ")]
        lowest, head = LENGTH - 4, chain.head.number
        wanted = (lowest, head) if proved else range(lowest, head + 1)
        assert sorted(votes) == [*(f"each {number}" for number in wanted), "each latest"]


async def test_two_nodes_that_are_stuck_far_below_leave_the_third_followed_in_doubt() -> None:
    stuck, live = Chain(101), Chain(101)
    async with (
        Node(stuck) as first,
        Node(stuck) as second,
        Node(live) as third,
        await Rpc.open([first.url, second.url, third.url], 31337) as rpc,
    ):
        heads = HeadFollower(
            rpc, (), block_time_s=0.25, silence_s=3600, poll_s=3600, memory_blocks=4, quorum=2
        )
        one = Following(heads, live.head)
        await one.until(lambda: heads._branch is not None)
        for _ in range(6):
            live.grow()
            await one.takes(live.head)
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)

        assert all(advance.doubt and not advance.orphaned for advance in one.said)


@pytest.mark.parametrize("announced", [0, 1])
@pytest.mark.parametrize("more", [0, 1])
async def test_a_gap_is_followed_up_to_a_limit_of_blocks_that_were_not_announced(
    more: int, announced: int
) -> None:
    chain = Chain(5)
    told = Told(chain)
    async with following(told) as follower:
        await follower.takes(chain.grow())
        chain.grow(GAP_LIMIT_BLOCKS + 1 + more)  # the head itself is announced
        if announced:
            follower.push(chain.blocks[-2])
        follower.push(chain.head)

        if more and not announced:
            with pytest.raises(BranchLost, match="514 blocks after the last one taken"):
                await follower.ends()
        else:
            await follower.reaches(chain.head)


async def test_a_wide_gap_is_followed_where_it_came_of_a_long_beginning() -> None:
    chain = Chain(5)
    async with following(Told(chain)) as follower:
        await follower.until(lambda: follower.heads._branch is not None)
        chain.grow(2 * GAP_LIMIT_BLOCKS)

        await follower.takes(chain.head)


async def test_a_wide_gap_is_followed_in_doubt_rather_than_not_at_all() -> None:
    chain = Chain(5)
    told = Told(chain, Chain(5), Chain(5))
    async with following(told, quorum=2) as follower:
        for one in told.chains:
            one.grow()
        await follower.takes(chain.head)
        chain.grow(2 * GAP_LIMIT_BLOCKS)

        await follower.takes(chain.head)
        assert follower.said[-1].doubt


async def test_a_burst_of_more_heads_than_are_remembered_is_followed() -> None:
    chain = Chain(5)
    async with following(Told(chain)) as follower:
        await follower.takes(chain.grow())
        chain.grow(3 * ANNOUNCED_MOST)
        for block in chain.blocks[6:]:
            follower.push(block)

        await follower.reaches(chain.head)
        assert follower.said[-1].adopted == tuple(chain.blocks[6:])
