"""What the bot asks, answered from the store and from what the engines read last."""

import time
from collections.abc import Callable, Sequence

import structlog

from keeper.alerts.answers import Offer, action_line
from keeper.alerts.gauge_rules import applies, written_text
from keeper.alerts.machine import KEEPER
from keeper.alerts.measures import Gauges
from keeper.alerts.numbers import count_text, duration_text, plain, short
from keeper.alerts.rules import OF_ACCOUNTS, BadRule
from keeper.alerts.speech import ENGLISH, Speech
from keeper.app.names import NameBook
from keeper.app.offers import carry_out, offer_for
from keeper.app.watcher import PAUSED, Watcher
from keeper.chain.names import Resolved
from keeper.model import (
    Address,
    AlertState,
    Assessment,
    ChatHours,
    Hush,
    MarketId,
    Message,
    PriceVerdict,
    Rule,
    Thresholds,
    Watch,
)
from keeper.notify.languages import Voices
from keeper.notify.words import BadWord
from keeper.store.actions import SqlActions
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople
from keeper.store.rules import SqlRules
from keeper.store.watches import LabelTaken, Removed, SqlWatches

log = structlog.get_logger()

LAST_ACTIONS = 10


class HouseDesk:
    """Satisfies `keeper.notify.bot.Desk`."""

    def __init__(
        self,
        *,
        watchers: Sequence[Watcher],
        watches: SqlWatches,
        outbox: SqlOutbox,
        thresholds: Thresholds,
        wake: Callable[[], None],
        bot: str,
        people: SqlPeople,
        actions: SqlActions,
        rules: SqlRules,
        voices: Voices,
        names: NameBook,
        draws: bool = False,
    ) -> None:
        """`wake`: told after a reply was written.  `bot`: whose update ids are remembered.

        `draws`: whether charts can be drawn.
        """
        self._people = people
        self._actions = actions
        self._rules = rules
        self._voices = voices
        self._names = names
        self.draws = draws
        self._watchers = tuple(watchers)
        self._watches = watches
        self._outbox = outbox
        self._thresholds = thresholds
        self._wake = wake
        self._bot = bot

    @property
    def thresholds(self) -> Thresholds:
        """Those of a watch without its own."""
        return self._thresholds

    async def resolve(self, name: str) -> Resolved:
        """Return what a name points to now.  Raises `NoAddress`."""
        return await self._names.resolve(name)

    def shown(self, watches: tuple[Watch, ...]) -> tuple[Watch, ...]:
        """Return watches with their accounts' own names where people gave none."""
        return self._names.shown(watches)

    async def watch(self, watch: Watch, name: str = "") -> Watch | None:
        """Add or replace a watch; return what it replaced, if that was another.

        Raises `BadWord` when the chat's label is taken.
        """
        kept = await self._watches.add(watch)
        if isinstance(kept, LabelTaken):
            raise BadWord(
                "You call {account} {label} already: choose another label, or /unwatch {label} "
                "first.",
                account=kept.account,
                label=kept.label,
            )
        if name:
            await self._names.keep(watch.chat, name, watch.account)
        return None if kept.replaced == watch else kept.replaced

    async def unwatch(self, chat: str, name: str) -> Watch | None:
        """End the chat's watch of that label or address; None: there is none."""
        gone = await self._watches.remove(chat, name)
        return gone.watch if isinstance(gone, Removed) else None

    async def watches(self, chat: str) -> tuple[Watch, ...]:
        """Return the chat's own, oldest first."""
        return await self._watches.of(chat)

    async def health(self, account: Address) -> tuple[Assessment, ...]:
        """Return the account in every market where it has a position, at the last block."""
        found: list[Assessment] = []
        for watcher in self._watchers:
            if watcher.engine is not None:
                found += watcher.engine.assessments_of(account)
        return tuple(found)

    async def status(self, say: Speech = ENGLISH) -> str:
        """Return how the keeper is, a line a chain."""
        lines = []
        for watcher in self._watchers:
            head, engine = watcher.head(), watcher.engine
            if head is None or engine is None:
                lines.append(say("{chain}: starting, no block taken yet", chain=watcher.name))
                continue
            age_s = max(0, int(time.time()) - head.timestamp)
            known = sum(len(market.book) for market in engine.markets)
            executor = watcher.executor
            armed = executor is not None and executor.armed
            state = say("armed") if armed else say("watch-only")
            if executor is not None and executor.disarmed_reason:
                state = say("disarmed: {reason}", reason=executor.disarmed_reason)
            lines.append(
                say(
                    "{chain}: block {number}, {age} old; {n} accounts; {state}",
                    chain=watcher.name,
                    number=count_text(head.number),
                    age=duration_text(age_s),
                    n=count_text(known),
                    state=state,
                )
            )
        counts = await self._outbox.counts()
        lines.append(
            say(
                "messages: {delivered} delivered, {waiting} waiting",
                delivered=count_text(counts.delivered),
                waiting=count_text(counts.pending),
            )
        )
        return "\n".join(lines)

    def prices(self, market: MarketId | None = None) -> tuple[PriceVerdict, ...]:
        """Return every price verdict of the last block, of one market or of all."""
        return tuple(
            price
            for watcher in self._watchers
            if watcher.engine is not None
            for reading in watcher.engine.readings.values()
            if market is None or reading.view.market == market
            for price in reading.prices
        )

    async def alerts(self, chat: str) -> tuple[AlertState, ...]:
        """Return what is firing for the chat or was escalated to it, the worst first."""
        escalate_to = self._watchers[0].settings.alerts.escalate_to if self._watchers else ()
        return tuple(
            state
            for state in await self._people.alerts()
            if state.chat == chat or chat in escalate_to[: state.escalated]
        )

    async def hushes(self) -> tuple[Hush, ...]:
        """Return what was acknowledged or snoozed."""
        return await self._people.hushes()

    def now(self, rule: str) -> int:
        """Return the clock of a rule: faults are kept by the wall's, all else by the chain's."""
        heads = [head.timestamp for w in self._watchers if (head := w.head()) is not None]
        return int(time.time()) if rule == KEEPER or not heads else max(heads)

    async def hush(self, state: AlertState, for_s: int | None, by: str) -> None:
        """Acknowledge an alert, or snooze it for so many seconds."""
        await self._people.hush(
            Hush(
                chat=state.chat,
                rule=state.rule,
                subject=state.subject,
                fired_at=state.fired_at,
                level=state.level,
                until=None if for_s is None else self.now(state.rule) + for_s,
                by=by,
            )
        )

    async def hours(self, chat: str) -> ChatHours:
        """Return when the chat wants to be left alone."""
        return await self._people.hours(chat)

    async def set_hours(self, hours: ChatHours) -> None:
        """Replace them."""
        await self._people.set_hours(hours)

    async def language(self, chat: str) -> str:
        """Return the code of the language the chat is spoken to in."""
        return self._voices.language(chat)

    async def set_language(self, chat: str, language: str, by: str) -> None:
        """Speak another one from now on."""
        await self._people.set_language(chat, language, by=by)
        self._voices.learn(await self._people.languages())

    async def rules(self, chat: str) -> tuple[Rule, ...]:
        """Return what the chat wants to hear of besides health factors."""
        return await self._rules.of(chat)

    async def add_rule(self, rule: Rule, by: str, say: Speech = ENGLISH) -> str:
        """Keep a rule; return how it reads now.  Raises `BadRule` for what no market has."""
        gauges: dict[MarketId, Gauges] = {}
        for watcher in self._watchers:
            if watcher.engine is not None:
                gauges |= await watcher.engine.gauges()
        if gauges and rule.gauge not in OF_ACCOUNTS and not applies(rule, gauges):
            raise BadRule(
                "No market lists {what}: /oracles shows what there is.", what=plain(rule.of, 48)
            )
        await self._rules.add(rule, by=by)
        return written_text(rule, gauges, say)

    async def remove_rule(self, rule: Rule, by: str) -> None:
        """End a rule of the chat."""
        await self._rules.remove(rule, by=by)

    def mode(self, say: Speech = ENGLISH) -> str:
        """Return what the keeper may do on each chain, a line each."""
        lines = []
        for watcher in self._watchers:
            executor = watcher.executor
            if executor is None or not executor.armed:
                why = None if executor is None else executor.disarmed_reason
                how = say("watch-only: nothing is sent")
                if why:
                    how = say("not armed: {reason}", reason=why)
            else:
                how = say("armed: transactions are sent")
                if executor.disarmed_reason:  # one of two keys
                    how += say(", but {reason}", reason=executor.disarmed_reason)
            values = {
                "chain": watcher.name,
                "how": how,
                "n": len(watcher.settings.protect),
            }
            if watcher.settings.liquidate.enabled:
                lines.append(say("{chain}: {how}; protects {n}, liquidates", **values))
            else:
                lines.append(say("{chain}: {how}; protects {n}, no liquidations", **values))
        return "\n".join(lines)

    async def actions(self, say: Speech = ENGLISH) -> str:
        """Return the last actions, a line each."""
        lines = [
            action_line(
                str(one.intent.kind).replace("_", " "),
                short(one.intent.position.account),
                one.state,
                one.tx_hash or "",
                one.reason,
                say=say,
            )
            for one in await self._actions.last(LAST_ACTIONS)
        ]
        return "\n".join(lines) or say("Nothing was done yet.")

    async def pause(self, by: str, say: Speech = ENGLISH) -> str:
        """Stop acting on every chain, also after a restart; watching and alerting go on."""
        reason = f"{PAUSED} by {by}"
        await self._people.pause(reason, by=by)  # first: a chain that opens meanwhile reads it
        for watcher in self._watchers:
            if watcher.executor is not None:
                watcher.executor.disarm(reason)
        log.warning("keeper.paused", by=by)
        told = say("Paused: nothing is sent until /resume; watching goes on.")
        return f"{told}\n{self.mode(say)}"

    async def resume(self, by: str, say: Speech = ENGLISH) -> str:
        """Take a pause back; what was disarmed for another reason stays so."""
        await self._people.pause("", by=by)
        for watcher in self._watchers:
            chain_id = watcher.config.chain_id
            if watcher.executor is None or not watcher.settings.signing.armed(chain_id):
                continue
            for one in watcher.executor.parts:
                if (one.disarmed_reason or "").startswith(PAUSED):
                    one.arm(chain_id)
        log.warning("keeper.resumed", by=by)
        return "\n".join((say("Resumed."), self.mode(say)))

    async def offer(self, account: Address) -> Offer:
        """Plan and simulate what brings a protected account to its target."""
        return await offer_for(self._watchers, account)

    async def carry_out(self, offer: Offer, by: str, say: Speech = ENGLISH) -> str:
        """Simulate the offer anew at the last block taken and send it."""
        return await carry_out(self._watchers, offer, by, say)

    async def reply(self, message: Message) -> None:
        """Put a message into the outbox and wake its drain.

        Whoever writes to the bot can be reached again: what was held for the chat is due.
        """
        if any(c.chat == message.chat and not c.enabled for c in await self._watches.chats()):
            await self._outbox.enable_chat(message.chat)
        await self._outbox.put((message,))
        self._wake()

    async def last_update(self) -> int | None:
        """Return the last update id that was remembered."""
        return await self._watches.last_update(self._bot)

    async def remember(self, update_id: int) -> None:
        """Write down that an update was handled."""
        await self._watches.save_update(self._bot, update_id)
