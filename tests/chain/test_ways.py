"""Reads at nodes that refuse the lens, held against the lens on the real Pool and on hostile code.

The refusals are made by the fault proxy in front of Anvil; Multicall3 is its deployed code.
"""

import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from structlog.testing import capture_logs

from keeper.app.registry import PROTOCOLS
from keeper.chain import fallback, multicall
from keeper.chain import ways as ways_module
from keeper.chain.multicall import MULTICALL3
from keeper.chain.place import Place
from keeper.chain.provider import Limits, Provider, Request
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.chain.ways import Way
from keeper.devnet.network import Devnet
from keeper.errors import BadAnswer, RpcError
from keeper.model import Address, BlockRef, Call, CallResult, Failed, Hash, MarketId, Returned
from tests.chain_unit.bare_anvil import Anvil, bare_anvil
from tests.faults.proxy import Lies, Proxy

pytestmark = pytest.mark.chain

MULTICALL3_CODE = (
    Path(__file__).parents[1].joinpath("chain_unit/multicall3.hex").read_text("utf-8").strip()
)
FREELY = Limits(calls_per_second=100_000)
NO_LENS = Lies(no_lens=True)
LITTLE_GAS = Lies(most_gas=2_900_000)
NEITHER_LENS_NOR_BATCHES = Lies(no_lens=True, no_batches=True)
HOSTILE = {
    "answers 10 MB": "629896805ff3",
    "never ends": "5b5f56",
    "is invalid": "fe",
    "reverts with 1 MB": "620f42405ffd",
    "recurses": "5f5f5f5f305afa5f5260205ff3",
}


@asynccontextmanager
async def seen_through(url: str, lies: Lies) -> AsyncIterator[tuple[LensReader, Rpc, Proxy]]:
    async with (
        Proxy(url, random.Random(1), lies=lies) as proxy,
        await Rpc.open([proxy.url], 31337, limits=FREELY, attempts=1) as rpc,
    ):
        yield LensReader(rpc), rpc, proxy


@pytest.fixture(params=[True, False], ids=["Multicall3", "no Multicall3"])
async def multicall3(request: pytest.FixtureRequest, devnet: Devnet) -> bool:
    there = bool(request.param)
    code = bytes.fromhex(MULTICALL3_CODE) if there else b""
    await devnet.anvil.set_code(MULTICALL3, code)
    await devnet.anvil.mine()
    return there


@pytest.mark.parametrize(
    ("lies", "way"),
    [
        (NO_LENS, None),
        (LITTLE_GAS, Way.SINGLY),
        (NEITHER_LENS_NOR_BATCHES, None),
    ],
    ids=["no lens", "little gas", "neither lens nor batches"],
)
async def test_the_pool_is_read_to_the_wei_as_by_the_lens(
    devnet: Devnet, multicall3: bool, lies: Lies, way: Way | None
) -> None:
    there = devnet.deployment
    id_ = MarketId(chain_id=there.chain_id, protocol="aave_v3", name="aave-v3-devnet")
    adapter = PROTOCOLS["aave_v3"](id_, there.addresses_provider)
    people = [borrower.address for borrower in devnet.borrowers]
    url = devnet.anvil.http_url

    async def read(reader: LensReader, head: BlockRef) -> tuple[Any, ...]:
        market = await reader.run(adapter.discover(), head)
        steps = adapter.observe(market, people, lambda _: None)
        observed, health = await reader.run_all([steps, adapter.account_data(market, people)], head)
        return market, observed, health

    async with await Rpc.open([url], 31337, limits=FREELY) as rpc:
        head = await rpc.block()
        by_lens = LensReader(rpc)
        wanted = await read(by_lens, head)
    async with seen_through(url, lies) as (reader, _, proxy):
        found = await read(reader, head)
        name = _name(proxy)

    assert by_lens.ways == {url: Way.LENS}
    assert reader.ways == {name: way or (Way.MULTICALL if multicall3 else Way.SINGLY)}
    assert len(wanted[1].holdings) == len(people)
    assert found == wanted


def _name(proxy: Proxy) -> str:
    return proxy.url.partition("/key/")[0]


