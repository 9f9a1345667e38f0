"""What is said of nodes that cannot do everything."""

from collections.abc import Callable
from typing import Any

import pytest

from keeper.chain import subscription
from keeper.chain.doctor import Finding, Grade, examine
from keeper.chain.provider import Limits
from keeper.chain.rpc import Rpc
from tests.chain_unit.standin import Chain, Node, Refusal
from tests.chain_unit.test_reader import said

QUICK = Limits(calls_per_second=100_000, timeout_s=0.5)
NOW = 1_700_000_000.0 + 12 * 20 + 3


def able(chain: Chain) -> Node:
    """A node that can do everything the doctor asks for."""
    node = Node(chain)
    node.final = 10
    node.answers |= {
        "eth_getLogs": lambda _: [],
        "eth_call": lambda params: reads(chain, params),
        "eth_getCode": lambda _: "0x",
        "eth_getBalance": lambda _: "0x0",
        "eth_getBlockReceipts": lambda _: [],
        "eth_syncing": lambda _: False,
    }
    return node


def reads(chain: Chain, params: list[Any], *, at: int | None = None, results: int = 1) -> str:
    """Answer the lens, run at the block asked for or `at` another, and the plain call."""
    if "to" in params[0]:
        return str(params[0]["data"])
    [asked] = [block for block in chain.blocks if block.hash == params[1]["blockHash"]]
    block = asked if at is None else chain.blocks[at]
    return "0x" + said(*[(1, b"k")] * results, at=block).hex()


def no_lens(params: list[Any]) -> Any:
    if "to" not in params[0]:
        raise Refusal(-32602, "missing field: to")
    return params[0]["data"]


async def told(*nodes: Node, now: float = NOW, ws: bool = True) -> tuple[Finding, ...]:
    urls = [node.url for node in nodes]
    async with await Rpc.open(urls, 31337, limits=QUICK, attempts=1) as rpc:
        sockets = [nodes[0].ws_url] if ws else []
        return await examine(rpc, sockets, block_time_s=12.0, now=lambda: now)


async def test_a_node_that_can_do_everything_is_ok() -> None:
    async with able(Chain(21)) as node:
        found = await told(node)

        assert [(f.grade, f.says) for f in found] == [
            (Grade.OK, "block 20"),
            (Grade.OK, "pushes heads"),
        ]
        assert "SECRET" not in repr(found)


def _no(_: list[Any]) -> Any:
    raise Refusal(-32602, "no")


def no_hash(params: list[Any]) -> Any:
    return _no(params) if "blockHash" in params[0] else []


def no_range(params: list[Any]) -> Any:
    return [] if "blockHash" in params[0] else _no(params)


@pytest.mark.parametrize(
    ("method", "answer", "grade", "words"),
    [
        ("eth_getLogs", no_hash, Grade.WARNING, "takes no block hash for logs"),
        ("eth_getLogs", no_range, Grade.WARNING, "refuses the logs of 2,000 blocks in one"),
        ("eth_call", _no, Grade.FAILED, "reads nothing pinned to a block hash: it cannot be used"),
        (
            "eth_call",
            no_lens,
            Grade.WARNING,
            "refuses the packed read and has no Multicall3: every value is an eth_call of its own",
        ),
        (
            "eth_call",
            lambda params: reads(Chain(21), params, results=0),
            Grade.WARNING,
            "runs an eth_call with too little gas for packed reads",
        ),
        (
            "eth_call",
            lambda params: reads(Chain(21), params, at=19),
            Grade.FAILED,
            "answers reads of a block from another one (it was run in a block 19 of the time",
        ),
        ("eth_getBalance", _no, Grade.WARNING, "has no old state: set deployment_block"),
        ("eth_getBlockReceipts", _no, Grade.WARNING, "gives no receipts"),
        ("eth_syncing", lambda _: {"currentBlock": "0x1"}, Grade.FAILED, "is still syncing"),
    ],
)
async def test_what_a_node_cannot_do_is_said_with_its_cost(
    method: str, answer: Callable[[list[Any]], Any], grade: Grade, words: str
) -> None:
    async with able(Chain(21)) as node:
        node.answers[method] = answer

        found = await told(node)

        [complaint] = [finding for finding in found if finding.grade is not Grade.OK]
        assert (complaint.grade, complaint.says[: len(words)]) == (grade, words)


async def test_a_node_that_answers_null_does_not_say_what_is_final() -> None:
    async with able(Chain(21)) as node:
        held = node.answers["eth_getBlockByNumber"]
        node.answers["eth_getBlockByNumber"] = lambda asked: (
            None if asked[0] == "finalized" else held(asked)
        )

        [complaint, _] = await told(node)

        assert complaint.grade is Grade.WARNING
        assert complaint.says.startswith("does not say what is final")


async def test_a_websocket_that_is_silent_the_second_time_is_told_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "ANSWER_TIMEOUT_S", 0.05)
    async with able(Chain(21)) as node:
        node.silent_about = "eth_subscribe"

        [*_, complaint] = await told(node)

        assert complaint.says.endswith(
            " did not answer eth_subscribe within 0.05 s. Heads come from another one, or are "
            "polled."
        )


async def test_a_node_without_the_lens_is_read_through_multicall3_where_that_is() -> None:
    async with able(Chain(21)) as node:
        node.answers["eth_call"] = no_lens
        node.answers["eth_getCode"] = lambda _: "0x6080"

        [found, _] = await told(node)

        assert found.grade is Grade.WARNING
        assert found.says.startswith("refuses the packed read: it is read through Multicall3")


async def test_old_news_an_old_fork_and_no_websocket_are_said() -> None:
    forked = Chain(21)
    forked.reorg(9, "b")
    async with able(Chain(21)) as first, able(forked) as second:
        first.final = second.final = None

        found = await told(first, second, now=NOW + 5_000, ws=False)

        said = [finding.says for finding in found]
        assert sum("newest block is 5,003 s old" in one for one in said) == 2
        assert sum("one is on an old fork" in one for one in said) == 1
        assert sum("does not say what is final" in one for one in said) == 2
        assert said[-1] == "no ws_urls: heads are polled, each up to 2 s late"
