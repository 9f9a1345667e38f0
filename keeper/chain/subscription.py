"""newHeads over a WebSocket or Unix socket of its own, held up under supervision.

No library resubscribes or fills gaps after a reconnect, and calls on the socket of a subscription
wait behind its backlog: so this socket carries heads and nothing else, and `heads` fills gaps over
HTTP.  The supervisor never gives up; while it is `connected` a head is a hint, not a promise, since
a half-open socket looks connected.
"""

import asyncio
import itertools
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import aiohttp
import msgspec
import structlog

from keeper.chain import wire
from keeper.chain.pushed import Pushed, opened, reason_of, session, why
from keeper.chain.urls import check_url, redact
from keeper.errors import BadAnswer, ConfigError, RpcError
from keeper.model import BlockRef, Hash
from keeper.secrecy import masked, secrets_of

log = structlog.get_logger(__name__)

ANNOUNCED_MOST: Final = 1024
RECONNECT_FIRST_S: Final = 0.1
RECONNECT_MOST_S: Final = 10.0
LASTING_S: Final = 10.0
"""A subscription that ended sooner, or brought no head, did not last: the next attempt waits twice
as long."""
ANSWER_TIMEOUT_S: Final = 5.0


class _Params(msgspec.Struct, frozen=True):
    subscription: str
    result: wire.Header


