"""One account at one block, valued exactly as `Pool.getUserAccountData` values it.

`ReserveNow` is a reserve with interest accrued to the block's timestamp and its price;
`value_account` adds an account's entries up.  What cannot be valued raises `Unvalued`, which the
view turns into `Unassessable`: it costs one account, never the block.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.model import Asset, BlockRef, Entry, Holdings, Leg, Side
from keeper.protocols.aave_v3.market import Configuration, Market, Reserve, ReserveState
from keeper.protocols.aave_v3.math import (
    UP,
    average_threshold,
    collateral_balance,
    collateral_value,
    debt_balance,
    debt_index_at,
    debt_value,
    health_factor,
    least_health_factor,
    liquidity_index_at,
    percent_mul,
    ray_div,
    ray_mul,
)
from keeper.protocols.aave_v3.rules import Rules
from keeper.units import Base, Bps, Raw, Wad

SCALED_BOUND = 1 << 128
PRICE_BOUND = 1 << 128
MOST_DECIMALS = 36
"""Greater answers cannot be prices: the contract would overflow on them."""


class Unvalued(Exception):  # noqa: N818 - it reads as what it is
    """Why an account cannot be valued; caught in the view, never let out of this folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveNow:
    """One reserve at one block's timestamp."""

    reserve: Reserve
    state: ReserveState
    """As stored, nothing accrued: what later instants are computed from."""
    configuration: Configuration
    liquidity_index: int
    debt_index: int
    unit: int
    """``10**decimals``: raw units of one whole token."""
    price: Base | None
    """What the protocol's oracle answers, usable or not; None when it does not."""
    unusable: str
    """Why the price must not be relied upon; empty when it may."""
    broken: str
    """Why not even the contract's own number can be computed; empty when it can."""
    headroom: Raw | None
    """What may still be supplied under the supply cap, raw units: never more than the Pool takes;
    0 where that is not known, None where there is no cap."""
    grace_until: int
    liquidity_rate: int = 0
    debt_rate: int = 0
    """Ray per year, as stored: what is earned and what is owed from here on."""

    @property
    def asset(self) -> Asset:
        """The underlying token."""
        return self.reserve.asset

    @property
    def shut(self) -> bool:
        """Whether nothing of it is supplied, repaid, moved or seized: inactive or paused."""
        return not self.configuration.active or self.configuration.paused


def reserve_now(
    market: Market,
    reserve: Reserve,
    state: ReserveState,
    *,
    price: Base | None,
    block: BlockRef,
    why: str,
) -> ReserveNow:
    """Accrue one reserve to `block`'s timestamp.

    `price`: what the oracle answered; `why`: the reason it is unusable, or empty.
    """
    symbol = reserve.asset.symbol
    elapsed_s = block.timestamp - state.updated_at
    broken = ""
    if price is None:
        broken = f"{symbol}: the protocol's oracle does not answer"
    elif not 0 <= price < PRICE_BOUND:
        broken = f"{symbol}: the protocol's oracle answers {price}, which is no price"
    elif elapsed_s < 0:
        broken = (
            f"{symbol}: last updated at {state.updated_at}, after the block ({block.timestamp})"
        )
    elif state.liquidity_index == 0 or state.debt_index == 0:
        broken = f"{symbol}: an index of zero cannot be"
    elif state.configuration.decimals > MOST_DECIMALS:
        broken = f"{symbol}: {state.configuration.decimals} decimals are more than {MOST_DECIMALS}"
    elapsed_s = max(0, elapsed_s)
    liquidity_index = liquidity_index_at(state.liquidity_index, state.liquidity_rate, elapsed_s)
    unit = 10**state.configuration.decimals
    debt_index = debt_index_at(market.rules, state.debt_index, state.debt_rate, elapsed_s)
    unusable = why or broken
    if not unusable and price == 0:
        unusable = f"{symbol}: the protocol's oracle answers 0"
    return ReserveNow(
        reserve=reserve,
        state=state,
        configuration=state.configuration,
        liquidity_index=liquidity_index,
        liquidity_rate=state.liquidity_rate,
        debt_rate=state.debt_rate,
        debt_index=debt_index,
        unit=unit,
        price=price,
        unusable=unusable,
        broken=broken,
        headroom=_headroom(market.rules, state, liquidity_index, debt_index),
        grace_until=reserve.grace_until,
    )


