"""Dataclasses to rows and back.  Pure; with `people_rows`, the only place that makes rows.

A plan travels as a document: `plan_of` gives back exactly the plan that `intent_row` was given,
fields added later take their defaults.  The column types do the checking when a row is written;
here are the checks that span several fields.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    Attempt,
    BlockRef,
    Cost,
    Declined,
    FeedVerdict,
    Fees,
    Hash,
    Hold,
    Intent,
    MarketId,
    OpenPlan,
    Plan,
    PriceVerdict,
    Receipt,
    Refuse,
    Rehearsed,
    TxState,
)
from keeper.store.documents import digest, document, read_document
from keeper.store.tables import (
    AttemptRow,
    DecisionRow,
    HistoryRow,
    IntentRow,
    PriceRow,
    RehearsalRow,
    RoundRow,
)
from keeper.store.types import Damaged, Unfit, hex_text
from keeper.units import Base, Wad, Wei

_ADDRESS_BYTES: Final = 20


def intent_row(
    plan: Plan, signer: Address, nonce: int, *, at: float, health_after: Wad | None = None
) -> IntentRow:
    """The row of a plan that is being claimed."""
    intent = plan.intent
    hex_text("intents.plan.to", plan.to, _ADDRESS_BYTES)
    row = IntentRow(
        intent_id=intent.intent_id,
        chain_id=intent.position.market.chain_id,
        market=intent.position.market.name,
        account=intent.position.account,
        kind=str(intent.kind),
        signer=signer,
        nonce=nonce,
        holds_nonce=True,
        state=str(TxState.CLAIMED),
        decided_at=intent.block.timestamp,
        decided_block=intent.block.number,
        spends=plan.spends,
        gas_limit=plan.gas_limit,
        max_fee_wei=plan.max_fee_wei,
        data_fee_wei=plan.data_fee_wei,
        health_before=intent.health_before,
        health_after=health_after,
        plan=document(plan),
        claimed_at=at,
    )
    if plan_of(row) != plan:
        raise Unfit(
            f"intents.plan: {intent.intent_id} does not come back from its row as it went in; "
            "nothing was written"
        )
    return row


def further_rows(
    plan: Plan, row: IntentRow, healths: Sequence[Wad | None]
) -> tuple[IntentRow, ...]:
    """The rows of what else the transaction of `row` carries: its nonce, held by `row` alone."""
    further = []
    for part, health_after in zip(plan.parts[1:], healths, strict=True):
        other = intent_row(
            part, Address(row.signer), row.nonce, at=row.claimed_at, health_after=health_after
        )
        other.holds_nonce = False
        other.leader = row.intent_id
        further.append(other)
    return tuple(further)


def plan_of(row: IntentRow) -> Plan:
    """The plan exactly as it was claimed."""
    return plan_in(row.plan)


def plan_in(stored: Any) -> Plan:
    """The same from the column alone."""
    return _plan("intents.plan", stored)


def _plan(name: str, value: Any) -> Plan:
    try:
        data = bytes.fromhex(value["data"].removeprefix("0x"))
        return read_document(name, {**value, "data": data}, Plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{name}: what is stored is not a plan: {error}") from error


def open_plan(row: IntentRow, attempts: Sequence[AttemptRow]) -> OpenPlan:
    """The plan with its nonce and its attempts, oldest first."""
    return OpenPlan(
        plan=plan_of(row),
        signer=Address(row.signer),
        nonce=row.nonce,
        state=TxState(row.state),
        attempts=tuple(map(attempt, attempts)),
        sent_at_block=row.sent_at_block,
        receipt=receipt_of(row),
    )


def receipt_document(receipt: Receipt | None) -> Any:
    """A receipt as it is kept: what it says of intents is in their rows, not in its logs."""
    return None if receipt is None else document(replace(receipt, logs=()))


def receipt_of(row: IntentRow) -> Receipt | None:
    """What the chain said, or None as long as it said nothing."""
    return receipt_in(row.receipt)


def receipt_in(stored: Any) -> Receipt | None:
    """The same from the column alone."""
    return None if stored is None else read_document("intents.receipt", stored, Receipt)


def attempt_row(row: Any, value: Attempt, *, ordinal: int, at: float) -> AttemptRow:
    """The row of one signed transaction of the intent whose `row` this is, or its columns."""
    if not value.raw:
        raise Unfit(f"attempts.raw: {value.tx_hash} has no bytes; nothing was written")
    return AttemptRow(
        intent_id=row.intent_id,
        ordinal=ordinal,
        chain_id=row.chain_id,
        tx_hash=value.tx_hash,
        raw=value.raw,
        max_fee_wei=value.fees.max_fee_wei,
        priority_fee_wei=value.fees.priority_fee_wei,
        signed_at=at,
    )


def attempt(row: AttemptRow) -> Attempt:
    """The signed transaction, its bytes as they were signed."""
    fees = Fees(max_fee_wei=Wei(row.max_fee_wei), priority_fee_wei=Wei(row.priority_fee_wei))
    return Attempt(tx_hash=Hash(row.tx_hash), raw=row.raw, fees=fees)


def rehearsal_row(value: Rehearsed | Declined, *, at: float) -> RehearsalRow:
    """The row of what was not sent."""
    match value:
        case Rehearsed(plan=plan, health_after=health_after, cost=paid):
            intent, reason, outcome = plan.intent, plan.intent.reason, "rehearsed"
            stored, cost = document(plan), None if paid is None else document(paid)
        case Declined(intent=intent, reason=reason):
            outcome, stored, cost, health_after = "declined", None, None, None
    return RehearsalRow(
        intent_id=intent.intent_id,
        outcome=outcome,
        chain_id=intent.position.market.chain_id,
        market=intent.position.market.name,
        account=intent.position.account,
        decided_at=intent.block.timestamp,
        intent=document(intent),
        plan=stored,
        health_after=health_after,
        cost=cost,
        reason=reason,
        at=at,
    )


def rehearsed_intent(row: RehearsalRow) -> Intent:
    """What would have been done."""
    return read_document("rehearsals.intent", row.intent, Intent)


def rehearsed_cost(row: RehearsalRow) -> Cost | None:
    """What it would have paid, or None where that is not known."""
    return None if row.cost is None else read_document("rehearsals.cost", row.cost, Cost)


def history_row(assessment: Assessment) -> HistoryRow:
    """One point of a position's history; unknown health is a row with the reason."""
    position, block = assessment.position, assessment.block
    known = assessment if isinstance(assessment, Assessed) else None
    return HistoryRow(
        chain_id=position.market.chain_id,
        market=position.market.name,
        account=position.account,
        block_number=block.number,
        block_hash=block.hash,
        block_time=block.timestamp,
        protocol=position.market.protocol,
        health_factor=known.health_factor if known else None,
        collateral=known.collateral if known else None,
        debt=known.debt if known else None,
        reason="" if isinstance(assessment, Assessed) else assessment.reason,
    )


