"""Logs: structlog on standard error, JSON or readable, with the one redactor in front of it.

Whatever reaches a log line passes `redact`: events of ours, lines of libraries that use
`logging`, and tracebacks, which carry no local variables.  URLs keep scheme and host only,
bot tokens are masked by their shape, and the secrets of the configuration by their value.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import stamina.instrumentation
import structlog

from keeper.secrecy import LEAST, MASK, masked

_URL: Final = re.compile(
    r"\b((?:https?|wss?|postgres(?:ql)?(?:\+\w+)?)://)"
    r"((?:[^\s\"'<>\])},/?#]*@)?(?:\[[0-9A-Fa-f:.%]+\])?[^\s\"'<>\])},]*)"
)
_BOT_TOKEN: Final = re.compile(r"\b(?:bot)?\d{6,}:[A-Za-z0-9_-]{30,}")
_NOISY: Final = ("httpx", "httpcore", "telegram", "aiohttp.access", "alembic", "web3", "asyncio")
"""Libraries that say at INFO what nobody asked for; httpx would print the bot token."""

_secrets: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """Mask these values from now on, wherever they would be printed.

    Values under six characters are left alone: masking them would garble every line.
    """
    _secrets.update(secret for secret in secrets if len(secret) >= LEAST)


def redact_url(url: str) -> str:
    """Return scheme and host (and port): credentials, path and query may hold a key."""
    return _URL.sub(_scheme_and_host, url)


def _scheme_and_host(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    more = "/" + MASK if len(rest.rstrip("/")) > len(authority) else ""
    return f"{scheme}{host}{more}"


def without_secrets(text: str) -> str:
    """Return `text` without the hidden secrets."""
    return masked(text, _secrets)


def redact(text: str) -> str:
    """Return `text` without URLs' keys, bot tokens and the hidden secrets."""
    return _BOT_TOKEN.sub(MASK, redact_url(without_secrets(text)))


def _redacted(value: object) -> Any:
    match value:
        case str():
            return redact(value)
        case bytes():
            return f"{len(value)} bytes"
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {redact(str(key)): _redacted(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case _:
            return redact(str(value))


def redactor(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact every value of an event; the last processor before it is rendered."""
    return {
        key: value if key in ("_record", "_from_structlog") else _redacted(value)
        for key, value in event.items()
    }


def set_up(
    *,
    style: Literal["auto", "json", "text"] = "auto",
    level: str = "info",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send structlog and `logging` through one chain to `stream`, standard error by default.

    ``auto`` is text on a terminal and JSON elsewhere.  May be called again.
    """
    hide(secrets)
    stamina.instrumentation.set_on_retry_hooks([])  # `rpc.failed` says it in our words
    out = stream or sys.stderr
    text = style == "text" or (style == "auto" and out.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    ending: list[Any] = [
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        redactor,
        _text_renderer(colours=out.isatty()) if text else structlog.processors.JSONRenderer(),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name], processors=ending
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _text_renderer(*, colours: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
    )