# --- hostile contracts ------------------------------------------------------------------------


def at(index: int) -> Address:
    return Address(f"0x{0xC0DE0000 + index:040x}")


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with bare_anvil() as running:
        await running.set_code(MULTICALL3, MULTICALL3_CODE)
        for index in range(40):
            await running.set_code(at(index), f"61{0x4000 + index:04x}5f5260205ff3")
        for index, code in enumerate(HOSTILE.values()):
            await running.set_code(at(100 + index), code)
        await running.mine()
        yield running


GOOD = [Call(to=at(index), data=bytes([index])) for index in range(40)]
BAD = [Call(to=at(100 + index), data=b"") for index in range(len(HOSTILE))]
MIXED = [*GOOD[:13], *BAD[:3], *GOOD[13:], *BAD[3:], Call(to=at(999), data=b"\x01\x02")]


@pytest.mark.parametrize("lies", [NO_LENS, LITTLE_GAS, Lies()], ids=["no lens", "little gas", ""])
async def test_hostile_contracts_cost_themselves_and_nobody_else(anvil: Anvil, lies: Lies) -> None:
    head = await anvil.rpc.block()

    async with seen_through(anvil.url, lies) as (reader, rpc, _):
        answers = dict(zip(MIXED, await reader.call(MIXED, head), strict=True))
        rpc.counts.clear()
        again = dict(zip(MIXED, await reader.call(MIXED, head), strict=True))

    for index, call in enumerate(GOOD):
        assert answers[call] == Returned((0x4000 + index).to_bytes(32, "big"))
    assert answers[MIXED[-1]] == Returned(b"")
    bad = [answers[call] for call in BAD]
    assert [isinstance(one, Failed) for one in bad[:4]] == [True] * 4
    assert [len(one.data) for one in bad if isinstance(one, Failed)] == [0] * len(
        [one for one in bad if isinstance(one, Failed)]
    )
    assert again == answers
    assert rpc.counts["eth_call"] <= (60 if lies is LITTLE_GAS else 20), (
        "those who broke it are known"
    )


async def test_a_block_that_the_node_does_not_have_is_no_reason_to_leave_the_lens(
    anvil: Anvil,
) -> None:
    gone = nowhere(await anvil.rpc.block())

    async with seen_through(anvil.url, Lies()) as (reader, _, proxy):
        with pytest.raises(RpcError):
            await reader.call(GOOD, gone)
        assert reader.ways == {_name(proxy): Way.LENS}


