"""Two keys on one chain: one protects, the other liquidates with borrowed money.

Each has an executor of its own, with its own nonces, policy, caps and disarming: whoever steals the
key that is used all day against strangers cannot touch the money that protects.
"""

from collections.abc import Sequence

from keeper.execution.executor import TxExecutor
from keeper.model import (
    BlockRef,
    Declined,
    Intent,
    IntentKind,
    Outcome,
    Rehearsed,
    Submission,
    Supposed,
)
from keeper.ports import MarketView

LIQUIDATING = frozenset({IntentKind.LIQUIDATE, IntentKind.DEPLOY})
"""What the second key does; everything else is the first one's."""


class PairedExecutor:
    """Implements `keeper.ports.Executor` by two others."""

    def __init__(self, *, protecting: TxExecutor, liquidating: TxExecutor) -> None:
        self.protecting = protecting
        self.liquidating = liquidating

    @property
    def armed(self) -> bool:
        """Whether either key may sign."""
        return self.protecting.armed or self.liquidating.armed

    @property
    def parts(self) -> tuple[TxExecutor, ...]:
        """One for each key: each is armed and disarmed by itself."""
        return (self.protecting, self.liquidating)

    @property
    def disarmed_reason(self) -> str | None:
        """Why one of them was disarmed after having been armed, or both."""
        reasons = [
            f"{name}: {one.disarmed_reason}"
            for name, one in (("protecting", self.protecting), ("liquidating", self.liquidating))
            if one.disarmed_reason
        ]
        if self.protecting.disarmed_reason == self.liquidating.disarmed_reason:
            return self.protecting.disarmed_reason
        return "; ".join(reasons)

    def arm(self, chain_id: int) -> None:
        """Arm both.  Raises `ConfigError`."""
        self.protecting.arm(chain_id)
        self.liquidating.arm(chain_id)

    def disarm(self, reason: str) -> None:
        """Disarm both."""
        self.protecting.disarm(reason)
        self.liquidating.disarm(reason)

    def heed_kill_switch(self) -> None:
        """Disarm both if the kill switch is on."""
        self.protecting.heed_kill_switch()
        self.liquidating.heed_kill_switch()

    async def recover(self, block: BlockRef) -> tuple[Outcome, ...]:
        """Recover both."""
        first = await self.protecting.recover(block)
        return (*first, *await self.liquidating.recover(block))

    async def settle(self, block: BlockRef) -> tuple[Outcome, ...]:
        """Settle both."""
        first = await self.protecting.settle(block)
        return (*first, *await self.liquidating.settle(block))

    def open_intents(self) -> tuple[Intent, ...]:
        """Return what is on its way with either key."""
        return (*self.protecting.open_intents(), *self.liquidating.open_intents())

    async def submit(self, intent: Intent, view: MarketView) -> Submission:
        """Submit with the key that it is for."""
        return await self._for(intent).submit(intent, view)

    async def submit_together(
        self, intents: Sequence[Intent], view: MarketView
    ) -> tuple[Submission, ...]:
        """Submit several liquidations with the key that they are for."""
        return await self.liquidating.submit_together(intents, view)

    async def rehearse(self, intent: Intent, view: MarketView) -> Rehearsed | Declined:
        """Rehearse with the key that it is for."""
        return await self._for(intent).rehearse(intent, view)

    async def prepare(
        self, intent: Intent, view: MarketView, *, parent: BlockRef, after: Sequence[Supposed]
    ) -> bool:
        """Prepare with the key that it is for."""
        return await self._for(intent).prepare(intent, view, parent=parent, after=after)

    def _for(self, intent: Intent) -> TxExecutor:
        return self.liquidating if intent.kind in LIQUIDATING else self.protecting
