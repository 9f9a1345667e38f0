"""Dataclasses to rows and back.  Pure, and the only place that makes rows.

A plan travels as a document: `plan_of` gives back exactly the plan that `intent_row` was given,
fields added later take their defaults.  The column types do the checking when a row is written;
here are the checks that span several fields.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar

import msgspec

from keeper.model import (
    Act,
    Address,
    AlertLevel,
    AlertState,
    Assessed,
    Assessment,
    Attempt,
    BlockRef,
    Button,
    ChatHours,
    Declined,
    Fees,
    Hash,
    HeldLine,
    Hold,
    Hush,
    Intent,
    MarketId,
    Message,
    OpenPlan,
    Plan,
    PriceVerdict,
    Receipt,
    Refuse,
    Rehearsed,
    Severity,
    Thresholds,
    TxState,
    Watch,
)
from keeper.store.tables import (
    AlertRow,
    AttemptRow,
    DecisionRow,
    HeldRow,
    HistoryRow,
    HoursRow,
    HushRow,
    IntentRow,
    OutboxRow,
    PriceRow,
    RehearsalRow,
    WatchRow,
)
from keeper.store.types import Damaged, Unfit, canonical, hex_text
from keeper.units import Base, Wad, Wei

T = TypeVar("T")

PRIORITY: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
"""Delivery order; the smaller the sooner."""
_ADDRESS_BYTES: Final = 20


def document(value: object) -> Any:
    """Plain values of a dataclass; bytes become ``0x`` text, integers stay integers."""
    return _hexed(msgspec.to_builtins(value, builtin_types=(bytes,)))


def _hexed(value: Any) -> Any:
    match value:
        case bytes():
            return f"0x{value.hex()}"
        case dict():
            return {key: _hexed(item) for key, item in value.items()}
        case _:
            return value


def read_document(name: str, value: Any, kind: type[T]) -> T:
    """The dataclass a document was made from.  Raises `Damaged` naming the column."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, TypeError) as error:
        raise Damaged(f"{name}: what is stored is not a {kind.__name__}: {error}") from error


def digest(value: object) -> str:
    """``0x`` and the SHA-256 of the canonical JSON of `value`."""
    return f"0x{hashlib.sha256(canonical(value).encode()).hexdigest()}"


# --- the journal ----------------------------------------------------------------------------


def intent_row(plan: Plan, signer: Address, nonce: int, *, at: float) -> IntentRow:
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
        health_before=intent.health_before,
        plan=document(plan),
        claimed_at=at,
    )
    if plan_of(row) != plan:
        raise Unfit(
            f"intents.plan: {intent.intent_id} does not come back from its row as it went in; "
            "nothing was written"
        )
    return row


def plan_of(row: IntentRow) -> Plan:
    """The plan exactly as it was claimed."""
    return _plan("intents.plan", row.plan)


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


def receipt_of(row: IntentRow) -> Receipt | None:
    """What the chain said, or None as long as it said nothing."""
    if row.receipt is None:
        return None
    return read_document("intents.receipt", row.receipt, Receipt)


def attempt_row(row: IntentRow, value: Attempt, *, ordinal: int, at: float) -> AttemptRow:
    """The row of one signed transaction."""
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
        case Rehearsed(plan=plan, health_after=health_after):
            intent, reason, outcome = plan.intent, plan.intent.reason, "rehearsed"
            stored = document(plan)
        case Declined(intent=intent, reason=reason):
            outcome, stored, health_after = "declined", None, None
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
        reason=reason,
        at=at,
    )


def rehearsed_intent(row: RehearsalRow) -> Intent:
    """What would have been done."""
    return read_document("rehearsals.intent", row.intent, Intent)


# --- one pass -------------------------------------------------------------------------------


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


def alert_row(state: AlertState) -> AlertRow:
    """The row of an alert that is not clear."""
    return AlertRow(
        chat=state.chat,
        rule=state.rule,
        subject=state.subject,
        level=int(state.level),
        fired_at=state.fired_at,
        said_at=state.said_at,
        said_health=state.said_health,
        lowest=state.lowest,
        clear_since=state.clear_since,
        serial=state.serial,
        level_at=state.level_at,
        escalated=state.escalated,
    )


def alert_state(row: AlertRow) -> AlertState:
    """The alert as it was left."""
    return AlertState(
        chat=row.chat,
        rule=row.rule,
        subject=row.subject,
        level=AlertLevel(row.level),
        fired_at=row.fired_at,
        said_at=row.said_at,
        said_health=None if row.said_health is None else Wad(row.said_health),
        lowest=None if row.lowest is None else Wad(row.lowest),
        clear_since=row.clear_since,
        serial=row.serial,
        level_at=row.level_at,
        escalated=row.escalated,
    )


