"""The further intents of one transaction: rows that go where the first one's goes.

They hold no nonce and have no attempts.  While the first one's plan is open theirs are, so that
their positions are taken; it ends only together with all of them.
"""

from collections.abc import Sequence
from typing import Any, Final

from keeper.errors import JournalError
from keeper.model import Ended, Plan, Receipt, TxState

ENDS: Final = (TxState.CONFIRMED, TxState.REVERTED, TxState.ABANDONED)


def require_distinct(plan: Plan) -> None:
    """Raise unless a plan that carries several intents begins with its own and names none twice."""
    intents = plan.intents
    names = {intent.intent_id for intent in intents}
    positions = {intent.position for intent in intents}
    if intents[0] != plan.intent or len(names) != len(intents) or len(positions) != len(intents):
        raise JournalError(
            f"{plan.intent.intent_id}: what its transaction would carry is not one intent for each"
            " position, its own first; nothing was written"
        )


def require_ends(
    row: Any,
    others: Sequence[str],
    state: TxState,
    *,
    whole: Receipt | None,
    receipt: Receipt | None,
    further: Sequence[Ended],
) -> Sequence[Ended]:
    """Return the ends of `others`, what else the transaction of `row` carried: none is left out.

    `whole`: the receipt of all of them as it was kept, if it was.
    """
    ends = {end.intent_id: end for end in further}
    if state is TxState.ABANDONED and not ends:
        ends = {name: Ended(intent_id=name, state=state, receipt=None) for name in others}
    if ends.keys() != set(others):
        raise JournalError(
            f"{row.intent_id}: its transaction carries {len(others)} more intents and other ones"
            " were ended; nothing was written"
        )
    parts = [end.receipt for end in ends.values() if end.receipt is not None]
    if receipt is not None and whole is not None and whole.tx_hash == receipt.tx_hash:
        paid = receipt.gas_used + sum(part.gas_used for part in parts)
        if paid != whole.gas_used:
            raise JournalError(
                f"{row.intent_id}: the parts of its gas are {paid}, it used {whole.gas_used};"
                " nothing was written"
            )
    for end in ends.values():
        _require_part(end, receipt)
    return tuple(ends[name] for name in others)


def _require_part(end: Ended, receipt: Receipt | None) -> None:
    """Raise unless what is said of a further intent fits the transaction that carried it."""
    mined = end.state in (TxState.CONFIRMED, TxState.REVERTED)
    part = end.receipt
    fits = (
        end.state in ENDS
        and mined == (part is not None)
        and (part is None or part.succeeded is (end.state is TxState.CONFIRMED))
        and (part is None or (receipt is not None and part.tx_hash == receipt.tx_hash))
    )
    if not fits:
        raise JournalError(
            f"{end.intent_id} cannot be {end.state} by the receipt that came with it; nothing was"
            " written"
        )
