"""L1: from the head's arrival to the first send acknowledged, with a million accounts in the book.

The engine as it runs, on Anvil with the real contracts: logs, packed read, oracles judged, screen,
exact, decision, simulation, policy, journal on disk, signature, the raw bytes stored, the send
acknowledged.  Ether falls a little at each block; each block with a liquidation is one run.

*Wall* is all of it, with Anvil answering on the same cores.  *Own* is wall less what
the keeper spent doing nothing but wait for the node, as `bench.own_time` measures it.  Of it,
`processor` is what all of its threads computed: what is left when the machine is busy with others.

What is real: 200 borrowers made by transactions and 2,000 written into the contracts' storage, some
of whom cross the line at every block; only they are acted upon, by transactions that the contracts
take.  What is synthetic: the other 997,800, whom the chain does not know.  They are put into the
book, drawn as `bench.crowd` draws but for the lowest: three in a thousand are below 1 already, and
a hundred more at each block.  Whoever of them can be below 1 owes too little for a transaction, but
is screened, assessed exactly and refused at each block like anybody else.  The sweep does not reach
them within the run.

The keeper talks to Anvil through its Unix socket; with ``L1_HTTP=1`` over HTTP.

Beside it, on the same node between the same blocks, what a bot on web3.py takes as it is usually
written, for one account instead of a million: the head, the account's health from the Pool, a
transaction built by the library with its estimate and fees, signature, send.  Nothing is simulated,
journalled or decided there.
"""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3

from bench.house import House, watched
from bench.line import Line, median, say, spread
from bench.own_time import OwnTime, Stretch
from bench.written import COLLATERALS, DEBTS, some
from keeper.devnet.implant import Implant, implant
from keeper.devnet.network import Devnet, Stage, start
from keeper.engine.passes import Pass
from keeper.model import Address, Entry, Holdings, Side
from keeper.ports import Advance
from keeper.units import BPS, RAY

BORROWERS: Final = 200
WRITTEN: Final = 2_000
ACCOUNTS: Final = int(os.environ.get("L1_ACCOUNTS", "1000000"))
STATED: Final = 1_000_000
THEIR_RUNS: Final = 20
STEP: Final = Decimal("0.9998")
STEPS: Final = 160
RUNS: Final = int(os.environ.get("L1_RUNS", "100"))
HTTP: Final = bool(os.environ.get("L1_HTTP"))
APART: Final = 0.00006
"""Between the health factors of those that are written: about three to a step."""
LOWEST: Final = 0.998
"""The least health factor of a synthetic account: three in a thousand are below 1 at first."""
POOR_BELOW: Final = 1.25
"""Synthetic accounts below this health factor owe too little to be worth a transaction."""


def run() -> Iterator[Line]:
    """Yield L1."""
    timer = OwnTime()
    with tempfile.TemporaryDirectory(prefix="keeper-bench-") as folder:
        ipc = Path(folder, "anvil.ipc")
        stage = start(BORROWERS, options=("--ipc", str(ipc)))
        try:
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(timer)) as runner:
                yield runner.run(_measure(stage, timer, None if HTTP else ipc))
        finally:
            stage.stop()


