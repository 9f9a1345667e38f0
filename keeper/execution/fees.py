"""EIP-1559 fees: the first ones, how they rise, and what an action may cost.  Pure.

A replacement must beat *both* fees of what it replaces by 10 % (geth, erigon and others);
we use 12.5 %, rounded up, so that no integer edge falls short of it.
"""

from dataclasses import dataclass
from typing import Final

from keeper.model import Fees
from keeper.units import BPS, Base, Bps, Rounding, Wei, mul_div

BASE_FEE_HEADROOM: Final = 2
"""Covers six full blocks in a row: the base fee rises by an eighth at most each."""
WEI_PER_NATIVE: Final = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class AtCap:
    """No valid replacement fits under the cap: keep waiting with what was sent."""

    needed_wei: Wei
    cap_wei: Wei


def initial_fees(base_fee: Wei, tip: Wei, cap: Wei) -> Fees | AtCap:
    """Return fees for a first attempt, or `AtCap` when `cap` does not even pay the base fee.

    Twice the base fee plus the tip, never above `cap`; the tip is never above the maximum.
    """
    if cap < base_fee or cap <= 0:
        return AtCap(needed_wei=Wei(max(base_fee, 1)), cap_wei=cap)
    most = min(BASE_FEE_HEADROOM * base_fee + tip, cap)
    return Fees(max_fee_wei=Wei(max(most, 1)), priority_fee_wei=Wei(min(tip, most)))


def bump(fees: Fees, suggestion: Fees, cap: Wei) -> Fees | AtCap:
    """Return the fees of a valid replacement of `fees`, or `AtCap`.

    Each fee is at least 12.5 % and one wei above the old one, rounded up, and at least the
    suggested one as far as `cap` allows.  Nothing is returned that a node would call underpriced.
    """
    least_max, least_tip = _raised(fees.max_fee_wei), _raised(fees.priority_fee_wei)
    needed = max(least_max, least_tip)
    if needed > cap:
        return AtCap(needed_wei=Wei(needed), cap_wei=cap)
    max_fee = min(max(needed, suggestion.max_fee_wei), cap)
    tip = min(max(least_tip, suggestion.priority_fee_wei), max_fee)
    return Fees(max_fee_wei=Wei(max_fee), priority_fee_wei=Wei(tip))


def leave_room(cap: Wei) -> Wei:
    """Return the greatest fee that one more valid replacement still fits above, within `cap`.

    An action never offers more, so that its nonce can always be used up by a cancellation.
    0 where `cap` is too small for two attempts.
    """
    return Wei(max(cap * 8 // 9, 0))


def suggested(base_fee: Wei, tip: Wei) -> Fees:
    """Return what a fresh transaction would offer at this base fee, without a cap."""
    most = max(BASE_FEE_HEADROOM * base_fee + tip, 1)
    return Fees(max_fee_wei=Wei(most), priority_fee_wei=tip)


def gas_cap(at_stake: Base, share: Bps, native_price: Base, gas_limit: int) -> Wei:
    """Return the most worth paying per gas: `share` of what is at stake, over `gas_limit`.

    `native_price`: base units per whole native token.  Rounded down: if every unit of gas is
    used at this price the cost is still within the share.  0 when nothing is at stake.
    Raises ZeroDivisionError for a zero price or gas limit.
    """
    budget = mul_div(at_stake, share, BPS, Rounding.DOWN)
    wei = mul_div(budget, WEI_PER_NATIVE, native_price, Rounding.DOWN)
    return Wei(wei // gas_limit)


def _raised(fee: int) -> int:
    """Return the least valid replacement of one fee."""
    return max(mul_div(fee, 9, 8, Rounding.UP), fee + 1)
