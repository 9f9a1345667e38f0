"""The configuration as text, made from the schema so that it cannot fall behind it.

* `toml`    what ``keeper new-config`` writes: every key, commented out, with its default
* `env`     .env.example: every variable, commented out, with its default
* `lines`   what is in force, secrets masked, and where each value came from
"""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from keeper.log import redact_url
from keeper.secrecy import MASK, secrets_of
from keeper.secrecy import masked as without
from keeper.settings.acting import Protect
from keeper.settings.chains import MARKETS_EXAMPLE, Chain
from keeper.settings.people import WatchEntry
from keeper.settings.schema import Settings

PRECEDENCE: Final = "environment > .env > keeper.toml > presets > defaults"

ACCOUNT: Final = "0x0000000000000000000000000000000000000001"
"""Stands for an account in examples."""

_EXAMPLES: Final[Mapping[type[BaseModel], Mapping[str, Any]]] = {
    Chain: {
        "chain_id": 1,
        "rpc_urls": ("https://your-node.example",),
        "ws_urls": ("wss://your-node.example",),
        "block_time_s": 12.0,
        "markets": ("aave-v3-ethereum",),
    },
    WatchEntry: {
        "address": ACCOUNT,
        "label": "main",
        "chat": "telegram:12345",
        "thresholds": "1.30/1.15/1.05",
    },
    Protect: {
        "account": ACCOUNT,
        "below": "1.10",
        "target": "1.25",
        "max_per_tx_usd": "5000",
        "assets": ("USDC", "WETH"),
    },
}
_HIDDEN: Final = {(Chain, "name")}

_TOML_HEAD: Final = f"""\
# Keeper's configuration.  Every line that is commented out shows its default or an example.
# Precedence: {PRECEDENCE}.
# The environment says KEEPER__SECTION__KEY; secrets and URLs with keys belong there or in .env.
# `keeper show-config` prints what is in force and where each value came from.
#
# To watch Aave v3 on Ethereum nothing here is needed but ETHEREUM_RPC_URL in the environment;
# the same goes for every chain that is known by name (BASE_RPC_URL, ARBITRUM_RPC_URL ...).
"""

_OWN_MARKET: Final = f"""\
# A chain or a market that is not known by name needs no more than this:
#   [chains.mine]
#   chain_id = 31337
#   rpc_urls = ["http://127.0.0.1:8545"]
#   {MARKETS_EXAMPLE}
"""

_ENV_HEAD: Final = f"""\
# Every variable that Keeper reads.  Copy to .env and remove the # before the ones you set;
# lists and tables are JSON.  Precedence: {PRECEDENCE}.

# The configuration file, where it is not ./keeper.toml.
#KEEPER_CONFIG=keeper.toml

# Short for KEEPER__CHAINS__ETHEREUM__RPC_URLS; the same for every chain known by name.
#ETHEREUM_RPC_URL=https://your-node.example

# Short for KEEPER__CHAINS__ETHEREUM__WS_URLS.
#ETHEREUM_WS_URL=wss://your-node.example
"""


def toml() -> str:
    """Return a commented keeper.toml that changes nothing until a line is uncommented."""
    parts = [_TOML_HEAD]
    for title, model in (
        ("[chains.ethereum]", Chain),
        ("[[watch]]", WatchEntry),
        ("[protect.main]", Protect),
    ):
        parts.append(_toml_section(title, model))
        if model is Chain:
            parts.append(_OWN_MARKET)
    for name, field in Settings.model_fields.items():
        section = _section(field)
        if section is not None:
            parts.append(_toml_section(f"[{name}]", section))
    return "\n".join(parts)


def _toml_section(title: str, model: type[BaseModel]) -> str:
    lines = [f"# {line}" for line in _wrapped(_purpose(model))]
    lines.append(f"#{title}")
    for name, field in _fields(model):
        value = _toml_value(_sample(model, name, field))
        lines += [f"# {line}" for line in _wrapped(field.description or "")]
        lines.append(f"#{name} = {value}")
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case Mapping():
            return "{" + ", ".join(f'"{k}" = {_toml_value(v)}' for k, v in value.items()) + "}"
        case tuple():
            return "[" + ", ".join(_toml_value(item) for item in value) + "]"
        case _:
            return json.dumps(str(value))


