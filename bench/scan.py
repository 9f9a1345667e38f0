"""P1: a scan of every account by the contract's own view, against what the keeper does instead.

The scan asks `getUserAccountData` of each account through Multicall3's `aggregate3`, 500 a call,
packed and unpacked by hand: the best that a polling bot does.  Ours answers the same question at
the same block: the block's logs and one packed read of indices and prices, both asked for at once
as the engine does, the book screened, and whoever may be below 1 computed to the wei.  On blocks
that touched no account, every other one with a new price.  The whole pass, with oracles judged,
decisions taken and watches read, stands beside.

A run is one scan, of 21 requests, and the median of nine passes of ours at the same block, as R1
takes it.  Between two blocks the processor forgets the code of both: the first of the nine stands
beside (`first_ms`), as it is what a block costs whoever has waited for it; of the scan it is a part
in twenty.

Both sides talk to the node through its Unix socket; ``http_*`` is the same over HTTP.

10,000 accounts are written into the storage of the real contracts; all are compared to the wei.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.house import House, watched
from bench.line import Line, median, ratios, say, spread
from bench.written import SAID
from keeper.chain.wire import at_block
from keeper.devnet.abi import encode_call
from keeper.devnet.network import Stage, start
from keeper.model import Address, BlockRef
from keeper.risk.exact import below, endangered
from keeper.units import WAD

BORROWERS: Final = 10_000
STATED: Final = 10_000
TURN: Final = 9
"""Passes of ours in one run, whose median counts."""
A_CALL: Final = 500
RUNS: Final = 12
MULTICALL3: Final = Address("0xca11bde05977b3631167028862be2a173976ca11")
_WORD: Final = 32
_ANSWER: Final = 6 * _WORD


def run() -> Iterator[Line]:
    """Yield P1."""
    with tempfile.TemporaryDirectory(prefix="keeper-bench-") as folder:
        ipc = Path(folder, "anvil.ipc")
        stage = start(100, options=("--ipc", str(ipc)))
        try:
            yield asyncio.run(_line(stage, ipc))
        finally:
            stage.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Seconds of each run, over one transport."""

    accounts: int
    scans: list[float]
    ours: list[float]
    firsts: list[float]
    """The first pass of ours at each block."""
    passes: list[float]
    different: int

    @property
    def times(self) -> tuple[float, ...]:
        """How many times a scan takes what ours does, run by run."""
        return ratios(self.scans, self.ours)


