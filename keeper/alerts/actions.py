"""What people read about actions: done, reverted, refused, rehearsed.  Pure."""

from dataclasses import dataclass
from typing import Final

from keeper.alerts.explorers import transaction_link
from keeper.alerts.machine import Change, Event
from keeper.alerts.numbers import gas_text, health_text, reason_text, short, symbol_text
from keeper.alerts.render import asset_text, name_of, native_symbol
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
    IntentKind.TOP_UP: "Top-up",
    IntentKind.REPAY: "Repayment",
    IntentKind.DELEVERAGE: "Deleverage",
    IntentKind.LIQUIDATE: "Liquidation",
    IntentKind.APPROVE: "Approval",
    IntentKind.DEPLOY: "Deployment",
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


def refused_line(event: Event, refused: Refusal, name: str) -> str:
    """Return ``Top-up for main not sent: <reason>. Nothing was spent.``"""
    noun = "Action" if refused.kind is None else _NOUN[refused.kind]
    still = "still " if event.change is Change.REPEATED else ""
    reason = reason_text(refused.reason)
    return f"❌ {noun} for {name} {still}not sent: {reason}. Nothing was spent."


def rehearsed_line(rehearsed: Rehearsed, name: str) -> str:
    """Return what an armed keeper would have done."""
    intent = rehearsed.plan.intent
    change = _change(intent, rehearsed.health_after)
    return f"✏️ Would {_act(intent, name)}{change}. Not armed: nothing was sent."


def outcome_messages(
    outcome: Outcome,
    watches: tuple[Watch, ...],
    operators: tuple[str, ...],
    done: Done | None = None,
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
            ),
            kind="action",
        )
        for chat in chats
    )


def outcome_text(outcome: Outcome, name: str, done: Done, *, owner: bool) -> str:
    """Return the text; `owner`: a liquidation is told from the side of whom it happened to."""
    intent = outcome.plan.intent
    noun = _NOUN[intent.kind]
    match outcome:
        case Confirmed(receipt=receipt):
            first = f"{_done_line(intent, name, done, owner=owner)}, {_cost(intent, receipt)}"
        case Reverted(receipt=receipt, reason=reason):
            why = f" ({reason_text(reason)})" if reason else ""
            first = (
                f"❌ {noun} for {name} reverted{why}: {_gas(intent, receipt)} was spent, "
                f"nothing else, tx {short(receipt.tx_hash)}"
            )
        case Abandoned(reason=reason, receipt=receipt):
            spent = "Nothing" if receipt is None else f"Only {_gas(intent, receipt)}"
            first = f"❌ {noun} for {name} given up: {reason_text(reason)}. {spent} was spent."
        case Unknown(reason=reason):
            first = (
                f"⚠️ {noun} for {name}: outcome unknown: {reason_text(reason)}. "
                "Nothing else is sent for it until it is known."
            )
    lines = [first]
    if not isinstance(outcome, Unknown) and outcome.receipt is not None:
        chain_id = intent.position.market.chain_id
        lines.append(transaction_link(chain_id, outcome.receipt.tx_hash))
    lines.append(f"keeper explain {intent.intent_id}")
    return "\n".join(lines)


def _done_line(intent: Intent, name: str, done: Done, *, owner: bool) -> str:
    change = _change(intent, done.health_after)
    spent = _spent(intent, done)
    match intent.kind:
        case IntentKind.TOP_UP:
            return f"✅ Added {spent} for {name}{change}"
        case IntentKind.REPAY:
            return f"✅ Repaid {spent} for {name}{change}"
        case IntentKind.DELEVERAGE:
            return f"✅ Deleveraged {name}: repaid {spent}{_sold(intent)}{change}"
        case IntentKind.APPROVE:
            return f"✅ Approved {spent}"
        case IntentKind.DEPLOY:
            return f"✅ Deployed the {intent.asset.symbol} at {short(intent.position.account)}"
        case IntentKind.LIQUIDATE:
            moved = f"repaid {spent}{_seized(intent, done)}{change}"
            return (
                f"🔴 {name} was liquidated: {moved}" if owner else f"✅ Liquidated {name}: {moved}"
            )


def _act(intent: Intent, name: str) -> str:
    """Return the act as a verb phrase: ``repay 14 600 USDC for main``."""
    spent = _spent(intent, Done())
    match intent.kind:
        case IntentKind.TOP_UP:
            return f"add {spent} for {name}"
        case IntentKind.REPAY:
            return f"repay {spent} for {name}"
        case IntentKind.DELEVERAGE:
            return f"deleverage {name}: repay {spent}{_sold(intent)}"
        case IntentKind.APPROVE:
            return f"approve {spent}"
        case IntentKind.DEPLOY:
            return f"deploy the {intent.asset.symbol} at {short(intent.position.account)}"
        case IntentKind.LIQUIDATE:
            return f"liquidate {name}: repay {spent}{_seized(intent, Done())}"


def _spent(intent: Intent, done: Done) -> str:
    """Return the amount moved, or the intent's own: a cap where the protocol may take less."""
    if done.spent is not None:
        return asset_text(intent.asset, done.spent)
    if intent.amount >= 2**255:  # "all of it", as the Pool has it
        return f"all {symbol_text(intent.asset.symbol)}"
    cap = "up to " if intent.kind is IntentKind.LIQUIDATE else ""
    return cap + asset_text(intent.asset, intent.amount)


def _sold(intent: Intent) -> str:
    if intent.collateral is None:
        return ""
    return f" with at most {asset_text(intent.collateral, intent.seized)} of its own"


def _seized(intent: Intent, done: Done) -> str:
    if intent.collateral is None:
        return ""
    if done.seized is None:
        return f" for {symbol_text(intent.collateral.symbol)}"
    return f" for {asset_text(intent.collateral, done.seized)}"


def _change(intent: Intent, after: Wad | None) -> str:
    if intent.kind in (IntentKind.APPROVE, IntentKind.DEPLOY):
        return ""
    arrow = f": {health_text(intent.health_before)} → "
    return arrow + ("unknown" if after is None else health_text(after))


def _gas(intent: Intent, receipt: Receipt) -> str:
    cost = Wei(receipt.gas_used * receipt.effective_gas_price_wei)
    return f"gas {gas_text(cost)} {native_symbol(intent.position.market.chain_id)}"


def _cost(intent: Intent, receipt: Receipt) -> str:
    return f"{_gas(intent, receipt)}, tx {short(receipt.tx_hash)}"


def _severity(outcome: Outcome) -> Severity:
    match outcome:
        case Confirmed():
            return Severity.INFO
        case Reverted() | Unknown() | Abandoned():
            return Severity.WARNING
