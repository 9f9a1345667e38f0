"""The dead-man's switch: somebody outside hears regularly that we live, and what we saw last.

A configured URL (healthchecks.io, a push monitor, one's own) gets a small JSON document while
every chain is being read.  When one is not, nothing is sent: silence is the alarm, so that a keeper
that hangs, lost its node or lost its network is noticed by the same means.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What is said of one chain."""

    chain: str
    block: int | None
    """The last head that was taken; None before the first."""
    head_age_s: float | None
    """Since it was taken."""
    fresh: bool
    """Not older than the chain's limit."""
    covered: bool
    """History is read: every borrower is known."""


def document(beats: tuple[Beat, ...]) -> Mapping[str, Any] | None:
    """Return what is posted; None while any chain is not being read: then nothing is."""
    if not beats or not all(beat.fresh and beat.block is not None for beat in beats):
        return None
    return {
        "chains": {
            beat.chain: {
                "last_head": beat.block,
                "last_head_age_s": round(beat.head_age_s or 0.0, 1),
                "history_read": beat.covered,
            }
            for beat in beats
        }
    }


async def beat_for_ever(
    url: str,
    every_s: float,
    beats: Callable[[], tuple[Beat, ...]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Post until cancelled.  A failed post is logged and not made up for: the next one is near."""
    where = urlsplit(url).hostname  # the path holds the secret
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    silent = False
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            said = document(beats())
            if said is None:
                if not silent:
                    log.warning("heartbeat.withheld", host=where)
                silent = True
            else:
                silent = False
                await _post(session, url, said, where)
            await sleep(every_s)


async def _post(
    session: aiohttp.ClientSession, url: str, said: Mapping[str, Any], where: str | None
) -> None:
    try:
        async with session.post(url, json=said, allow_redirects=False) as answer:
            if answer.status >= 300:
                log.warning("heartbeat.refused", host=where, status=answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("heartbeat.failed", host=where, error=type(error).__name__)