@dataclass(slots=True)
class _Heads:
    """When each head that the engine took had arrived."""

    received_at: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By hash: monotonic and processor seconds."""

    def of(self, house: House) -> None:
        """Note it from here on."""
        take = house.engine.take

        async def noting(advance: Advance) -> Pass | None:
            taken = (advance.received_at, time.process_time())
            self.received_at[advance.adopted[-1].hash] = taken
            return await take(advance)

        house.engine.take = noting  # type: ignore[method-assign]  # the one door of all heads


async def _measure(stage: Stage, timer: OwnTime, ipc: Path | None) -> Line:
    with timer.counting():
        async with watched(
            stage,
            armed(stage),
            approve=True,
            prepare=lambda devnet: on_the_line(devnet, WRITTEN),
            ipc=ipc,
        ) as house:
            heads = _Heads()
            heads.of(house)
            fill(house, ACCOUNTS - house.borrowers)
            say("L1: Ether falls")
            found: list[Stretch] = []
            decided, whole, below, processor, sent = [], [], [], [], 0
            for _ in range(STEPS):
                await house.push_eth(STEP)
                began = time.monotonic()
                done = await house.tick()
                del house.passes[:-1]  # thousands of assessments each, which the keeper lets go
                received_at, spent_before_s = heads.received_at[done.block.hash]
                decided.append(done.decision_s * 1e3)
                whole.append((time.monotonic() - began) * 1e3)
                below.append(len(done.assessments))
                if done.broadcast_s is None:
                    continue
                acknowledged = timer.sent_after(received_at)
                assert acknowledged is not None
                acknowledged_at, spent_s = acknowledged
                processor.append((spent_s - spent_before_s) * 1e3)
                sent += len(done.submissions)
                found.append(timer.between(received_at, acknowledged_at))
                if len(found) >= RUNS:
                    break
            borrowers = house.borrowers
            theirs = await _by_web3(house)
    own, wall = [s.own_s * 1e3 for s in found], [s.wall_s * 1e3 for s in found]
    p50, p99 = median(own), _p99(own)
    return Line(
        id="L1",
        what=f"head received to transaction acknowledged, {borrowers:,} accounts, our own time",
        value=p50,
        unit="ms",
        reach="p50 <= 5 ms, p99 <= 15 ms, our own time, 1e6 accounts",
        ok=p50 <= 5 and p99 <= 15 and borrowers >= STATED,
        runs=len(own),
        spread=spread(own),
        context={
            "p99": p99,
            "processor_p50": median(processor),
            "processor_p99": _p99(processor),
            "wall_p50": median(wall),
            "web3_one_account_wall_p50": median(theirs),
            "web3_runs": len(theirs),
            "web3_over_ours": median(theirs) / median(wall),
            "wall_p99": _p99(wall),
            "decision_wall_p50": median(decided),
            "tick_p50": median(whole),
            "over": "HTTP" if ipc is None else "the node's socket",
            "accounts": borrowers,
            "real_accounts": BORROWERS + WRITTEN,
            "assessed_exactly_in_a_block": median(below),
            "submissions": sent,
        },
    )


async def _by_web3(house: House) -> list[float]:
    """Milliseconds that a bot on web3.py takes from knowing of a head to a send acknowledged."""
    there, artifacts = house.devnet.deployment, house.devnet.artifacts
    w3 = AsyncWeb3(AsyncHTTPProvider(there.rpc_url))
    bob, asset = there.account("bob"), there.reserve("WETH").asset
    sender = AsyncWeb3.to_checksum_address(bob.address)
    watched = AsyncWeb3.to_checksum_address(there.borrowers[0].address)
    address = AsyncWeb3.to_checksum_address(there.pool)
    pool = w3.eth.contract(address, abi=artifacts.get("IPool").abi)
    token = w3.eth.contract(
        AsyncWeb3.to_checksum_address(asset), abi=artifacts.get("TestnetERC20").abi
    )
    key = Account.from_key(bob.private_key)
    found = []
    say("L1: the same by web3.py, for one account")
    for number in range(THEIR_RUNS + 1):
        await house.tick()
        began = time.monotonic()
        head = await w3.eth.get_block("latest")
        await pool.functions.getUserAccountData(watched).call(block_identifier=head["number"])
        unsigned = await token.functions.approve(address, number).build_transaction(
            {"from": sender, "nonce": await w3.eth.get_transaction_count(sender)}
        )
        signed = key.sign_transaction(unsigned)
        await w3.eth.send_raw_transaction(signed.raw_transaction)
        found.append((time.monotonic() - began) * 1e3)
    await w3.provider.disconnect()
    return found[1:]  # the first one opens the connection


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1) + 0.5)]


def armed(stage: Stage) -> str:
    """Return the configuration of a keeper that liquidates whatever earns a dollar."""
    key = stage.deployment.account("keeper").private_key
    return f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "2000000"
[signing]
armed_chain_ids = [{stage.deployment.chain_id}]
private_key = "{key}"
max_per_tx_usd = "2000000"
max_per_day_usd = "1000000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "500"
"""


async def on_the_line(devnet: Devnet, count: int) -> None:
    """Write borrowers that owe USDC on Ether, one behind the other above 1."""
    say(f"writing {count:,} borrowers into the contracts' storage")
    chance = random.Random(17)
    there = devnet.deployment
    ether, dollar = there.reserve("WETH"), there.reserve("USDC")
    price = await devnet.price("ETH/USD") / await devnet.price("USDC/USD")
    made = []
    for number in range(count):
        usd = 10 ** chance.uniform(3.3, 4.3)
        capacity = usd * ether.liquidation_threshold_bps / BPS
        entries = (
            Entry(
                reserve=ether.reserve,
                side=Side.COLLATERAL,
                scaled=int(usd / float(price) * 10**18),
            ),
            Entry(
                reserve=dollar.reserve,
                side=Side.DEBT,
                scaled=int(capacity / (1.0005 + number * APART) * 10**6),
            ),
        )
        holdings = Holdings(
            account=_address(1, number),
            e_mode=0,
            entries=tuple(sorted(entries, key=lambda e: e.reserve)),
        )
        made.append(Implant(holdings=holdings))
    await implant(devnet, made)


def fill(house: House, count: int, lowest: float = LOWEST) -> None:
    """Put accounts that the chain does not know into the book, from that health factor on."""
    say(f"putting {count:,} synthetic accounts into the book")
    for holdings in _synthetic(house, count, lowest):
        house.market.book.put(holdings)


def _synthetic(house: House, count: int, lowest: float) -> Iterator[Holdings]:
    chance = random.Random(31)
    reserves: Any = next(iter(house.engine.readings.values())).view
    by_symbol = {now.asset.symbol: now for now in reserves.reserves.values()}
    for index in range(count):
        collaterals = some(chance, COLLATERALS, 1 + (chance.random() < 0.68))
        debts = some(
            chance,
            {s: w for s, w in DEBTS.items() if s not in collaterals},
            1 + (chance.random() < 0.22),
        )
        health = lowest + 2.03 * chance.random() ** 1.2
        most = 0.9 if health < POOR_BELOW else 6.0
        entries, capacity = [], 0.0
        for symbol in collaterals:
            now = by_symbol[symbol]
            usd = 10 ** chance.uniform(most - 1, most)
            capacity += usd * now.configuration.liquidation_threshold / BPS
            entries.append(_entry(now, Side.COLLATERAL, now.liquidity_index, usd))
        for symbol in debts:
            now = by_symbol[symbol]
            usd = capacity / health / len(debts)
            entries.append(_entry(now, Side.DEBT, now.debt_index, usd))
        entries.sort(key=lambda e: e.reserve)
        yield Holdings(account=_address(2, index), e_mode=0, entries=tuple(entries))


def _entry(now: Any, side: Side, index: int, usd: float) -> Entry:
    raw = usd * 1e8 / now.price * now.unit * RAY / index
    return Entry(reserve=now.reserve.id, side=side, scaled=max(1, int(raw)))


def _address(group: int, index: int) -> Address:
    seed = (group << 64) + index + 1
    return Address(f"0x{seed * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**160:040x}")
