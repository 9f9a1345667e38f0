"""Logs from nodes that limit, truncate, mix up and refuse."""

import functools
import operator
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import msgspec
import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from keeper.chain.bloom import Blooms, bits, suspicion
from keeper.chain.complete import Check
from keeper.chain.history import backfill, deployment_block
from keeper.chain.logs import LogReader, union
from keeper.chain.provider import Limits, NoAnswer
from keeper.chain.rpc import Rpc
from keeper.chain.wire import Header
from keeper.errors import ObservationError, RpcError
from keeper.model import Address, BlockRef, Hash, LogFilter
from tests.chain_unit import standin
from tests.chain_unit.standin import Chain, Node, Refusal, block_hash, header, sealed_header

TOKEN = Address("0x" + "ab" * 20)
OTHER = Address("0x" + "cd" * 20)
TOPIC = Hash("0x" + "11" * 32)
TOPIC_2 = Hash("0x" + "22" * 32)
WANTED = LogFilter(addresses=(TOKEN,), topics0=(TOPIC,))
QUICK = Limits(calls_per_second=100_000, timeout_s=0.8)
PATIENT = Limits(calls_per_second=100_000, timeout_s=8.0)
"""Where thousands of logs are made and read, on a machine that is busy."""


def wire(number: int, index: int = 0, **spoilt: Any) -> dict[str, Any]:
    """A log as a node sends it."""
    return {
        "address": TOKEN,
        "topics": [TOPIC],
        "data": f"0x{number:064x}",
        "blockNumber": hex(number),
        "blockHash": block_hash(number),
        "logIndex": hex(index),
        "transactionHash": "0x" + "33" * 32,
        "transactionIndex": "0x0",
        "removed": False,
    } | spoilt


class Archive:
    """Answers eth_getLogs over blocks that have `density[number]` logs, within limits."""

    def __init__(self, density: dict[int, int], *, most_logs: int, most_blocks: int) -> None:
        self.density = density
        self.most_logs = most_logs
        self.most_blocks = most_blocks
        self.asked: list[tuple[int, int]] = []

    def __call__(self, params: list[Any]) -> list[dict[str, Any]]:
        start, end = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
        self.asked.append((start, end))
        if end - start >= self.most_blocks:
            raise Refusal(-32600, "block range too large")
        found = [
            wire(number, index)
            for number, count in sorted(self.density.items())
            if start <= number <= end
            for index in range(count)
        ]
        if start != end and len(found) > self.most_logs:
            raise Refusal(-32005, f"query returned more than {self.most_logs} results")
        return found


@asynccontextmanager
async def asking(answer: Any, chain: Chain | None = None) -> AsyncIterator[tuple[Rpc, Node]]:
    async with Node(chain) as node:
        node.answers["eth_getLogs"] = answer
        async with await Rpc.open([node.url], 31337, limits=QUICK, attempts=1) as rpc:
            yield rpc, node


async def pages(rpc: Rpc, start: int, end: int, **options: Any) -> list[tuple[int, int, int]]:
    """Return (first, last, logs) of each page; every log must be the next one."""
    result = []
    async for first, last, logs in backfill(rpc, WANTED, start, end, **options):
        result.append((first, last, len(logs)))
    return result


@pytest.mark.parametrize(("most_logs", "most_blocks"), [(10, 10**9), (10**9, 7), (3, 50), (1, 1)])
async def test_a_history_is_complete_whatever_the_limits(most_logs: int, most_blocks: int) -> None:
    density = {number: number % 5 for number in range(40, 400)} | {123: 60}
    archive = Archive(density, most_logs=most_logs, most_blocks=most_blocks)
    async with asking(archive) as (rpc, _):
        found = await pages(rpc, 0, 420)

    assert found[0][0] == 0
    assert found[-1][1] == 420
    assert all(after[0] == before[1] + 1 for before, after in pairwise(found))
    assert sum(logs for *_, logs in found) == sum(density.values())


async def test_ranges_grow_again_after_a_dense_part() -> None:
    archive = Archive(dict.fromkeys(range(100), 30), most_logs=90, most_blocks=10**9)
    async with asking(archive) as (rpc, _):
        found = await pages(rpc, 0, 100_000)

    assert len(found) < 150
    assert found[-1][1] - found[-1][0] > 1_000


