"""Watching without hands: people are told, nothing is sent."""

from dataclasses import dataclass

from keeper.model import Assessment, Decision, Hold, Holdings, Unassessable
from keeper.ports import MarketView, Wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOnly:
    """Holds, always: alerts are raised elsewhere, from the same assessment."""

    name: str = "alert_only"

    def decide(
        self,
        view: MarketView,  # noqa: ARG002 - the seam's
        holdings: Holdings,  # noqa: ARG002 - the port's signature
        assessment: Assessment,
        wallet: Wallet,  # noqa: ARG002 - the port's signature
    ) -> Decision:
        """Return Hold; of an unknown health it says so."""
        if isinstance(assessment, Unassessable):
            reason = f"watched only, health unknown: {assessment.reason}"
        else:
            reason = "watched only"
        return Hold(position=assessment.position, reason=reason)
