"""What may still be spent in one pass."""

from keeper.model import Address, Inventory
from keeper.units import Raw


class Purse:
    """An inventory less what this pass and unfinished plans have taken from it.

    Used for one pass and thrown away: the next block's inventory is read again.
    """

    def __init__(self, inventory: Inventory) -> None:
        """Start with everything that is spendable at the inventory's block."""
        self.inventory = inventory
        self._taken: dict[Address, int] = {}

    def spendable(self, asset: Address) -> Raw:
        """Return the lesser of balance and allowance, less what was taken; never below 0."""
        return Raw(max(0, self.inventory.spendable(asset) - self._taken.get(asset, 0)))

    def held(self, asset: Address) -> Raw:
        """Return the balance, whatever the allowance, less what was taken; never below 0."""
        balance = self.inventory.balances.get(asset, 0)
        return Raw(max(0, balance - self._taken.get(asset, 0)))

    def take(self, asset: Address, amount: Raw) -> None:
        """Set `amount` aside.  More than is there leaves nothing: a plan on its way may have
        been mined already, and then its amount is gone from the balance and taken once more.
        """
        if amount < 0:
            raise ValueError(f"cannot take {amount} of {asset} from the purse")
        self._taken[asset] = self._taken.get(asset, 0) + amount
