"""A history that one node tells alone: what it leaves out is found by bloom and receipts."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.chain import complete
from keeper.chain.bloom import bits
from keeper.chain.complete import Check, Completeness, claims_more
from keeper.chain.history import backfill
from keeper.chain.rpc import Rpc
from keeper.model import Hash, Log, LogFilter
from tests.chain_unit.bare_anvil import bare_anvil
from tests.faults.proxy import Proxy
from tests.faults.rig import BELL, LIMITS, OTHER, RING, WANTED, Truth, planted

pytestmark = pytest.mark.chain

Places = list[tuple[int, int]]


@asynccontextmanager
async def node(seed: int = 5) -> AsyncIterator[tuple[Proxy, Places]]:
    """A node behind a proxy, and every log that there is."""
    async with bare_anvil() as anvil:
        truth, chance = Truth(anvil), random.Random(seed)
        await truth.prepare()
        for _ in range(12):
            await anvil.mine(chance.randint(3, 14))
            for _ in range(chance.choice((1, 1, 2, 3))):
                await truth.ring(chance.randrange(2**64))
            await anvil.mine()
        found = await anvil.control(
            "eth_getLogs",
            {"fromBlock": "0x0", "address": list(WANTED.addresses), "topics": [[RING]]},
        )
        async with Proxy(anvil.url, random.Random(seed)) as proxy:
            yield proxy, sorted((int(o["blockNumber"], 16), int(o["logIndex"], 16)) for o in found)


async def told(
    proxy: Proxy, check: Check, *, blocks: int = 2_000, counts: Counter[str] | None = None
) -> Places:
    async with await Rpc.open([proxy.url], 31337, limits=LIMITS) as rpc:
        last = await rpc.block_number()
        got: Places = []
        async for _, _, logs in backfill(
            rpc, WANTED, 0, last, first_range_blocks=blocks, check=check
        ):
            got += [(one.block_number, one.log_index) for one in logs]
        if counts is not None:
            counts.update(rpc.counts)
    return got


async def test_a_block_whose_logs_are_left_out_is_read_from_its_receipts() -> None:
    async with node() as (proxy, places):
        block = places[len(places) // 2][0]
        proxy.lies.hidden = frozenset(place for place in places if place[0] == block)

        believed = await told(proxy, Check.OFF)
        with capture_logs() as logs:
            looked_at = await told(proxy, Check.FULL)

    assert believed == [place for place in places if place[0] != block]
    assert looked_at == places
    [line] = [line for line in logs if line["event"] == "history.incomplete"]
    assert line["block"] == block


async def test_one_log_among_others_of_its_block_is_found_where_every_block_is_looked_at() -> None:
    async with node() as (proxy, places):
        twice = next(place for place in places if place[1] == 1)
        proxy.lies.hidden = frozenset({twice})

        assert twice not in await told(proxy, Check.OFF)
        assert await told(proxy, Check.FULL) == places


async def test_a_node_that_leaves_out_much_is_noticed_by_a_sample_and_then_looked_at_throughout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(complete, "WHOLE_BLOCKS", 16)  # the chain is short
    async with node() as (proxy, places):
        proxy.lies.hidden = frozenset(places)
        for _ in range(20):  # which blocks are drawn is chance
            with capture_logs() as logs:
                got = await told(proxy, Check.SAMPLED)
            noticed = [line for line in logs if line["event"] == "history.incomplete"]
            if noticed:
                break

        assert noticed
        assert got == places


async def test_a_node_that_leaves_nothing_out_costs_few_headers() -> None:
    counts: Counter[str] = Counter()
    async with node() as (proxy, places):
        got = await told(proxy, Check.SAMPLED, blocks=8, counts=counts)

    assert got == places
    assert counts["eth_getBlockByNumber"] <= complete.FIRST_HEADERS + 4
    assert counts["eth_getBlockReceipts"] <= complete.FIRST_HEADERS


async def test_a_node_without_receipts_is_believed_and_that_is_said_once() -> None:
    async with node() as (proxy, places):
        proxy.lies.hidden = frozenset(places[:3])
        proxy.lies.no_receipts = True
        with capture_logs() as logs:
            got = await told(proxy, Check.FULL)

    assert got == places[3:]
    [line] = [line for line in logs if line["event"] == "history.unverified"]
    assert "eth_getBlockReceipts" in line["reason"]


async def test_a_range_is_asked_for_again_in_parts_where_an_answer_was_cut_short() -> None:
    async with node() as (proxy, places):

        async def cut(self: Proxy, asked: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
            answer = await self._forward(asked)
            return answer | {"result": answer["result"][:6]}  # in silence

        with planted(Proxy, "_logs", cut):
            believed = await told(proxy, Check.OFF)
            proxy.lies.no_batches = True  # headers one by one as well
            looked_at = await told(proxy, Check.FULL)

    assert believed == places[:6]
    assert looked_at == places


async def test_the_check_is_what_finds_it() -> None:
    async def blind(*_: object) -> tuple[Log, ...]:
        return ()

    async with node() as (proxy, places):
        proxy.lies.hidden = frozenset(places[4:])
        with planted(Completeness, "_left_out", blind):
            got = await told(proxy, Check.FULL)

    assert got == places[:4]


# --- what a bloom says ------------------------------------------------------------------------


def rung(topic: Hash = RING, address: str = BELL) -> Log:
    return Log(
        address=type(BELL)(address),
        topics=(topic,),
        data=b"",
        block_number=1,
        block_hash=Hash("0x" + "11" * 32),
        log_index=0,
    )


@pytest.mark.parametrize(
    ("in_bloom", "logs", "more"),
    [
        ((), (), False),
        ((BELL,), (), False),
        ((RING,), (), False),
        ((BELL, OTHER), (), False),
        ((BELL, RING), (), True),
        ((BELL, RING), (rung(),), False),
        ((BELL, RING, WANTED.addresses[1]), (rung(),), True),
    ],
    ids=["empty", "no topic", "no address", "another topic", "both", "it came", "another address"],
)
def test_what_a_bloom_claims_besides_what_came(
    in_bloom: Sequence[str], logs: Sequence[Log], more: bool
) -> None:
    bloom = 0
    for item in in_bloom:
        bloom |= bits(item)

    assert claims_more(bloom, WANTED, logs) is more


def test_without_topics_any_log_of_the_address_will_do() -> None:
    wanted = LogFilter(addresses=(BELL,), topics0=())

    assert claims_more(bits(BELL), wanted, ())
    assert not claims_more(bits(BELL), wanted, (rung(OTHER),))
