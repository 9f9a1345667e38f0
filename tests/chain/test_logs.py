"""Logs of a real node: by block hash, over a history, and where a contract was deployed."""

from collections.abc import AsyncIterator
from itertools import pairwise

import msgspec
import pytest

from keeper.chain.history import backfill, deployment_block
from keeper.chain.logs import LogReader
from keeper.chain.sealed import is_sealed
from keeper.chain.wire import Header
from keeper.errors import ObservationError, RpcError
from keeper.model import Address, Hash, Log, LogFilter
from tests.chain_unit.bare_anvil import Anvil, bare_anvil

pytestmark = pytest.mark.chain

SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
TOPIC = Hash("0x" + f"{0x1234:064x}")
OTHER_TOPIC = Hash("0x" + f"{0x9999:064x}")
LOUD = Address("0x" + "00" * 17 + "c0de01")
LOUD_CODE = "3660006000376112343660" + "00a100"
"""Emits one log: topic 0x1234, its call data as data."""
WANTED = LogFilter(addresses=(LOUD,), topics0=(TOPIC,))


@pytest.fixture
async def anvil() -> AsyncIterator[Anvil]:
    async with bare_anvil() as running:
        await running.set_code(LOUD, LOUD_CODE)
        await running.mine()
        yield running


async def emit(anvil: Anvil, *data: int) -> None:
    """Mine one block with one log for each of `data`."""
    for value in data:
        await anvil.control(
            "eth_sendTransaction",
            {"from": SENDER, "to": LOUD, "data": hex(0xA0000000 + value), "gas": "0x186a0"},
        )
    await anvil.mine()


async def test_the_headers_of_a_real_node_are_proved_by_their_hash(anvil: Anvil) -> None:
    await emit(anvil, 1)
    head = await anvil.rpc.block_number()
    for number in range(head + 1):
        fields = await anvil.control("eth_getBlockByNumber", hex(number), False)
        lie = fields | {"logsBloom": f"0x{int(fields['logsBloom'], 16) ^ 1:0512x}"}

        assert is_sealed(msgspec.convert(fields, Header))
        assert not is_sealed(msgspec.convert(lie, Header))
    assert int(fields["logsBloom"], 16)


async def test_the_logs_of_a_block_are_read_by_its_hash(anvil: Anvil) -> None:
    await emit(anvil, 1, 2)
    block = await anvil.rpc.block()
    await emit(anvil, 3)

    logs = await LogReader(anvil.rpc, WANTED).at(block)

    assert logs == (
        Log(
            address=LOUD, topics=(TOPIC,), data=bytes.fromhex("a0000001"),
            block_number=block.number, block_hash=block.hash, log_index=0,
        ),
        Log(
            address=LOUD, topics=(TOPIC,), data=bytes.fromhex("a0000002"),
            block_number=block.number, block_hash=block.hash, log_index=1,
        ),
    )  # fmt: skip


async def test_other_topics_are_left_out(anvil: Anvil) -> None:
    await emit(anvil, 1)
    block = await anvil.rpc.block()

    wanted = LogFilter(addresses=(LOUD,), topics0=(OTHER_TOPIC,))

    assert await LogReader(anvil.rpc, wanted).at(block) == ()
    everything = LogFilter(addresses=(LOUD,), topics0=())
    assert len(await LogReader(anvil.rpc, everything).at(block)) == 1


async def test_the_logs_of_a_block_that_is_gone_are_an_error(anvil: Anvil) -> None:
    await emit(anvil, 1)
    block = await anvil.rpc.block()
    await anvil.reorg(1)

    with pytest.raises((RpcError, ObservationError)):
        await LogReader(anvil.rpc, WANTED).at(block)


async def test_a_history_is_read_whole(anvil: Anvil) -> None:
    for value in range(40):
        await emit(anvil, value)
        await anvil.mine(value % 7)
    last = await anvil.rpc.block_number()
    progress: list[tuple[int, int]] = []

    pages = [
        page
        async for page in backfill(
            anvil.rpc, WANTED, 0, last, lambda *done: progress.append(done), first_range_blocks=5
        )
    ]

    found = [int.from_bytes(log.data, "big") - 0xA0000000 for _, _, logs in pages for log in logs]
    assert found == list(range(40))
    assert pages[0][0] == 0
    assert pages[-1][1] == last
    assert all(page[0] == before[1] + 1 for before, page in pairwise(pages))
    assert progress[-1] == (last + 1, last + 1)


async def test_the_block_of_a_deployment_is_found(anvil: Anvil) -> None:
    await anvil.mine(37)
    # init code: return one byte, 0x00, as the runtime code
    sent = await anvil.control(
        "eth_sendTransaction", {"from": SENDER, "data": "0x600160005360016000f3", "gas": "0x30d40"}
    )
    await anvil.mine()
    receipt = await anvil.control("eth_getTransactionReceipt", sent)
    await anvil.mine(64)

    found = await deployment_block(anvil.rpc, Address(receipt["contractAddress"]))

    assert found == int(receipt["blockNumber"], 16)


async def test_an_address_without_code_was_never_deployed(anvil: Anvil) -> None:
    with pytest.raises(ObservationError, match="no contract at 0x0000"):
        await deployment_block(anvil.rpc, Address("0x" + "00" * 20))
