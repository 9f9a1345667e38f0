"""Whose word a head needs."""

import asyncio
import re
from dataclasses import replace
from typing import cast

import pytest

from keeper.app.own_faults import last_node
from keeper.chain.heads import HeadFollower
from keeper.chain.health import NodeHealth, NodeState
from keeper.chain.provider import NoAnswer
from keeper.chain.quorum import Agreed, Answers, Doubted, Outvoted, Quorum, judge
from keeper.chain.rpc import Rpc
from keeper.model import BlockRef
from keeper.units import Wei
from tests.chain_unit import standin
from tests.chain_unit.standin import Chain, Node
from tests.chain_unit.test_heads import FREELY, Follower

OURS = Chain(5).head
THEIRS = Chain(4).grow(1, "b")
FALSE = replace(OURS, parent_hash=Chain(3).grow(1, "z").hash)
LATE = replace(OURS, timestamp=OURS.timestamp + 1)
SILENT = NoAnswer("a node does not answer")


@pytest.mark.parametrize(
    ("answers", "needed", "verdict"),
    [
        ([OURS, OURS], 2, Agreed(block=OURS)),
        ([OURS, SILENT, OURS], 2, Agreed(block=OURS)),
        ([THEIRS, OURS, OURS], 2, Agreed(block=OURS)),
        ([OURS, THEIRS, THEIRS], 2, Outvoted(block=THEIRS)),
        ([THEIRS, THEIRS], 2, Outvoted(block=THEIRS)),
        ([OURS], 1, Agreed(block=OURS)),
        ([FALSE, OURS, OURS], 2, Agreed(block=OURS)),
        ([LATE, OURS, LATE], 2, Agreed(block=LATE)),
        ([LATE], 1, Agreed(block=LATE)),
    ],
)
def test_enough_nodes_decide(answers: Answers, needed: int, verdict: Agreed | Outvoted) -> None:
    assert judge(OURS, answers, needed) == verdict


@pytest.mark.parametrize(
    ("answers", "follow", "words"),
    [
        ([OURS, SILENT], OURS, "1 of 2 nodes have block 4 .*, 1 did not answer"),
        ([OURS, None], OURS, "1 of 2 nodes have block 4 .*, 1 none of that number"),
        ([THEIRS, OURS], THEIRS, "1 of 2 nodes have block 4 .*, 1 another one"),
        ([FALSE, OURS], FALSE, "2 of 2 nodes have block 4 .*, not with one parent and time$"),
        ([OURS, LATE, None], OURS, "2 of 3 nodes .*, not with one parent and time, 1 none"),
        ([SILENT, SILENT], OURS, "0 of 2 nodes have block 4 .*, 2 did not answer"),
    ],
)
def test_too_few_are_a_doubt_that_says_why(answers: Answers, follow: BlockRef, words: str) -> None:
    verdict = judge(OURS, answers, 2)

    assert isinstance(verdict, Doubted)
    assert verdict.block == follow
    assert re.match(words, verdict.reason)


@pytest.mark.parametrize("announced", [0, 7, 10**15])
@pytest.mark.parametrize(
    ("stated", "fee"),
    [([7, 7, 7], 7), ([10**15, 7, 7], 7), ([0, 7, 7], 7), ([0, 0, 7], 7), ([0, 0, 0], 0)],
)
def test_the_base_fee_is_what_most_of_those_say_who_say_one(
    stated: list[int], fee: int, announced: int
) -> None:
    verdict = judge(
        replace(OURS, base_fee_wei=Wei(announced)),
        [replace(OURS, base_fee_wei=Wei(wei)) for wei in stated],
        2,
    )

    assert isinstance(verdict, Agreed)
    assert verdict.block.base_fee_wei == fee


@pytest.mark.parametrize("announced", [OURS, THEIRS])
@pytest.mark.parametrize("first", [OURS, THEIRS])
def test_two_against_two_decide_nothing(first: BlockRef, announced: BlockRef) -> None:
    second = THEIRS if first is OURS else OURS

    verdict = judge(announced, [first, first, second, second], 2)

    assert isinstance(verdict, Doubted)
    assert "2 of 4 nodes have block 4" in verdict.reason
    assert verdict.reason.endswith("2 another one")
    assert isinstance(judge(announced, [first, first, first, second, second], 2), Agreed | Outvoted)


