"""What one node is good for at the moment, as it is shown."""

from dataclasses import dataclass
from enum import StrEnum


class NodeState(StrEnum):
    """What one node is good for at the moment."""

    ALIVE = "alive"
    LAGGING = "lagging"
    APART = "on another branch"
    UNREACHABLE = "unreachable"
    WRONG_CHAIN = "wrong chain"
    RATE_LIMITED = "rate-limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHealth:
    """One node as `keeper check` and the status page show it."""

    name: str
    """Scheme and host."""
    state: NodeState
    reason: str
    """Why it is not alive, or empty."""
    head: int | None
    """The last block number it was heard of to have."""
    latency_s: float | None
    """Of its last usable answer."""

    @property
    def alive(self) -> bool:
        """Whether it can be relied on."""
        return self.state is NodeState.ALIVE
