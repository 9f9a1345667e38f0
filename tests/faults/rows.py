"""All campaigns, and the chains they run on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from keeper.devnet.network import start
from tests.chain_unit.bare_anvil import bare_anvil
from tests.faults.campaign import Campaign
from tests.faults.house import HOUSE
from tests.faults.nodes import NODES

POSITIONS: Final = 40
ROWS: Final[tuple[Campaign, ...]] = tuple(sorted((*NODES, *HOUSE), key=lambda row: int(row.id[1:])))


@asynccontextmanager
async def staged(stage: str) -> AsyncIterator[Any]:
    """The chain a campaign wants: a bare Anvil, or the process under a devnet."""
    if stage == "anvil":
        async with bare_anvil() as anvil:
            yield anvil
        return
    process = start(POSITIONS)
    try:
        yield process
    finally:
        process.stop()
