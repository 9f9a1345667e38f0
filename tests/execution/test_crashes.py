"""Killed between any two steps, under reorgs, drops, lost replies and jumping fees.

The checker reads the chain, never the journal's opinion: each action executed at most once, and
nothing handed to a node whose bytes were not in the journal before.  Planted bugs show that it
sees what it is there for.
"""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from keeper.errors import KeeperError, RpcError
from keeper.execution.executor import TxExecutor
from keeper.execution.sending import FAILPOINTS
from keeper.execution.transaction import decode_signed
from keeper.model import Attempt, Hash, OpenPlan, Receipt, Submitted, TxState
from keeper.units import Wei
from tests.execution.fakes import (
    GWEI,
    SIGNER,
    Crash,
    FakeChain,
    FakeView,
    MemoryJournal,
    intent,
    policy,
)
from tests.execution.rig import RULES, SETTINGS, Rig

ACTIONS = 16


class ViolationError(AssertionError):
    """The checker saw what must never happen."""


class WatchedChain(FakeChain):
    """Refuses, loudly, bytes that the journal does not hold."""

    journal: MemoryJournal

    async def send_raw(self, raw: bytes, /) -> Hash:
        stored = {a.raw for p in self.journal.plans.values() for a in p.attempts}
        if raw not in stored:
            raise ViolationError(f"{decode_signed(raw).tx} was sent before it was stored")
        return await super().send_raw(raw)

    def check(self) -> None:
        """Each action at most once on the canonical chain."""
        for data, times in Counter(d for d in self.executed() if d and d != b"foreign").items():
            if times > 1:
                raise ViolationError(
                    f"action {int.from_bytes(data[4:], 'big')} was executed {times}x"
                )


class Campaign:
    """One trial: a seed, a chain, a journal, and a process that keeps dying."""

    def __init__(self, seed: int, journal: MemoryJournal | None = None) -> None:
        self.dice = random.Random(seed)
        self.chain = WatchedChain()
        self.chain.journal = journal or MemoryJournal()
        self.rig = Rig(chain=self.chain, journal=self.chain.journal)
        self.crashes = 0
        self.serial = 0
        self.quiet = False

    def failpoint(self, _name: str) -> None:
        if not self.quiet and self.dice.random() < 0.07:
            raise Crash

    async def run(self, rounds: int = 60) -> None:
        """Let the world misbehave for `rounds` blocks, then let it settle."""
        await self._restart()
        for _ in range(rounds):
            self._misbehave()
            await self._alive(self._round)
            self.chain.check()
            if self.rig.executor.disarmed_reason is not None:
                raise ViolationError(f"disarmed without cause: {self.rig.executor.disarmed_reason}")
        self.quiet, self.chain.send_faults, self.chain.read_fault = True, [], None
        self.chain.base_fee_wei = 10 * GWEI
        await self._restart()
        for _ in range(40):
            await self.rig.block()
            self.chain.check()
        open_now = await self.rig.journal.open_plans(SIGNER.address)
        if open_now:
            raise ViolationError(f"{len(open_now)} plans never ended, the first is {open_now[0]}")
        done = {
            p.plan.data for p in self.rig.journal.plans.values() if p.state is TxState.CONFIRMED
        }
        executed = {d for d in self.chain.executed() if d}
        if done != executed:
            raise ViolationError(
                "what the journal holds for confirmed is not what the chain executed"
            )

    def _misbehave(self) -> None:
        roll = self.dice.random()
        if roll < 0.15:
            if len(self.chain.blocks) > 2:
                self.chain.reorg(self.dice.randint(1, 2), keep=self.dice.random() < 0.5)
        elif roll < 0.25:
            self.chain.pool.clear()
        elif roll < 0.40:
            self.chain.base_fee_wei = self.dice.choice((1, 10, 40, 200)) * GWEI
        self.chain.send_faults = [
            self.dice.choice(("ok", "ok", "lost reply", "refused", "black hole")) for _ in range(4)
        ]
        self.chain.read_fault = RpcError("timeout") if self.dice.random() < 0.05 else None

    async def _alive(self, step: Any) -> None:
        try:
            await step()
        except Crash:
            self.crashes += 1
            await self._restart()

    async def _restart(self) -> None:
        """Begin anew; recovery itself may die or find the node gone, and is tried again."""
        while True:
            self.rig.restart(
                failpoint=self.failpoint,
                settings=replace(SETTINGS, max_fee_wei=Wei(300 * GWEI)),
                policy=policy(max_gas_per_day_wei=Wei(10**22), max_spend_per_day=10**30),
            )
            try:
                await self.rig.executor.recover(self.chain.head)
            except Crash:
                self.crashes += 1
            except KeeperError:
                self.chain.read_fault = None
            else:
                return

    async def _round(self) -> None:
        head = self.chain.mine(include=self.dice.random() < 0.8)
        await self.rig.executor.settle(head)
        known = {
            p.plan.intent.position.account
            for p in self.rig.journal.plans.values()
            if p.state is not TxState.ABANDONED and p.state is not TxState.REVERTED
        }
        for number in range(1, ACTIONS + 1):
            wanted = intent(number, head)
            if wanted.position.account in known or self.dice.random() < 0.9:
                continue
            self.serial += 1
            again = replace(wanted, intent_id=f"intent-{self.serial}-{number}")
            await self.rig.executor.submit(again, FakeView(block=head))


