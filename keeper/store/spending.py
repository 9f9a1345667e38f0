"""What the journal's plans spent or may spend, and what of them reverted: columns added up.

Each claim asks for all plans of a day, in the very transaction that claims; in a storm there are
hundreds.  What one of them may take never changes while it is open, nor what it took once it has
ended: both are remembered, and only which plans there are, and in what state, is read each time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, CompoundSelect, Select, bindparam, select, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.errors import CapOfDay, PolicyViolation
from keeper.model import Address, Allowance, Plan, Spent, TxState
from keeper.store.rows import plan_in, receipt_in
from keeper.store.tables import IS_OPEN, OPEN, IntentRow
from keeper.store.write import Writing, at_once, in_lots, named
from keeper.strategies.text import usd, usd_up
from keeper.units import Base, Wei

# Executed between a decision and its transaction on the wire: see `store.direct`.


@cache
def _those(signers: int) -> CompoundSelect[str, str]:
    """Which plans there are of so many signers: ``signer_0`` and on, since ``since`` or open."""
    theirs = select(col(IntentRow.intent_id), col(IntentRow.state)).where(
        col(IntentRow.signer).in_(named("signer", signers))
    )
    return union(
        theirs.where(col(IntentRow.decided_at) >= bindparam("since")), theirs.where(IS_OPEN)
    )


@cache
def _amounts_of(plans: int) -> Select[Any]:
    """What so many plans may take, or took: ``name_0`` and on."""
    return select(
        col(IntentRow.intent_id),
        col(IntentRow.chain_id),
        col(IntentRow.signer),
        col(IntentRow.nonce),
        col(IntentRow.state),
        col(IntentRow.spends),
        col(IntentRow.gas_limit),
        col(IntentRow.max_fee_wei),
        col(IntentRow.data_fee_wei),
        col(IntentRow.receipt),
    ).where(col(IntentRow.intent_id).in_(named("name", plans)))


FORGET_FROM: Final = 1_000
"""So many plans that do not count any more are remembered before they are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What one plan may take, or took."""

    chain_id: int
    signer: str
    nonce: int
    open: bool
    spends: int
    """Base units; 0 where it ended otherwise than confirmed."""
    gas_wei: int
    """Open: the worst case.  Ended: what was paid, with the worst case of a data fee."""


class Spending:
    """What one journal remembers of amounts that do not change."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[str, _Taken] = {}

    async def spent(
        self, session: Writing, chain_id: int, signers: Sequence[Address], since: int
    ) -> Spent:
        """Return what plans of `signers` took that were decided at or after `since`, or are open.

        Value on all chains, gas on `chain_id`.
        """
        return _spent(await self._taken(session, signers, since), chain_id)

    async def require_within(
        self, session: Writing, plan: Plan, signer: Address, chain_id: int, within: Allowance
    ) -> None:
        """Raise `PolicyViolation` where `plan` on top of what others claimed is beyond `within`."""
        keys = (signer, *within.together_with)
        taken = await self._taken(session, keys, within.since)
        before = _spent(taken, chain_id)
        value, gas_wei = before.value + plan.spends, before.gas_wei + plan.most_gas_wei
        if value > within.value:
            told = f"spending to {usd_up(Base(value))}, {usd(within.value)}"
            raise _beyond(plan, told, "spending", before.value, within.value)
        if gas_wei > within.gas_wei:
            told = f"gas to {gas_wei} wei, {within.gas_wei}"
            raise _beyond(plan, told, "gas", before.gas_wei, within.gas_wei)
        if (wallet := within.wallet) is not None:
            reserved = _reserved(taken, chain_id, signer, wallet.nonce)
            left = wallet.balance_wei - reserved - plan.most_gas_wei
            if left < wallet.least_wei:
                raise PolicyViolation(
                    f"{plan.intent.intent_id} may take {plan.most_gas_wei} wei for gas: {signer}"
                    f" held {wallet.balance_wei}, {reserved} of it reserved, and"
                    f" {wallet.least_wei} must be left: another claim was first; nothing was"
                    " written"
                )

    async def _taken(
        self, session: Writing, signers: Sequence[Address], since: int
    ) -> list[_Taken]:
        known = self._known
        keys = {f"signer_{n}": signer for n, signer in enumerate(signers)}
        those = await at_once(session, _those(len(keys)), {**keys, "since": since})
        found = {name: one for name, state in those if (one := _known(known.get(name), state))}
        news = [name for name, _ in those if name not in found]
        for lot, names in in_lots("name", news):
            for row in await at_once(session, _amounts_of(lot), names):
                found[row.intent_id] = _amounts(row)
        if len(known) > len(those) + FORGET_FROM:
            known.clear()
        for name, one in found.items():
            if one.open < known.get(name, one).open or name not in known:
                known[name] = one
        return list(found.values())


