"""One chain under watch for as long as the process lives: open, recover, follow, reopen.

The first opening must succeed: what is wrong then is the operator's to mend.  After that a node
that goes away is waited for, and so is whatever else keeps the chain from being opened again: it
is alarmed of, and the other chains of the process go on.  History is read beside the heads, so
that watched accounts are watched from the first block on.

One class, though it is long: what an opening makes, a loss keeps and a reopening takes up again
stands in one place.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest

import structlog

from keeper.alerts.actions import Done, outcome_messages
from keeper.alerts.machine import Policy
from keeper.alerts.speech import SpeechOf, english
from keeper.app.anticipate import Anticipation
from keeper.app.chain import OpenChain, behind_limit_s, bind, open_chain, outside
from keeper.app.configured import ConfiguredRules
from keeper.app.hands import hand_of
from keeper.app.lookahead import LookAhead
from keeper.app.running_out import look
from keeper.app.signing import executor_for, liquidating_signer_for, owner_of, signer_for
from keeper.app.standing import Standing
from keeper.app.stopped import account_for
from keeper.chain.branch import Advance
from keeper.chain.doctor import Grade, examine
from keeper.chain.finality import FinalityBroken
from keeper.engine.chronicle import Telling
from keeper.engine.coverage import Progress
from keeper.engine.engine import Engine
from keeper.engine.passes import Pass
from keeper.engine.spread import spread_of
from keeper.errors import ConfigError, ObservationError
from keeper.execution.executor import TxExecutor
from keeper.execution.pair import PairedExecutor
from keeper.model import (
    Address,
    AuditEvent,
    BlockRef,
    Message,
    Outcome,
    Submission,
    Watch,
)
from keeper.risk.spread import Spread
from keeper.settings import Chain, Settings
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.store.people import SqlPeople
from keeper.store.permits import SqlPermits
from keeper.store.records import SqlRecords
from keeper.units import WAD, Wad, Wei

log = structlog.get_logger()

REOPEN_S = 5.0
STANDING_SHARE = 8
"""Of a block time, what those who were below 1 before may take: writing down what was found of them
takes half as long again, and the next head must not wait for it."""
SPREAD_EVERY_S = 15.0
SPREAD_SHARE = 500
"""A count of all borrowers takes no more than one part in so many of the time."""
PAUSED = "paused"
"""How the reason begins by which people stopped it."""


class Watcher:
    """Runs one chain's engine."""

    def __init__(
        self,
        settings: Settings,
        chain: Chain,
        database: Database,
        *,
        on_pass: Callable[[str, Pass], None],
        on_progress: Callable[[Progress], None],
        speech: SpeechOf = english,
        shown: Callable[[tuple[Watch, ...]], tuple[Watch, ...]] = lambda watches: watches,
        rules: ConfiguredRules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened before `run`.  `clock`: monotonic seconds.

        `speech`: of each chat; `shown`: see `Telling`; `rules`: shared by all chains.
        """
        self.settings = settings
        self.config = chain
        self.chain: OpenChain | None = None
        self.engine: Engine | None = None
        self.executor: TxExecutor | PairedExecutor | None = None
        self.opened = asyncio.Event()
        self.last_pass_at: float | None = None
        """Monotonic seconds of the last finished pass."""
        self.opened_at: float | None = None
        self._taking_since: float | None = None
        self.history_unread = ""
        """Why borrowers are not all known; empty while nothing is wrong."""
        self.progress: dict[str, Progress] = {}
        self.lost = ""
        """Why the chain is not open, or cannot be opened again; empty while it is."""
        self.broken = ""
        """What undid a final block, or empty: nothing is sent until a person restarted it."""
        self._disarmed: tuple[str, ...] = ()
        """Why, for each key; kept over a chain that is opened again."""
        self.gas_wei: Wei | None = None
        """What the key has for gas, as last read, the poorer of two; None without a key."""
        self.standings: tuple[Standing, ...] = ()
        """How it stands with the permits that are kept, as last looked at."""
        self.spreads: dict[str, Spread] = {}
        """How all borrowers of each market stand, as last counted."""
        self._spread_due_at = -math.inf
        self._database = database
        self._records = SqlRecords(database)
        self._journal = SqlJournal(database, chain_id=chain.chain_id)
        self._owner: Address | None = None
        self._payers: tuple[Address, ...] = ()
        self._on_pass = on_pass
        self._on_progress = on_progress
        self._rules = rules or ConfiguredRules(settings)
        self._clock = clock
        self._speech = speech
        self._shown = shown

    @property
    def name(self) -> str:
        """The chain's name in the configuration."""
        return self.config.name

    async def run(self) -> None:
        """Watch until cancelled.  Raises what the first opening raises, and `JournalError`."""
        while True:
            try:
                await self._watch()
            except FinalityBroken as error:
                self._break(error)
            except (ObservationError, ConfigError) as error:
                if not self.opened.is_set():
                    raise
                self.lost = str(error)
                log.warning("chain.lost", chain=self.name, reason=self.lost)
            await asyncio.sleep(REOPEN_S)

    def _break(self, error: FinalityBroken) -> None:
        """Send nothing until a person restarted it; then watch the chain that there is now."""
        self.broken = self.lost = str(error)
        log.error("chain.finality_broken", chain=self.name, reason=self.broken)
        if self.executor is not None:
            self.executor.disarm(self.broken)
        if self.chain is not None:
            self.chain.heads.finality.forget()

    def heed_kill_switch(self) -> None:
        """Disarm if the kill switch is on, be the chain open or lost."""
        if self.executor is not None:
            self.executor.heed_kill_switch()

    def _disarm_as_before(self, executor: TxExecutor | PairedExecutor) -> None:
        """Disarm what a chain that is opened again acts with, for the reasons there were.

        A pause is its own: it ends with /resume, also on a chain that is opened again.
        """
        if self.executor is not None:
            reasons = [one.disarmed_reason or "" for one in self.executor.parts]
            self._disarmed = tuple(
                ("" if why.startswith(PAUSED) else why) or self.broken or kept
                for why, kept in zip_longest(reasons, self._disarmed, fillvalue="")
            )
        for one, why in zip(executor.parts, self._disarmed, strict=False):
            if why:
                one.disarm(why)

    async def _watch(self) -> None:
        signer = await signer_for(self.settings, self.config)
        liquidating = await liquidating_signer_for(self.settings, self.config)
        async with open_chain(self.settings, self.config, before=self.chain) as chain:
            await bind(self._database, chain)
            executor = executor_for(
                self.settings,
                chain,
                journal=self._journal,
                signer=signer,
                on_settled=self._on_settled,
                liquidating=liquidating,
                permits=SqlPermits(self._database),
            )
            self._disarm_as_before(executor)
            self._owner = owner = owner_of(self.settings, signer)
            self._payers = tuple(one.address for one in (signer, liquidating) if one is not None)
            telling = Telling(
                operators=self.settings.operator_chats(),
                thresholds=self.settings.thresholds.as_model(),
                policy=alert_policy(self.settings),
                rules=self._rules,
                gas_wei=lambda: self.gas_wei,
                speech=self._speech,
                shown=self._shown,
            )
            hands = {
                name: hand_of(self.settings, market, owner)
                for name, market in chain.markets.items()
            }
            engine = Engine(
                markets=tuple(chain.markets.values()),
                hands=hands,
                logs=chain.logs(),
                reader=chain.reader,
                records=self._records,
                executor=executor,
                telling=telling,
                rpc_calls=chain.observing_calls,
                behind_after_s=self.behind_limit_s,
                most_together=self.settings.liquidate.max_per_transaction,
                overtaken=lambda: chain.heads.overtaken,
                patience_s=self.config.block_time_s / STANDING_SHARE,
            )
            self.chain, self.engine, self.executor = chain, engine, executor
            if pause := await SqlPeople(self._database).paused():  # now that /pause finds this one
                executor.disarm(pause)
            watched_to = await self._records.watched_to(self.config.chain_id)
            await engine.start(chain.head)
            log.info(
                "chain.opened",
                chain=self.name,
                block=chain.head.number,
                markets=list(chain.markets),
                nodes=list(chain.rpc.names),
                armed=executor.armed,
            )
            self.opened.set()
            self.lost = ""
            self.opened_at = self._clock()
            following = asyncio.create_task(self._follow(chain, engine))
            tasks = [
                following,
                asyncio.create_task(self._cover(chain, engine)),
                asyncio.create_task(self._look_over(chain)),
            ]
            if watched_to is not None:
                absence = account_for(chain, hands, self._records, watched_to)
                tasks.append(asyncio.create_task(absence))
            ahead = LookAhead(chain=chain, engine=engine, records=self._records, telling=telling)
            if self.config.pending:
                beforehand = Anticipation(
                    chain=chain, engine=engine, executor=executor, ahead=ahead
                )
                tasks.append(asyncio.create_task(beforehand.subscription().run()))
                tasks.append(asyncio.create_task(beforehand.run()))
            if (controller := self.config.payloads_controller) is not None:
                every_s = self.settings.oracles.queue_every_s
                tasks.append(asyncio.create_task(ahead.run(controller, every_s)))
            if (board := outside(self.settings, chain)) is not None:
                tasks.append(asyncio.create_task(board.run()))
            try:
                await _until(following, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await engine.close()
                if engine.last is not None:
                    await self._records.watched(self.config.chain_id, engine.last.block)

    async def _look_over(self, chain: OpenChain) -> None:
        """Say what the nodes cannot do, and what that costs; `keeper check` says the same."""
        try:
            found = await examine(
                chain.rpc, self.config.pushing, block_time_s=self.config.block_time_s
            )
        except ObservationError as error:
            log.warning("head.unread", reason=str(error))
            return
        for finding in found:
            if finding.grade is not Grade.OK:
                log.warning("node.limited", node=finding.node, reason=finding.says)

    async def _follow(self, chain: OpenChain, engine: Engine) -> None:
        """Take the head that the markets were learnt at, then every change after it, gap or not."""
        async with contextlib.aclosing(chain.advances()) as advances:
            async for advance in advances:
                await self._take(engine, advance)

    async def _take(self, engine: Engine, advance: Advance) -> None:
        self._taking_since = self._clock()
        self.heed_kill_switch()
        try:
            done = await engine.take(advance)
        finally:
            self._taking_since = None
        if done is None:
            return
        await self._journal.record_submission(*done.submissions)
        self.last_pass_at = self._clock()
        self._look_at_all(engine)
        self._on_pass(self.name, done)

    def _look_at_all(self, engine: Engine) -> None:
        """Count how all borrowers stand: now and then, between two passes."""
        began = self._clock()
        if began < self._spread_due_at:
            return
        limits = self.settings.thresholds.as_model()
        bounds = sorted({Wad(WAD), limits.critical, limits.warning, limits.info})
        for market in engine.markets:
            if (reading := engine.readings.get(market.id.name)) is not None:
                self.spreads[market.id.name] = spread_of(market, reading, bounds)
        ended = self._clock()
        self._spread_due_at = ended + max(SPREAD_EVERY_S, (ended - began) * SPREAD_SHARE)

    async def note(self, submission: Submission) -> None:
        """Keep what was rehearsed or declined, and what a simulation said."""
        await self._journal.record_submission(submission)

    async def _cover(self, chain: OpenChain, engine: Engine) -> None:
        """Find every borrower of every market, beside the heads; tried again until it is done."""
        for market in chain.markets.values():
            while True:
                try:
                    await chain.cover(
                        market, self._records, chain.head, self._progressed, restore=True
                    )
                    self.history_unread = ""
                    break
                except ObservationError as error:
                    self.history_unread = str(error)
                    log.warning("history.unread", market=market.id.name, reason=str(error))
                await asyncio.sleep(REOPEN_S)
        engine.covered = True

    def _progressed(self, progress: Progress) -> None:
        self.progress[progress.market.name] = progress
        self._on_progress(progress)

    def _on_settled(
        self, outcome: Outcome, health: Wad | None
    ) -> tuple[Sequence[Message], Sequence[AuditEvent]]:
        """Return what is said and kept of an outcome, with the health that it led to."""
        engine = self.engine
        intent = outcome.plan.intent
        watches = () if engine is None else self._shown(engine.watches)
        messages = outcome_messages(
            outcome,
            watches,
            self.settings.operator_chats(),
            Done(health_after=health),
            speech=self._speech,
        )
        receipt = getattr(outcome, "receipt", None)
        audit = AuditEvent(
            event=f"intent.{type(outcome).__name__.lower()}",
            fields={
                "intent": intent.intent_id,
                "position": str(intent.position),
                "tx": None if receipt is None else receipt.tx_hash,
                "health_after_wad": None if health is None else str(health),
            },
        )
        return messages, (audit,)

    def head(self) -> BlockRef | None:
        """Return the last block a pass was finished on."""
        return None if self.engine is None or self.engine.last is None else self.engine.last.block

    async def read_gas(self) -> None:
        """Read what the key has for gas; an unreadable node leaves the last answer."""
        if self.chain is None or not self._payers:
            return
        with contextlib.suppress(ObservationError):
            self.gas_wei = min([await self.chain.rpc.balance(one) for one in self._payers])

    async def read_permits(self) -> None:
        """Look at the permits that are kept; an unreadable node leaves the last answer."""
        chain, engine = self.chain, self.engine
        if chain is None or engine is None or chain.config.deleverager is None:
            return
        kept = await SqlPermits(self._database).signed(chain.config.chain_id)
        with contextlib.suppress(ObservationError):
            self.standings = await look(self.settings, chain, engine, kept, self.standings)

    @property
    def behind_limit_s(self) -> float:
        """How old the head's own timestamp may be before nothing is decided on it."""
        return behind_limit_s(self.config)

    @property
    def unwatched_s(self) -> float:
        """Seconds since a pass was finished, or since the opening before the first one."""
        since = self.last_pass_at if self.last_pass_at is not None else self.opened_at
        return 0.0 if since is None else self._clock() - since

    @property
    def stuck(self) -> bool:
        """Whether a head is being dealt with for so long that only a restart will help.

        No outage explains it: requests end by themselves, and a node that is silent hands over no
        head.
        """
        since = self._taking_since
        return since is not None and self._clock() - since > self.silence_limit_s

    @property
    def silence_limit_s(self) -> float:
        """How old the last pass may be before the chain counts as unwatched."""
        return max(30.0, 5 * self.config.block_time_s)


async def _until(ended: asyncio.Task[None], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until `ended` has; whatever goes wrong in any of `tasks` goes wrong here."""
    left = set(tasks)
    while ended in left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def alert_policy(settings: Settings) -> Policy:
    """Return how patient alerts are."""
    alerts = settings.alerts
    return Policy(
        clear_margin=alerts.clear_above,
        clear_for_s=alerts.clear_after_s,
        worse_by=alerts.worse_by,
        rule_worse_bps=alerts.rule_worse_percent * 100,
        repeat_critical_s=alerts.repeat_critical_s,
        repeat_warning_s=alerts.repeat_warning_s,
        escalate_to=alerts.escalate_to,
        escalate_after_s=alerts.escalate_after_s,
    )
