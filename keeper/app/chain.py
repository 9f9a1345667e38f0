"""One chain opened: its nodes checked, its reader ready, its markets discovered at the head."""

import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from keeper.app.aggregators import aggregators_of
from keeper.app.oracles import board_of, independent_of, judging_of, sequencer_of, tracing_of
from keeper.app.registry import PROTOCOLS
from keeper.chain.aggregator import Aggregator
from keeper.chain.branch import Advance
from keeper.chain.complete import Check
from keeper.chain.heads import HeadFollower
from keeper.chain.history import Distinct, backfill, deployment_block
from keeper.chain.logs import LogReader
from keeper.chain.provider import Limits
from keeper.chain.reader import LensReader
from keeper.chain.relay import HttpRelay
from keeper.chain.rpc import LAG_BLOCKS, Rpc
from keeper.engine.coverage import Progress, cover
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError, ObservationError, RpcError
from keeper.model import Address, BlockRef, Log, LogFilter
from keeper.ports import Records
from keeper.reference.board import Board
from keeper.settings import Chain, Settings
from keeper.settings.section import DEV_CHAIN_ID
from keeper.store.database import Database
from keeper.store.upkeep import bind_chain

log = structlog.get_logger()

OBSERVING = frozenset({"eth_getLogs", "eth_call", "eth_getBlockByHash", "eth_getBlockByNumber"})
"""Methods that observing a block may cost; the rest is sending and settling."""
LAG_S = 10.0
"""A node further behind than this, or than `LAG_BLOCKS`, is asked after the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The chain as `keeper.engine.coverage` asks for it."""

    rpc: Rpc
    nodes: int = 1
    """How many nodes are needed for a block: with more than one, ranges are compared."""
    check: Check = Check.SAMPLED
    """How much is looked at of what only one node tells."""

    def backfill(
        self, wanted: LogFilter, from_block: int, to_block: int
    ) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
        """Yield complete ranges in order; of logs that differ in nothing but amounts, the first."""
        return backfill(
            self.rpc,
            wanted,
            from_block,
            to_block,
            select=Distinct(),
            nodes=self.nodes,
            check=self.check,
        )

    def every_log(
        self, wanted: LogFilter, from_block: int, to_block: int
    ) -> AsyncIterator[tuple[int, int, tuple[Log, ...]]]:
        """Yield complete ranges in order, with every log of them."""
        return backfill(self.rpc, wanted, from_block, to_block, nodes=self.nodes)

    async def deployment_block(self, address: Address) -> int:
        """Return the first block at which `address` has code."""
        return await deployment_block(self.rpc, address)

    async def block(self, number: int) -> BlockRef:
        """Return the canonical block of that number."""
        return await self.rpc.block(number)

    async def compared(self, block: BlockRef) -> BlockRef | None:
        """Return what enough nodes have of that number, None where enough have nothing there.

        `block` itself where nobody has another one.  Raises ObservationError where too few say the
        same.
        """
        if self.nodes <= 1:
            try:
                return await self.rpc.block(block.number)
            except RpcError as error:
                if not _refused(error):
                    raise
                return None
            except ObservationError:
                return None
        answers = await self.rpc.each_header(block.number)
        there = [answer for answer in answers if isinstance(answer, BlockRef)]
        votes = Counter(answer.hash for answer in there)
        if votes[block.hash] >= self.nodes or set(votes) == {block.hash}:
            return block
        for other in there:
            if votes[other.hash] >= self.nodes:
                return other
        nothing = sum(answer is None or _refused(answer) for answer in answers)
        if nothing >= self.nodes:
            return None
        raise ObservationError(
            f"{votes[block.hash]} of {len(answers)} nodes have block {block.number:,} "
            f"{block.hash}, {len(there) - votes[block.hash]} another one and "
            f"{nothing} none of that number: {self.nodes} must agree."
        )


