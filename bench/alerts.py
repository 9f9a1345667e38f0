"""C15 and C20: alerts through a channel that misbehaves, and updates of people who mean harm.

C15 runs the product's outbox in simulated time against a stand-in that answers 429, 5xx, nothing
at all (after it took the message), blocks for a while, and is gone for a day.  What the stand-in
took is compared with what was written: nothing may be missing, hardly anything may be there twice.
The store is in memory; `tests/store` holds the real one to the same words.  Planted bugs: a drain
that takes a lost reply for an acknowledgement, and one that gives up after three attempts.
"""

import asyncio
import bisect
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bench.hostile import hostile
from bench.line import Line, say
from keeper.errors import DeliveryError
from keeper.model import Message, Pending, Severity
from keeper.notify.bundle import REPEAT
from keeper.notify.outbox import Outbox

MESSAGES: Final = 100_000
CHATS: Final = 60
PER_CHAT: Final = 3
"""Rows of one chat that the store hands out at once; the real one hands out more, at a cost that
a day of outages in simulated time multiplies by a million attempts."""
HOUR: Final = 3600.0
SPAN_S: Final = 30 * HOUR
"""In which the messages are written; for a day of it Telegram is gone."""
UPDATES: Final = 100_000


def run() -> Iterator[Line]:
    """Yield C15 and C20."""
    say(f"C15: {MESSAGES} alerts in {SPAN_S / HOUR:.0f} h, {CHATS} chats, an outage of a day")
    good = asyncio.run(campaign(MESSAGES, seed=2026))
    small = MESSAGES // 50
    deaf = asyncio.run(campaign(small, seed=1, bug="lost is acknowledged", hours=2))
    hasty = asyncio.run(campaign(small, seed=1, bug="gives up", hours=2))
    mute = asyncio.run(campaign(small, seed=1, bug="marks nothing", hours=2))
    share = good.duplicates / good.written
    yield Line(
        id="C15",
        what="alerts lost or said twice too often through a misbehaving channel",
        value=good.lost + good.limits_broken + good.unmarked + (share >= 0.001),
        unit="violations",
        reach="0 lost, duplicates < 0.1 % and marked",
        ok=not (good.lost or good.limits_broken or good.unmarked) and share < 0.001,
        runs=1,
        spread=(good.lost, good.lost),
        context={
            "trials": good.written,
            "lost": good.lost,
            "duplicates": good.duplicates,
            "duplicates_unmarked": good.unmarked,
            "duplicates_percent": 100 * share,
            "answers": dict(good.answers),
            "burst_of_1000_criticals_done_s": good.burst_criticals_s,
            "burst_of_1000_done_s": good.burst_s,
            "limits_broken": good.limits_broken,
            "simulated_hours": good.ended_at / HOUR,
            "planted": {
                "lost is acknowledged": deaf.lost,
                "gives up": hasty.lost,
                "marks nothing": mute.unmarked,
            },
            "planted_caught": deaf.lost > 0 and hasty.lost > 0 and mute.unmarked > 0,
        },
    )
    say(f"C20: {UPDATES} hostile updates")
    yield asyncio.run(hostile(UPDATES, seed=2026))


@dataclass(slots=True)
class Found:
    """What came of a campaign."""

    written: int = 0
    lost: int = 0
    duplicates: int = 0
    burst_criticals_s: float = 0.0
    """Of the thousand alerts at once: until the last critical was taken, simulated seconds."""
    burst_s: float = 0.0
    """And until the last of all."""
    limits_broken: int = 0
    unmarked: int = 0
    """Duplicates that did not say that they may be repeats."""
    answers: Counter[str] = field(default_factory=Counter)
    ended_at: float = 0.0


class Time:
    """Simulated time: it moves to the next sleeper when nothing else can run."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep in simulated seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + max(seconds, 0.0), self._count, future))
        await future

    def advance(self) -> bool:
        """Wake the next sleeper; False when there is none."""
        while self._sleepers:
            at, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self.now = max(self.now, at)
                future.set_result(None)
                return True
        return False


class Store:
    """The outbox's rows in memory; what is due is found without looking at all of them."""

    def __init__(self) -> None:
        self.rows: dict[int, Message] = {}
        self.attempts: Counter[int] = Counter()
        self.waiting: dict[str, list[tuple[int, int]]] = {}
        self.disabled: dict[str, str] = {}
        self.maybe_taken: set[int] = set()
        self._ids = 0

    async def put(self, messages: Iterable[Message]) -> None:
        """Write messages."""
        for message in messages:
            self._ids += 1
            self.rows[self._ids] = message
            place = (_LOUD[message.severity], self._ids)
            bisect.insort(self.waiting.setdefault(message.chat, []), place)

    async def due(self, now: float, limit: int) -> tuple[Pending, ...]:
        """At most `PER_CHAT` a chat, critical first, then the oldest."""
        del now
        ready = heapq.merge(*(mine[:PER_CHAT] for mine in self.waiting.values()))
        return tuple(
            Pending(
                id=one,
                message=self.rows[one],
                attempts=self.attempts[one],
                maybe_taken=one in self.maybe_taken,
            )
            for _, one in itertools.islice(ready, limit)
        )

    async def delivered(self, id: int, at: float, ref: str | None = None) -> None:  # noqa: A002 - the port's own word
        """It is done."""
        del at, ref
        chat, place = self.rows[id].chat, (_LOUD[self.rows[id].severity], id)
        if place in self.waiting.get(chat, ()):
            self.waiting[chat].remove(place)
        if not self.waiting.get(chat):
            self.waiting.pop(chat, None)

    async def failed(self, id: int, next_attempt_at: float | None, error: str) -> None:  # noqa: A002 - the port's own word
        """It is tried again."""
        del next_attempt_at, error
        self.attempts[id] += 1

    async def doubted(self, id: int) -> None:  # noqa: A002 - the port's name for it
        """Its answer was lost."""
        self.maybe_taken.add(id)

    async def disable_chat(self, chat: str, reason: str) -> None:
        """Never in this campaign: nobody blocks for good."""
        self.disabled[chat] = reason


