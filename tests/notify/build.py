"""Hand-written fakes: a clock, an outbox in memory, a channel, a desk."""

import asyncio
from collections.abc import Iterable

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.errors import DeliveryError, KeeperError
from keeper.model import (
    Address,
    Assessed,
    Assessment,
    BlockRef,
    Hash,
    MarketId,
    Message,
    Pending,
    PositionId,
    Severity,
    Thresholds,
    Watch,
)
from keeper.units import Base, Wad

CHAT = "telegram:4711"
OTHER = "telegram:4712"
OPERATOR = "telegram:1"
ME = Address("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
ME_SHOWN = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        for _ in range(20):  # whatever can run at this instant runs first
            await asyncio.sleep(0)
        self.now += max(seconds, 0.0)


class MemoryOutbox:
    """An outbox without a database, in the words of `OutboxStore`."""

    def __init__(self) -> None:
        self.rows: dict[int, Message] = {}
        self.attempts: dict[int, int] = {}
        self.next_at: dict[int, float] = {}
        self.done: dict[int, float] = {}
        self.disabled: dict[str, str] = {}
        self.marking_fails = 0

    async def put(self, messages: Iterable[Message]) -> None:
        known = {message.key for message in self.rows.values()}
        for message in messages:
            if message.key not in known:
                known.add(message.key)
                self.rows[len(self.rows) + 1] = message

    async def due(self, now: float, limit: int) -> tuple[Pending, ...]:
        order = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
        waiting = [
            Pending(id=at, message=message, attempts=self.attempts.get(at, 0))
            for at, message in self.rows.items()
            if at not in self.done
            and message.chat not in self.disabled
            and self.next_at.get(at, 0.0) <= now
        ]
        waiting.sort(key=lambda row: (order[row.message.severity], row.id))
        return tuple(waiting[:limit])

    async def delivered(self, id: int, at: float, ref: str | None = None) -> None:  # noqa: A002
        if self.marking_fails:
            self.marking_fails -= 1
            raise OSError("the disk is full")
        self.done[id] = at

    async def failed(self, id: int, next_attempt_at: float | None, error: str) -> None:  # noqa: A002
        assert next_attempt_at is not None
        self.attempts[id] = self.attempts.get(id, 0) + 1
        self.next_at[id] = next_attempt_at

    async def disable_chat(self, chat: str, reason: str) -> None:
        self.disabled[chat] = reason


class ScriptedChannel:
    """Takes messages, or fails as the script says, one step per send."""

    prefix = "telegram"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.taken: list[tuple[float, str, str]] = []
        self.script: dict[str, list[DeliveryError]] = {}
        self.tries: list[tuple[float, str]] = []

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:
        self.tries.append((self.clock.now, message.chat))
        waiting = self.script.get(message.chat)
        if waiting:
            raise waiting.pop(0)
        self.taken.append((self.clock.now, message.chat, message.text))
        return str(len(self.taken))

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.taken]


def message(
    text: str,
    *,
    chat: str = CHAT,
    severity: Severity = Severity.WARNING,
    thread: str = "",
) -> Message:
    key = f"{thread}#{text}@{chat}" if thread else f"{text}@{chat}"
    return Message(key=key, chat=chat, severity=severity, text=text, kind="fired")


class MemoryDesk:
    """The house as the bot sees it, in memory; replies go into an outbox."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self.outbox = outbox
        self.kept: list[Watch] = []
        self.remembered: list[int] = []
        self.crash_on: str = ""
        self.wake = asyncio.Event()

    @property
    def thresholds(self) -> Thresholds:
        return DEFAULT_THRESHOLDS

    async def watch(self, watch: Watch) -> None:
        if watch.label and any(
            one.label == watch.label and one.account != watch.account for one in self.kept
        ):
            raise KeeperError(f"The label {watch.label} is taken: choose another one.")
        self.kept = [
            one for one in self.kept if (one.chat, one.account) != (watch.chat, watch.account)
        ]
        self.kept.append(watch)

    async def unwatch(self, chat: str, name: str) -> Watch | None:
        for one in self.kept:
            if one.chat == chat and name.casefold() in (one.label.casefold(), one.account):
                self.kept.remove(one)
                return one
        return None

    async def watches(self, chat: str) -> tuple[Watch, ...]:
        return tuple(one for one in self.kept if one.chat == chat)

    async def health(self, account: Address) -> tuple[Assessment, ...]:
        if account != ME:
            return ()
        market = MarketId(chain_id=1, name="aave-v3-ethereum", protocol="aave_v3")
        return (
            Assessed(
                position=PositionId(market=market, account=account),
                block=BlockRef(
                    number=21_034_511,
                    hash=Hash("0x" + "1" * 64),
                    parent_hash=Hash("0x" + "2" * 64),
                    timestamp=1_795_000_003,
                ),
                health_factor=Wad(1_142_857142857142857),
                collateral=Base(25_000_12345678),
                debt=Base(19_438_10000000),
                legs=(),
            ),
        )

    async def status(self) -> str:
        if self.crash_on == "status":
            raise RuntimeError("a bug")
        return "Ethereum: block 21034511, 12 s old."

    async def reply(self, message: Message) -> None:
        await self.outbox.put((message,))
        self.wake.set()

    async def last_update(self) -> int | None:
        return max(self.remembered, default=None)

    async def remember(self, update_id: int) -> None:
        self.remembered.append(update_id)
