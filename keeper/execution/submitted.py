"""What became of an intent, as an answer, as a line of the log, and as the breaker counts it."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from keeper.errors import (
    CapOfDay,
    ExecutionError,
    GasTooDear,
    KeeperError,
    PolicyViolation,
    Unprofitable,
)
from keeper.execution.liquidator import LIQUIDATE_OVER
from keeper.model import (
    Confirmed,
    Declined,
    Intent,
    IntentKind,
    Outcome,
    Plan,
    Rehearsed,
    Reverted,
    Submission,
    Submitted,
    Why,
)

log = structlog.get_logger()


def declined(intent: Intent, error: KeeperError) -> Declined:
    why = Why.UNPROFITABLE if isinstance(error, Unprofitable) else Why.REFUSED
    return Declined(intent=intent, reason=str(error), why=why, this_way=_this_way(error))


def _this_way(error: KeeperError) -> bool:
    """Whether another way may go: not where a policy or the price of gas stands against all."""
    return isinstance(error, ExecutionError) and not isinstance(error, PolicyViolation | GasTooDear)


class CapsOfDay:
    """Says once that a cap of the day is reached, until something is sent or the day goes on."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._said: dict[str, tuple[int, int]] = {}
        self._counted: dict[str, int] = {}

    def declined(self, intent: Intent, error: KeeperError) -> Declined:
        """Return what became of an intent; another one that the same cap declined is counted."""
        found = declined(intent, error)
        if not isinstance(error, CapOfDay):
            return found
        stands = (error.taken, error.most)
        if self._said.get(error.cap) == stands:
            self._counted[error.cap] = self._counted.get(error.cap, 0) + 1
            return replace(found, again=True)
        self._said[error.cap] = stands
        return replace(found, others=self._counted.pop(error.cap, 0))


def log_submission(submission: Submission) -> None:
    intent = submission.intent
    intent_log = log.bind(
        intent=intent.intent_id, kind=str(intent.kind), position=str(intent.position)
    )
    match submission:
        case Declined(again=True):
            pass
        case Declined(reason=reason, others=others):
            more = {"others_before": others} if others else {}
            intent_log.warning("intent.declined", reason=reason, **more)
        case Rehearsed(plan=plan):
            intent_log.info("intent.rehearsed", gas_limit=plan.gas_limit)
        case Submitted(open_plan=plan):
            intent_log.info("intent.submitted", nonce=plan.nonce)


def by_others(plan: Plan) -> bool:
    """Whether somebody else can make it revert: of that nobody of ours is to blame."""
    return plan.intent.kind is IntentKind.DELEVERAGE or plan.data.startswith(LIQUIDATE_OVER)


def went_well(outcomes: Sequence[Outcome]) -> tuple[tuple[bool, int], ...]:
    """Return for each mined transaction whether it did anything, and when it was decided.

    One that did what one of its orders was for is no failure, whoever took the others.  A sale of
    a deleverage can be made to revert by whoever moves the exchange, one over an aggregator by
    whoever answers for it: that must not end top-ups.
    """
    by_hash: dict[str, tuple[bool, int]] = {}
    for outcome in outcomes:
        sale = by_others(outcome.plan)
        if isinstance(outcome, Confirmed) or (isinstance(outcome, Reverted) and not sale):
            mined = outcome.receipt.tx_hash
            before, _ = by_hash.get(mined, (False, 0))
            good = before or isinstance(outcome, Confirmed)
            by_hash[mined] = (good, outcome.plan.intent.block.timestamp)
    return tuple(by_hash.values())