class _Message(msgspec.Struct, frozen=True):
    """An answer or a notification."""

    id: int | None = None
    result: Any = None
    error: wire.RpcFault | None = None
    method: str | None = None
    params: _Params | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A head and when it came."""

    block: BlockRef
    received_at: float
    """Monotonic seconds."""


class Mailbox:
    """The newest head only, and the headers that led to it: a slow reader skips, and loses none."""

    def __init__(self) -> None:
        self._newest: Announced | None = None
        self._full = asyncio.Event()
        self._fault: BaseException | None = None
        self._put_at = time.monotonic()
        self.headers: Final[OrderedDict[Hash, BlockRef]] = OrderedDict()
        """The last of those that came."""
        self.came = 0
        """How many did."""

    def put(self, block: BlockRef) -> None:
        """Leave `block`; an older one that was not taken is overwritten."""
        self.came += block.hash not in self.headers
        self.headers[block.hash] = block
        while len(self.headers) > ANNOUNCED_MOST:
            self.headers.popitem(last=False)
        self.touch()
        self._newest = Announced(block=block, received_at=self._put_at)
        self._full.set()

    def ended(self, task: "asyncio.Task[None]") -> None:
        """Let the reader raise what ended one of those who put: a done-callback."""
        if not task.cancelled():
            self._fault = task.exception() or RuntimeError("a source of heads ended")
            self._full.set()

    async def take(self) -> Announced:
        """Wait for a head and empty the box.  Raises what ended a source."""
        await self._full.wait()
        if self._fault is not None:
            raise self._fault
        self._full.clear()
        return self.newest

    def touch(self) -> None:
        """Note that the node was heard, though it had nothing new."""
        self._put_at = time.monotonic()

    def ends_in(self, block: BlockRef) -> bool:
        """Whether `block` is what was put last."""
        return self._newest is not None and self._newest.block.hash == block.hash

    @property
    def waiting(self) -> BlockRef | None:
        """The head that was put and not taken yet."""
        return self.newest.block if self._full.is_set() and self._newest is not None else None

    @property
    def newest(self) -> Announced:
        """The last head put, whether it was taken or not."""
        assert self._newest is not None
        return self._newest

    @property
    def quiet_for_s(self) -> float:
        """Seconds since something was put."""
        return time.monotonic() - self._put_at


class Subscription:
    """Keeps one newHeads subscription alive over the first of several URLs that works."""

    WANTED: ClassVar[tuple[str | bool, ...]] = ("newHeads",)
    """What is subscribed to."""

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int | None,
        mailbox: Mailbox,
        note: Callable[[wire.Header], None] = lambda _: None,
    ) -> None:
        """`note` is told every header as it came."""
        self._urls = [check_url(url, schemes=("ws", "wss", "ipc")) for url in urls]
        self._chain_id = chain_id
        self._mailbox = mailbox
        self._note = note
        self._deadline: asyncio.Timeout | None = None
        self._lasts_from = math.inf
        self._brought = False
        """Whether the last subscription brought a head."""
        self._dropped = ""
        """Why the last socket was given up."""
        self._said_connected = False
        self.connected = False
        """Subscribed, as far as the socket knows."""
        self.pushing = False
        """Whether it has brought a head since."""
        self._subscribed_at = math.inf

    @property
    def mute_for_s(self) -> float:
        """Seconds since it subscribed without having brought a head; below zero where it has."""
        return -math.inf if self.pushing else time.monotonic() - self._subscribed_at

    async def run(self) -> None:
        """Connect, subscribe, pass heads on, and begin again after a pause.

        The pause doubles while no subscription lasts, whether the node refuses it or ends it.
        """
        losses = 0
        async with session() as over:
            for url in itertools.cycle(self._urls):
                reason = await self._hold(over, url)
                lasted = self._brought and time.monotonic() >= self._lasts_from
                losses = 1 if lasted else losses + 1
                pause_s = min(RECONNECT_MOST_S, RECONNECT_FIRST_S * 2 ** min(losses - 1, 16))
                if losses.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ... in a row
                    self._said_connected = False
                    log.warning(
                        "ws.lost", node=redact(url), reason=reason, retry_s=pause_s, times=losses
                    )
                await asyncio.sleep(pause_s)

    async def _hold(self, over: aiohttp.ClientSession, url: str) -> str:
        """Subscribe and pass heads on while it lasts.  Return what ended it, in words."""
        self._lasts_from = math.inf
        self._brought = False
        try:
            async with opened(over, url) as socket:
                subscription = await self._subscribe(socket, url)
                self.connected = True
                self._subscribed_at = time.monotonic()
                self._lasts_from = self._subscribed_at + LASTING_S
                if not self._said_connected:
                    self._said_connected = True
                    log.info("ws.connected", node=redact(url))
                async with asyncio.timeout(None) as self._deadline:
                    await self._pass_on(socket, subscription)
        except (RpcError, BadAnswer) as error:
            return masked(str(error), secrets_of(url))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if self._deadline is not None and self._deadline.expired():
                return self._dropped
            subscribed = self._lasts_from != math.inf
            return reason_of(error) if subscribed else why(error)
        finally:
            self.connected = self.pushing = False
            self._subscribed_at = math.inf
            self._deadline = None
        return "closed by the node"

    def drop(self, reason: str) -> None:
        """Give the present socket up: it looks alive and brings nothing that is of use."""
        if self._deadline is not None and not self._deadline.expired():
            self._dropped = reason
            self.connected = self.pushing = False
            self._subscribed_at = math.inf
            self._deadline.reschedule(asyncio.get_running_loop().time())

    async def check(self) -> None:
        """Ask every URL for its chain id once.

        Raises ConfigError for another chain, RpcError for a URL that does not answer.
        """
        for url in self._urls:
            async with _reached(url) as socket:
                await self._verify(socket, url)

    @classmethod
    async def prove(cls, url: str, chain_id: int | None) -> None:
        """Subscribe to heads once, and leave.  Raises what `check` raises, or BadAnswer."""
        one = cls([url], chain_id, Mailbox())
        await one.check()
        async with _reached(url) as socket:
            await one._subscribe(socket, url)

    async def _verify(self, socket: Pushed, url: str) -> None:
        said = await _ask(socket, url, 1, "eth_chainId", [])
        try:
            answered = wire.amount(said, "eth_chainId")
        except BadAnswer as error:
            raise BadAnswer(
                f"{redact(url)} answered eth_chainId with something that is no number."
            ) from error
        if self._chain_id not in (None, answered):
            raise ConfigError(
                f"{redact(url)} answers for chain {answered}, the configuration says "
                f"{self._chain_id}: correct the URL or the chain_id."
            )

    async def _subscribe(self, socket: Pushed, url: str) -> str:
        try:
            await self._verify(socket, url)
        except ConfigError as error:
            log.error("rpc.wrong_chain", node=redact(url), expected=self._chain_id)  # noqa: TRY400 - it travels on
            raise RpcError(str(error)) from error
        subscription = await _ask(socket, url, 2, "eth_subscribe", list(self.WANTED))
        if not isinstance(subscription, str):
            raise BadAnswer(f"{redact(url)} answered eth_subscribe without an id.")
        return subscription

    async def _pass_on(self, socket: Pushed, subscription: str) -> None:
        while (text := await socket.receive()) is not None:
            message = _decode(text)
            if message.params is not None and message.params.subscription == subscription:
                header = message.params.result
                block = wire.block_ref(header)
                self._note(header)
                self._heard()
                self._mailbox.put(block)

    def _heard(self) -> None:
        """Note that the subscription brings what was subscribed to."""
        if self.connected:  # not given up
            self.pushing = self._brought = True


@asynccontextmanager
async def _reached(url: str) -> AsyncIterator[Pushed]:
    """Connect to `url`.  Raises RpcError, also for a connection that breaks."""
    try:
        async with session() as over, opened(over, url) as socket:
            yield socket
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise RpcError(f"{redact(url)} {why(error)}.") from error


async def _ask(socket: Pushed, url: str, id_: int, method: str, params: list[Any]) -> Any:
    """Return the result of one call on the socket, notifications in between left out."""
    request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await socket.send(msgspec.json.encode(request).decode())
            message = await _answer(socket, id_)
    except TimeoutError as error:
        raise RpcError(
            f"{redact(url)} did not answer {method} within {ANSWER_TIMEOUT_S:g} s."
        ) from error
    if message is None:
        raise RpcError(f"{redact(url)} closed the socket before it answered {method}.")
    if message.error is not None:
        words = masked(message.error.message or "without a reason", secrets_of(url))
        raise RpcError(f"{redact(url)} refused {method}: {wire.clip(words, 160)}.")
    return message.result


async def _answer(socket: Pushed, id_: int) -> _Message | None:
    """Return the message of this id; None where the node closes before it."""
    while (text := await socket.receive()) is not None:
        message = _decode(text)
        if message.id == id_:
            return message
    return None


def _decode(text: str) -> _Message:
    return wire.convert(text.encode(), _Message, "newHeads")
