"""Which functions of a market the keeper calls, and how its Pool answers for a health factor."""

from keeper.model import Address, Call, IntentKind, Returned
from keeper.protocols.aave_v3 import codec
from keeper.protocols.aave_v3.market import Market
from keeper.units import Wad


def actions(market: Market) -> tuple[tuple[IntentKind, Address, bytes], ...]:
    """Return (kind, target, selector) of every transaction the keeper can make in this market."""
    return (
        (IntentKind.TOP_UP, market.pool, codec.SUPPLY),
        (IntentKind.REPAY, market.pool, codec.REPAY),
        (IntentKind.LIQUIDATE, market.pool, codec.LIQUIDATION_CALL),
        *((IntentKind.APPROVE, r.asset.address, codec.APPROVE) for r in market.reserves),
    )


def health_call(market: Market, account: Address) -> Call:
    """Return the Pool's own view of an account: `getUserAccountData`."""
    return codec.call(market.pool, codec.GET_USER_ACCOUNT_DATA, account)


def decode_health(data: bytes) -> Wad:
    """Return the health factor of that answer.  Raises BadAnswer when it is not one."""
    return codec.decode_account_data(Returned(data), "getUserAccountData").health_factor
