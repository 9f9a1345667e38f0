"""A chain, the nodes in front of it, the keeper's chain layer, and a judge who reads the chain.

    Anvil <- Proxy, Proxy, Proxy <- Client        what the keeper believes
      ^------------------------------ Truth       what is so

`Client` takes every head as the engine does: logs of each block, one packed read at the head, and
whatever could not be heard is asked for again.  `violations` compares what it has with the chain.
"""

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from keeper.chain.heads import HeadFollower
from keeper.chain.logs import LogReader
from keeper.chain.provider import Limits
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError
from keeper.model import Address, BlockRef, Call, Hash, Log, LogFilter, Returned
from tests.chain_unit.bare_anvil import Anvil
from tests.faults.made_up import Lost
from tests.faults.proxy import TIMEOUT_S, Proxy

BELL: Final = Address("0x" + "be" * 20)
"""Emits topic and word of its calldata and keeps the word; answers it to an empty call."""
BELL_CODE: Final = "36600c575f545f5260205ff35b602035805f555f525f3560205fa100"
RING: Final = Hash("0x" + "51" * 32)
OTHER: Final = Hash("0x" + "52" * 32)
RINGER: Final = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
"""Anvil's first account."""
WANTED: Final = LogFilter(addresses=(BELL, Address("0x" + "aa" * 20)), topics0=(RING,))
LIMITS: Final = Limits(
    calls_per_second=100_000, timeout_s=TIMEOUT_S, body_cap_bytes=1_000_000, hedge_s=0.1
)
USABLE_S: Final = 5.0
"""Within so long of a block being mined its data must be there."""
PATIENCE_S: Final = 15.0
TURNS_TO_READ: Final = 20
"""Turns of the loop within which a client has read the rest of an answer and noted it."""


@contextmanager
def planted(owner: Any, name: str, bug: Any) -> Iterator[None]:
    """Put a bug where good code was, so that a campaign can show that it would have caught it."""
    good = owner.__dict__[name]
    setattr(owner, name, bug)
    try:
        yield
    finally:
        setattr(owner, name, good)


def crashed(error: Exception) -> str:
    """Return what a violation says of an error that nobody expected: what and where."""
    where = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)[-3:]
    ]
    return f"crashed: {type(error).__name__}: {error} ({' < '.join(reversed(where))})"


@contextmanager
def no_bug() -> Iterator[None]:
    """Plant nothing."""
    yield


@dataclass(slots=True)
class Pauses:
    """What was asked of a node after the client had read that it wants to be left alone.

    Seen from inside the client: a request that was given up before its answer was read told it
    nothing, and what was on its way by then is no breach, however late a busy machine delivers it.
    """

    too_soon: int = 0
    _until: dict[int, float] = field(default_factory=dict)
    """Monotonic, by the node's port."""

    def watch(self, session: aiohttp.ClientSession) -> None:
        """Look at every request of `session` from now on."""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_start.append(self._asked)
        tracing.on_request_end.append(self._answered)
        tracing.freeze()
        session._trace_configs.append(tracing)  # it is made, and closed, inside `Rpc.open`

    async def _asked(self, _: Any, __: Any, asked: aiohttp.TraceRequestStartParams) -> None:
        if time.monotonic() < self._until.get(asked.url.port or 0, 0.0):
            self.too_soon += 1

    async def _answered(self, _: Any, __: Any, said: aiohttp.TraceRequestEndParams) -> None:
        if said.response.status != HTTPStatus.TOO_MANY_REQUESTS:
            return
        until = time.monotonic() + float(said.response.headers["Retry-After"])
        self._later(TURNS_TO_READ, lambda: self._until.update({said.url.port or 0: until}))

    def _later(self, turns: int, do: Callable[[], None]) -> None:
        """Do it after so many turns of the loop: a crowded machine makes them longer, not fewer."""
        loop = asyncio.get_running_loop()
        loop.call_soon(do if turns == 0 else lambda: self._later(turns - 1, do))


