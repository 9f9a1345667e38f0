"""Several strategies for one position, in order."""

from dataclasses import dataclass, replace

from keeper.model import Act, Assessment, Decision, Hold, Holdings, Refuse
from keeper.ports import MarketView, Strategy, Wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The first that acts is taken; one that refuses lets the next one try.

    Itself a strategy.  Nobody acts: Refuse with every refusal's reason if there is one, else Hold.
    An Act after refusals says what was refused before it.
    """

    strategies: tuple[Strategy, ...]
    name: str = "waterfall"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        """Ask each in order; without strategies Hold."""
        refused: list[str] = []
        held: list[str] = []
        for strategy in self.strategies:
            decision = strategy.decide(view, holdings, assessment, wallet)
            match decision:
                case Act(intent=intent) if refused:
                    before = "; ".join(dict.fromkeys(refused))
                    reason = f"{intent.reason} (refused before: {before})"
                    return Act(intent=replace(intent, reason=reason))
                case Act():
                    return decision
                case Refuse(reason=reason):
                    refused.append(reason)
                case Hold(reason=reason):
                    held.append(reason)
        position = assessment.position
        if refused:
            return Refuse(position=position, reason="; ".join(dict.fromkeys(refused)))
        why = "; ".join(dict.fromkeys(held)) or "no strategy is set for it"
        return Hold(position=position, reason=why)
