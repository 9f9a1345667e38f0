"""What people read about actions: done, reverted, refused, rehearsed.  Pure."""

from dataclasses import dataclass
from typing import Final

from keeper.alerts.explorers import transaction_link
from keeper.alerts.machine import Change, Event
from keeper.alerts.numbers import gas_text, health_text, reason_text, short, symbol_text
from keeper.alerts.render import asset_text, name_of, native_symbol
from keeper.alerts.speech import ENGLISH, Speech, SpeechOf, english, noted
from keeper.model import (
    Abandoned,
    Confirmed,
    Declined,
    Intent,
    IntentKind,
    Message,
    Outcome,
    PositionId,
    Receipt,
    Refuse,
    Rehearsed,
    Reverted,
    Severity,
    Unknown,
    Watch,
)
from keeper.units import Raw, Wad, Wei

_NOUN: Final = {
    IntentKind.TOP_UP: noted("Top-up"),
    IntentKind.REPAY: noted("Repayment"),
    IntentKind.DELEVERAGE: noted("Deleverage"),
    IntentKind.LIQUIDATE: noted("Liquidation"),
    IntentKind.APPROVE: noted("Approval"),
    IntentKind.DEPLOY: noted("Deployment"),
}
PROTECTION: Final = frozenset({IntentKind.TOP_UP, IntentKind.REPAY, IntentKind.DELEVERAGE})
"""What is done for the owner: who watches the account hears about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that should have been done to a position and was not."""

    position: PositionId
    reason: str
    kind: IntentKind | None = None
    """What it would have been, where that is known: decides who hears of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an action really moved, where the caller knows it; else the intent's limits are said."""

    spent: Raw | None = None
    """Of `Intent.asset`."""
    seized: Raw | None = None
    """Of `Intent.collateral`."""
    health_after: Wad | None = None


def refusal(of: Refuse | Declined, kind: IntentKind | None = None) -> Refusal:
    """Return a decision's or the executor's refusal in one shape; `kind` is the strategy's."""
    match of:
        case Refuse(position=position, reason=reason):
            return Refusal(position=position, reason=reason, kind=kind)
        case Declined(intent=intent, reason=reason):
            return Refusal(position=intent.position, reason=reason, kind=intent.kind)


def refused_line(event: Event, refused: Refusal, name: str, say: Speech = ENGLISH) -> str:
    """Return ``Top-up for main not sent: <reason>. Nothing was spent.``"""
    values = {
        "noun": say("Action") if refused.kind is None else say(_NOUN[refused.kind]),
        "name": name,
        "reason": reason_text(refused.reason, say),
    }
    if event.change is Change.REPEATED:
        told = say("{noun} for {name} still not sent: {reason}. Nothing was spent.", **values)
    else:
        told = say("{noun} for {name} not sent: {reason}. Nothing was spent.", **values)
    return f"❌ {told}"


def rehearsed_line(rehearsed: Rehearsed, name: str, say: Speech = ENGLISH) -> str:
    """Return what an armed keeper would have done."""
    intent = rehearsed.plan.intent
    change = _change(intent, rehearsed.health_after, say)
    act = _act(intent, name, say) + change
    return "✏️ " + say("Would {act}. Not armed: nothing was sent.", act=act)


def outcome_messages(
    outcome: Outcome,
    watches: tuple[Watch, ...],
    operators: tuple[str, ...],
    done: Done | None = None,
    speech: SpeechOf = english,
) -> tuple[Message, ...]:
    """Return what is said of a transaction's outcome, one message a chat, for `Journal.settle`.

    Operators hear all of it; who watches the account hears what was done to or for it.  The key
    holds intent and outcome: saying it again makes no second row.
    """
    intent = outcome.plan.intent
    facts = done or Done()
    labels = {
        watch.chat: watch.label for watch in watches if watch.account == intent.position.account
    }
    own = intent.kind not in (IntentKind.APPROVE, IntentKind.DEPLOY)
    chats = dict.fromkeys((*operators, *(labels if own else ())))
    return tuple(
        Message(
            key=f"action/{intent.intent_id}#{type(outcome).__name__.lower()}@{chat}",
            chat=chat,
            severity=_severity(outcome),
            text=outcome_text(
                outcome,
                name_of(labels.get(chat, ""), intent.position.account),
                facts,
                owner=chat in labels and chat not in operators,
                say=speech(chat),
            ),
            kind="action",
        )
        for chat in chats
    )


