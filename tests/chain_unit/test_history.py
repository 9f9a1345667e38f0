"""Histories asked ahead of their turn, and compared between nodes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from keeper.chain.bloom import bits
from keeper.chain.history import backfill
from keeper.chain.pace import AHEAD, SILENCES_MOST
from keeper.chain.rpc import Rpc
from tests.chain_unit import standin
from tests.chain_unit.standin import Chain, Node, Refusal, block_hash, header, sealed_header
from tests.chain_unit.test_logs import PATIENT, QUICK, TOKEN, TOPIC, WANTED, Archive, wire

ALL = dict.fromkeys(range(0, 90, 3), 2)
ENDLESS = 10**9


@asynccontextmanager
async def two(
    first: Any, second: Any, *, attempts: int = 1
) -> AsyncIterator[tuple[Rpc, Node, Node]]:
    chain = Chain(100)
    async with Node(chain) as one, Node(chain) as other:
        for node, answer in ((one, first), (other, second)):
            node.answers["eth_getLogs"] = answer
            node.answers["eth_getBlockByNumber"] = lambda params: with_bloom(chain, params)
        async with await Rpc.open(
            [one.url, other.url], 31337, limits=QUICK, attempts=attempts
        ) as rpc:
            yield rpc, one, other


SEALED = sealed_header(Chain(41).head)
"""Of block 40, which has no logs: it is shown by its hash."""


def with_bloom(chain: Chain, params: list[Any]) -> dict[str, str]:
    """A header that has the token's event where there is one."""
    block = chain.blocks[int(params[0], 16)]
    if block.number == 40:
        return SEALED
    bloom = bits(TOKEN) | bits(TOPIC) if block.number in ALL else 0
    return header(block) | {"logsBloom": f"0x{bloom:0512x}"}


