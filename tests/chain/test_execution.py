"""The executor on a real node: sent once, bumped, re-sent, orphaned, stolen, killed."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keeper.errors import RpcError
from keeper.execution.executor import TxExecutor
from keeper.model import (
    BlockRef,
    Confirmed,
    Hash,
    Outcome,
    Receipt,
    Reverted,
    Submitted,
    TxState,
    Unknown,
)
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.units import Wei
from tests.chain_unit.bare_anvil import ROOT, Anvil, bare_anvil
from tests.execution.fakes import CHAIN, GWEI, SIGNER, TARGET, MemoryJournal
from tests.execution.local import COUNTER, LOCAL, count, executor, submit

pytestmark = pytest.mark.chain


class Chain:
    """Anvil, an executor, and blocks that pass."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.rpc = anvil.rpc
        self.journal = MemoryJournal()
        self.executor = executor(self.rpc, self.journal)

    async def head(self) -> BlockRef:
        return await self.rpc.block("latest")

    async def submit(self, number: int = 1) -> Submitted:
        submission = await submit(self.executor, number, await self.head())
        assert isinstance(submission, Submitted), submission
        return submission

    async def blocks(self, many: int = 1) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for _ in range(many):
            await self.anvil.mine()
            outcomes += await self.executor.settle(await self.head())
        return outcomes

    def state(self) -> TxState:
        return self.journal.plans["intent-1"].state

    async def pending(self) -> list[dict[str, Any]]:
        pool = (await self.rpc.call("txpool_content", []))["pending"]
        mine = [txs for address, txs in pool.items() if address.lower() == SIGNER.address]
        return [tx for txs in mine for tx in txs.values()]


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with bare_anvil() as anvil:
        await anvil.set_code(TARGET, COUNTER)
        await anvil.mine(3)
        yield Chain(anvil)


async def test_an_action_is_simulated_sent_once_and_confirmed(chain: Chain) -> None:
    submitted = await chain.submit()
    outcomes = await chain.blocks(3)

    # the count is 1 afterwards: 1 + 1 / 2
    assert submitted.health_after == 1_500_000_000_000_000_000
    assert [type(o) for o in outcomes] == [Confirmed]
    assert await count(chain.rpc, 1) == 1
    assert await chain.rpc.nonce(SIGNER.address) == 1


async def test_the_gas_limit_suffices_and_is_not_wasteful(chain: Chain) -> None:
    submitted = await chain.submit()
    [outcome] = await chain.blocks(3)

    assert isinstance(outcome, Confirmed)
    limit = submitted.open_plan.plan.gas_limit
    assert outcome.receipt.gas_used < limit < 2 * outcome.receipt.gas_used


async def test_what_would_revert_is_told_in_the_contracts_words(chain: Chain) -> None:
    # PUSH4 930bb771 PUSH1 e0 SHL PUSH0 MSTORE PUSH1 4 PUSH0 REVERT
    await chain.anvil.set_code(TARGET, "63930bb77160e01b5f5260045ffd")
    await chain.anvil.mine()

    submission = await submit(chain.executor, 1, await chain.head())

    assert "It would revert: health factor not below threshold." in str(submission)
    assert not chain.journal.plans


async def test_several_in_flight_are_mined_in_one_block(chain: Chain) -> None:
    nonces = [(await chain.submit(n)).open_plan.nonce for n in (1, 2, 3, 4)]
    outcomes = await chain.blocks(3)

    assert nonces == [0, 1, 2, 3]
    assert [type(o) for o in outcomes] == [Confirmed] * 4
    assert [await count(chain.rpc, n) for n in (1, 2, 3, 4)] == [1] * 4


async def test_fees_follow_the_base_fee_up_to_inclusion(chain: Chain) -> None:
    await chain.submit()
    first = (await chain.pending())[0]
    outcomes = []
    for base_fee in (40, 160, 160, 160, 160, 160, 160):
        await chain.anvil.control("anvil_setNextBlockBaseFeePerGas", hex(base_fee * GWEI))
        outcomes += await chain.blocks()

    attempts = chain.journal.plans["intent-1"].attempts
    assert [type(o) for o in outcomes] == [Confirmed]
    assert len(attempts) > 1
    assert attempts[0].tx_hash == first["hash"]
    for before, after in itertools.pairwise(attempts):
        assert 1000 * after.fees.max_fee_wei >= 1125 * before.fees.max_fee_wei
        assert 1000 * after.fees.priority_fee_wei >= 1125 * before.fees.priority_fee_wei
    assert await count(chain.rpc, 1) == 1
    assert await chain.rpc.nonce(SIGNER.address) == 1


