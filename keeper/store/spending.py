"""What the journal's plans spent or may spend, and what of them reverted: columns added up."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.model import Address, IntentKind, Spent, TxState
from keeper.store.rows import receipt_in
from keeper.store.tables import OPEN, IntentRow
from keeper.store.write import at_once
from keeper.units import Base, Wei

_KEPT: Final = (
    col(IntentRow.chain_id),
    col(IntentRow.state),
    col(IntentRow.spends),
    col(IntentRow.gas_limit),
    col(IntentRow.max_fee_wei),
    col(IntentRow.data_fee_wei),
    col(IntentRow.receipt),
)
_SPENT: Final = select(*_KEPT).where(
    col(IntentRow.signer).in_(bindparam("signers", expanding=True)),
    (col(IntentRow.decided_at) >= bindparam("since")) | col(IntentRow.state).in_(OPEN),
)
"""Executed between a decision and its transaction on the wire: see `at_once`."""


async def spent(
    session: AsyncSession, chain_id: int, signers: Sequence[Address], since: int
) -> Spent:
    """Return what plans of `signers` took that were decided at or after `since`, or are open.

    Value on all chains, gas on `chain_id`.  Columns, not rows: in a storm there are hundreds of
    plans, and each claim asks.
    """
    value = gas_wei = 0
    found = await at_once(session, _SPENT, {"signers": list(signers), "since": since})
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

    A transaction that carried several intents counts once, and as confirmed where one of them was.

    `of`: whose plans, on which chain.
    """
    kept = IntentRow
    statement = (
        select(col(kept.nonce), col(kept.state), col(kept.kind), col(kept.decided_at))
        .where(
            *of,
            col(kept.state).in_((TxState.CONFIRMED, TxState.REVERTED)),
            col(kept.decided_at) >= since,
        )
        .order_by(col(kept.ended_at).desc(), col(kept.nonce).desc(), col(kept.state))
    )  # of one transaction what was confirmed comes first
    found: dict[int, int] = {}
    for nonce, state, kind, decided_at in await session.execute(statement):
        if state == TxState.CONFIRMED:
            break
        if kind != IntentKind.DELEVERAGE:
            found[nonce] = decided_at
    return tuple(sorted(found.values()))