_LOUD: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


class Misbehaving:
    """Telegram on a bad day: sees what it was handed, keeps its limits, forgets to answer."""

    prefix = "telegram"

    def __init__(
        self, time: Time, chance: random.Random, found: Found, bug: str, outage: tuple[float, float]
    ) -> None:
        self._outage = outage
        self.taken: Counter[str] = Counter()
        self.taken_at: dict[str, float] = {}
        self._time = time
        self._chance = chance
        self._found = found
        self._bug = bug
        self._last: dict[str, float] = {}
        self._attempts: Counter[str] = Counter()

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:
        """Take it, or not, or take it and say nothing."""
        del reply_to
        now = self._time.now
        before = self._last.get(message.chat)
        if before is not None and now - before < 1.0 - 1e-6:
            self._found.limits_broken += 1
        self._last[message.chat] = now
        answer = self._answer(now)
        self._found.answers[answer] += 1
        self._attempts[message.key] += 1
        if answer in ("ok", "lost"):
            if self.taken[message.key] and not message.text.endswith(REPEAT):
                self._found.unmarked += 1
            self.taken[message.key] += 1
            self.taken_at.setdefault(message.key, now)
        if answer == "ok":
            return "1"
        if self._bug == "lost is acknowledged" and answer != "429":
            return None
        if self._bug == "gives up" and self._attempts[message.key] >= 3:
            return None
        if answer == "429":
            raise DeliveryError("wait", retry_after_s=float(self._chance.randint(1, 30)))
        raise DeliveryError(answer, maybe_taken=answer == "lost" and self._bug != "marks nothing")

    def _answer(self, now: float) -> str:
        if self._outage[0] <= now < self._outage[1]:
            return "gone"
        roll = self._chance.random()
        for answer, share in (("lost", 0.0005), ("429", 0.01), ("500", 0.02), ("502 html", 0.01)):
            if roll < share:
                return answer
            roll -= share
        return "ok"


async def campaign(
    messages: int, *, seed: int, bug: str = "", hours: float = SPAN_S / HOUR
) -> Found:
    """Write `messages` over so many hours, with a burst of a thousand, and deliver them all.

    From a tenth to nine tenths of the time Telegram is gone.
    """
    chance = random.Random(seed)
    time, store, found = Time(), Store(), Found()
    span_s = hours * HOUR
    outage = (0.1 * span_s, 0.9 * span_s)
    channel = Misbehaving(time, chance, found, bug, outage)
    outbox = Outbox(store, (channel,), clock=time, wall=time, sleep=time.sleep, poll_s=60.0)
    burst = min(1000, messages // 10)
    instants = sorted(
        [chance.random() * span_s for _ in range(messages - burst)] + [0.02 * span_s] * burst
    )
    writing = asyncio.create_task(_write(time, store, outbox, instants, chance, 0.02 * span_s))
    draining = asyncio.create_task(outbox.run())
    try:
        while not (writing.done() and not store.waiting):
            await _settled()
            if draining.done():
                draining.result()
            if not time.advance():
                await asyncio.sleep(0)
    finally:
        for task in (writing, draining):
            task.cancel()
        await asyncio.gather(writing, draining, return_exceptions=True)
    burst_ids = [one for one in store.rows.values() if one.key.startswith("burst")]
    done = {one.key: channel.taken_at.get(one.key, 0.0) - 0.02 * span_s for one in burst_ids}
    found.burst_s = max(done.values())
    found.burst_criticals_s = max(
        done[one.key] for one in burst_ids if one.severity is Severity.CRITICAL
    )
    found.written = len(store.rows)
    found.lost = sum(not channel.taken[one.key] for one in store.rows.values())
    found.duplicates = sum(count - 1 for count in channel.taken.values())
    found.ended_at = time.now
    return found


async def _settled() -> None:
    """Let whatever can run at this instant run first: only then may time move."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # noqa: SLF001 - what waits for its turn is said nowhere else
    await asyncio.sleep(0)
    while ready:  # noqa: ASYNC110 - it waits for nothing but its turn
        await asyncio.sleep(0)


async def _write(
    time: Time,
    store: Store,
    outbox: Outbox,
    instants: list[float],
    chance: random.Random,
    burst: float,
) -> None:
    levels = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
    for number, at in enumerate(instants):
        if at > time.now:
            await time.sleep(at - time.now)
        chat = f"telegram:{chance.randint(1, CHATS)}"
        thread = f"burst/{number}" if at == burst else f"health/m:{chance.randint(1, 5)}"
        await store.put(
            (
                Message(
                    key=f"{thread}#{number}@{chat}",
                    chat=chat,
                    severity=chance.choices(levels, (1, 4, 5))[0],
                    text=f"alert {number}",
                    kind="fired",
                ),
            )
        )
        outbox.wake()
