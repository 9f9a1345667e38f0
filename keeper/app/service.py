"""`keeper run`: every chain's watcher, the outbox, the bot and the status page, under one roof.

Whatever ends one of them with an error ends the process: a supervisor restarts it, and start-up is
recovery.  Nothing that a person is owed is kept in memory only.

One class, though it is long: it is wiring, and in which order things begin and end is what matters.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from keeper.alerts.passes import pass_faults
from keeper.app import charts, systemd
from keeper.app.configured import ConfiguredRules
from keeper.app.desk import HouseDesk
from keeper.app.digest import write_digests
from keeper.app.names import NameBook
from keeper.app.own_faults import faults_of, own_faults
from keeper.app.status import HouseStatus
from keeper.app.watcher import Watcher, alert_policy
from keeper.engine.coverage import Progress
from keeper.engine.passes import Pass
from keeper.errors import ConfigError
from keeper.model import (
    Assessed,
    Asset,
    BlockRef,
    Hash,
    PassRecord,
    PositionId,
    Side,
)
from keeper.notify.alertmanager import Alertmanagers
from keeper.notify.bot import TelegramBot
from keeper.notify.deadman import Beat, beat_for_ever
from keeper.notify.languages import Voices
from keeper.notify.log import LogChannel
from keeper.notify.others import OtherChannels
from keeper.notify.outbox import Outbox
from keeper.notify.telegram import Draw, TelegramApi, TelegramChannel
from keeper.notify.webhook import Webhook
from keeper.ports import Channel
from keeper.settings import Settings
from keeper.store.actions import SqlActions
from keeper.store.company import counted_in
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.names import SqlNames
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople
from keeper.store.records import SqlRecords
from keeper.store.rules import SqlRules
from keeper.store.watches import LabelTaken, SqlWatches
from keeper.web.metrics import Metrics
from keeper.web.server import WebServer

log = structlog.get_logger()

FAULTS_EVERY_S = 2.0
GAS_EVERY_S = 60.0
FLUSH_S = 5.0
DOLLAR = 10**8
ONE_IS_ENOUGH = "another keeper runs on this database: stop one, unless both are meant to run"


def _nothing(*_: object) -> None:
    """Nobody listens."""


class Service:
    """The whole keeper.  `run` once."""

    def __init__(
        self,
        settings: Settings,
        *,
        chain: str | None = None,
        on_pass: Callable[[str, Pass], None] = _nothing,
        on_progress: Callable[[Progress], None] = _nothing,
        version: str = "",
    ) -> None:
        """`chain`: only this one, by name or id.  Callbacks must not block."""
        self.settings = settings
        self.chains = settings.select(chain)
        self.watchers: tuple[Watcher, ...] = ()
        self.metrics = Metrics(version)
        self.opened = asyncio.Event()
        """Every chain was opened and the bot listens."""
        self.web_url = ""
        self._version = version
        self._told_pass = on_pass
        self._told_progress = on_progress
        self._outbox: Outbox | None = None
        self._voices = Voices(settings.telegram.language)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set, then deliver what is due and close.

        Raises ConfigError or ObservationError when a chain cannot be opened at the start.
        """
        async with (
            await Database.open(self.settings.database.url) as database,
            counted_in(database) as another,
        ):
            log.info("database.opened", where=database.shown)
            if another:
                log.warning("keeper.second", database=database.shown, remedy=ONE_IS_ENOUGH)
            await self._watch_configured(SqlWatches(database))
            self._voices.learn(await SqlPeople(database).languages())
            names = NameBook(
                lambda: self.watchers, SqlNames(database), SqlOutbox(database), speech=self._voices
            )
            rules = ConfiguredRules(self.settings)
            self.watchers = tuple(
                Watcher(
                    self.settings,
                    chain,
                    database,
                    on_pass=self._passed,
                    on_progress=self._told_progress,
                    speech=self._voices,
                    shown=names.shown,
                    rules=rules,
                )
                for chain in self.chains
            )
            await self._run_in(database, stop, names)

    def wake(self) -> None:
        """Let the outbox look for what is due."""
        if self._outbox is not None:
            self._outbox.wake()

    async def _run_in(self, database: Database, stop: asyncio.Event, names: NameBook) -> None:
        store = SqlOutbox(database)
        token = self.settings.telegram.token
        api = (
            None
            if token is None
            else TelegramApi(token.get_secret_value(), self.settings.telegram.api_url)
        )
        outbox = Outbox(
            store,
            self._channels(api, database),
            operators=self.settings.operator_chats(),
            speech=self._voices,
        )
        self._outbox = outbox
        status = HouseStatus(
            watchers=self.watchers,
            database=database,
            thresholds=self.settings.thresholds.as_model(),
            version=self._version,
        )
        web = WebServer(
            status,
            self.metrics,
            host=self.settings.web.host,
            port=self.settings.web.port,
            hosts=self.settings.web.hosts,
        )
        try:
            if self.settings.web.enabled:
                await web.start()
                self.web_url = web.url
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(w.run(), name=w.name) for w in self.watchers]
                    await self._open(tasks)
                    tasks.append(group.create_task(outbox.run(), name="outbox"))
                    tasks.append(
                        group.create_task(self._watch_ourselves(database, store), name="faults")
                    )
                    tasks.append(group.create_task(names.run(), name="names"))
                    heartbeat = self.settings.alerts.heartbeat_url
                    if heartbeat is not None:
                        beating = beat_for_ever(
                            heartbeat.get_secret_value(),
                            self.settings.alerts.heartbeat_every_s,
                            self._beats,
                        )
                        tasks.append(group.create_task(beating, name="heartbeat"))
                    if api is not None:
                        bot = self._bot(api, database, outbox, names)
                        tasks.append(group.create_task(bot.run(), name="telegram"))
                    self.opened.set()
                    systemd.notify("READY=1")
                    await stop.wait()
                    systemd.notify("STOPPING=1")
                    for task in tasks:
                        task.cancel()
            except BaseExceptionGroup as failures:
                raise _first(failures) from None
            if not await outbox.flush(FLUSH_S):
                log.warning("outbox.left", waiting=(await store.counts()).pending)
        finally:
            await web.stop()
            if api is not None:
                await api.__aexit__(None, None, None)

    def _channels(self, api: TelegramApi | None, database: Database) -> list[Channel]:
        """Return everywhere that messages go."""
        channels: list[Channel] = [LogChannel()]
        if api is not None:
            channels.append(TelegramChannel(api, self._drawer(database)))
        others = self.settings.alerts.channels
        if others:
            channels.append(
                OtherChannels({name: url.get_secret_value() for name, url in others.items()})
            )
        managers = self.settings.alerts.alertmanagers
        if managers:
            channels.append(
                Alertmanagers({name: url.get_secret_value() for name, url in managers.items()})
            )
        return channels

    async def _open(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until every chain is open; a task that failed ends the wait at once."""
        opened = [asyncio.create_task(w.opened.wait()) for w in self.watchers]
        try:
            for waiting in opened:
                await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
                if any(task.done() for task in tasks):
                    return
        finally:
            for waiting in opened:
                waiting.cancel()

    def _beats(self) -> tuple[Beat, ...]:
        """Return what the dead-man's switch says of each chain."""
        beats = []
        for watcher in self.watchers:
            head, last_at = watcher.head(), watcher.last_pass_at
            age_s = None if last_at is None else time.monotonic() - last_at
            beats.append(
                Beat(
                    chain=watcher.name,
                    block=None if head is None else head.number,
                    head_age_s=age_s,
                    fresh=age_s is not None and age_s <= watcher.silence_limit_s,
                    covered=watcher.engine is not None and watcher.engine.covered,
                )
            )
        return tuple(beats)

    def _drawer(self, database: Database) -> Draw | None:
        return charts.drawer(
            SqlHistory(database),
            SqlWatches(database),
            self.settings.thresholds.as_model(),
            self._leading,
        )

    def _leading(self, position: PositionId) -> Asset | None:
        """Return the collateral that a position has most of, at the last block taken.

        One whose price moves, where it has any: nobody looks at the price of a dollar.
        """
        for watcher in self.watchers:
            if watcher.engine is None:
                continue
            for found in watcher.engine.assessments_of(position.account):
                here = found.position.market.name == position.market.name
                if here and isinstance(found, Assessed):
                    mine = [leg for leg in found.legs if leg.side is Side.COLLATERAL]
                    mine.sort(key=lambda leg: (abs(leg.price - DOLLAR) * 20 < DOLLAR, -leg.value))
                    return mine[0].asset if mine else None
        return None

    def _bot(
        self, api: TelegramApi, database: Database, outbox: Outbox, names: NameBook
    ) -> TelegramBot | Webhook:
        """Return whatever listens: the bot that polls, or the server that is handed updates."""
        telegram = self.settings.telegram
        desk = HouseDesk(
            watchers=self.watchers,
            watches=SqlWatches(database),
            outbox=SqlOutbox(database),
            thresholds=self.settings.thresholds.as_model(),
            wake=outbox.wake,
            bot=api.bot.token.partition(":")[0],
            people=SqlPeople(database),
            actions=SqlActions(database),
            rules=SqlRules(database),
            draws=charts.available(),
            voices=self._voices,
            names=names,
        )
        bot = TelegramBot(
            api,
            desk,
            allowed=frozenset(f"telegram:{chat}" for chat in telegram.allowed_chats),
            operators=tuple(f"telegram:{chat}" for chat in telegram.operator_chats),
            users=frozenset(telegram.operators),
            language=telegram.language,
        )
        if not telegram.webhook_url or telegram.webhook_secret is None:
            return bot
        return Webhook(
            api,
            bot,
            desk,
            url=telegram.webhook_url,
            secret=telegram.webhook_secret.get_secret_value(),
            host=telegram.webhook_host,
            port=telegram.webhook_port,
        )

    async def _watch_configured(self, watches: SqlWatches) -> None:
        for watch in self.settings.watches():
            kept = await watches.add(watch)
            if isinstance(kept, LabelTaken):
                raise ConfigError(
                    f"watch: {watch.chat} calls {kept.account} {kept.label!r} already: give "
                    f"{watch.account} another label."
                )

    # --- about ourselves ----------------------------------------------------------------------

    def _passed(self, name: str, done: Pass) -> None:
        """Count a pass, wake the outbox, tell whoever asked."""
        watcher = next(w for w in self.watchers if w.name == name)
        metrics = self.metrics
        metrics.head(name, done.block, orphaned=done.orphaned)
        metrics.passed(name, decision_s=done.decision_s, broadcast_s=done.broadcast_s)
        if watcher.chain is not None:
            metrics.rpc(name, watcher.chain.rpc.counts)
        if watcher.executor is not None:
            metrics.armed(name, armed=watcher.executor.armed)
        thresholds = self.settings.thresholds.as_model()
        for reading in done.readings:
            market = reading.view.market
            everybody = (*done.assessments, *done.carried)
            here = (a for a in everybody if a.position.market == market)
            metrics.assessed(market.name, here, thresholds)
            metrics.feeds(market.name, reading.feeds)
            metrics.prices(market.name, reading.prices)
        if watcher.engine is not None:
            for watched in watcher.engine.markets:
                metrics.borrowers(watched.id.name, len(watched.book))
        for market_name, spread in watcher.spreads.items():
            metrics.spread(market_name, spread, thresholds)
        for message in done.messages:
            metrics.alert(message.kind, message.severity)
        for submission in done.submissions:
            intent = submission.intent
            metrics.action(
                intent.position.market.name, intent.kind, type(submission).__name__.lower()
            )
        for outcome in done.outcomes:
            intent = outcome.plan.intent
            metrics.action(intent.position.market.name, intent.kind, type(outcome).__name__.lower())
        self.wake()
        self._told_pass(name, done)

    def _heed_kill_switch(self) -> None:
        """Look at the kill switch and say what may be sent, also while no head comes."""
        for watcher in self.watchers:
            watcher.heed_kill_switch()
            if watcher.executor is not None:
                self.metrics.armed(watcher.name, armed=watcher.executor.armed)

    async def _watch_ourselves(self, database: Database, store: SqlOutbox) -> None:
        """Silence is a fault: say when a chain is not watched, or sending was disarmed."""
        records = SqlRecords(database)
        people, watches = SqlPeople(database), SqlWatches(database)
        gas_read_at = -GAS_EVERY_S
        while True:
            await asyncio.sleep(FAULTS_EVERY_S)
            self._heed_kill_switch()
            if time.monotonic() - gas_read_at >= GAS_EVERY_S:
                gas_read_at = time.monotonic()
                for watcher in self.watchers:
                    await watcher.read_gas()
                    await watcher.read_permits()
            counts = await store.counts()
            self.metrics.outbox(counts.pending)
            if not any(watcher.stuck for watcher in self.watchers):
                systemd.notify("WATCHDOG=1")
            if await write_digests(
                self.watchers,
                people,
                watches,
                self.settings.thresholds.as_model(),
                int(time.time()),
                speech=self._voices,
            ):
                self.wake()
            self._voices.learn(await people.languages())  # another process may have the bot
            states = await records.alert_states()
            manners = await records.manners()
            for scope, whose in (("keeper", None), *((w.name, w) for w in self.watchers)):
                told = pass_faults(
                    scope=scope,
                    faults=own_faults(counts) if whose is None else faults_of(whose),
                    states=states,
                    operators=self.settings.operator_chats(),
                    now=int(time.time()),
                    policy=alert_policy(self.settings),
                    manners=manners,
                    speech=self._voices,
                )
                if not told.states and not told.messages:
                    continue
                block = (None if whose is None else whose.head()) or NO_BLOCK
                await records.record(
                    PassRecord(
                        block=block, alerts=told.states, messages=told.messages, held=told.held
                    )
                )
                self.wake()


NO_BLOCK = BlockRef(
    number=0, hash=Hash("0x" + "00" * 32), parent_hash=Hash("0x" + "00" * 32), timestamp=0
)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first plain exception of a task group's failures."""
    for failure in failures.exceptions:
        return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
    return failures
