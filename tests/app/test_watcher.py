"""One chain under watch: what runs beside the heads may not die unseen."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from keeper.app import watcher as watcher_module
from keeper.app.chain import OpenChain
from keeper.app.own_faults import faults_of
from keeper.app.service import Service
from keeper.app.watcher import Watcher, _until
from keeper.chain.branch import Advance
from keeper.chain.finality import FinalityBroken
from keeper.chain.health import NodeHealth, NodeState
from keeper.engine.engine import Engine
from keeper.errors import ConfigError, JournalError
from keeper.model import BlockRef, Confirmed, Hash, Receipt
from keeper.settings import load
from keeper.store.database import Database
from keeper.units import Wad, Wei
from keeper.web.metrics import Metrics
from tests.execution.rig import Rig
from tests.execution.test_progress import PLAN
from tests.protocols.aave_v3 import builders as b
from tests.risk.test_screen import book_of
from tests.risk.test_spread import borrower

BLOCK = BlockRef(
    number=7,
    hash=Hash("0x" + "77" * 32),
    parent_hash=Hash("0x" + "66" * 32),
    timestamp=1_700_000_007,
)
HEAD = Advance(orphaned=(), adopted=(BLOCK,), received_at=0.0)

SILENT = "no block of ethereum was taken for 67 s"


W = TypeVar("W", bound=Watcher)


def made(kind: type[W], folder: Path, clock: Callable[[], float]) -> W:
    """A watcher of Ethereum that was never opened: silence is noticed after 60 s."""
    settings = load(None, {"ETHEREUM_RPC_URL": "http://127.0.0.1:1"}, env_file=folder / "none")
    return kind(
        settings,
        settings.select()[0],
        cast("Database", None),
        on_pass=lambda *_: None,
        on_progress=lambda *_: None,
        clock=clock,
    )


def watcher_of(folder: Path, clock: Callable[[], float]) -> Watcher:
    return made(Watcher, folder, clock)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return


async def broken() -> None:
    raise JournalError("The disk is full.")


async def test_an_error_beside_the_heads_ends_the_watch() -> None:
    following = asyncio.create_task(for_ever())
    beside = asyncio.create_task(broken())

    with pytest.raises(JournalError, match="disk is full"):
        await _until(following, (following, beside))

    following.cancel()


async def test_what_has_done_its_work_does_not_end_the_watch() -> None:
    following = asyncio.create_task(asyncio.sleep(0.05))
    beside = asyncio.create_task(at_once())

    await _until(following, (following, beside))

    assert following.done()
    assert beside.done()


class Slow:
    """An engine that takes a head for as long as it is told."""

    def __init__(self) -> None:
        self.enough = asyncio.Event()

    async def take(self, _: Advance) -> None:
        await self.enough.wait()


async def test_a_head_that_is_dealt_with_for_too_long_is_stuck_and_then_no_more(
    tmp_path: Path,
) -> None:
    now = [1_000.0]
    watcher = watcher_of(tmp_path, lambda: now[0])
    engine = Slow()
    taking = asyncio.create_task(watcher._take(cast("Engine", engine), HEAD))
    await asyncio.sleep(0)

    at_once = watcher.stuck
    now[0] += watcher.silence_limit_s + 1
    later = watcher.stuck
    engine.enough.set()
    await taking

    assert (at_once, later, watcher.stuck) == (False, True, False)


async def test_a_chain_of_which_no_block_was_ever_taken_is_a_fault(tmp_path: Path) -> None:
    now = [1_000.0]
    watcher = watcher_of(tmp_path, lambda: now[0])
    watcher.opened_at = now[0]

    quiet = faults_of(watcher)
    now[0] += watcher.silence_limit_s + 7

    assert quiet == ()
    assert [(f.part, str(f.sentence)) for f in faults_of(watcher)] == [
        ("heads", f"{SILENT}; `keeper check` looks at its nodes")
    ]


async def test_silence_names_what_ails_the_nodes(tmp_path: Path) -> None:
    now = [1_000.0]
    watcher = watcher_of(tmp_path, lambda: now[0])
    watcher.opened_at = now[0]
    well = NodeHealth(name="http://a", state=NodeState.ALIVE, reason="", head=7, latency_s=0.1)
    ill = replace(
        well, name="https://b", state=NodeState.UNREACHABLE, reason="cannot be reached (timeout)"
    )
    nodes = SimpleNamespace(health=(well, ill))
    watcher.chain = cast("OpenChain", SimpleNamespace(heads=SimpleNamespace(doubt=""), rpc=nodes))

    now[0] += watcher.silence_limit_s + 7

    assert str(faults_of(watcher)[0].sentence) == (
        f"{SILENT}: https://b cannot be reached (timeout); `keeper check` looks at its nodes"
    )


async def test_history_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, lambda: 0.0)
    watcher.history_unread = "The node refuses ranges."

    assert [(f.part, str(f.sentence)) for f in faults_of(watcher)] == [
        ("history", "borrowers are not all known: The node refuses ranges.")
    ]


class Unread:
    """An engine that can observe no block."""

    async def take(self, _: Advance) -> None:
        return


async def test_a_kill_switch_is_seen_on_every_head_and_is_a_fault_until_a_restart(
    tmp_path: Path,
) -> None:
    switch = tmp_path / "stop"
    watcher = watcher_of(tmp_path, lambda: 0.0)
    watcher.executor = Rig(wiring={"kill_switch": switch}).executor
    switch.touch()

    await watcher._take(cast("Engine", Unread()), HEAD)
    switch.unlink()
    await watcher._take(cast("Engine", Unread()), HEAD)

    assert not watcher.executor.armed
    assert [(f.part, f.sentence) for f in faults_of(watcher)] == [
        ("signer", f"the kill switch {switch} was thrown")
    ]


async def test_a_kill_switch_is_seen_while_no_head_comes_and_the_gauge_says_so(
    tmp_path: Path,
) -> None:
    switch = tmp_path / "stop"
    watcher = watcher_of(tmp_path, lambda: 0.0)
    watcher.executor = Rig(wiring={"kill_switch": switch}).executor
    service: Any = SimpleNamespace(watchers=(watcher,), metrics=Metrics())

    Service._heed_kill_switch(service)
    armed = service.metrics.registry.get_sample_value("keeper_armed", {"chain": "ethereum"})
    switch.touch()
    Service._heed_kill_switch(service)
    then = service.metrics.registry.get_sample_value("keeper_armed", {"chain": "ethereum"})

    assert (armed, then) == (1, 0)


def test_a_kill_switch_taken_back_while_the_chain_was_lost_is_kept_over_the_reopening(
    tmp_path: Path,
) -> None:
    switch = tmp_path / "stop"
    watcher = watcher_of(tmp_path, lambda: 0.0)
    watcher.executor = Rig(wiring={"kill_switch": switch}).executor
    switch.touch()
    watcher.heed_kill_switch()
    switch.unlink()
    reopened = Rig(wiring={"kill_switch": switch}).executor

    watcher._disarm_as_before(reopened)

    assert reopened.disarmed_reason == f"the kill switch {switch} was thrown"


def test_all_borrowers_are_counted_after_a_pass_and_then_not_for_a_while(tmp_path: Path) -> None:
    now = [1_000.0]
    watcher = watcher_of(tmp_path, lambda: now[0])
    reading: Any = SimpleNamespace(view=b.view(), block=BLOCK, unreadable=(), prices=())
    book = book_of(borrower(1, 10**12))
    market = SimpleNamespace(
        id=SimpleNamespace(name="aave"),
        book=book,
        market=None,
        adapter=SimpleNamespace(sources=lambda _: ()),
    )
    engine: Any = SimpleNamespace(markets=(market,), readings={"aave": reading})

    watcher._look_at_all(engine)
    book.put(borrower(2, 10**12))
    now[0] += 14.9
    watcher._look_at_all(engine)
    before = watcher.spreads["aave"].accounts
    now[0] += 0.2
    watcher._look_at_all(engine)

    assert (before, watcher.spreads["aave"].accounts) == (1, 2)


def test_what_is_said_and_kept_of_an_outcome_is_the_health_that_was_read_of_it(
    tmp_path: Path,
) -> None:
    watcher = watcher_of(tmp_path, lambda: 0.0)
    receipt = Receipt(
        tx_hash=Hash("0x" + "99" * 32),
        block_number=7,
        block_hash=BLOCK.hash,
        succeeded=True,
        gas_used=200_001,
        effective_gas_price_wei=Wei(7),
    )
    outcome = Confirmed(plan=PLAN, receipt=receipt)

    [known], [row] = watcher._on_settled(outcome, Wad(1_250_000_000_000_000_001))
    [unknown], [none] = watcher._on_settled(outcome, None)

    assert "→ 1.250" in known.text
    assert row.fields["health_after_wad"] == "1250000000000000001"
    assert "→ unknown" in unknown.text
    assert none.fields["health_after_wad"] is None


class Told:
    """Stands for what signs, or for what is known to be final."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.forgotten = False

    def disarm(self, reason: str) -> None:
        self.reasons.append(reason)

    def forget(self) -> None:
        self.forgotten = True


