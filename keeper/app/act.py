"""One action on demand: plan it, rehearse it, and only when told send it and see it settled.

The same executor, journal and policy as `keeper run`: a command has no short way to the key.

One module, though it is long: what is refused before a plan is sent stands beside the plans.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from keeper.alerts.actions import Done, outcome_messages
from keeper.app.chain import OpenChain, bind
from keeper.app.hands import asset_named, liquidation_of
from keeper.app.look import held_by, read_accounts
from keeper.app.signing import executor_for, liquidating_signer_for, signer_for
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError, ExecutionError, ObservationError
from keeper.execution.executor import TxExecutor
from keeper.execution.pair import PairedExecutor
from keeper.execution.policy import Permission, Target
from keeper.model import (
    Address,
    Assessed,
    Asset,
    AuditEvent,
    BlockRef,
    Intent,
    IntentKind,
    Inventory,
    Leg,
    Message,
    OpenPlan,
    Outcome,
    PositionId,
    Side,
    Submission,
    Submitted,
    Unknown,
)
from keeper.notify.languages import Voices
from keeper.ports import LendingView, MarketView
from keeper.settings import Settings
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.store.people import SqlPeople
from keeper.store.permits import SqlPermits
from keeper.strategies.intents import intent_id
from keeper.strategies.protect import loss_if_liquidated
from keeper.strategies.purse import Purse
from keeper.strategies.repay import SLACK
from keeper.strategies.text import have
from keeper.units import UINT256_MAX, Base, Raw, Wad

log = structlog.get_logger(__name__)

POLL_S = 0.5
AMOUNT = re.compile(r"([0-9]{1,78}|[0-9]{1,3}(,[0-9]{3}){1,25})(\.[0-9]+)?|\.[0-9]+", re.ASCII)

OnBlock = Callable[[BlockRef, OpenPlan | None, str], None]
"""Told each new head while waiting, how far the plan is, and why the head is in doubt, or empty.

The plan is None where it is not in the journal any more, and at a head in doubt.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An intent with what it was planned from."""

    intent: Intent
    view: MarketView
    before: Assessed | None
    needs: tuple[tuple[Permission, Target], ...] = ()
    """What the key must be allowed for this one, besides what the settings allow."""
    arithmetic: tuple[str, ...] = ()
    """Lines of its own for people, besides those that all plans have."""


async def inventory_of(
    chain: OpenChain, market: WatchedMarket[Any, Any], owner: Address
) -> Inventory:
    """Return what `owner` can spend in the market at the chain's head."""
    steps = market.adapter.inventory(market.market, owner, chain.head)
    return await chain.reader.run(steps, chain.head)


async def plan_protection(
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    account: Address,
    kind: IntentKind,
    *,
    target: Wad,
    asset: str | None = None,
    amount: str | None = None,
) -> Planned:
    """Plan a top-up or repayment: the least that reaches `target`, or exactly `amount` of `asset`.

    Raises ExecutionError when nothing can be done, and says what would be needed.
    """
    reading = await read_accounts(chain, market, (account,))
    holdings = held_by(market, reading, account)
    assessed = reading.view.assess(holdings)
    if not isinstance(assessed, Assessed):
        raise ExecutionError(f"The health of {account} is unknown: {assessed.reason}.")
    side = Side.COLLATERAL if kind is IntentKind.TOP_UP else Side.DEBT
    legs = [leg for leg in assessed.legs if leg.side is side]
    if asset is not None:
        wanted = asset_named(asset, market).address
        legs = [leg for leg in legs if leg.asset.address == wanted]
    if not legs:
        what = "collateral" if side is Side.COLLATERAL else "debt"
        raise ExecutionError(f"{account} has no {what}{f' in {asset}' if asset else ''}.")
    leg = max(legs, key=lambda one: one.value)
    said: tuple[str, ...] = ()
    if amount is None:
        raw = _least(reading.view, holdings, leg, target)
    else:
        raw = parse_amount(amount, leg.asset)
        if side is Side.DEBT:
            raw, said = at_most_owed(raw, leg)
    if raw <= 0 and amount is not None:
        raise ConfigError(f"{amount} {leg.asset.symbol} is nothing: name an amount above 0.")
    if raw <= 0:
        raise ExecutionError(
            f"{account} is at or above the target already: nothing needs to be done."
        )
    return Planned(
        intent=Intent(
            intent_id=intent_id(kind, assessed.position, chain.head),
            kind=kind,
            position=assessed.position,
            block=chain.head,
            asset=leg.asset,
            amount=raw,
            value_at_risk=loss_if_liquidated(assessed),
            health_before=assessed.health_factor,
            reason="asked for by command",
        ),
        view=reading.view,
        before=assessed,
        arithmetic=said,
    )


