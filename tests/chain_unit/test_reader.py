"""Packed reads from nodes that refuse, truncate or talk nonsense."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain import lens
from keeper.chain.lens import Shares
from keeper.chain.provider import Limits, NoAnswer
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.errors import BadAnswer, RpcError
from keeper.model import Address, BlockRef, Call, CallResult, Failed, Returned
from keeper.ports import Steps
from tests.chain_unit.standin import Chain, Node, Refusal

SHARES = Shares()
GENESIS = Chain().head
FREELY = Limits(calls_per_second=100_000, timeout_s=1.0)


def call(index: int, size: int = 4) -> Call:
    return Call(to=Address(f"0x{index + 1:040x}"), data=index.to_bytes(size, "big"))


def said(*results: tuple[int, bytes], at: BlockRef = GENESIS) -> bytes:
    """Return what the lens would say."""
    place = at.number.to_bytes(8, "big") + at.timestamp.to_bytes(8, "big")
    return b"".join(
        [b"\x02", place, bytes.fromhex(at.parent_hash[2:])]
        + [bytes([state]) + len(data).to_bytes(3, "big") + data for state, data in results]
    )


class LensNode:
    """Runs packed reads as the lens would: each call answers its own data, in `most` calls."""

    def __init__(self, most: int = 10_000, *, by_revert: bool = False) -> None:
        self.most = most
        self.by_revert = by_revert
        self.sizes: list[int] = []
        self.stops_after: int | None = None

    def __call__(self, params: list[Any]) -> str:
        assert params[0]["from"] == "0x" + "00" * 20
        assert "to" not in params[0]
        code = bytes.fromhex(params[0]["data"][2:])
        assert len(code) <= 49_152
        length = int.from_bytes(code[-3:], "big")
        packed = code[-13 - length : -13]
        calls: list[bytes] = []
        position = 0
        while position < length:
            size = int.from_bytes(packed[position + 20 : position + 23], "big")
            calls.append(packed[position + 23 : position + 23 + size])
            position += 23 + size
        self.sizes.append(len(calls))
        if len(calls) > self.most:
            raise Refusal(-32000, "out of gas")
        answer = "0x" + said(*((1, data) for data in calls[: self.stops_after])).hex()
        if self.by_revert and calls:
            raise Refusal(3, "execution reverted", answer)
        return answer


@asynccontextmanager
async def reading(answer: Any, **options: Any) -> AsyncIterator[tuple[LensReader, Node]]:
    async with Node() as node:
        node.answers["eth_call"] = answer
        async with await Rpc.open([node.url], 31337, limits=FREELY, attempts=1) as rpc:
            yield LensReader(rpc, **options), node


def returned(calls: Sequence[Call]) -> tuple[CallResult, ...]:
    return tuple(Returned(one.data) for one in calls)


async def test_a_node_that_refuses_big_reads_gets_smaller_ones_and_all_is_read() -> None:
    node_lens = LensNode(most=150)
    calls = [call(index) for index in range(700)]
    async with reading(node_lens) as (reader, node):
        results = await reader.call(calls, node.chain.head)
        assert results == returned(calls)

        node_lens.sizes.clear()
        again = await reader.call(calls, node.chain.head)

    assert again == results
    assert max(node_lens.sizes) <= 150  # remembered


async def test_a_lens_that_stops_early_is_asked_for_the_rest() -> None:
    node_lens = LensNode()
    node_lens.stops_after = 7
    calls = [call(index) for index in range(30)]
    async with reading(node_lens) as (reader, node):
        results = await reader.call(calls, node.chain.head)

    assert results == returned(calls)
    assert node_lens.sizes == [30, 23, 16, 9, 2]


async def test_an_answer_as_revert_data_is_an_answer() -> None:
    calls = [call(index) for index in range(30)]
    async with reading(LensNode(by_revert=True)) as (reader, node):
        assert await reader.call(calls, node.chain.head) == returned(calls)
        assert node.count("eth_call") == 1


@pytest.mark.parametrize(
    "answer",
    [
        "0x",
        "0x00",
        "0x" + said()[:48].hex(),
        "0x" + b"\x01".hex() + said()[1:].hex(),
        "0x" + (said() + b"\x01\x00\x00\x05abc").hex(),
        "0x" + (said() + b"\x01\x00").hex(),
        "0x" + said((9, b"")).hex(),
        "0x" + said((1, b""), (1, b""), (1, b"")).hex(),
        "0x1",
        "zz",
        None,
        12,
    ],
)
async def test_nonsense_is_never_a_result(answer: Any) -> None:
    async with reading(lambda _: answer) as (reader, node):
        with pytest.raises(NoAnswer, match="answered a packed read in a shape that is wrong"):
            await reader.call([call(1), call(2)], node.chain.head)


@pytest.mark.parametrize("answer", [None, 12, "0x", "0x" + said((9, b"")).hex()])
async def test_of_a_node_that_reads_nonsense_the_next_one_reads(answer: Any) -> None:
    async with Node() as bad, Node() as good:
        bad.answers["eth_call"] = lambda _: answer
        good.answers["eth_call"] = LensNode()
        async with await Rpc.open([bad.url, good.url], 31337, limits=FREELY) as rpc:
            calls = [call(1), call(2)]

            assert await LensReader(rpc).call(calls, good.chain.head) == returned(calls)
            assert rpc.healthy == (False, True)


async def test_a_node_without_the_block_fails_the_read_at_once_and_not_by_halves() -> None:
    def refuse(_: Any) -> Any:
        raise Refusal(-32000, "header not found")

    async with reading(refuse) as (reader, node):
        with pytest.raises(RpcError, match="header not found"):
            await reader.call([call(index) for index in range(600)], node.chain.head)

        assert node.count("eth_call") <= 10


async def test_the_same_call_twice_is_made_once() -> None:
    node_lens = LensNode()
    calls = [call(1), call(2), call(1)]
    async with reading(node_lens) as (reader, node):
        assert await reader.call(calls, node.chain.head) == returned(calls)

    assert node_lens.sizes == [2]


def _sum(*batches: tuple[int, ...]) -> Steps[int]:
    total = 0
    for batch in batches:
        results = yield tuple(call(index) for index in batch)
        for result in results:
            assert isinstance(result, Returned)
            total += int.from_bytes(result.data, "big")
    return total


def _stumbles() -> Steps[int]:
    yield (call(5),)
    raise ValueError("invalid start byte")


async def test_steps_of_different_lengths_are_merged() -> None:
    node_lens = LensNode()
    async with reading(node_lens) as (reader, node):
        results = await reader.run_all(
            [_sum((1, 2), (3,)), _sum(), _sum((2, 9), (), (10,), (11,))], node.chain.head
        )

    assert results == [6, 0, 32]
    assert node_lens.sizes == [3, 1, 1, 1]


async def test_one_that_stumbles_costs_itself() -> None:
    async with reading(LensNode()) as (reader, node):
        first, second, third = await reader.run_all_settled(
            [_sum((1,), (2,)), _stumbles(), _sum((7,))], node.chain.head
        )
        with pytest.raises(BadAnswer, match="invalid start byte"):
            await reader.run_all([_sum((1,)), _stumbles()], node.chain.head)

    assert (first, third) == (3, 7)
    assert isinstance(second, BadAnswer)


async def test_nothing_to_read_asks_nothing() -> None:
    async with reading(LensNode()) as (reader, node):
        assert await reader.run(_sum(), node.chain.head) == 0
        assert await reader.call([], node.chain.head) == ()
        assert node.count("eth_call") == 0


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=70)), max_size=12),
    st.data(),
)
def test_what_the_lens_said_is_read_exactly_and_a_cut_never_is(
    results: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    answer = said(*results)

    place, decoded = lens.decode(answer, len(results), SHARES)

    assert (place.number, place.timestamp) == (GENESIS.number, GENESIS.timestamp)
    assert place.parent_hash == GENESIS.parent_hash
    assert [isinstance(result, Returned) for result in decoded] == [s == 1 for s, _ in results]
    assert [r.data for (s, _), r in zip(results, decoded, strict=True) if s < 2] == [
        payload for state, payload in results if state < 2
    ]
    cut = answer[: data.draw(st.integers(0, len(answer) - 1))]
    try:
        _, fewer = lens.decode(cut, len(results), SHARES)
    except BadAnswer:
        return
    assert fewer == decoded[: len(fewer)]


def test_shares_that_the_lens_could_not_hold_to_are_refused() -> None:
    with pytest.raises(ValueError, match="must fit"):
        Shares(answer_cap_bytes=600_000)
    with pytest.raises(ValueError, match="call_gas"):
        Shares(call_gas=2**32)


def test_a_failure_says_why() -> None:
    _, results = lens.decode(said((0, b"\xde\xad"), (2, b""), (3, b"")), 3, SHARES)

    assert results == (
        Failed("reverted", b"\xde\xad"),
        Failed("answered more than 65,536 bytes"),
        Failed("used all of its 2,000,000 gas"),
    )