async def test_a_final_block_that_is_undone_disarms_at_once_and_is_a_fault(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, lambda: 0.0)
    told = Told()
    watcher.executor = cast("Any", told)
    watcher.chain = cast("Any", SimpleNamespace(heads=SimpleNamespace(finality=told)))

    watcher._break(FinalityBroken("Block 7 was final."))

    assert told.reasons == ["Block 7 was final."]
    assert told.forgotten, "the chain that there is now is watched"
    assert watcher.broken == "Block 7 was final."


class Reopened(Watcher):
    """One whose chain opens as often as it is told, and then cannot be opened."""

    opens = 1
    tries = 0

    async def _watch(self) -> None:
        self.tries += 1
        if self.tries > self.opens:
            raise ConfigError("http://a answers for chain 5: correct the URL.")
        self.opened.set()


async def test_what_is_wrong_at_the_start_ends_it(tmp_path: Path) -> None:
    watcher = made(Reopened, tmp_path, lambda: 0.0)
    watcher.opens = 0

    with pytest.raises(ConfigError, match="correct the URL"):
        await watcher.run()


async def test_what_is_wrong_when_the_chain_is_opened_again_is_a_fault_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "REOPEN_S", 0.001)
    now = [1_000.0]
    watcher = made(Reopened, tmp_path, lambda: now[0])
    watcher.opened_at = now[0]
    running = asyncio.create_task(watcher.run())
    while watcher.tries < 4 and not running.done():  # noqa: ASYNC110 - it is polled
        await asyncio.sleep(0.001)
    at_once = faults_of(watcher)
    now[0] += watcher.silence_limit_s + 7
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert running.cancelled()
    assert at_once == ()
    assert [(f.part, str(f.sentence)) for f in faults_of(watcher)] == [
        ("heads", f"{SILENT}; `keeper check` looks at its nodes"),
        ("chain", "http://a answers for chain 5: correct the URL."),
    ]
