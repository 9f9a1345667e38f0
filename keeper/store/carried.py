"""The further intents of one transaction: rows that go where the first one's goes.

They hold no nonce and have no attempts.  While the first one's plan is open theirs are, so that
their positions are taken; it ends only together with all of them.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.errors import JournalError
from keeper.model import Ended, Plan, Receipt, TxState
from keeper.store.rows import receipt_document
from keeper.store.tables import IntentRow

ENDS: Final = (TxState.CONFIRMED, TxState.REVERTED, TxState.ABANDONED)


def require_distinct(plan: Plan) -> None:
    """Raise unless a plan that carries several intents begins with its own and names none twice."""
    intents = plan.intents
    names = {intent.intent_id for intent in intents}
    positions = {intent.position for intent in intents}
    if intents[0] != plan.intent or len(names) != len(intents) or len(positions) != len(intents):
        raise JournalError(
            f"{plan.intent.intent_id}: what its transaction would carry is not one intent for each"
            " position, its own first; nothing was written"
        )


async def _further(session: AsyncSession, row: IntentRow) -> Sequence[IntentRow]:
    """What else the transaction of `row` carries: asked for only where there is something."""
    if not row.plan.get("shares"):
        return ()
    found = await session.scalars(select(IntentRow).where(col(IntentRow.leader) == row.intent_id))
    return found.all()


async def take_along(session: AsyncSession, row: IntentRow) -> None:
    """Bring what else the transaction carries to the state of `row`."""
    for other in await _further(session, row):
        other.state = row.state
        other.sent_at_block = row.sent_at_block


async def end_along(
    session: AsyncSession,
    row: IntentRow,
    state: TxState,
    *,
    whole: Receipt | None,
    receipt: Receipt | None,
    further: Sequence[Ended],
) -> Sequence[IntentRow]:
    """End what else the transaction carried, and check that nothing of it is left out."""
    others = await _further(session, row)
    ends = {end.intent_id: end for end in further}
    if state is TxState.ABANDONED and not ends:
        ends = {
            other.intent_id: Ended(intent_id=other.intent_id, state=state, receipt=None)
            for other in others
        }
    if ends.keys() != {other.intent_id for other in others}:
        raise JournalError(
            f"{row.intent_id}: its transaction carries {len(others)} more intents and other ones"
            " were ended; nothing was written"
        )
    parts = [end.receipt for end in ends.values() if end.receipt is not None]
    if receipt is not None and whole is not None and whole.tx_hash == receipt.tx_hash:
        paid = receipt.gas_used + sum(part.gas_used for part in parts)
        if paid != whole.gas_used:
            raise JournalError(
                f"{row.intent_id}: the parts of its gas are {paid}, it used {whole.gas_used};"
                " nothing was written"
            )
    for other in others:
        end = ends[other.intent_id]
        _require_part(other, end, receipt)
        other.state = str(end.state)
        other.receipt = receipt_document(end.receipt)
        other.ended_at = row.ended_at
    return others


def _require_part(row: IntentRow, end: Ended, receipt: Receipt | None) -> None:
    """Raise unless what is said of a further intent fits the transaction that carried it."""
    mined = end.state in (TxState.CONFIRMED, TxState.REVERTED)
    part = end.receipt
    fits = (
        end.state in ENDS
        and mined == (part is not None)
        and (part is None or part.succeeded is (end.state is TxState.CONFIRMED))
        and (part is None or (receipt is not None and part.tx_hash == receipt.tx_hash))
    )
    if not fits:
        raise JournalError(
            f"{row.intent_id} cannot be {end.state} by the receipt that came with it; nothing was"
            " written"
        )
