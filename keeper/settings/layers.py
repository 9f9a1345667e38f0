"""Where values come from: one nested dict per place, the strongest first.

Environment variables: ``KEEPER__CHAINS__ETHEREUM__RPC_URLS`` is ``chains.ethereum.rpc_urls``.  A
value that starts with ``[`` or ``{`` is JSON, any other is the text itself; an empty one is
as good as none.  ``ETHEREUM_RPC_URL`` and ``ETHEREUM_WS_URL`` (and so for every chain of the
presets) are short for that chain's URLs: they fill a configured chain that has none, and
where no chain is configured at all they configure it.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from keeper import presets
from keeper.errors import ConfigError

PREFIX: Final = "KEEPER__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One place that values come from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    """Dotted key -> what to call the place of this value in a message."""


def from_toml(path: Path) -> Layer:
    """Read keeper.toml; decimals stay exact.  Raises ConfigError naming the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {path}: write one with `keeper new-config {path}`"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        values = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {_lower_first(str(error))}") from None
    return Layer(values=values, origins=dict.fromkeys(flatten(values), str(path)))


def from_variables(variables: Mapping[str, str], place: str, below: Mapping[str, Any]) -> Layer:
    """Read ``KEEPER__*``; `below` are the weaker layers' values, whose spelling of keys is kept.

    `place` is put before the variable's name in messages, empty for the environment.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in sorted(variables):
        text = variables[name].strip()
        if not name.upper().startswith(PREFIX) or not text:
            continue
        origin = f"{place}{name}"
        path = [part.lower() for part in name[len(PREFIX) :].split("__")]
        if "" in path:
            raise ConfigError(f"{origin} is not a setting: two underscores stand between names")
        path = _as_spelt(path, below)
        _put(values, path, _value(text, origin), origin)
        origins[".".join(path)] = origin
    return Layer(values=values, origins=origins)


def _as_spelt(path: list[str], below: Mapping[str, Any]) -> list[str]:
    """Variables have no case and no hyphen: `Main-Wallet` of a weaker layer keeps its name."""
    spelt: list[str] = []
    level: Any = below
    for part in path:
        keys = level if isinstance(level, Mapping) else {}
        same = (key for key in keys if key.lower().replace("-", "_") == part)
        key = next(same, part)
        spelt.append(key)
        level = keys.get(key)
    return spelt


def _value(text: str, origin: str) -> Any:
    if text[0] not in "[{":
        return text
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{origin} starts like JSON and is not: {_lower_first(error.msg)} "
            f"at character {error.pos + 1}"
        ) from None


def _put(values: dict[str, Any], path: list[str], value: Any, origin: str) -> None:
    level = values
    for part in path[:-1]:
        level = level.setdefault(part, {})
        if not isinstance(level, dict):
            raise ConfigError(f"{origin} sets a part of what another variable sets as a whole")
    if isinstance(level.get(path[-1]), dict) and not isinstance(value, dict):
        raise ConfigError(f"{origin} sets as a whole what another variable sets a part of")
    if isinstance(value, dict) and isinstance(level.get(path[-1]), dict):
        level[path[-1]] = merge(value, level[path[-1]])
    else:
        level[path[-1]] = value


def from_shorthands(variables: Mapping[str, str], place: str, chains: Mapping[str, Any]) -> Layer:
    """Read ``<CHAIN>_RPC_URL`` and ``<CHAIN>_WS_URL``; `chains` are those configured otherwise."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for chain in presets.chains():
        if chains and chain not in chains:
            continue
        for suffix, key in (("_RPC_URL", "rpc_urls"), ("_WS_URL", "ws_urls")):
            name = chain.upper() + suffix
            text = variables.get(name, "").strip()
            if text and (suffix == "_RPC_URL" or chain in values or chain in chains):
                values.setdefault(chain, {})[key] = text
                origins[f"chains.{chain}.{key}"] = f"{place}{name}"
    return Layer(values={"chains": values} if values else {}, origins=origins)


def from_presets(chains: Mapping[str, Any]) -> Layer:
    """What is known of the configured chains by their name: id, block time, main market."""
    values: dict[str, Any] = {}
    for name, configured in chains.items():
        known = presets.chains().get(name)
        if known is None or not isinstance(configured, Mapping):
            continue
        if configured.get("chain_id", known.chain_id) not in (known.chain_id, str(known.chain_id)):
            continue
        values[name] = {"chain_id": known.chain_id, "markets": [known.markets[0].name]}
        if known.block_time_s is not None:
            values[name]["block_time_s"] = Decimal(str(known.block_time_s))
    document = {"chains": values} if values else {}
    return Layer(values=document, origins=dict.fromkeys(flatten(document), "preset"))


def merge(strong: Mapping[str, Any], weak: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, `strong` winning; tables are merged, lists and values are replaced."""
    merged = dict(weak)
    for key, value in strong.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(value, below)
        else:
            merged[key] = value
    return merged


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every value that is not a table."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
