"""Transactions that wait to be mined, as far as one node knows: a socket of its own.

Whole transactions are asked for; a node that hands over hashes only is told of once and ignored,
since asking for each would cost thousands of requests an hour.  What is heard may never be mined,
may be replaced, and is one node's gossip: it is good for getting ready and for nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec
import structlog

from keeper.chain import wire
from keeper.chain.pushed import Pushed
from keeper.chain.subscription import Mailbox, Subscription
from keeper.errors import BadAnswer
from keeper.model import Address, Hash, Supposed
from keeper.units import Wei

log = structlog.get_logger(__name__)

SUBSCRIPTION: Final = "newPendingTransactions"
MOST_DATA_BYTES: Final = 64 * 1024


class _Transaction(msgspec.Struct, frozen=True):
    hash: str
    sender: str = msgspec.field(name="from")
    input: str
    to: str | None = None
    value: str = "0x0"


class _Params(msgspec.Struct, frozen=True):
    subscription: str
    result: str | _Transaction


class _Message(msgspec.Struct, frozen=True):
    params: _Params | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTx:
    """One transaction that a node says is waiting."""

    hash: Hash
    runs: Supposed


class PendingTransactions(Subscription):
    """Keeps one subscription to pending transactions alive; hands on those that concern us."""

    WANTED: ClassVar[tuple[str | bool, ...]] = (SUBSCRIPTION, True)

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int | None,
        *,
        concerns: Callable[[Supposed], bool],
        take: Callable[[PendingTx], None],
    ) -> None:
        """`concerns` is asked of every transaction of the chain: it must be cheap."""
        super().__init__(urls, chain_id, Mailbox())
        self._concerns = concerns
        self._take = take
        self._said = False

    async def _pass_on(self, socket: Pushed, subscription: str) -> None:
        while (text := await socket.receive()) is not None:
            params = wire.convert(text.encode(), _Message, SUBSCRIPTION).params
            if params is None or params.subscription != subscription:
                continue
            self._heard()
            if isinstance(params.result, str):
                self._hashes_only()
            elif (found := _decoded(params.result)) is not None and self._concerns(found.runs):
                self._take(found)

    def _hashes_only(self) -> None:
        if not self._said:
            self._said = True
            log.warning("pending.hashes_only")


def _decoded(transaction: _Transaction) -> PendingTx | None:
    """None for creations, for more data than an oracle's report has, and for what is malformed."""
    if transaction.to is None or len(transaction.input) > 2 * MOST_DATA_BYTES:
        return None
    try:
        return PendingTx(
            hash=wire.hash32(transaction.hash, "a pending transaction"),
            runs=Supposed(
                sender=wire.address20(transaction.sender, "a pending transaction's sender"),
                to=wire.address20(transaction.to, "a pending transaction's target"),
                data=wire.octets(transaction.input, "a pending transaction's data"),
                value_wei=Wei(wire.amount(transaction.value, "a pending transaction's value")),
            ),
        )
    except BadAnswer:
        return None


def mentions(runs: Supposed, addresses: frozenset[Address]) -> bool:
    """Whether a call goes to one of `addresses`, or names one as its first argument.

    Reports are sent to the aggregator, or through a forwarder that takes it as first argument.
    """
    if runs.to in addresses:
        return True
    return len(runs.data) >= 36 and Address("0x" + runs.data[16:36].hex()) in addresses
