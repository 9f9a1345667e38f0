"""What the journal's plans spent or may spend, and what of them reverted: columns added up."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.errors import PolicyViolation
from keeper.model import Address, Allowance, IntentKind, Plan, Spent, TxState
from keeper.store.rows import receipt_in
from keeper.store.tables import OPEN, IntentRow
from keeper.store.write import at_once
from keeper.units import Base, Wei

_KEPT: Final = (
    col(IntentRow.chain_id),
    col(IntentRow.signer),
    col(IntentRow.nonce),
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

    Value on all chains, gas on `chain_id`.
    """
    return _spent(await _taken(session, signers, since), chain_id)


async def require_within(
    session: AsyncSession, plan: Plan, signer: Address, chain_id: int, within: Allowance
) -> None:
    """Raise `PolicyViolation` where `plan` on top of what others claimed goes beyond `within`."""
    keys = (signer, *within.together_with)
    taken = await _taken(session, keys, within.since)
    before = _spent(taken, chain_id)
    for what, total, most in (
        ("spending to {} base units", before.value + plan.spends, within.value),
        ("gas to {} wei", before.gas_wei + plan.most_gas_wei, within.gas_wei),
    ):
        if total > most:
            raise PolicyViolation(
                f"{plan.intent.intent_id} would bring the day's {what.format(total)}, {most} is the"
                " cap: another claim was first; nothing was written"
            )
    if (wallet := within.wallet) is not None:
        reserved = _reserved(taken, chain_id, signer, wallet.nonce)
        left = wallet.balance_wei - reserved - plan.most_gas_wei
        if left < wallet.least_wei:
            raise PolicyViolation(
                f"{plan.intent.intent_id} may take {plan.most_gas_wei} wei for gas: {signer} held"
                f" {wallet.balance_wei}, {reserved} of it reserved, and {wallet.least_wei} must be"
                " left: another claim was first; nothing was written"
            )


async def _taken(
    session: AsyncSession, signers: Sequence[Address], since: int
) -> Sequence[Row[Any]]:
    """Columns, not rows: in a storm there are hundreds of plans, and each claim asks."""
    found: Sequence[Row[Any]] = await at_once(
        session, _SPENT, {"signers": list(signers), "since": since}
    )
    return found


def _spent(taken: Sequence[Row[Any]], chain_id: int) -> Spent:
    value = sum(row.spends for row in taken if row.state in OPEN or row.state == TxState.CONFIRMED)
    gas_wei = sum(_gas_wei(row) for row in taken if row.chain_id == chain_id)
    return Spent(value=Base(value), gas_wei=Wei(gas_wei))


def _reserved(taken: Sequence[Row[Any]], chain_id: int, signer: Address, nonce: int) -> int:
    """Return what plans of `signer` from `nonce` on may take, or took, of its balance.

    Ended ones count too: the balance may have been read before they were mined, by a process that
    is a few blocks behind the one that saw their end.
    """
    return sum(
        _gas_wei(row)
        for row in taken
        if row.chain_id == chain_id and row.signer == signer and row.nonce >= nonce
    )


def _gas_wei(row: Row[Any]) -> int:
    """Open: the worst case.  Ended: what was paid, with the worst case of a data fee."""
    if row.state in OPEN:
        return int(row.gas_limit * row.max_fee_wei + row.data_fee_wei)
    receipt = receipt_in(row.receipt)
    if receipt is None:
        return 0
    return int(receipt.gas_used * receipt.effective_gas_price_wei + row.data_fee_wei)


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
