"""What would be decided at a block that does not exist yet: read, assess and decide, and no more.

The book, the oracles' memory and the pace are left as they are.  Prices are those of the supposed
block; which of them may be relied upon is what was found at the last real one: the block itself is
judged anew when it comes, whatever was anticipated.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keeper.engine.decide import Decider, by_debt
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import ObservationError
from keeper.model import Act, Address, Assessed, Assessment, BlockRef, Intent, Inventory
from keeper.ports import LendingView, Reader, Steps
from keeper.units import WAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Anticipated:
    """What one supposed block would bring."""

    block: BlockRef
    """Number and hash are of the real block underneath, the timestamp is the supposed one's."""
    endangered: tuple[Assessment, ...]
    """Positions that would be below 1."""
    intents: tuple[tuple[Intent, LendingView], ...]
    """What would be submitted, and the arithmetic of that block."""


async def anticipate(
    decider: Decider, readings: Mapping[str, Reading], reader: Reader, supposed: BlockRef
) -> Anticipated:
    """Return what `decider` would do at `supposed`, as `reader` reads it."""
    markets = [market for name, market in decider.markets.items() if name in readings]
    steps: list[Steps[Any]] = []
    for market in markets:
        steps += [
            market.adapter.observe(market.market, (), market.holdings),
            _purse(market, decider.hands[market.id.name].owner, supposed),
        ]
    learnt = [market.market for market in markets]
    answers = await reader.run_all(steps, supposed)
    if any(market.market is not was for market, was in zip(markets, learnt, strict=True)):
        raise ObservationError("A market was learnt anew while this was read.")
    there: dict[str, Reading] = {}
    inventories: dict[str, Inventory] = {}
    for market, seen, purse in zip(markets, answers[0::2], answers[1::2], strict=True):
        name = market.id.name
        view, protecting = market.views(supposed, seen, readings[name].prices)
        there[name] = replace(readings[name], block=supposed, view=view, protecting=protecting)
        if purse is not None:
            inventories[name] = purse
    then = replace(decider, pace=copy.deepcopy(decider.pace))
    turns = tuple(then.turns(then.looks(there), inventories))
    assessments = by_debt(a for turn in turns for a in turn.assessments)
    return Anticipated(
        block=supposed,
        endangered=tuple(
            a for a in assessments.values() if isinstance(a, Assessed) and a.health_factor < WAD
        ),
        intents=tuple(
            (d.intent, there[d.intent.position.market.name].view)
            for turn in turns
            for d in turn.decisions
            if isinstance(d, Act)
        ),
    )


def _purse(
    market: WatchedMarket[Any, Any], owner: Address | None, block: BlockRef
) -> Steps[Inventory | None]:
    if owner is None:
        return None
    inventory: Inventory = yield from market.adapter.inventory(market.market, owner, block)
    return inventory
