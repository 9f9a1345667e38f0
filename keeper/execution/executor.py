"""The executor: an intent becomes at most one transaction that counts.

``encode -> simulate -> plan -> policy -> claim -> judge -> sign -> store -> send -> note``.  A bad
intent is an answer (`Declined`), not an exception.  Not armed, the same path runs up to the claim
and answers `Rehearsed`.

One lock covers everything from the claim to the send and every pass over open plans, so that in
one process nonces are signed in the order in which they were claimed.  Nonces, one plan per
position, the caps of a day and the least balance hold between processes too, by the transaction
that claims.  Caveat: what is simulated for one intent does not know what another process with the
same key is doing, nor does what is decided to spend of its tokens.

One class, though it is long: what that lock covers is in one place, and nothing else takes it.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from keeper.errors import (
    ConfigError,
    JournalError,
    KeeperError,
    ObservationError,
    PolicyViolation,
)
from keeper.execution.arming import Arming, Breaker
from keeper.execution.joint import JointPreparation
from keeper.execution.ledger import Ledger
from keeper.execution.lenders import Lender
from keeper.execution.node import Footing, Ground, Node
from keeper.execution.planning import ExecutionSettings, journal_behind
from keeper.execution.policy import DAY_S, Denied, SigningPolicy
from keeper.execution.preparing import Ready
from keeper.execution.pricing import Pricing
from keeper.execution.sending import Failpoint, PrivateRoute, Sender, no_failpoint
from keeper.execution.signer import Signer
from keeper.execution.submitted import (
    CapsOfDay,
    by_others,
    declined,
    log_submission,
    went_well,
)
from keeper.execution.together import costs
from keeper.execution.tracking import OnSettled, Pass, Tracker
from keeper.execution.transaction import transaction
from keeper.model import (
    Abandoned,
    Address,
    BlockRef,
    Declined,
    Intent,
    OpenPlan,
    Outcome,
    Plan,
    Rehearsed,
    Submission,
    Submitted,
    Supposed,
    TxState,
    Unknown,
)
from keeper.ports import Journal, MarketView
from keeper.units import Wei

log = structlog.get_logger()


class TxExecutor:
    """Implements `keeper.ports.Executor` for one chain and one signer."""

    def __init__(
        self,
        *,
        node: Node,
        journal: Journal,
        signer: Signer | None,
        policy: SigningPolicy,
        chain_id: int,
        pricing: Pricing,
        on_settled: OnSettled,
        settings: ExecutionSettings | None = None,
        kill_switch: Path | None = None,
        rehearse_as: Address | None = None,
        flash: Lender | None = None,
        private: PrivateRoute | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        """Watch-only until `arm`.  `rehearse_as`: whose transactions to simulate without a key.
        `flash`: who funds intents that borrow; without, they are declined.  `private`: what goes to
        a relay and not to the node.
        """
        self._node = node
        self._journal = journal
        self._signer = signer
        self._policy = policy
        self._chain_id = chain_id
        self._on_settled = on_settled
        self._settings = settings or ExecutionSettings()
        self._failpoint = failpoint
        self._address = rehearse_as if signer is None else signer.address
        self._arming = Arming(policy, chain_id, kill_switch)
        self._breaker = Breaker(self._settings.most_reverts, self._settings.reverts_judged_at)
        self._ground = Ground(node)
        self._ledger = (
            None if signer is None else Ledger(journal, signer.address, policy.together_with)
        )
        self._preparation = JointPreparation(
            node=node,
            ground=self._ground,
            ledger=self._ledger,
            policy=policy,
            arming=self._arming,
            chain_id=chain_id,
            pricing=pricing,
            settings=self._settings,
            flash=flash,
            failpoint=failpoint,
        )
        self._lock = asyncio.Lock()
        self._caps = CapsOfDay()
        self._last_turn = asyncio.Event()
        self._last_turn.set()
        self._open: dict[str, Intent] = {}
        self._sender: Sender | None = None
        self._tracker: Tracker | None = None
        if signer is not None:
            self._sender = Sender(
                node=node,
                journal=journal,
                signer=signer,
                policy=policy,
                arming=self._arming,
                failpoint=failpoint,
                private=private,
            )
            self._tracker = Tracker(
                node=node,
                journal=journal,
                sender=self._sender,
                arming=self._arming,
                rules=self._settings.progress,
                pricing=pricing,
                on_settled=on_settled,
                failpoint=failpoint,
            )

    # --- arming -------------------------------------------------------------------------------

    @property
    def armed(self) -> bool:
        """Whether anything may be signed or sent."""
        return self._arming.armed

    @property
    def parts(self) -> "tuple[TxExecutor, ...]":
        """Itself: one key, armed and disarmed by itself."""
        return (self,)

    @property
    def disarmed_reason(self) -> str | None:
        """Why it was disarmed after having been armed."""
        return self._arming.disarmed_reason

    def arm(self, chain_id: int) -> None:
        """Allow signatures; `chain_id` is the operator's echo.  Raises `ConfigError`."""
        if self._signer is None:
            raise ConfigError("Arming was asked for but there is no key: name a keystore file.")
        self._arming.arm(chain_id)

    def disarm(self, reason: str) -> None:
        """Forbid signatures and sends until a person arms again."""
        self._arming.disarm(reason)

    def heed_kill_switch(self) -> None:
        """Disarm if the kill switch is on, whether or not there is anything to sign."""
        self._arming.heed_kill_switch()

    # --- open plans ---------------------------------------------------------------------------

    async def recover(self, block: BlockRef) -> tuple[Outcome, ...]:
        """Reconcile every open plan with nonce and receipts; before the first block is taken.

        Stored bytes are sent again as they are, claims that were never signed are given up.
        Raises `RpcError` or `JournalError` when that is impossible: the caller must not go on.
        """
        async with self._lock:
            if self._signer is None:
                return ()
            ground = await self._ground.at(block, self._signer.address)
            await self._compare_with_journal(self._signer.address, ground)
            await self._recall_reverts(self._signer.address, block)
            return await self._track(block, recovering=True)

    async def settle(self, block: BlockRef) -> tuple[Outcome, ...]:
        """Look at every open plan at this head.

        An unreadable node costs nothing but this look.  `Unknown` is returned once per reason.
        Raises `JournalError` only when the open plans cannot be read.
        """
        async with self._lock:
            if self._signer is None:
                return ()
            try:
                return await self._track(block, recovering=False)
            except ObservationError as error:
                log.warning("executor.unread", block=block.number, reason=str(error))
                return ()

    async def _track(self, block: BlockRef, *, recovering: bool) -> tuple[Outcome, ...]:
        assert self._signer is not None
        assert self._tracker is not None
        assert self._ledger is not None
        self._ledger.forget()
        books = await self._ledger.at(block)
        plans = tuple(sorted(books.plans.values(), key=lambda plan: plan.nonce))
        self._open = {i.intent_id: i for p in plans for i in p.plan.intents}
        ground = await self._ground.at(block, self._signer.address) if plans else None
        if ground is None:
            self._tracker.forget_all_but(frozenset())
            return ()
        if ground.chain_id != self._chain_id:
            self._arming.disarm(self._wrong_chain(ground))
            return ()
        outcomes = await self._tracker.run(Pass(footing=ground, plans=plans, recovering=recovering))
        self._ledger.forget()
        with contextlib.suppress(JournalError):  # what became of them is known all the same
            await self._ledger.at(block)  # for the next pass, which then need not wait for it
        for outcome in outcomes:
            self._preparation.note_end(outcome)
            if not isinstance(outcome, Unknown):
                self._open.pop(outcome.plan.intent.intent_id, None)
        for good, decided_at in went_well(outcomes):
            if why := self._breaker.took(
                succeeded=good, decided_at=decided_at, now=block.timestamp
            ):
                self._arming.disarm(why)
        return outcomes

    def open_intents(self) -> tuple[Intent, ...]:
        """Return what is on its way: as the last pass left it, and what was submitted since."""
        return tuple(self._open.values())

    # --- intents ------------------------------------------------------------------------------

    async def submit(self, intent: Intent, view: MarketView) -> Submission:
        """Take one intent as far as arming, policy, simulation and caps allow.  Never raises
        for what is wrong with an intent, a node or the journal: that is `Declined`.

        Several may be under way at once: they are simulated side by side, and claimed and sent in
        the order of the calls.
        """
        before, done = self._last_turn, asyncio.Event()
        self._last_turn = done
        try:
            return await self._in_turn(intent, view, before)
        finally:
            done.set()

    async def submit_together(
        self, intents: Sequence[Intent], view: MarketView
    ) -> tuple[Submission, ...]:
        """Take several liquidations with borrowed money in one transaction where they can go
        together, in halves and at last one by one where not; in the order given.

        As `submit` otherwise: what was taken out is `Declined` with the reason, or goes alone as
        long as others can be asked for its sale.
        """
        ordered = tuple(intents)
        if len(ordered) < 2:
            return tuple([await self.submit(intent, view) for intent in ordered])
        before, done = self._last_turn, asyncio.Event()
        self._last_turn = done
        try:
            submissions, failed = await self._together(ordered, view, before)
        except KeeperError as error:
            log.info("intents.apart", orders=len(ordered), reason=str(error))
            submissions = None
        finally:
            done.set()
        if submissions is None:
            middle = len(ordered) // 2
            first = await self.submit_together(ordered[:middle], view)
            return (*first, *await self.submit_together(ordered[middle:], view))
        taken = {submission.intent.intent_id for submission in submissions}
        for submission in submissions:
            log_submission(submission)
        alone = [intent for intent in ordered if intent.intent_id not in taken]
        if failed:
            self._preparation.ask_again(view.block)
        return (*submissions, *[await self._alone(one, view, failed) for one in alone])

    async def _alone(
        self, intent: Intent, view: MarketView, failed: Mapping[str, KeeperError]
    ) -> Submission:
        """Submit one that was left; not one that failed where nobody else can be asked any more."""
        error = failed.get(intent.intent_id)
        if error is None or self._preparation.asks_others(intent, view.block):
            return await self.submit(intent, view)
        submission = declined(intent, error)
        log_submission(submission)
        return submission

    async def _together(
        self, intents: Sequence[Intent], view: MarketView, before: asyncio.Event
    ) -> tuple[tuple[Submission, ...], Mapping[str, KeeperError]]:
        """Return what became of those that were sent or taken out; one that is left is not named.
        And why some of the latter failed, which others may be asked for the sale of.

        Raises `KeeperError` as long as nothing was claimed.
        """
        if self._arming.disarmed_reason is not None or self._address is None:
            raise PolicyViolation("Nothing is submitted together without a key that may sign.")
        several = await self._preparation.ready_together(intents, view, self._address)
        refused = [i for i in intents if i.intent_id in several.refused]
        out = [declined(intent, several.refused[intent.intent_id]) for intent in refused]
        ready = several.ready
        if ready is None:
            return tuple(out), several.alone
        if not self._arming.armed:
            weights = [share.gas for share in ready.plan.shares]
            paid = costs(ready.cost, weights)
            parts = zip(ready.plan.parts, ready.each_health_after, paid, strict=True)
            rehearsed = (Rehearsed(plan=p, health_after=h, cost=cost) for p, h, cost in parts)
            return (*rehearsed, *out), several.alone
        await before.wait()
        async with self._lock:
            try:
                claim = await self._claim(ready)
            except KeeperError:
                self._preparation.leave(ready)
                raise
            try:
                sent = await self._send(claim, ready)
            except KeeperError as error:
                self._preparation.leave(ready)
                lost = (declined(intent, error) for intent in ready.plan.intents)
                return (*lost, *out), several.alone
        each = zip(sent.plan.parts, ready.each_health_after, strict=True)
        submitted = (Submitted(open_plan=replace(sent, plan=p), health_after=h) for p, h in each)
        return (*submitted, *out), several.alone

    async def _in_turn(self, intent: Intent, view: MarketView, before: asyncio.Event) -> Submission:
        try:
            submission = await self._submit(intent, view, before)
        except KeeperError as error:
            submission = self._caps.declined(intent, error)
        log_submission(submission)
        return submission

    async def rehearse(self, intent: Intent, view: MarketView) -> Rehearsed | Declined:
        """Take one intent up to the claim, armed or not: nothing is written and nothing signed."""
        try:
            if self._address is None:
                raise PolicyViolation("There is no account to act from: name a keystore file.")
            ready = await self._preparation.ready(intent, view, self._address)
        except KeeperError as error:
            return declined(intent, error)
        return ready.rehearsed

    async def prepare(
        self,
        intent: Intent,
        view: MarketView,
        *,
        parent: BlockRef,
        after: Sequence[Supposed],
    ) -> bool:
        """Simulate what may be submitted in the next block: `view` is of that block, which does
        not exist yet, on top of `parent` and behind `after`.

        Nothing is claimed, signed or sent: `submit` finds the simulation should the block and the
        intent be that very one.  Returns whether there is one.
        """
        if self._address is None or self._arming.disarmed_reason is not None:
            return False
        try:
            return await self._preparation.rehearse_after(
                intent, view, self._address, parent=parent, after=after
            )
        except (KeeperError, ValueError, OverflowError) as error:
            log.info("intent.unprepared", intent=intent.intent_id, reason=str(error))
            return False

    async def _submit(self, intent: Intent, view: MarketView, before: asyncio.Event) -> Submission:
        if self._arming.disarmed_reason is not None:
            raise PolicyViolation(f"Sending is disarmed: {self._arming.disarmed_reason}.")
        if self._address is None:
            raise PolicyViolation("There is no account to act from: name a keystore file.")
        ready = await self._preparation.ready(intent, view, self._address)
        if not self._arming.armed:
            self._preparation.note_sale(ready)
            return ready.rehearsed
        await before.wait()
        async with self._lock:
            sent = await self._send(await self._claim(ready), ready)
            self._preparation.note_sale(ready)
            return Submitted(open_plan=sent, health_after=ready.health_after)

    async def _claim(self, ready: Ready) -> OpenPlan:
        """Under the lock: policy and claim.  What it raises, nothing was claimed."""
        assert self._ledger is not None
        assert self._signer is not None
        assert self._tracker is not None
        plan, ground = ready.plan, ready.footing
        address, block = self._signer.address, ground.block
        if refusal := self._arming.refusal():
            raise PolicyViolation(f"Nothing was signed: {refusal}.")
        if ground.chain_id != self._chain_id:
            self._arming.disarm(self._wrong_chain(ground))
            raise PolicyViolation(self._wrong_chain(ground))
        if self._tracker.in_doubt:
            raise PolicyViolation(f"Nothing was signed: {self._tracker.in_doubt}.")
        await self._compare_with_journal(address, ground)
        if refusal := self._arming.refusal():
            raise PolicyViolation(f"Nothing was signed: {refusal}.")
        await self._check_policy(plan, ground)
        claim = await self._journal.claim(
            plan,
            address,
            max(ground.nonce, ground.pending_nonce),
            self._policy.allowance(
                since=block.timestamp - DAY_S, balance_wei=ground.balance_wei, nonce=ground.nonce
            ),
            ready.healths,
        )
        self._ledger.claimed(claim)
        return claim

    async def _send(self, claim: OpenPlan, ready: Ready) -> OpenPlan:
        """Under the lock: signature and send of what was claimed."""
        assert self._sender is not None
        assert self._tracker is not None
        plan, ground = claim.plan, ready.footing
        address, block = claim.signer, ground.block
        self._failpoint("plan.claimed")
        if claim.nonce < ground.nonce:
            reason = f"The journal gave {address} nonce {claim.nonce}, it is at {ground.nonce}."
            await self._give_up(claim, reason)
            raise JournalError(reason)
        try:
            tx = transaction(claim.plan, self._chain_id, claim.nonce, ready.fees)
            sent = await self._sender.dispatch(claim, tx, block)
        except JournalError:
            # Whether the signature was stored is not known: the next pass reads it and decides.
            self._tracker.dead_claims.add(plan.intent.intent_id)
            raise
        except KeeperError as error:
            await self._give_up(claim, str(error))
            raise
        self._open |= {intent.intent_id: intent for intent in plan.intents}
        return sent

    async def _check_policy(self, plan: Plan, ground: Footing) -> None:
        """Raise `PolicyViolation` unless the policy allows `plan` on top of what was spent."""
        assert self._ledger is not None
        books = await self._ledger.at(ground.block)
        reserved = sum(p.plan.most_gas_wei for p in books.plans.values() if p.nonce >= ground.nonce)
        verdict = self._policy.check(plan, books.spent, ground.balance_wei, Wei(reserved))
        if isinstance(verdict, Denied):
            raise verdict.error

    async def _give_up(self, claim: OpenPlan, reason: str) -> None:
        """End a claim that was not signed, or leave it to the next pass if the journal cannot."""
        assert self._tracker is not None
        intent_id = claim.plan.intent.intent_id
        self._tracker.dead_claims.add(intent_id)
        audit = [
            event
            for part in claim.plan.parts
            for event in self._on_settled(Abandoned(plan=part, reason=reason), None)[1]
        ]
        try:
            await self._journal.settle(intent_id, TxState.ABANDONED, None, (), audit)
        except JournalError as error:
            log.warning("claim.left_open", intent=intent_id, reason=str(error))
        else:
            self._tracker.dead_claims.discard(intent_id)

    # --- the ground under a signature ---------------------------------------------------------

    async def _compare_with_journal(self, address: Address, ground: Footing) -> None:
        """Disarm when the chain knows transactions of the signer that the journal does not."""
        assert self._ledger is not None
        watermark = (await self._ledger.at(ground.block)).watermark
        if not journal_behind(address, ground, watermark, self._settings):
            return
        self._ledger.forget()  # another process of ours may have claimed since it was read
        watermark = (await self._ledger.at(ground.block)).watermark
        if why := journal_behind(address, ground, watermark, self._settings):
            self._arming.disarm(why)

    async def _recall_reverts(self, address: Address, block: BlockRef) -> None:
        """Disarm for what reverted before a restart: a crash is no person who looked at it."""
        since = self._breaker.since(block.timestamp)
        reverted = await self._journal.reverts(address, since)
        ours = [plan.intent.block.timestamp for plan in reverted if not by_others(plan)]
        if why := self._breaker.recall(ours):
            self._arming.disarm(why)

    def _wrong_chain(self, ground: Footing) -> str:
        return (
            f"the node answers for chain {ground.chain_id}, this executor is for {self._chain_id}"
        )
