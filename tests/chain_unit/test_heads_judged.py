"""Heads that are old, made up or impossible cost a question, and never the branch."""

from dataclasses import replace

import pytest

from keeper.chain.branch import BranchLost
from tests.chain_unit.standin import Chain, block_hash
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
        follower.heads._subscription.connected = True  # nothing is polled
        told.latest = ahead.blocks[-2]
        follower.push(sibling)
        await follower.until(lambda: told.asked["block latest"] > 3)
        before = len(follower.said)

        ahead.reorg(1, "b")
        told.latest = None
        await follower.reaches(sibling)

        assert before == 0
        assert [block.number for block in follower.said[-1].orphaned] == [LENGTH - 1]