async def test_a_dropped_transaction_is_sent_again_as_it_was(chain: Chain) -> None:
    submitted = await chain.submit()
    tx_hash = submitted.open_plan.attempts[0].tx_hash
    await chain.anvil.control("anvil_dropTransaction", tx_hash)
    await chain.blocks()

    assert [tx["hash"] for tx in await chain.pending()] == [tx_hash]
    outcomes = await chain.blocks(3)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert await count(chain.rpc, 1) == 1


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_reorg_that_orphans_the_receipt_is_noticed_and_it_is_mined_again(
    chain: Chain, depth: int
) -> None:
    await chain.submit()
    await chain.blocks(depth)
    assert chain.state() is TxState.MINED

    await chain.anvil.reorg(depth)
    assert await count(chain.rpc, 1) == 0
    await chain.executor.settle(await chain.head())
    assert chain.state() is TxState.SENT
    outcomes = await chain.blocks(5)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert await count(chain.rpc, 1) == 1


async def test_a_stolen_nonce_disarms_and_nothing_more_is_signed(chain: Chain) -> None:
    await chain.submit()
    await chain.anvil.control("anvil_dropAllTransactions")
    stranger = {"from": SIGNER.address, "to": TARGET, "value": "0x1", "gas": "0x186a0"}
    await chain.anvil.control("eth_sendTransaction", stranger)

    outcomes = await chain.blocks(2)

    assert [type(o) for o in outcomes] == [Unknown]
    assert not chain.executor.armed
    assert "not in the journal" in (chain.executor.disarmed_reason or "")
    await chain.blocks(2)
    assert chain.journal.plans["intent-1"].state is TxState.ABANDONED
    assert await count(chain.rpc, 1) == 0


async def test_past_its_deadline_the_nonce_is_used_up_by_a_self_transfer(chain: Chain) -> None:
    chain.executor = executor(
        chain.rpc, chain.journal, settings=replace(LOCAL, max_fee_wei=Wei(30 * GWEI))
    )
    await chain.submit()
    await chain.anvil.control("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
    await chain.blocks()
    await chain.anvil.control("evm_increaseTime", 1_000)
    await chain.anvil.control("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
    await chain.blocks()
    for _ in range(4):
        await chain.anvil.control("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        await chain.blocks()

    assert chain.journal.plans["intent-1"].state is TxState.ABANDONED
    assert await count(chain.rpc, 1) == 0
    assert await chain.rpc.nonce(SIGNER.address) == 1


async def test_a_transaction_that_fails_on_chain_is_reverted_and_ended(chain: Chain) -> None:
    await chain.submit()
    await chain.anvil.set_code(TARGET, "5f5ffd")

    outcomes = await chain.blocks(3)

    assert [type(o) for o in outcomes] == [Reverted]


# --- a node that misleads ---------------------------------------------------------------------


class Misleading:
    """Takes what it is sent, and says otherwise."""

    def __init__(self, anvil: Anvil, says: str, *, takes: bool) -> None:
        self._rpc = anvil.rpc
        self._says = says
        self._takes = takes
        self.misled = 0

    async def call(self, method: str, params: list[Any], /) -> Any:
        return await self._rpc.call(method, params)

    async def receipt(self, tx_hash: Hash, /) -> Receipt | None:
        return await self._rpc.receipt(tx_hash)

    async def send_raw(self, raw: bytes, /) -> Hash:
        self.misled += 1
        if self.misled > 1:
            return await self._rpc.send_raw(raw)
        if self._takes:
            await self._rpc.send_raw(raw)
        raise RpcError(self._says)


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize(
    "says",
    ["nonce too low", "replacement transaction underpriced", "already known", "timed out"],
)
async def test_an_error_of_the_send_neither_doubles_nor_loses_it(
    chain: Chain, says: str, takes: bool
) -> None:
    chain.executor = executor(Misleading(chain.anvil, says, takes=takes), chain.journal)  # type: ignore[arg-type]

    await chain.submit()
    outcomes = await chain.blocks(5)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert await count(chain.rpc, 1) == 1
    assert await chain.rpc.nonce(SIGNER.address) == 1


# --- killed for real --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "runs"),
    [
        ("intent.simulated", 0),
        ("plan.claimed", 0),
        ("tx.judged", 0),
        ("tx.signed", 0),
        ("tx.stored", 1),
        ("tx.sent", 1),
        ("tx.recorded", 1),
    ],
)
async def test_killed_between_two_steps_it_recovers_without_a_second_transaction(
    chain: Chain, tmp_path: Path, point: str, runs: int
) -> None:
    file = tmp_path / "keeper.sqlite3"
    victim = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.execution.victim", chain.anvil.url, str(file), point),
        cwd=ROOT,
    )
    assert await victim.wait() == -9

    async with await Database.open(f"sqlite:///{file}") as database:
        chain.journal = SqlJournal(database, chain_id=CHAIN)  # type: ignore[assignment]
        chain.executor = executor(chain.rpc, chain.journal)
        await chain.executor.recover(await chain.head())
        await chain.blocks(4)
        left = await chain.journal.open_plans(SIGNER.address)

        assert left == ()
        assert await count(chain.rpc, 1) == runs
        assert await chain.rpc.nonce(SIGNER.address) == runs
        again: TxExecutor = chain.executor
        assert again.armed
        await chain.submit(2)
        await chain.blocks(3)
        assert await count(chain.rpc, 2) == 1
