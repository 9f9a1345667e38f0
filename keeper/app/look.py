"""One reading at the head, for commands that ask and go: the same path the engine takes."""

from collections.abc import Iterable
from typing import Any

from keeper.app.chain import OpenChain
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import ConfigError
from keeper.model import (
    Address,
    Assessment,
    BlockRef,
    ContractHealth,
    Holdings,
    PositionId,
    Unassessable,
)


async def read_market(
    chain: OpenChain, market: WatchedMarket[Any, Any], block: BlockRef
) -> Reading:
    """Read whatever the market has on its list, to the last account, all at `block`."""
    while True:
        steps = [market.observe(), market.rounds()]
        seen, rounds = await chain.reader.run_all(steps, block)
        reading = market.take(block, seen, rounds)
        if not market.backlog:
            return reading


async def read_accounts(
    chain: OpenChain, market: WatchedMarket[Any, Any], accounts: Iterable[Address]
) -> Reading:
    """Read these accounts at the chain's head, debt or not."""
    market.watch(frozenset(accounts))
    return await read_market(chain, market, chain.head)


def held_by(market: WatchedMarket[Any, Any], reading: Reading, account: Address) -> Holdings:
    """Return what was read of `account`.  Raises ConfigError with the reason if nothing was."""
    holdings = market.holdings(account)
    if holdings is None:
        why = dict(reading.unreadable).get(account, "it was not read")
        raise ConfigError(f"{account} cannot be read in {market.id.name}: {why}")
    return holdings


def assessments(market: WatchedMarket[Any, Any], reading: Reading) -> tuple[Assessment, ...]:
    """Return the exact assessment of every account read; one that could not be is unknown."""
    unread = dict(reading.unreadable)
    found: list[Assessment] = []
    for account in market.book.accounts():
        holdings = market.holdings(account)
        if holdings is not None and account not in unread:
            found.append(reading.view.assess(holdings))
    for account, reason in unread.items():
        position = PositionId(market=market.id, account=account)
        found.append(Unassessable(position=position, block=reading.block, reason=reason))
    return tuple(found)


async def pool_answers(
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    accounts: tuple[Address, ...],
    block: BlockRef,
) -> tuple[ContractHealth, ...]:
    """Ask the market's own contract about each account at `block`, to compare with."""
    steps = market.adapter.account_data(market.market, accounts)
    answers: tuple[ContractHealth, ...] = await chain.reader.run(steps, block)
    return answers
