"""What was done, what would have been done, and what was not: the rows of ``keeper actions``."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.model import Attempt, Cost, Hash, Intent, IntentKind, Receipt, TxState
from keeper.store.database import Database
from keeper.store.rows import attempt, plan_of, receipt_of, rehearsed_cost, rehearsed_intent, wad
from keeper.store.tables import AttemptRow, IntentRow, RehearsalRow
from keeper.store.whole import whole_class
from keeper.units import Base, Wad, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One intent and how far it came."""

    intent: Intent
    """Holds the health factor before."""
    state: str
    """A `TxState`, or ``rehearsed`` (nothing armed) or ``declined``."""
    reason: str
    """Why it was decided; why it was declined."""
    nonce: int | None
    attempts: tuple[Attempt, ...]
    """Oldest first; empty for what was never signed."""
    receipt: Receipt | None
    simulated_health: Wad | None
    """After the action, as simulated at the block of the decision."""
    observed_health: Wad | None
    """At the end of the block that it was mined in; None until it is settled, or if not read."""
    cost: Cost | None = None
    """Rehearsed only: what it would have paid."""

    @property
    def tx_hash(self) -> Hash | None:
        """Of the mined transaction, else of the newest attempt."""
        if self.receipt:
            return self.receipt.tx_hash
        return self.attempts[-1].tx_hash if self.attempts else None

    @property
    def gas_wei(self) -> Wei | None:
        """What was paid for gas; None as long as nothing was mined."""
        if self.receipt is None:
            return None
        return Wei(self.receipt.gas_used * self.receipt.effective_gas_price_wei)


EPISODE_S: Final = 2 * 3_600
"""A rehearsal within this of the last one of its kind and position is about the same danger."""


SENT: Final = (TxState.SENT, TxState.MINED, TxState.CONFIRMED, TxState.REVERTED)
"""States of what reached a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldHave:
    """What sending would have brought, as far as rehearsals can tell: the same danger counts once,
    and not at all where something was sent for the position before it was over.
    """

    liquidations: int = 0
    earned: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    """Expected profit less the simulated cost."""
    protections: int = 0
    saved: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    """What liquidations would have cost the owners at most."""
    paid_to_protect: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    """Simulated cost of the protections."""
    unpriced: int = 0
    """Rehearsals whose cost is not known: it counts as nothing."""


@whole_class
class SqlActions:
    """Reads the journal and the rehearsals of every chain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self, limit: int) -> tuple[Action, ...]:
        """The last `limit`, newest decision first."""
        journalled = (
            select(IntentRow)
            .order_by(col(IntentRow.decided_at).desc(), col(IntentRow.claimed_at).desc())
            .limit(limit)
        )
        rehearsed = (
            select(RehearsalRow)
            .order_by(col(RehearsalRow.decided_at).desc(), col(RehearsalRow.id).desc())
            .limit(limit)
        )
        return (await self._read(select_intents=journalled, select_rehearsals=rehearsed))[:limit]

    async def would_have(self) -> WouldHave:
        """Add up the first rehearsal of each danger in which nothing was sent."""
        statement = (
            select(RehearsalRow)
            .where(col(RehearsalRow.outcome) == "rehearsed")
            .order_by(col(RehearsalRow.decided_at), col(RehearsalRow.id))
        )
        counted = WouldHave()
        dangers: dict[tuple[int, str, str, IntentKind], _Danger] = {}
        async with self._database.read("actions.would_have") as session:
            sent = await _sent(session)
            async for row in await session.stream_scalars(statement):
                intent = rehearsed_intent(row)
                key = (row.chain_id, row.market, row.account, intent.kind)
                danger = dangers.get(key)
                if danger is not None and row.decided_at - danger.last_at < EPISODE_S:
                    danger.last_at = row.decided_at
                    continue
                if danger is not None:
                    counted = danger.added(counted, sent[key[:3]])
                dangers[key] = _Danger(
                    intent=intent, cost=rehearsed_cost(row), last_at=row.decided_at
                )
        for key, danger in dangers.items():
            counted = danger.added(counted, sent[key[:3]])
        return counted

    async def find(self, intent_id: str) -> tuple[Action, ...]:
        """Everything the database knows of one intent: none, one, or declined and then done."""
        return await self._read(
            select_intents=select(IntentRow).where(col(IntentRow.intent_id) == intent_id),
            select_rehearsals=select(RehearsalRow).where(col(RehearsalRow.intent_id) == intent_id),
        )

    async def _read(
        self, *, select_intents: Select[IntentRow], select_rehearsals: Select[RehearsalRow]
    ) -> tuple[Action, ...]:
        async with self._database.read("actions.read") as session:
            intents = (await session.scalars(select_intents)).all()
            rehearsals = (await session.scalars(select_rehearsals)).all()
            signers = {row.leader or row.intent_id for row in intents}
            attempts = (
                await session.scalars(
                    select(AttemptRow)
                    .where(col(AttemptRow.intent_id).in_(signers))
                    .order_by(col(AttemptRow.ordinal))
                )
            ).all()
        done = [_action(row, attempts) for row in intents]
        both = [*done, *map(_rehearsal, rehearsals)]
        return tuple(sorted(both, key=lambda item: item.intent.block.timestamp, reverse=True))


