"""A liquidation whose collateral is sold by somebody else's call: how much, and for how much.

The market lends the debt, the contract liquidates, hands over a part of what is seized and must
have enough of the debt's token afterwards to pay the loan back.  What is not sold is profit in the
collateral's token, what comes above the loan is profit in the debt's.  Pure.
"""

from dataclasses import dataclass

from keeper.errors import ExecutionError
from keeper.execution.liquidator import Swap
from keeper.execution.worth import Worth
from keeper.model import Intent, Offer
from keeper.strategies.text import have, need
from keeper.units import BPS, Base, Bps, Raw, Rounding, mul_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a liquidation needs of a sale."""

    intent: Intent
    premium_bps: int
    """Of the market's flash loans."""
    slippage: Bps
    worth: Worth
    by_pools: int | None
    """Raw units of the collateral that Uniswap v3's pools take for all of `Intent.amount`."""

    @property
    def owed(self) -> int:
        """What the loan takes back for what is covered at this block, raw units of the debt."""
        return self._with_premium(self.intent.covers)

    @property
    def to_sell(self) -> int:
        """How much of the collateral is sold, raw units.

        What Uniswap v3's pools would take, and the slippage allowed; at the most, and where they
        sell nothing, the middle between what the loan is worth at the market's own prices and all
        that is seized.  What comes above the loan is not lost: it is profit in the other token.
        """
        seized = self.intent.seized
        most = seized - mul_div(seized, self.slippage, BPS, Rounding.UP)
        owed = self._with_premium(self.intent.amount)
        worth = mul_div(
            owed * self.worth.debt_price,
            10**self.worth.collateral.decimals,
            self.worth.collateral_price * 10**self.worth.debt.decimals,
            Rounding.UP,
        )
        middle = max(min((worth + most) // 2, most), 1)
        if not self.by_pools:
            return middle
        wanted = mul_div(
            self.by_pools * owed, BPS + self.slippage, self.intent.amount * BPS, Rounding.UP
        )
        return min(wanted, middle)

    @property
    def least_left(self) -> int:
        """What must be left of the collateral, though less is seized by the slippage allowed."""
        seized = self.intent.seized
        less = mul_div(seized, self.slippage, BPS, Rounding.UP)
        return max(seized - less - self.to_sell, 0)

    def swap(self, offer: Offer, gas: Base) -> Swap:
        """Return the sale with the least that it must bring.

        That is the greatest of what the loan takes, of the offer less the slippage allowed, and of
        what pays for `gas` with what must be left.  Raises `ExecutionError` with the numbers for
        an offer that does not reach even that.
        """
        debt = self.worth.debt
        if offer.bought < self.owed:
            raise ExecutionError(
                f"It offers {have(Raw(offer.bought), debt)} and the loan takes"
                f" {need(Raw(self.owed), debt)}."
            )
        slips = mul_div(offer.bought, self.slippage, BPS, Rounding.UP)
        short = gas - self.worth.of(self.least_left, 0)
        pays = self.owed
        if short > 0:
            pays += mul_div(short, 10**debt.decimals, self.worth.debt_price, Rounding.UP)
        return Swap(
            target=offer.target,
            spender=offer.spender,
            sold=self.to_sell,
            min_bought=max(offer.bought - slips, pays),
            data=offer.data,
        )

    def most(self, offer: Offer) -> Base:
        """Return what is left at the price offered, before gas."""
        return self.worth.of(self.intent.seized - self.to_sell, offer.bought - self.owed)

    def words(self, offer: Offer) -> str:
        """Return how it is sold, for people."""
        seized, sold = self.intent.seized, Raw(self.to_sell)
        return (
            f"{have(seized, self.worth.collateral)} is seized,"
            f" {need(sold, self.worth.collateral)} goes to {offer.source} for the"
            f" {need(Raw(self.owed), self.worth.debt)} of the loan"
        )

    def _with_premium(self, amount: int) -> int:
        return amount + mul_div(amount, self.premium_bps, BPS, Rounding.UP)