def _beyond(plan: Plan, told: str, cap: str, taken: int, most: int) -> CapOfDay:
    return CapOfDay(
        f"{plan.intent.intent_id} would bring the day's {told} is the cap: another claim was first;"
        " nothing was written",
        cap=cap,
        taken=taken,
        most=most,
    )


def _known(taken: _Taken | None, state: str) -> _Taken | None:
    """Return what is known of a plan in this state."""
    return taken if taken is not None and taken.open == (state in OPEN) else None


def _amounts(row: Any) -> _Taken:
    is_open = row.state in OPEN
    counts = is_open or row.state == TxState.CONFIRMED
    return _Taken(
        chain_id=row.chain_id,
        signer=row.signer,
        nonce=row.nonce,
        open=is_open,
        spends=row.spends if counts else 0,
        gas_wei=_gas_wei(row),
    )


def _spent(taken: Iterable[_Taken], chain_id: int) -> Spent:
    value = gas_wei = 0
    for one in taken:
        value += one.spends
        if one.chain_id == chain_id:
            gas_wei += one.gas_wei
    return Spent(value=Base(value), gas_wei=Wei(gas_wei))


def _reserved(taken: Iterable[_Taken], chain_id: int, signer: Address, nonce: int) -> int:
    """Return what plans of `signer` from `nonce` on may take, or took, of its balance.

    Ended ones count too: the balance may have been read before they were mined, by a process that
    is a few blocks behind the one that saw their end.
    """
    return sum(
        one.gas_wei
        for one in taken
        if one.chain_id == chain_id and one.signer == signer and one.nonce >= nonce
    )


def _gas_wei(row: Any) -> int:
    if row.state in OPEN:
        return int(row.gas_limit * row.max_fee_wei + row.data_fee_wei)
    receipt = receipt_in(row.receipt)
    if receipt is None:
        return 0
    return int(receipt.gas_used * receipt.effective_gas_price_wei + row.data_fee_wei)


async def reverts(
    session: AsyncSession, of: Sequence[ColumnElement[bool]], since: int
) -> tuple[Plan, ...]:
    """Return what reverted in a row, oldest decision first: see `ports.Journal`.

    A transaction that carried several intents counts once, and as confirmed where one of them was.

    `of`: whose plans, on which chain.
    """
    kept = IntentRow
    statement = (
        select(col(kept.state), col(kept.leader), col(kept.plan))
        .where(
            *of,
            col(kept.state).in_((TxState.CONFIRMED, TxState.REVERTED)),
            col(kept.decided_at) >= since,
        )
        .order_by(col(kept.ended_at).desc(), col(kept.nonce).desc(), col(kept.state))
    )  # of one transaction what was confirmed comes first
    found: list[Plan] = []
    for state, leader, plan in await session.execute(statement):
        if state == TxState.CONFIRMED:
            break
        if leader is None:  # the transaction's own
            found.append(plan_in(plan))
    found.reverse()
    return tuple(sorted(found, key=lambda plan: plan.intent.block.timestamp))
