"""One Aave v3 market at one block: what strategies ask and what people are shown.

Satisfies `ports.LendingView`.  Every number is what the deployed contract would answer at the
block; what cannot be known is `Unassessable` with the reason, and costs one account only.

One class, though it is long: it is the port's page, and the arithmetic lies in the modules beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from keeper.errors import BadAnswer, ConfigError
from keeper.model import (
    Address,
    Assessed,
    Assessment,
    BlockRef,
    ContractHealth,
    Deleverage,
    Funding,
    Holdings,
    Intent,
    IntentKind,
    Leg,
    Liquidation,
    MarketId,
    PositionId,
    Side,
    Unassessable,
    Way,
    Weights,
    price_factor,
)
from keeper.protocols.aave_v3 import codec
from keeper.protocols.aave_v3.account import (
    Account,
    Held,
    ReserveNow,
    Unvalued,
    loan_to_value,
    reserve_now,
    value_account,
)
from keeper.protocols.aave_v3.deleverage import deleverage_to_reach, deleveraged
from keeper.protocols.aave_v3.explain import explain
from keeper.protocols.aave_v3.interest import A_DECADE_S, seconds_to_liquidation
from keeper.protocols.aave_v3.liquidation import (
    MIN_LEFTOVER_BASE,
    SENTINEL_HEALTH,
    Pair,
    Seizure,
    largest,
    least_limited,
    most_debt,
)
from keeper.protocols.aave_v3.market import Market, Observed
from keeper.protocols.aave_v3.math import collateral_value, scaled_for
from keeper.protocols.aave_v3.prices import liquidation_price, liquidation_price_above
from keeper.protocols.aave_v3.reach import repay_to_reach, supply_to_reach
from keeper.protocols.aave_v3.rules import Rules
from keeper.protocols.aave_v3.weights import weights
from keeper.units import WAD, Base, Bps, Raw, Rounding, Wad, mul_div

VARIABLE_RATE = 2
NO_REFERRAL = 0
LEFTOVER = Base(MIN_LEFTOVER_BASE + MIN_LEFTOVER_BASE // 100)
"""What a part liquidation leaves: the contract's bound and 1 %, so that a price that moves before
inclusion does not make the call revert."""
SPARE = 1_000
"""A whole debt is covered with a thousandth more, since it grows until inclusion; the Pool clamps
to what is owed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The arithmetic of one market bound to one block.  Made by `bind`."""

    of: Market
    block: BlockRef
    reserves: Mapping[int, ReserveNow]
    e_mode_prices: Mapping[int, Base | None]
    liquidations_allowed: bool
    avoided: frozenset[Way] = frozenset()
    """What was tried in vain: none of it is possible."""

    @property
    def market(self) -> MarketId:
        """Which deployment."""
        return self.of.id

    # --- health -----------------------------------------------------------------------------

    def assess(self, holdings: Holdings) -> Assessment:
        """Return the health factor the contract would answer, or why it is unknown."""
        position = PositionId(market=self.of.id, account=holdings.account)
        try:
            account = self._account(holdings)
        except Unvalued as why:
            return Unassessable(position=position, block=self.block, reason=str(why))
        return Assessed(
            position=position,
            block=self.block,
            health_factor=account.health_factor,
            collateral=account.collateral,
            debt=account.debt,
            legs=account.legs,
            e_mode=holdings.e_mode,
        )

    def contract_health(self, holdings: Holdings) -> ContractHealth:
        """Return what `getUserAccountData` answers, stale prices or not.

        Raises BadAnswer where the Pool itself could not answer.
        """
        try:
            account = self._account(holdings, relied_upon=False)
        except Unvalued as why:
            raise BadAnswer(f"{self.of.id} cannot value {holdings.account}: {why}.") from why
        return ContractHealth(
            health_factor=account.health_factor,
            collateral=account.collateral,
            debt=account.debt,
        )

    def price_of(self, asset: Address) -> Base | None:
        """Return what the market's oracle answers for a listed asset, usable or not."""
        return next((r.price for r in self.reserves.values() if r.asset.address == asset), None)

    def tokens(self, asset: Address) -> tuple[Address, Address] | None:
        """Return the aToken and the variable debt token of a listed asset."""
        found = (r for r in self.of.reserves if r.asset.address == asset)
        return next(((r.a_token, r.debt_token) for r in found), None)

    def rate(self, leg: Leg) -> int:
        """Return what `leg` earns as supply or costs as variable debt, ray per year."""
        now = self.reserves[leg.reserve]
        return now.liquidity_rate if leg.side is Side.COLLATERAL else now.debt_rate

    def liquidation_price(self, holdings: Holdings, leg: Leg) -> Base | None:
        """Return the least price of collateral `leg` from which on the health factor is at least 1.

        Base units per whole token, all other prices held still; what is owed of it moves with it.
        None if no fall of this price alone leads below 1, or none brings it to 1, or unknown.
        """
        try:
            return liquidation_price(self.of, self.reserves, self.e_mode_prices, holdings, leg)
        except Unvalued:
            return None

    def liquidation_price_above(self, holdings: Holdings, leg: Leg) -> Base | None:
        """Return the price above which a rise of what is owed leads below 1, as the one below."""
        try:
            return liquidation_price_above(
                self.of, self.reserves, self.e_mode_prices, holdings, leg
            )
        except Unvalued:
            return None

    def price_factor(self, holdings: Holdings) -> Wad | None:
        """Return the fraction of today's prices to which all collateral together may fall.

        Of what is owed of an asset as much falls with it as is held of it; the rest stands still.
        Wad, rounded up; 0 where no fall is one too many; above 1 for an account below health 1;
        None if unknown, or where no price brings it to 1.
        """
        try:
            account = self._account(holdings)
        except Unvalued:
            return None
        return price_factor(account.health_factor, account.legs, {})

    def seconds_to_liquidation(self, holdings: Holdings, within_s: int = A_DECADE_S) -> int | None:
        """Return after how many seconds interest alone brings the health factor below 1.

        Counted from this block, with today's prices, rates and parameters: the first second at
        which the contract would answer so, and too soon where looking for it takes too long, see
        `interest`.  0 if it is below already; None if not within `within_s`, or it is unknown.
        """
        try:
            self._account(holdings)
            return seconds_to_liquidation(
                self.of,
                self.reserves,
                self.e_mode_prices,
                holdings,
                block=self.block,
                within_s=within_s,
            )
        except Unvalued:
            return None

    def explain(self, holdings: Holdings) -> tuple[str, ...]:
        """Return the arithmetic, a line each."""
        return explain(self.of, self.reserves, self.e_mode_prices, holdings, self.block)

    def weights(self) -> Weights:
        """Return float weights and slack for `keeper.risk.screen`."""
        return weights(self.of, self.reserves)

    # --- protection -------------------------------------------------------------------------

    def avoiding(self, ways: frozenset[Way]) -> "View":
        """Return the same view, in which none of `ways` is possible."""
        return replace(self, avoided=ways)

    def _avoids(self, kind: IntentKind, leg: Leg, collateral: Leg | None = None) -> bool:
        if not self.avoided:
            return False
        seized = None if collateral is None else collateral.asset.address
        return Way(kind=kind, asset=leg.asset.address, collateral=seized) in self.avoided

    def supply_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        """Return the least supply into collateral `leg` that reaches `target`; None if none does.

        Rounded up: the health factor after it is never below `target`, as of this block.  None
        also where the reserve takes no supply: frozen, paused, inactive, or its cap is full.
        """
        try:
            account = self._account(holdings)
        except Unvalued:
            return None
        held = account.find(leg)
        if held is None or held.leg.side is not Side.COLLATERAL:
            return None
        if self._avoids(IntentKind.TOP_UP, leg):
            return None
        return supply_to_reach(account, held, target)

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        """Return the least repayment of debt `leg` that reaches `target`, or its whole balance.

        None where none of it can be repaid: the health factor is unknown, the account does not owe
        it, or the reserve takes no repayment: paused or inactive.
        """
        try:
            account = self._account(holdings)
        except Unvalued:
            return None
        held = account.find(leg)
        if held is None or held.leg.side is not Side.DEBT or self._avoids(IntentKind.REPAY, leg):
            return None
        return repay_to_reach(account, held, target)

    def deleverage_to_reach(
        self, holdings: Holdings, collateral: Leg, debt: Leg, target: Wad, cost: Bps
    ) -> Deleverage | None:
        """Return the least sale and repayment that reach `target`; None where none does."""
        found = self._two(holdings, collateral, debt)
        return None if found is None else deleverage_to_reach(*found, target, cost)

    def deleveraged(
        self, holdings: Holdings, collateral: Leg, debt: Leg, repay: Raw, cost: Bps
    ) -> Deleverage | None:
        """Return what repaying `repay` takes and leaves; None where there is not that much."""
        found = self._two(holdings, collateral, debt)
        return None if found is None else deleveraged(*found, repay, cost)

    def _two(
        self, holdings: Holdings, collateral: Leg, debt: Leg
    ) -> tuple[Account, Held, Held] | None:
        try:
            account = self._account(holdings)
        except Unvalued:
            return None
        sold, repaid = account.find(collateral), account.find(debt)
        if sold is None or repaid is None:
            return None
        if sold.leg.side is not Side.COLLATERAL or repaid.leg.side is not Side.DEBT:
            return None
        if self._avoids(IntentKind.DELEVERAGE, debt, collateral) or not self._released(
            account, holdings.e_mode, sold, repaid
        ):
            return None
        return account, sold, repaid

    def _released(self, account: Account, e_mode: int, sold: Held, repaid: Held) -> bool:
        """Whether the Pool lets go of `sold`: of collateral with a loan to value of 0 first.

        `ValidationLogic.validateHFAndLtvzero`, `validateTransfer`, `validateWithdraw`.
        """
        if sold.now.shut or repaid.now.shut:
            return False
        worthless = [
            held.leg.reserve
            for held in account.held
            if held.leg.side is Side.COLLATERAL
            and loan_to_value(self.of, held.now.configuration, held.leg.reserve, e_mode) == 0
        ]
        return not worthless or sold.leg.reserve in worthless

    # --- liquidation ------------------------------------------------------------------------

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        """Return every legal liquidation of an account below 1, most profitable first."""
        try:
            account = self._account(holdings)
        except Unvalued:
            return ()
        found: list[Liquidation] = []
        for collateral in account.held:
            for debt in account.held:
                if self._illegal(account, collateral, debt):
                    continue
                pair = _pair(collateral, debt)
                limit = most_debt(self.of.rules, pair, account.health_factor, account.debt)
                if (of := self._sized(collateral, debt, limit, None)) is not None:
                    found.append(of)
        found.sort(key=lambda x: (-x.profit, x.collateral.reserve, x.debt.reserve))
        return tuple(found)

    def liquidation_at_most(
        self, holdings: Holdings, of: Liquidation, debt_to_cover: Raw
    ) -> Liquidation | None:
        """Return the same pair with no more than `debt_to_cover`; None where that is not legal."""
        try:
            account = self._account(holdings)
        except Unvalued:
            return None
        collateral, debt = account.find(of.collateral), account.find(of.debt)
        if collateral is None or debt is None or self._illegal(account, collateral, debt):
            return None
        pair = _pair(collateral, debt)
        limit = most_debt(self.of.rules, pair, account.health_factor, account.debt)
        return self._sized(collateral, debt, Raw(min(limit, debt_to_cover)), debt_to_cover)

    def _illegal(self, account: Account, collateral: Held, debt: Held) -> bool:
        """Whether the Pool would refuse this pair; that the liquidator is not the borrower
        (3.6+) is for the caller to see to."""
        if collateral.leg.side is not Side.COLLATERAL or debt.leg.side is not Side.DEBT:
            return True
        if account.health_factor >= WAD:
            return True
        if self._avoids(IntentKind.LIQUIDATE, debt.leg, collateral.leg):
            return True
        for held in (collateral, debt):
            if held.now.shut or held.now.grace_until >= self.block.timestamp:
                return True
        bypassed = self.of.rules.sentinel_bypass and account.health_factor < SENTINEL_HEALTH
        return not (self.liquidations_allowed or bypassed)

    def _sized(
        self, collateral: Held, debt: Held, limit: Raw, at_most: Raw | None
    ) -> Liquidation | None:
        pair = _pair(collateral, debt)
        taken = largest(self.of.rules, pair, limit, LEFTOVER)
        if taken is None or _burns_nothing(self.of.rules, collateral, debt, taken):
            return None
        gained = collateral_value(taken.seized, pair.collateral_price, pair.collateral_unit)
        paid = mul_div(taken.debt, pair.debt_price, pair.debt_unit, Rounding.UP)
        return Liquidation(
            collateral=collateral.leg,
            debt=debt.leg,
            debt_to_cover=taken.debt,
            amount=_to_pass(self.of.rules, pair, taken, at_most),
            seized=taken.seized,
            profit=Base(gained - paid),
        )

    # --- transactions -----------------------------------------------------------------------

    def encode(self, intent: Intent) -> tuple[Address, bytes]:
        """Return target and calldata of `intent`; supply and repay are on behalf of the position.

        Approvals go to the asset and name the Pool.
        """
        pool, owner = self.of.pool, intent.position.account
        asset, amount = intent.asset.address, intent.amount
        match intent.kind:
            case IntentKind.TOP_UP:
                return pool, codec.encode(codec.SUPPLY, asset, amount, owner, NO_REFERRAL)
            case IntentKind.REPAY:
                return pool, codec.encode(codec.REPAY, asset, amount, VARIABLE_RATE, owner)
            case IntentKind.LIQUIDATE:
                if intent.collateral is None:
                    raise ConfigError(f"Liquidation {intent.intent_id} names no collateral.")
                seized = intent.collateral.address
                return pool, codec.encode(
                    codec.LIQUIDATION_CALL, seized, asset, owner, amount, int(False)
                )
            case IntentKind.APPROVE:
                return asset, codec.encode(codec.APPROVE, pool, amount)
            case IntentKind.DELEVERAGE:
                if intent.funding is not Funding.FLASH:
                    raise ConfigError(f"A deleverage pays with borrowed money: {intent.intent_id}.")
                return pool, b""  # the deleverager is told, not the Pool
            case IntentKind.DEPLOY:
                raise ConfigError(f"{self.of.id} deploys nothing: {intent.intent_id}.")
        assert_never(intent.kind)

    def _account(self, holdings: Holdings, *, relied_upon: bool = True) -> Account:
        return value_account(
            self.of, self.reserves, self.e_mode_prices, holdings, relied_upon=relied_upon
        )


