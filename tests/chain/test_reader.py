"""Packed reads against a real EVM: what hostile contracts cost, and that blocks are pinned."""

import asyncio
from collections.abc import AsyncIterator, Generator

import pytest

from keeper.chain.lens import Shares
from keeper.chain.reader import LensReader
from keeper.errors import BadAnswer, RpcError
from keeper.model import Address, BlockRef, Call, CallResult, Failed, Returned
from keeper.ports import Steps
from tests.chain_unit.bare_anvil import Anvil, bare_anvil

pytestmark = pytest.mark.chain

ECHO = "366000600037366000f3"
LOOP = "5b600056"
TEN_MEGABYTES = "629896806000f3"
HUNDRED_KILOBYTES = "620186a06000f3"
REVERT = "63deadbeef6000526004601cfd"
REVERT_HUGE = "620186a06000fd"
INVALID = "fe"
DESTROY = "33ff"
GAS_LEFT = "5a60005260206000f3"
NUMBER = "4360005260206000f3"
THIRTY_KILOBYTES = "6175306000f3"


def at(index: int) -> Address:
    return Address(f"0x{0xC0DE0000 + index:040x}")


def call(index: int, data: bytes = b"") -> Call:
    return Call(to=at(index), data=data)


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with bare_anvil() as running:
        codes = (ECHO, LOOP, TEN_MEGABYTES, HUNDRED_KILOBYTES, REVERT, REVERT_HUGE, INVALID,
                 DESTROY, GAS_LEFT, NUMBER, THIRTY_KILOBYTES)  # fmt: skip
        for index, code in enumerate(codes):
            await running.set_code(at(index), code)
        await running.mine()
        yield running


async def head(anvil: Anvil) -> BlockRef:
    return await anvil.rpc.block("latest")


async def test_five_hundred_calls_in_one_eth_call_equal_five_hundred_eth_calls(
    anvil: Anvil,
) -> None:
    block = await head(anvil)
    calls = [
        call(index % 10 if index % 10 not in (1, 2) else 0, index.to_bytes(4 + index % 40, "big"))
        for index in range(500)
    ]
    calls = [one for one in calls if one.to not in (at(6), at(7), at(8))]
    singly: list[CallResult] = []
    for one in calls:
        try:
            answer = await anvil.rpc.eth_call(one.to, one.data, block)
        except RpcError as error:
            data = bytes.fromhex((error.data or "0x")[2:])
            singly.append(Failed("reverted", data if len(data) < 65_536 else b""))
        else:
            short = len(answer) <= 65_536
            singly.append(Returned(answer) if short else Failed("answered more than 65,536 bytes"))
    anvil.rpc.counts.clear()

    packed = await LensReader(anvil.rpc).call(calls, block)

    assert list(packed) == singly
    assert anvil.rpc.counts["eth_call"] == 1
    assert any(isinstance(result, Failed) for result in packed)


async def test_a_hostile_contract_costs_its_own_call(anvil: Anvil) -> None:
    calls = [call(0, b"\x01"), *(call(index) for index in range(1, 8)), call(99), call(0, b"\x02")]

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    assert results == (
        Returned(b"\x01"),
        Failed("used all of its 2,000,000 gas"),
        Failed("used all of its 2,000,000 gas"),
        Failed("answered more than 65,536 bytes"),
        Failed("reverted", bytes.fromhex("deadbeef")),
        Failed("reverted"),
        Failed("used all of its 2,000,000 gas"),
        Failed("used all of its 2,000,000 gas"),
        Returned(b""),
        Returned(b"\x02"),
    )


async def test_fifty_infinite_loops_do_not_starve_their_neighbours(anvil: Anvil) -> None:
    calls: list[Call] = []
    for index in range(50):
        calls += (call(1, bytes([index])), call(0, bytes([index])))

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    assert results[1::2] == tuple(Returned(bytes([index])) for index in range(50))
    assert all(isinstance(result, Failed) for result in results[::2])


async def test_a_call_gets_the_same_gas_wherever_it_stands(anvil: Anvil) -> None:
    calls = [call(8, index.to_bytes(2, "big")) for index in range(300)]
    calls[40:40] = [call(1, bytes([index])) for index in range(5)]

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    gas = {result.data for result in results if isinstance(result, Returned)}
    assert len(gas) == 1
    assert 1_999_900 < int.from_bytes(gas.pop(), "big") <= 2_000_000


