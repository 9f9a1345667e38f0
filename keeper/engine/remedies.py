"""What a warned borrower can do about it: exact amounts that reach the target."""

from keeper.alerts.render import Remedies, Remedy
from keeper.model import Assessed, Holdings, IntentKind, Side
from keeper.ports import LendingView
from keeper.units import WAD, Wad

TARGET = Wad(150 * WAD // 100)
KINDS = {Side.DEBT: IntentKind.REPAY, Side.COLLATERAL: IntentKind.TOP_UP}


def remedies(view: LendingView, holdings: Holdings, assessed: Assessed) -> Remedies | None:
    """Return the least repayments and supplies that bring `assessed` to `TARGET`, largest legs
    first, one of each side; None where nothing of one asset alone does.
    """
    if assessed.health_factor >= TARGET:
        return None
    options: list[Remedy] = []
    legs = sorted(assessed.legs, key=lambda leg: -leg.value)
    for side in (Side.DEBT, Side.COLLATERAL):
        for leg in (one for one in legs if one.side is side):
            if side is Side.DEBT:
                amount = view.repay_to_reach(holdings, leg, TARGET)
                enough = bool(amount) and amount != leg.balance  # all of it may not reach it
            else:
                amount = view.supply_to_reach(holdings, leg, TARGET)
                enough = bool(amount)
            if amount is not None and enough:
                options.append(Remedy(kind=KINDS[side], asset=leg.asset, amount=amount))
                break
    return Remedies(target=TARGET, options=tuple(options)) if options else None
