"""Pausing and resuming where two keys act: each is armed and disarmed by itself."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keeper.app.desk import HouseDesk
from keeper.execution.pair import PairedExecutor
from keeper.notify.languages import Voices
from tests.execution.fakes import CHAIN
from tests.execution.rig import Rig


@dataclass
class People:
    """What the store keeps of a pause; `order` is what happened when."""

    order: list[str] = field(default_factory=list)
    reason: str = ""

    async def pause(self, reason: str, *, by: str) -> None:
        self.order.append(f"stored {reason!r} by {by}")
        self.reason = reason


def desk(executor: PairedExecutor, people: People) -> HouseDesk:
    """A desk over one chain, of which only its name, settings and executor are looked at."""
    settings = SimpleNamespace(
        signing=SimpleNamespace(armed=lambda chain_id: chain_id == CHAIN),
        protect={},
        liquidate=SimpleNamespace(enabled=True),
    )
    watcher: Any = SimpleNamespace(
        name="devnet",
        executor=executor,
        settings=settings,
        config=SimpleNamespace(chain_id=CHAIN),
    )
    nobody: Any = None
    store: Any = people
    return HouseDesk(
        watchers=(watcher,),
        watches=nobody,
        outbox=nobody,
        thresholds=nobody,
        wake=lambda: None,
        bot="1",
        people=store,
        actions=nobody,
        rules=nobody,
        voices=Voices(),
        names=nobody,
    )


def pair() -> PairedExecutor:
    return PairedExecutor(protecting=Rig().executor, liquidating=Rig().executor)


async def test_resume_arms_the_key_that_was_paused_and_not_the_one_that_tripped() -> None:
    both, people = pair(), People()
    both.liquidating.disarm("5 transactions in a row reverted")

    await desk(both, people).pause("ann")
    assert not both.armed
    await desk(both, people).resume("bob")

    assert both.protecting.armed
    assert not both.liquidating.armed
    assert both.liquidating.disarmed_reason == "5 transactions in a row reverted"


async def test_resume_arms_nothing_that_the_kill_switch_stopped_meanwhile(tmp_path: Path) -> None:
    switch = tmp_path / "stop"
    wiring = {"kill_switch": switch}
    both = PairedExecutor(
        protecting=Rig(wiring=wiring).executor, liquidating=Rig(wiring=wiring).executor
    )
    people = People()

    await desk(both, people).pause("ann")
    switch.touch()
    both.heed_kill_switch()
    switch.unlink()
    await desk(both, people).resume("ann")

    assert not both.armed
    assert both.disarmed_reason == f"the kill switch {switch} was thrown; paused by ann"


async def test_resume_arms_the_key_that_was_paused_beside_one_that_was_never_armed() -> None:
    both, people = PairedExecutor(protecting=Rig().executor, liquidating=Rig().build()), People()

    await desk(both, people).pause("ann")
    await desk(both, people).resume("ann")

    assert both.protecting.armed
    assert not both.liquidating.armed


async def test_a_mode_that_is_armed_names_the_key_that_is_not() -> None:
    both = pair()
    both.protecting.disarm("nonce stolen")

    assert (
        "armed: transactions are sent, but protecting: nonce stolen" in desk(both, People()).mode()
    )


async def test_a_pause_is_stored_before_anything_is_disarmed() -> None:
    both, people = pair(), People()

    class Noting(People):
        async def pause(self, reason: str, *, by: str) -> None:
            self.order.append("armed" if both.armed else "disarmed")

    people = Noting()
    await desk(both, people).pause("ann")

    assert people.order == ["armed"]
    assert not both.armed
