"""What is final stays final, however far below the blocks that are held."""

from typing import cast

import pytest

from keeper.chain.branch import BranchLost
from keeper.chain.finality import Finality, FinalityBroken
from keeper.chain.heads import HeadFollower
from keeper.chain.rpc import Rpc
from tests.chain_unit.standin import Chain
from tests.chain_unit.told import Following, Told, following

POLL_S = 0.002
HELD = 65
"""Blocks that are held right after the start: the head and 64 ancestors."""


def one_node(length: int, final: int) -> Told:
    """A node with a chain of `length` blocks that calls `final` final, and says nothing of safe."""
    told = Told(Chain(length))
    told.tags[0]["finalized"] = final
    return told


async def learnt(follower: Following, told: Told, number: int) -> None:
    """Wait until block `number` of the first chain is known to be final."""
    block = told.chains[0].blocks[number]
    await follower.until(lambda: follower.heads.finalized == block)


@pytest.mark.parametrize("final", [297, 200, 30], ids=["held", "below", "far below"])
async def test_what_is_final_is_known_at_once_though_nobody_says_what_is_safe(final: int) -> None:
    told = one_node(300, final)
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, final)

        assert follower.heads.safe is None


async def test_a_reorg_deeper_than_the_memory_that_undoes_a_final_block_says_so() -> None:
    told = one_node(300, 300 - HELD - 7)
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, 300 - HELD - 7)

        told.chains[0].reorg(HELD + 8, "b", HELD + 9)

        with pytest.raises(FinalityBroken, match=r"Block 228 .* is not canonical any more"):
            await follower.ends()


async def test_a_reorg_of_all_that_is_held_says_what_was_final_in_it() -> None:
    told = one_node(300, 280)
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, 280)

        told.chains[0].reorg(HELD + 8, "b", HELD + 9)

        with pytest.raises(FinalityBroken, match=r"Block 280 .* is not canonical any more"):
            await follower.ends()


async def test_a_reorg_deeper_than_the_memory_that_leaves_what_is_final_is_only_lost() -> None:
    told = one_node(300, 300 - HELD - 7)
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, 300 - HELD - 7)

        told.chains[0].reorg(HELD + 3, "b", HELD + 4)

        with pytest.raises(BranchLost, match="shares none of the last 65 blocks") as caught:
            await follower.ends()
        assert not isinstance(caught.value, FinalityBroken)
        assert follower.heads.finalized is not None


async def test_a_final_block_of_another_branch_below_ours_is_not_believed() -> None:
    told = one_node(300, 30)
    other = Chain(10)
    other.grow(400, "b")
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, 30)
        follower.heads._finality_s = 0.0

        told.chains[0].blocks = other.blocks  # the node is on it, and our branch not yet
        told.tags[0]["finalized"] = 90
        with pytest.raises(FinalityBroken, match="Block 30 "):
            await follower.ends()


async def test_what_is_final_never_goes_back() -> None:
    told = one_node(300, 200)
    async with following(told, poll_s=POLL_S) as follower:
        follower.heads._finality_s = 0.0
        await learnt(follower, told, 200)

        told.tags[0] = {"finalized": 190, "safe": 250}
        await follower.until(lambda: follower.heads.safe is not None)
        await follower.until(lambda: told.asked["block finalized"] > 5)

        assert follower.heads.finalized == told.chains[0].blocks[200]


async def test_what_was_final_before_the_chain_was_opened_again_is_held_on_to() -> None:
    told = one_node(300, 200)
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, 200)
        kept = follower.heads.finality
    told.chains[0].reorg(101, "b", 102)  # while nobody follows

    again = HeadFollower(cast("Rpc", told), finality=kept)

    with pytest.raises(FinalityBroken, match="Block 200 "):
        await again.prove_final()


async def test_nothing_is_beyond_doubt_until_what_was_final_is_known_to_stand() -> None:
    told = one_node(300, 200)
    async with following(told, poll_s=POLL_S) as follower:
        await learnt(follower, told, 200)
        kept = follower.heads.finality
    chain = told.chains[0]
    told.lacks = {200}  # it has not come so far again, or has thrown it away
    told.tags[0]["finalized"] = 210

    again = HeadFollower(cast("Rpc", told), finality=kept)
    await again.prove_final()
    unknown = await again.doubt_about(chain.head)
    async with following(told, poll_s=POLL_S, finality=kept) as follower:
        head = chain.grow()
        await follower.reaches(head)
        doubted = follower.said[-1].doubt
        final_then = follower.heads.finalized
        told.lacks = set()
        await follower.until(lambda: follower.heads.doubt == "")
        await follower.reaches(chain.grow())

        assert unknown == doubted
        assert "whether block 200, which was final, still stands cannot be told" in doubted
        assert final_then == chain.blocks[200], "what is final by now may be another chain's"
        assert follower.said[-1].doubt == ""


async def test_what_was_undone_and_said_is_forgotten() -> None:
    told = one_node(300, 200)
    finality = Finality()
    finality.finalized = told.chains[0].blocks[200]
    told.chains[0].reorg(150, "b", 160)

    finality.forget()
    async with following(told, poll_s=POLL_S, finality=finality) as follower:
        await follower.heads.prove_final()
        await learnt(follower, told, 200)

        assert follower.heads.doubt == ""


async def test_one_node_of_several_cannot_call_a_head_final() -> None:
    chain = Chain(200)
    told = Told(chain, chain, chain)
    told.tags = [{"finalized": 199}, {"finalized": 150}, {"finalized": 150}]
    async with following(told, quorum=2, poll_s=POLL_S) as follower:
        await learnt(follower, told, 150)

        head = chain.reorg(1, "b", 2)  # which all three have

        await follower.reaches(head)
        assert follower.heads.finalized == chain.blocks[150]


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ((199, 150, 140), 150),  # two are at 150 or beyond
        ((60, 150, 150), 150),  # one that is behind holds nobody up
        ((150, 140, None), 140),
        ((150, None, None), None),
        ((None, None, None), None),
    ],
)
async def test_final_is_what_enough_nodes_have_reached(
    said: tuple[int | None, ...], final: int | None
) -> None:
    chain = Chain(200)
    told = Told(chain, chain, chain)
    told.tags = [{} if number is None else {"finalized": number} for number in said]

    async with following(told, quorum=2, poll_s=POLL_S) as follower:
        await follower.until(lambda: told.asked["each finalized"] > 0)
        await follower.rests()

        assert follower.heads.finalized == (None if final is None else chain.blocks[final])


async def test_a_final_block_that_too_few_nodes_have_is_not_learnt() -> None:
    chain, fork = Chain(200), Chain(100)
    fork.grow(100, "b")
    told = Told(chain, fork)
    told.tags = [{"finalized": 150}, {"finalized": 150}]

    async with following(told, quorum=2, poll_s=POLL_S) as follower:
        await follower.until(lambda: told.asked["each finalized"] > 0)
        await follower.rests()

        assert follower.heads.finalized is None


async def test_too_few_nodes_that_deny_a_final_block_do_not_break_it() -> None:
    chain, fork = Chain(200), Chain(100)
    fork.grow(100, "b")
    finality = Finality()
    finality.finalized = chain.blocks[150]

    heads = HeadFollower(cast("Rpc", Told(chain, fork)), quorum=2, finality=finality)
    await heads.prove_final()

    assert "1 of 2 nodes have block 150" in heads.doubt