def bind(market: Market, seen: Observed, block: BlockRef, unusable: Mapping[int, str]) -> View:
    """Accrue every reserve to `block`'s timestamp.  `unusable`: reserve id to the reason."""
    return View(
        of=market,
        block=block,
        reserves={
            reserve.id: reserve_now(
                market,
                reserve,
                state,
                price=seen.prices[reserve.id],
                block=block,
                why=unusable.get(reserve.id, ""),
            )
            for reserve, state in zip(market.reserves, seen.reserves, strict=True)
        },
        e_mode_prices=seen.e_mode_prices,
        liquidations_allowed=seen.liquidations_allowed,
    )


def _pair(collateral: Held, debt: Held) -> Pair:
    return Pair(
        collateral=collateral.leg.balance,
        collateral_value=collateral.leg.value,
        collateral_price=collateral.leg.price,
        collateral_unit=collateral.now.unit,
        bonus=collateral.leg.liquidation_bonus,
        protocol_fee=collateral.now.configuration.protocol_fee,
        debt=debt.leg.balance,
        debt_value=debt.leg.value,
        debt_price=debt.leg.price,
        debt_unit=debt.now.unit,
    )


def _burns_nothing(rules: Rules, collateral: Held, debt: Held, taken: Seizure) -> bool:
    """Whether it comes to no scaled unit at all of one of the two: the tokens refuse that."""
    repaid = scaled_for(taken.debt, debt.now.debt_index, rules.repay_scaled)
    withdrawn = scaled_for(taken.seized, collateral.now.liquidity_index, rules.withdraw_scaled)
    return repaid == 0 or withdrawn == 0


def _to_pass(rules: Rules, pair: Pair, taken: Seizure, at_most: Raw | None) -> Raw:
    """A little more where all of the debt or all of the collateral goes: the Pool takes what it
    needs, while a wei too little would leave dust.

    Of collateral it takes what it needs from the amount on that would buy more than there is: where
    that is a few raw units each worth much, that is further away than a little more.
    """
    amount = int(taken.debt)
    if taken.debt >= pair.debt:
        amount += amount // SPARE + 1
    elif taken.seized + taken.fee >= pair.collateral:
        amount = max(amount, least_limited(rules, pair))
        amount += amount // SPARE + 1
    return Raw(amount if at_most is None else max(taken.debt, min(amount, at_most)))