async def test_a_page_that_did_not_come_is_asked_for_again() -> None:
    archive = Archive({5: 1, 900: 2}, most_logs=10**9, most_blocks=10**9)
    async with asking(archive) as (rpc, node):
        node.next_answers += [standin.drip(1.0), standin.status(503), standin.body("<html>")]
        found = await pages(rpc, 0, 1_000)

    assert sum(logs for *_, logs in found) == 3


async def test_progress_ends_at_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    archive = Archive({}, most_logs=1, most_blocks=40)
    async with asking(archive) as (rpc, _):
        await pages(rpc, 10, 99, on_progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (90, 90)
    assert seen == sorted(seen)


async def test_a_block_that_is_never_answered_is_an_error_and_not_skipped() -> None:
    def broken_at_77(params: list[Any]) -> list[Any]:
        start, end = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
        if start <= 77 <= end:
            raise Refusal(-32000, "internal error")
        return []

    done: list[int] = []
    async with asking(broken_at_77) as (rpc, _):
        with pytest.raises(RpcError, match="internal error"):  # noqa: PT012 - the error comes while it is read
            async for _first, last, _logs in backfill(rpc, WANTED, 0, 200):
                done.append(last)

    assert done[-1] == 76


async def test_a_log_from_outside_the_range_is_refused() -> None:
    async with asking(lambda _: [wire(500)]) as (rpc, _):
        with pytest.raises(NoAnswer, match="one is of block 500"):
            await pages(rpc, 0, 9)


async def test_an_empty_range_asks_nothing() -> None:
    archive = Archive({}, most_logs=1, most_blocks=1)
    async with asking(archive) as (rpc, _):
        assert await pages(rpc, 10, 9) == []

    assert archive.asked == []


async def test_the_logs_of_a_block_are_asked_for_by_hash_in_one_call() -> None:
    async with asking(lambda _: [wire(3, 0), wire(3, 4)], Chain(4)) as (rpc, node):
        node.seen.clear()
        logs = await LogReader(rpc, WANTED).at(node.chain.head)

        assert [log.log_index for log in logs] == [0, 4]
        assert logs[0].data == (3).to_bytes(32, "big")
        [(method, [criteria])] = node.seen
        assert method == "eth_getLogs"
        assert criteria == {
            "blockHash": node.chain.head.hash,
            "address": [TOKEN],
            "topics": [[TOPIC]],
        }


@pytest.mark.parametrize(
    "other", [{"blockHash": block_hash(3, "b")}, {"blockNumber": "0x2"}], ids=["hash", "number"]
)
async def test_a_log_of_another_block_is_refused_and_the_next_node_is_asked(
    other: dict[str, Any],
) -> None:
    async with asking(lambda _: [wire(3, **other)], Chain(4)) as (rpc, node):
        with pytest.raises(NoAnswer, match=r"logs of block 3 .*, one is of block [23] 0x"):
            await LogReader(rpc, WANTED).at(node.chain.head)

        async with Node(node.chain) as second:
            second.answers["eth_getLogs"] = lambda _: [wire(3, 4)]
            async with await Rpc.open([node.url, second.url], 31337, limits=QUICK) as both:
                [one] = await LogReader(both, WANTED).at(node.chain.head)

                assert one.log_index == 4
                assert both.healthy == (False, True)


async def test_a_log_from_outside_the_range_costs_the_node_and_not_the_range() -> None:
    async with Node() as liar, Node() as honest:
        liar.answers["eth_getLogs"] = lambda _: [wire(500)]
        honest.answers["eth_getLogs"] = lambda _: [wire(4)]
        async with await Rpc.open([liar.url, honest.url], 31337, limits=QUICK) as rpc:
            assert await pages(rpc, 0, 9) == [(0, 9, 1)]
            assert rpc.healthy == (False, True)


async def test_asked_by_number_a_node_on_another_branch_is_passed_over_and_does_not_rest() -> None:
    def by_number_only(params: list[Any]) -> list[Any]:
        if "blockHash" in params[0]:
            raise Refusal(-32602, "unknown field blockHash")
        return [wire(3)]

    def elsewhere(params: list[Any]) -> list[Any]:
        return [one | {"blockHash": block_hash(3, "b")} for one in by_number_only(params)]

    chain = Chain(4)
    async with Node(chain) as apart, Node(chain) as there:
        apart.answers["eth_getLogs"] = elsewhere
        there.answers["eth_getLogs"] = by_number_only
        async with await Rpc.open([apart.url, there.url], 31337, limits=QUICK) as rpc:
            assert len(await LogReader(rpc, WANTED).at(chain.head)) == 1
            assert rpc.healthy == (True, True)


@pytest.mark.parametrize(
    "receipt",
    [
        {"logs": [wire(3, 1, blockHash=block_hash(3, "b"))]},
        {"logs": [], "blockHash": block_hash(3, "b")},
        {"logs": [], "blockHash": "0x12"},
    ],
    ids=["a log", "a receipt", "a shape"],
)
async def test_receipts_of_another_block_are_no_answer_and_the_next_node_is_asked(
    receipt: dict[str, Any],
) -> None:
    async with Node(Chain(4)) as liar, Node(Chain(4)) as honest:
        for node in (liar, honest):
            node.answers["eth_getLogs"] = lambda _: []
        liar.answers["eth_getBlockReceipts"] = lambda _: [receipt]
        honest.answers["eth_getBlockReceipts"] = lambda _: [
            {"logs": [wire(3, 1)], "blockHash": block_hash(3).upper().replace("0X", "0x")}
        ]
        async with await Rpc.open([liar.url, honest.url], 31337, limits=QUICK) as rpc:
            rpc.blooms.note(_with_bloom(honest.chain.head, TOKEN, TOPIC))
            found = await LogReader(rpc, WANTED).at(honest.chain.head)

            assert [one.log_index for one in found] == [1]
            assert rpc.healthy == (False, True)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"topics": ["0x12"]},
        {"topics": None},
        {"data": "0x123"},
        {"data": "0x12 34 "},
        {"logIndex": None},
        {"address": "0x"},
        {"blockNumber": 3},
    ],
)
async def test_a_log_of_a_wrong_shape_is_refused(spoilt: dict[str, Any]) -> None:
    async with asking(lambda _: [wire(3, **spoilt)], Chain(4)) as (rpc, node):
        with pytest.raises(ObservationError):
            await LogReader(rpc, WANTED).at(node.chain.head)