def _refused(answer: object) -> bool:
    """Whether a node said no, as some do of a block that they do not have, or not any more."""
    return isinstance(answer, RpcError) and answer.code is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChain:
    """Everything that reads one chain."""

    config: Chain
    rpc: Rpc
    reader: LensReader
    heads: HeadFollower
    head: BlockRef
    """The head the markets were discovered at."""
    doubt: str = ""
    """Why too few nodes agree on that head, or empty."""
    relay: HttpRelay | None = None
    """Where some transactions go instead of the public pool."""
    aggregators: tuple[Aggregator, ...] = ()
    """Who is asked for sales besides Uniswap v3's pools."""
    markets: dict[str, WatchedMarket[Any, Any]] = field(default_factory=dict)

    def logs(self) -> LogReader:
        """Return a reader of each block's logs; the engine says which are wanted."""
        return LogReader(
            self.rpc, LogFilter(addresses=(), topics0=()), nodes=self.config.nodes_needed
        )

    def observing_calls(self) -> int:
        """Requests so far that observing blocks cost."""
        return sum(count for method, count in self.rpc.counts.items() if method in OBSERVING)

    @property
    def unfit(self) -> str:
        """Why nothing is sent because of what was read at the head, or empty; as in a pass."""
        if self.doubt:
            return f"the nodes do not agree on block {self.head.number:,}: {self.doubt}"
        behind_s = time.time() - self.head.timestamp
        if behind_s > behind_limit_s(self.config):
            return f"the last block, {self.head.number:,}, is {round(behind_s)} s old"
        return ""

    def market(self, name: str | None = None) -> WatchedMarket[Any, Any]:
        """Return the market of that name, or the only one.  Raises ConfigError."""
        if name is None and len(self.markets) == 1:
            return next(iter(self.markets.values()))
        there = ", ".join(self.markets)
        if name is None:
            raise ConfigError(f"{self.config.name} has several markets ({there}): say --market.")
        if name not in self.markets:
            raise ConfigError(f"{self.config.name} has no market {name!r}: it has {there}.")
        return self.markets[name]

    async def advances(self) -> AsyncGenerator[Advance, None]:
        """Take the head that the chain was opened at, then whatever comes after it: without a gap.

        History is read up to that very block.
        """
        doubt = await self.heads.doubt_about(self.head)
        yield Advance(orphaned=(), adopted=(self.head,), received_at=time.monotonic(), doubt=doubt)
        async with aclosing(self.heads.follow(self.head)) as advances:
            async for advance in advances:
                yield advance

    async def cover(
        self,
        market: WatchedMarket[Any, Any],
        records: Records,
        upto: BlockRef,
        on_progress: Callable[[Progress], None],
        *,
        restore: bool = False,
    ) -> Progress:
        """Find every borrower of `market` up to `upto`; resumes from the checkpoint.

        `restore`: also with the balances in it, for whoever hears every block from `upto` on.
        """
        start = next(m.deployment_block for m in self.config.markets if m.name == market.id.name)
        return await cover(
            market,
            History(
                rpc=self.rpc,
                nodes=self.config.nodes_needed,
                check=Check(self.config.history_check),
            ),
            records,
            upto=upto,
            start_block=start,
            on_progress=on_progress,
            reader=self.reader if restore else None,
        )


