"""What the bot needs of the house."""

from collections.abc import Sequence
from typing import Protocol

from keeper.alerts.answers import Offer
from keeper.alerts.speech import Speech
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


class Named(Protocol):
    """A name and what it pointed to when it was looked up."""

    @property
    def name(self) -> str:
        """Normalised, as it is shown."""
        ...

    @property
    def account(self) -> Address:
        """What is watched."""
        ...


class Desk(Protocol):
    """Asks and tells; every refusal is a `KeeperError` whose text is the reply."""

    @property
    def thresholds(self) -> Thresholds:
        """Those of a watch without its own."""
        ...

    @property
    def draws(self) -> bool:
        """Whether charts can be drawn here."""
        ...

    async def resolve(self, name: str) -> Named:
        """What a name points to now.  Raises `KeeperError` whose text is the reply."""
        ...

    def shown(self, watches: tuple[Watch, ...]) -> tuple[Watch, ...]:
        """Watches with their accounts' own names where people gave none; from memory."""
        ...

    async def watch(self, watch: Watch, name: str = "") -> Watch | None:
        """Add or replace a watch; return what it replaced, if that was another.

        `name`: the one it was asked for by, which is looked after from now on.

        Raises `KeeperError` whose text is the reply.
        """
        ...

    async def unwatch(self, chat: str, name: str) -> Watch | None:
        """End the chat's watch of that label (any case) or address; None: there is none."""
        ...

    async def watches(self, chat: str) -> tuple[Watch, ...]:
        """The chat's own, oldest first."""
        ...

    async def health(self, account: Address) -> tuple[Assessment, ...]:
        """The account in every market where it has a position, at the last block taken."""
        ...

    def prices(self, market: MarketId | None = None) -> Sequence[PriceVerdict]:
        """Every price verdict of the last block, of one market or of all."""
        ...

    async def alerts(self, chat: str) -> tuple[AlertState, ...]:
        """What is firing for the chat or was escalated to it, the worst first."""
        ...

    async def hushes(self) -> tuple[Hush, ...]:
        """What was acknowledged or snoozed."""
        ...

    def now(self, rule: str) -> int:
        """Seconds of the clock that alerts of `rule` are kept by."""
        ...

    async def hush(self, state: AlertState, for_s: int | None, by: str) -> None:
        """Acknowledge an alert, or snooze it for so many seconds."""
        ...

    async def hours(self, chat: str) -> ChatHours:
        """When the chat wants to be left alone."""
        ...

    async def set_hours(self, hours: ChatHours) -> None:
        """Replace them."""
        ...

    async def language(self, chat: str) -> str:
        """The language the chat is spoken to in: its own choice, or the house's."""
        ...

    async def set_language(self, chat: str, language: str, by: str) -> None:
        """Speak another one to it from now on."""
        ...

    async def rules(self, chat: str) -> tuple[Rule, ...]:
        """What the chat wants to hear of besides health factors, oldest first."""
        ...

    async def add_rule(self, rule: Rule, by: str, say: Speech) -> str:
        """Keep a rule; return how it reads now.  Raises `KeeperError` whose text is the reply."""
        ...

    async def remove_rule(self, rule: Rule, by: str) -> None:
        """End a rule of the chat."""
        ...

    async def status(self, say: Speech) -> str:
        """How the keeper is, in a few lines."""
        ...

    def mode(self, say: Speech) -> str:
        """What it may do on each chain, a line each."""
        ...

    async def actions(self, say: Speech) -> str:
        """The last actions, a line each."""
        ...

    async def pause(self, by: str, say: Speech) -> str:
        """Stop acting on every chain, never watching; return what is so now."""
        ...

    async def resume(self, by: str, say: Speech) -> str:
        """Take a pause back; return what is so now."""
        ...

    async def offer(self, account: Address) -> Offer:
        """Plan and simulate what brings a protected account to its target.  Signs nothing."""
        ...

    async def carry_out(self, offer: Offer, by: str, say: Speech) -> str:
        """Simulate the offer anew at the newest block and send it; return what became of it."""
        ...

    async def reply(self, message: Message) -> None:
        """Put a message into the outbox and wake its drain."""
        ...

    async def last_update(self) -> int | None:
        """The last update id that was remembered."""
        ...

    async def remember(self, update_id: int) -> None:
        """Write down that an update was handled."""
        ...
