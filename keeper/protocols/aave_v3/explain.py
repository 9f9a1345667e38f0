"""The arithmetic of one account, line by line, for ``keeper explain``.

The numbers are those of `account`, written out so that a person can redo them with a calculator.
"""

from collections.abc import Mapping

from keeper.model import BlockRef, Holdings, Leg, Side
from keeper.protocols.aave_v3.account import Account, Held, ReserveNow, Unvalued, value_account
from keeper.protocols.aave_v3.market import Market
from keeper.protocols.aave_v3.math import average_threshold
from keeper.protocols.aave_v3.rules import Rules
from keeper.units import UINT256_MAX, WAD, Base, Rounding

WORDS = {
    Rounding.DOWN: "rounded down",
    Rounding.UP: "rounded up",
    Rounding.HALF_UP: "rounded half up",
}


def explain(
    market: Market,
    reserves: Mapping[int, ReserveNow],
    e_mode_prices: Mapping[int, Base | None],
    holdings: Holdings,
    block: BlockRef,
) -> tuple[str, ...]:
    """Return the lines.  Prices that may not be relied upon are used and said to be so."""
    head = (
        f"{market.id}, Aave v{market.rules.release}, block {block.number}",
        f"POOL_REVISION {market.rules.revision}, interest accrued to {block.timestamp}",
        f"account {holdings.account}, {_e_mode(market, holdings.e_mode)}",
    )
    try:
        account = value_account(market, reserves, e_mode_prices, holdings, relied_upon=False)
    except Unvalued as why:
        return (*head, f"unknown: {why}")
    lines: list[str] = []
    for held in account.held:
        lines += _leg(market, held)
    doubts = tuple(
        f"not to be relied upon: {now.unusable}"
        for i in dict.fromkeys(e.reserve for e in holdings.entries)
        if (now := reserves[i]).unusable
    )
    return (*head, *lines, *_sums(market, account), *doubts)


def health(wad: int) -> str:
    """Return a health factor with all 18 decimals."""
    if wad == UINT256_MAX:
        return "no debt"
    return f"{wad // WAD}.{wad % WAD:018d}"


def _e_mode(market: Market, e_mode: int) -> str:
    if e_mode == 0:
        return "no e-mode"
    category = market.e_modes.get(e_mode)
    if category is None:
        return f"e-mode {e_mode}, which is not set up"
    return (
        f"e-mode {e_mode} ({category.label!r}): liquidation threshold "
        f"{category.liquidation_threshold} bps for its own assets"
    )


def _leg(market: Market, held: Held) -> tuple[str, ...]:
    leg, now = held.leg, held.now
    supplied = leg.side is Side.COLLATERAL
    index = now.liquidity_index if supplied else now.debt_index
    rules = market.rules
    rounding = rules.collateral_balance if supplied else rules.debt_balance
    value_rounding = Rounding.DOWN if supplied else rules.debt_value
    balance = (
        f"{leg.side.value} {leg.asset.symbol}: scaled {held.scaled} x index {index} / 10^27 "
        f"= {leg.balance} raw, {WORDS[rounding]}"
    )
    value = (
        f"  {leg.balance} x price {leg.price} / 10^{now.configuration.decimals} "
        f"= {leg.value} base, {WORDS[value_rounding]}"
    )
    return (balance, value, *(_threshold(leg) if supplied else ()))


def _threshold(leg: Leg) -> tuple[str, ...]:
    weighted = leg.value * leg.liquidation_threshold
    return (f"  {leg.value} x liquidation threshold {leg.liquidation_threshold} bps = {weighted}",)


def _sums(market: Market, account: Account) -> tuple[str, ...]:
    unit = market.base_unit
    return (
        f"collateral {account.collateral} base ({_cents(account.collateral, unit)})",
        f"debt {account.debt} base ({_cents(account.debt, unit)})",
        *_division(market.rules, account),
        f"health factor {health(account.health_factor)}",
    )


def _division(rules: Rules, account: Account) -> tuple[str, ...]:
    if account.debt == 0:
        return ()
    if rules.one_division_health:
        return (
            f"sum {account.weighted} x 10^18 / debt {account.debt}, rounded half up",
            "  / 10000, rounded down",
        )
    average = average_threshold(account.collateral, account.weighted)
    return (
        f"average threshold {account.weighted} / {account.collateral} = {average}, rounded down",
        f"{account.collateral} x {average} / 10000, rounded half up",
        f"  x 10^18 / debt {account.debt}, rounded half up",
    )


def _cents(value: int, unit: int) -> str:
    """Return base units as whole ones with two places, cut and not rounded."""
    return f"{value // unit:,}.{value % unit * 100 // unit:02d}"