def hush_row(value: Hush, *, at: float) -> HushRow:
    """The row of an acknowledgement or a snooze."""
    return HushRow(
        chat=value.chat,
        rule=value.rule,
        subject=value.subject,
        fired_at=value.fired_at,
        level=int(value.level),
        until=value.until,
        by=value.by,
        at=at,
    )


def hush(row: HushRow) -> Hush:
    """The hush as it was said."""
    return Hush(
        chat=row.chat,
        rule=row.rule,
        subject=row.subject,
        fired_at=row.fired_at,
        level=AlertLevel(row.level),
        until=row.until,
        by=row.by,
    )


def hours_row(value: ChatHours) -> HoursRow:
    """The row of a chat's hours.  Raises `Unfit` for a minute that no day has."""
    for minute in (value.quiet_from, value.quiet_to, value.digest_at):
        if minute is not None and not 0 <= minute < 24 * 60:
            raise Unfit(f"chat_hours: {minute} is no minute of a day; nothing was written")
    if (value.quiet_from is None) != (value.quiet_to is None):
        raise Unfit("chat_hours: quiet hours need both ends; nothing was written")
    return HoursRow(
        chat=value.chat,
        quiet_from=value.quiet_from,
        quiet_to=value.quiet_to,
        digest_at=value.digest_at,
        zone=value.zone,
        digested_at=value.digested_at,
    )


def hours(row: HoursRow) -> ChatHours:
    """A chat's hours."""
    return ChatHours(
        chat=row.chat,
        quiet_from=row.quiet_from,
        quiet_to=row.quiet_to,
        digest_at=row.digest_at,
        zone=row.zone,
        digested_at=row.digested_at,
    )


def held_row(value: HeldLine) -> HeldRow:
    """The row of a line that waits for the digest."""
    return HeldRow(key=value.key, chat=value.chat, at=value.at, text=value.text)


def held_line(row: HeldRow) -> HeldLine:
    """The line that waits."""
    return HeldLine(chat=row.chat, at=row.at, key=row.key, text=row.text)


def outbox_row(message: Message, *, at: float) -> OutboxRow:
    """The row of a message that nobody has tried to deliver; due at once."""
    if not message.key:
        raise Unfit(f"outbox.key: a message to {message.chat} has none; nothing was written")
    return OutboxRow(
        key=message.key,
        chat=message.chat,
        severity=str(message.severity),
        priority=PRIORITY[message.severity],
        kind=message.kind,
        text=message.text,
        state="pending",
        attempts=0,
        next_attempt_at=at,
        created_at=at,
        error="",
        thread=message.key.partition("#")[0],
        extra=_extra(message),
    )


def _extra(message: Message) -> Any:
    """Return buttons and chart as plain values; None for a message without either."""
    if not message.buttons and not message.chart:
        return None
    return {
        "buttons": [[button.label, button.data] for button in message.buttons],
        "chart": message.chart,
    }


def message(row: OutboxRow) -> Message:
    """The message as it will be sent."""
    extra = row.extra or {}
    return Message(
        key=row.key,
        chat=row.chat,
        severity=Severity(row.severity),
        text=row.text,
        kind=row.kind,
        buttons=tuple(Button(label=label, data=data) for label, data in extra.get("buttons", ())),
        chart=extra.get("chart", ""),
    )


# --- people ---------------------------------------------------------------------------------


def watch_row(value: Watch, *, at: float) -> WatchRow:
    """The row of a watch.  Raises `Unfit` for thresholds that do not fall."""
    levels = value.thresholds
    if levels is not None and any(
        upper <= lower
        for upper, lower in pairwise((levels.info, levels.warning, levels.critical, 0))
    ):
        raise Unfit(
            f"watches: thresholds {levels.info}, {levels.warning}, {levels.critical} wad do not "
            "fall from info to warning to critical; nothing was written"
        )
    return WatchRow(
        chat=value.chat,
        account=value.account,
        label=value.label,
        label_key=label_key(value.label),
        info=levels.info if levels else None,
        warning=levels.warning if levels else None,
        critical=levels.critical if levels else None,
        changed_at=at,
    )


def label_key(label: str) -> str | None:
    """What makes two labels the same: case and outer blanks do not count; None without one."""
    return label.strip().casefold() or None


def watch(row: WatchRow) -> Watch:
    """The watch; without thresholds of its own it takes the market's."""
    thresholds = None
    if row.info is not None and row.warning is not None and row.critical is not None:
        thresholds = Thresholds(
            info=Wad(row.info), warning=Wad(row.warning), critical=Wad(row.critical)
        )
    return Watch(
        chat=row.chat, account=Address(row.account), label=row.label, thresholds=thresholds
    )


# --- readings ------------------------------------------------------------------------------


def base(value: int | None) -> Base | None:
    """A column in base units."""
    return None if value is None else Base(value)


def wad(value: int | None) -> Wad | None:
    """A column in wad."""
    return None if value is None else Wad(value)
