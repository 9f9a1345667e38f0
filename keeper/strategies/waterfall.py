"""Several strategies for one position, in order."""

from dataclasses import dataclass, replace

from keeper.model import Act, Assessment, Decision, Hold, Holdings, Refuse
from keeper.ports import MarketView, Strategy, Wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The first that reaches what is wanted is taken, else the first that does a part of it.

    Itself a strategy.  Nobody acts: Refuse with every refusal's reason if there is one, else Hold.
    An Act after others says what they said: the order is the operator's, the cheap ones first.
    """

    strategies: tuple[Strategy, ...]
    name: str = "waterfall"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        """Ask each in order; without strategies Hold."""
        refused: list[str] = []
        held: list[str] = []
        part: Act | None = None
        for strategy in self.strategies:
            decision = strategy.decide(view, holdings, assessment, wallet)
            match decision:
                case Act(partial=True):
                    part = part or _after(decision, refused)
                    refused.append(f"{strategy.name} would do a part of it only")
                case Act():
                    return _after(decision, refused)
                case Refuse(reason=reason):
                    refused.append(reason)
                case Hold(reason=reason):
                    held.append(reason)
        if part is not None:
            return part
        position = assessment.position
        if refused:
            return Refuse(position=position, reason="; ".join(dict.fromkeys(refused)))
        why = "; ".join(dict.fromkeys(held)) or "no strategy is set for it"
        return Hold(position=position, reason=why)


def _after(act: Act, refused: list[str]) -> Act:
    """The act, saying what was refused before it."""
    if not refused:
        return act
    before = "; ".join(dict.fromkeys(refused))
    reason = f"{act.intent.reason} (refused before: {before})"
    return replace(act, intent=replace(act.intent, reason=reason))
