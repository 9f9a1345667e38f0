"""The sections of the configuration, and what must hold between them.

Field descriptions are the comments of .env.example, of ``keeper new-config`` and of the
documentation: one sentence each.  Messages of ValueError here follow the key they are about.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from keeper import presets
from keeper.errors import ConfigError
from keeper.model import Cause, MarketId, Stance, Thresholds, Watch
from keeper.settings.values import (
    Addresses,
    AddressValue,
    EthValue,
    HttpUrl,
    HttpUrls,
    Ids,
    Names,
    OptionalAddress,
    OptionalInt,
    OptionalPath,
    OptionalSecret,
    UsdValue,
    WadValue,
    WsUrls,
)
from keeper.units import WAD, Base, Wad, Wei

DEV_CHAIN_ID = 31337
"""Anvil's: the only chain on which a key may lie about in plain text."""


EXCHANGES = ("coinbase", "kraken", "bitstamp")
"""Whose public tickers `keeper.reference.exchanges` can read."""


class Section(BaseModel):
    """One table of keeper.toml."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )


class Database(Section):
    """Where the journal, the alerts and the history are kept."""

    url: str = Field(
        "sqlite:///keeper.sqlite3",
        repr=False,
        description="SQLite file, or postgresql://user:password@host/name for operators.",
    )


class Logging(Section):
    """What goes to standard error."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="text, json, or auto: text on a terminal and json elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe event that is logged."
    )


