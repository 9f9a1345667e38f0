"""One life of a keeper that is going to be killed: recover, act where the chain wants it, tell.

Everything between decision and delivered message is the product's own: executor, journal, outbox.
What stands in is the market (a contract that counts how often each action ran, so that a second
time shows), the provider (a file: a line that is there was acknowledged) and the relay.

There are five ways to live: with one key; with a relay that everything goes to first; with a key
that protects and another that liquidates, under one cap; in a market where whatever is sent
reverts, so that the breaker trips; and with several liquidations in one transaction.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench import crash_batches
from keeper import log
from keeper.chain.provider import Limits
from keeper.chain.relay import HttpRelay
from keeper.chain.rpc import Rpc
from keeper.execution.executor import TxExecutor
from keeper.execution.pair import LIQUIDATING, PairedExecutor
from keeper.execution.policy import Permission
from keeper.execution.sending import FAILPOINTS, PrivateRoute
from keeper.execution.signer import KeystoreSigner
from keeper.model import Address, AuditEvent, BlockRef, IntentKind, Message, Outcome, Severity
from keeper.notify.outbox import Outbox
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.store.outbox import SqlOutbox
from keeper.units import Base, Wad, Wei
from tests.execution.fakes import CHAIN, MARKET, SIGNER, FakeView, policy
from tests.execution.local import LOCAL, action, count, executor

POINTS = (*FAILPOINTS, "alert.sending", "alert.sent")
LOOK_S = 0.004
AT_ONCE = 3
SECOND = KeystoreSigner.plain(
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a", CHAIN
)
"""Anvil's third account: the key that liquidates."""
MOST_REVERTS = 2
"""After which the breaker trips."""
PUBLIC_AFTER = 4
"""Blocks that a relay has for itself where what it has may go public."""


class Way(StrEnum):
    """How a keeper is set up."""

    PLAIN = "plain"
    RELAY = "relay"
    TWO_KEYS = "two keys"
    REVERTS = "reverts"
    BATCHES = "batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How a life ends."""

    point: str = ""
    """The step at which it kills itself; empty for a life that others end, or none."""
    pass_by: int = 0
    """How often it passes the step first."""
    last: bool = False
    """The one that lives until nothing is left to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it lives."""

    node: str
    database: str
    alerts: Path
    resumed: Path
    """Seconds from birth to the end of recovery, a line a life."""
    actions: int
    """How many the market wants by now, numbered from 1."""
    forgetful: bool = False
    """The planted bug: it starts with an empty journal every time."""
    mute: bool = False
    """The planted bug of the alerts: each start forgets what was still to be told."""
    way: Way = Way.PLAIN
    relay: str = ""
    """Its URL."""
    public_after: int | None = None
    judged_at: int = 0
    """A person looked at the reverts of what was decided before this chain second."""
    forgiving: bool = False
    """The planted bug of the breaker: each start forgives what reverted before."""
    liquidator: str = ""
    """The contract that takes several at once."""
    gas_cap_wei: int = 10**22
    """On a day's gas."""


class _Doom:
    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self._left = fate.pass_by

    def __call__(self, point: str) -> None:
        if point != self._fate.point:
            return
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


