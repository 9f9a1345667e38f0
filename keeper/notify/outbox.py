"""Delivers the outbox: at least once, marked only on the provider's acknowledgement.

Critical first; one message in flight per chat, so that a slow or failing chat stops no other; the
provider's limits and its ``retry_after`` are honoured; failures back off and never give up.  A chat
that will never take a message (the bot was blocked) is disabled, and operators are told.

Where an answer was lost on its way, what is sent again says that it may be a repeat.

What happens at a crash: a message sent but not yet marked is sent again after the restart.  Within
one process an acknowledged message is never sent twice, even if marking it failed.

Waiting is kept in memory and counted on the monotonic clock: after a restart everything undelivered
is due at once and in order, and a wall clock that jumps delays nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

import structlog

from keeper.alerts.speech import SpeechOf, english
from keeper.errors import DeliveryError
from keeper.model import Message, Pending, Severity
from keeper.notify.bundle import bundle, bundled
from keeper.notify.pacing import LONGEST_BACKOFF_S, Pace, backoff_s, loudness, next_of
from keeper.ports import Channel

log = structlog.get_logger(__name__)

POLL_S: Final = 1.0
BATCH: Final = 500
AT_ONCE: Final = 8
PATIENCE: Final = 5
"""A message that failed so often no longer holds up the others of its chat."""
GRACE_S: Final = 3.0
SEND_LIMIT_S: Final = 60.0
"""A channel that takes longer for one message has failed."""


class OutboxStore(Protocol):
    """Where the messages wait."""

    async def due(self, now: float, limit: int) -> tuple[Pending, ...]:
        """Return undelivered rows of enabled chats whose next attempt is due at `now`.

        Critical first, then the oldest; `now` is wall-clock seconds.
        """
        ...

    async def delivered(self, id: int, at: float, ref: str | None = None) -> None:  # noqa: A002 - the row's own name
        """Mark a row as acknowledged, with the provider's id of it; again is harmless."""
        ...

    async def failed(self, id: int, next_attempt_at: float | None, error: str) -> None:  # noqa: A002 - the port's own word
        """Count an attempt that was not acknowledged."""
        ...

    async def doubted(self, id: int) -> None:  # noqa: A002 - the port's own word
        """Remember that the answer to an attempt was lost: see `Pending.maybe_taken`."""
        ...

    async def disable_chat(self, chat: str, reason: str) -> None:
        """Hand out nothing more for `chat`."""
        ...

    async def put(self, messages: Iterable[Message]) -> None:
        """Write messages; a key that is there already makes no second row."""
        ...