async def test_a_node_that_takes_no_hash_is_asked_by_number() -> None:
    def by_number_only(params: list[Any]) -> list[Any]:
        if "blockHash" in params[0]:
            raise Refusal(-32602, "unknown field blockHash")
        return [wire(int(params[0]["fromBlock"], 16))]

    async with asking(by_number_only, Chain(4)) as (rpc, node):
        reader = LogReader(rpc, WANTED)
        assert len(await reader.at(node.chain.head)) == 1
        node.chain.grow()
        node.seen.clear()
        assert len(await reader.at(node.chain.head)) == 1

        assert node.count("eth_getLogs") == 1  # remembered

        orphan = node.chain.head
        node.chain.reorg(1, "b")
        node.answers["eth_getLogs"] = lambda _: []
        with pytest.raises(ObservationError, match="no longer canonical"):
            await reader.at(orphan)


@pytest.mark.parametrize("needed", [1, 2])
async def test_asked_by_number_a_node_that_lags_is_passed_over_though_it_says_there_are_none(
    needed: int,
) -> None:
    chain, lagging = Chain(4), Chain(3)

    def by_number_only(node: Node) -> Any:
        def answer(params: list[Any]) -> list[Any]:
            if "blockHash" in params[0]:
                raise Refusal(-32602, "unknown field blockHash")
            number = int(params[0]["fromBlock"], 16)
            return [wire(number)] if number < len(node.chain.blocks) else []

        return answer

    async with Node(lagging) as behind, Node(chain) as there:
        for node in (behind, there):
            node.answers["eth_getLogs"] = by_number_only(node)
        async with await Rpc.open([behind.url, there.url], 31337, limits=QUICK) as rpc:
            reader = LogReader(rpc, WANTED, nodes=needed)

            assert len(await reader.at(chain.head)) == 1
            lagging.grow()
            assert len(await reader.at(chain.head)) == 1
            assert rpc.healthy == (True, True)