@pytest.mark.parametrize("name", FAILPOINTS)
async def test_killed_at_a_named_point_it_neither_forgets_nor_repeats(name: str) -> None:
    campaign = Campaign(seed=0)
    campaign.quiet = True
    rig, chain = campaign.rig, campaign.chain
    reached: list[str] = []

    def die_once(at: str) -> None:
        reached.append(at)
        if at == name and reached.count(name) == 1:
            raise Crash

    patient = replace(SETTINGS, progress=replace(RULES, bump_after=10))
    rig.restart(failpoint=die_once, settings=patient)
    died = False
    for step in range(14):
        try:
            if step == 0:
                await rig.submit()
            elif step == 2:
                await rig.executor.settle(chain.reorg(1, keep=False))
            else:
                await rig.block()
        except Crash:
            died = True
            rig.restart(failpoint=die_once, settings=patient)
            await rig.executor.recover(chain.head)
        chain.check()

    assert died
    plans = list(rig.journal.plans.values())
    stored = name not in {"intent.simulated", "plan.claimed", "tx.judged", "tx.signed"}
    assert len(chain.executed()) == (1 if stored else 0)
    assert [p.state for p in plans] == (
        [TxState.CONFIRMED] if stored else [] if name == "intent.simulated" else [TxState.ABANDONED]
    )
    chain_bytes = {s.tx_hash for s in chain.sent}
    assert len(chain_bytes) <= 1  # the stored bytes, never rebuilt


@pytest.mark.parametrize("seed", range(40))
async def test_no_history_of_faults_executes_an_action_twice_or_loses_one(seed: int) -> None:
    campaign = Campaign(seed)

    await campaign.run()

    assert campaign.crashes > 0
    states = [p.state for p in campaign.rig.journal.plans.values()]
    assert states.count(TxState.CONFIRMED) >= ACTIONS // 2


# --- planted bugs -----------------------------------------------------------------------------


class ForgetsAttempts(MemoryJournal):
    """Says that it stored the bytes and did not."""

    async def signed(self, intent_id: str, attempt: Attempt) -> None:
        self._advance(intent_id, TxState.SIGNED)


class GivesUpOnOpenPlans(MemoryJournal):
    """Takes what is in flight for lost at every look, as a careless recovery would."""

    async def open_plans(self, signer: Any) -> tuple[OpenPlan, ...]:
        for plan in self._open(signer):
            if plan.state is TxState.SENT and plan.sent_at_block is not None:
                self.plans[plan.plan.intent.intent_id] = replace(plan, state=TxState.ABANDONED)
        return self._open(signer)


class FreesSignedNonces(GivesUpOnOpenPlans):
    """Believes the chain's receipt of anything."""

    async def mined(self, intent_id: str, receipt: Receipt) -> None:
        await self.settle(intent_id, TxState.REVERTED, receipt, (), ())


@pytest.mark.parametrize("bug", [ForgetsAttempts, GivesUpOnOpenPlans, FreesSignedNonces])
async def test_the_checker_sees_a_planted_bug(bug: type[MemoryJournal]) -> None:
    async def run_all() -> None:
        for seed in range(20):
            await Campaign(seed, bug()).run()

    with pytest.raises(ViolationError):
        await run_all()


async def test_the_checker_sees_a_sender_that_does_not_wait_for_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Campaign(1).rig

    async def careless(self: Any, plan: OpenPlan, tx: Any, block: Any) -> OpenPlan:
        attempt = await SIGNER.sign(tx)
        await self._node.send_raw(attempt.raw)
        return plan

    monkeypatch.setattr("keeper.execution.sending.Sender.dispatch", careless)

    with pytest.raises(ViolationError, match="before it was stored"):
        await rig.submit()


def test_the_executor_is_what_the_port_asks_for() -> None:
    executor: TxExecutor = Rig().executor

    for name in ("armed", "recover", "settle", "submit", "open_intents"):
        assert hasattr(executor, name)
    assert Submitted.__name__ == "Submitted"
