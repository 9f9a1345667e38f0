"""In which order what was decided is sent."""

from collections.abc import Iterable
from typing import Final

from keeper.model import Intent, IntentKind

_RANK: Final = {
    IntentKind.APPROVE: 0,
    IntentKind.DEPLOY: 0,
    IntentKind.TOP_UP: 1,
    IntentKind.REPAY: 1,
    IntentKind.DELEVERAGE: 1,
    IntentKind.LIQUIDATE: 2,
}


def queue(intents: Iterable[Intent]) -> tuple[Intent, ...]:
    """Return approvals, then protections, then liquidations, each by value at risk, largest first.

    Equal ones are ordered by intent id, so that the order is always the same.
    """
    return tuple(sorted(intents, key=lambda i: (_RANK[i.kind], -i.value_at_risk, i.intent_id)))
