"""When a position may be acted on again: never while a plan is open, later after a failure.

A cool-down begins only after an attempt that failed, never before one, and ends when the position
is healthy again.  Counted in blocks: the chain's own clock.

What would revert or not pay one way may go another: by other debt, other collateral, another kind
of action.  So a way that failed is remembered, and the position is free for others at the next
block; where there is no other, the same is tried again.  A few times in a danger; then each attempt
waits, so that a position with many ways that all fail is not tried at every block.  A protection is
not turned to another way, which may sell what it is to save, by one failure that the next block
may cure: it takes two in a row.
"""

from collections.abc import Container
from dataclasses import dataclass, field

from keeper.model import (
    Confirmed,
    Declined,
    Intent,
    IntentKind,
    Outcome,
    PositionId,
    Rehearsed,
    Submission,
    Submitted,
    Unknown,
    Way,
)

COOL_DOWN_BLOCKS = 5
"""After a declined or reverted action."""
TRIED_BLOCKS = 25
"""A way that failed comes after all others for so long."""
AT_ONCE_MOST = 3
"""So often in one danger another way, or the same, is tried at the next block."""
FAILURES = {IntentKind.LIQUIDATE: 1}
FAILURES_OF_OTHERS = 2
"""How often a way must have failed to be set aside."""
REHEARSED_BLOCKS = 300
"""After a rehearsal: nothing changed, so the next one would say the same."""


@dataclass(slots=True)
class Pace:
    """What is on its way, and what waits."""

    open: dict[PositionId, Intent] = field(default_factory=dict)
    _waits: dict[PositionId, tuple[int, str]] = field(default_factory=dict)
    _tried: dict[PositionId, dict[Way, tuple[int, int]]] = field(default_factory=dict)
    """Ways that failed, up to which block others come first, and how often each did."""
    _at_once: dict[PositionId, int] = field(default_factory=dict)
    """How often something was tried at the next block."""

    def tried(self, position: PositionId, block: int) -> frozenset[Way]:
        """Return the ways that failed lately for `position`, often enough to be set aside."""
        return frozenset(
            way
            for way, (until, times) in self._tried.get(position, {}).items()
            if until > block and times >= FAILURES.get(way.kind, FAILURES_OF_OTHERS)
        )

    def held(self, position: PositionId, block: int) -> str:
        """Why nothing may be begun for `position` at `block`; empty if something may."""
        if (intent := self.open.get(position)) is not None:
            return f"{intent.kind} {intent.intent_id} is on its way"
        until, why = self._waits.get(position, (0, ""))
        return why if until > block else ""

    def over(self, block: int) -> tuple[PositionId, ...]:
        """Return the positions whose cool-down has ended at `block`: they may be begun again."""
        return tuple(p for p, (until, _) in self._waits.items() if until <= block)

    def began(self, submission: Submission, block: int) -> None:
        """Note a submission: what was sent is open, what was not waits before it is retried."""
        match submission:
            case Submitted(intent=intent):
                self.open[intent.position] = intent
            case Rehearsed(intent=intent):
                until = block + REHEARSED_BLOCKS
                self._waits[intent.position] = (until, "rehearsed already")
            case Declined(intent=intent, reason=reason, this_way=this_way):
                wait = self._failed(intent, block) if this_way else COOL_DOWN_BLOCKS
                self._waits[intent.position] = (block + wait, f"declined: {reason}")

    def _failed(self, intent: Intent, block: int) -> int:
        """Note that its way failed; return in how many blocks something may be tried again."""
        ways = self._tried.setdefault(intent.position, {})
        until, times = ways.get(intent.way, (0, 0))
        ways[intent.way] = (block + TRIED_BLOCKS, times + 1 if until > block else 1)
        at_once = self._at_once.get(intent.position, 0)
        self._at_once[intent.position] = at_once + 1
        return 1 if at_once < AT_ONCE_MOST else COOL_DOWN_BLOCKS

    def ended(self, outcome: Outcome, block: int) -> None:
        """Note an outcome: an unknown one stays open, a failed one waits."""
        if isinstance(outcome, Unknown):
            return
        position = outcome.plan.intent.position
        self.open.pop(position, None)
        if not isinstance(outcome, Confirmed):
            self._waits[position] = (block + COOL_DOWN_BLOCKS, "the last transaction failed")

    def recovered(self, position: PositionId) -> None:
        """The position is out of danger: no cool-down outlives it."""
        self._waits.pop(position, None)
        self._tried.pop(position, None)
        self._at_once.pop(position, None)

    def forget_all_but(self, seen: Container[PositionId]) -> None:
        """End the cool-downs of positions that nobody needs to look at any more."""
        for of in (self._waits, self._tried, self._at_once):
            for position in [p for p in of if p not in seen]:
                del of[position]
