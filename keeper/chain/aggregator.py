"""An aggregator of exchanges, asked over HTTPS for one sale: a source of routes.

It may be slow, down, wrong or hostile, and whoever answers for it may be somebody else: an answer
is bounded in size and time, no redirect is followed, who is to be called and approved must be on
the operator's list, and whatever it offers is an `Offer`, which the chain then judges.  After
several failures in a row, or when it says so, it is left alone for a while.
"""

import asyncio
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
import structlog
from asyncio_throttle.throttler import Throttler

from keeper.bodies import TooLong, whole
from keeper.chain.aggregators import Kind
from keeper.chain.http import retry_after_s
from keeper.chain.urls import check_url, guarded, redact
from keeper.errors import BadAnswer, ExecutionError
from keeper.model import Address, Offer, Sought
from keeper.secrecy import masked, secrets_of

log = structlog.get_logger()

BODY_CAP: Final = 256 * 1024
MOST_BRACKETS: Final = 5_000
"""In an answer: far more than a sale takes, and less than any decoder's stack."""
REST_AFTER: Final = 3
"""Failures in a row."""
NOT_SOLD: Final = frozenset({400, 404, 422})
"""How a service says that it has no sale of that: 1inch says 400 for want of liquidity."""
REST_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator chose for one aggregator."""

    url: str
    key: str
    """Empty where it wants none."""
    targets: Collection[Address]
    """Who may be called."""
    spenders: Collection[Address]
    """Who may be approved."""
    timeout_s: float
    calls_per_second: float


class Aggregator:
    """One of them.  Satisfies `keeper.ports.RouteSource`; use it as a context."""

    def __init__(self, kind: Kind, terms: Terms) -> None:
        """Raises ConfigError for a URL that cannot be."""
        self.name = kind.name
        self.patience_s = terms.timeout_s
        self.shown = redact(check_url(terms.url, schemes=("https", "http")))
        self._kind = kind
        self._terms = terms
        calls = max(1, int(terms.calls_per_second))
        self._throttle = Throttler(rate_limit=calls, period=calls / terms.calls_per_second)
        self._session: aiohttp.ClientSession | None = None
        self._failures = 0
        self._rests_until = 0.0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=guarded(),
            timeout=aiohttp.ClientTimeout(total=None),  # all of `offer` has one
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def offer(self, sought: Sought) -> Offer:
        """Return what it offers, within its timeout, its turn included.

        Raises `ExecutionError`, one sentence: nothing was spent but the time.
        """
        resting_s = self._rests_until - time.monotonic()
        if resting_s > 0:
            raise ExecutionError(f"{self.name} is left alone for {resting_s:.0f} s more.")
        its_turn = False
        try:
            async with asyncio.timeout(self._terms.timeout_s):
                await self._throttle.acquire()  # type: ignore[no-untyped-call]  # asyncio-throttle has no types
                its_turn = True
                answer = await self._ask(sought)
            offer = self._kind.offer(answer, sought)
            self._listed(offer)
        except TimeoutError:
            within = f"within {self._terms.timeout_s * 1000:.0f} ms (timeout_ms)"
            if not its_turn:
                raise ExecutionError(
                    f"{self.name}: calls_per_second left it no turn {within}."
                ) from None
            self._failed()
            raise ExecutionError(f"{self.name}: no answer {within}.") from None
        except ExecutionError as error:  # it is there, and has nothing for us
            self._failures = 0
            raise ExecutionError(f"{self.name}: {error}") from error
        except BadAnswer as error:
            self._failed()
            raise ExecutionError(f"{self.name}: {error}") from error
        self._failures = 0
        return offer

    def _listed(self, offer: Offer) -> None:
        """Raise `BadAnswer` unless who is called and who is approved are on the list."""
        if offer.target not in self._terms.targets:
            raise BadAnswer(f"it names {offer.target} to be called, which targets does not list.")
        if offer.spender not in self._terms.spenders:
            raise BadAnswer(f"it wants {offer.spender} approved, which spenders does not list.")

    async def _ask(self, sought: Sought) -> dict[str, Any]:
        if self._session is None:
            raise BadAnswer("it is not open.")
        request = self._kind.request(sought, self._terms.key)
        try:
            async with self._session.get(
                self._terms.url.rstrip("/") + request.path,
                params=dict(request.query),
                headers=dict(request.headers),
                allow_redirects=False,
            ) as response:
                status = response.status
                pause_s = retry_after_s(response.headers.get("Retry-After"))
                body = await _bounded(response)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise BadAnswer(f"it cannot be asked ({type(error).__name__}).") from error
        if status == 429:
            self._rest(REST_S if pause_s is None else pause_s, "it asked for a pause")
        if status in NOT_SOLD:
            raise ExecutionError(f"HTTP {status}: {self._words(body)}.")
        if status != 200:
            raise BadAnswer(f"HTTP {status}: {self._words(body)}.")
        if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
            raise BadAnswer("its answer is nested or split up beyond reason.")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadAnswer("it answered something that is not JSON.") from error
        if not isinstance(answer, dict):
            raise BadAnswer("it answered something that is not an object.")
        return answer

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= REST_AFTER:
            self._rest(REST_S, f"{self._failures} failures in a row")

    def _rest(self, seconds: float, reason: str) -> None:
        self._failures = 0
        self._rests_until = time.monotonic() + seconds
        log.warning("route.resting", source=self.name, seconds=round(seconds), reason=reason)

    def _words(self, body: bytes) -> str:
        """Some servers repeat what they were sent, the key too."""
        secrets = {self._terms.key, *secrets_of(self._terms.url)}
        text = masked(body.decode("ascii", errors="replace"), secrets)
        shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:120])
        return shown or "no reason given"

    def __repr__(self) -> str:
        """Name the service; key and URL's path are left out."""
        return f"Aggregator({self.name} at {self.shown})"


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await whole(response, BODY_CAP)
    except TooLong as error:
        raise BadAnswer(f"its answer is longer than {BODY_CAP // 1024} KiB.") from error