def _headroom(
    rules: Rules, state: ReserveState, liquidity_index: int, debt_index: int
) -> Raw | None:
    """Return what the supply cap leaves room for with interest accrued to these indices.

    Before the Pool looks at the cap it gives the treasury its share of the interest since the last
    update, as aTokens not minted yet.  Every step is rounded up here, so that it is a few raw units
    too little and never one too much.
    """
    configuration = state.configuration
    if not configuration.supply_cap:
        return None
    scaled, debt, stable = state.scaled_supply, state.scaled_debt, state.stable_interest
    if scaled is None or debt is None or stable is None or liquidity_index == 0:
        return Raw(0)
    # the greatest difference of two roundings is one more than that of what is rounded
    interest = ray_mul(debt, max(0, debt_index - state.debt_index), UP) + 1 + stable
    share = percent_mul(interest, configuration.reserve_factor, UP)
    unminted = state.accrued_to_treasury + ray_div(share, liquidity_index, UP)
    supplied = collateral_balance(rules, scaled + unminted, liquidity_index) + 1
    return Raw(max(0, configuration.supply_cap * 10**configuration.decimals - supplied))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an account's e-mode makes of one reserve."""

    liquidation_threshold: Bps
    liquidation_bonus: Bps
    counts: bool
    """Whether an enabled balance is collateral at all."""


def terms(market: Market, configuration: Configuration, reserve_id: int, e_mode: int) -> Terms:
    """Return threshold and bonus that apply in category `e_mode`."""
    category = market.e_modes.get(e_mode) if e_mode else None
    counts = (
        market.rules.counts_collateral_without_threshold or configuration.liquidation_threshold != 0
    )
    if category is not None:
        member = (
            bool(category.collateral_bitmap >> reserve_id & 1)
            if market.rules.e_mode_bitmaps
            else configuration.e_mode == e_mode
        )
        if member:
            return Terms(
                liquidation_threshold=category.liquidation_threshold,
                liquidation_bonus=category.liquidation_bonus,
                counts=counts,
            )
    return Terms(
        liquidation_threshold=configuration.liquidation_threshold,
        liquidation_bonus=configuration.liquidation_bonus,
        counts=counts,
    )


def loan_to_value(
    market: Market, configuration: Configuration, reserve_id: int, e_mode: int
) -> Bps:
    """Return the loan to value that decides what may be withdrawn (`getUserReserveLtv`, 3.6+).

    Before, the reserve's own, in an e-mode too.
    """
    category = market.e_modes.get(e_mode) if e_mode else None
    if category is None or not market.rules.e_mode_loan_to_value:
        return configuration.ltv
    if not category.collateral_bitmap >> reserve_id & 1:
        return configuration.ltv
    return Bps(0) if category.ltv_zero_bitmap >> reserve_id & 1 else category.ltv


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One entry of an account with the leg it makes."""

    leg: Leg
    scaled: int
    now: ReserveNow


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account, added up."""

    rules: Rules
    held: tuple[Held, ...]
    collateral: Base
    weighted: int
    """``sum(value * threshold in bps)`` over the collateral."""
    debt: Base

    @property
    def health_factor(self) -> Wad:
        """As the Pool answers it."""
        return health_factor(self.rules, self.collateral, self.weighted, self.debt)

    @property
    def least_health_factor(self) -> Wad:
        """As if flooring the average threshold had taken a whole basis point (up to 3.4)."""
        return least_health_factor(self.rules, self.collateral, self.weighted, self.debt)

    @property
    def threshold(self) -> Bps:
        """The average liquidation threshold, floored."""
        return average_threshold(self.collateral, self.weighted)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """In the order of the holdings."""
        return tuple(h.leg for h in self.held)

    def find(self, leg: Leg) -> Held | None:
        """Return the entry in the same reserve on the same side."""
        for held in self.held:
            if held.leg.reserve == leg.reserve and held.leg.side is leg.side:
                return held
        return None