@asynccontextmanager
async def open_chain(
    settings: Settings, chain: Chain, *, before: OpenChain | None = None
) -> AsyncIterator[OpenChain]:
    """Connect, verify the chain id, discover every market at the head.

    The head is the newest that enough nodes have; where they do not agree it bears the `doubt`.
    `before`: the same chain as it was open before, closed by now.  What was final then is held on
    to, and a node that answers for another chain now is left out while there are others.
    Raises ConfigError for what only the operator can mend and ObservationError for a node that
    does not answer; FinalityBroken where what was final is not canonical any more.
    """
    limits = Limits(calls_per_second=chain.calls_per_second)
    async with AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(await _nodes(chain, limits, again=before is not None))
        relay = relay_of(chain)
        if relay is not None:
            await stack.enter_async_context(relay)
        aggregators = aggregators_of(chain)
        for aggregator in aggregators:
            await stack.enter_async_context(aggregator)
        reader = LensReader(rpc)
        heads = HeadFollower(
            rpc,
            chain.pushing,
            block_time_s=chain.block_time_s,
            quorum=chain.nodes_needed,
            finality=None if before is None else before.heads.finality,
        )
        head, doubt = await heads.newest()
        behind_s = time.time() - head.timestamp
        if behind_s > behind_limit_s(chain):
            log.warning("head.behind", block=head.number, behind_s=round(behind_s))
        opened = OpenChain(
            config=chain,
            rpc=rpc,
            reader=reader,
            heads=heads,
            head=head,
            doubt=doubt,
            relay=relay,
            aggregators=aggregators,
        )
        await opened.heads.prove_final()
        for market in watched_markets(settings, chain):
            await reader.run(market.discover(), head)
            opened.markets[market.id.name] = market
        yield opened


def behind_limit_s(chain: Chain) -> float:
    """Return how old the head's own timestamp may be before nothing is decided on it.

    A development chain keeps its own time: there is no limit.
    """
    if chain.chain_id == DEV_CHAIN_ID:
        return math.inf
    return max(120.0, 10 * chain.block_time_s)


async def bind(database: Database, chain: OpenChain) -> None:
    """Hold the database to this very chain, by its first block.

    Raises ConfigError when it belongs to another one.  A node that has forgotten its first block is
    taken at its chain id's word.
    """
    try:
        genesis = await chain.rpc.block(0)
    except ObservationError as error:
        log.warning("chain.unbound", chain=chain.config.name, reason=str(error))
        return
    await bind_chain(database, chain.config.chain_id, genesis.hash)


def outside(settings: Settings, chain: OpenChain) -> Board | None:
    """Let the chain's markets hear the exchanges; return who asks them, None where nobody is to."""
    symbols = {s.asset.symbol for market in chain.markets.values() for s in market.sources}
    board = board_of(settings, frozenset(symbols))
    if board is not None:
        for market in chain.markets.values():
            market.oracles.outside = board.quotes
    return board


def relay_of(chain: Chain) -> HttpRelay | None:
    """Return the chain's private relay, not opened; None without one.  Raises ConfigError."""
    if chain.relay_url is None:
        return None
    auth = chain.relay_auth_key
    return HttpRelay(
        chain.relay_url.get_secret_value(),
        method=chain.relay_method,
        auth_key=None if auth is None else auth.get_secret_value(),
    )


async def _nodes(chain: Chain, limits: Limits, *, again: bool) -> Rpc:
    """Connect to the chain's nodes; where none answers, say what to do about it."""
    lag_blocks = max(LAG_BLOCKS, round(LAG_S / chain.block_time_s))
    try:
        return await Rpc.open(
            chain.rpc_urls, chain.chain_id, limits=limits, lag_blocks=lag_blocks, left_out=again
        )
    except RpcError as error:
        raise RpcError(
            f"{str(error).rstrip('.')}: correct rpc_urls of chain {chain.name!r}, or wait until "
            "the node answers."
        ) from error


def watched_markets(settings: Settings, chain: Chain) -> tuple[WatchedMarket[Any, Any], ...]:
    """Return the chain's markets, not yet discovered.  Raises ConfigError."""
    made = []
    for market, id_ in zip(chain.markets, chain.market_ids(), strict=True):
        if market.protocol not in PROTOCOLS:
            raise ConfigError(
                f"{market.name}: there is no protocol {market.protocol!r}, "
                f"there is {', '.join(PROTOCOLS)}."
            )
        made.append(
            WatchedMarket(
                PROTOCOLS[market.protocol](id_, market.addresses_provider),
                tracing=tracing_of(settings),
                judging=judging_of(settings),
                independent=independent_of(settings, chain),
                sequencer=sequencer_of(chain),
            )
        )
    return tuple(made)
