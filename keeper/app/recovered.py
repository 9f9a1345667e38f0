"""Health factors of whoever was acted for when the keeper stopped, for what is said at its start.

What was mined meanwhile is settled before the first block is taken, when no position was read yet:
the market's own contract is asked instead.
"""

from collections.abc import Iterable

from keeper.app.chain import OpenChain
from keeper.app.look import pool_answers
from keeper.errors import KeeperError
from keeper.model import Address, PositionId
from keeper.store.journal import SqlJournal
from keeper.units import Wad


async def healths_of_open(
    chain: OpenChain, journal: SqlJournal, signers: Iterable[Address]
) -> dict[PositionId, Wad]:
    """Return the health factor at the chain's head of each position with an open plan.

    Those that cannot be read are missing: nothing waits for what is only said.
    """
    plans = [plan for signer in signers for plan in await journal.open_plans(signer)]
    positions = {intent.position for plan in plans for intent in plan.plan.intents}
    found: dict[PositionId, Wad] = {}
    for market in chain.markets.values():
        here = tuple(one for one in positions if one.market == market.id)
        if not here:
            continue
        try:
            answers = await pool_answers(
                chain, market, tuple(one.account for one in here), chain.head
            )
        except KeeperError:
            continue
        found |= {
            position: answer.health_factor for position, answer in zip(here, answers, strict=True)
        }
    return found
