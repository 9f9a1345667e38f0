"""What comes back from broken nodes: one plain sentence, never a wrong value."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from keeper.chain.health import NodeState
from keeper.chain.provider import Limits, NoAnswer, Request
from keeper.chain.rpc import Rpc
from keeper.chain.wire import at_block
from keeper.errors import ConfigError, ObservationError, RpcError
from keeper.execution.node import footing
from keeper.model import Address, BlockRef, Hash
from tests.chain_unit import standin
from tests.chain_unit.standin import Chain, Node, Refusal

QUICK = Limits(calls_per_second=10_000, timeout_s=0.3, body_cap_bytes=1_000_000)
SOMEONE = Address("0x" + "ab" * 20)


@asynccontextmanager
async def opened(*nodes: Node, attempts: int = 1, chain_id: int = 31337) -> AsyncIterator[Rpc]:
    async with await Rpc.open(
        [node.url for node in nodes], chain_id, limits=QUICK, attempts=attempts
    ) as rpc:
        yield rpc


async def test_a_header_is_read_with_every_field() -> None:
    async with Node(Chain(3)) as node, opened(node) as rpc:
        block = await rpc.block()

        assert block == node.chain.head
        assert await rpc.block(1) == node.chain.blocks[1]
        assert await rpc.block(block.hash) == block


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (standin.body("<html><body>Bad gateway</body></html>"), "with HTML"),
        (standin.body('{"jsonrpc":"2.0","id":ID,"result":"0x1'), "that is not JSON-RPC"),
        (standin.body('{"jsonrpc":"2.0","id":999999,"result":"0x1"}'), "the id of another"),
        (standin.body('{"jsonrpc":"2.0","id":"ID","result":"0x1"}'), "the id of another"),
        (standin.body('{"jsonrpc":"2.0","id":ID}'), "neither a result nor an error"),
        (standin.body("[1, 2, 3]"), "that is not JSON-RPC"),
        (standin.body(""), "with nothing"),
        (standin.body("[" * 100_000), "that is not JSON-RPC"),
        (standin.status(502, "<html>"), "HTTP status 502"),
        (standin.status(302, "", Location="http://169.254.169.254/"), "HTTP status 302"),
        (standin.status(429, "slow down", **{"Retry-After": "0"}), "called less often"),
        (standin.drip(2.0), "within 0.3 s"),
        (standin.flood(3_000_000), "more than 1,000,000 bytes"),
        (standin.cut_off(), "cannot be reached"),
    ],
)
async def test_a_broken_answer_is_one_sentence_without_the_key(answer: Any, sentence: str) -> None:
    async with Node() as node, opened(node) as rpc:
        node.next_answers.append(answer)

        with pytest.raises(NoAnswer) as caught:
            await rpc.block_number()

        assert sentence in str(caught.value)
        assert caught.value.code is None
        assert "SECRET" not in str(caught.value)
        assert await rpc.block_number() == 0


@pytest.mark.parametrize("answer", ["12", "0x", "0xzz", None, {}, [], 12, "0x" + "f" * 17, "-0x1"])
async def test_a_number_of_a_wrong_shape_is_refused(answer: Any) -> None:
    async with Node() as node, opened(node) as rpc:
        node.answers["eth_blockNumber"] = lambda _: answer

        with pytest.raises(ObservationError, match="eth_blockNumber"):
            await rpc.block_number()


@pytest.mark.parametrize(
    "spoilt",
    [{"number": None}, {"hash": "0x12"}, {"timestamp": "soon"}, {"parentHash": ["0x"]}],
)
async def test_a_header_of_a_wrong_shape_is_refused(spoilt: dict[str, Any]) -> None:
    async with Node() as node, opened(node) as rpc:
        good = standin.header(node.chain.head)
        node.answers["eth_getBlockByNumber"] = lambda _: good | spoilt

        with pytest.raises(ObservationError):
            await rpc.block()


Read = Callable[[Rpc, Chain], Awaitable[Any]]

MALFORMED: list[tuple[str, str, Any, Read]] = [
    ("block", "eth_getBlockByNumber", {"timestamp": "soon"}, lambda rpc, _: rpc.block()),
    ("block by hash", "eth_getBlockByHash", {"parentHash": None},
     lambda rpc, chain: rpc.block(chain.head.hash)),
    ("blocks", "eth_getBlockByNumber", {"baseFeePerGas": "0x"}, lambda rpc, _: rpc.blocks([1, 2])),
    ("block number", "eth_blockNumber", 3, lambda rpc, _: rpc.block_number()),
    ("chain id", "eth_chainId", "one", lambda rpc, _: rpc.chain_id()),
    ("nonce", "eth_getTransactionCount", None, lambda rpc, _: rpc.nonce(SOMEONE)),
    ("balance", "eth_getBalance", 5, lambda rpc, _: rpc.balance(SOMEONE)),
    ("code", "eth_getCode", "0x6", lambda rpc, _: rpc.code(SOMEONE)),
    ("eth_call", "eth_call", None, lambda rpc, _: rpc.eth_call(SOMEONE, b"")),
    ("eth_call at a block", "eth_call", "", lambda rpc, c: rpc.eth_call(SOMEONE, b"", c.head)),
    ("fees", "eth_feeHistory", {"baseFeePerGas": []}, lambda rpc, _: rpc.gas_fees()),
    ("a base fee", "eth_feeHistory", {"baseFeePerGas": ["low"]}, lambda rpc, _: rpc.gas_fees()),
    ("a tip", "eth_feeHistory", {"baseFeePerGas": ["0x1"], "reward": [["?"]]},
     lambda rpc, _: rpc.gas_fees()),
    ("the suggested tip", "eth_maxPriorityFeePerGas", 1, lambda rpc, _: rpc.gas_fees()),
    ("what is signed upon: nonce", "eth_getTransactionCount", "many",
     lambda rpc, chain: footing(rpc, SOMEONE, chain.head)),
    ("what is signed upon: balance", "eth_getBalance", {},
     lambda rpc, chain: footing(rpc, SOMEONE, chain.head)),
    ("what is signed upon: tip", "eth_maxPriorityFeePerGas", [],
     lambda rpc, chain: footing(rpc, SOMEONE, chain.head)),
    ("gas", "eth_estimateGas", None, lambda rpc, _: rpc.call("eth_estimateGas", [{}])),
    ("a simulation", "eth_simulateV1", [{"calls": []}],
     lambda rpc, _: rpc.call("eth_simulateV1", [{"blockStateCalls": [{"calls": [{}]}]}])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "answer", "read"),
    [case[1:] for case in MALFORMED],
    ids=[case[0] for case in MALFORMED],
)
async def test_a_malformed_value_is_no_answer_and_the_next_node_is_asked(
    method: str, answer: Any, read: Read
) -> None:
    chain = Chain(5)
    async with Node(chain) as bad, Node(chain) as good:
        for node in (bad, good):
            node.answers |= {
                "eth_getTransactionCount": lambda _: "0x5",
                "eth_getBalance": lambda _: "0x6",
                "eth_getCode": lambda _: "0x60",
                "eth_call": lambda _: "0x07",
                "eth_estimateGas": lambda _: "0x5208",
                "eth_feeHistory": lambda _: {"baseFeePerGas": ["0x10"], "reward": []},
                "eth_maxPriorityFeePerGas": lambda _: "0x2",
                "eth_simulateV1": lambda _: [{"calls": [{"status": "0x1"}]}],
            }
        async with opened(good) as rpc:
            expected = await read(rpc, chain)
        async with opened(bad, good) as rpc:
            held = bad.answers[method]
            if method.startswith("eth_getBlock"):
                bad.answers[method] = lambda params: held(params) | answer
            else:
                bad.answers[method] = lambda _: answer

            with capture_logs() as said:
                assert await read(rpc, chain) == expected
            failed = {line["node"] for line in said if line["event"] == "rpc.failed"}
            assert failed == {rpc.names[0]}


@pytest.mark.parametrize("batches", [True, False])
async def test_another_block_than_the_one_asked_for_is_no_answer(batches: bool) -> None:
    chain = Chain(10)
    async with Node(chain) as liar, Node(chain) as honest, opened(liar, honest) as rpc:
        liar.takes_batches = batches
        newest = standin.header(chain.head)
        liar.answers["eth_getBlockByNumber"] = lambda _: newest
        liar.answers["eth_getBlockByHash"] = lambda _: newest
        by_number: Read = lambda rpc, _: rpc.block(3)  # noqa: E731 - two of a kind
        by_hash: Read = lambda rpc, _: rpc.block(chain.blocks[4].hash)  # noqa: E731

        for read, expected in (
            (by_number, chain.blocks[3]),
            (by_hash, chain.blocks[4]),
            (lambda rpc, _: rpc.blocks([1, 2]), chain.blocks[1:3]),
        ):
            rpc._providers[0].rests_until = 0.0
            assert await read(rpc, chain) == expected
            assert rpc.healthy == (False, True)
        [lie, truth] = await rpc.each_block(3)
        assert isinstance(lie, NoAnswer)
        assert truth == chain.blocks[3]
        assert await rpc.block("latest") == chain.head


async def test_of_a_batch_only_what_is_wrong_is_asked_for_again() -> None:
    chain = Chain(10)
    async with Node(chain) as node, opened(node) as rpc:
        held, asked = node.answers["eth_getBlockByNumber"], []

        def wrong_once(params: list[Any]) -> Any:
            asked.append(params[0])
            return held(["0x7"] if asked == ["0x3", "0x2"] else params)  # batches come backwards

        node.answers["eth_getBlockByNumber"] = wrong_once

        assert await rpc.blocks([1, 2, 3]) == chain.blocks[1:4]
        assert asked == ["0x3", "0x2", "0x1", "0x2"]


async def test_a_receipt_of_another_transaction_is_no_answer() -> None:
    tx_hash = Hash("0x" + "cd" * 32)
    async with Node() as one, Node() as two, opened(one, two) as rpc:
        one.answers["eth_getTransactionReceipt"] = lambda _: (
            _receipt("ef")(_) | {"transactionHash": "0x" + "ab" * 32}
        )
        two.answers["eth_getTransactionReceipt"] = _receipt("ef")

        receipt = await rpc.receipt(tx_hash)

        assert receipt is not None
        assert receipt.tx_hash == tx_hash
        assert rpc.healthy == (False, True)


async def test_a_send_that_is_answered_with_nonsense_says_nothing_of_the_transaction() -> None:
    async with Node() as node, Node() as second, opened(node, second) as rpc:
        node.answers["eth_sendRawTransaction"] = lambda _: 12

        with pytest.raises(NoAnswer, match="no hash for a sent transaction"):
            await rpc.send_raw(b"\x02\xf8")

        assert second.count("eth_sendRawTransaction") == 0


async def test_a_read_is_asked_again_and_a_refusal_is_not() -> None:
    async with Node() as node, opened(node, attempts=3) as rpc:
        node.next_answers += [standin.status(503), standin.status(503)]

        assert await rpc.block_number() == 0

        node.answers["eth_getBalance"] = lambda _: _refuse(-32000, "no")
        with pytest.raises(RpcError) as caught:
            await rpc.balance(SOMEONE)
        assert caught.value.code == -32000
        assert node.count("eth_getBalance") == 1


async def test_a_send_is_tried_once_and_its_lost_reply_says_nothing() -> None:
    async with Node() as node, Node() as second, opened(node, second, attempts=5) as rpc:
        node.next_answers.append(standin.cut_off())

        with pytest.raises(NoAnswer):
            await rpc.send_raw(b"\x02\xf8")

        sends = node.count("eth_sendRawTransaction") + second.count("eth_sendRawTransaction")
        assert sends == 1


async def test_a_refused_send_keeps_the_code() -> None:
    async with Node() as node, opened(node) as rpc:
        node.answers["eth_sendRawTransaction"] = lambda _: _refuse(-32003, "nonce too low")

        with pytest.raises(RpcError) as caught:
            await rpc.send_raw(b"\x02")

        assert caught.value.code == -32003


async def test_a_block_that_the_first_node_is_not_at_yet_is_asked_of_the_next() -> None:
    chain = Chain(9)
    async with Node(chain) as behind, Node(chain) as there, opened(behind, there) as rpc:
        behind.answers["eth_getBlockByHash"] = lambda _: None
        behind.answers["eth_getBlockByNumber"] = lambda _: None

        assert await rpc.block(chain.head.hash) == chain.head
        assert await rpc.block(chain.head.number) == chain.head
        assert await rpc.blocks([7, 8]) == chain.blocks[7:9]
        assert rpc.healthy == (True, True)
        with pytest.raises(ObservationError, match=r"^No node knows block 0x5a"):
            await rpc.block(Hash("0x" + "5a" * 32))


async def test_retry_after_is_honoured() -> None:
    async with Node() as node, opened(node, attempts=2) as rpc:
        node.next_answers.append(standin.status(429, "", **{"Retry-After": "0.4"}))
        began_at = time.monotonic()

        await rpc.block_number()

        assert 0.35 < time.monotonic() - began_at < 2.0


async def test_a_pause_is_known_as_soon_as_its_status_is_whatever_becomes_of_the_text() -> None:
    async def stays_open(request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse(status=429, headers={"Retry-After": "7"})
        await response.prepare(request)
        await asyncio.sleep(1.0)
        return response

    async with Node() as node, opened(node) as rpc:
        node.next_answers.append(stays_open)

        with pytest.raises(NoAnswer, match="did not answer"):
            await rpc.block_number()

        assert 5.0 < rpc._providers[0].limited_for_s <= 7.0


async def test_a_comparison_asks_no_node_that_wanted_a_pause_while_its_chain_was_verified() -> None:
    async with Node() as node, opened(node) as rpc:
        [provider] = rpc._providers

        def pause_meanwhile(_: list[Any]) -> str:
            provider._alone_until = time.monotonic() + 9.0  # as another request's 429 does
            return hex(31337)

        provider._verified = False
        node.answers["eth_chainId"] = pause_meanwhile
        [answer] = await rpc.each_block("latest")

        assert isinstance(answer, NoAnswer)
        assert "asked for a pause" in str(answer)
        assert node.count("eth_getBlockByNumber") == 0


async def test_where_all_nodes_ask_for_a_pause_the_shortest_is_kept() -> None:
    async with Node() as first, Node() as second, opened(first, second) as rpc:
        first.next_answers.append(standin.status(429, "", **{"Retry-After": "3"}))
        second.next_answers.append(standin.status(429, "", **{"Retry-After": "0.4"}))
        with pytest.raises(NoAnswer):
            await rpc.block_number()
        asked = first.count("eth_blockNumber"), second.count("eth_blockNumber")
        began_at = time.monotonic()

        await rpc.block_number()

        assert time.monotonic() - began_at > 0.3
        assert first.count("eth_blockNumber") == asked[0]
        assert second.count("eth_blockNumber") == asked[1] + 1


async def test_a_pause_is_kept_though_requests_under_way_fail_or_are_answered() -> None:
    async with Node() as node, opened(node, attempts=1) as rpc:
        [provider] = rpc._providers
        provider.failed("asks to be called less often", retry_after_s=0.4)
        provider.failed("cannot be reached")
        provider._answered()
        before = node.count("eth_blockNumber")
        began_at = time.monotonic()

        await rpc.block_number()

        assert time.monotonic() - began_at > 0.3
        assert node.count("eth_blockNumber") == before + 1


async def test_a_node_that_asks_for_pauses_again_and_again_is_asked_when_its_pause_is_over() -> (
    None
):
    async with Node() as first, Node() as second, opened(first, second) as rpc:
        for provider in rpc._providers:
            for _ in range(6):  # it rests for ten seconds by now, but its wish is shorter
                provider.failed("asks to be called less often", retry_after_s=0.2)
            assert provider.rests_until - time.monotonic() > 5
        began_at = time.monotonic()

        await rpc.block_number()

        assert time.monotonic() - began_at > 0.15
        assert first.count("eth_blockNumber") + second.count("eth_blockNumber") == 1
        assert rpc._providers[1].rests_until - time.monotonic() > 3


async def test_what_waits_for_its_turn_is_not_sent_into_a_pause() -> None:
    limits = Limits(calls_per_second=4, timeout_s=1.0)
    async with Node() as node, await Rpc.open([node.url], 31337, limits=limits, attempts=1) as rpc:
        [provider] = rpc._providers
        waiting = [asyncio.create_task(rpc.block_number()) for _ in range(8)]
        await asyncio.sleep(0.3)
        provider.failed("asks to be called less often", retry_after_s=5.0)
        asked = node.count("eth_blockNumber")
        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert node.count("eth_blockNumber") == asked < 8
        assert sum(isinstance(result, NoAnswer) for result in results) == 8 - asked


async def test_the_second_node_answers_when_the_first_does_not_and_the_first_comes_back() -> None:
    async with Node(Chain(1)) as first, Node(Chain(8)) as second, opened(first, second) as rpc:
        first.next_answers.append(standin.status(500))

        assert await rpc.block_number() == 7
        assert rpc.healthy == (False, True)
        assert await rpc.block_number() == 7  # the first rests

        rpc._providers[0].rests_until = 0.0
        assert await rpc.block_number() == 0
        assert rpc.healthy == (True, True)


async def test_a_node_behind_is_passed_over_for_one_that_knows() -> None:
    async with Node() as behind, Node() as ahead, opened(behind, ahead) as rpc:
        behind.answers["eth_getBalance"] = lambda _: _refuse(-32000, "header not found")
        ahead.answers["eth_getBalance"] = lambda _: "0x11"

        assert await rpc.balance(SOMEONE) == 17


async def test_a_slow_node_is_not_waited_for_and_counts_as_silent_after_three_times() -> None:
    async with Node(Chain(1)) as slow, Node(Chain(8)) as quick, opened(slow, quick) as rpc:
        slow.next_answers += [standin.drip(5.0)] * 3
        rpc._turns._hedge_s = 0.05

        for _ in range(3):
            began = time.monotonic()
            assert await rpc.block_number() == 7
            assert time.monotonic() - began < 0.25  # a time-out takes 0.3

        [state, _] = [node.state for node in rpc.health]
        assert state is NodeState.UNREACHABLE


async def test_a_node_that_asked_for_a_pause_is_not_asked_while_another_is_there() -> None:
    async with Node(Chain(1)) as first, Node(Chain(8)) as second, opened(first, second) as rpc:
        first.next_answers.append(standin.status(429, "", **{"Retry-After": "9"}))
        second.next_answers += [standin.status(500)] * 2

        with pytest.raises(NoAnswer):
            await rpc.block_number()
        with pytest.raises(NoAnswer):
            await rpc.block_number()

        assert first.count("eth_blockNumber") == 1
        assert [node.state for node in rpc.health] == [
            NodeState.RATE_LIMITED,
            NodeState.UNREACHABLE,
        ]


async def test_nodes_behind_or_on_another_branch_are_asked_last_until_they_are_not() -> None:
    forked = Chain(9)
    forked.reorg(2, "b")
    async with (
        Node(Chain(3)) as behind,
        Node(forked) as apart,
        Node(Chain(9)) as third,
        Node(Chain(9)) as fourth,
        opened(behind, apart, third, fourth) as rpc,
    ):
        answers = await rpc.each_block(8)

        assert answers == [None, forked.head, third.chain.head, fourth.chain.head]
        assert [node.state for node in rpc.health] == [
            NodeState.LAGGING,
            NodeState.APART,
            NodeState.ALIVE,
            NodeState.ALIVE,
        ]
        assert await rpc.block("latest") == third.chain.head

        behind.chain = apart.chain = third.chain
        await rpc.each_block(8)
        assert all(node.alive for node in rpc.health)


async def test_a_node_that_is_one_block_late_when_it_is_first_asked_does_not_lag() -> None:
    async with Node(Chain(201)) as ahead, Node(Chain(200)) as late, opened(ahead, late) as rpc:
        assert await rpc.each_block(200) == [ahead.chain.head, None]

        assert [(node.state, node.head) for node in rpc.health] == [
            (NodeState.ALIVE, 200),
            (NodeState.ALIVE, 199),
        ]


async def test_of_a_node_that_does_not_say_its_head_none_is_told() -> None:
    async with Node(Chain(201)) as ahead, Node(Chain(200)) as dumb, opened(ahead, dumb) as rpc:
        dumb.answers["eth_getBlockByNumber"] = lambda _: None
        await rpc.each_block(200)

        assert [node.head for node in rpc.health] == [200, None]
        assert not rpc._providers[1].lagging


PINNED: list[tuple[str, str, Read, Any]] = [
    ("nonce", "eth_getTransactionCount", lambda rpc, c: rpc.nonce(SOMEONE, c.head), 5),
    ("balance", "eth_getBalance", lambda rpc, c: rpc.balance(SOMEONE, c.head), 6),
    ("code", "eth_getCode", lambda rpc, c: rpc.code(SOMEONE, c.head), b"\x60"),
    ("eth_call", "eth_call", lambda rpc, c: rpc.eth_call(SOMEONE, b"", c.head), b"\x07"),
]


@pytest.mark.parametrize(
    ("method", "read", "expected"), [case[1:] for case in PINNED], ids=[case[0] for case in PINNED]
)
async def test_parameters_that_one_node_does_not_know_are_put_to_the_next(
    method: str, read: Read, expected: Any
) -> None:
    chain = Chain(5)
    answers = {
        "eth_getTransactionCount": "0x5",
        "eth_getBalance": "0x6",
        "eth_getCode": "0x60",
        "eth_call": "0x07",
    }
    async with Node(chain) as old, Node(chain) as new, opened(old, new) as rpc:
        old.answers[method] = lambda _: _refuse(-32602, "invalid argument 1: cannot unmarshal")
        new.answers[method] = lambda _: answers[method]

        assert await read(rpc, chain) == expected


async def test_what_is_signed_upon_is_read_though_one_node_knows_no_block_by_its_hash() -> None:
    chain = Chain(5)

    def old_nonce(params: list[Any]) -> str:
        if isinstance(params[-1], dict):
            _refuse(-32602, "invalid argument 1: cannot unmarshal")
        return "0x5"

    async with Node(chain) as old, Node(chain) as new, opened(old, new) as rpc:
        for node in (old, new):
            node.answers |= {
                "eth_getTransactionCount": lambda _: "0x5",
                "eth_getBalance": lambda _: "0x6",
                "eth_maxPriorityFeePerGas": lambda _: "0x2",
            }
        old.answers["eth_getTransactionCount"] = old_nonce

        assert (await footing(rpc, SOMEONE, chain.head)).nonce == 5


async def test_parameters_that_nobody_knows_are_refused_at_once() -> None:
    async with Node() as first, Node() as second, opened(first, second) as rpc:
        for node in (first, second):
            node.answers["eth_call"] = lambda _: _refuse(-32602, "invalid params")
        with pytest.raises(RpcError) as caught:
            await rpc.eth_call(SOMEONE, b"", first.chain.head)

        assert caught.value.code == -32602
        assert (first.count("eth_call"), second.count("eth_call")) == (1, 1)


async def test_where_one_node_knows_no_such_parameters_the_other_is_waited_for() -> None:
    async with Node() as old, Node() as behind, opened(old, behind) as rpc:
        old.answers["eth_call"] = lambda _: _refuse(-32602, "invalid params")
        behind.answers["eth_call"] = lambda _: (
            "0x07" if behind.count("eth_call") > 1 else _refuse(-32000, "header not found")
        )

        assert await rpc.eth_call(SOMEONE, b"", old.chain.head) == b"\x07"


async def test_a_revert_is_final_and_carries_its_data() -> None:
    async with Node() as first, Node() as second, opened(first, second, attempts=3) as rpc:
        first.answers["eth_call"] = lambda _: _refuse(3, "execution reverted", "0x08c379a0")

        with pytest.raises(RpcError) as caught:
            await rpc.eth_call(SOMEONE, b"", first.chain.head)

        assert caught.value.data == "0x08c379a0"
        assert first.count("eth_call") == 1
        assert second.count("eth_call") == 0


async def test_a_pinned_read_waits_for_a_node_that_is_a_little_behind() -> None:
    async with Node() as node, opened(node) as rpc:
        asked: list[Any] = []

        def late(params: list[Any]) -> str:
            asked.append(params)
            return "0x2a" if len(asked) == 3 else _refuse(-32000, "header not found")

        node.answers["eth_call"] = late

        assert await rpc.eth_call(SOMEONE, b"\x01", node.chain.head) == b"\x2a"
        assert asked[0][1] == {"blockHash": node.chain.head.hash, "requireCanonical": True}


async def test_another_chain_behind_a_url_is_the_operators_matter() -> None:
    async with Node() as right, Node(chain_id=1) as wrong:
        with pytest.raises(ConfigError, match="answers for chain 1, the configuration says 31337"):
            await Rpc.open([right.url, wrong.url], 31337, limits=QUICK)


async def test_a_node_of_another_chain_is_left_out_when_the_chain_is_opened_again() -> None:
    async with Node(Chain(4), chain_id=5) as wrong, Node(Chain(9)) as right:
        urls = [wrong.url, right.url]
        with capture_logs() as said:
            async with await Rpc.open(urls, 31337, limits=QUICK, left_out=True) as rpc:
                head = await rpc.block_number()
                states = [node.state for node in rpc.health]

        assert head == 8
        assert states == [NodeState.WRONG_CHAIN, NodeState.ALIVE]
        assert [(line["answered"], line["expected"]) for line in said if "answered" in line] == [
            (5, 31337)
        ]


async def test_nodes_all_of_another_chain_are_no_answer_when_it_is_opened_again() -> None:
    async with Node(chain_id=5) as one, Node(chain_id=7) as other:
        with pytest.raises(NoAnswer, match="answers for chain 5, not 31337"):
            await Rpc.open([one.url, other.url], 31337, limits=QUICK, left_out=True)


async def test_a_node_that_turns_up_on_another_chain_is_not_used() -> None:
    async with Node(Chain(4)) as first, Node(Chain(9)) as second, opened(first, second) as rpc:
        first.next_answers.append(standin.status(500))
        first.chain_id = 5
        await rpc.block_number()
        rpc._providers[0].rests_until = 0.0

        assert await rpc.block_number() == 8
        assert first.count("eth_blockNumber") == 1


async def test_a_node_that_is_down_at_the_start_proves_its_chain_before_it_is_used() -> None:
    async with Node(Chain(9)) as up:
        late = Node(Chain(4), chain_id=5)
        async with late:
            port = late.port
        async with await Rpc.open([f"http://127.0.0.1:{port}", up.url], 31337, limits=QUICK) as rpc:
            assert await rpc.block_number() == 8


async def test_nothing_that_answers_is_an_error_at_the_start() -> None:
    async with Node() as gone:
        url = gone.url

    with pytest.raises(NoAnswer, match=r"http://127\.0\.0\.1:\d+ cannot be reached"):
        await Rpc.open([url], 31337, limits=QUICK)


async def test_a_batch_is_matched_by_id_and_one_refusal_costs_one_call() -> None:
    async with Node(Chain(5)) as node, opened(node) as rpc:
        requests: list[Request] = [
            ("eth_blockNumber", []),
            ("no_such_method", []),
            ("eth_chainId", []),
        ]
        answers: list[Any] = await rpc.ask(lambda one: one.ask_many(requests))

        assert bytes(answers[0]) == b'"0x4"'
        assert isinstance(answers[1], RpcError)
        assert bytes(answers[2]) == b'"0x7a69"'
        assert rpc.counts["eth_blockNumber"] == 1


async def test_headers_come_one_by_one_where_no_batches_are_taken() -> None:
    async with Node(Chain(5)) as node, opened(node) as rpc:
        node.takes_batches = False

        assert await rpc.blocks([1, 3]) == [node.chain.blocks[1], node.chain.blocks[3]]


async def test_an_unknown_block_is_an_error_and_not_none() -> None:
    async with Node() as node, opened(node) as rpc:
        with pytest.raises(ObservationError, match="does not know block 77"):
            await rpc.block(77)


async def test_a_receipt_is_read_and_none_while_there_is_none() -> None:
    tx_hash = Hash("0x" + "cd" * 32)
    async with Node() as node, opened(node) as rpc:
        node.answers["eth_getTransactionReceipt"] = lambda _: None
        assert await rpc.receipt(tx_hash) is None

        node.answers["eth_getTransactionReceipt"] = lambda _: {
            "transactionHash": tx_hash,
            "blockNumber": "0x10",
            "blockHash": "0x" + "EF" * 32,
            "gasUsed": "0x5208",
            "status": "0x0",
            "effectiveGasPrice": "0x3b9aca07",
        }
        receipt = await rpc.receipt(tx_hash)
        assert receipt is not None
        assert (receipt.succeeded, receipt.gas_used) == (False, 21_000)
        assert receipt.block_hash == "0x" + "ef" * 32


async def test_the_tip_is_the_median_of_those_paid() -> None:
    async with Node() as node, opened(node) as rpc:
        node.answers["eth_feeHistory"] = lambda _: {
            "oldestBlock": "0x1",
            "baseFeePerGas": ["0x10", "0x11", "0x13"],
            "reward": [["0x0"], ["0x5"], ["0x3"], ["0x9"]],
        }

        fees = await rpc.gas_fees()

        assert (fees.base_fee_wei, fees.priority_fee_wei) == (0x13, 5)


async def test_calls_are_counted_by_method() -> None:
    async with Node() as node, opened(node) as rpc:
        rpc.counts.clear()

        await rpc.block_number()
        await rpc.block()

        assert rpc.counts == {"eth_blockNumber": 1, "eth_getBlockByNumber": 1}


async def test_a_provider_is_not_asked_faster_than_its_rate() -> None:
    limits = Limits(calls_per_second=20)
    async with Node() as node, await Rpc.open([node.url], 31337, limits=limits) as rpc:
        began_at = time.monotonic()

        for _ in range(30):
            await rpc.block_number()

        assert 0.9 < time.monotonic() - began_at < 3.0


async def test_the_nodes_own_words_do_not_show_the_key() -> None:
    async with Node() as node, opened(node) as rpc:
        node.answers["eth_getBalance"] = lambda _: _refuse(-32000, "bad key SECRETKEY0123456789\n")

        with pytest.raises(RpcError) as caught:
            await rpc.balance(SOMEONE)

        assert "SECRETKEY" not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["http://{host}/v3/{key}", "http://{host}/rpc?apikey={key}", "http://u:{key}@{host}/"]
)
async def test_the_key_is_taken_out_of_a_nodes_words_wherever_it_is_in_the_url(place: str) -> None:
    key = "CANARY%2F0123456789"
    async with Node() as node:
        url = place.format(host=f"127.0.0.1:{node.port}", key=key)
        async with await Rpc.open([url], 31337, limits=QUICK, attempts=1) as rpc:
            for form in (key, "canary/0123456789"):
                words = f"project {form} of mainnet is out of credits"
                node.answers["eth_getBalance"] = refusing(words)

                with pytest.raises(RpcError, match=r"project \*\*\* of mainnet is out of credits"):
                    await rpc.balance(SOMEONE)


def _refuse(code: int, message: str, data: str | None = None) -> Any:
    raise Refusal(code, message, data)


def refusing(message: str) -> standin.Answer:
    return lambda _: _refuse(-32000, message)


def test_block_refs_pin_by_hash() -> None:
    block = BlockRef(number=5, hash=Hash("0xaa"), parent_hash=Hash("0xbb"), timestamp=1)

    assert at_block(block) == {"blockHash": "0xaa", "requireCanonical": True}
    assert at_block(255) == "0xff"
    assert at_block("safe") == "safe"


def _receipt(block: str) -> Any:
    return lambda _: {
        "transactionHash": "0x" + "cd" * 32,
        "blockNumber": "0x10",
        "blockHash": "0x" + block * 32,
        "gasUsed": "0x5208",
        "status": "0x1",
        "effectiveGasPrice": "0x3b9aca07",
    }


@pytest.mark.parametrize("second", [lambda _: None, _receipt("ab")])
async def test_a_receipt_that_a_second_node_denies_is_not_believed(second: Any) -> None:
    tx_hash = Hash("0x" + "cd" * 32)
    async with Node() as one, Node() as two, opened(one, two) as rpc:
        one.answers["eth_getTransactionReceipt"] = _receipt("ef")
        two.answers["eth_getTransactionReceipt"] = second
        with pytest.raises(ObservationError, match="do not agree on what became of 0xcdcd"):
            await rpc.receipt(tx_hash)

        two.answers["eth_getTransactionReceipt"] = _receipt("ef")
        agreed = await rpc.receipt(tx_hash)
        assert agreed is not None
        assert agreed.block_hash == "0x" + "ef" * 32


async def test_two_of_three_nodes_outvote_the_one_that_has_no_receipt() -> None:
    tx_hash = Hash("0x" + "cd" * 32)
    async with Node() as one, Node() as two, Node() as three, opened(one, two, three) as rpc:
        one.answers["eth_getTransactionReceipt"] = lambda _: None
        for node in (two, three):
            node.answers["eth_getTransactionReceipt"] = _receipt("ef")

        assert await rpc.receipt(tx_hash) is not None


def _busy(_: list[Any]) -> Any:
    raise Refusal(-32603, "internal error")


async def test_the_only_node_left_is_believed() -> None:
    tx_hash = Hash("0x" + "cd" * 32)
    async with Node() as one, Node() as two, opened(one, two) as rpc:
        one.answers["eth_getTransactionReceipt"] = _receipt("ef")
        two.answers["eth_getTransactionReceipt"] = _busy

        assert await rpc.receipt(tx_hash) is not None


async def test_who_asks_a_chain_that_was_closed_has_no_answer_and_no_node_is_blamed() -> None:
    async with Node(Chain(3)) as node:
        async with opened(node) as rpc:
            await rpc.block_number()
        with pytest.raises(NoAnswer, match="is not asked: its chain was closed"):
            await rpc.block_number()

        assert rpc.healthy == (True,)


@pytest.mark.parametrize(("method", "rests"), [("eth_simulateV1", False), ("eth_call", True)])
async def test_who_cannot_simulate_is_relied_on_and_asked_for_heads_all_the_same(
    method: str, rests: bool
) -> None:
    params = [{"blockStateCalls": [{"calls": [{}]}]}, "latest"]
    async with Node(Chain(3)) as node, opened(node) as rpc:
        node.answers[method] = lambda _: [7]
        with pytest.raises(NoAnswer, match="in a shape that is wrong"):
            await rpc.call(method, params)
        await asyncio.sleep(0.01)

        assert rpc._providers[0].resting is rests
        assert await rpc.each_block("latest") == [node.chain.head]
