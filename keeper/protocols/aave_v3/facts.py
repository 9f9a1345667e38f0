"""What a market's reserves have room for: rates, liquidity, caps.  Read for people's rules only.

Every number is asked of the contracts at the block; only the caps are arithmetic:
``supply cap - (supply + what the treasury has not minted)`` as `ValidationLogic.validateSupply` has
it, rounded down, and ``borrow cap - total debt`` as in `validateBorrow`.
"""

from keeper.errors import BadAnswer
from keeper.model import CallResult, Failed, ReserveFacts
from keeper.ports import Steps
from keeper.protocols.aave_v3 import codec
from keeper.protocols.aave_v3.codec import call
from keeper.protocols.aave_v3.market import Market, Reserve
from keeper.units import Raw, Rounding, mul_div


def facts(market: Market) -> Steps[tuple[ReserveFacts, ...]]:
    """Read every reserve in one batch."""
    answers = iter(
        (
            yield tuple(
                c
                for reserve in market.reserves
                for c in (
                    call(market.pool, codec.GET_RESERVE_DATA, reserve.asset.address),
                    call(market.pool, codec.GET_VIRTUAL_UNDERLYING_BALANCE, reserve.asset.address),
                    call(reserve.asset.address, codec.BALANCE_OF, reserve.a_token),
                    call(reserve.a_token, codec.TOTAL_SUPPLY),
                    call(reserve.a_token, codec.SCALED_TOTAL_SUPPLY),
                    call(reserve.debt_token, codec.TOTAL_SUPPLY),
                    call(reserve.stable_debt_token or reserve.debt_token, codec.TOTAL_SUPPLY),
                )
            )
        )
    )
    return tuple(
        _facts(reserve, tuple(next(answers) for _ in range(7))) for reserve in market.reserves
    )


def _facts(reserve: Reserve, answers: tuple[CallResult, ...]) -> ReserveFacts:
    """`answers` in the order of the calls."""
    name = reserve.asset.symbol
    data = codec.decode_reserve_data(answers[0], f"getReserveData({reserve.asset.address})")
    if data.id != reserve.id:
        raise BadAnswer(f"getReserveData of {name} answered another reserve than was discovered.")
    held = codec.uint(answers[2], f"balance of {name} in its aToken")
    counted = held  # before 3.1 the pool keeps no count of its own
    if not isinstance(answers[1], Failed):
        counted = codec.uint(answers[1], f"getVirtualUnderlyingBalance of {name}")
    borrowed = codec.uint(answers[5], f"totalSupply of the debt of {name}")
    if reserve.stable_debt_token is not None:
        borrowed += codec.uint(answers[6], f"totalSupply of the stable debt of {name}")
    supplied = codec.uint(answers[3], f"totalSupply of the aToken of {name}")
    scaled = codec.uint(answers[4], f"scaledTotalSupply of {name}")
    unminted = data.accrued_to_treasury
    # Both accrue by the same index; rounded up, so that room is never promised that is not there.
    owed = mul_div(unminted, supplied, scaled, Rounding.UP) if scaled else unminted
    unit = 10**data.configuration.decimals
    return ReserveFacts(
        asset=reserve.asset,
        borrow_rate_ray=data.debt_rate,
        supplied=Raw(supplied),
        borrowed=Raw(borrowed),
        liquidity=Raw(min(held, counted)),
        usable_liquidity=Raw(counted),
        supply_room=_room(data.configuration.supply_cap * unit, supplied + owed),
        borrow_room=_room(data.configuration.borrow_cap * unit, borrowed),
    )


def _room(cap: int, used: int) -> Raw | None:
    return Raw(max(0, cap - used)) if cap else None
