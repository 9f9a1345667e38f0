"""What a signer has on its way and what was spent, read once a block and kept up by its own claims.

Reading it anew for each of hundreds of intents of one block would cost more than all the rest.  It
is read when a pass is over, so that the next one finds it: nobody waits for it on the way from a
head to a transaction.  The day that spending is counted over then begins a block early, which
counts a little more than there is.

Caveat: what another process, or another key under the same caps, claims meanwhile is seen one pass
later.  Nonces, one plan per position, the caps of a day and the least balance do not depend on it:
the claiming transaction keeps them.
"""

import asyncio
from dataclasses import dataclass

from keeper.execution.policy import DAY_S
from keeper.model import Address, BlockRef, OpenPlan, Spent
from keeper.ports import Journal
from keeper.units import Base, Wei


@dataclass(slots=True)
class Books:
    """One signer's, as of the end of a pass."""

    plans: dict[str, OpenPlan]
    """Open ones by intent id."""
    spent: Spent
    """Of the last day, by every key under the same caps; what was claimed since included."""
    watermark: int | None
    """The highest nonce that the journal knew when it was read."""


class Ledger:
    """Reads the journal when it was told to forget what it knew."""

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
        """Return the books, read for `block` if there are none.  Raises `JournalError`."""
        async with self._reading:  # one that began before a claim must not end after it
            return await self._at(block)

    async def _at(self, block: BlockRef) -> Books:
        books = self._books
        if books is None:
            plans = await self._journal.open_plans(self._signer)
            books = Books(
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
