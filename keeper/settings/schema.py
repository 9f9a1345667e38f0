"""All sections of the configuration together, and what must hold between them.

Field descriptions are the comments of .env.example, of ``keeper new-config`` and of the
documentation: one sentence each.  Messages of ValueError here follow the key they are about.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    PrivateAttr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from keeper.errors import ConfigError
from keeper.model import Address, Rule, Watch
from keeper.secrecy import secrets_of
from keeper.settings.acting import Liquidate, Protect, Signing
from keeper.settings.chains import Chain
from keeper.settings.oracles import Oracles, References
from keeper.settings.people import (
    Alerts,
    Telegram,
    ThresholdSet,
    Unwatched,
    WatchEntry,
    _check_chat,
    _global_thresholds,
)
from keeper.settings.process import Database, Logging, Web
from keeper.settings.section import DEV_CHAIN_ID


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
    _file: str = PrivateAttr(default="")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
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

    @model_validator(mode="after")
    def _rules_are_rules(self) -> Self:
        """Whether anybody watches the accounts they name is known later: the database says it."""
        from keeper.errors import KeeperError  # noqa: PLC0415 - needed with rules only

        for line in self.alerts.rules:
            first = line.strip().partition(" ")[0]
            if ":" in first:
                _check_chat(first, f"alerts.rules: {line!r}: the chat")
        try:
            self.rules(())
        except KeeperError as error:
            raise ValueError(f"alerts.rules: {error}") from None
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
                + (
                    f"or uncomment a chain in {self._file}"
                    if self._file
                    else "or write a keeper.toml with `keeper new-config`"
                )
            )
        if chain is None:
            return tuple(self.chains.values())
        for name, candidate in self.chains.items():
            if chain in (name, str(candidate.chain_id)):
                return (candidate,)
        names = sorted(self.chains)
        close = difflib.get_close_matches(chain.lower(), names, n=1)
        said = f"did you mean {close[0]}?" if close else f"there is {', '.join(names)}"
        raise ConfigError(f"no chain {chain!r} is configured: {said}")

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

    def rules(self, watches: Iterable[Watch]) -> tuple[tuple[Rule, ...], tuple[Unwatched, ...]]:
        """The configured rules in the words of the core, one for each chat that hears.

        `watches`: whose labels they may name, those of [[watch]] besides; an address needs none.
        The second: those whose account nobody watches.  Raises `BadRule`.
        """
        from keeper.alerts.rules import NotWatched, parse_rule  # noqa: PLC0415 - needed with rules only

        named = {(one.chat, one.label.casefold()): one.account for one in self.watches()}
        named |= {(one.chat, one.label.casefold()): one.account for one in watches}
        rules, unwatched = [], []
        for chat, text in self._rules_of_chats():

            def account_of(word: str, chat: str = chat) -> Address | None:
                if re.fullmatch("0x[0-9a-f]{40}", word.lower()):
                    return Address(word.lower())
                return named.get((chat, word.casefold()))

            try:
                rules.append(parse_rule(text, chat, account_of))
            except NotWatched:
                unwatched.append(Unwatched(chat=chat, text=text))
        return tuple(rules), tuple(unwatched)

    def _rules_of_chats(self) -> Iterator[tuple[str, str]]:
        """Yield each line of `alerts.rules` with each chat that hears it."""
        for line in self.alerts.rules:
            first, _, rest = line.strip().partition(" ")
            if ":" in first:
                yield first, rest.strip()
            else:
                for chat in self.operator_chats():
                    yield chat, line.strip()

    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be printed, parts of URLs too: for the log's redactor."""
        hidden = (
            self.telegram.token,
            self.telegram.webhook_secret,
            self.signing.private_key,
            self.signing.remote_url,
            self.signing.liquidate_private_key,
            self.alerts.heartbeat_url,
            *self.alerts.channels.values(),
            *self.alerts.alertmanagers.values(),
            *(chain.relay_url for chain in self.chains.values()),
            *(chain.relay_auth_key for chain in self.chains.values()),
        )
        whole = [secret.get_secret_value() for secret in hidden if secret is not None]
        urls = [*whole, self.database.url, self.telegram.api_url, self.telegram.webhook_url]
        for chain in self.chains.values():
            urls += [*chain.rpc_urls, *chain.ws_urls, *(each.where for each in chain.aggregators)]
        parts = (part for url in urls for part in sorted(secrets_of(url)))
        return tuple(dict.fromkeys((*whole, *parts)))

    def with_sources(self, sources: Mapping[str, str], file: str) -> Self:
        """Remember where each value came from, and the file that was read, if any; for `load`."""
        self._sources.update(sources)
        self._file = file
        return self