async def test_where_no_node_takes_a_hash_all_are_asked_by_number_and_what_any_has_counts() -> None:
    def by_number_only(*logs: dict[str, Any]) -> Any:
        def answer(params: list[Any]) -> list[Any]:
            if "blockHash" in params[0]:
                raise Refusal(-32602, "unknown field blockHash")
            return list(logs)

        return answer

    chain = Chain(4)
    async with Node(chain) as first, Node(chain) as second:
        first.answers["eth_getLogs"] = by_number_only(wire(3, 0))
        second.answers["eth_getLogs"] = by_number_only(wire(3, 0), wire(3, 1))
        async with await Rpc.open([first.url, second.url], 31337, limits=QUICK) as rpc:
            found = await LogReader(rpc, WANTED, nodes=2).at(chain.head)

            assert [one.log_index for one in found] == [0, 1]


async def test_a_node_that_is_a_little_behind_is_asked_again() -> None:
    tries: list[Any] = []

    def late(params: list[Any]) -> list[Any]:
        tries.append(params)
        if len(tries) < 3:
            raise Refusal(-32000, "unknown block")
        return [wire(3)]

    async with asking(late, Chain(4)) as (rpc, node):
        assert len(await LogReader(rpc, WANTED).at(node.chain.head)) == 1


async def test_logs_that_the_header_has_and_the_node_denies_are_found_in_the_receipts() -> None:
    async with asking(lambda _: [], Chain(4)) as (rpc, node):
        head = node.chain.head
        rpc.blooms.note(_with_bloom(head, TOKEN, TOPIC))
        node.answers["eth_getBlockReceipts"] = lambda _: [
            {"logs": [wire(3, 0), wire(3, 1, address=OTHER)]},
            {"logs": [wire(3, 2)]},
        ]

        found = await LogReader(rpc, WANTED).at(head)

        assert [log.log_index for log in found] == [0, 2]


def _sealed(chain: Chain, *items: str) -> tuple[BlockRef, dict[str, str]]:
    """Give the head of `chain` a hash that proves its header, with a bloom of `items`."""
    fields = sealed_header(chain.head, _bloom(*items))
    chain.blocks[-1] = replace(chain.head, hash=Hash(fields["hash"]))
    return chain.head, fields


async def test_a_log_that_a_proved_header_does_not_have_is_refused_and_the_next_node_asked() -> (
    None
):
    chain = Chain(4)
    head, fields = _sealed(chain, OTHER)
    async with asking(lambda _: [wire(3, 0, blockHash=head.hash)], chain) as (rpc, node):
        rpc.blooms.note(msgspec.convert(fields, Header))
        with pytest.raises(NoAnswer, match="is not in the block's bloom"):
            await LogReader(rpc, WANTED).at(head)

        async with Node(chain) as second:
            second.answers["eth_getLogs"] = lambda _: []
            async with await Rpc.open([node.url, second.url], 31337, limits=QUICK) as both:
                both.blooms.note(msgspec.convert(fields, Header))
                assert await LogReader(both, WANTED).at(head) == ()
                assert both.healthy == (False, True)


async def test_a_header_that_proves_nothing_refuses_no_log_and_raises_suspicion() -> None:
    async with asking(lambda _: [wire(3, 0)], Chain(4)) as (rpc, node):
        rpc.blooms.note(_with_bloom(node.chain.head, OTHER))
        node.answers["eth_getBlockReceipts"] = lambda _: [{"logs": [wire(3, 0), wire(3, 1)]}]

        assert len(await LogReader(rpc, WANTED).at(node.chain.head)) == 2


