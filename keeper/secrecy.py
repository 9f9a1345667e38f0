"""What of a URL is secret, and a text without it.

Who is asked repeats what he was asked with: "project KEY is out of credits".  `secrets_of` says
what that could be and `masked` takes it out: of what nodes say over HTTP and WebSocket, of the
words of relays, aggregators and remote signers, and of every line of the log.

Keys are in the user part, the path and the query.  In doubt a part is a key, except for what would
garble every line if it were masked: up to five characters, numbers, single words of up to seven
letters, and words that providers have in their paths.

Caveat: a key that looks like one of these is not protected.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit

MASK: Final = "***"
LEAST: Final = 6
"""Characters: what is shorter is left alone."""

_SPELT: Final = (
    # chains and networks
    "eth ethereum mainnet testnet devnet sepolia holesky hoodi goerli arb arbitrum one nova opt "
    "optimism polygon matic zkevm zksync era base bsc bnb smart chain gnosis xdai avalanche avax "
    "fantom sonic linea scroll mantle metis celo soneium unichain worldchain berachain "
    # nodes, their services and their ways of speaking
    "rpc jsonrpc json http https websocket websockets socket ws wss ipc evm node nodes geth reth "
    "erigon nethermind besu anvil hardhat localhost archive full trace debug public private free "
    "premium dedicated shared execution consensus gateway proxy cache router balancer service "
    "services endpoint endpoints provider providers network networks version latest default api "
    "user users project projects app apps ext bc lb ogrpc flash protect fast relay relays bundle "
    "builder builders signer web3signer swap quote "
    # who is told
    "hook hooks webhook webhooks incoming bot telegram slack discord alert alerts alertmanager "
    "prometheus grafana status health healthz healthcheck healthchecks ping push monitor heartbeat "
    "notify message messages mail smtp "
    # us, and what stands in every example
    "keeper postgres postgresql database admin password changeme"
)
_WORDS: Final = frozenset(_SPELT.split())
_SPEAKING: Final = re.compile(r"key|token|secret|pass|pwd|auth|sig|credential|jwt", re.IGNORECASE)
"""In the name of a parameter: its value is a key, whatever it looks like."""
_FILE: Final = re.compile(r"(?:ipc|file|sqlite(?:\+\w+)?):", re.IGNORECASE)
_WEB: Final = frozenset({"http", "https", "ws", "wss"})
_POSTGRES: Final = ("postgres", "postgresql")


def secrets_of(url: str) -> frozenset[str]:
    """Return what must not be shown of `url`, percent-encoded and decoded.

    Nothing of a file or socket: a path of this machine is no secret.  Of a URL that is broken, all
    of it and whatever in it could be a key.
    """
    if "://" not in url or _FILE.match(url):
        return frozenset()
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        found = {url, *_keys(url)}
    else:
        found = {*_of_the_user(parts), *_of_the_rest(parts)}
    return frozenset(form for part in found for form in _forms(part) if len(form) >= LEAST)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with `MASK` for each of `secrets`, in upper or lower case."""
    pattern = _pattern(frozenset(secrets))
    return text if pattern is None else pattern.sub(MASK, text)


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)  # one may begin another
    if not longest_first:
        return None
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def _of_the_user(parts: SplitResult) -> Iterator[str]:
    user, password = parts.username or "", parts.password or ""
    found = [password] if _is_guarded(password) else []
    if not parts.scheme.startswith(_POSTGRES):
        alone = user and not password
        found += [user] if (_is_guarded(user) if alone else _could_be_key(user)) else []
    if found:  # as the header has it
        both = f"{unquote(user)}:{unquote(password)}"
        found.append(base64.b64encode(both.encode()).decode())
    yield from found


def _of_the_rest(parts: SplitResult) -> Iterator[str]:
    of_database = parts.scheme.startswith(_POSTGRES)
    for pair in re.split(r"[&;]", parts.query):
        name, equals, value = pair.partition("=")
        if equals and _SPEAKING.search(name):
            yield from (value,) if _is_guarded(value) else ()
        elif not of_database:
            yield from (one for one in (value if equals else name,) if _could_be_key(one))
    if of_database:  # its path is the name of a database
        return
    yield from _keys(parts.path)
    yield from _keys(parts.fragment)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in _WEB and "." not in host:  # a topic or token, as apprise writes them
        yield from _keys(host)


def _keys(text: str) -> Iterator[str]:
    """Return every part of `text` that could be a key, and those of parts that have several."""
    for part in re.split(r"[/?#&;]", text):
        if _could_be_key(part):
            yield part
        yield from (one for one in re.split(r"[=,:@!]", part) if _could_be_key(one))


def _is_guarded(password: str) -> bool:
    """Whether a password is one: that of the examples is none."""
    return len(password) >= LEAST and password.lower() not in _WORDS


def _could_be_key(part: str) -> bool:
    text = unquote(part)
    if len(text) < LEAST or text.isdigit():
        return False
    if text.isalpha() and len(text) <= 7 and text in (text.lower(), text.upper(), text.title()):
        return False
    words = re.split(r"[-_. +]", text.lower())
    return not all(word in _WORDS or re.fullmatch(r"v?\d{0,3}", word) for word in words)


def _forms(part: str) -> tuple[str, ...]:
    plain = unquote(part)
    return (part, plain, unquote_plus(part), quote(plain), quote(plain, safe=""))
