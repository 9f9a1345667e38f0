"""The status as JSON: integers of the chain as decimal strings, null where nothing is known."""

import math

from keeper.alerts.machine import level_word
from keeper.alerts.numbers import plain
from keeper.model import Assessed, FeedVerdict, OpenPlan, Reckoned, Reference
from keeper.risk.spread import Spread
from keeper.web.status import (
    ActionStatus,
    ChainStatus,
    OracleStatus,
    PositionStatus,
    Status,
    unwatched,
    worst_first,
)

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

LONGEST = 300


def document(status: Status) -> dict[str, Json]:
    """Return what ``/api/status`` answers."""
    return {
        "version": plain(status.version, LONGEST),
        "now": status.now,
        "started_at": status.started_at,
        "ok": not unwatched(status),
        "reasons": [plain(reason, LONGEST) for reason in unwatched(status)],
        "faults": [plain(fault, LONGEST) for fault in status.faults],
        "outbox_waiting": status.outbox_waiting,
        "chains": [_chain(chain) for chain in status.chains],
        "actions": [_action(action) for action in status.actions],
        "liquidations": [_liquidation(one) for one in status.liquidations],
    }


def _chain(chain: ChainStatus) -> Json:
    head = chain.head
    return {
        "name": plain(chain.name, LONGEST),
        "chain_id": chain.chain_id,
        "armed": chain.armed,
        "block": None if head is None else head.number,
        "hash": None if head is None else head.hash,
        "timestamp": None if head is None else head.timestamp,
        "head_age_s": chain.head_age_s,
        "max_head_age_s": chain.max_head_age_s,
        "watched": chain.watched,
        "borrowers": chain.borrowers,
        "positions": [_position(position) for position in worst_first(chain.positions)],
        "spreads": [_spread(market, spread) for market, spread in chain.spreads],
        "oracles": [_oracle(oracle) for oracle in chain.oracles],
        "plans": [_plan(plan) for plan in chain.plans],
    }


def _spread(market: str, spread: Spread) -> Json:
    return {
        "market": plain(market, LONGEST),
        "block": spread.block_number,
        "accounts": spread.accounts,
        "below": [{"bound_wad": str(bound), "accounts": n} for bound, n in spread.below],
        "unknown": spread.unknown,
        "lowest": spread.lowest if math.isfinite(spread.lowest) else None,
    }


def _position(position: PositionStatus) -> Json:
    found = position.assessment
    known = found if isinstance(found, Assessed) else None
    reason = "" if isinstance(found, Assessed) else found.reason
    return {
        "market": plain(found.position.market.name, LONGEST),
        "address": found.position.account,
        "label": plain(position.label, LONGEST),
        "block": found.block.number,
        "health_factor_wad": None if known is None else str(known.health_factor),
        "collateral_base": None if known is None else str(known.collateral),
        "debt_base": None if known is None else str(known.debt),
        "level": level_word(position.level, None if known is None else known.health_factor),
        "decision": plain(position.decision, LONGEST),
        "reason": plain(reason, LONGEST),
    }


def _oracle(oracle: OracleStatus) -> Json:
    price = oracle.price
    return {
        "market": plain(oracle.market, LONGEST),
        "asset": price.asset.address,
        "symbol": plain(price.asset.symbol, LONGEST),
        "source": price.source.address,
        "path": [plain(line, LONGEST) for line in price.source.path],
        "price_base": None if price.price is None else str(price.price),
        "usable": price.usable,
        "reason": plain(price.reason, LONGEST),
        "reference": _reference(price.reference),
        "difference_bps": price.difference_bps,
        "doubts": [
            {
                "cause": doubt.cause.value,
                "stance": doubt.stance.value,
                "reason": plain(doubt.reason, LONGEST),
            }
            for doubt in price.suspicions
        ],
        "liquidations_held": plain(price.hold_liquidations, LONGEST),
        "feeds": [_feed(verdict) for verdict in price.feeds],
    }


def _reference(reference: Reference | None) -> Json:
    if reference is None:
        return None
    return {
        "price_base": None if reference.price is None else str(reference.price),
        "reason": plain(reference.reason, LONGEST),
        "quotes": [
            {
                "source": plain(quote.source, LONGEST),
                "price_base": str(quote.price),
                "age_s": quote.age_s,
            }
            for quote in reference.quotes
        ],
        "silent": [
            {"source": plain(one.source, LONGEST), "reason": plain(one.reason, LONGEST)}
            for one in reference.silent
        ],
    }


def _feed(verdict: FeedVerdict) -> Json:
    return {
        "address": verdict.feed.address,
        "description": plain(verdict.feed.description, LONGEST),
        "state": verdict.state.value,
        "answer": None if verdict.answer is None else str(verdict.answer),
        "decimals": verdict.feed.decimals,
        "age_s": verdict.age_s,
        "heartbeat_s": verdict.feed.heartbeat_s,
        "heartbeat_assumed": verdict.feed.heartbeat_assumed,
        "heartbeat_learned": verdict.feed.heartbeat_learned,
        "reason": plain(verdict.reason, LONGEST),
    }


def _plan(plan: OpenPlan) -> Json:
    intent = plan.plan.intent
    return {
        "intent": intent.intent_id,
        "kind": intent.kind.value,
        "position": plain(str(intent.position), LONGEST),
        "asset": intent.asset.address,
        "amount": str(intent.amount),
        "state": plan.state.value,
        "signer": plan.signer,
        "nonce": plan.nonce,
        "tx": [attempt.tx_hash for attempt in plan.attempts],
        "deadline": plan.plan.deadline,
        "reason": plain(intent.reason, LONGEST),
    }


def _action(action: ActionStatus) -> Json:
    intent = action.intent
    return {
        "at": action.at,
        "intent": intent.intent_id,
        "kind": intent.kind.value,
        "position": plain(str(intent.position), LONGEST),
        "asset": intent.asset.address,
        "amount": str(intent.amount),
        "outcome": plain(action.outcome, LONGEST),
        "tx": action.tx_hash,
        "reason": plain(intent.reason, LONGEST),
    }


def _liquidation(one: Reckoned) -> Json:
    heard = one.liquidated
    return {
        "taken": one.taken.value,
        "reason": plain(one.reason, LONGEST),
        "position": plain(str(heard.position), LONGEST),
        "liquidator": heard.liquidator,
        "block": heard.block.number,
        "timestamp": heard.block.timestamp,
        "debt": heard.debt.address,
        "covered": str(heard.covered),
        "collateral": heard.collateral.address,
        "seized": str(heard.seized),
        "profit_base": None if one.profit is None else str(one.profit),
        "possible_after_block": one.possible_after,
        "possible_by_block": one.possible_by,
        "seen_block": one.seen_block,
        "intent": one.intent_id,
    }