class _Provider:
    """Acknowledges what it has written down."""

    prefix = "file"

    def __init__(self, file: Path, doom: _Doom) -> None:
        self._file = file
        self._doom = doom

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:  # noqa: ARG002 - the port's signature
        self._doom("alert.sending")
        with self._file.open("a", encoding="ascii") as file:
            file.write(message.text + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._doom("alert.sent")
        return None


def live(place: Place, fate: Fate, born_at: float) -> None:
    """Live until the end; the last one until all is done and told, and then with exit code 0."""
    log.set_up(style="text", level="critical")
    asyncio.run(_live(place, fate, born_at))


async def _live(place: Place, fate: Fate, born_at: float) -> None:
    doom = _Doom(fate)
    limits = Limits(calls_per_second=100_000)
    async with (
        await Rpc.open([place.node], CHAIN, limits=limits) as rpc,
        await Database.open(place.database, failpoint=doom) as database,
        contextlib.AsyncExitStack() as stack,
    ):
        head = await rpc.block("latest")
        hands = await _hands(place, rpc, database, doom, head, stack)
        store = SqlOutbox(database)
        outbox = Outbox(store, [_Provider(place.alerts, doom)])
        await hands.recover(head)
        with place.resumed.open("a", encoding="ascii") as file:
            file.write(f"{time.monotonic() - born_at}\n")
        telling = asyncio.create_task(outbox.run())
        try:
            await _follow(place, rpc, hands, outbox, store if fate.last else None)
        finally:
            telling.cancel()


async def _hands(
    place: Place,
    rpc: Rpc,
    database: Database,
    doom: _Doom,
    head: BlockRef,
    stack: contextlib.AsyncExitStack,
) -> TxExecutor | PairedExecutor:
    """Return the executor of this way to live, armed."""
    settings = replace(
        LOCAL,
        most_reverts=MOST_REVERTS,
        reverts_judged_at=head.timestamp + 1 if place.forgiving else place.judged_at,
    )
    if place.forgetful:
        settings = replace(settings, adopt_nonce=await rpc.nonce(SIGNER.address, "pending"))
    caps = policy(max_spend_per_day=Base(10**18), max_gas_per_day_wei=Wei(place.gas_cap_wei))
    wiring: dict[str, Any] = {"failpoint": doom, "on_settled": _told, "settings": settings}
    if place.way is Way.RELAY:
        relay = HttpRelay(place.relay, method="eth_sendPrivateTransaction")
        wiring["private"] = PrivateRoute(
            relay=await stack.enter_async_context(relay),
            kinds=frozenset(IntentKind),
            public_after=place.public_after,
        )
    journal = SqlJournal(database, chain_id=CHAIN)
    if place.way is Way.BATCHES:
        contract = Address(place.liquidator)
        wiring |= crash_batches.wiring(rpc, contract, caps, settings)
        return executor(rpc, journal, **wiring)
    if place.way is not Way.TWO_KEYS:
        return executor(rpc, journal, policy=caps, **wiring)

    def one(signer: KeystoreSigner, other: KeystoreSigner, kinds: frozenset[IntentKind]) -> Any:
        allowed = tuple(Permission(market=MARKET.name, kind=kind) for kind in kinds)
        mine = replace(caps, permissions=allowed, together_with=(other.address,))
        return executor(rpc, journal, signer=signer, policy=mine, **wiring)

    return PairedExecutor(
        protecting=one(SIGNER, SECOND, frozenset(IntentKind) - LIQUIDATING),
        liquidating=one(SECOND, SIGNER, LIQUIDATING),
    )


async def _follow(
    place: Place,
    rpc: Rpc,
    hands: TxExecutor | PairedExecutor,
    outbox: Outbox,
    until_empty: SqlOutbox | None,
) -> None:
    last = ""
    while True:
        head = await rpc.block("latest")
        if head.hash == last:
            await asyncio.sleep(LOOK_S)
            continue
        last = head.hash
        if await hands.settle(head):
            outbox.wake()
        wanted = await _wanted(place, rpc)
        busy = {int(intent.position.account, 16) for intent in hands.open_intents()}
        idle = not wanted and not busy and until_empty is not None
        if idle and until_empty is not None and not (await until_empty.counts()).pending:
            return
        free = [n for n in wanted if n not in busy]
        if isinstance(hands, TxExecutor) and place.way is Way.BATCHES:
            await crash_batches.submit(hands, free, head)
            continue
        free = free[:AT_ONCE]
        if place.way is Way.REVERTS and until_empty is None:  # so that reverts can be counted
            free = [] if busy else free[:1]
        for number in free:
            await _submit(place, hands, number, head)


async def _wanted(place: Place, rpc: Rpc) -> Sequence[int]:
    """What has not been done yet, by the chain."""
    if place.way is Way.BATCHES:
        return await crash_batches.below(rpc, place.actions)
    counts = await asyncio.gather(*(count(rpc, n) for n in range(1, place.actions + 1)))
    return [n for n, times in enumerate(counts, start=1) if not times]


async def _submit(
    place: Place, hands: TxExecutor | PairedExecutor, number: int, head: BlockRef
) -> None:
    wanted = action(number, head)
    if place.way is Way.TWO_KEYS and number % 2:
        wanted = replace(wanted, kind=IntentKind.LIQUIDATE)
    named = replace(wanted, intent_id=f"at-{head.hash[2:14]}-{number}")
    await hands.submit(named, FakeView(block=head))


def _told(
    outcome: Outcome, _health: Wad | None
) -> tuple[tuple[Message, ...], tuple[AuditEvent, ...]]:
    intent = outcome.plan.intent
    what = type(outcome).__name__.lower()
    number = int(intent.position.account, 16)
    message = Message(
        key=f"action/{intent.intent_id}#{what}",
        chat=f"file:{number}",
        severity=Severity.WARNING,
        text=f"{what} {number} {intent.intent_id}",
        kind="action",
    )
    return (message,), (AuditEvent(event=f"intent.{what}", fields={"intent": intent.intent_id}),)
