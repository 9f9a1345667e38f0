"""Who is told what, and when."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)

from keeper.model import Thresholds
from keeper.settings.section import Section
from keeper.settings.values import (
    AddressValue,
    HttpUrl,
    Ids,
    Names,
    OptionalSecret,
    WadValue,
    decimal_text,
)
from keeper.units import WAD, Wad

SPOKEN = ("en", "de")
"""The languages there are catalogues for; a test compares it with `keeper.notify.languages`."""


class Telegram(Section):
    """The bot people talk to; off without a token."""

    token: OptionalSecret = Field(None, description="From @BotFather; empty switches it off.")
    api_url: HttpUrl = Field(
        "https://api.telegram.org", description="Another Bot API server, such as a local one."
    )
    operator_chats: Ids = Field(
        (), description="Chats that hear about oracles, refused actions and faults of the keeper."
    )
    operators: Ids = Field(
        (), description="User ids (not chats) that may top up, pause and resume; nobody by default."
    )
    allowed_chats: Ids = Field(
        (), description="Chats that may use the bot besides the operators'; others are turned away."
    )
    language: str = Field(
        "en", description="What chats are spoken to in that chose no /language: en or de."
    )
    webhook_url: str = Field(
        "",
        description="The https URL under which Telegram reaches this keeper; polled for without.",
    )
    webhook_secret: OptionalSecret = Field(
        None, description="What Telegram shows with each update; 16 to 256 of A-Z a-z 0-9 _ -."
    )
    webhook_host: str = Field(
        "127.0.0.1", description="The address it listens on for Telegram, behind your own proxy."
    )
    webhook_port: int = Field(
        8788, ge=0, le=65535, description="The port it listens on for Telegram, path /telegram."
    )

    @field_validator("language")
    @classmethod
    def _spoken(cls, value: str) -> str:
        if value not in SPOKEN:
            raise ValueError(f"must be one of {', '.join(SPOKEN)}, not {value!r}")
        return value

    @model_validator(mode="after")
    def _webhook_is_whole(self) -> Self:
        if not self.webhook_url:
            return self
        if not self.webhook_url.startswith("https://"):
            raise ValueError("webhook_url must begin with https://: Telegram takes no other")
        secret = self.webhook_secret.get_secret_value() if self.webhook_secret else ""
        if re.fullmatch(r"[A-Za-z0-9_-]{16,256}", secret, re.ASCII) is None:
            raise ValueError(
                "webhook_secret must be 16 to 256 characters of A-Z a-z 0-9 _ - where webhook_url "
                "is set: without it anybody could speak in Telegram's name"
            )
        return self


def _slashed(value: object) -> object:
    """Take ``"1.30/1.15/1.05"`` for a table of three."""
    if not isinstance(value, str):
        if isinstance(value, Mapping) and set(value) < {"info", "warning", "critical"}:
            raise ValueError('needs all of info, warning and critical, or "1.30/1.15/1.05"')
        return value
    parts = [part.strip() for part in value.split("/")]
    if len(parts) != 3:
        raise ValueError(f'must be three decimals such as "1.30/1.15/1.05", not {value!r}')
    return dict(zip(("info", "warning", "critical"), parts, strict=True))


class ThresholdSet(Section):
    """Health factors below which people are told; strictly falling, all above 1."""

    info: WadValue = Field(
        Wad(130 * WAD // 100), description="Below this people are told once, quietly."
    )
    warning: WadValue = Field(
        Wad(115 * WAD // 100), description="Below this they are told, and again while it lasts."
    )
    critical: WadValue = Field(
        Wad(105 * WAD // 100), description="Below this they are told loudly, until acknowledged."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.info > self.warning > self.critical:
            raise ValueError(
                "thresholds are out of order: info, warning, critical must fall strictly, "
                f"and these are {self}"
            )
        if self.critical <= WAD:
            raise ValueError(
                f"critical must be above 1, where liquidation begins, and these are {self}"
            )
        return self

    def __str__(self) -> str:
        return " / ".join(decimal_text(x, 18) for x in (self.info, self.warning, self.critical))

    def as_model(self) -> Thresholds:
        """The same in the words of the core."""
        return Thresholds(info=self.info, warning=self.warning, critical=self.critical)


def _global_thresholds(value: Any) -> Any:
    """The global set may name some of the three; a string names all."""
    return _slashed(value) if isinstance(value, str) else value


class Alerts(Section):
    """When an alert is said again and when it is over; durations in seconds of chain time."""

    clear_above: WadValue = Field(
        Wad(5 * WAD // 100),
        description="How far above its threshold the health factor must be for an alert to clear.",
    )
    clear_after_s: int = Field(
        600, ge=0, description="How long it must have been there for an alert to clear."
    )
    worse_by: WadValue = Field(
        Wad(2 * WAD // 100),
        description="An alert is said again when the health factor fell by this much more.",
    )
    rule_worse_percent: PositiveInt = Field(
        5, description="A rule's alert is said again when its reading is worse by this much more."
    )
    repeat_warning_s: PositiveInt = Field(14_400, description="A warning is repeated this often.")
    repeat_critical_s: PositiveInt = Field(900, description="A critical is repeated this often.")
    escalate_to: Names = Field(
        (),
        description="Chats that are called in, one after the other, while a critical is not "
        "acknowledged, such as telegram:12345.",
    )
    escalate_after_s: PositiveInt = Field(
        900, description="How long a critical waits for an acknowledgement before the next chat."
    )

    rules: tuple[str, ...] = Field(
        (),
        description='What else is told, such as "price WETH < 2000/1800"; to the operators, or to '
        'a chat named before it: "telegram:12345 distance main < 10".',
    )
    channels: Mapping[str, SecretStr] = Field(
        default_factory=dict,
        description="Further channels by a name of yours, as apprise URLs: told as apprise:NAME.",
    )
    alertmanagers: Mapping[str, SecretStr] = Field(
        default_factory=dict,
        description="Alertmanagers by a name of yours, as base URLs: told as alertmanager:NAME.",
    )
    heartbeat_url: OptionalSecret = Field(
        None, description="Posted to while every chain is read; whoever is behind it alarms."
    )
    heartbeat_every_s: PositiveInt = Field(30, description="How often the heartbeat is posted.")

    @model_validator(mode="after")
    def _known_chats(self) -> Self:
        for chat in self.escalate_to:
            _check_chat(chat, "escalate_to")
            prefix, _, name = chat.partition(":")
            if prefix == "apprise" and name not in self.channels:
                raise ValueError(f"escalate_to names {chat!r}, and channels has no {name!r}")
            if prefix == "alertmanager" and name not in self.alertmanagers:
                raise ValueError(f"escalate_to names {chat!r}, and alertmanagers has no {name!r}")
        for name, at in self.alertmanagers.items():
            if not at.get_secret_value().startswith(("https://", "http://")):
                raise ValueError(f"alertmanagers.{name} must begin with https:// or http://")
        url = None if self.heartbeat_url is None else self.heartbeat_url.get_secret_value()
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("heartbeat_url must begin with https:// or http://")
        return self


def _check_chat(value: str, key: str = "") -> None:
    """Raise ValueError for what is no chat: the channels are few and known."""
    channel, _, rest = value.partition(":")
    telegram = channel == "telegram" and _is_int(rest)
    if not (value == "log:" or telegram or (channel in ("apprise", "alertmanager") and rest)):
        start = f"{key} must be" if key else "must be"
        raise ValueError(f'{start} "telegram:" and a chat id, or "log:", not {value!r}')


def _is_int(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatched:
    """A configured rule about an account that its chat does not watch: it says nothing."""

    chat: str
    text: str

    @property
    def account(self) -> str:
        """The label it names."""
        return " ".join(re.sub(r"[<>].*", "", self.text).split()[1:])

    @property
    def remedy(self) -> str:
        """What the operator may do."""
        label = f"'{self.account}'" if " " in self.account else self.account
        return (
            f"keeper watch ADDRESS --label {label} --chat {self.chat}, or write its address "
            "under alerts.rules"
        )


class WatchEntry(Section):
    """One account to watch from the start; more are added with ``keeper watch`` or /watch."""

    address: AddressValue = Field(description="The account.")
    label: str = Field("", max_length=40, description="What to call it; the address otherwise.")
    chat: str = Field(
        "", description='"telegram:12345" or "log:"; the operators\' chats when left out.'
    )
    thresholds: Annotated[ThresholdSet, BeforeValidator(_slashed)] | None = Field(
        None, description='Its own, as "1.30/1.15/1.05"; the global ones when left out.'
    )

    @field_validator("chat")
    @classmethod
    def _known_channel(cls, value: str) -> str:
        if value:
            _check_chat(value)
        return value