def env() -> str:
    """Return .env.example: every variable with one comment, all of them commented out."""
    parts = [_ENV_HEAD]
    for prefix, model in (("CHAINS__ETHEREUM", Chain), ("PROTECT__MAIN", Protect)):
        parts += _env_section(prefix, model)
    example = json.dumps([dict(_EXAMPLES[WatchEntry])])
    parts.append(f"# {_purpose(WatchEntry)}\n#KEEPER__WATCH={example}\n")
    for name, field in Settings.model_fields.items():
        section = _section(field)
        if section is not None:
            parts += _env_section(name.upper(), section)
    return "\n".join(parts)


def _env_section(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in _fields(model):
        value = _sample(model, name, field)
        text = json.dumps(value) if isinstance(value, tuple | Mapping) else str(value)
        text = str(value).lower() if isinstance(value, bool) else text
        text = "" if text in ("[]", "{}") else text
        yield f"# {field.description}\n#KEEPER__{prefix}__{name.upper()}={text}\n"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return (
        (name, field) for name, field in model.model_fields.items() if (model, name) not in _HIDDEN
    )


def _sample(model: type[BaseModel], name: str, field: FieldInfo) -> Any:
    """An example where there is one, else the default as a person would write it."""
    examples = _EXAMPLES.get(model, {})
    if name in examples:
        return examples[name]
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return ""
    written = _written(model, name, default)
    return tuple(written) if isinstance(written, list) else written


def _written(model: type[BaseModel], name: str, value: Any) -> Any:
    """The value in the units of the configuration: ``1.3`` for a wad of 13 * 10**17."""
    one = model.model_construct(**{name: value})
    return one.model_dump(mode="json", include={name}, warnings=False)[name]


def _purpose(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=96)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One value in force."""

    key: str
    """Dotted, as in ``chains.ethereum.rpc_urls``."""
    value: str
    """As text; secrets masked, URLs without their keys."""
    source: str
    """A variable, a file, ``preset`` or ``default``."""


def lines(settings: Settings) -> tuple[Line, ...]:
    """Every value in force, in the order of the schema."""
    return tuple(
        Line(key=key, value=_shown(value), source=settings.source(key))
        for key, value in _walk(masked(settings))
    )


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as one JSON document: secrets are ``***``, URLs keep scheme and host."""
    document: dict[str, Any] = settings.model_dump(mode="json", warnings=False)
    for chain in document["chains"].values():
        del chain["name"]
        for key in ("rpc_urls", "ws_urls"):
            chain[key] = [_of_url(url) for url in chain[key]]
        for key in ("relay_url", "relay_auth_key"):
            chain[key] = MASK if chain[key] is not None else None
        for each in chain["aggregators"]:
            each["url"] = None if each["url"] is None else _of_url(each["url"])
    document["database"]["url"] = _of_url(document["database"]["url"])
    for key in ("api_url", "webhook_url"):
        document["telegram"][key] = _of_url(document["telegram"][key])
    for section, key in (
        ("telegram", "token"),
        ("signing", "private_key"),
        ("signing", "remote_url"),
        ("signing", "liquidate_private_key"),
    ):
        secret: SecretStr | None = getattr(getattr(settings, section), key)
        document[section][key] = MASK if secret is not None else None
    return document


def _of_url(url: str) -> str:
    return redact_url(without(url, secrets_of(url)))


def _walk(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _walk(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list() if value and all(isinstance(item, str | int) for item in value):
            return ", ".join(str(item) for item in value)
        case list() if value and all(
            isinstance(item, Mapping) and "name" in item for item in value
        ):
            return ", ".join(item["name"] for item in value)
        case list() | Mapping() if value:
            return json.dumps(value)
        case _:
            return "-" if value is None or value in ([], {}) else str(value)


def write_new(path: Path) -> None:
    """Write `toml` to a file that does not exist yet.  Raises FileExistsError, OSError."""
    with path.open("x", encoding="utf-8") as file:
        file.write(toml())


if __name__ == "__main__":
    sys.stdout.write(env())