def value_account(
    market: Market,
    reserves: Mapping[int, ReserveNow],
    e_mode_prices: Mapping[int, Base | None],
    holdings: Holdings,
    *,
    relied_upon: bool,
) -> Account:
    """Add up `holdings`.

    `relied_upon`: raise `Unvalued` for prices that are unusable, as against only for those the
    contract itself could not use either.  Of an entry of 0 only the latter counts: the Pool asks
    for its price before it looks at the balance (`GenericLogic.calculateUserAccountData`).
    """
    held: list[Held] = []
    collateral = weighted = debt = 0
    if relied_upon:
        _refuse_own_prices(market, reserves, holdings)
    for entry in holdings.entries:
        now = reserves.get(entry.reserve)
        if now is None:
            raise Unvalued(f"reserve {entry.reserve} of {holdings.account} is not known")
        why = now.unusable if relied_upon and entry.scaled else now.broken
        if why:
            raise Unvalued(why)
        if not 0 <= entry.scaled < SCALED_BOUND:
            raise Unvalued(
                f"{now.asset.symbol} of {holdings.account}: a scaled balance of {entry.scaled} "
                "cannot be"
            )
        price = _price(market, now, holdings.e_mode, e_mode_prices)
        leg = _leg(market, now, entry, holdings.e_mode, price)
        if leg is None:
            continue
        held.append(Held(leg=leg, scaled=entry.scaled, now=now))
        if leg.side is Side.DEBT:
            debt += leg.value
        else:
            collateral += leg.value
            weighted += leg.value * leg.liquidation_threshold
    return Account(
        rules=market.rules,
        held=tuple(held),
        collateral=Base(collateral),
        weighted=weighted,
        debt=Base(debt),
    )


def _leg(market: Market, now: ReserveNow, entry: Entry, e_mode: int, price: Base) -> Leg | None:
    if entry.side is Side.DEBT:
        balance = debt_balance(market.rules, entry.scaled, now.debt_index)
        return Leg(
            side=Side.DEBT,
            reserve=entry.reserve,
            asset=now.asset,
            balance=balance,
            value=debt_value(market.rules, balance, price, now.unit),
            price=price,
            liquidation_threshold=Bps(0),
            liquidation_bonus=Bps(0),
        )
    apply = terms(market, now.configuration, entry.reserve, e_mode)
    if not apply.counts:
        return None
    balance = collateral_balance(market.rules, entry.scaled, now.liquidity_index)
    return Leg(
        side=Side.COLLATERAL,
        reserve=entry.reserve,
        asset=now.asset,
        balance=balance,
        value=collateral_value(balance, price, now.unit),
        price=price,
        liquidation_threshold=apply.liquidation_threshold,
        liquidation_bonus=apply.liquidation_bonus,
    )


def own_price(market: Market, configuration: Configuration, e_mode: int) -> bool:
    """Whether category `e_mode` prices this reserve by a source of its own (up to 3.1)."""
    if market.rules.e_mode_bitmaps or e_mode == 0 or configuration.e_mode != e_mode:
        return False
    category = market.e_modes.get(e_mode)
    return category is not None and category.price_source is not None


def _price(
    market: Market, now: ReserveNow, e_mode: int, e_mode_prices: Mapping[int, Base | None]
) -> Base:
    assert now.price is not None, "a broken reserve was refused before"
    if not own_price(market, now.configuration, e_mode):
        return now.price
    price = e_mode_prices.get(e_mode)
    if price is None:
        raise Unvalued(f"e-mode {e_mode}: its own price source does not answer")
    return price or now.price


def _refuse_own_prices(
    market: Market, reserves: Mapping[int, ReserveNow], holdings: Holdings
) -> None:
    for entry in holdings.entries:
        now = reserves.get(entry.reserve)
        if entry.scaled and now and own_price(market, now.configuration, holdings.e_mode):
            raise Unvalued(
                f"{now.asset.symbol}: e-mode {holdings.e_mode} prices it by a source of its own, "
                "whose age is not watched"
            )