def price_row(block: BlockRef, market: MarketId, verdict: PriceVerdict) -> PriceRow:
    """One price at `block`, with its doubts and its reference."""
    reference = verdict.reference
    sources = "" if reference is None else ", ".join(quote.source for quote in reference.quotes)
    return PriceRow(
        chain_id=market.chain_id,
        market=market.name,
        asset=verdict.asset.address,
        block_number=block.number,
        block_hash=block.hash,
        block_time=block.timestamp,
        symbol=verdict.asset.symbol,
        price=verdict.price,
        reference=None if reference is None else reference.price,
        sources=sources if reference is None or reference.price is not None else reference.reason,
        causes=",".join(dict.fromkeys(suspicion.cause for suspicion in verdict.suspicions)),
        reason="; ".join(suspicion.reason for suspicion in verdict.suspicions),
    )


LATEST: Final = 2**40
"""Seconds since the epoch that a feed can mean: some 34,000 years."""


def round_row(chain_id: int, verdict: FeedVerdict) -> RoundRow:
    """One feed at the block it was judged at.  What a feed answers may be anything."""
    at = None if verdict.age_s is None else verdict.block.timestamp - verdict.age_s
    return RoundRow(
        chain_id=chain_id,
        feed=verdict.feed.address,
        block_number=verdict.block.number,
        block_hash=verdict.block.hash,
        block_time=verdict.block.timestamp,
        description=verdict.feed.description,
        decimals=verdict.feed.decimals,
        round_id=verdict.round_id,
        answer="" if verdict.answer is None else str(verdict.answer),
        updated_at=at if at is not None and 0 <= at < LATEST else None,
        state=str(verdict.state),
        cause="" if verdict.cause is None else str(verdict.cause),
        reason=verdict.reason,
    )


def decision_row(block: BlockRef, decision: Act | Hold | Refuse) -> DecisionRow:
    """One act or refusal at `block`."""
    match decision:
        case Act(intent=intent):
            position, verdict, reason = intent.position, "act", intent.reason
            intent_id: str | None = intent.intent_id
        case Refuse(position=position, reason=reason):
            verdict, intent_id = "refuse", None
        case Hold(position=position, reason=reason):
            verdict, intent_id = "hold", None
    market = position.market
    told = [block.hash, market.chain_id, market.name, position.account, verdict, intent_id, reason]
    return DecisionRow(
        key=digest(told),
        chain_id=market.chain_id,
        market=market.name,
        account=position.account,
        block_number=block.number,
        block_hash=block.hash,
        block_time=block.timestamp,
        verdict=verdict,
        intent_id=intent_id,
        reason=reason,
    )


def base(value: int | None) -> Base | None:
    """A column in base units."""
    return None if value is None else Base(value)


def wad(value: int | None) -> Wad | None:
    """A column in wad."""
    return None if value is None else Wad(value)
