"""What one pass did, as metrics, the status page and the demo's verdict read it."""

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.engine.market import Reading
from keeper.model import Assessment, BlockRef, Decision, Message, Outcome, Reckoned, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass did, for metrics, the status page and the demo's verdict."""

    block: BlockRef
    orphaned: int
    readings: tuple[Reading, ...]
    unread: Mapping[str, str]
    """Markets that could not be read, and why: nothing is decided about them."""
    behind_s: float
    """Age of the block by the machine's clock: a node that is not synced serves old ones."""
    assessments: tuple[Assessment, ...]
    """Watched, protected and liquidatable positions."""
    carried: tuple[Assessment, ...]
    """Others who are below 1 or unknown still, as they were last looked at, some blocks ago: the
    next head came first."""
    decisions: tuple[Decision, ...]
    submissions: tuple[Submission, ...]
    outcomes: tuple[Outcome, ...]
    messages: tuple[Message, ...]
    """What people are told because of this pass."""
    decision_s: float
    """From the head's arrival to the first decision to act; without one, to the last."""
    broadcast_s: float | None
    """From the head's arrival to the first transaction handed to the node; None without one."""
    rpc_calls: int
    """Requests that observing cost: logs and packed reads; sends and receipts left out."""
    liquidations: tuple[Reckoned, ...] = ()
    """Heard of at this pass, ours and others'."""
