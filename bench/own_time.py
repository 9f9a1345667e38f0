"""How long a stretch of the keeper's work took, and how much of it was spent on the node's answers.

Waiting is counted where it happens: in the event loop's `select`, and only while at least one
request to the node is on its way.  Whatever the processor does meanwhile - parsing, valuing,
encoding, the client's own work, a thread that writes to the disk when no request is out - is the
keeper's own time, as is every moment in which the machine gave the processor to somebody else.
"""

import selectors
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.provider import Provider

REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some seconds of the keeper's life."""

    wall_s: float
    node_s: float
    """Of them, those in which nothing was done but wait for the node."""

    @property
    def own_s(self) -> float:
        """The others."""
        return self.wall_s - self.node_s


class OwnTime(selectors.DefaultSelector):
    """A selector for the event loop that remembers when it waited for the node."""

    def __init__(self) -> None:
        """Give it to the loop: ``asyncio.SelectorEventLoop(OwnTime())``."""
        super().__init__()
        self._out = 0
        self._waits: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self._sends: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def select(self, timeout: float | None = None) -> Any:
        """Wait as the selector does; remember it if a request was out."""
        if not self._out:
            return super().select(timeout)
        began = time.monotonic()
        ready = super().select(timeout)
        self._waits.append((began, time.monotonic()))
        return ready

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the node client's requests from here on."""
        exchange = Provider._post  # noqa: SLF001 - the one place that all of them pass

        async def counted(
            node: Provider, payload: bytes, methods: Sequence[str], *, urgent: bool = False
        ) -> bytes:
            self._out += 1
            try:
                return await exchange(node, payload, methods, urgent=urgent)
            finally:
                self._out -= 1
                if methods[0] == "eth_sendRawTransaction":
                    self._sends.append((time.monotonic(), time.process_time()))

        Provider._post = counted  # type: ignore[assignment,method-assign]  # noqa: SLF001 - the same
        try:
            yield
        finally:
            Provider._post = exchange  # type: ignore[method-assign]  # noqa: SLF001 - the same

    def sent_after(self, instant: float) -> tuple[float, float] | None:
        """When the first send after `instant` was acknowledged: monotonic and processor seconds."""
        return next((sent for sent in self._sends if sent[0] > instant), None)

    def between(self, began: float, ended: float) -> Stretch:
        """Return what the time between two instants was spent on."""
        waited = sum(max(0.0, min(end, ended) - max(start, began)) for start, end in self._waits)
        return Stretch(wall_s=ended - began, node_s=waited)
