"""What one node told while it was alone: told again once enough nodes agree."""

import asyncio
from dataclasses import replace

import pytest

from keeper.chain import quorum
from keeper.chain.branch import BranchLost
from keeper.chain.finality import FinalityBroken
from keeper.chain.quorum import VOTES_MOST
from keeper.errors import RpcError
from keeper.model import BlockRef
from tests.chain_unit.standin import Chain, block_hash
from tests.chain_unit.test_heads_lies import LENGTH, Alive, Lie, Three
from tests.chain_unit.told import Following, following


class Away(Alive):
    """One that is not waited for."""

    alive = False


class Alone(Three):
    """The first of three nodes is alone until the others are `back`."""

    def __init__(self) -> None:
        super().__init__()
        self.alone()

    def alone(self, *made_up: BlockRef) -> None:
        """Let the others be down, and the first tell `made_up`."""
        self.health = (Alive(), Away(), Away())
        self.lie = others_fail(self.says(*made_up))

    def back(self, *made_up: BlockRef) -> None:
        """Let all answer again, the first still telling `made_up`."""
        self.health = (Alive(), Alive(), Alive())
        self.lie = self.says(*made_up)


def others_fail(lie: Lie) -> Lie:
    return lambda index, at: RpcError("It is down.") if index else lie(index, at)


def block_with_two_histories(told: Alone) -> tuple[BlockRef, BlockRef]:
    """Grow by two; return a made-up block, and the true one above it with that for a parent."""
    told.grow(2)
    false = replace(told.true[LENGTH], hash=block_hash(LENGTH, "x"))
    return false, replace(told.true[LENGTH + 1], parent_hash=false.hash)


async def take(follower: Following, *blocks: BlockRef) -> None:
    for block in blocks:
        await follower.takes(block)


@pytest.mark.parametrize("proved", [False, True])
async def test_what_a_node_made_up_alone_is_undone_once_enough_agree(*, proved: bool) -> None:
    told = Alone()
    if proved:
        told.prove()
    async with following(told, quorum=2) as follower:
        false, above = block_with_two_histories(told)
        told.alone(false, above)
        await take(follower, false, above)
        assert all(step.doubt for step in follower.said)

        told.back()
        told.grow(1)
        await take(follower, told.true[-1])

        step = follower.said[-1]
        assert step.orphaned == (above, false)
        assert step.adopted == tuple(told.true[LENGTH:])
        assert step.doubt == ""


async def test_what_was_true_stays() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(5)
        await take(follower, *told.true[LENGTH:])
        assert all(step.doubt for step in follower.said)

        told.back()
        told.grow(1)
        await take(follower, told.true[-1])

        step = follower.said[-1]
        assert (step.orphaned, step.adopted, step.doubt) == ((), (told.true[-1],), "")


async def test_what_is_undone_begins_with_what_is_told_otherwise() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(5)
        late = replace(told.true[LENGTH + 3], timestamp=told.true[LENGTH + 3].timestamp + 7)
        told.alone(late)
        blocks = [*told.true[LENGTH : LENGTH + 3], late, told.true[LENGTH + 4]]
        await take(follower, *blocks)

        told.back()
        told.grow(1)
        await take(follower, told.true[-1])

        step = follower.said[-1]
        assert step.orphaned == (told.true[LENGTH + 4], late)
        assert step.adopted == tuple(told.true[LENGTH + 3 :])


async def test_once_told_again_nothing_is_asked_twice() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(5)
        await take(follower, *told.true[LENGTH:])
        told.back()
        told.grow(1)
        await take(follower, told.true[-1])
        told.asked.clear()

        told.grow(1)
        await take(follower, told.true[-1])

        assert dict(told.asked) == {f"each {LENGTH + 6}": 1, "any": 3}


async def test_where_it_cannot_be_told_again_the_doubt_goes_on_and_no_chain_is_lost() -> None:
    told = Alone()
    told.chains.pop()  # one honest, one that lies: no majority for anything
    async with following(told, quorum=2) as follower:
        false, above = block_with_two_histories(told)
        told.alone(false, above)
        await take(follower, false, above)

        told.back(false, above)
        told.grow(2)
        await take(follower, *told.true[-2:])
        for step in follower.said[-2:]:
            assert step.orphaned == ()
            assert "what was taken in doubt is not agreed on" in step.doubt

        told.back()
        told.grow(1)
        await take(follower, told.true[-1])

        step = follower.said[-1]
        assert step.orphaned == (*reversed(told.true[LENGTH + 2 : LENGTH + 4]), above, false)
        assert (step.adopted, step.doubt) == (tuple(told.true[LENGTH:]), "")


