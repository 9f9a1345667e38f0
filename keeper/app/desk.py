"""What the bot asks, answered from the store and from what the engines read last."""

import time
from collections.abc import Callable, Sequence

from keeper.app.watcher import Watcher
from keeper.errors import ConfigError
from keeper.model import Address, Assessment, Message, Thresholds, Watch
from keeper.store.outbox import SqlOutbox
from keeper.store.watches import LabelTaken, Removed, SqlWatches


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
    ) -> None:
        """`wake`: told after a reply was written.  `bot`: whose update ids are remembered."""
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

    async def watch(self, watch: Watch) -> None:
        """Add or replace a watch.  Raises ConfigError when the chat's label is taken."""
        kept = await self._watches.add(watch)
        if isinstance(kept, LabelTaken):
            raise ConfigError(
                f"You call {kept.account} {kept.label!r} already: choose another label, "
                f"or /unwatch {kept.label} first."
            )

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

    async def status(self) -> str:
        """Return how the keeper is, a line a chain."""
        lines = []
        for watcher in self._watchers:
            head, engine = watcher.head(), watcher.engine
            if head is None or engine is None:
                lines.append(f"{watcher.name}: starting, no block taken yet")
                continue
            age_s = max(0, int(time.time()) - head.timestamp)
            known = sum(len(market.book) for market in engine.markets)
            executor = watcher.executor
            armed = "armed" if executor is not None and executor.armed else "watch-only"
            if executor is not None and executor.disarmed_reason:
                armed = f"disarmed: {executor.disarmed_reason}"
            lines.append(
                f"{watcher.name}: block {head.number:,}, {age_s} s old; {known:,} accounts; {armed}"
            )
        counts = await self._outbox.counts()
        lines.append(f"messages: {counts.delivered:,} delivered, {counts.pending:,} waiting")
        return "\n".join(lines)

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
