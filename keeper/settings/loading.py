"""Put the layers together into one `Settings`, or say in one sentence why not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import ValidationError

from keeper import presets
from keeper.errors import ConfigError
from keeper.settings import layers
from keeper.settings.schema import Settings
from keeper.settings.sentences import nearest, sentence

DEFAULT_FILE = Path("keeper.toml")


def load(
    path: Path | None, environ: Mapping[str, str], *, env_file: Path | None = Path(".env")
) -> Settings:
    """Return what the operator decided: environment > .env > keeper.toml > presets > defaults.

    `path`: a file that must exist; None takes ``$KEEPER_CONFIG``, or ``./keeper.toml`` where it
    exists.  `env_file`: None reads none.  Raises ConfigError in one sentence.
    """
    stack = _layers(path, environ, env_file)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in reversed(stack):
        merged = layers.merge(layer.values, merged)
        origins = {**_not_replaced(origins, layer.origins), **layer.origins}
    for name, chain in _chains(merged).items():
        if isinstance(chain, dict):
            chain["name"] = name
    _require_known_chains(merged)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise ConfigError(sentence(error, lambda key: _origin(key, origins))) from None
    _require_files(settings)
    file = _file(path, environ)
    return settings.with_sources(origins, "" if file is None else str(file))


def _layers(
    path: Path | None, environ: Mapping[str, str], env_file: Path | None
) -> tuple[layers.Layer, ...]:
    """All places, the strongest first."""
    empty = layers.Layer(values={}, origins={})
    file = _file(path, environ)
    toml = empty if file is None else layers.from_toml(file)
    file_variables = _dotenv(env_file)
    dotenv = layers.from_variables(file_variables, f"{env_file}: ", toml.values)
    below = layers.merge(dotenv.values, toml.values)
    environment = layers.from_variables(environ, "", below)
    configured = layers.merge(environment.values, below)
    chains = _chains(configured)
    short = layers.from_shorthands(environ, "", chains)
    short_file = layers.from_shorthands(file_variables, f"{env_file}: ", chains)
    everything = layers.merge(
        configured, layers.merge(short.values, layers.merge(short_file.values, {}))
    )
    known = layers.from_presets(_chains(everything))
    return (environment, dotenv, toml, short, short_file, known)


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that is named, which need not exist, else keeper.toml where it does."""
    named = path or (Path(environ["KEEPER_CONFIG"]) if environ.get("KEEPER_CONFIG") else None)
    return named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def _dotenv(env_file: Path | None) -> dict[str, str]:
    if env_file is None or not env_file.is_file():
        return {}
    try:
        with env_file.open(encoding="utf-8") as lines:
            bindings = list(parse_stream(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{env_file} cannot be read: {error}") from None
    for binding in bindings:
        if binding.error:
            raise ConfigError(
                f"{env_file}: line {binding.original.line} is no NAME=value: close its quotes and "
                "name what it sets, or comment it out"
            )
    values = {binding.key: binding.value for binding in bindings}  # a name alone takes it back
    return {name: value for name, value in values.items() if name and value is not None}


def _chains(values: Mapping[str, Any]) -> dict[str, Any]:
    chains = values.get("chains", {})
    return chains if isinstance(chains, dict) else {}


def _not_replaced(weak: Mapping[str, str], strong: Mapping[str, str]) -> dict[str, str]:
    """Drop the keys under one that a stronger place sets as a whole."""
    whole = tuple(f"{key}." for key in strong)
    return {key: origin for key, origin in weak.items() if not key.startswith(whole)}


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Name the place of `key`: its own, that of a part of it, or that of what it is in."""
    parts = key.split(".") if key else []
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in origins:
            return origins[prefix]
        inside = {place for known, place in origins.items() if known.startswith(f"{prefix}.")}
        if inside:
            named = sorted(inside - {"preset"})
            return named[0] if len(named) == 1 else ""
    return ""


def _require_known_chains(merged: Mapping[str, Any]) -> None:
    """A chain without an id is either misspelt or not public: say both."""
    for name, chain in _chains(merged).items():
        if not isinstance(chain, dict):
            continue
        known = presets.chains().get(name)
        if known is not None and str(chain.get("chain_id")) != str(known.chain_id):
            raise ConfigError(
                f"[chains.{name}] has chain_id {chain.get('chain_id')}, and {name} is known as "
                f"chain {known.chain_id}: leave chain_id out, or name a chain of your own otherwise"
            )
        if "chain_id" not in chain:
            raise ConfigError(
                f"[chains.{name}] is not a chain that is known by name"
                f"{nearest(name, presets.chains()) or ';'} "
                "a chain of your own needs chain_id, rpc_urls and markets"
            )


def _require_files(settings: Settings) -> None:
    signing = settings.signing
    if not signing.armed_chain_ids:
        return
    for key, file in (("keystore", signing.keystore), ("passphrase_file", signing.passphrase_file)):
        if file is not None and not file.is_file():
            raise ConfigError(
                f"signing.{key}: there is no file {file}, and a chain is armed; "
                "leave signing.armed_chain_ids empty to watch only"
            )
