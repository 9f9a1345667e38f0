"""Liquidating accounts below 1 for the bonus, from the keeper's inventory or by a flash loan."""

from dataclasses import dataclass

from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    Decision,
    Funding,
    Hold,
    Holdings,
    Intent,
    IntentKind,
    Liquidation,
    Refuse,
    Unassessable,
    Why,
)
from keeper.ports import MarketView, Wallet
from keeper.strategies.intents import intent_id
from keeper.strategies.means import SPENDABLE, missing
from keeper.strategies.text import have, health, need, usd
from keeper.units import BPS, UINT256_MAX, WAD, Base, Raw, Rounding, mul_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidate:
    """Takes the most profitable legal pair that the wallet can pay for.

    Profit is at the market's own prices and before gas: whether gas leaves anything of it is the
    executor's to say, which knows the fees.
    """

    min_profit: Base
    """Nothing below this is worth a transaction."""
    max_debt: Base | None = None
    """The most debt to cover in one action, at the market's price; None: what the wallet has."""
    allowed_debts: tuple[Address, ...] = ()
    """Tokens it may spend; empty: any."""
    allowed_collaterals: tuple[Address, ...] = ()
    """Tokens it may receive; empty: any."""
    denied: tuple[Address, ...] = ()
    """Tokens it touches on neither side, allowed or not."""
    protected: tuple[Address, ...] = ()
    """Accounts it never liquidates: those that this keeper protects, and its own."""
    funding: Funding = Funding.OWN
    """FLASH: the wallet is not asked.  Whether the loan and the sale leave a profit is the
    executor's to say, which knows the exchange."""
    name: str = "liquidate"

    def decide(  # noqa: PLR0911 - a list of refusals
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        """Hold from 1 on and for protected accounts; else Act on the best pair, or Refuse.

        A pair that is dearer than the wallet is asked for again at what the wallet has; where
        that is not legal (it would leave dust) it is left out.  Value at risk is the account's
        whole debt.
        """
        position = assessment.position
        if position.account in self.protected:
            return Hold(position=position, reason="protected: never liquidated by this keeper")
        if isinstance(assessment, Unassessable):
            return Refuse(position=position, reason=assessment.reason)
        if assessment.health_factor >= WAD:
            return Hold(
                position=position,
                reason=f"health factor {health(assessment.health_factor)} is not below 1",
            )
        start = f"health factor {health(assessment.health_factor)} is below 1"
        if (most := most_profit(assessment)) < self.min_profit:
            poor = f"profit of at most {usd(most)} is below the floor of {usd(self.min_profit)}"
            return Refuse(position=position, reason=f"{start}: {poor}", why=Why.TOO_SMALL)
        best = self._best(view, holdings, wallet)
        if isinstance(best, str):
            return Refuse(position=position, reason=f"{start}: {best}")
        if best.profit < self.min_profit:
            poor = f"profit {usd(best.profit)} is below the floor of {usd(self.min_profit)}"
            return Refuse(position=position, reason=f"{start}: {poor}", why=Why.UNPROFITABLE)
        return Act(intent=_intent(assessment, best, start, self.funding))

    def _best(self, view: MarketView, holdings: Holdings, wallet: Wallet) -> Liquidation | str:
        """The most profitable pair that may be taken and paid for, or why there is none."""
        legal = view.liquidations(holdings)
        if not legal:
            return "no liquidation of it is legal now"
        wanted = tuple(option for option in legal if self._touches(option))
        if not wanted:
            return f"each of its {len(legal)} pairs has a token that is not allowed"
        sized = (self._sized(view, holdings, option, wallet) for option in wanted)
        affordable = tuple(option for option in sized if option is not None)
        if not affordable:
            return self._missing(wanted, wallet)
        return max(affordable, key=_merit)

    def _touches(self, option: Liquidation) -> bool:
        debt, collateral = option.debt.asset.address, option.collateral.asset.address
        return (
            debt not in self.denied
            and collateral not in self.denied
            and (not self.allowed_debts or debt in self.allowed_debts)
            and (not self.allowed_collaterals or collateral in self.allowed_collaterals)
        )

    def _sized(
        self, view: MarketView, holdings: Holdings, option: Liquidation, wallet: Wallet
    ) -> Liquidation | None:
        """The option if the wallet can pay for it, else as much of it as is legal, or None."""
        limit, _ = self._limit(option, wallet)
        if option.amount <= limit:
            return option
        if limit <= 0:
            return None
        smaller = view.liquidation_at_most(holdings, option, limit)
        return smaller if smaller is not None and 0 < smaller.amount <= limit else None

    def _limit(self, option: Liquidation, wallet: Wallet) -> tuple[Raw, str]:
        leg = option.debt
        own = self.funding is Funding.OWN
        limit = wallet.spendable(leg.asset.address) if own else Raw(UINT256_MAX)
        if self.max_debt is not None:
            unit = 10**leg.asset.decimals
            cap = Raw(self.max_debt * unit // leg.price if leg.price > 0 else 0)
            if cap < limit:
                return cap, "allowed at once"
        return limit, SPENDABLE

    def _missing(self, options: tuple[Liquidation, ...], wallet: Wallet) -> str:
        """What the first pair needs, or the first that only an allowance is missing for."""
        held = (one for one in options if wallet.held(one.debt.asset.address) >= one.amount)
        option = next(held, options[0])
        limit, bound_by = self._limit(option, wallet)
        return missing(option.amount, option.debt.asset, limit, bound_by, wallet, least=None)


def most_profit(assessed: Assessed) -> Base:
    """Return more than any liquidation of the account can leave at the market's prices.

    The greatest bonus on all of its debt, and a raw unit of each of its tokens for what rounding
    gives.  Thousands owe so little that this is below any floor: their pairs need not be sized.
    """
    bonus = max((leg.liquidation_bonus for leg in assessed.legs), default=BPS)
    units = sum(leg.price // 10**leg.asset.decimals + 2 for leg in assessed.legs)
    whole = mul_div(assessed.debt + units, max(bonus, BPS), BPS, Rounding.UP)
    return Base(whole - assessed.debt + units)


def _merit(option: Liquidation) -> tuple[int, int, int]:
    """Profit, and among equals a fixed order."""
    return option.profit, -option.debt.reserve, -option.collateral.reserve


def _intent(assessed: Assessed, best: Liquidation, start: str, funding: Funding) -> Intent:
    does = (
        f"repay {need(best.debt_to_cover, best.debt.asset)}, "
        f"seize {have(best.seized, best.collateral.asset)}, profit {usd(best.profit)}"
    )
    return Intent(
        intent_id=intent_id(IntentKind.LIQUIDATE, assessed.position, assessed.block),
        kind=IntentKind.LIQUIDATE,
        position=assessed.position,
        block=assessed.block,
        asset=best.debt.asset,
        amount=best.amount,
        collateral=best.collateral.asset,
        covers=best.debt_to_cover,
        seized=best.seized,
        funding=funding,
        value_at_risk=assessed.debt,
        expected_profit=best.profit,
        health_before=assessed.health_factor,
        reason=f"{start}: {does}",
    )
