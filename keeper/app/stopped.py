"""After a start: what was liquidated while nobody looked, into the database."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from keeper.app.chain import History, OpenChain
from keeper.engine.decide import Hand
from keeper.engine.stopped import replaced, unwatched
from keeper.errors import ObservationError
from keeper.model import BlockRef
from keeper.store.records import SqlRecords

log = structlog.get_logger()

AGAIN_S: Final = 5.0
"""After which a node that could not be read is asked again."""


async def account_for(
    chain: OpenChain, hands: Mapping[str, Hand], records: SqlRecords, watched_to: BlockRef
) -> None:
    """Account for every market's liquidations since `watched_to`, beside the heads.

    `hands` by market name.  Tried again until it is done.  Raises JournalError.
    """
    past = History(rpc=chain.rpc, nodes=chain.config.nodes_needed)
    for name, market in chain.markets.items():
        while True:
            try:
                seen = await unwatched(
                    market,
                    hands[name],
                    past,
                    chain.reader,
                    watched_to=watched_to,
                    back_at=chain.head,
                )
                known = await records.liquidated_in(market.id, seen.first, seen.last)
                orphaned = await replaced(past, known)
            except ObservationError as error:
                log.warning("stopped.unread", market=name, reason=str(error))
                await asyncio.sleep(AGAIN_S)
                continue
            await records.account_for(seen.found, orphaned)
            break