async def test_a_false_ancestry_beyond_what_is_held_does_not_end_the_following() -> None:
    told = Alone()
    told.chains.pop()
    async with following(told, quorum=2, memory_blocks=8) as follower:
        told.grow(2)
        await take(follower, *told.true[LENGTH:])
        made_up = [
            replace(
                told.true[number],
                hash=block_hash(number, "x"),
                parent_hash=block_hash(number - 1, "x"),
            )
            for number in range(LENGTH - 20, LENGTH + 1)
        ]
        above = replace(told.true[LENGTH + 1], parent_hash=made_up[-1].hash)
        told.back(*made_up, above)
        told.grow(1)
        follower.heads._mailbox.headers.clear()  # what was pushed was true

        await take(follower, told.true[-1])

        assert follower.said[-1].orphaned == ()
        assert follower.said[-1].doubt


async def test_where_all_that_is_held_was_taken_in_doubt_history_is_read_again() -> None:
    told = Alone()
    async with following(told, quorum=2, memory_blocks=4) as follower:
        told.grow(5)
        await take(follower, *told.true[LENGTH:])
        told.back()
        told.grow(1)
        follower.push(told.true[-1])

        with pytest.raises(BranchLost, match="were taken in doubt: read the history again"):
            await follower.ends()


async def test_a_chain_that_shares_nothing_with_what_is_held_is_lost_though_its_head_joins() -> (
    None
):
    told = Alone()
    async with following(told, quorum=2, memory_blocks=8) as follower:
        ours = told.chains[0].head
        told.reorg(20, 21)
        told.alone(replace(told.true[-1], parent_hash=ours.hash))
        await take(follower, replace(told.true[-1], parent_hash=ours.hash))
        assert follower.said[-1].doubt
        told.back()
        told.grow(2)
        await take(follower, told.true[-2])
        assert "is built on another one than is held" in follower.said[-1].doubt
        follower.push(told.true[-1])

        with pytest.raises(BranchLost, match="were taken in doubt: read the history again"):
            await follower.ends()


async def test_a_reorg_in_doubt_is_told_again_as_far_as_it_undid() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.back()
        told.grow(3)
        await take(follower, *told.true[LENGTH:])
        told.grow(1)
        told.alone()
        await take(follower, told.true[-1])
        told.grow(2)
        side = fork(told.true[LENGTH:])
        told.alone(*side)
        told.latest = side[-1]
        await take(follower, side[-1])
        lost = replace(side[1], hash=block_hash(LENGTH + 1, "z"))
        told.grow(1)
        false = [lost, replace(told.true[LENGTH + 2], parent_hash=lost.hash)]
        false += told.true[LENGTH + 3 :]
        told.alone(*false)
        told.latest = false[-1]
        follower.heads._mailbox.headers.clear()  # what was pushed was true
        await take(follower, false[-1])
        undone = [(len(step.orphaned), bool(step.doubt)) for step in follower.said[-3:]]
        assert undone == [(0, True), (3, True), (5, True)]

        told.back()
        told.latest = None
        told.grow(1)
        await take(follower, told.true[-1])

        assert follower.said[-1].orphaned == tuple(reversed(false))
        assert follower.said[-1].adopted == tuple(told.true[LENGTH + 1 :])


async def test_a_final_block_that_is_told_again_is_not_undone() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(6)
        late = replace(told.true[LENGTH], timestamp=told.true[LENGTH].timestamp + 7)
        told.alone(late)
        await take(follower, late, *told.true[LENGTH + 1 :])
        told.back()
        told.tags = [{"finalized": LENGTH + 2} for _ in told.chains]
        await learn_what_is_final(follower)
        assert follower.heads.finalized == told.true[LENGTH + 2]
        told.grow(1)

        await take(follower, told.true[-1])

        assert len(follower.said[-1].orphaned) == 6


async def test_many_blocks_taken_in_doubt_are_voted_on_some_at_each_head() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(VOTES_MOST + 10)
        await take(follower, *told.true[LENGTH:])
        told.back()
        for left in (11, 0):
            told.asked.clear()
            told.grow(1)
            await take(follower, told.true[-1])

            assert not follower.said[-1].orphaned
            assert follower.said[-1].doubt.endswith(f"voted on: {left}") is bool(left)
            assert told.asked.total() <= 4 * (VOTES_MOST + 2)
        assert follower.said[-1].doubt == ""