async def test_more_than_a_contracts_size_comes_back_in_one_piece(anvil: Anvil) -> None:
    calls = [call(10, bytes([index])) for index in range(12)]  # 360,000 bytes in all
    anvil.rpc.counts.clear()

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    assert results == (Returned(bytes(30_000)),) * 12
    assert anvil.rpc.counts["eth_call"] == 1


@pytest.mark.parametrize("size", [24_571, 24_572, 24_600])
async def test_the_limit_of_a_contracts_size_is_no_edge(anvil: Anvil, size: int) -> None:
    data = bytes(index % 251 for index in range(size))

    [result] = await LensReader(anvil.rpc).call([call(0, data)], await head(anvil))

    assert result == Returned(data)


async def test_answers_beyond_the_room_are_fetched_by_a_second_read(anvil: Anvil) -> None:
    calls = [call(10, bytes([index])) for index in range(40)]  # 1,200,000 bytes in all

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    assert results == (Returned(bytes(30_000)),) * 40


async def test_a_read_is_of_the_block_asked_for_and_not_of_the_latest(anvil: Anvil) -> None:
    block = await head(anvil)
    await anvil.mine(5)

    [result] = await LensReader(anvil.rpc).call([call(9)], block)

    assert isinstance(result, Returned)
    assert int.from_bytes(result.data, "big") == block.number


async def test_a_block_that_is_gone_fails_the_read(anvil: Anvil) -> None:
    await anvil.mine(3)
    block = await head(anvil)
    await anvil.reorg(2)

    with pytest.raises(RpcError):
        await LensReader(anvil.rpc).call([call(0, bytes([n])) for n in range(8)], block)


async def test_a_thousand_calls_are_two_reads(anvil: Anvil) -> None:
    calls = [call(0, index.to_bytes(4, "big")) for index in range(1_000)]
    anvil.rpc.counts.clear()

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    assert results == tuple(Returned(index.to_bytes(4, "big")) for index in range(1_000))
    assert anvil.rpc.counts["eth_call"] == 2


async def test_calls_with_much_data_are_split_by_size(anvil: Anvil) -> None:
    calls = [call(0, bytes([index]) * 20_000) for index in range(5)]
    calls.append(call(0, bytes(50_000)))

    results = await LensReader(anvil.rpc).call(calls, await head(anvil))

    assert results[:5] == tuple(Returned(bytes([index]) * 20_000) for index in range(5))
    assert results[5] == Failed("has 50,000 bytes of call data, too many")


def _echoed(*data: bytes) -> Steps[bytes]:
    answers = b""
    for one in data:
        [result] = yield (call(0, one),)
        assert isinstance(result, Returned)
        answers += result.data
    return answers


def _hostile() -> Generator[tuple[Call, ...], tuple[CallResult, ...], bytes]:
    [result] = yield (call(4),)
    raise BadAnswer(f"the contract {result}")


async def test_steps_go_in_lockstep_and_one_that_raises_costs_itself(anvil: Anvil) -> None:
    reader = LensReader(anvil.rpc)
    block = await head(anvil)
    anvil.rpc.counts.clear()

    first, second, third = await reader.run_all_settled(
        [_echoed(b"a", b"b", b"c"), _hostile(), _echoed(b"x", b"b")], block
    )

    assert (first, third) == (b"abc", b"xb")
    assert isinstance(second, BadAnswer)
    assert anvil.rpc.counts["eth_call"] == 3


async def test_small_shares_hold(anvil: Anvil) -> None:
    shares = Shares(call_gas=50_000, answer_cap_bytes=32)

    results = await LensReader(anvil.rpc, shares=shares).call(
        [call(1), call(0, bytes(33)), call(0, bytes(32))], await head(anvil)
    )

    assert results == (
        Failed("used all of its 50,000 gas"),
        Failed("answered more than 32 bytes"),
        Returned(bytes(32)),
    )


async def test_reads_at_once_do_not_mix(anvil: Anvil) -> None:
    reader = LensReader(anvil.rpc)
    block = await head(anvil)

    answers = await asyncio.gather(
        *(reader.run(_echoed(bytes([n]), bytes([n, n])), block) for n in range(30))
    )

    assert answers == [bytes([n, n, n]) for n in range(30)]