@dataclass(slots=True, kw_only=True)
class _Danger:
    """The first rehearsal of a danger, and when the last one was decided."""

    intent: Intent
    cost: Cost | None
    last_at: int

    def added(self, so_far: WouldHave, sent_at: Sequence[int]) -> WouldHave:
        """Count it in, unless something was sent from its first rehearsal on."""
        first_at = self.intent.block.timestamp
        if any(first_at <= at < self.last_at + EPISODE_S for at in sent_at):
            return so_far
        return _counted(so_far, self.intent, self.cost)


async def _sent(session: AsyncSession) -> Mapping[tuple[int, str, str], list[int]]:
    """When what was sent for each position was decided; nothing for the others."""
    found: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    statement = select(
        col(IntentRow.chain_id),
        col(IntentRow.market),
        col(IntentRow.account),
        col(IntentRow.decided_at),
    ).where(col(IntentRow.state).in_(SENT))
    for chain_id, market, account, decided_at in await session.execute(statement):
        found[chain_id, market, account].append(decided_at)
    return found


def _counted(so_far: WouldHave, intent: Intent, cost: Cost | None) -> WouldHave:
    paid = None if cost is None else cost.value
    unpriced = so_far.unpriced + (paid is None)
    match intent.kind:
        case IntentKind.LIQUIDATE:
            return replace(
                so_far,
                liquidations=so_far.liquidations + 1,
                earned=Base(so_far.earned + intent.expected_profit - (paid or 0)),
                unpriced=unpriced,
            )
        case IntentKind.TOP_UP | IntentKind.REPAY | IntentKind.DELEVERAGE:
            return replace(
                so_far,
                protections=so_far.protections + 1,
                saved=Base(so_far.saved + intent.value_at_risk),
                paid_to_protect=Base(so_far.paid_to_protect + (paid or 0)),
                unpriced=unpriced,
            )
        case _:
            return so_far


def _action(row: IntentRow, attempts: Sequence[AttemptRow]) -> Action:
    intent = plan_of(row).intent
    return Action(
        intent=intent,
        state=row.state,
        reason=intent.reason,
        nonce=row.nonce,
        attempts=tuple(
            attempt(item) for item in attempts if item.intent_id == (row.leader or row.intent_id)
        ),
        receipt=receipt_of(row),
        simulated_health=wad(row.health_after),
        observed_health=wad(row.health_mined),
    )


def _rehearsal(row: RehearsalRow) -> Action:
    return Action(
        intent=rehearsed_intent(row),
        state=row.outcome,
        reason=row.reason,
        nonce=None,
        attempts=(),
        receipt=None,
        simulated_health=wad(row.health_after),
        observed_health=None,
        cost=rehearsed_cost(row),
    )
