"""What is missing where an action cannot be paid for, and what helps."""

from keeper.model import Asset
from keeper.ports import Wallet
from keeper.strategies.text import need, number, symbol
from keeper.units import Raw, Rounding

SPENDABLE = "spendable"
"""The word for what balance and allowance leave."""


def missing(
    wanted: Raw, asset: Asset, limit: Raw, bound_by: str, wallet: Wallet, *, least: Raw | None
) -> str:
    """Return that `wanted` is more than `limit`, with both numbers, and the remedy where it helps.

    `bound_by`: the word for the limit.  `least`: what would do as well; None: nothing less than
    `wanted`.  The remedy is named where only the allowance is in the way.
    """
    there = number(limit, asset, Rounding.DOWN)
    short = f"needs {need(wanted, asset)}, {there} {bound_by}"
    held = wallet.held(asset.address)
    if bound_by != SPENDABLE or held <= limit:
        return short
    short = f"{short} of {number(held, asset, Rounding.DOWN)} held"
    if held < (wanted if least is None else least):
        return short
    return f"{short}: the allowance is too small, keeper approve {symbol(asset)} --send"