@dataclass(slots=True)
class Client:
    """What the keeper took from its nodes."""

    rpc: Rpc
    heads: HeadFollower
    logs: LogReader
    reader: LensReader
    chain: list[BlockRef] = field(default_factory=list)
    heard: dict[Hash, tuple[Log, ...]] = field(default_factory=dict)
    values: dict[Hash, int] = field(default_factory=dict)
    acted_on: list[BlockRef] = field(default_factory=list)
    """Heads that came without a doubt: on these it would send."""
    taken_at: dict[Hash, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    pauses: Pauses = field(default_factory=Pauses)

    async def run(self) -> None:
        """Follow until cancelled; anything but an ObservationError is a violation."""
        unheard: list[BlockRef] = []
        began_at = 0
        try:
            async with contextlib.aclosing(self.heads.follow(None)) as advances:
                async for advance in advances:
                    for block in advance.orphaned:
                        if not self.chain and block.number < began_at:
                            continue  # what one node alone told reached below the first
                        if not self.chain or self.chain.pop() != block:
                            self.faults.append(f"orphaned {block.number}, which was not the head")
                        unheard = [one for one in unheard if one != block]
                    began_at = began_at or advance.adopted[0].number
                    self.chain += advance.adopted
                    unheard += advance.adopted
                    head = self.chain[-1]
                    if not advance.doubt:
                        self.acted_on.append(head)
                    await self._observe(unheard, head, advance.doubt)
        except ObservationError as error:
            self.faults.append(f"following ended: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            self.faults.append(crashed(error))

    async def _observe(self, unheard: list[BlockRef], head: BlockRef, doubt: str) -> None:
        """As one pass does; a pass that fails leaves the list to the next, or to itself again.

        A head in doubt may be one of which nothing can be read, as it is told.
        """
        for _ in range(20):
            try:
                while unheard:
                    self.heard[unheard[0].hash] = await self.logs.at(unheard[0])
                    unheard.pop(0)
                [answer] = await self.reader.call([Call(to=BELL, data=b"")], head)
            except ObservationError:
                if self.rpc is not None and self.heads.silent_for_s > PATIENCE_S:
                    return
                await asyncio.sleep(0.05)
                if (doubt and self.heads.overtaken) or await self._moved_on(head):
                    return
                continue
            if isinstance(answer, Returned):
                self.values[head.hash] = int.from_bytes(answer.data, "big")
            self.taken_at[head.hash] = time.monotonic()
            return

    async def _moved_on(self, head: BlockRef) -> bool:
        """Whether `head` is not canonical any more: its logs can never be had."""
        with contextlib.suppress(ObservationError):
            return (await self.rpc.block(head.number)).hash != head.hash
        return False


@asynccontextmanager
async def client(
    proxies: Sequence[Proxy], *, ws: Sequence[Proxy] = (), quorum: int = 1
) -> AsyncIterator[Client]:
    """Open the chain layer over `proxies` and follow in the background."""
    urls = [proxy.url for proxy in proxies]
    async with await Rpc.open(urls, 31337, limits=LIMITS) as rpc:
        heads = HeadFollower(
            rpc,
            [proxy.ws_url for proxy in ws],
            block_time_s=0.5,
            silence_s=0.4,
            poll_s=0.05,
            quorum=quorum,
        )
        opened = Client(rpc, heads, LogReader(rpc, WANTED, nodes=quorum), LensReader(rpc))
        opened.pauses.watch(rpc._session)
        task = asyncio.create_task(opened.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not opened.chain and not opened.faults:  # noqa: ASYNC110 - it is polled
                    await asyncio.sleep(0.01)
            yield opened
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def nodes(anvil: Anvil, chance: random.Random, count: int) -> AsyncIterator[list[Proxy]]:
    """Put `count` proxies in front of `anvil`, honest at first."""
    async with contextlib.AsyncExitStack() as stack:
        lost = Lost()
        made = [
            Proxy(anvil.url, random.Random(chance.random()), gate=anvil.gate, lost=lost)
            for _ in range(count)
        ]
        for proxy in made:
            await stack.enter_async_context(proxy)
        yield made


@dataclass(slots=True)
class Truth:
    """The chain itself."""

    anvil: Anvil
    mined_at: dict[Hash, float] = field(default_factory=dict)
    known: set[Hash] = field(default_factory=set)
    """Every block that ever was canonical while we looked."""

    async def prepare(self) -> None:
        """Hang the bell."""
        await self.anvil.set_code(BELL, BELL_CODE)
        if await self.anvil.rpc.block_number() == 0:
            await self.anvil.mine(2)
        await self.note()

    async def ring(self, word: int, topic: Hash = RING) -> str:
        """Send a transaction that rings; it is mined with the next block."""
        data = topic + f"{word:064x}"
        return str(
            await self.anvil.control(
                "eth_sendTransaction",
                {"from": RINGER, "to": BELL, "data": data, "gas": "0x186a0"},
            )
        )

    async def mine(self, chance: random.Random) -> BlockRef:
        """Mine one block in which the bell rang zero to five times."""
        for _ in range(chance.choice((0, 0, 1, 2, 5))):
            await self.ring(chance.randrange(2**64), chance.choice((RING, RING, RING, OTHER)))
        await self.anvil.mine()
        return await self.note()

    async def note(self) -> BlockRef:
        """Remember the head."""
        head = await self.anvil.rpc.block()
        self.mined_at.setdefault(head.hash, time.monotonic())
        self.known.add(head.hash)
        return head

    async def violations(self, seen: Client, since: BlockRef) -> list[str]:
        """Everything that `seen` has otherwise than the chain, from its first block on."""
        found = list(seen.faults)
        number = await self.anvil.rpc.block_number()
        chain = await self.anvil.rpc.blocks(range(seen.chain[0].number, number + 1))
        self.known |= {block.hash for block in chain}
        if [b.hash for b in seen.chain] != [b.hash for b in chain]:
            ends = [b.number for b in (*seen.chain[-1:], *chain[-1:])]
            found.append(f"its chain is another one (ends in {ends})")
        for block in chain:
            if block.number <= since.number:
                continue
            theirs = await self._logs(block)
            ours = seen.heard.get(block.hash)
            if ours is None:
                found.append(f"block {block.number} was never heard")
            elif sorted(log.log_index for log in ours) != theirs:
                found.append(f"block {block.number} has {len(theirs)} logs, {len(ours)} were taken")
            if block.hash in seen.values:
                word = await self.anvil.control("eth_call", {"to": BELL}, {"blockHash": block.hash})
                read = seen.values[block.hash]
                if int(word, 16) != read:
                    found.append(f"the value at block {block.number} is not what was read")
        found += [
            f"block {b.number} would have been acted upon, it never was canonical"
            for b in seen.acted_on
            if b.number > since.number and b.hash not in self.known
        ]
        return found

    async def _logs(self, block: BlockRef) -> list[int]:
        logs = await self.anvil.control(
            "eth_getLogs",
            {
                "blockHash": block.hash,
                "address": list(WANTED.addresses),
                "topics": [list(WANTED.topics0)],
            },
        )
        return sorted(int(log["logIndex"], 16) for log in logs)

    def delays_s(self, seen: Client) -> list[float]:
        """How long after its mining each head could be used."""
        return [
            at - self.mined_at[hash_]
            for hash_, at in seen.taken_at.items()
            if hash_ in self.mined_at
        ]


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
    """Wait for `condition`; whether it came."""
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            return False
        await asyncio.sleep(0.01)
    return True