class Outbox:
    """Drains an `OutboxStore` into channels."""

    def __init__(
        self,
        store: OutboxStore,
        channels: Sequence[Channel],
        *,
        operators: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        speech: SpeechOf = english,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        poll_s: float = POLL_S,
    ) -> None:
        """`operators`: chats that hear of a disabled chat.  `clock` is monotonic seconds.

        `poll_s`: how often to look without being woken.
        """
        self._poll_s = poll_s
        self._store = store
        self._channels = {channel.prefix: channel for channel in channels}
        self._operators = operators
        self._clock = clock
        self._wall = wall
        self._speech = speech
        self._sleep = sleep
        self._pace = Pace()
        self._waked = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[int, float] = {}
        self._unmarked: dict[int, tuple[float, str | None]] = {}
        self.last_acknowledged_at: float | None = None
        """Wall-clock seconds of the last acknowledgement, for the health endpoint."""

    def wake(self) -> None:
        """Look at the store now: something was written."""
        self._waked.set()

    async def run(self) -> None:
        """Deliver until cancelled.  Raises what the store raises; call again to go on."""
        try:
            while True:
                self._waked.clear()
                wait_s = await self._round()
                await self._rest(self._poll_s if wait_s is None else min(wait_s, self._poll_s))
        finally:
            await self._stop()

    async def flush(self, within_s: float) -> bool:
        """Deliver until nothing is left or `within_s` has passed; True if nothing is left."""
        until = self._clock() + within_s
        try:
            while self._clock() < until:
                self._waked.clear()
                wait_s = await self._round()
                if wait_s is None and not self._in_flight:
                    return True
                await self._rest(min(POLL_S if wait_s is None else wait_s, POLL_S))
        finally:
            await self._stop()
        return False

    async def _round(self) -> float | None:
        """Start what may be sent now; return seconds to the next that may, None without any."""
        for row_id, (at, ref) in tuple(self._unmarked.items()):
            await self._store.delivered(row_id, at, ref)
            self._unmarked.pop(row_id, None)
        horizon = self._wall() + LONGEST_BACKOFF_S + 60
        busy = set(self._in_flight)  # before the read: what ends during it is still among the rows
        rows = await self._store.due(horizon, BATCH)
        now = self._clock()
        by_chat: dict[str, list[Pending]] = {}
        waits: list[float] = []
        for row in rows:
            if row.message.chat in busy:
                continue
            not_before = self._not_before.get(row.id, 0.0)
            if not_before > now and row.attempts >= PATIENCE:
                waits.append(not_before - now)
                continue
            by_chat.setdefault(row.message.chat, []).append(row)
        wanted = ((next_of(mine), mine) for mine in by_chat.values())
        for row, mine in sorted(wanted, key=lambda pair: loudness(pair[0])):
            chat = row.message.chat
            ready_at = max(self._pace.ready_at(chat), self._not_before.get(row.id, 0.0))
            if ready_at > now:
                waits.append(ready_at - now)
            elif len(self._in_flight) < AT_ONCE:
                self._pace.took(chat, now)
                self._in_flight[chat] = asyncio.create_task(self._deliver(bundle(row, mine)))
            else:
                waits.append(POLL_S)
        return min(waits, default=None)

    async def _deliver(self, rows: Sequence[Pending]) -> None:
        """Send rows as one message and write down what came of each.

        The top of a task: it never raises.
        """
        message = bundled(rows, self._speech(rows[0].message.chat))
        try:
            try:
                async with asyncio.timeout(SEND_LIMIT_S):
                    ref = await self._channel(message).send(message, reply_to=rows[0].reply_to)
            except TimeoutError:
                sentence = f"{message.chat} did not acknowledge within {SEND_LIMIT_S:.0f} s."
                await self._failed(rows, DeliveryError(sentence, maybe_taken=True))
            except DeliveryError as error:
                await self._failed(rows, error)
            else:
                await self._acknowledged(rows, ref)
        except Exception:  # the top of a delivery: it stays in the outbox and is tried later
            log.exception("message.crashed", id=rows[0].id, chat=message.chat, kind=message.kind)
            for row in rows:
                wait_s = backoff_s(row.attempts + 1, message.severity)
                self._not_before[row.id] = self._clock() + wait_s
        finally:
            self._in_flight.pop(message.chat, None)
            self._waked.set()

    def _channel(self, message: Message) -> Channel:
        prefix = message.chat.partition(":")[0]
        channel = self._channels.get(prefix)
        if channel is None:
            raise DeliveryError(f"No channel is configured for {message.chat!r}.")
        return channel

    async def _acknowledged(self, rows: Sequence[Pending], ref: str | None) -> None:
        at = self._wall()
        self.last_acknowledged_at = at
        self._unmarked.update({row.id: (at, ref) for row in rows})
        self._pace.resumed(rows[0].message.chat)
        for row in rows:
            self._not_before.pop(row.id, None)
            await self._store.delivered(row.id, at, ref)
            self._unmarked.pop(row.id, None)
            log.info(
                "message.delivered",
                id=row.id,
                chat=row.message.chat,
                kind=row.message.kind,
                attempts=row.attempts + 1,
                together=len(rows),
            )

    async def _failed(self, rows: Sequence[Pending], error: DeliveryError) -> None:
        if error.permanent:
            await self._disable(rows[0], str(error))
            return
        for row in rows:
            await self._retry(row, error)

    async def _retry(self, row: Pending, error: DeliveryError) -> None:
        message = row.message
        wait_s = backoff_s(row.attempts + 1, message.severity)
        if error.retry_after_s is not None:
            wait_s = error.retry_after_s
            self._pace.flooded(message.chat, self._clock(), wait_s)
        self._not_before[row.id] = self._clock() + wait_s
        log.warning(
            "message.failed",
            id=row.id,
            chat=message.chat,
            attempts=row.attempts + 1,
            wait_s=round(wait_s, 3),
            error=str(error),
        )
        if error.maybe_taken:
            await self._store.doubted(row.id)
        await self._store.failed(row.id, self._wall() + wait_s, str(error))

    async def _disable(self, row: Pending, reason: str) -> None:
        """Disable the chat of `row` and tell the operators that are left; the log hears anyway."""
        chat = row.message.chat
        log.error("chat.disabled", chat=chat, reason=reason, kind=row.message.kind)
        await self._store.disable_chat(chat, reason)
        await self._store.put(
            tuple(
                Message(
                    key=f"chat_disabled/{chat}#{row.id}@{operator}",
                    chat=operator,
                    severity=Severity.WARNING,
                    text=self._silenced(operator, chat, reason),
                    kind="fault",
                )
                for operator in self._operators
                if operator != chat
            )
        )

    def _silenced(self, operator: str, chat: str, reason: str) -> str:
        say = self._speech(operator)
        told = say("Keeper: {chat} no longer hears anything: {reason}", chat=chat, reason=reason)
        return f"⚠️ {told}"

    async def _rest(self, seconds: float) -> None:
        """Wait for a wake or the time, whichever comes first."""
        waiters = {
            asyncio.ensure_future(self._waked.wait()),
            asyncio.ensure_future(self._sleep(seconds)),
        }
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)

    async def _stop(self) -> None:
        """End what is in flight, after a moment's grace: what is cut off is sent again."""
        tasks = tuple(self._in_flight.values())
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