async def test_history_is_read_again_where_more_stands_on_a_lie_than_is_voted_on_at_once() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        false, above = block_with_two_histories(told)
        told.grow(VOTES_MOST)
        told.alone(false, above)
        await take(follower, false, above, *told.true[LENGTH + 2 :])
        told.back()
        told.grow(1)
        follower.push(told.true[-1])

        with pytest.raises(BranchLost, match="Block 300 is not the one that was taken in doubt"):
            await follower.ends()


async def test_what_nodes_that_are_behind_have_is_voted_on_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quorum, "BEHIND_PAUSES_S", (0.0,))
    told = Alone()
    behind = [Chain(LENGTH) for _ in range(2)]
    async with following(told, quorum=2, memory_blocks=16) as follower:
        told.chains[1:] = behind
        told.health = (Alive(), Away(), Away())
        told.lie = told.says()
        await take(follower, told.chains[0].grow())
        told.health = (Alive(), Alive(), Alive())
        for _ in range(40):
            for chain in behind:
                chain.grow()
            await take(follower, told.chains[0].grow())
        assert all(step.doubt for step in follower.said)
        for chain in behind:
            chain.grow(2)

        await take(follower, told.chains[0].grow())

        assert (follower.said[-1].orphaned, follower.said[-1].doubt) == ((), "")


async def test_headers_that_prove_themselves_need_no_vote() -> None:
    told = Alone()
    told.prove()
    async with following(told, quorum=2) as follower:
        told.grow(VOTES_MOST + 10)
        await take(follower, *told.true[LENGTH:])
        for block in told.true:
            told.shown[block.hash] = block
        told.back()
        told.asked.clear()
        told.grow(1)

        await take(follower, told.true[-1])

        assert dict(told.asked) == {f"each {told.true[-1].number}": 1, "any": 3}
        assert follower.said[-1].doubt == ""


async def test_a_true_block_above_one_that_was_made_up_is_taken_again() -> None:
    told = Alone()
    told.prove()
    async with following(told, quorum=2) as follower:
        false, above = block_with_two_histories(told)
        told.grow(3)
        told.alone(false, above)
        await take(follower, false, above, *told.true[LENGTH + 2 :])
        for block in told.true:
            told.shown[block.hash] = block
        told.back()
        told.grow(1)

        await take(follower, told.true[-1])

        assert follower.said[-1].orphaned == (
            *told.true[LENGTH + 4 : LENGTH + 1 : -1],
            above,
            false,
        )
        assert follower.said[-1].adopted == tuple(told.true[LENGTH:])
        assert follower.said[-1].doubt == ""


async def test_a_block_that_was_told_under_another_number_is_undone() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(3)
        false = replace(told.true[LENGTH], hash=told.true[LENGTH + 1].hash)
        told.alone(false)
        told.latest = false
        await take(follower, false)
        told.back()
        told.latest = None

        await take(follower, told.true[-1])

        assert follower.said[-1].orphaned == (false,)
        assert follower.said[-1].adopted == tuple(told.true[LENGTH:])


async def test_what_stands_on_a_block_that_was_told_under_another_number_is_undone_with_it() -> (
    None
):
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(4)
        false = replace(told.true[LENGTH], hash=told.true[LENGTH + 3].hash)
        above = replace(told.true[LENGTH + 1], parent_hash=false.hash)
        told.alone(false, above)
        told.latest = told.true[LENGTH + 2]
        await take(follower, false, above, told.true[LENGTH + 2])
        follower.heads._mailbox.headers.clear()
        told.back()
        told.latest = None
        told.grow(1)

        await take(follower, told.true[-1])

        assert follower.said[-1].orphaned == (told.true[LENGTH + 2], above, false)
        assert follower.said[-1].adopted == tuple(told.true[LENGTH:])
        assert follower.said[-1].doubt == ""


async def test_no_hash_is_held_under_two_numbers() -> None:
    told = Alone()
    async with following(told, quorum=2, poll_s=0.005, memory_blocks=8) as follower:
        told.grow(4)
        false = replace(told.true[LENGTH], hash=told.true[LENGTH + 3].hash)
        above = replace(told.true[LENGTH + 1], parent_hash=false.hash)
        told.alone(false, above)
        told.latest = told.true[LENGTH + 2]
        await take(follower, false, above, told.true[LENGTH + 2])
        follower.heads._mailbox.headers.clear()
        told.alone()
        told.grow(1)
        told.latest = None
        follower.push(told.true[-1])
        await asyncio.sleep(0.05)

        told.back()
        for _ in range(10):
            told.grow(1)
            await take(follower, told.true[-1])

        assert follower.said[-1].doubt == ""


