"""What the journal's plans spent or may spend, and what of them reverted: columns added up."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.model import Address, IntentKind, Spent, TxState
from keeper.store.rows import receipt_in
from keeper.store.tables import OPEN, IntentRow
from keeper.units import Base, Wei


async def spent(
    session: AsyncSession, chain_id: int, signers: Sequence[Address], since: int
) -> Spent:
    """Return what plans of `signers` took that were decided at or after `since`, or are open.

    Value on all chains, gas on `chain_id`.  Columns, not rows: in a storm there are hundreds of
    plans, and each claim asks.
    """
    value = gas_wei = 0
    kept = IntentRow
    found = await session.execute(
        select(
            col(kept.chain_id),
            col(kept.state),
            col(kept.spends),
            col(kept.gas_limit),
            col(kept.max_fee_wei),
            col(kept.data_fee_wei),
            col(kept.receipt),
        ).where(
            col(kept.signer).in_(signers),
            (col(kept.decided_at) >= since) | col(kept.state).in_(OPEN),
        )
    )
    for chain, state, spends, gas_limit, max_fee_wei, data_fee_wei, kept_receipt in found:
        value += spends if state in OPEN or state == TxState.CONFIRMED else 0
        if chain != chain_id:
            continue
        if state in OPEN:
            gas_wei += gas_limit * max_fee_wei + data_fee_wei
        elif (receipt := receipt_in(kept_receipt)) is not None:
            gas_wei += receipt.gas_used * receipt.effective_gas_price_wei + data_fee_wei
    return Spent(value=Base(value), gas_wei=Wei(gas_wei))


async def reverts(
    session: AsyncSession, of: Sequence[ColumnElement[bool]], since: int
) -> tuple[int, ...]:
    """Return when reverted plans were decided, chain seconds, oldest first: see `ports.Journal`.

    `of`: whose plans, on which chain.
    """
    kept = IntentRow
    statement = (
        select(col(kept.state), col(kept.kind), col(kept.decided_at))
        .where(
            *of,
            col(kept.state).in_((TxState.CONFIRMED, TxState.REVERTED)),
            col(kept.decided_at) >= since,
        )
        .order_by(col(kept.ended_at).desc(), col(kept.nonce).desc())
    )
    found: list[int] = []
    for state, kind, decided_at in await session.execute(statement):
        if state == TxState.CONFIRMED:
            break
        if kind != IntentKind.DELEVERAGE:
            found.append(decided_at)
    return tuple(sorted(found))
