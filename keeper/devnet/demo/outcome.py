"""What a demo comes to: each deed as the chain has it, and the verdict as it is printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keeper.model import Address, IntentKind
from keeper.units import WAD


def wad_text(value: int) -> str:
    """Return a health factor in full: 18 decimals, or ``no debt``."""
    if value == 2**256 - 1:
        return "no debt"
    return f"{value // WAD}.{value % WAD:018d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One transaction of the keeper, as the chain has it."""

    intent: str
    kind: IntentKind
    position: Address
    tx: str
    block: int
    gas: int
    profit_usd: float | None
    """Less gas, at the oracle's prices of its block: what the liquidator handed over, or with own
    tokens the value seized less the value repaid."""
    health_before: int
    """`getUserAccountData` at the block before."""
    health_after: int

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "intent": self.intent,
            "kind": str(self.kind),
            "position": self.position,
            "tx": self.tx,
            "gas": self.gas,
            "profit_usd": self.profit_usd,
            "health_before": wad_text(self.health_before),
            "health_after": wad_text(self.health_after),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Everything that is judged, and the faults found."""

    positions: int
    compared: int
    different: tuple[str, ...]
    alerts: Mapping[str, int]
    deeds: tuple[Deed, ...]
    refused: Mapping[Address, str]
    missed: tuple[str, ...]
    rpc_calls_per_block: float
    decision_ms: Mapping[str, float]
    broadcast_ms: Mapping[str, float]
    told_ms: Mapping[str, float]
    """From the asking for a block in which somebody came into danger to Telegram's hearing of it.
    """
    reorg_depths: tuple[int, ...]
    seconds: float
    liquidator: Address | None = None
    faults: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether the main job was done."""
        return not self.faults

    def document(self) -> dict[str, Any]:
        """Return the one JSON document of ``--json``."""
        return {
            "ok": self.ok,
            "positions": self.positions,
            "health": {"compared": self.compared, "different": len(self.different)},
            "alerts": dict(self.alerts),
            "actions": [deed.document() for deed in self.deeds],
            "missed": list(self.missed),
            "refused": [{"position": a, "reason": r} for a, r in self.refused.items()],
            "reorgs": list(self.reorg_depths),
            "rpc_calls_per_block": self.rpc_calls_per_block,
            "decision_ms": dict(self.decision_ms),
            "broadcast_ms": dict(self.broadcast_ms),
            "told_ms": dict(self.told_ms),
            "liquidator": self.liquidator,
            "faults": list(self.faults),
            "seconds": round(self.seconds, 1),
        }