async def test_a_final_block_that_is_undone_is_said_though_others_are_still_to_be_voted_on() -> (
    None
):
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(VOTES_MOST + 10)
        await take(follower, *told.true[LENGTH:])
        told.back()
        told.tags = [{"finalized": len(told.true) - 2} for _ in told.chains]
        await learn_what_is_final(follower)
        assert follower.heads.finalized == told.true[-2]
        told.reorg(2, 3)
        follower.push(told.true[-1])

        with pytest.raises(FinalityBroken):
            await follower.ends()


async def test_nodes_that_are_behind_vouch_for_nothing_above_what_is_not_held_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quorum, "BEHIND_PAUSES_S", (0.0,))
    told = Alone()
    async with following(told, quorum=2, memory_blocks=8) as follower:
        told.back()
        told.grow(2)
        await take(follower, *told.true[-2:])
        told.alone()
        told.grow(8)
        await take(follower, *told.true[-8:])
        told.back()
        told.chains[0].grow()
        await take(follower, told.chains[0].head)
        assert follower.said[-1].doubt
        for chain in told.chains[1:]:
            chain.grow(2)
        told.chains[0].grow()
        follower.push(told.true[-1])

        with pytest.raises(BranchLost, match="were taken in doubt: read the history again"):
            await follower.ends()


async def test_a_lie_near_the_end_of_what_is_voted_on_at_once_is_undone_at_the_next_head() -> None:
    told = Alone()
    async with following(told, quorum=2) as follower:
        told.grow(VOTES_MOST + 5)
        late = replace(told.true[LENGTH + 60], timestamp=1)
        told.alone(late)
        blocks = [*told.true[LENGTH : LENGTH + 60], late, *told.true[LENGTH + 61 :]]
        await take(follower, *blocks)
        told.back()
        for _ in range(2):
            told.grow(1)
            await take(follower, told.true[-1])

        first, second = follower.said[-2:]
        assert (first.orphaned, bool(first.doubt)) == ((), True)
        assert (second.orphaned[-1], second.doubt) == (late, "")


async def test_history_is_read_again_where_what_was_vouched_for_is_not_held_any_more() -> None:
    told = Alone()
    async with following(told, quorum=2, memory_blocks=8) as follower:
        told.back()
        told.grow(2)
        await take(follower, *told.true[-2:])
        told.alone()
        told.grow(8)
        await take(follower, *told.true[-8:])
        told.back()
        told.grow(1)
        follower.push(told.true[-1])

        with pytest.raises(BranchLost, match="were taken in doubt: read the history again"):
            await follower.ends()


async def test_what_is_followed_from_is_voted_on_too() -> None:
    told = Alone()
    told.back()
    true = told.true[-1]
    told.chains[0].blocks[-1] = replace(true, timestamp=true.timestamp + 7)
    async with following(told, quorum=2) as follower:
        told.grow(1)

        await take(follower, told.true[-1])

        step = follower.said[-1]
        assert step.orphaned == (told.chains[0].blocks[-2],)
        assert (step.adopted, step.doubt) == (tuple(told.true[-2:]), "")


async def test_a_block_that_is_its_own_ancestor_is_not_taken() -> None:
    told = Alone()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(4)
        twice = block_hash(LENGTH + 1, "x")
        upper = replace(told.true[LENGTH + 2], hash=twice, parent_hash=twice)
        lower = replace(told.true[LENGTH + 1], hash=twice, parent_hash=told.true[LENGTH].hash)
        head = replace(told.true[LENGTH + 3], hash=block_hash(0, "y"), parent_hash=twice)
        answers = [upper]
        told.alone(head)
        rest = told.lie
        told.lie = lambda index, at: (
            (answers.pop() if answers else lower) if (index, at) == (0, twice) else rest(index, at)
        )
        follower.push(head)
        await asyncio.sleep(0.1)
        assert not answers

        told.back()
        told.grow(1)
        await take(follower, told.true[-1])

        assert follower.said[-1].doubt == ""


async def learn_what_is_final(follower: Following) -> None:
    assert follower.heads._branch is not None
    await follower.heads.finality.learn(follower.heads._quorum, follower.heads._branch)


def fork(blocks: list[BlockRef]) -> list[BlockRef]:
    """Return others in place of all `blocks` but the first."""
    made = blocks[:1]
    for block in blocks[1:]:
        hash_ = block_hash(block.number, "y")
        made.append(replace(block, hash=hash_, parent_hash=made[-1].hash))
    return made