def outcome_text(
    outcome: Outcome, name: str, done: Done, *, owner: bool, say: Speech = ENGLISH
) -> str:
    """Return the text; `owner`: a liquidation is told from the side of whom it happened to."""
    intent = outcome.plan.intent
    noun = say(_NOUN[intent.kind])
    match outcome:
        case Confirmed(receipt=receipt):
            done_line = _done_line(intent, name, done, owner=owner, say=say)
            first = f"{done_line}, {_cost(intent, receipt, say)}"
        case Reverted(receipt=receipt):
            first = "❌ " + say(
                "{noun} for {name} reverted: {gas} was spent, nothing else, tx {tx}",
                noun=noun,
                name=name,
                gas=_gas(intent, receipt, say),
                tx=short(receipt.tx_hash),
            )
        case Abandoned(reason=reason, receipt=None):
            first = "❌ " + say(
                "{noun} for {name} given up: {reason}. Nothing was spent.",
                noun=noun,
                name=name,
                reason=reason_text(reason, say),
            )
        case Abandoned(reason=reason, receipt=Receipt() as receipt):
            first = "❌ " + say(
                "{noun} for {name} given up: {reason}. Only {gas} was spent.",
                noun=noun,
                name=name,
                reason=reason_text(reason, say),
                gas=_gas(intent, receipt, say),
            )
        case Unknown(reason=reason):
            first = "⚠️ " + say(
                "{noun} for {name}: outcome unknown: {reason}. "
                "Nothing else is sent for it until it is known.",
                noun=noun,
                name=name,
                reason=reason_text(reason, say),
            )
    lines = [first]
    if not isinstance(outcome, Unknown) and outcome.receipt is not None:
        chain_id = intent.position.market.chain_id
        lines.append(transaction_link(chain_id, outcome.receipt.tx_hash))
    lines.append(f"keeper explain {intent.intent_id}")
    return "\n".join(lines)


def _done_line(intent: Intent, name: str, done: Done, *, owner: bool, say: Speech) -> str:
    values = {
        "name": name,
        "spent": _spent(intent, done, say),
        "sold": _sold(intent, say),
        "seized": _seized(intent, done, say),
        "change": _change(intent, done.health_after, say),
    }
    mark = "✅"
    match intent.kind:
        case IntentKind.TOP_UP:
            told = say("Added {spent} for {name}{change}", **values)
        case IntentKind.REPAY:
            told = say("Repaid {spent} for {name}{change}", **values)
        case IntentKind.DELEVERAGE:
            told = say("Deleveraged {name}: repaid {spent}{sold}{change}", **values)
        case IntentKind.APPROVE:
            told = say("Approved {spent}", **values)
        case IntentKind.DEPLOY:
            at = short(intent.position.account)
            told = say("Deployed the {what} at {at}", what=intent.asset.symbol, at=at)
        case IntentKind.LIQUIDATE if owner:
            mark = "🔴"
            told = say("{name} was liquidated: repaid {spent}{seized}{change}", **values)
        case IntentKind.LIQUIDATE:
            told = say("Liquidated {name}: repaid {spent}{seized}{change}", **values)
    return f"{mark} {told}"


def _act(intent: Intent, name: str, say: Speech) -> str:
    """Return the act as a verb phrase: ``repay 14 600 USDC for main``."""
    values = {
        "name": name,
        "spent": _spent(intent, Done(), say),
        "sold": _sold(intent, say),
        "seized": _seized(intent, Done(), say),
    }
    match intent.kind:
        case IntentKind.TOP_UP:
            return say("add {spent} for {name}", **values)
        case IntentKind.REPAY:
            return say("repay {spent} for {name}", **values)
        case IntentKind.DELEVERAGE:
            return say("deleverage {name}: repay {spent}{sold}", **values)
        case IntentKind.APPROVE:
            return say("approve {spent}", **values)
        case IntentKind.DEPLOY:
            at = short(intent.position.account)
            return say("deploy the {what} at {at}", what=intent.asset.symbol, at=at)
        case IntentKind.LIQUIDATE:
            return say("liquidate {name}: repay {spent}{seized}", **values)


def _spent(intent: Intent, done: Done, say: Speech) -> str:
    """Return the amount moved, or the intent's own: a cap where the protocol may take less."""
    if done.spent is not None:
        return asset_text(intent.asset, done.spent)
    if intent.amount >= 2**255:  # "all of it", as the Pool has it
        return say("all {symbol}", symbol=symbol_text(intent.asset.symbol))
    amount = asset_text(intent.asset, intent.amount)
    return say("up to {amount}", amount=amount) if intent.kind is IntentKind.LIQUIDATE else amount


def _sold(intent: Intent, say: Speech) -> str:
    if intent.collateral is None:
        return ""
    most = asset_text(intent.collateral, intent.seized)
    return say(" with at most {amount} of its own", amount=most)


def _seized(intent: Intent, done: Done, say: Speech) -> str:
    if intent.collateral is None:
        return ""
    if done.seized is None:
        return say(" for {amount}", amount=symbol_text(intent.collateral.symbol))
    return say(" for {amount}", amount=asset_text(intent.collateral, done.seized))


def _change(intent: Intent, after: Wad | None, say: Speech) -> str:
    if intent.kind in (IntentKind.APPROVE, IntentKind.DEPLOY):
        return ""
    arrow = f": {health_text(intent.health_before, say)} → "
    return arrow + (say("unknown") if after is None else health_text(after, say))


def _gas(intent: Intent, receipt: Receipt, say: Speech) -> str:
    cost = gas_text(Wei(receipt.gas_used * receipt.effective_gas_price_wei))
    coin = native_symbol(intent.position.market.chain_id)
    return say("gas {amount} {coin}", amount=cost, coin=coin)


def _cost(intent: Intent, receipt: Receipt, say: Speech) -> str:
    return f"{_gas(intent, receipt, say)}, tx {short(receipt.tx_hash)}"


def _severity(outcome: Outcome) -> Severity:
    match outcome:
        case Confirmed():
            return Severity.INFO
        case Reverted() | Unknown() | Abandoned():
            return Severity.WARNING