@pytest.mark.parametrize(
    ("said", "open_", "enough"),
    [
        ([OURS, OURS], 0, True),
        ([OURS, OURS], 1, True),
        ([OURS, OURS], 2, False),  # who have another block together
        ([OURS, OURS, OURS], 2, True),
        ([THEIRS, OURS, OURS], 1, False),
        ([THEIRS, OURS, OURS], 0, True),
        ([OURS, None], 1, False),
        ([FALSE, OURS], 1, False),
        ([replace(OURS, base_fee_wei=Wei(9)), OURS], 1, False),  # of the fee a third decides
        ([replace(OURS, base_fee_wei=Wei(9)), OURS, OURS], 0, True),
        ([None, None], 1, False),
        ([], 3, False),
    ],
)
def test_nobody_is_waited_for_who_cannot_outvote_those_who_agree(
    said: list[BlockRef | None], open_: int, enough: bool
) -> None:
    assert Quorum(cast("Rpc", None), 2)._enough(said, open_) is enough


async def test_heads_go_on_with_a_doubt_while_one_of_two_nodes_is_gone() -> None:
    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as second:
        urls = [first.url, second.url]
        async with await Rpc.open(urls, 31337, limits=FREELY, attempts=1) as rpc:
            heads = HeadFollower(rpc, poll_s=0.02, quorum=2)
            advances = heads.follow(None)
            agreed = await anext(advances)

            second.next_answers += [standin.status(503)] * 99
            chain.grow()
            doubted = await anext(advances)
            second.next_answers.clear()
            rpc._providers[1].rests_until = 0.0
            chain.grow()
            again = await anext(advances)
            await advances.aclose()

            assert agreed.doubt == ""
            assert "1 of 2 nodes have block 4" in doubted.doubt
            assert again.doubt == heads.doubt == ""
            assert again.adopted == (chain.head,)


async def test_a_node_that_is_stuck_is_asked_after_another_though_one_is_believed() -> None:
    stuck, chain = Chain(100), Chain(100)
    async with (
        Node(stuck) as first,
        Node(chain) as second,
        await Rpc.open([first.url, second.url], 31337, limits=FREELY) as rpc,
    ):
        heads = HeadFollower(rpc, silence_s=0.3, poll_s=0.02)
        heads._finality_s = 0.05
        follower = Follower(heads, stuck.head)
        await follower.reaches(chain.grow(10))
        meanwhile = [node.state for node in rpc.health]
        stuck.grow(10)
        async with asyncio.timeout(5):
            while not all(node.alive for node in rpc.health):
                stuck.grow()
                await follower.reaches(chain.grow())  # no silence
        follower.task.cancel()
        await asyncio.gather(follower.task, return_exceptions=True)

        assert meanwhile == [NodeState.LAGGING, NodeState.ALIVE]


async def test_a_node_far_ahead_of_two_others_is_not_run_after() -> None:
    chain, far = Chain(4), Chain(60_000)
    async with Node(far) as liar, Node(chain) as second, Node(chain) as third:
        urls = [liar.url, second.url, third.url]
        async with await Rpc.open(urls, 31337, limits=FREELY, attempts=1) as rpc:
            heads = HeadFollower(rpc, [liar.ws_url], silence_s=0.2, poll_s=0.02, quorum=2)
            advances = heads.follow(None)
            first = await anext(advances)
            chain.grow()
            await liar.push()
            step = await anext(advances)
            await advances.aclose()

            assert (first.adopted[-1].number, step.adopted) == (3, (chain.head,))
            assert step.doubt == ""


def test_the_last_node_of_several_is_said_with_what_ails_the_others() -> None:
    def node(name: str, state: NodeState, reason: str = "") -> NodeHealth:
        return NodeHealth(name=name, state=state, reason=reason, head=7, latency_s=0.1)

    well = node("http://a", NodeState.ALIVE)
    ill = node("http://b", NodeState.LAGGING, "has block 3, others are ahead")

    assert str(last_node([well, ill])) == (
        "1 of 2 nodes is left: http://b is lagging (has block 3, others are ahead)"
    )
    assert last_node([well, well, ill]) is None
    assert last_node([well]) is None
    assert last_node([ill]) is None