async def test_a_node_that_catches_up_meanwhile_is_read_by_the_lens_as_before(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = await anvil.rpc.block()

    async with seen_through(anvil.url, Lies(lag_blocks=1)) as (reader, _, proxy):
        refuses = fallback.refuses

        async def behind_until_a_plain_call(node: Provider, request: Request) -> bool:
            if "to" in request[1][0]:
                proxy.calm()
            return await refuses(node, request)

        monkeypatch.setattr(ways_module, "refuses", behind_until_a_plain_call)
        answers = await reader.call(GOOD, head)

    assert answers[0] == Returned((0x4000).to_bytes(32, "big"))
    assert reader.ways == {_name(proxy): Way.LENS}


def nowhere(head: BlockRef) -> BlockRef:
    """A block that no node has."""
    return replace(head, number=head.number + 7, hash=Hash("0x" + "77" * 32))


@pytest.mark.parametrize("lies", [NO_LENS, LITTLE_GAS], ids=["Multicall3", "call by call"])
async def test_a_block_that_a_limited_node_does_not_have_is_no_fault_of_the_calls(
    anvil: Anvil, lies: Lies
) -> None:
    head = await anvil.rpc.block()

    async with seen_through(anvil.url, lies) as (reader, _, __):
        await reader.call(GOOD, head)
        with pytest.raises(RpcError):
            await reader.call(GOOD, nowhere(head))


async def test_a_call_by_itself_has_no_more_gas_than_the_lens_gives_it(anvil: Anvil) -> None:
    await anvil.set_code(at(0), "5a5f5260205ff3")  # answers the gas that it has left
    await anvil.mine()
    head = await anvil.rpc.block()

    async with seen_through(anvil.url, LITTLE_GAS) as (reader, _, __):
        [left] = await reader.call([Call(to=at(0), data=bytes(100))], head)

    assert isinstance(left, Returned)
    assert 1_999_000 < int.from_bytes(left.data, "big") < 2_010_000


async def test_the_way_is_said_once_and_the_lens_is_tried_again_later(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = await anvil.rpc.block()
    async with seen_through(anvil.url, NO_LENS) as (reader, _, proxy):
        with capture_logs() as said:
            for _ in range(3):
                await reader.call(GOOD, head)
        taken = [line for line in said if line["event"] == "read.way"]
        monkeypatch.setattr(ways_module, "LENS_AGAIN_S", 0.0)
        proxy.lies = Lies()
        await reader.call(GOOD, head)

        assert [(line["node"], line["way"]) for line in taken] == [(_name(proxy), "Multicall3")]
        assert "SECRET" not in repr(taken)
        assert reader.ways == {_name(proxy): Way.LENS}


# --- other blocks -----------------------------------------------------------------------------


@pytest.mark.parametrize("lies", [{}, {"no_lens": True}], ids=["the lens", "Multicall3"])
async def test_a_read_from_another_block_is_made_again(anvil: Anvil, lies: dict[str, Any]) -> None:
    first = await anvil.rpc.block()
    await anvil.set_code(at(0), "60025f5260205ff3")
    await anvil.mine()
    head = await anvil.rpc.block()

    async with seen_through(anvil.url, Lies(**lies)) as (reader, _, proxy):
        await reader.call(GOOD[:1], first)
        proxy.lies.elsewhere_blocks, proxy.lies.elsewhere_calls = 1, 2
        [result] = await reader.call(GOOD[:1], head)

        assert result == Returned((2).to_bytes(32, "big"))
        assert proxy.done["answered from elsewhere"] == 2


async def test_a_node_that_reads_only_other_blocks_is_not_believed(anvil: Anvil) -> None:
    head = await anvil.rpc.block()

    async with seen_through(anvil.url, Lies(elsewhere_blocks=1)) as (reader, _, __):
        with pytest.raises(RpcError, match="answered a read from another block: it was run in"):
            await reader.call(GOOD[:1], head)


# --- bytes ------------------------------------------------------------------------------------


def test_calls_are_packed_as_the_abi_says() -> None:
    calls = [Call(to=at(3), data=b""), Call(to=at(4), data=bytes(range(70)))]

    packed = multicall.encode(calls, MULTICALL3)

    [decoded] = abi_decode(["(address,bool,bytes)[]"], packed[4:])
    views = [bytes.fromhex(one) for one in ("42cbb15c", "0f28c97d", "27e86d6e")]
    assert packed[:4].hex() == "82ad56cb"
    assert decoded == tuple(
        [(MULTICALL3, True, view) for view in views] + [(c.to, True, c.data) for c in calls]
    )


def _views() -> Iterator[tuple[bool, bytes]]:
    for value in (7, 1_700_000_001, int("ab" * 32, 16)):
        yield True, value.to_bytes(32, "big")


def test_answers_are_read_as_the_abi_says_and_a_cut_never_is() -> None:
    theirs = [
        (True, bytes(range(90))),
        (False, b"\x08\xc3"),
        (True, bytes(200)),
        (False, bytes(99)),
    ]
    answer = abi_encode(["(bool,bytes)[]"], [[*_views(), *theirs]])

    place, results = multicall.decode(answer, 4, 95)

    assert place == Place(number=7, timestamp=1_700_000_001, parent_hash=Hash("0x" + "ab" * 32))
    assert results == (
        Returned(bytes(range(90))),
        Failed("reverted", b"\x08\xc3"),
        Failed("answered more than 95 bytes"),
        Failed("reverted"),
    )
    for end in range(len(answer)):
        cut: tuple[CallResult, ...] | None = None
        with contextlib.suppress(BadAnswer):
            _, cut = multicall.decode(answer[:end], 4, 95)
        assert cut is None or cut == results
    with pytest.raises(BadAnswer, match="answered 7 calls, 8 were made"):
        multicall.decode(answer, 5, 95)
