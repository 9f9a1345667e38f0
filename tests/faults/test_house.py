"""Each row of the fault matrix that is about the whole keeper, and the planted bug it catches."""

import contextlib
import random

import pytest

from keeper.app import watcher as watcher_module
from keeper.chain.branch import BranchLost
from keeper.devnet.network import Stage, start
from keeper.model import Declined, Submitted
from tests.chain.watching import Watching
from tests.faults.campaign import Campaign, Trial, trials, with_the_bug
from tests.faults.house import HOUSE, armed, devnet_of, nonce_of, shock
from tests.faults.proxy import Fault
from tests.faults.rows import POSITIONS

pytestmark = pytest.mark.chain

ROWS = [pytest.param(row, id=row.id) for row in HOUSE]


@pytest.mark.parametrize("row", ROWS)
async def test_no_fault_makes_it_act_wrongly(row: Campaign, stage: Stage) -> None:
    result = await trials(row, stage, first=1, count=1)

    assert result.violations == []
    assert result.suffered, "nothing was done to it"


@pytest.mark.parametrize("row", ROWS)
async def test_the_planted_bug_is_caught(row: Campaign, stage: Stage) -> None:
    result = await with_the_bug(row, stage, first=1, most=3)

    assert result.violations, f"not caught: {row.bug_is}"


async def test_with_one_of_two_nodes_people_are_warned_and_nothing_is_sent(stage: Stage) -> None:
    trial = Trial(seed="two nodes", chance=random.Random(3))
    async with devnet_of(stage) as devnet, armed(devnet, trial, 2) as (here, [_, second], _):
        nonce = await nonce_of(devnet)
        second.weather = {Fault.DROP: 1.0}
        await here.tick()
        await shock(devnet, 880)
        done = await here.tick()
        sent_alone = await nonce_of(devnet) - nonce
        second.calm()
        await here.until(lambda: here.watcher.chain is not None and not _rests(here))
        again = [await here.tick() for _ in range(4)]

        declined = [s for s in done.submissions if isinstance(s, Declined)]
        assert declined
        assert declined == list(done.submissions)
        assert all("the nodes do not agree on this block: 1 of 2" in s.reason for s in declined)
        assert sent_alone == 0
        assert any(isinstance(s, Submitted) for one in again for s in one.submissions)
        assert await nonce_of(devnet) > nonce


def _rests(here: Watching) -> bool:
    assert here.watcher.chain is not None
    return any(provider.resting for provider in here.watcher.chain.rpc._providers)


def _final(here: Watching) -> int:
    final = here.watcher.chain and here.watcher.chain.heads.finalized
    return final.number if final else 0


DEEPER = 90
"""More blocks than are held right after the start."""


@pytest.mark.parametrize("depth", [4, DEEPER], ids=["within memory", "deeper than memory"])
async def test_a_reorg_past_finality_disarms_and_a_reopened_chain_stays_disarmed(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "REOPEN_S", 0.1)
    stage = start(POSITIONS, options=("--slots-in-an-epoch", "1"))  # final is two blocks below
    trial = Trial(seed="finality", chance=random.Random(4))
    try:
        async with stage.devnet() as devnet, contextlib.AsyncExitStack() as stack:
            await devnet.anvil.mine(DEEPER, 1)
            here, _, _ = await stack.enter_async_context(armed(devnet, trial))
            chain = here.watcher.chain
            assert chain is not None
            chain.heads._finality_s = 0.0
            for _ in range(4):
                await here.tick()
            await here.until(lambda: _final(here) >= here.passes[-1].block.number - 3)
            first = here.watcher.executor
            await devnet.anvil.reorg(depth)
            await devnet.anvil.mine()
            await here.until(lambda: here.watcher.broken != "")
            await here.until(lambda: here.watcher.executor is not first)
            await here.until(lambda: here.watcher.lost == "")
            await here.tick()
            executor = here.watcher.executor
            assert executor is not None
            await shock(devnet, 880)
            nonce = await nonce_of(devnet)
            for _ in range(3):
                await here.tick()

            assert "was final and is not canonical any more" in here.watcher.broken
            assert not executor.armed
            assert executor.disarmed_reason == here.watcher.broken
            assert await nonce_of(devnet) == nonce
    finally:
        stage.stop()


async def test_a_node_that_turned_to_another_chain_is_left_out_when_the_chain_is_opened_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "REOPEN_S", 0.1)
    trial = Trial(seed="another chain", chance=random.Random(5))
    async with devnet_of(stage) as devnet, armed(devnet, trial, 2) as (here, [first, second], _):
        await here.tick()
        second.lies.chain_id = 5
        left_with_one = await _opened_again(here)
        first.lies.chain_id = 5
        await _lose(here)
        await here.until(lambda: "answers for chain 5" in here.watcher.lost)
        ended = here.task.done()
        first.lies.chain_id = second.lies.chain_id = None
        await here.until(lambda: here.watcher.lost == "")
        await here.tick()

        assert left_with_one == ["alive", "wrong chain"]
        assert not ended


async def _lose(here: Watching) -> None:
    """Let the chain be given up and opened again, as after a reorg that is too deep."""
    chain = here.watcher.chain
    assert chain is not None
    await here.until(lambda: chain.heads._branch is not None)
    chain.heads._mailbox._fault = BranchLost("as after a reorg")
    chain.heads._mailbox._full.set()
    await here.until(lambda: here.watcher.lost != "")


async def _opened_again(here: Watching) -> list[str]:
    await _lose(here)
    await here.until(lambda: here.watcher.lost == "")
    assert here.watcher.chain is not None
    return [node.state for node in here.watcher.chain.rpc.health]