class Web(Section):
    """Status page, /metrics and /healthz; read-only."""

    enabled: bool = Field(default=False, description="Whether the status page is served.")
    host: str = Field(
        "127.0.0.1", description="The address it listens on; the page has no login of its own."
    )
    port: int = Field(8787, ge=0, le=65535, description="The port it listens on; 0 takes any.")
    hosts: Names = Field(
        (), description="Further names it may be asked under, such as a scraper's container."
    )


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
        from keeper.settings.values import decimal_text  # noqa: PLC0415

        return " / ".join(decimal_text(x, 18) for x in (self.info, self.warning, self.critical))

    def as_model(self) -> Thresholds:
        """The same in the words of the core."""
        return Thresholds(info=self.info, warning=self.warning, critical=self.critical)


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

    channels: Mapping[str, SecretStr] = Field(
        default_factory=dict,
        description="Further channels by a name of yours, as apprise URLs: told as apprise:NAME.",
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
        url = None if self.heartbeat_url is None else self.heartbeat_url.get_secret_value()
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("heartbeat_url must begin with https:// or http://")
        return self


class Oracles(Section):
    """When a price is not a price."""

    grace_s: int = Field(
        120,
        ge=0,
        description="A feed is stale this long after its heartbeat was missed; daily ones at 216.",
    )
    trusted_sources: Addresses = Field(
        (), description="Price sources believed although they cannot be traced to a feed."
    )
    heartbeats_s: Mapping[AddressValue, PositiveInt] = Field(
        default_factory=dict, description="Heartbeat of a feed, by its address, in seconds."
    )
    max_jump_percent: PositiveInt = Field(
        20, description="An answer that moves further between two blocks is doubted."
    )
    jump_hold_s: int = Field(
        600, ge=0, description="It is believed when it lasted this long, or a reference agrees."
    )
    max_difference_bps: PositiveInt = Field(
        300, description="A price further than this from its reference is doubted; 300 is 3 %."
    )
    sequencer_grace_s: int = Field(
        3600, ge=0, description="How long a rollup's prices are doubted after it was down."
    )
    policy: Mapping[Cause, Stance] = Field(
        default_factory=dict,
        description=(
            "What is done about a cause of doubt, such as stale, jump, capped or disagrees: "
            "alert, hold_liquidations, protect_anyway or hold_all."
        ),
    )


class References(Section):
    """Independent prices that the protocol's own are compared with; none by default."""

    feeds: Mapping[AddressValue, AddressValue] = Field(
        default_factory=dict, description="Another feed in USD for an asset, address to address."
    )
    exchanges: Names = Field(
        (), description="Public tickers to ask: coinbase, kraken, bitstamp; no account is needed."
    )
    tickers: Mapping[str, str] = Field(
        default_factory=dict,
        description="What exchanges call an asset, by its symbol; WETH is ETH and WBTC is BTC.",
    )
    every_s: PositiveFloat = Field(15.0, description="How often exchanges are asked.")
    quotes: Names = Field(
        ("USDC", "USDT", "DAI", "WETH"),
        description="Tokens whose Uniswap v3 pools are looked for, by symbol, best first.",
    )
    window_s: PositiveInt = Field(
        300, description="Over how long a pool's price is averaged, in seconds."
    )
    min_depth_usd: UsdValue = Field(
        Base(1_000_000 * 10**8), description="A pool must be this deep to be heard."
    )
    min_sources: PositiveInt = Field(1, description="Fewer sources than this make no reference.")
    max_age_s: PositiveInt = Field(120, description="An older quote is not counted.")

    @field_validator("exchanges")
    @classmethod
    def _known_exchanges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in EXCHANGES:
                raise ValueError(f"names {name!r}: there is {', '.join(EXCHANGES)}")
        return value


class Market(Section):
    """One deployment of one lending protocol; the rest is discovered from the chain."""

    name: str = Field(description="Any name; it is shown to people and kept in the database.")
    protocol: str = Field("aave_v3", description="The rules it follows.")
    addresses_provider: AddressValue = Field(description="Its PoolAddressesProvider.")
    deployment_block: int | None = Field(
        None, ge=0, description="Where its history starts; discovered when left out."
    )


def _market(value: object) -> object:
    """Take the name of a preset for its table."""
    if not isinstance(value, str):
        return value
    known = presets.markets()
    if value not in known:
        from keeper.settings.sentences import nearest  # noqa: PLC0415 - a cycle otherwise

        raise ValueError(
            f"names {value!r}, which is no known market{nearest(value, known) or ':'} "
            "A market of your own is a table with name and addresses_provider"
        )
    market = known[value]
    return {
        "name": market.name,
        "protocol": market.protocol,
        "addresses_provider": market.addresses_provider,
    }


class Chain(Section):
    """One chain to watch.  A public chain needs only `rpc_urls`; names and ids are known."""

    name: str = Field("", description="The key of the table; not set by hand.")
    chain_id: PositiveInt = Field(description="What eth_chainId must answer.")
    rpc_urls: HttpUrls = Field(
        repr=False, description="HTTP endpoints, best first; the others are for when it fails."
    )
    ws_urls: WsUrls = Field(
        (), repr=False, description="WebSocket endpoints for new heads; polled over HTTP without."
    )
    calls_per_second: PositiveFloat = Field(
        20.0, description="The most requests a second to one provider."
    )
    quorum: OptionalInt = Field(
        None,
        description="How many rpc_urls must have a block before anything is sent; 2 where there "
        "are two or more.",
    )
    confirmations: PositiveInt = Field(
        12, description="Blocks on top of a transaction until it counts as settled."
    )
    block_time_s: PositiveFloat = Field(
        12.0, description="Expected seconds between blocks: silence is judged by it."
    )
    sequencer_feed: OptionalAddress = Field(
        None, description="The rollup's uptime feed; Chainlink's known one when left out."
    )
    liquidator: OptionalAddress = Field(
        None,
        description="Our liquidator contract: liquidations then borrow what they repay; see "
        "deploy-liquidator.",
    )
    uniswap_factory: OptionalAddress = Field(
        None,
        description="Uniswap v3's factory: routes of sales, known for the larger chains; set, its "
        "pools serve as references too.",
    )
    uniswap_quoter: OptionalAddress = Field(
        None,
        description="Uniswap v3's QuoterV2; known for the larger chains.",
    )
    markets: tuple[Annotated[Market, BeforeValidator(_market)], ...] = Field(
        (), description="Names of presets, or tables; the chain's main Aave v3 market by default."
    )

    @field_validator("rpc_urls")
    @classmethod
    def _some_url(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must name at least one URL")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quorum is not None and self.quorum > len(self.rpc_urls):
            raise ValueError(
                f"quorum asks for {self.quorum} nodes that agree, rpc_urls has "
                f"{len(self.rpc_urls)}: add some, or lower it"
            )
        if not self.markets:
            raise ValueError("needs markets: names of presets, or tables with addresses_provider")
        names = [market.name for market in self.markets]
        for market in self.markets:
            if names.count(market.name) > 1:
                raise ValueError(f"markets has two that are called {market.name!r}")
            preset = presets.markets().get(market.name)
            if preset and (preset.chain_id, preset.addresses_provider) != (
                self.chain_id,
                market.addresses_provider,
            ):
                raise ValueError(
                    f"markets: {market.name!r} is the market of chain {preset.chain_id} "
                    f"({preset.chain}), this chain has id {self.chain_id}; "
                    "a market of your own needs a name of its own"
                )
        return self

    @field_validator("quorum")
    @classmethod
    def _some_node(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError(f"must be at least 1, not {value}")
        return value

    @property
    def nodes_needed(self) -> int:
        """How many nodes must agree on a block."""
        return min(2, len(self.rpc_urls)) if self.quorum is None else self.quorum

    def market_ids(self) -> tuple[MarketId, ...]:
        """The markets in the words of the core, in the order configured."""
        return tuple(
            MarketId(chain_id=self.chain_id, name=m.name, protocol=m.protocol) for m in self.markets
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


def _check_chat(value: str, key: str = "") -> None:
    """Raise ValueError for what is no chat: the channels are few and known."""
    channel, _, rest = value.partition(":")
    telegram = channel == "telegram" and _is_int(rest)
    if not (value == "log:" or telegram or (channel == "apprise" and rest)):
        start = f"{key} must be" if key else "must be"
        raise ValueError(f'{start} "telegram:" and a chat id, or "log:", not {value!r}')


def _is_int(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


class Protect(Section):
    """One account whose health factor the keeper raises, from the keeper's own funds."""

    account: AddressValue = Field(description="The account.")
    strategy: Names = Field(
        ("top_up",), description="top_up, repay, or both: the first that can act does."
    )
    below: WadValue = Field(description="Act when the health factor is below this.")
    target: WadValue = Field(description="Bring it back to this.")
    max_per_tx_usd: UsdValue = Field(description="The most one transaction may spend.")
    markets: Names = Field((), description="Only in these markets; all when left out.")
    assets: Names = Field((), description="Only with these symbols or addresses, best first.")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name in self.strategy:
            if name not in ("top_up", "repay"):
                raise ValueError(f"strategy must be top_up or repay, not {name!r}")
        if not self.strategy:
            raise ValueError("strategy must be top_up, repay or both")
        if self.below <= WAD:
            raise ValueError("below must be above 1: at 1 the account can be liquidated already")
        if self.target <= self.below:
            raise ValueError("target must be above below, or it would act without end")
        return self


class Liquidate(Section):
    """Liquidating borrowers whose health factor is below 1, from the keeper's own funds or, with a
    liquidator contract on the chain, by flash loans."""

    enabled: bool = Field(default=False, description="Whether borrowers are liquidated at all.")
    min_profit_usd: UsdValue = Field(
        Base(5 * 10**8), description="The least profit at oracle prices, after gas."
    )
    max_debt_usd: UsdValue = Field(
        Base(10_000 * 10**8), description="The most debt one liquidation may cover."
    )
    markets: Names = Field((), description="Only in these markets; all when left out.")
    denied_assets: Addresses = Field((), description="Tokens that are never received or paid with.")
    max_slippage_bps: int = Field(
        100,
        ge=0,
        lt=10_000,
        description="How much less than quoted the sale of what is seized may bring, in hundredths "
        "of a percent.",
    )
    profit_to: OptionalAddress = Field(
        None,
        description="Owner of the liquidator contract, who gets its profits; the key's own account "
        "by default.",
    )


class Signing(Section):
    """The key and what it may sign; nothing is signed unless a chain is armed here."""

    armed_chain_ids: Ids = Field(
        (), description="Ids of the chains on which transactions are sent; none by default."
    )
    keystore: OptionalPath = Field(None, description="Encrypted keystore (version 3) of the key.")
    passphrase_file: OptionalPath = Field(None, description="File that holds its passphrase.")
    private_key: OptionalSecret = Field(
        None, description="A key in plain text: only on the development chain, id 31337."
    )
    max_per_tx_usd: UsdValue = Field(
        Base(0), description="The most value one transaction may move; 0 allows none."
    )
    max_per_day_usd: UsdValue = Field(
        Base(0), description="The most value all transactions of 24 hours may move."
    )
    max_gas_per_tx_eth: EthValue = Field(
        Wei(0), description="The most one transaction may pay for gas, in the chain's coin."
    )
    max_gas_per_day_eth: EthValue = Field(
        Wei(0), description="The most all transactions of 24 hours may pay for gas."
    )
    min_gas_balance_eth: EthValue = Field(
        Wei(10**16), description="Below this balance of the chain's coin an alarm is raised."
    )
    adopt_nonce: OptionalInt = Field(
        None,
        description="You vouch for the key's transactions below this nonce; see executor.disarmed.",
    )
    kill_switch_file: Path = Field(
        Path("keeper.stop"), description="While this file exists nothing is signed."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.keystore is not None and self.private_key is not None:
            raise ValueError("has both keystore and private_key: keep one")
        if not self.armed_chain_ids:
            return self
        if self.keystore is None and self.private_key is None:
            raise ValueError(
                "arms a chain but names no key: set keystore and passphrase_file, "
                "or leave armed_chain_ids empty to watch only"
            )
        if self.keystore is not None and self.passphrase_file is None:
            raise ValueError("has a keystore but no passphrase_file")
        caps = ("max_per_tx_usd", "max_per_day_usd", "max_gas_per_tx_eth", "max_gas_per_day_eth")
        unset = [name for name in caps if not getattr(self, name)]
        if unset:
            raise ValueError(f"arms a chain without a policy: {', '.join(unset)} must be above 0")
        if self.max_per_day_usd < self.max_per_tx_usd:
            raise ValueError("max_per_day_usd is less than max_per_tx_usd")
        if self.max_gas_per_day_eth < self.max_gas_per_tx_eth:
            raise ValueError("max_gas_per_day_eth is less than max_gas_per_tx_eth")
        return self

    def armed(self, chain_id: int) -> bool:
        """Whether transactions may be sent on this chain at all."""
        return chain_id in self.armed_chain_ids


class Settings(BaseSettings):
    """Everything that was decided before the start; immutable."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )

    database: Database = Database()
    log: Logging = Logging()
    web: Web = Web()
    telegram: Telegram = Telegram()
    thresholds: Annotated[ThresholdSet, BeforeValidator(_global_thresholds)] = ThresholdSet()
    alerts: Alerts = Alerts()
    oracles: Oracles = Oracles()
    references: References = References()
    chains: Mapping[str, Chain] = {}
    watch: tuple[WatchEntry, ...] = ()
    protect: Mapping[str, Protect] = {}
    liquidate: Liquidate = Liquidate()
    signing: Signing = Signing()

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back: `load` hands the layers over."""
        return (init_settings,)

    @model_validator(mode="after")
    def _one_table_for_each_chain(self) -> Self:
        seen: dict[int, str] = {}
        for name, chain in self.chains.items():
            if chain.chain_id in seen:
                raise ValueError(
                    f"chains {seen[chain.chain_id]!r} and {name!r} both have id {chain.chain_id}: "
                    "one chain is one table"
                )
            seen[chain.chain_id] = name
        return self

    @model_validator(mode="after")
    def _key_fits_the_chains(self) -> Self:
        ids = {chain.chain_id: name for name, chain in self.chains.items()}
        for chain_id in self.signing.armed_chain_ids:
            if chain_id not in ids:
                raise ValueError(
                    f"signing.armed_chain_ids names {chain_id}, and no chain with this id "
                    "is configured"
                )
        public = [(name, chain_id) for chain_id, name in ids.items() if chain_id != DEV_CHAIN_ID]
        if self.signing.private_key is not None and public:
            raise ValueError(
                "signing.private_key is a key in plain text, which is allowed only on "
                f"chain {DEV_CHAIN_ID}, and {public[0][0]!r} has id {public[0][1]}: "
                "use signing.keystore and signing.passphrase_file"
            )
        return self

    @model_validator(mode="after")
    def _markets_exist(self) -> Self:
        names = {market.name for chain in self.chains.values() for market in chain.markets}
        wanted = {f"protect.{label}": entry.markets for label, entry in self.protect.items()}
        wanted["liquidate"] = self.liquidate.markets
        for section, markets in wanted.items():
            for market in markets:
                if names and market not in names:
                    raise ValueError(
                        f"{section}.markets names {market!r}, which no chain is configured with"
                    )
        return self

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value came from, by dotted key: a file, a variable, a preset; else absent."""
        return self._sources

    def source(self, key: str) -> str:
        """Where the value of the dotted `key` came from."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            found = self._sources.get(".".join(parts[:length]))
            if found is not None:
                return found
        return "default"

    def select(self, chain: str | None = None) -> tuple[Chain, ...]:
        """The chains to work on: all, or the one of this name or id.

        Raises ConfigError where there is none.
        """
        if not self.chains:
            raise ConfigError(
                "no chain is configured: set ETHEREUM_RPC_URL=https://... in the environment, "
                "or write a keeper.toml with `keeper new-config`"
            )
        if chain is None:
            return tuple(self.chains.values())
        for name, candidate in self.chains.items():
            if chain in (name, str(candidate.chain_id)):
                return (candidate,)
        raise ConfigError(
            f"no chain {chain!r} is configured: there is {', '.join(sorted(self.chains))}"
        )

    def operator_chats(self) -> tuple[str, ...]:
        """Who hears about oracles and faults, as `Message.chat`; the log where nobody is named."""
        chats = tuple(f"telegram:{chat}" for chat in self.telegram.operator_chats)
        return chats if chats and self.telegram.token is not None else ("log:",)

    def watches(self) -> tuple[Watch, ...]:
        """The configured watches in the words of the core, one for each chat that hears."""
        return tuple(
            Watch(
                chat=chat,
                account=entry.address,
                label=entry.label or f"{entry.address[:6]}..{entry.address[-4:]}",
                thresholds=entry.thresholds.as_model() if entry.thresholds else None,
            )
            for entry in self.watch
            for chat in ((entry.chat,) if entry.chat else self.operator_chats())
        )

    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be printed: for the log's redactor."""
        hidden = (
            self.telegram.token,
            self.signing.private_key,
            self.alerts.heartbeat_url,
            *self.alerts.channels.values(),
        )
        return tuple(secret.get_secret_value() for secret in hidden if secret is not None)

    def with_sources(self, sources: Mapping[str, str]) -> Self:
        """Remember where each value came from; for `load`."""
        self._sources.update(sources)
        return self
