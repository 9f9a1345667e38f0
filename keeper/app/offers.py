"""A top-up that a person asks for: planned from the last reading, simulated, sent on a second word.

The same executor, policy and journal as everything else.  Authority over an account is the entry
of the configuration that protects it: for any other there is no offer, whoever asks.
"""

from collections.abc import Sequence
from dataclasses import replace

from keeper.alerts.actions import rehearsed_line
from keeper.alerts.answers import Offer
from keeper.alerts.numbers import health_text, reason_text, short
from keeper.alerts.render import name_of
from keeper.alerts.speech import Speech, Spoken
from keeper.app.hands import asset_named, value_of
from keeper.app.watcher import Watcher
from keeper.engine.market import WatchedMarket
from keeper.errors import ExecutionError
from keeper.model import (
    Address,
    Assessed,
    Declined,
    Holdings,
    Intent,
    IntentKind,
    Leg,
    Rehearsed,
    Side,
    Submission,
    Submitted,
)
from keeper.ports import LendingView
from keeper.settings import Protect
from keeper.strategies.intents import intent_id
from keeper.strategies.protect import loss_if_liquidated
from keeper.units import Raw

KINDS = {"top_up": IntentKind.TOP_UP, "repay": IntentKind.REPAY}


class NoOffer(Spoken, ExecutionError):  # noqa: N818 - it reads as what it is
    """Nothing can be offered or done: the text is the reply."""


async def offer_for(watchers: Sequence[Watcher], account: Address) -> Offer:
    """Return the first way that brings `account` to its target, as its protection has it.

    Raises `NoOffer` with the reason when there is none.
    """
    why = NoOffer(
        "{account} is not protected: add it to [protect] with its caps.", account=short(account)
    )
    for watcher in watchers:
        for entry in watcher.settings.protect.values():
            if entry.account != account or watcher.engine is None:
                continue
            for market in watcher.engine.markets:
                if entry.markets and market.id.name not in entry.markets:
                    continue
                try:
                    return await _offer(watcher, entry, market)
                except NoOffer as error:
                    why = error
    raise why


async def _offer(watcher: Watcher, entry: Protect, market: WatchedMarket) -> Offer:  # type: ignore[type-arg]  # of any protocol
    engine, executor = watcher.engine, watcher.executor
    reading = None if engine is None else engine.readings.get(market.id.name)
    holdings = market.holdings(entry.account)
    if reading is None or holdings is None or executor is None:
        raise NoOffer(
            "{market} was not read yet: try again after the next block.", market=market.id.name
        )
    if why := dict(reading.unreadable).get(entry.account):
        raise NoOffer("The health factor is unknown: {reason}.", reason=reason_text(why))
    assessed = reading.view.assess(holdings)
    if not isinstance(assessed, Assessed):
        raise NoOffer(
            "The health factor is unknown: {reason}.", reason=reason_text(assessed.reason)
        )
    if assessed.health_factor >= entry.target:
        raise NoOffer(
            "The health factor is {health}, at or above the target {target}: nothing needs to be "
            "done.",
            health=health_text(assessed.health_factor),
            target=health_text(entry.target),
        )
    why = "there is nothing that it could be brought to its target with"
    for intent in _intents(entry, reading.view, holdings, assessed, market):
        rehearsed = await executor.rehearse(intent, reading.view)
        if isinstance(rehearsed, Rehearsed):
            return Offer(
                intent=intent,
                chain=watcher.name,
                rehearsed=rehearsed,
                target=entry.target,
                armed=executor.armed,
            )
        why = rehearsed.reason
    raise NoOffer("Nothing can be offered: {reason}. Nothing was spent.", reason=reason_text(why))


def _intents(
    entry: Protect,
    view: LendingView,
    holdings: Holdings,
    assessed: Assessed,
    market: WatchedMarket,  # type: ignore[type-arg]  # of any protocol
) -> list[Intent]:
    """Return every single action that reaches the target under the protection's cap, best first."""
    wanted = [asset_named(name, market).address for name in entry.assets]
    found = []
    for kind in (KINDS[name] for name in entry.strategy if name in KINDS):
        side = Side.COLLATERAL if kind is IntentKind.TOP_UP else Side.DEBT
        legs = [one for one in assessed.legs if one.side is side]
        legs = [one for one in legs if not wanted or one.asset.address in wanted]
        legs.sort(
            key=lambda one: (
                wanted.index(one.asset.address) if wanted else 0,
                -one.value,
            )
        )
        for leg in legs:
            amount = _least(view, holdings, leg, entry)
            value = None if amount is None else value_of(view, leg.asset, amount)
            if amount is None or value is None or value > entry.max_per_tx_usd:
                continue
            found.append(
                Intent(
                    intent_id=intent_id(kind, assessed.position, view.block),
                    kind=kind,
                    position=assessed.position,
                    block=view.block,
                    asset=leg.asset,
                    amount=amount,
                    value_at_risk=loss_if_liquidated(assessed),
                    health_before=assessed.health_factor,
                    reason="asked for on Telegram",
                )
            )
    return found


def _least(view: LendingView, holdings: Holdings, leg: Leg, entry: Protect) -> Raw | None:
    amount = (
        view.repay_to_reach(holdings, leg, entry.target)
        if leg.side is Side.DEBT
        else view.supply_to_reach(holdings, leg, entry.target)
    )
    return amount or None


async def carry_out(watchers: Sequence[Watcher], offer: Offer, by: str, say: Speech) -> str:
    """Send what was confirmed, simulated anew at the last block taken; return what became of it.

    Exactly the amount that was shown; not at all where the target was reached meanwhile.
    """
    watcher = next(one for one in watchers if one.name == offer.chain)
    engine, shown = watcher.engine, offer.intent
    reading = None if engine is None else engine.readings.get(shown.position.market.name)
    if engine is None or reading is None:
        raise NoOffer("The chain is not read at the moment. Nothing was sent.")
    now = next(
        (
            one
            for one in engine.assessments_of(shown.position.account)
            if one.position == shown.position
        ),
        None,
    )
    if not isinstance(now, Assessed):
        raise NoOffer("The health factor is unknown now. Nothing was sent.")
    if now.health_factor >= offer.target:
        raise NoOffer(
            "The health factor is {health} by now, at or above the target. Nothing was sent.",
            health=health_text(now.health_factor),
        )
    intent = replace(
        shown,
        intent_id=intent_id(shown.kind, shown.position, now.block),
        block=now.block,
        health_before=now.health_factor,
        reason=f"confirmed by {by}",
    )
    submission = await engine.act(intent)
    await watcher.note(submission)
    return _said(submission, say)


def _said(submission: Submission, say: Speech) -> str:
    match submission:
        case Submitted(open_plan=plan):
            tx = plan.attempts[-1].tx_hash if plan.attempts else ""
            name = plan.plan.intent.intent_id
            return say(
                "Sent: tx {tx}\nI say when it is settled. keeper explain {intent}",
                tx=tx,
                intent=name,
            )
        case Rehearsed():
            account = submission.intent.position.account
            return rehearsed_line(submission, name_of("", account), say)
        case Declined(reason=reason):
            why = reason_text(reason, say)
            return "❌ " + say("Not sent: {reason}. Nothing was spent.", reason=why)
