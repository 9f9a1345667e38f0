"""Liquidations that wait until a price is beyond doubt.  Pure."""

from collections.abc import Mapping

from keeper.model import Act, Address, Assessed, Assessment, Decision, IntentKind, Refuse, Why


def held_back(decision: Decision, assessment: Assessment, held: Mapping[Address, str]) -> Decision:
    """Return `decision`, or Refuse for a liquidation of an account that has a held asset.

    Any of its assets counts, not only the pair: each of them decides whether the account is below
    1.  `held`: asset to the reason.  It is decided anew at each block, so that it goes on by
    itself when the cause ends.
    """
    if not isinstance(decision, Act) or decision.intent.kind is not IntentKind.LIQUIDATE:
        return decision
    intent = decision.intent
    used = {intent.asset.address}
    if isinstance(assessment, Assessed):
        used |= {leg.asset.address for leg in assessment.legs}
    why = [reason for asset, reason in held.items() if asset in used]
    if not why:
        return decision
    reason = f"{intent.reason}; held while {'; '.join(dict.fromkeys(why))}"
    return Refuse(position=intent.position, reason=reason, why=Why.HELD)