@pytest.mark.parametrize("proved", [True, False], ids=["proved", "unproved"])
@pytest.mark.parametrize("liar", [0, 1, 2])
@pytest.mark.parametrize("said", [(OTHER,), (), (TOKEN, TOPIC, OTHER, TOPIC_2)])
async def test_one_nodes_header_wipes_out_no_log_of_the_others(
    proved: bool, liar: int, said: tuple[str, ...]
) -> None:
    chain = Chain(4)
    head, fields = chain.head, header(chain.head) | {"logsBloom": f"0x{_bloom(TOKEN, TOPIC):0512x}"}
    if proved:
        head, fields = _sealed(chain, TOKEN, TOPIC)
    lie = fields | {"logsBloom": f"0x{_bloom(*said):0512x}"}
    async with Node(chain) as one, Node(chain) as two, Node(chain) as three:
        nodes = (one, two, three)
        for node in nodes:
            node.answers["eth_getBlockByNumber"] = lambda _: fields
            node.answers["eth_getLogs"] = lambda _: [wire(3, 0, blockHash=head.hash)]
        nodes[liar].answers["eth_getBlockByNumber"] = lambda _: lie
        nodes[liar].answers["eth_getLogs"] = lambda _: []
        async with await Rpc.open([node.url for node in nodes], 31337, limits=QUICK) as rpc:
            with capture_logs() as logged:
                await rpc.each_block(3)
                found = await LogReader(rpc, WANTED, nodes=2).at(head)

            assert [log.log_index for log in found] == [0]
            [line] = [line for line in logged if line["event"] == "header.disputed"]
            assert (line["block"], line["settled"]) == (head.hash, proved)
            suspected = [line for line in logged if line["event"] == "logs.suspected"]
            assert len(suspected) == (0 if proved else 1)
            assert rpc.healthy == (True, True, True)


def test_the_proved_one_of_several_headers_counts_in_whatever_order_they_come() -> None:
    head, fields = _sealed(Chain(4), TOKEN, TOPIC)
    bloom = f"0x{_bloom(TOKEN, TOPIC):0512x}"
    short = header(head) | {"logsBloom": bloom}  # true, but it proves nothing
    lie = fields | {"logsBloom": "0x" + "00" * 256}
    other_lie = fields | {"logsBloom": f"0x{_bloom(OTHER):0512x}"}

    for order in permutations((fields, short, lie, other_lie)):
        blooms = Blooms()
        for one in order:
            blooms.note(msgspec.convert(one, Header))

        assert blooms.of(head.hash) == _bloom(TOKEN, TOPIC)
        assert not blooms.disputed(head.hash)
    for order in permutations((short, lie, other_lie)):
        blooms = Blooms()
        for one in order:
            blooms.note(msgspec.convert(one, Header))

        assert blooms.of(head.hash) is None
        assert blooms.disputed(head.hash)


async def test_a_chain_that_leaves_every_bloom_empty_is_read_all_the_same() -> None:
    async with asking(lambda _: [wire(3, 0)], Chain(4)) as (rpc, node):
        for block in node.chain.blocks:
            rpc.blooms.note(_with_bloom(block))

        assert len(await LogReader(rpc, WANTED).at(node.chain.head)) == 1


async def test_a_chain_whose_proved_headers_are_all_empty_is_read_all_the_same() -> None:
    chain = Chain(4)
    head, fields = _sealed(chain)
    async with asking(lambda _: [wire(3, 0, blockHash=head.hash)], chain) as (rpc, _):
        rpc.blooms.note(msgspec.convert(fields, Header))

        assert len(await LogReader(rpc, WANTED).at(head)) == 1


CONTESTED = [wire(3, 0), wire(3, 0, data="0x" + "0c" * 32)]
"""Two logs of one index."""


async def test_a_node_that_says_two_logs_of_one_index_is_passed_over_for_the_next() -> None:
    async with Node(Chain(4)) as liar, Node(Chain(4)) as honest:
        liar.answers["eth_getLogs"] = lambda _: CONTESTED
        honest.answers["eth_getLogs"] = lambda _: CONTESTED[:1]
        async with await Rpc.open([liar.url, honest.url], 31337, limits=QUICK) as rpc:
            [one] = await LogReader(rpc, WANTED).at(honest.chain.head)
            assert one.data == (3).to_bytes(32, "big")
            assert rpc.healthy == (False, True)

            rpc._providers[0].rests_until = 0.0
            assert await pages(rpc, 0, 9) == [(0, 9, 1)]
            assert rpc.healthy == (False, True)


