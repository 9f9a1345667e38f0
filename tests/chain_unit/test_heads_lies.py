"""One node of three that makes headers up, first asked: two others decide."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keeper.chain.finality import Finality
from keeper.chain.health import NodeState
from keeper.chain.quorum import VOTES_MOST, Agreed, judge
from keeper.errors import ObservationError, RpcError
from keeper.model import BlockRef, Hash
from keeper.units import Wei
from tests.chain_unit.standin import Chain, Node, block_hash
from tests.chain_unit.test_heads import following as node_following
from tests.chain_unit.told import Following, Told, following

LENGTH = 300
Answer = BlockRef | RpcError | None
Lie = Callable[[int, str | int], Answer | bool]
"""What node `index` answers when asked for a block; True for the truth."""


class Alive:
    """What a vote looks at of a node."""

    state = NodeState.ALIVE
    alive = True


class Three(Told):
    """The first of three nodes answers as `lie` says; who does not have a block is passed over."""

    health = (Alive(), Alive(), Alive())

    def __init__(self) -> None:
        super().__init__(*(Chain(LENGTH) for _ in range(3)))
        self.lie: Lie = lambda _index, _at: True

    async def block(self, at: Any = "latest") -> BlockRef:
        await asyncio.sleep(0)
        for index in range(len(self.chains)):
            found = self._of(index, at.hash if isinstance(at, BlockRef) else at)
            if isinstance(found, BlockRef):
                return found
        raise ObservationError(f"No node knows block {at}.")

    def _of(self, index: int, at: str | int) -> Answer:
        self.asked["any"] += 1
        answer = self.lie(index, at)
        return super()._of(index, at) if isinstance(answer, bool) else answer

    @property
    def true(self) -> list[BlockRef]:
        return self.chains[1].blocks

    def grow(self, count: int) -> None:
        for chain in self.chains:
            chain.grow(count)

    def reorg(self, depth: int, length: int) -> None:
        for chain in self.chains:
            chain.reorg(depth, "b", length)

    def says(self, *made_up: BlockRef) -> Lie:
        """Return the lie that these are the blocks of their numbers and hashes."""
        known: dict[str | int, BlockRef] = {block.number: block for block in made_up}
        known |= {block.hash: block for block in made_up}
        return lambda index, at: known.get(at, True) if index == 0 else True


def ancestry(told: Three, first: int, last: int) -> list[BlockRef]:
    """Made-up blocks `first` to `last`, the first built on ours, and the header above them."""
    blocks = [
        replace(
            told.true[number],
            hash=block_hash(number, "x"),
            parent_hash=block_hash(number - 1, "x"),
        )
        for number in range(first, last + 1)
    ]
    blocks[0] = replace(blocks[0], parent_hash=told.true[first - 1].hash)
    return [*blocks, replace(told.true[last + 1], parent_hash=blocks[-1].hash)]


async def takes_the_truth(follower: Following, told: Three) -> None:
    """Push the true head, and see that it and what leads to it is taken, beyond doubt."""
    follower.heads._subscription.pushing = True  # nothing is polled
    follower.push(told.true[-1])
    await follower.reaches(told.true[-1])

    step = follower.said[-1]
    assert step.adopted == tuple(told.true[step.adopted[0].number :])
    assert step.doubt == ""


async def test_a_number_that_one_node_makes_up_holds_nothing_up() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(3)
        odd = replace(told.true[LENGTH], number=5)
        told.lie = lambda index, at: odd if index == 0 and at == odd.hash else True

        await takes_the_truth(follower, told)


@pytest.mark.parametrize("off", [-1, 1, 1_000])
@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_number_that_is_made_up_of_a_head_holds_up_none_of_those_after_it(
    quorum: int, off: int
) -> None:
    told = Three()
    async with following(told, quorum=quorum, poll_s=0.005) as follower:
        told.grow(1)
        true = told.true[-1]
        follower.push(replace(true, number=true.number + off))
        told.grow(2)

        await takes_the_truth(follower, told)
        assert follower.said[-1].adopted[0] == true


@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_number_that_is_told_over_http_too_is_asked_of_the_others(quorum: int) -> None:
    told = Three()
    async with following(told, quorum=quorum, poll_s=0.005) as follower:
        told.grow(2)
        odd = replace(told.true[LENGTH], number=LENGTH + 1)
        told.lie = lambda index, at: odd if index == 0 and at in (LENGTH, odd.hash) else True
        follower.push(odd)

        await takes_the_truth(follower, told)


@pytest.mark.parametrize("first", [LENGTH, LENGTH - 20, LENGTH - 64])
async def test_blocks_made_up_under_a_gap_are_not_taken(first: int) -> None:
    told = Three()
    finality = Finality()
    finality.finalized = told.true[LENGTH - 10]
    async with following(told, quorum=2, poll_s=0.005, finality=finality) as follower:
        told.grow(5)
        told.lie = told.says(*ancestry(told, first, LENGTH + 1))

        await takes_the_truth(follower, told)


def side_blocks(told: Three, first: int) -> BlockRef:
    """Let every node remember an orphaned branch from `first` up to our head; return its end."""
    parent = told.true[first - 1].hash
    for block in told.true[first:]:
        side = replace(block, hash=block_hash(block.number, "v"), parent_hash=parent)
        for chain in told.chains:
            chain.orphans[side.hash] = side
        parent = side.hash
    return side


@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize("first", [LENGTH - 1, LENGTH - 20, 100])
async def test_an_orphaned_branch_that_all_nodes_remember_is_not_gone_back_to(
    first: int, over_http: bool
) -> None:
    told = Three()
    finality = Finality()
    finality.finalized = told.true[LENGTH - 1]
    side = side_blocks(told, first)
    async with following(told, quorum=2, poll_s=0.005, finality=finality) as follower:
        told.grow(2)
        false = replace(told.true[LENGTH], parent_hash=side.hash)
        if over_http:
            told.lie = told.says(false)
        else:
            follower.push(false)

        await takes_the_truth(follower, told)
        assert follower.said[-1].orphaned == ()


@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize("at", [LENGTH, LENGTH + 1, LENGTH + 3])
async def test_an_orphaned_block_in_the_middle_of_a_gap_is_not_taken_for_the_canonical_one(
    at: int, *, over_http: bool
) -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(6)
        side = replace(told.true[at], hash=block_hash(at, "v"))  # its parent is the true one
        for chain in told.chains:
            chain.orphans[side.hash] = side
        false = replace(told.true[at + 1], parent_hash=side.hash)
        if over_http:
            told.lie = told.says(false)
        else:
            follower.push(false)

        await takes_the_truth(follower, told)
        assert follower.said[-1].adopted[0] == told.true[LENGTH]


async def test_headers_that_prove_themselves_are_not_voted_on_and_a_lie_among_them_is() -> None:
    told = Three()
    told.prove()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(20)
        side = replace(told.true[LENGTH + 5], hash=block_hash(LENGTH + 5, "v"))
        for chain in told.chains:
            chain.orphans[side.hash] = side
        follower.push(replace(told.true[LENGTH + 6], parent_hash=side.hash))
        told.asked.clear()

        await takes_the_truth(follower, told)
        votes = {asked for asked in told.asked if asked.startswith(f"each {LENGTH // 100}")}
        assert votes == {f"each {LENGTH + at}" for at in (0, 6, 19)}
        assert follower.said[-1].adopted[0] == told.true[LENGTH]


async def test_headers_that_prove_nothing_are_voted_on_some_at_a_time_and_not_without_end() -> None:
    told = Three()
    async with following(told, quorum=2) as follower:
        told.grow(200)
        told.asked.clear()
        await follower.takes(told.true[-1])

        votes = [asked for asked in told.asked.elements() if asked.startswith("each ")]
        ends = {f"each {number}" for number in (told.true[-1].number, LENGTH, LENGTH - 1)}
        assert ends < set(votes)  # the head, the lowest, and what it was followed from
        assert len(votes) == len(set(votes)) == len(ends) + VOTES_MOST
        assert f"each {LENGTH}" in votes
        assert follower.said[-1].doubt == ""


async def test_a_head_that_one_node_calls_its_own_ancestor_is_taken() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(3)
        below, head = told.true[-2:]
        upper = replace(below, parent_hash=head.hash)
        lower = replace(told.true[-3], hash=head.hash)
        lies: dict[str | int, BlockRef] = {head.hash: lower, below.hash: upper, below.number: upper}
        told.lie = lambda index, at: lies.get(at, True) if index == 0 else True

        await takes_the_truth(follower, told)


async def test_an_ancestry_made_up_beyond_what_is_held_does_not_end_the_following() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(5)
        told.lie = told.says(*ancestry(told, 100, LENGTH + 1))

        await takes_the_truth(follower, told)


async def test_a_head_whose_parent_is_reorganised_meanwhile_is_in_doubt() -> None:
    told = Three()
    async with following(told, quorum=2) as follower:
        told.grow(2)
        other = replace(told.true[LENGTH], hash=block_hash(LENGTH, "w"))
        told.lie = lambda index, at: other if index and at == LENGTH else True

        await follower.takes(told.true[-1])
        assert follower.said[-1].doubt == "most nodes tell block 300 otherwise than it was told"


async def test_where_it_is_one_word_against_another_nothing_final_is_called_undone() -> None:
    told = Three()
    told.chains.pop()
    finality = Finality()
    finality.finalized = told.true[LENGTH - 10]
    async with following(told, quorum=2, poll_s=0.005, finality=finality) as follower:
        told.grow(5)
        told.lie = told.says(*ancestry(told, LENGTH - 20, LENGTH + 1))
        follower.heads._subscription.pushing = True
        follower.push(told.true[-1])
        await asyncio.sleep(2)

        assert follower.said == []
        told.lie = lambda _index, _at: True
        await takes_the_truth(follower, told)


async def test_one_node_is_not_believed_while_the_truth_is_not_to_be_had() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        ours = told.true[-1]
        told.reorg(1, 2)
        hidden, new = told.true[-2].hash, told.true[-1]
        lies: dict[Hash, BlockRef | None] = {hidden: None}
        false = replace(new, parent_hash=ours.hash)

        def lie(index: int, at: str | int) -> Answer | bool:
            if at == hidden and hidden in lies:
                return None  # nobody has it by hash just now
            return false if index == 0 and at in (new.number, new.hash) else True

        told.lie = lie
        follower.heads._subscription.pushing = True
        follower.push(new)
        await asyncio.sleep(0.05)
        assert follower.said == []

        lies.clear()
        await takes_the_truth(follower, told)
        assert follower.said[-1].orphaned == (ours,)


async def test_a_walk_down_what_is_made_up_has_an_end() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.reorg(1, 2)
        hidden, new = told.true[-2].hash, told.true[-1]
        gone = {hidden}

        def made(number: int) -> BlockRef:
            return replace(
                new,
                number=number,
                hash=block_hash(number, "x"),
                parent_hash=block_hash(number - 1, "x"),
            )

        def lie(index: int, at: str | int) -> Answer | bool:
            if at in gone:
                return None
            if index == 0 and at == new.hash:
                return replace(made(10**12), hash=new.hash)
            if index == 0 and isinstance(at, str) and at.startswith(block_hash(0, "x")[:34]):
                return made(int(at[34:], 16))
            return True

        told.lie = lie
        follower.heads._subscription.pushing = True
        follower.push(new)
        await asyncio.sleep(0.05)
        assert told.asked["any"] < 1_000

        gone.clear()
        await takes_the_truth(follower, told)


async def test_who_does_not_have_what_a_gap_leads_to_yet_is_waited_for() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(3)
        missing = [LENGTH] * 4

        def lie(index: int, at: str | int) -> Answer | bool:
            if index and at == LENGTH and missing:
                missing.pop()
                return None
            return True

        told.lie = lie
        await takes_the_truth(follower, told)
        assert not missing


def test_a_base_fee_that_a_node_leaves_out_is_not_voted_on() -> None:
    told = Three().true[-1]
    bare = replace(told, base_fee_wei=Wei(0))

    assert judge(told, [bare, told, bare], 2) == Agreed(block=told)
    assert told.base_fee_wei == 7


async def test_a_base_fee_that_one_node_leaves_out_casts_no_doubt() -> None:
    told = Three()
    async with following(told, quorum=2, poll_s=0.005) as follower:
        told.grow(4)
        first = told.chains[0].blocks
        first[LENGTH:] = [replace(block, base_fee_wei=Wei(0)) for block in first[LENGTH:]]
        follower.heads._subscription.pushing = True
        follower.push(told.true[-1])
        await follower.until(lambda: follower.said)

        assert [block.hash for block in follower.said[-1].adopted] == [
            block.hash for block in told.true[LENGTH:]
        ]
        assert follower.said[-1].doubt == ""
        assert await follower.heads.doubt_about(told.true[-1]) == ""
        assert follower.said[-1].adopted[-1].base_fee_wei == 7


@pytest.mark.parametrize("quorum", [1, 2])
async def test_a_base_fee_that_was_not_pushed_is_asked_for(quorum: int) -> None:
    told = Three()
    async with following(told, quorum=quorum) as follower:
        for _ in range(20):
            told.grow(1)
            follower.push(replace(told.true[-1], base_fee_wei=Wei(0)))
            await follower.reaches(told.true[-1])

        assert [step.adopted[-1].base_fee_wei for step in follower.said] == [7] * 20


async def test_a_base_fee_that_one_node_makes_up_is_not_paid() -> None:
    told = Three()
    async with following(told, quorum=2) as follower:
        told.grow(1)
        follower.push(replace(told.true[-1], base_fee_wei=Wei(10**15)))
        await follower.until(lambda: follower.said)

        assert follower.said[-1].adopted == (told.true[-1],)
        assert follower.said[-1].doubt == ""
        assert await follower.heads.doubt_about(told.true[-1]) == ""


async def test_a_chain_without_base_fees_is_asked_for_one_ever_more_rarely() -> None:
    chain = Chain(LENGTH)
    told = Told(chain)
    async with following(told) as follower:
        before = told.asked.total()
        for _ in range(20):
            chain.blocks.append(replace(chain.grow(), base_fee_wei=Wei(0)))
            del chain.blocks[-2]
            await follower.takes(chain.head)

        assert told.asked.total() - before == 5  # of the 1st, 2nd, 4th, 8th and 16th


async def test_a_base_fee_that_cannot_be_asked_for_now_is_asked_for_at_the_next_head() -> None:
    chain = Chain(LENGTH)
    told = Told(chain)
    async with following(told) as follower:
        fees: list[Wei] = []
        for number in range(LENGTH, LENGTH + 5):
            true = chain.grow()
            if number == LENGTH + 1:
                chain.blocks.pop()
            follower.push(replace(true, base_fee_wei=Wei(0)))
            await follower.until(lambda: len(follower.said) > len(fees))
            if number == LENGTH + 1:
                chain.blocks.append(true)
            fees.append(follower.said[-1].adopted[-1].base_fee_wei)

        assert fees == [7] * 5, "the last one known stands in"


# --- a WebSocket that is heard and brings nothing of use ----------------------------------------


def far(told: Three, by: int) -> BlockRef:
    """A head that cannot be joined to anything."""
    number = told.true[-1].number + by
    return replace(
        told.true[-1],
        number=number,
        hash=block_hash(number, "z"),
        parent_hash=block_hash(number - 1, "z"),
    )


@pytest.mark.parametrize("what", ["held", "not to be joined", "far ahead"])
@pytest.mark.parametrize("quorum", [1, 2])
async def test_what_is_pushed_without_use_does_not_keep_others_from_being_asked(
    quorum: int, what: str
) -> None:
    told = Three()
    async with following(told, quorum=quorum, poll_s=0.005, silence_s=0.05) as follower:
        held = told.true[-1]
        follower.heads._subscription.pushing = True
        told.grow(3)
        useless = {"held": held, "not to be joined": far(told, 5), "far ahead": far(told, 60_000)}

        def pushed_again() -> bool:
            follower.push(useless[what])
            return bool(follower.said) and follower.said[-1].adopted[-1] == told.true[-1]

        await follower.until(pushed_again)


async def test_nobody_is_asked_while_a_head_is_worked_on_and_others_are_pushed() -> None:
    async with Node(Chain(5)) as node, node_following(node, silence_s=0.2) as follower:
        await follower.is_pushed_to(node)
        follower.may_take.clear()
        node.chain.grow()
        await node.push()
        await follower.reaches(node.chain.head)
        node.seen.clear()
        for _ in range(10):
            await asyncio.sleep(0.03)
            node.chain.grow()
            await node.push()

        assert [asked for _, asked in node.seen if asked[0] == "latest"] == []


@pytest.mark.parametrize("off", [0, 5])
async def test_a_socket_that_pushes_without_use_is_given_up(off: int) -> None:
    async with Node(Chain(5)) as node, node_following(node, silence_s=0.1) as follower:
        useless = node.chain.head
        if off:
            useless = replace(useless, number=off + 4, hash=block_hash(1, "z"))
            useless = replace(useless, parent_hash=block_hash(2, "z"))
        node.chain.grow(2)
        async with asyncio.timeout(5):
            while node.count("eth_subscribe") < 2:
                await node.push(useless)
                await asyncio.sleep(0.01)
                if follower.said and follower.said[-1].adopted[-1] == node.chain.head:
                    node.chain.grow()  # it was asked for before the first was pushed

        await follower.reaches(node.chain.head)


@pytest.mark.parametrize("ahead", [1, 30, 2_000])
async def test_one_node_is_not_followed_for_being_ahead_of_those_that_agree(ahead: int) -> None:
    told = Three()
    async with following(told, quorum=2) as follower:
        told.chains[0].reorg(3, "f", 3 + ahead)
        follower.push(told.chains[0].head)
        await asyncio.sleep(0.9 if ahead == 30 else 0)
        stayed = list(follower.said)
        for chain in told.chains:
            chain.grow(2, "a" if chain is not told.chains[0] else "f")
        follower.push(told.chains[0].head)
        await follower.reaches(told.true[-1])

        assert stayed == []
        assert follower.said[-1].orphaned == ()
        assert follower.said[-1].doubt == follower.heads.doubt == ""


async def test_a_fork_that_was_followed_in_doubt_is_left_for_what_enough_nodes_agree_on() -> None:
    told = Three()
    async with following(told, quorum=2) as follower:
        fork = told.chains[0]
        fork.grow(1, "f")
        await follower.takes(fork.head)
        assert "1 of 3 nodes have block 300" in follower.said[-1].doubt

        for chain in told.chains[1:]:
            chain.grow(1)
        fork.grow(1, "f")
        follower.push(fork.head)

        await follower.reaches(told.true[-1])
        assert [block.number for block in follower.said[-1].orphaned] == [LENGTH]
        assert follower.said[-1].doubt == ""


async def test_a_socket_whose_heads_are_outvoted_three_times_in_a_row_is_given_up() -> None:
    told = Three()
    fork = told.chains[0]
    async with following(told, quorum=2) as follower:
        reasons: list[str] = []
        follower.heads._subscription.drop = reasons.append  # type: ignore[method-assign, assignment]
        fork.reorg(3, "f", 20)
        for _ in range(3):
            assert reasons == []
            for chain in told.chains[1:]:
                chain.grow()
            follower.push(fork.grow(1, "f"))
            await follower.reaches(told.true[-1])

        assert reasons == ["pushes what the other nodes do not have"]


async def test_a_socket_that_is_ahead_of_the_others_on_their_chain_is_kept() -> None:
    told = Three()
    async with following(told, quorum=2) as follower:
        reasons: list[str] = []
        follower.heads._subscription.drop = reasons.append  # type: ignore[method-assign, assignment]
        told.chains[0].grow()
        for _ in range(4):
            for chain in told.chains:
                chain.grow()
            for block in told.chains[0].blocks[-2:]:
                follower.push(block)
            await follower.reaches(told.true[-1])

        assert reasons == []
        assert [step.doubt for step in follower.said] == [""] * 4
