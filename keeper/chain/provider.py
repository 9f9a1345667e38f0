"""One node behind one URL: a request out, a checked JSON-RPC answer back, or one plain sentence.

Two kinds of failure are told apart by type and never by the wording of a message:

* `NoAnswer`: nothing usable came back (no connection, a time-out, HTML, broken JSON, a wrong id,
  429, 5xx, too much).  Another node, or this one a little later, may answer.
* `RpcError` with a `code`: the node answered and said no.

Caveat: a `NoAnswer` to a send says nothing about whether the transaction went out.

One class, though it is long: what an answer is worth and what that says of the node are told in the
same breath, whichever way it came.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from asyncio_throttle.throttler import Throttler

from keeper.chain.health import NodeHealth, NodeState
from keeper.chain.http import RETRY_AFTER_CAP_S, kind, retry_after_s
from keeper.chain.ipc import Ipc, TooLong
from keeper.chain.urls import check_url, ipc_path, redact
from keeper.chain.wire import Envelope, RpcFault, amount, clip
from keeper.errors import BadAnswer, RpcError
from keeper.secrecy import masked, secrets_of

log = structlog.get_logger(__name__)

Request = tuple[str, Sequence[Any]]
"""Method and parameters."""

BODY_CAP_BYTES: Final = 64 * 1024 * 1024
"""The largest answer that is read."""
REST_FIRST_S: Final = 0.5
REST_MOST_S: Final = 30.0
"""How long a node that did not answer stands behind the others: doubling from first to most."""
WRONG_CHAIN_REST_S: Final = 60.0
HEDGE_S: Final = 0.4
OUTRUN_MOST: Final = 3
"""So often in a row others were asked as well and were faster: it counts as silent then."""


class NoAnswer(RpcError):  # noqa: N818 - it reads as what it is
    """Nothing usable came back; asking again may help."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """`retry_after_s`: the node's own wish, capped."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class _Unusable(Exception):  # noqa: N818 - it reads as what it is
    """What came back is no answer; what that says of the node depends on what it was asked."""

    def __init__(self, what: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How one node is treated."""

    calls_per_second: float = 50.0
    timeout_s: float = 4.0
    """For one answer, from the connection to the last byte."""
    body_cap_bytes: int = BODY_CAP_BYTES
    hedge_s: float = HEDGE_S
    """After so long without an answer the next node is asked as well."""


class Provider:
    """One URL, its throttle, and whether it can be relied on at the moment."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        limits: Limits,
        chain_id: int | None,
        counts: Counter[str],
    ) -> None:
        """`chain_id`: verified before first use and after each failure; None never verifies."""
        self._url = check_url(url)
        self._secrets = secrets_of(url)
        self.name: Final = redact(url)
        self._session = session
        path = ipc_path(url)
        self._ipc = None if path is None else Ipc(path, cap_bytes=limits.body_cap_bytes)
        self._limits = limits
        self._chain_id = chain_id
        self._counts = counts
        self._ids = itertools.count(1)
        calls = max(1, int(limits.calls_per_second))
        self._throttler = Throttler(rate_limit=calls, period=calls / limits.calls_per_second)
        self._turn = asyncio.Lock()
        self._failures = 0
        self._verified = chain_id is None
        self._outrun = 0
        self._trouble = NodeState.UNREACHABLE
        self._reason = ""
        self._closed = False
        self._latency_s: float | None = None
        self.rests_until = 0.0
        """Monotonic; in the past for a node that is relied on."""
        self._alone_until = 0.0
        """Monotonic: until then it asked to be left alone, whatever else happens."""
        self.head: int | None = None
        """The last block number it said that it has."""
        self.lagging = False
        """Whether it is too far behind the others: it is asked after them."""
        self.apart = False
        """Whether most nodes had another block than it when they were compared last."""

    @property
    def resting(self) -> bool:
        """Whether the node failed lately: it is asked after the others."""
        return self.limited or self.rests_until > time.monotonic()

    @property
    def healthy(self) -> bool:
        """Whether its last answer was usable and for the right chain."""
        return self._failures == 0

    @property
    def limited(self) -> bool:
        """Whether it asked to be left alone and that time is not over."""
        return self.limited_for_s > 0

    @property
    def limited_for_s(self) -> float:
        """How much longer it wants to be left alone."""
        return max(0.0, self._alone_until - time.monotonic())

    @property
    def health(self) -> NodeHealth:
        """What it is good for, and why."""
        state, reason = NodeState.ALIVE, ""
        if self._failures:
            state, reason = self._trouble, self._reason
        elif self.apart:
            state, reason = NodeState.APART, f"has another block {self.head} than the others"
        elif self.lagging:
            state, reason = NodeState.LAGGING, f"has block {self.head}, others are ahead"
        return NodeHealth(
            name=self.name, state=state, reason=reason, head=self.head, latency_s=self._latency_s
        )

    async def close(self) -> None:
        """Close the connections of its own, those over HTTP are the session's; nothing is asked any
        more."""
        self._closed = True
        if self._ipc is not None:
            await self._ipc.close()

    def outrun(self) -> None:
        """Note that another node was asked too, and was faster."""
        self._outrun += 1
        if self._outrun >= OUTRUN_MOST:
            self.failed(f"was outrun by other nodes {self._outrun} times in a row")

    async def ask(
        self, method: str, params: Sequence[Any], *, urgent: bool = False, aside: bool = False
    ) -> msgspec.Raw:
        """Return the raw JSON result of one call.  `urgent` does not queue behind reads.

        `aside`: it may be too much for a node that is well, so that its failure is not noted.
        Raises NoAnswer, or RpcError with the node's code.
        """
        await self.verify()
        try:
            envelope = await self._one(method, params, urgent=urgent)
        except _Unusable as error:
            if aside and error.retry_after_s is None:
                raise NoAnswer(f"{self.name} {error.what}.") from error
            raise self._unusable(error) from error
        self._answered()
        if envelope.error is not None:
            raise self._refusal(method, envelope.error)
        if isinstance(envelope.result, msgspec.UnsetType):
            raise self.failed(f"answered {method} with neither a result nor an error")
        return envelope.result

    async def ask_many(self, requests: Sequence[Request]) -> list[msgspec.Raw | RpcError]:
        """Return the results of one JSON-RPC batch in the order of `requests`.

        Raises NoAnswer, or RpcError when the node refuses the batch as a whole.
        """
        await self.verify()
        first = next(self._ids)
        ids = [first, *(next(self._ids) for _ in requests[1:])]
        payload = msgspec.json.encode(
            [
                {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
                for id_, (method, params) in zip(ids, requests, strict=True)
            ]
        )
        try:
            body = await self._post(payload, [method for method, _ in requests])
            by_id = self._batch_answers(body)
        except _Unusable as error:
            raise self._unusable(error) from error
        results: list[msgspec.Raw | RpcError] = []
        for id_, (method, _) in zip(ids, requests, strict=True):
            envelope = by_id.get(id_)
            if envelope is None:
                raise self.failed(f"left {method} out of the answer to a batch")
            if envelope.error is not None:
                results.append(self._refusal(method, envelope.error))
            elif isinstance(envelope.result, msgspec.UnsetType):
                raise self.failed(f"answered {method} with neither a result nor an error")
            else:
                results.append(envelope.result)
        self._answered()
        return results

    async def verify(self) -> None:
        """Make sure that the node is for the right chain.  Raises NoAnswer where it is not."""
        if self._verified:
            return
        answered = await self.chain_id()
        if answered != self._chain_id:
            log.error("rpc.wrong_chain", node=self.name, answered=answered, expected=self._chain_id)
            error = self.failed(
                f"answers for chain {answered}, not {self._chain_id}", rest_s=WRONG_CHAIN_REST_S
            )
            self._trouble = NodeState.WRONG_CHAIN
            raise error

    async def chain_id(self) -> int:
        """Return eth_chainId as the node says it now."""
        try:
            envelope = await self._one("eth_chainId", (), urgent=True)
        except _Unusable as error:
            raise self._unusable(error) from error
        if envelope.error is not None:
            raise self._refusal("eth_chainId", envelope.error)
        try:
            raw = b"null" if isinstance(envelope.result, msgspec.UnsetType) else envelope.result
            answered = amount(msgspec.json.decode(raw), "eth_chainId")
        except (BadAnswer, msgspec.DecodeError) as error:
            raise self.failed("answered eth_chainId with something that is no number") from error
        self._verified = self._chain_id in (None, answered)
        return answered

    def failed(self, what: str, *, rest_s: float | None = None, retry_after_s: float | None = None
    ) -> NoAnswer:  # fmt: skip
        """Note the failure, let the node rest, and return the error to raise."""
        self._failures += 1
        self._outrun = 0
        limited = retry_after_s is not None
        self._trouble = NodeState.RATE_LIMITED if limited else NodeState.UNREACHABLE
        self._reason = what
        self._verified = self._chain_id is None
        doubled = REST_FIRST_S * 2 ** min(self._failures - 1, 16)
        rest = rest_s or retry_after_s or min(REST_MOST_S, doubled)
        if limited and self._failures > 1:  # its wish, and more where it is not enough
            rest = max(rest, min(RETRY_AFTER_CAP_S, doubled))
        self.rests_until = time.monotonic() + rest
        if retry_after_s is not None:
            self._alone_until = max(self._alone_until, time.monotonic() + retry_after_s)
        if self._failures == 1:
            log.warning("rpc.failed", node=self.name, reason=what, rest_s=rest)
        return NoAnswer(f"{self.name} {what}.", retry_after_s=retry_after_s)

    def _unusable(self, error: _Unusable) -> NoAnswer:
        return self.failed(error.what, retry_after_s=error.retry_after_s)

    def _answered(self) -> None:
        if self._failures:
            log.info("rpc.recovered", node=self.name, failures=self._failures)
        self._failures = 0
        self._outrun = 0
        self.rests_until = 0.0

    def _refusal(self, method: str, fault: RpcFault) -> RpcError:
        """Return the node's `no`; one of the code 429 means later, not no."""
        message = self._scrub(fault.message or "without a reason")
        if fault.code == HTTPStatus.TOO_MANY_REQUESTS:
            return self.failed(f"asks to be called less often: {message}", retry_after_s=1.0)
        code = fault.code if isinstance(fault.code, int) else 0
        data = fault.data
        if isinstance(data, dict):  # some wrap it
            data = data.get("data", data.get("result"))
        text = data.removeprefix("Reverted ") if isinstance(data, str) else ""
        return RpcError(
            f"{self.name} refused {method}: {message}.",
            code=code,
            data=text if text.startswith("0x") else None,
        )

    def _scrub(self, text: str) -> str:
        """Return a node's own words, short, on one line, and without what is secret in our URL."""
        return clip(masked(text, self._secrets), 160).rstrip(".")

    async def _one(self, method: str, params: Sequence[Any], *, urgent: bool) -> Envelope:
        id_ = next(self._ids)
        request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        body = await self._post(msgspec.json.encode(request), [method], urgent=urgent)
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Unusable(f"answered {method} with {kind(body)}") from error
        if envelope.id != id_ and not (envelope.id is None and envelope.error is not None):
            raise _Unusable(f"answered {method} with the id of another request")
        return envelope

    def _batch_answers(self, body: bytes) -> dict[int, Envelope]:
        try:
            answers = msgspec.json.decode(body, type=list[Envelope] | Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Unusable(f"answered a batch with {kind(body)}") from error
        if isinstance(answers, Envelope):
            raise self._refusal("a batch", answers.error or RpcFault())
        by_id: dict[int, Envelope] = {}
        for envelope in answers:
            if not isinstance(envelope.id, int) or envelope.id in by_id:
                raise _Unusable("answered a batch with ids that are not those asked for")
            by_id[envelope.id] = envelope
        return by_id

    async def _post(self, payload: bytes, methods: Sequence[str], *, urgent: bool = False) -> bytes:
        """Return the body of a usable answer.  Raises NoAnswer."""
        if self._closed:  # its chain is being opened again: no fault of the node
            raise NoAnswer(f"{self.name} is not asked: its chain was closed.")
        if not urgent:
            async with self._turn:  # one waiter polls the throttle, the rest queue
                for _ in methods:
                    await self._throttler.acquire()  # type: ignore[no-untyped-call]  # asyncio-throttle has no types
            if self.limited:  # it said so while this one waited for its turn
                raise NoAnswer(f"{self.name} asked for a pause.", retry_after_s=self.limited_for_s)
        self._counts.update(methods)
        asked_at = time.monotonic()
        what = methods[0] if len(methods) == 1 else f"a batch of {len(methods)}"
        try:
            if self._ipc is None:
                body = await self._over_http(payload, what)
            else:
                body = await self._over_ipc(self._ipc, payload, what)
        except TimeoutError as error:
            raise _Unusable(f"did not answer {what} within {self._limits.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            what = f"cannot be reached ({self._scrub(str(reason))})"
            if isinstance(error, aiohttp.ClientConnectorError):  # whatever it would be asked
                raise self.failed(what) from error
            raise _Unusable(what) from error
        self._latency_s = time.monotonic() - asked_at
        return body

    async def _over_ipc(self, ipc: Ipc, payload: bytes, what: str) -> bytes:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await ipc.exchange(payload)
        except TooLong as error:
            cap = self._limits.body_cap_bytes
            raise _Unusable(f"answered {what} with more than {cap:,} bytes") from error

    async def _over_http(self, payload: bytes, what: str) -> bytes:
        async with self._session.post(
            self._url,
            data=payload,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_s),
        ) as response:
            if (
                response.status == HTTPStatus.TOO_MANY_REQUESTS
            ):  # known, whatever becomes of the rest
                wait_s = retry_after_s(response.headers.get("Retry-After"))
                until = time.monotonic() + (1.0 if wait_s is None else wait_s)
                self._alone_until = max(self._alone_until, until)
            body = await self._body(response, what)
            if response.status == HTTPStatus.OK:
                return body
            raise self._http_failure(response, body, what)

    async def _body(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        cap = self._limits.body_cap_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > cap:
                raise _Unusable(f"answered {what} with more than {cap:,} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _http_failure(
        self, response: aiohttp.ClientResponse, body: bytes, what: str
    ) -> RpcError | _Unusable:
        """Return what an HTTP status other than 200 means."""
        wait_s = retry_after_s(response.headers.get("Retry-After"))
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            return _Unusable(
                "asks to be called less often (429)",
                retry_after_s=1.0 if wait_s is None else wait_s,
            )
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            envelope = msgspec.json.decode(body, type=Envelope)
            if envelope.error is not None:  # some nodes say no with a status as well
                return self._refusal(what, envelope.error)
        return _Unusable(
            f"answered {what} with HTTP status {response.status}", retry_after_s=wait_s
        )
