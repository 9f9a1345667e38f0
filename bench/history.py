"""D2: a history of transfers from a node to the accounts in it, fetch included, in bounded memory.

An Anvil with ``D2_LOGS`` genuine Transfer events of 5,000 accounts: 60,000 by default, a million
for the long form.  Ours: `keeper.chain.history.backfill` with `Distinct`, in ranges that it finds
by itself.  Theirs: web3.py's ``get_logs`` of the event over a part of the same history.  Both must
find the same accounts there.

What the node alone takes is in `context`, by turns with ours: the ranges that ours came to, read
and thrown away, one after the other and as many at once as ours has on their way.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from web3 import AsyncHTTPProvider, AsyncWeb3

from bench.decode import TRANSFER_ABI
from bench.line import RUNS, Line, median, say, spread
from keeper.chain.history import Distinct, backfill
from keeper.chain.pace import AHEAD
from keeper.chain.provider import Limits
from keeper.chain.rpc import Rpc
from keeper.model import Address, LogFilter
from keeper.protocols.aave_v3.topics import TRANSFER
from tests.chain_unit.bare_anvil import Anvil, bare_anvil

LOGS = int(os.environ.get("D2_LOGS", "60000"))
A_TRANSACTION = 1_000
"""Logs of one transaction; one to a block."""
ACCOUNTS = 5_000
THEIR_LOGS = 3_000
THEIR_RUNS = 3
TOKEN = Address("0x" + "70" * 20)
SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
CODE = (
    "5f355b8015603d576001900380602035018 05f525f7f".replace(" ", "")
    + TRANSFER[2:]
    + ("60205fa36002565b00")
)
"""Calldata n, base: emits Transfer(0, base + i, base + i) for each i below n."""
WANTED = LogFilter(addresses=(TOKEN,), topics0=(TRANSFER,))


def run() -> Iterator[Line]:
    """Yield D2."""
    yield asyncio.run(_measure())


async def _measure() -> Line:
    async with bare_anvil("--gas-limit", "60000000", "--order", "fifo") as anvil:
        first, last = await _made(anvil)
        say(f"D2: {LOGS:,} logs in blocks {first:,} to {last:,}")
        their_last = first + THEIR_LOGS // A_TRANSACTION - 1
        theirs = []
        for _ in range(THEIR_RUNS):
            us, their_accounts = await _theirs(anvil, first, their_last)
            theirs.append(us)
        theirs_us = median(theirs)
        same, _ = await _ours(anvil.url, first, their_last, [])
        assert same == their_accounts, "both must find the same accounts"
        runs, alone, at_once = [], [], []
        for _ in range(RUNS if LOGS <= 100_000 else 3):
            ranges: list[tuple[int, int]] = []
            accounts, seconds = await _ours(anvil.url, first, last, ranges)
            assert len(accounts) == min(ACCOUNTS, LOGS), len(accounts)
            runs.append(seconds / LOGS * 1e6)
            alone.append(await _node(anvil, ranges, 1))
            at_once.append(await _node(anvil, ranges, AHEAD))
        before_mb, peak_mb = await _peak_mb(anvil.url, first, last)
    times = [theirs_us / us for us in runs]
    return Line(
        id="D2",
        what="backfill from node to accounts, fetch included, vs web3.py get_logs",
        value=median(times),
        unit="x",
        reach=">= 50",
        ok=median(times) >= 50,
        runs=len(runs),
        spread=spread(times),
        context={
            "logs": LOGS,
            "ours_us_per_log": median(runs),
            "ours_us_per_log_spread": spread(runs),
            "ranges": len(ranges),
            "node_alone_us_per_log": median(alone),
            "node_alone_spread": spread(alone),
            "node_alone_at_once_us_per_log": median(at_once),
            "node_alone_at_once_spread": spread(at_once),
            "web3_us_per_log": theirs_us,
            "web3_spread": spread(theirs),
            "web3_logs": THEIR_LOGS,
            "accounts": min(ACCOUNTS, LOGS),
            "logs_per_s": 1e6 / median(runs),
            "resident_mb": before_mb,
            "peak_resident_mb": peak_mb,
        },
    )


async def _made(anvil: Anvil) -> tuple[int, int]:
    await anvil.set_code(TOKEN, CODE)
    first = await anvil.rpc.block_number() + 1
    for number in range(LOGS // A_TRANSACTION):
        base = (number * A_TRANSACTION) % ACCOUNTS + 1
        data = f"0x{A_TRANSACTION:064x}{base:064x}"
        request = {"from": SENDER, "to": TOKEN, "data": data, "gas": hex(4_000_000)}
        await anvil.control("eth_sendTransaction", request)
        await anvil.mine()
    return first, await anvil.rpc.block_number()


async def _ours(
    url: str, first: int, last: int, ranges: list[tuple[int, int]]
) -> tuple[set[str], float]:
    """Return the accounts and the seconds it took; `ranges` are noted down."""
    limits = Limits(calls_per_second=100_000, timeout_s=60.0)
    accounts: set[str] = set()
    async with await Rpc.open([url], 31337, limits=limits) as rpc:
        began = time.perf_counter()
        async for start, end, logs in backfill(
            rpc, WANTED, first, last, select=Distinct(), first_range_blocks=10
        ):
            ranges.append((start, end))
            accounts.update(log.topics[2] for log in logs)
        return accounts, time.perf_counter() - began


async def _node(anvil: Anvil, ranges: list[tuple[int, int]], at_once: int) -> float:
    """What the same requests take of which nothing is decoded, so many at a time."""
    left = iter(ranges)

    async def asker(session: aiohttp.ClientSession) -> None:
        for start, end in left:
            span = {"fromBlock": hex(start), "toBlock": hex(end)}
            wanted = span | {"address": TOKEN, "topics": [TRANSFER]}
            request = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [wanted]}
            async with session.post(anvil.url, json=request) as response:
                await response.read()

    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        await asyncio.gather(*(asker(session) for _ in range(at_once)))
        return (time.perf_counter() - began) / LOGS * 1e6


async def _theirs(anvil: Anvil, first: int, last: int) -> tuple[float, set[str]]:
    provider = AsyncHTTPProvider(anvil.url)
    token = AsyncWeb3.to_checksum_address(TOKEN)
    event = AsyncWeb3(provider).eth.contract(token, abi=TRANSFER_ABI).events.Transfer()
    accounts: set[str] = set()
    began = time.perf_counter()
    found = await event.get_logs(from_block=first, to_block=last)
    for log in found:
        accounts.add("0x" + "00" * 12 + log["args"]["to"][2:].lower())
    seconds = time.perf_counter() - began
    await provider.disconnect()
    assert len(found) == THEIR_LOGS, len(found)
    return seconds / THEIR_LOGS * 1e6, accounts


async def _peak_mb(url: str, first: int, last: int) -> tuple[float, float]:
    """Resident memory before one more run, and the most during it."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # noqa: ASYNC240 - the kernel answers at once: the peak is from now on
    before = _status_mb("VmRSS")
    await _ours(url, first, last, [])
    return before, _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024