def at_most_owed(asked: Raw, leg: Leg) -> tuple[Raw, tuple[str, ...]]:
    """Return what is repaid of `asked`, and what a person is told where that is less.

    The Pool takes no more than is owed: more need not be there, nor be allowed.
    """
    most = Raw(leg.balance + leg.balance // SLACK + 1)
    if asked <= most:
        return asked, ()
    asset, owed = leg.asset, have(leg.balance, leg.asset)
    return most, (f"asked for       {have(asked, asset)}, and {owed} is owed: all of it is repaid",)


def _least(view: LendingView, holdings: Any, leg: Leg, target: Wad) -> Raw:
    if leg.side is Side.DEBT:
        repay = view.repay_to_reach(holdings, leg, target)
        if repay is None:
            raise ExecutionError(
                f"No {leg.asset.symbol} can be repaid now: the market paused it or shut it down; "
                "try another --asset."
            )
        return repay
    supply = view.supply_to_reach(holdings, leg, target)
    if supply is None:
        raise ExecutionError(
            f"No amount of {leg.asset.symbol} reaches the target: the reserve takes no more "
            "supply, or it does not count enough; try another --asset."
        )
    return supply


async def plan_liquidation(
    settings: Settings,
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    account: Address,
    owner: Address,
) -> Planned:
    """Plan the most profitable legal liquidation that `owner` can pay for and the settings allow.

    Raises ExecutionError with the reason when there is none.
    """
    reading = await read_accounts(chain, market, (account,))
    holdings = held_by(market, reading, account)
    assessed = reading.view.assess(holdings)
    purse = Purse(await inventory_of(chain, market, owner))
    strategy = liquidation_of(settings, market, owner)
    decision = strategy.decide(reading.view, holdings, assessed, purse)
    intent = getattr(decision, "intent", None)
    if not isinstance(intent, Intent):
        raise ExecutionError(f"Not liquidated: {getattr(decision, 'reason', 'no reason')}.")
    before = assessed if isinstance(assessed, Assessed) else None
    return Planned(intent=intent, view=reading.view, before=before)


async def plan_approval(
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    asset: str,
    amount: str | None,
) -> Planned:
    """Plan the allowance that lets the market take `asset` from the keeper; None: without limit.

    The token stands for the position: one approval of a token at a time.
    """
    reading = await read_accounts(chain, market, ())
    token = asset_named(asset, market)
    raw = Raw(UINT256_MAX) if amount is None else parse_amount(amount, token)
    position = PositionId(market=market.id, account=token.address)
    return Planned(
        intent=Intent(
            intent_id=intent_id(IntentKind.APPROVE, position, chain.head),
            kind=IntentKind.APPROVE,
            position=position,
            block=chain.head,
            asset=token,
            amount=raw,
            value_at_risk=Base(0),
            health_before=Wad(0),
            reason="asked for by command",
        ),
        view=reading.view,
        before=None,
    )


async def carry_out(
    settings: Settings,
    chain: OpenChain,
    database: Database,
    planned: Planned,
    *,
    send: bool,
    wait: bool = True,
    despite_pause: bool = False,
    on_sent: Callable[[Submission], None] = lambda _: None,
    on_block: OnBlock = lambda _block, _plan, _doubt: None,
) -> tuple[Submission, Outcome | None]:
    """Rehearse `planned`, or send it and, with `wait`, follow it until it is settled.

    `on_sent` is told what became of it before the wait.  `despite_pause`: whoever sends knows that
    people stopped the keeper.  Raises ConfigError when sending is asked for and the chain is not
    armed, or not for this kind of action, and ExecutionError when people stopped it, or where the
    head that it was planned at is in doubt, or too old.
    """
    people = None if despite_pause else SqlPeople(database)
    if planned.intent.kind is IntentKind.DELEVERAGE:
        require_deleverager(chain)
    if send:
        _require_permission(settings, chain, planned.intent)
        _refuse_unfit(chain)
        if people is not None:
            await _refuse_paused(people)
    await bind(database, chain)
    journal = SqlJournal(database, chain_id=chain.config.chain_id)
    signer = await signer_for(settings, chain.config)
    liquidating = await liquidating_signer_for(settings, chain.config)
    operators = settings.operator_chats()
    voices = Voices(settings.telegram.language)
    voices.learn(await SqlPeople(database).languages())

    def settled(
        outcome: Outcome, health: Wad | None
    ) -> tuple[tuple[Message, ...], tuple[AuditEvent, ...]]:
        messages = outcome_messages(outcome, (), operators, Done(health_after=health), voices)
        event = AuditEvent(
            event=f"intent.{type(outcome).__name__.lower()}",
            fields={
                "intent": outcome.plan.intent.intent_id,
                "by": "command",
                "health_after_wad": None if health is None else str(health),
            },
        )
        return messages, (event,)

    executor = executor_for(
        settings,
        chain,
        journal=journal,
        signer=signer,
        on_settled=settled,
        liquidating=liquidating,
        needs=planned.needs,
        permits=SqlPermits(database),
    )
    if not send and executor.armed:
        executor = executor_for(
            settings.model_copy(
                update={"signing": settings.signing.model_copy(update={"armed_chain_ids": ()})}
            ),
            chain,
            journal=journal,
            signer=signer,
            on_settled=settled,
            liquidating=liquidating,
            permits=SqlPermits(database),
        )
    submission = await executor.submit(planned.intent, planned.view)
    await journal.record_submission(submission)
    on_sent(submission)
    if not wait or not isinstance(submission, Submitted):
        return submission, None
    outcome = await _settled(chain, executor, journal, submission, on_block=on_block, people=people)
    return submission, outcome


def _refuse_unfit(chain: OpenChain) -> None:
    """Raise ExecutionError where nothing may be sent because of the chain's head."""
    if unfit := chain.unfit:
        raise ExecutionError(
            f"Not sent, nothing was spent: {unfit.rstrip('.')}; try again once the nodes of "
            f"{chain.config.name} have caught up and agree."
        )


async def _refuse_paused(people: SqlPeople) -> None:
    """Raise ExecutionError where people stopped the keeper: by whom, since when, what to do."""
    if not (reason := await people.paused()):
        return
    since = await people.paused_since()
    when = "" if since is None else f" since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M}Z"
    raise ExecutionError(
        f"Not sent, nothing was spent: the keeper is {reason}{when}; /resume on Telegram takes it "
        "back, or --despite-pause sends this one all the same."
    )


def _require_permission(settings: Settings, chain: OpenChain, intent: Intent) -> None:
    """Say what is missing in the configuration before the policy refuses in its own words."""
    name, kind = chain.config.name, intent.kind
    if not settings.signing.armed(chain.config.chain_id):
        raise ConfigError(
            f"{name} is not armed: set signing.armed_chain_ids, a keystore and the caps, "
            "or leave --send out to rehearse only."
        )
    if kind is IntentKind.DELEVERAGE:
        _require_deleverage(settings, intent)
    spared = {entry.account for entry in settings.protect.values()}
    if kind in (IntentKind.TOP_UP, IntentKind.REPAY) and intent.position.account not in spared:
        raise ConfigError(
            f"The key may sign no {kind}: add the account under [protect.NAME], or leave --send "
            "out to rehearse only."
        )
    if kind is IntentKind.LIQUIDATE and not settings.liquidate.enabled:
        raise ConfigError(
            "The key may sign no liquidation: set liquidate.enabled, or leave --send out to "
            "rehearse only."
        )


def require_deleverager(chain: OpenChain) -> Address:
    """Return the chain's deleverager.  Raises ConfigError where none is configured."""
    if chain.config.deleverager is None:
        raise ConfigError(
            f"{chain.config.name} has no deleverager: deploy one with `keeper deploy-deleverager` "
            "and name it under the chain."
        )
    return chain.config.deleverager


def _require_deleverage(settings: Settings, intent: Intent) -> None:
    account, market = intent.position.account, intent.position.market.name
    if not any(
        entry.account == account
        and "deleverage" in entry.strategy
        and (not entry.markets or market in entry.markets)
        for entry in settings.protect.values()
    ):
        raise ConfigError(
            "The key may sign no deleverage of this account: add it under [protect.NAME] with "
            "deleverage in its strategy, or leave --send out to rehearse only."
        )


async def _settled(
    chain: OpenChain,
    executor: TxExecutor | PairedExecutor,
    journal: SqlJournal,
    submitted: Submitted,
    *,
    on_block: OnBlock,
    people: SqlPeople | None,
) -> Outcome:
    """Follow the transaction, head by head, to its end; the executor bumps and re-sends.

    `people`: whose /pause stops that.  A node that does not answer is asked again, and a head in
    doubt is not believed of it: what was sent is on its way whatever they say.
    """
    wanted = submitted.intent.intent_id
    last, told = chain.head, ""
    while True:
        try:
            head, doubt = await chain.heads.newest()
        except ObservationError as error:
            log.warning("head.unread", reason=str(error))
            head, doubt = last, ""
        if doubt and head.hash != told:
            told = head.hash
            on_block(head, None, doubt)
        if head.hash != last.hash and not doubt:
            last = head
            if people is not None and (pause := await people.paused()):
                executor.disarm(pause)
            for outcome in await executor.settle(head):
                if outcome.plan.intent.intent_id == wanted and not isinstance(outcome, Unknown):
                    return outcome
            plans = await journal.open_plans(submitted.open_plan.signer)
            on_block(head, next((p for p in plans if p.plan.intent.intent_id == wanted), None), "")
        await asyncio.sleep(POLL_S)


def parse_amount(text: str, asset: Asset) -> Raw:
    """Return ``"1,250.5"`` of `asset` in raw units.  Raises ConfigError for anything else.

    Commas only between groups of three: ``1,5`` is one and a half to some and fifteen to others.
    """
    if AMOUNT.fullmatch(text.strip()) is None:
        raise ConfigError(f"{text!r} is not an amount of {asset.symbol}: write it like 1250.5.")
    whole, _, part = text.replace(",", "").strip().partition(".")
    if len(part) > asset.decimals:
        raise ConfigError(
            f"{text} {asset.symbol} is finer than the token: it has {asset.decimals} decimals."
        )
    return Raw(int(whole or "0") * 10**asset.decimals + int(part.ljust(asset.decimals, "0") or "0"))
