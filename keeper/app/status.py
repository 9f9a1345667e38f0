"""The picture that the status page shows, made from memory and a few rows."""

import time
from collections.abc import Iterable, Sequence

from keeper.alerts.machine import level_of
from keeper.app.watcher import Watcher
from keeper.model import (
    Act,
    Address,
    AlertLevel,
    Assessed,
    Assessment,
    Decision,
    Hold,
    PositionId,
    Refuse,
    Thresholds,
    Watch,
)
from keeper.store.actions import SqlActions
from keeper.store.database import Database
from keeper.store.liquidations import SqlLiquidations
from keeper.store.outbox import SqlOutbox
from keeper.web.status import ActionStatus, ChainStatus, OracleStatus, PositionStatus, Status

LAST_ACTIONS = 20
LAST_LIQUIDATIONS = 20


class HouseStatus:
    """Satisfies `keeper.web.status.StatusSource`."""

    def __init__(
        self,
        *,
        watchers: Sequence[Watcher],
        database: Database,
        thresholds: Thresholds,
        version: str,
    ) -> None:
        """Remember when it started."""
        self._watchers = tuple(watchers)
        self._actions = SqlActions(database)
        self._liquidations = SqlLiquidations(database)
        self._outbox = SqlOutbox(database)
        self._thresholds = thresholds
        self._version = version
        self._started_at = int(time.time())

    async def __call__(self) -> Status:
        """Return the whole keeper at this moment."""
        counts = await self._outbox.counts()
        actions = await self._actions.last(LAST_ACTIONS)
        return Status(
            version=self._version,
            now=int(time.time()),
            started_at=self._started_at,
            chains=tuple(self._chain(watcher) for watcher in self._watchers),
            faults=tuple(
                f"{w.name}: {why}"
                for w in self._watchers
                for why in (
                    "" if w.executor is None else w.executor.disarmed_reason or "",
                    w.history_unread and f"borrowers are not all known: {w.history_unread}",
                )
                if why
            ),
            outbox_waiting=counts.pending,
            actions=tuple(
                ActionStatus(
                    at=action.intent.block.timestamp,
                    intent=action.intent,
                    outcome=action.state,
                    tx_hash=action.tx_hash,
                )
                for action in actions
            ),
            liquidations=await self._liquidations.last(LAST_LIQUIDATIONS),
        )

    def _chain(self, watcher: Watcher) -> ChainStatus:
        engine, last_at = watcher.engine, watcher.last_pass_at
        done = None if engine is None else engine.last
        labels = {} if engine is None else {w.account: w.label for w in engine.watches}
        levels = Levels(self._thresholds, () if engine is None else engine.watches)
        decided = {} if done is None else {_position(d): d for d in done.decisions}
        shown = [
            PositionStatus(
                assessment=found,
                level=levels.of(found),
                label=labels.get(found.position.account, ""),
                decision=_words(decided.get(found.position)),
            )
            for found in (() if done is None else (*done.assessments, *done.carried))
            if levels.of(found) is not AlertLevel.CLEAR or found.position.account in labels
        ]
        return ChainStatus(
            name=watcher.name,
            chain_id=watcher.config.chain_id,
            armed=watcher.executor is not None and watcher.executor.armed,
            head=watcher.head(),
            head_age_s=None if last_at is None else time.monotonic() - last_at,
            max_head_age_s=watcher.silence_limit_s,
            watched=len(labels),
            borrowers=0 if engine is None else sum(len(m.book) for m in engine.markets),
            positions=tuple(shown),
            spreads=tuple(watcher.spreads.items()),
            oracles=tuple(
                OracleStatus(market=reading.view.market.name, price=price)
                for reading in (() if done is None else done.readings)
                for price in reading.prices
            ),
        )


class Levels:
    """How bad a health factor is for whoever watches the account: the worst of their levels."""

    def __init__(self, thresholds: Thresholds, watches: Iterable[Watch]) -> None:
        self._thresholds = thresholds
        self._own: dict[Address, list[Thresholds]] = {}
        for watch in watches:
            self._own.setdefault(watch.account, []).append(watch.thresholds or thresholds)

    def of(self, found: Assessment) -> AlertLevel:
        if not isinstance(found, Assessed):
            return AlertLevel.WARNING
        theirs = self._own.get(found.position.account, [self._thresholds])
        return max(level_of(found.health_factor, each) for each in theirs)


def _position(decision: Decision) -> PositionId:
    return decision.intent.position if isinstance(decision, Act) else decision.position


def _words(decision: Decision | None) -> str:
    match decision:
        case Act(intent=intent):
            return intent.reason
        case Refuse(reason=reason):
            return f"refused: {reason}"
        case Hold(reason=reason):
            return reason
        case None:
            return ""
