"""The journal: rows written before the key is touched.  Implements `keeper.ports.Journal`.

    CLAIMED -> SIGNED -> SENT -> MINED -> CONFIRMED | REVERTED | ABANDONED
                  ^________|  ^____|
       a bump appends an attempt  a reorg takes the receipt back

Two unique indexes guard what the checks below guard first: one open plan per position, one plan
per nonce of a signer.  A nonce is given out again only when its plan was abandoned before
anything was signed; then it is given out first, or the plans behind it would wait for ever.
The same fact told twice is harmless; another one about an ended plan is refused.

A plan that carries several intents has a row for each.  The first one's holds the nonce, the
attempts and what may be spent, and is the plan; the others' keep their positions from a second
plan, go with it from state to state in the same transactions, and end when it does, each with an
outcome and a part of the gas of its own.

One class, though it is long: whoever asks whether something can be done twice reads every step that
an intent can take in one place.

Caveat: a stale `chain_nonce` cannot make two plans share a nonce, but one that something else
has used makes a transaction that is never mined: the executor sees that by nonce and receipts.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from keeper.errors import JournalError
from keeper.model import (
    Address,
    Allowance,
    Attempt,
    AuditEvent,
    Declined,
    Ended,
    Message,
    OpenPlan,
    Plan,
    PositionId,
    Receipt,
    Spent,
    Submission,
    Submitted,
    TxState,
)
from keeper.store import outbox
from keeper.store.audit import append
from keeper.store.carried import ENDS, require_distinct, require_ends
from keeper.store.database import Database
from keeper.store.rows import (
    attempt_row,
    further_rows,
    intent_row,
    open_plan,
    receipt_document,
    receipt_in,
    rehearsal_row,
)
from keeper.store.spending import Spending, reverts
from keeper.store.tables import HOLDS_NONCE, IS_OPEN, OPEN, AttemptRow, IntentRow
from keeper.store.types import unsigned
from keeper.store.whole import whole_class
from keeper.store.write import Writing, at_once, insert_at_once, insert_missing, table_of
from keeper.units import UINT256_MAX, Wad

NONCE_MAX: Final = 2**63 - 2
"""Half of what EIP-2681 allows; no account comes near."""

_FROM: Final[dict[TxState, tuple[TxState, ...]]] = {
    TxState.SIGNED: (TxState.CLAIMED, TxState.SIGNED, TxState.SENT),
    TxState.SENT: (TxState.SIGNED, TxState.SENT),
    TxState.MINED: (TxState.SIGNED, TxState.SENT, TxState.MINED),
    TxState.CONFIRMED: (TxState.SIGNED, TxState.SENT, TxState.MINED),
    TxState.REVERTED: (TxState.SIGNED, TxState.SENT, TxState.MINED),
    TxState.ABANDONED: OPEN,
}
"""Which states a state may follow; `SqlJournal.unmined` alone goes back."""

# Built once and executed straight, some between a decision and its transaction on the wire: see
# `keeper.store.direct`.
_OURS: Final = (
    col(IntentRow.chain_id) == bindparam("chain_id"),
    col(IntentRow.signer) == bindparam("signer"),
)
_SAME: Final = select(col(IntentRow.intent_id)).where(
    or_(
        col(IntentRow.intent_id) == bindparam("intent_id"),
        and_(
            col(IntentRow.chain_id) == bindparam("chain_id"),
            col(IntentRow.market) == bindparam("market"),
            col(IntentRow.account) == bindparam("account"),
            IS_OPEN,
        ),
    )
)
_LAST_NONCE: Final = select(func.max(col(IntentRow.nonce)).label("nonce")).where(
    *_OURS, HOLDS_NONCE, col(IntentRow.nonce) >= bindparam("nonce")
)
_GIVEN: Final = aliased(IntentRow, name="given")
_FREED_NONCE: Final = select(func.min(col(IntentRow.nonce)).label("nonce")).where(
    *_OURS,
    col(IntentRow.state) == str(TxState.ABANDONED),
    col(IntentRow.holds_nonce).is_(False),
    col(IntentRow.leader).is_(None),
    col(IntentRow.nonce) >= bindparam("nonce"),
    col(IntentRow.nonce).not_in(
        select(col(_GIVEN.nonce)).where(
            col(_GIVEN.chain_id) == bindparam("chain_id"),
            col(_GIVEN.signer) == bindparam("signer"),
            col(_GIVEN.nonce) >= bindparam("nonce"),
            text("given.holds_nonce"),
        )
    ),
)
"""The least that was freed and not given out again.  One look at those in use, not one for each
that was freed: a journal may hold tens of thousands."""
_STEP: Final = select(
    col(IntentRow.intent_id),
    col(IntentRow.chain_id),
    col(IntentRow.market),
    col(IntentRow.account),
    col(IntentRow.signer),
    col(IntentRow.nonce),
    col(IntentRow.state),
    col(IntentRow.leader),
    col(IntentRow.receipt),
).where(col(IntentRow.intent_id) == bindparam("intent_id"))
_ATTEMPTS: Final = select(col(AttemptRow.tx_hash), col(AttemptRow.raw)).where(
    col(AttemptRow.intent_id) == bindparam("intent_id")
)
_WHOLE: Final = or_(
    col(IntentRow.intent_id) == bindparam("of"), col(IntentRow.leader) == bindparam("of")
)
"""An intent and what else its transaction carries."""
_SIGNED: Final = update(table_of(IntentRow)).where(_WHOLE).values(state=str(TxState.SIGNED))
_MINED: Final = update(table_of(IntentRow)).where(_WHOLE).values(state=str(TxState.MINED))
_RECEIPT: Final = (
    update(table_of(IntentRow))
    .where(col(IntentRow.intent_id) == bindparam("intent"))
    .values(receipt=bindparam("found"))
)
_UNMINED: Final = update(table_of(IntentRow)).where(_WHOLE).values(state=str(TxState.SENT))
_CARRIED: Final = select(
    col(IntentRow.intent_id),
    col(IntentRow.chain_id),
    col(IntentRow.market),
    col(IntentRow.account),
    col(IntentRow.signer),
    col(IntentRow.nonce),
).where(col(IntentRow.leader) == bindparam("of"))
"""What else the transaction of an intent carries."""
_END: Final = (
    update(table_of(IntentRow))
    .where(col(IntentRow.intent_id) == bindparam("intent"))
    .values(
        state=bindparam("as_state"),
        receipt=bindparam("found"),
        health_mined=bindparam("health"),
        ended_at=bindparam("at"),
    )
)
_FREE: Final = (
    update(table_of(IntentRow))
    .where(col(IntentRow.intent_id) == bindparam("of"))
    .values(holds_nonce=False)
)
_SENT: Final = (
    update(table_of(IntentRow))
    .where(_WHOLE)
    .values(state=str(TxState.SENT), sent_at_block=bindparam("at_block"))
)


@whole_class
class SqlJournal:
    """The plans of one chain."""

    def __init__(self, database: Database, *, chain_id: int) -> None:
        self._database = database
        self._chain_id = chain_id
        self._spending = Spending()

    async def claim(
        self,
        plan: Plan,
        signer: Address,
        chain_nonce: int,
        within: Allowance | None = None,
        healths: Sequence[Wad | None] = (),
    ) -> OpenPlan:
        """Take a nonce and write the plan as CLAIMED, in one exclusive transaction.

        The nonce is the least that was freed and is not below `chain_nonce`, else the greater of
        `chain_nonce` and one past the last nonce in use or used.  `within` is kept to in the same
        transaction: two processes with one key cannot both take what is left of a day's cap or of
        the key's balance.  `healths`: of each intent that it carries, as simulated; or none.
        """
        unsigned("chain_nonce", chain_nonce, NONCE_MAX)
        intent = plan.intent
        if intent.position.market.chain_id != self._chain_id:
            raise JournalError(
                f"{intent.intent_id} is for chain {intent.position.market.chain_id}, this journal "
                f"is for chain {self._chain_id}; nothing was written"
            )
        require_distinct(plan)
        async with self._database.write_directly("journal.claim") as session:
            for each in plan.intents:
                await self._refuse_second(session, each.intent_id, each.position)
            if within is not None:
                await self._spending.require_within(session, plan, signer, self._chain_id, within)
            nonce = await self._next_nonce(session, signer, chain_nonce)
            first, *others = healths or (None,) * len(plan.intents)
            at = self._database.now()
            row = intent_row(plan, signer, nonce, at=at, health_after=first)
            await insert_at_once(session, row)
            facts = [_fact("plan.claimed", row, to=plan.to, spends=plan.spends)]
            for other in further_rows(plan, row, others):
                await insert_at_once(session, other)
                facts.append(_fact("plan.claimed", other, to=plan.to, leader=row.intent_id))
            await append(session, facts, at=at)
        return open_plan(row, ())

    async def signed(self, intent_id: str, attempt: Attempt) -> None:
        """Append an attempt; state SIGNED.  Its bytes are durable when this returns."""
        async with self._database.write_directly("journal.signed") as session:
            row = await self._found(session, intent_id)
            attempts = await at_once(session, _ATTEMPTS, {"intent_id": intent_id})
            for known in attempts:
                if known.tx_hash == attempt.tx_hash:
                    if known.raw != attempt.raw:
                        raise JournalError(
                            f"{intent_id} already holds other bytes for {attempt.tx_hash}; do not "
                            "send either, and check the signer"
                        )
                    return
            _require_step(row, TxState.SIGNED)
            at = self._database.now()
            put = attempt_row(row, attempt, ordinal=len(attempts), at=at)
            await insert_at_once(session, put)
            await at_once(session, _SIGNED, {"of": intent_id})
            await append(session, [_fact("plan.signed", row, tx=attempt.tx_hash)], at=at)

    async def sent(self, intent_id: str, at_block: int) -> None:
        """State SENT; again after a re-broadcast, with the new block."""
        async with self._database.write_directly("journal.sent") as session:
            _require_step(await self._found(session, intent_id), TxState.SENT)
            await at_once(session, _SENT, {"of": intent_id, "at_block": at_block})

    async def mined(self, intent_id: str, receipt: Receipt) -> None:
        """State MINED: in a block that may still be orphaned."""
        async with self._database.write_directly("journal.mined") as session:
            row = await self._found(session, intent_id)
            attempts = await at_once(session, _ATTEMPTS, {"intent_id": intent_id})
            _require_signed(row, [attempt.tx_hash for attempt in attempts], receipt)
            _require_step(row, TxState.MINED)
            await at_once(session, _MINED, {"of": intent_id})
            kept = receipt_document(receipt)
            await at_once(session, _RECEIPT, {"intent": intent_id, "found": kept})

    async def unmined(self, intent_id: str) -> None:
        """Back to SENT: the block with the receipt is gone."""
        async with self._database.write_directly("journal.unmined") as session:
            row = await self._found(session, intent_id)
            if row.state not in {TxState.MINED, TxState.SENT}:
                raise JournalError(f"{intent_id} is {row.state}: it has no receipt to take back")
            await at_once(session, _UNMINED, {"of": intent_id})
            await at_once(session, _RECEIPT, {"intent": intent_id, "found": None})

    async def settle(
        self,
        intent_id: str,
        state: TxState,
        receipt: Receipt | None,
        messages: Sequence[Message],
        audit: Sequence[AuditEvent],
        *,
        further: Sequence[Ended] = (),
        health_after: Wad | None = None,
    ) -> None:
        """End the intent; its messages and audit rows are in the same transaction.

        ABANDONED before anything was signed frees the nonce.  The same end again is harmless.
        `further`: the ends of what else the transaction carried, exactly; what was abandoned with
        it need not be named.  Their parts of the gas and `receipt`'s are all that was used.
        """
        if state not in ENDS:
            raise JournalError(f"{intent_id}: {state} is not an end; nothing was written")
        async with self._database.write_directly("journal.settle") as session:
            row = await self._found(session, intent_id)
            whole = receipt_in(row.receipt)
            if row.state == state and whole == (receipt and replace(receipt, logs=())):
                return
            _require_step(row, state)
            attempts = await at_once(session, _ATTEMPTS, {"intent_id": intent_id})
            _require_end(row, state, receipt, [attempt.tx_hash for attempt in attempts])
            others = await at_once(session, _CARRIED, {"of": intent_id})
            ends = require_ends(
                row,
                [other.intent_id for other in others],
                state,
                whole=whole,
                receipt=receipt,
                further=further,
            )
            now = self._database.now()
            own = Ended(
                intent_id=intent_id, state=state, receipt=receipt, health_after=health_after
            )
            all_ends = (own, *ends)
            for end in all_ends:
                await at_once(session, _END, _end(end, now))
            if state is TxState.ABANDONED and not attempts:
                await at_once(session, _FREE, {"of": intent_id})
            await outbox.put(session, messages, at=now)
            tx = receipt.tx_hash if receipt else None
            facts = (
                _fact(f"plan.{end.state}", of, tx=tx)
                for end, of in zip(all_ends, (row, *others), strict=True)
            )
            await append(session, (*facts, *audit), at=now)

    async def open_plans(self, signer: Address) -> tuple[OpenPlan, ...]:
        """All of this signer on this chain that are not ended, by nonce."""
        async with self._database.read("journal.open_plans") as session:
            rows = (
                await session.scalars(
                    select(IntentRow)
                    .where(
                        *self._of(signer),
                        col(IntentRow.state).in_(OPEN),
                        col(IntentRow.leader).is_(None),
                    )
                    .order_by(col(IntentRow.nonce))
                )
            ).all()
            attempts: dict[str, list[AttemptRow]] = {row.intent_id: [] for row in rows}
            for one in await _attempts(session, list(attempts)):
                attempts[one.intent_id].append(one)
        return tuple(open_plan(row, attempts[row.intent_id]) for row in rows)

    async def watermark(self, signer: Address) -> int | None:
        """The highest nonce claimed on this chain, ended plans included, freed ones not.

        None when this journal never saw the signer.  A chain that is past it by more than one has
        seen transactions that this journal has not: an old backup, or another user of the key.
        """
        statement = (
            select(col(IntentRow.nonce))
            .where(*self._of(signer), HOLDS_NONCE)
            .order_by(col(IntentRow.nonce).desc())
            .limit(1)
        )
        async with self._database.read("journal.watermark") as session:
            found: int | None = (await session.execute(statement)).scalar_one_or_none()
            return found

    async def spent_since(self, signer: Address, since: int, *others: Address) -> Spent:
        """Of these keys' plans whose ``intent.block.timestamp >= since``, and of every open one.

        What was spent counts on all chains, gas on this journal's: another chain's coin is another.
        """
        async with self._database.read("journal.spent_since") as session:
            return await self._spending.spent(session, self._chain_id, (signer, *others), since)

    async def reverts(self, signer: Address, since: int) -> tuple[Plan, ...]:
        """The plans that reverted, by when they were decided, the oldest first.

        Of those decided at or after `since` and ended after the last one that was confirmed.  A
        transaction that carried several intents counts once, and as confirmed where one of them
        was.
        """
        async with self._database.read("journal.reverts") as session:
            return await reverts(session, self._of(signer), since)

    async def record_submission(self, *submissions: Submission) -> None:
        """Keep rehearsals and refusals, for ``keeper actions``; what was sent is a plan already.

        Of what one cap of the day declines, the first: the others would say the same.
        """
        at = self._database.now()
        rows = [
            rehearsal_row(one, at=at)
            for one in submissions
            if not isinstance(one, Submitted) and not (isinstance(one, Declined) and one.again)
        ]
        if rows:
            async with self._database.write("journal.record_submission") as session:
                await insert_missing(session, rows, ("intent_id", "outcome"))

    def _of(self, signer: Address) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return (col(IntentRow.chain_id) == self._chain_id, col(IntentRow.signer) == signer)

    async def _found(self, session: Writing, intent_id: str) -> Any:
        """Return the columns that a step needs, without the plan."""
        found = await at_once(session, _STEP, {"intent_id": intent_id})
        return self._own(intent_id, found[0] if found else None)

    def _own(self, intent_id: str, row: Any) -> Any:
        if row is None or row.chain_id != self._chain_id:
            raise JournalError(f"{intent_id} is not in the journal of chain {self._chain_id}")
        _require_own(row)
        return row

    async def _refuse_second(self, session: Writing, intent_id: str, position: PositionId) -> None:
        given = {
            "intent_id": intent_id,
            "chain_id": self._chain_id,
            "market": position.market.name,
            "account": position.account,
        }
        others = [row.intent_id for row in await at_once(session, _SAME, given)]
        if intent_id in others:
            raise JournalError(f"{intent_id} is in the journal already; nothing was written")
        if others:
            raise JournalError(f"{position} has an open plan, {others[0]}; nothing was written")

    async def _next_nonce(self, session: Writing, signer: Address, chain_nonce: int) -> int:
        given = {"chain_id": self._chain_id, "signer": signer, "nonce": chain_nonce}
        [last] = await at_once(session, _LAST_NONCE, given)
        [freed] = await at_once(session, _FREED_NONCE, given)
        following = chain_nonce if last.nonce is None else int(last.nonce) + 1
        return following if freed.nonce is None else min(int(freed.nonce), following)


def _fact(event: str, row: Any, **fields: str | int | None) -> AuditEvent:
    told: dict[str, str | int | None] = {
        "intent": row.intent_id,
        "chain": row.chain_id,
        "position": f"{row.market}:{row.account}",
        "signer": row.signer,
        "nonce": row.nonce,
    }
    return AuditEvent(event=event, fields={**told, **fields})


def _end(end: Ended, at: float) -> dict[str, Any]:
    return {
        "intent": end.intent_id,
        "as_state": str(end.state),
        "found": receipt_document(end.receipt),
        "health": end.health_after,
        "at": at,
    }


def _require_own(row: Any) -> None:
    if row.leader is not None:
        raise JournalError(
            f"{row.intent_id} has no transaction of its own: {row.leader}'s carries it; nothing was"
            " written"
        )


def _require_step(row: Any, state: TxState) -> None:
    if TxState(row.state) not in _FROM[state]:
        raise JournalError(f"{row.intent_id} is {row.state}: it cannot become {state}")


async def _attempts(session: AsyncSession, intent_ids: Sequence[str]) -> Sequence[AttemptRow]:
    if not intent_ids:
        return ()
    found = await session.scalars(
        select(AttemptRow)
        .where(col(AttemptRow.intent_id).in_(intent_ids))
        .order_by(col(AttemptRow.intent_id), col(AttemptRow.ordinal))
    )
    return found.all()


def _require_signed(row: Any, signed: Sequence[str], receipt: Receipt) -> None:
    if receipt.tx_hash not in signed:
        raise JournalError(
            f"{row.intent_id} never signed {receipt.tx_hash}, so its receipt belongs to something "
            "else; nothing was written"
        )
    unsigned("receipt.gas_used", receipt.gas_used, UINT256_MAX)
    unsigned("receipt.effective_gas_price_wei", receipt.effective_gas_price_wei, UINT256_MAX)


def _require_end(row: Any, state: TxState, receipt: Receipt | None, signed: Sequence[str]) -> None:
    if receipt is not None:
        _require_signed(row, signed, receipt)
    if state is TxState.ABANDONED:
        return
    succeeded = state is TxState.CONFIRMED
    if receipt is None or receipt.succeeded is not succeeded:
        raise JournalError(
            f"{row.intent_id} cannot be {state} on "
            f"{'no receipt' if receipt is None else 'a receipt that says otherwise'}; "
            "nothing was written"
        )
