"""What a signer has on its way and what was spent, read once a block and kept up by its own claims.

Reading it anew for each of hundreds of intents of one block would cost more than all the rest.
Caveat: what another process, or another key under the same caps, claims meanwhile is seen at the
next block.  Nonces,
one plan per position and the caps of a day do not depend on it: the claiming transaction keeps
them.
"""

import asyncio
from dataclasses import dataclass

from keeper.execution.policy import DAY_S
from keeper.model import Address, BlockRef, OpenPlan, Spent
from keeper.ports import Journal
from keeper.units import Base, Wei


@dataclass(slots=True)
class Books:
    """One signer's, as of one block."""

    block: BlockRef
    plans: dict[str, OpenPlan]
    """Open ones by intent id."""
    spent: Spent
    """Of the last day, by every key under the same caps; what was claimed since included."""
    watermark: int | None
    """The highest nonce that the journal knew when it was read."""


class Ledger:
    """Reads the journal once a block."""

    def __init__(
        self, journal: Journal, signer: Address, together_with: tuple[Address, ...] = ()
    ) -> None:
        """`together_with`: other keys whose spending counts as this one's."""
        self._journal = journal
        self._signer = signer
        self._others = together_with
        self._books: Books | None = None
        self._reading = asyncio.Lock()

    async def at(self, block: BlockRef) -> Books:
        """Return the books at `block`.  Raises `JournalError`."""
        async with self._reading:  # one that began before a claim must not end after it
            return await self._at(block)

    async def _at(self, block: BlockRef) -> Books:
        books = self._books
        if books is None or books.block.hash != block.hash:
            plans = await self._journal.open_plans(self._signer)
            books = Books(
                block=block,
                plans={p.plan.intent.intent_id: p for p in plans},
                spent=await self._journal.spent_since(
                    self._signer, block.timestamp - DAY_S, *self._others
                ),
                watermark=await self._journal.watermark(self._signer),
            )
            self._books = books
        return books

    def claimed(self, plan: OpenPlan) -> None:
        """Count a claim, whatever becomes of it until the next reading."""
        books = self._books
        if books is not None:
            books.plans[plan.plan.intent.intent_id] = plan
            books.spent = Spent(
                value=Base(books.spent.value + plan.plan.spends),
                gas_wei=Wei(books.spent.gas_wei + plan.plan.most_gas_wei),
            )

    def forget(self) -> None:
        """Read anew when next asked."""
        self._books = None
