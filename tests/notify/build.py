"""Hand-written fakes: a clock, an outbox in memory, a channel, a desk."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from keeper.alerts.answers import Offer
from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.alerts.speech import Speech
from keeper.errors import DeliveryError, KeeperError
from keeper.model import (
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    Assessment,
    Asset,
    BlockRef,
    ChatHours,
    Cost,
    Hash,
    Hush,
    Intent,
    IntentKind,
    MarketId,
    Message,
    Pending,
    Plan,
    PositionId,
    PriceVerdict,
    Rehearsed,
    Rule,
    Severity,
    Thresholds,
    Watch,
)
from keeper.notify.words import BadWord
from keeper.units import Base, Raw, Wad, Wei

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
        self.maybe_taken: set[int] = set()
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
            Pending(
                id=at,
                message=message,
                attempts=self.attempts.get(at, 0),
                maybe_taken=at in self.maybe_taken,
            )
            for at, message in self.rows.items()
            if at not in self.done
            and message.chat not in self.disabled
            and self.next_at.get(at, 0.0) <= now
        ]
        waiting.sort(key=lambda row: (order[row.message.severity], row.id))
        return tuple(waiting[:limit])

    async def delivered(self, id: int, at: float, ref: str | None = None) -> None:  # noqa: A002 - the port's name for it
        if self.marking_fails:
            self.marking_fails -= 1
            raise OSError("the disk is full")
        self.done[id] = at

    async def failed(self, id: int, next_attempt_at: float | None, error: str) -> None:  # noqa: A002 - the port's name for it
        assert next_attempt_at is not None
        self.attempts[id] = self.attempts.get(id, 0) + 1
        self.next_at[id] = next_attempt_at

    async def doubted(self, id: int) -> None:  # noqa: A002 - the port's name for it
        self.maybe_taken.add(id)

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


NOW = 1_795_000_900
MARKET = MarketId(chain_id=1, name="aave-v3-ethereum", protocol="aave_v3")


def firing(chat: str = CHAT, level: AlertLevel = AlertLevel.WARNING) -> AlertState:
    return AlertState(
        chat=chat,
        rule="health",
        subject=f"{MARKET.name}:{ME}",
        level=level,
        fired_at=NOW - 900,
        said_at=NOW - 900,
        said_health=Wad(1_142_857142857142857),
        serial=1,
        level_at=NOW - 900,
    )


def an_offer(account: Address) -> Offer:
    block = BlockRef(
        number=21_034_511,
        hash=Hash("0x" + "1" * 64),
        parent_hash=Hash("0x" + "2" * 64),
        timestamp=NOW,
    )
    intent = Intent(
        intent_id="i-7f3a",
        kind=IntentKind.REPAY,
        position=PositionId(market=MARKET, account=account),
        block=block,
        asset=Asset(address=Address("0x" + "a0" * 20), symbol="USDC", decimals=6),
        amount=Raw(2_938_100_001),
        value_at_risk=Base(1),
        health_before=Wad(1_061_060494595665214),
        reason="asked for on Telegram",
    )
    plan = Plan(
        intent=intent,
        to=Address("0x" + "87" * 20),
        data=b"",
        gas_limit=400_000,
        max_fee_wei=Wei(7_500_000_001),
        deadline=NOW + 120,
        spends=Base(2_938_13000000),
    )
    return Offer(
        intent=intent,
        chain="ethereum",
        rehearsed=Rehearsed(
            plan=plan,
            health_after=Wad(1_250_000000000000001),
            cost=Cost(gas_used=213_456, wei=Wei(213_456 * 6_000_000_007), value=None),
        ),
        target=Wad(1_250_000000000000000),
        armed=True,
    )


@dataclass(frozen=True, slots=True)
class FoundName:
    name: str
    account: Address


class MemoryDesk:
    """The house as the bot sees it, in memory; replies go into an outbox."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self.outbox = outbox
        self.kept: list[Watch] = []
        self.remembered: list[int] = []
        self.crash_on: str = ""
        self.wake = asyncio.Event()
        self.firing: list[AlertState] = []
        self.hushed: list[Hush] = []
        self.kept_rules: list[Rule] = []
        self.kept_hours: dict[str, ChatHours] = {}
        self.languages: dict[str, str] = {}
        self.named: list[tuple[Address, str]] = []
        self.privileged: list[str] = []
        """Everything that only an operator may bring about."""
        self.offered = 0
        self.verdicts: tuple[PriceVerdict, ...] = ()
        self.positions: tuple[Assessment, ...] = ()
        """Of ME; one without legs where nothing is said."""

    @property
    def thresholds(self) -> Thresholds:
        return DEFAULT_THRESHOLDS

    async def resolve(self, name: str) -> FoundName:
        if name.lower() != "vitalik.eth":
            raise BadWord("{said} points to no account.", said=name)
        return FoundName(name="vitalik.eth", account=ME)

    def shown(self, watches: tuple[Watch, ...]) -> tuple[Watch, ...]:
        return watches

    async def watch(self, watch: Watch, name: str = "") -> Watch | None:
        if name:
            self.named.append((watch.account, name))
        if watch.label and any(
            one.label == watch.label and one.account != watch.account for one in self.kept
        ):
            raise KeeperError(f"The label {watch.label} is taken: choose another one.")
        same = (watch.chat, watch.account)
        before = next((one for one in self.kept if (one.chat, one.account) == same), None)
        self.kept = [
            one for one in self.kept if (one.chat, one.account) != (watch.chat, watch.account)
        ]
        self.kept.append(watch)
        return before if before != watch else None

    async def unwatch(self, chat: str, name: str) -> Watch | None:
        for one in self.kept:
            if one.chat == chat and name.casefold() in (one.label.casefold(), one.account):
                self.kept.remove(one)
                return one
        return None

    async def watches(self, chat: str) -> tuple[Watch, ...]:
        return tuple(one for one in self.kept if one.chat == chat)

    async def health(self, account: Address) -> tuple[Assessment, ...]:
        if account != ME or self.positions:
            return self.positions if account == ME else ()
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

    async def status(self, say: Speech) -> str:
        if self.crash_on == "status":
            raise RuntimeError("a bug")
        return "Ethereum: block 21034511, 12 s old."

    @property
    def draws(self) -> bool:
        return True

    def prices(self, market: MarketId | None = None) -> tuple[PriceVerdict, ...]:
        return self.verdicts

    async def alerts(self, chat: str) -> tuple[AlertState, ...]:
        return tuple(one for one in self.firing if one.chat == chat)

    async def hushes(self) -> tuple[Hush, ...]:
        return tuple(self.hushed)

    def now(self, rule: str) -> int:
        return NOW

    async def hush(self, state: AlertState, for_s: int | None, by: str) -> None:
        self.hushed.append(
            Hush(
                chat=state.chat,
                rule=state.rule,
                subject=state.subject,
                fired_at=state.fired_at,
                level=state.level,
                until=None if for_s is None else NOW + for_s,
                by=by,
            )
        )

    async def rules(self, chat: str) -> tuple[Rule, ...]:
        return tuple(one for one in self.kept_rules if one.chat == chat)

    async def add_rule(self, rule: Rule, by: str, say: Speech) -> str:
        self.kept_rules.append(rule)
        return say("Rule kept: {rule}", rule=rule.text)

    async def remove_rule(self, rule: Rule, by: str) -> None:
        self.kept_rules.remove(rule)

    async def language(self, chat: str) -> str:
        return self.languages.get(chat, "en")

    async def set_language(self, chat: str, language: str, by: str) -> None:
        self.languages[chat] = language

    async def hours(self, chat: str) -> ChatHours:
        return self.kept_hours.get(chat, ChatHours(chat=chat))

    async def set_hours(self, hours: ChatHours) -> None:
        self.kept_hours[hours.chat] = hours

    def mode(self, say: Speech) -> str:
        return "ethereum: watch-only"

    async def actions(self, say: Speech) -> str:
        return "Nothing was done yet."

    async def pause(self, by: str, say: Speech) -> str:
        self.privileged.append(f"pause by {by}")
        return "Paused"

    async def resume(self, by: str, say: Speech) -> str:
        self.privileged.append(f"resume by {by}")
        return "Resumed"

    async def offer(self, account: Address) -> Offer:
        self.offered += 1
        return an_offer(account)

    async def carry_out(self, offer: Offer, by: str, say: Speech) -> str:
        self.privileged.append(f"{offer.intent.intent_id} by {by}")
        return f"Sent: {offer.intent.intent_id}"

    async def reply(self, message: Message) -> None:
        await self.outbox.put((message,))
        self.wake.set()

    async def last_update(self) -> int | None:
        return max(self.remembered, default=None)

    async def remember(self, update_id: int) -> None:
        self.remembered.append(update_id)