async def found_by(rpc: Rpc, nodes: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The ranges, and the block and index of each log."""
    ranges, logs = [], []
    async for first, last, some in backfill(rpc, WANTED, 0, 89, first_range_blocks=10, nodes=nodes):
        ranges.append((first, last))
        logs += [(log.block_number, log.log_index) for log in some]
    return ranges, logs


EXPECTED = [(number, index) for number in sorted(ALL) for index in range(2)]


async def test_what_one_node_left_out_the_other_makes_up_for() -> None:
    def leaves_out(params: list[Any]) -> list[Any]:
        answer = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)(params)
        return [log for log in answer if (log["blockNumber"], log["logIndex"]) != ("0x2a", "0x1")]

    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
    async with two(leaves_out, whole) as (rpc, _, other):
        with capture_logs() as said:
            _, logs = await found_by(rpc, 2)
        alone = (await found_by(rpc, 1))[1]

        assert logs == EXPECTED
        assert len(alone) == len(EXPECTED) - 1
        [line] = [line for line in said if line["event"] == "history.differs"]
        assert (line["first"], line["last"], line["refused"]) == (42, 42, 0)
        assert other.count("eth_getLogs") >= 3


@pytest.mark.parametrize(
    "lie",
    [wire(40, 9, blockHash=SEALED["hash"]), wire(42, 9, blockHash=block_hash(42, "b"))],
    ids=["the bloom says no", "of another branch"],
)
async def test_what_one_node_made_up_is_refused(lie: dict[str, Any]) -> None:
    def makes_up(params: list[Any]) -> list[Any]:
        answer = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)(params)
        start, end = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
        return [*answer, lie] if start <= int(lie["blockNumber"], 16) <= end else answer

    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
    async with two(makes_up, whole) as (rpc, _, __):
        await rpc.block(42)  # a header that says something: so they are filled on this chain
        _, logs = await found_by(rpc, 2)

        assert logs == EXPECTED


@pytest.mark.parametrize(
    "lie",
    [{"logsBloom": "0x" + "00" * 256}, {"hash": block_hash(42, "b")}],
    ids=["another bloom", "another hash"],
)
async def test_what_one_node_left_out_is_not_refused_by_that_nodes_own_headers(
    lie: dict[str, str],
) -> None:
    def leaves_out(params: list[Any]) -> list[Any]:
        answer = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)(params)
        return [log for log in answer if log["blockNumber"] != "0x2a"]

    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
    async with two(leaves_out, whole) as (rpc, liar, _):
        await rpc.block(39)  # a header that says something: so they are filled on this chain
        held = liar.answers["eth_getBlockByNumber"]

        def lies(params: list[Any]) -> Any:
            return held(params) | (lie if params[0] == "0x2a" else {})

        liar.answers["eth_getBlockByNumber"] = lies
        _, logs = await found_by(rpc, 2)

        assert logs == EXPECTED


async def test_a_second_node_that_refuses_history_does_not_hold_it_up() -> None:
    def pruned(_: list[Any]) -> Any:
        raise Refusal(-32000, "history has been pruned for this block")

    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
    async with two(whole, pruned) as (rpc, _, other):
        with capture_logs() as said:
            ranges, logs = await found_by(rpc, 2)

    assert logs == EXPECTED
    assert len(ranges) < 30
    assert other.count("eth_getLogs") < 15
    assert [line["event"] for line in said].count("history.not_compared") == 1


async def test_a_second_node_that_hangs_does_not_hold_history_up() -> None:
    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=8)
    async with two(whole, whole, attempts=4) as (rpc, _, hung):
        hung.next_answers += [standin.drip(9.0)] * 99
        began_at = time.monotonic()
        with capture_logs() as said:
            _, logs = await found_by(rpc, 2)
        took_s = time.monotonic() - began_at
        asked = hung.count("eth_getLogs")

        assert logs == EXPECTED
        assert took_s < 4.0  # a time-out takes 0.8, and it is silent three times
        assert asked <= SILENCES_MOST + AHEAD
        assert [line["event"] for line in said].count("history.not_compared") == 1


async def test_a_second_node_of_lower_limits_is_asked_for_less_and_not_left_out() -> None:
    def leaves_out(params: list[Any]) -> list[Any]:
        answer = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)(params)
        return [log for log in answer if log["blockNumber"] != "0x2a"]

    strict = Archive(ALL, most_logs=6, most_blocks=ENDLESS)
    async with two(leaves_out, strict) as (rpc, _, __):
        _, logs = await found_by(rpc, 2)

    assert logs == EXPECTED


@pytest.mark.parametrize(
    "too_much",
    [standin.drip(9.0), standin.flood(3_000_000), standin.status(504, "<html>"), standin.cut_off()],
    ids=["too long", "too large", "given up by a proxy", "cut off"],
)
async def test_a_range_that_is_too_much_for_a_node_is_not_held_against_it(too_much: Any) -> None:
    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
    async with two(whole, whole) as (rpc, *nodes):
        for node in nodes:
            node.next_answers += [too_much] * 2
        with capture_logs() as said:
            _, logs = await found_by(rpc, 2)

        assert logs == EXPECTED
        assert "backfill.halved" in [line["event"] for line in said]
        assert "rpc.failed" not in [line["event"] for line in said]
        assert not any(provider.resting for provider in rpc._providers)


async def test_a_node_that_wants_a_pause_from_ranges_gets_it_for_everything() -> None:
    whole = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
    async with two(whole, whole) as (rpc, first, _):
        first.next_answers.append(standin.status(429, "", **{"Retry-After": "9"}))
        _, logs = await found_by(rpc, 1)

        assert logs == EXPECTED
        assert [provider.limited for provider in rpc._providers] == [True, False]


async def test_the_next_ranges_are_on_their_way_while_one_is_worked_on() -> None:
    async with Node(Chain(1)) as node:
        archive = Archive(ALL, most_logs=ENDLESS, most_blocks=10)
        node.answers["eth_getLogs"] = archive
        under_way = most = 0

        async def slow(request: web.Request, body: Any) -> web.StreamResponse:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.03)
            under_way -= 1
            return web.json_response(node._answer(body))

        async with await Rpc.open([node.url], 31337, limits=QUICK, attempts=1) as rpc:
            node.next_answers += [slow] * 40
            ranges, logs = await found_by(rpc, 1)

        assert logs == EXPECTED
        assert ranges[0][0] == 0
        assert all(a[1] + 1 == b[0] for a, b in pairwise(ranges))
        assert most == AHEAD


async def test_ranges_are_short_where_there_are_many_logs_and_long_again_where_few() -> None:
    dense = dict.fromkeys(range(18), 1_000)  # ten of them have 10,000 logs
    async with Node(Chain(1)) as node:
        node.answers["eth_getLogs"] = Archive(dense, most_logs=ENDLESS, most_blocks=ENDLESS)
        async with await Rpc.open([node.url], 31337, limits=PATIENT, attempts=1) as rpc:
            ranges, logs = await found_by(rpc, 1)

    assert logs == [(number, index) for number in dense for index in range(1_000)]
    lengths = [(first, last - first + 1) for first, last in ranges]
    # 2,000 logs are two blocks; those beyond were not on their way when the first had come
    assert lengths[:4] == [(0, 10), (10, 2), (12, 2), (14, 2)]
    assert max(length for _, length in lengths[4:]) > 10


async def test_a_reader_that_leaves_leaves_no_request_behind() -> None:
    async with Node(Chain(1)) as node:
        node.answers["eth_getLogs"] = Archive(ALL, most_logs=ENDLESS, most_blocks=ENDLESS)
        async with await Rpc.open([node.url], 31337, limits=QUICK, attempts=1) as rpc:
            async with contextlib.aclosing(
                backfill(rpc, WANTED, 0, 89, first_range_blocks=4)  # type: ignore[type-var]
            ) as pages:
                async for _, last, _ in pages:
                    if last > 10:
                        assert _asking()
                        break

            assert not _asking()


def _asking() -> list[Any]:
    return [task for task in asyncio.all_tasks() if "_Asker.timed" in repr(task)]