async def test_where_two_nodes_have_different_logs_of_one_index_both_count_and_it_is_said() -> None:
    async with Node(Chain(4)) as first, Node(Chain(4)) as second:
        first.answers["eth_getLogs"] = lambda _: CONTESTED[:1]
        second.answers["eth_getLogs"] = lambda _: CONTESTED[1:]
        async with await Rpc.open([first.url, second.url], 31337, limits=QUICK) as rpc:
            with capture_logs() as logged:
                found = await LogReader(rpc, WANTED, nodes=2).at(first.chain.head)
                history = await pages(rpc, 0, 3, nodes=2)

    assert {one.data[-1] for one in found} == {3, 12}
    assert history == [(0, 3, 2)]
    said = [line["event"] for line in logged]
    assert (said.count("logs.differ"), said.count("history.differs")) == (1, 1)


@pytest.mark.parametrize("check", [Check.OFF, Check.FULL])
async def test_another_log_of_an_index_in_the_receipts_counts_besides(check: Check) -> None:
    async with asking(lambda _: CONTESTED[:1], Chain(4)) as (rpc, node):
        node.answers["eth_getBlockReceipts"] = lambda _: [{"logs": CONTESTED[1:]}]
        node.answers["eth_getBlockByNumber"] = lambda params: (
            header(node.chain.blocks[int(params[0], 16)])
            | {"logsBloom": f"0x{_bloom(TOKEN, TOPIC, OTHER):0512x}"}
        )
        wanted = LogFilter(addresses=(TOKEN, OTHER), topics0=(TOPIC,))
        await rpc.block(3)

        with capture_logs() as logged:
            if check is Check.OFF:
                found = await LogReader(rpc, wanted).at(node.chain.head)
            else:
                [(_, _, found)] = [page async for page in backfill(rpc, wanted, 3, 3, check=check)]

        assert {one.data[-1] for one in found} == {3, 12}
        said = {line["event"] for line in logged}
        assert said & {"logs.incomplete", "history.incomplete"}


async def test_several_nodes_make_up_for_what_each_leaves_out() -> None:
    async with Node(Chain(4)) as first, Node(Chain(4)) as second:
        first.answers["eth_getLogs"] = lambda _: [wire(3, 0), wire(3, 0), wire(3, 1)]
        second.answers["eth_getLogs"] = lambda _: [wire(3, 1), wire(3, 5)]
        async with await Rpc.open([first.url, second.url], 31337, limits=QUICK) as rpc:
            found = await LogReader(rpc, WANTED, nodes=2).at(first.chain.head)

            assert [log.log_index for log in found] == [0, 1, 5]


async def test_where_too_few_nodes_answer_the_receipts_are_looked_at() -> None:
    async with Node(Chain(4)) as first, Node(Chain(4)) as second:
        first.answers["eth_getLogs"] = lambda _: [wire(3, 0)]
        second.answers["eth_getLogs"] = _unknown
        for node in (first, second):
            node.answers["eth_getBlockReceipts"] = lambda _: [{"logs": [wire(3, 0), wire(3, 1)]}]
        async with await Rpc.open([first.url, second.url], 31337, limits=QUICK) as rpc:
            found = await LogReader(rpc, WANTED, nodes=2).at(first.chain.head)

            assert [log.log_index for log in found] == [0, 1]


async def test_where_nobody_has_receipts_each_is_asked_for_them_once() -> None:
    async with Node(Chain(4)) as first, Node(Chain(4)) as second:
        first.answers["eth_getLogs"] = lambda _: [wire(3, 0)]
        second.answers["eth_getLogs"] = _unknown
        for node in (first, second):
            node.answers["eth_getBlockReceipts"] = _unknown
        async with await Rpc.open([first.url, second.url], 31337, limits=QUICK) as rpc:
            assert len(await LogReader(rpc, WANTED, nodes=2).at(first.chain.head)) == 1

        for node in (first, second):  # once each, and no second round
            assert [method for method, _ in node.seen].count("eth_getBlockReceipts") == 1


def _unknown(_: list[Any]) -> Any:
    raise Refusal(-32000, "unknown block")


def _bloom(*items: str) -> int:
    return functools.reduce(operator.or_, map(bits, items), 0)