async def _line(stage: Stage, ipc: Path) -> Line:
    http = await _measure(stage, None)
    measured = await _measure(stage, ipc)
    times, scans, accounts = measured.times, measured.scans, measured.accounts
    different = measured.different + http.different
    return Line(
        id="P1",
        what="Multicall3 scan of the same real accounts vs health of all of them by ours",
        value=median(times),
        unit="x",
        reach=">= 500 at 10,000 accounts",
        ok=median(times) >= 500 and different == 0 and accounts >= STATED,
        runs=len(times),
        spread=spread(times),
        context={
            "accounts": accounts,
            "accounts_made": SAID,
            "scan_ms": median(scans) * 1e3,
            "scan_us_per_account": median(scans) / accounts * 1e6,
            "scan_calls": -(-accounts // A_CALL),
            "ours_ms": median(measured.ours) * 1e3,
            "first_ms": median(measured.firsts) * 1e3,
            "vs_first": median(ratios(scans, measured.firsts)),
            "ours_calls": 2,
            "whole_pass_ms": median(measured.passes) * 1e3,
            "vs_whole_pass": median(ratios(scans, measured.passes)),
            "http": median(http.times),
            "http_scan_ms": median(http.scans) * 1e3,
            "http_ours_ms": median(http.ours) * 1e3,
            "compared": RUNS * (accounts + http.accounts),
            "different_from_the_contract": different,
        },
    )


async def _measure(stage: Stage, ipc: Path | None) -> _Measured:
    async with watched(stage, written=BORROWERS, ipc=ipc) as house:
        devnet = house.devnet
        code = devnet.artifacts.get("Aggregate3").deployed_bytecode
        await devnet.anvil.set_code(MULTICALL3, bytes.fromhex(code))
        accounts = tuple(house.market.book.accounts())
        over = "HTTP" if ipc is None else "the node's socket"
        say(f"P1: scanning {len(accounts):,} accounts over {over}, and not")
        scans, ours, firsts, passes, different = [], [], [], [], 0
        for number in range(RUNS):
            if number % 2:
                await house.push_eth(Decimal("0.9993"))
            done = await house.tick()
            passes.append(done.decision_s)
            turn = [await _ours(house, done.block) for _ in range(TURN)]
            ours.append(median(turn))
            firsts.append(turn[0])
            took, theirs = await _scan(house, accounts, done.block)
            scans.append(took)
            different += _different(house, accounts, theirs)
    return _Measured(
        accounts=len(accounts),
        scans=scans,
        ours=ours,
        firsts=firsts,
        passes=passes,
        different=different,
    )


async def _ours(house: House, block: BlockRef) -> float:
    """Seconds from knowing the head to knowing who of the whole book is below 1."""
    market = house.market
    observer = house.engine._observer  # noqa: SLF001 - the parts of a pass, one by one
    began = time.perf_counter()
    seen, logs = await asyncio.gather(
        observer._reader.run(  # noqa: SLF001 - the steps of a pass are timed one by one
            market.adapter.observe(
                market.market,
                (),
                market.book.get,
                rooms=market._rooms,  # noqa: SLF001 - as the engine asks: nobody is watched here
            ),
            block,
        ),
        observer._logs.at(block),  # noqa: SLF001 - the steps of a pass are timed one by one
    )
    market.adapter.touched(market.market, logs)
    view = market.adapter.view(market.market, seen, block, {})
    below(market.book, view, endangered(market.book, view.weights(), WAD), WAD)
    return time.perf_counter() - began


async def _scan(
    house: House, accounts: Sequence[Address], block: BlockRef
) -> tuple[float, list[bytes]]:
    """Seconds the scan took, and what the Pool answered of each account."""
    chain = house.watcher.chain
    assert chain is not None
    pool = house.devnet.deployment.pool
    artifact = house.devnet.artifacts.get("IPool")
    selector = encode_call(artifact, "getUserAccountData", MULTICALL3)[:4]
    aggregate = encode_call(house.devnet.artifacts.get("Aggregate3"), "aggregate3", [])[:4]
    answers: list[bytes] = []
    began = time.perf_counter()
    for first in range(0, len(accounts), A_CALL):
        some = accounts[first : first + A_CALL]
        request = {
            "to": MULTICALL3,
            "data": "0x" + _packed(aggregate, pool, selector, some).hex(),
        }
        text = await chain.rpc.call_as("eth_call", [request, at_block(block)], Any)
        answers += _unpacked(bytes.fromhex(text[2:]), len(some))
    return time.perf_counter() - began, answers


def _packed(aggregate: bytes, pool: Address, selector: bytes, accounts: Sequence[Address]) -> bytes:
    """The call data of `aggregate3`, all tuples of one size."""
    a_tuple = 6 * _WORD
    count = len(accounts)
    target = bytes.fromhex(pool[2:]).rjust(_WORD, b"\0")
    head = target + _word(0) + _word(3 * _WORD) + _word(36) + selector + bytes(12)
    tail = bytes(28)
    return b"".join(
        (
            aggregate,
            _word(_WORD),
            _word(count),
            *(_word(_WORD * count + a_tuple * i) for i in range(count)),
            *(head + bytes.fromhex(account[2:]) + tail for account in accounts),
        )
    )


def _unpacked(answer: bytes, count: int) -> list[bytes]:
    """The six words of each account: every result has one size as none failed."""
    first = 2 * _WORD + _WORD * count
    step = 3 * _WORD + _ANSWER
    if len(answer) != first + step * count:
        raise ValueError("a call of the scan failed")
    return [answer[at + 3 * _WORD : at + step] for at in range(first, first + step * count, step)]


def _word(number: int) -> bytes:
    return number.to_bytes(_WORD, "big")


def _different(house: House, accounts: Sequence[Address], theirs: Sequence[bytes]) -> int:
    """In how many accounts the keeper's book disagrees with the contract."""
    market, reading = house.market, next(iter(house.engine.readings.values()))
    different = 0
    for account, said in zip(accounts, theirs, strict=True):
        holdings = market.holdings(account)
        assert holdings is not None
        mine = reading.view.contract_health(holdings)
        collateral, debt = (int.from_bytes(said[at : at + _WORD], "big") for at in (0, _WORD))
        health = int.from_bytes(said[5 * _WORD :], "big")
        different += (mine.collateral, mine.debt, mine.health_factor) != (collateral, debt, health)
    return different