def _with_bloom(block: BlockRef, *items: str) -> Any:
    fields = header(block) | {"logsBloom": f"0x{_bloom(*items):0512x}"}
    return msgspec.convert(fields, Header)


def test_a_full_bloom_raises_no_suspicion_and_a_sparse_one_does() -> None:
    addresses = tuple(Address(f"0x{number:040x}") for number in range(1, 120))
    wanted = LogFilter(addresses=addresses, topics0=(TOPIC,))
    chance = random.Random(7)
    full = sparse = bits(addresses[5]) | bits(TOPIC)
    while full.bit_count() < 1_500:  # as a busy block of mainnet
        full |= 1 << chance.randrange(2048)

    assert suspicion(full, wanted, ()) == ""
    assert suspicion(sparse, wanted, ()).startswith("the block's bloom has 0x")
    assert suspicion(bits(addresses[5]), wanted, ()) == ""  # the topic is not there


def test_three_bits_of_an_item_are_those_of_the_yellow_paper() -> None:
    # The pairs of the first six bytes, modulo 2,048.
    digest = keccak(bytes.fromhex("00" * 19 + "0e"))
    wanted = {int.from_bytes(digest[i : i + 2], "big") & 2047 for i in (0, 2, 4)}

    found = bits("0x" + "00" * 19 + "0e")

    assert {i for i in range(2048) if found >> i & 1} == wanted


async def test_a_filter_of_the_whole_chain_is_refused() -> None:
    async with asking(lambda _: []) as (rpc, node):
        with pytest.raises(ValueError, match="whole chain"):
            await LogReader(rpc, LogFilter(addresses=(), topics0=(TOPIC,))).at(node.chain.head)


def test_a_union_lets_through_what_either_does() -> None:
    other = LogFilter(addresses=(OTHER, TOKEN), topics0=(TOPIC_2,))

    assert union([WANTED, other]) == LogFilter(addresses=(TOKEN, OTHER), topics0=(TOPIC, TOPIC_2))
    everything = LogFilter(addresses=(OTHER,), topics0=())
    assert union([WANTED, everything]).topics0 == ()


@pytest.mark.parametrize("deployed", [0, 1, 2, 617, 999, 1000])
async def test_the_block_of_a_deployment_is_found_from_the_code(deployed: int) -> None:
    async with asking(lambda _: []) as (rpc, node):
        node.answers["eth_blockNumber"] = lambda _: "0x3e8"
        node.answers["eth_getCode"] = lambda params: (
            "0x60" if int(params[1], 16) >= deployed else "0x"
        )

        assert await deployment_block(rpc, TOKEN) == deployed


async def test_a_node_that_forgot_old_state_says_so() -> None:
    def pruned(params: list[Any]) -> str:
        if int(params[1], 16) < 900:
            raise Refusal(-32000, "missing trie node")
        return "0x60"

    async with asking(lambda _: []) as (rpc, node):
        node.answers["eth_blockNumber"] = lambda _: "0x3e8"
        node.answers["eth_getCode"] = pruned

        with pytest.raises(ObservationError, match="set deployment_block of the market"):
            await deployment_block(rpc, TOKEN)


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 30), st.integers(1, 400))
async def test_no_range_is_ever_skipped(
    blocks: list[int], most_logs: int, most_blocks: int
) -> None:
    density: dict[int, int] = {}
    for number in blocks:
        density[number] = density.get(number, 0) + 1
    archive = Archive(density, most_logs=most_logs, most_blocks=most_blocks)
    rpc: Any = _Direct(archive)

    covered: list[int] = []
    seen = 0
    async for first, last, logs in backfill(rpc, WANTED, 0, 300):
        covered += range(first, last + 1)
        seen += len(logs)

    assert covered == list(range(301))
    assert seen == len(blocks)


class _Direct:
    """An Rpc and its only node, without a network."""

    names = ("a node",)
    name = "a node"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def ask(self, what: Any, params: Any = None, **_patience: float | None) -> Any:
        if callable(what):
            return await what(self)
        try:
            return msgspec.Raw(msgspec.json.encode(self._archive(params)))
        except Refusal as refusal:
            raise RpcError(str(refusal), code=-32000) from refusal
