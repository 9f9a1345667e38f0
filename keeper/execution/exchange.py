"""Uniswap v3 as calls and answers: its pools, what they cost, how a path is packed.  Pure.

Source: v3-core's UniswapV3Factory and v3-periphery's QuoterV2 and Path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, Call, CallResult, Returned

FEES: Final = (100, 500, 3_000, 10_000)
"""Millionths; a factory's owner may enable others, which we do not look for."""
GET_POOL: Final = bytes.fromhex("1698ee82")
"""getPool(address,address,uint24)"""
QUOTE: Final = bytes.fromhex("bd21704a")
"""quoteExactOutputSingle((address,address,uint256,uint24,uint160))"""
WORD: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One deployment of Uniswap v3."""

    factory: Address
    quoter: Address
    """QuoterV2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One pool, and the way through it."""

    token_in: Address
    token_out: Address
    fee: int


def pool_call(exchange: Exchange, hop: Hop) -> Call:
    """Return the call that asks whether there is such a pool."""
    words = _words(hop.token_in, hop.token_out, hop.fee)
    return Call(to=exchange.factory, data=GET_POOL + words)


def decode_pool(result: CallResult) -> bool:
    """Return whether there is one.  Raises `BadAnswer`."""
    if not isinstance(result, Returned) or len(result.data) != WORD:
        raise BadAnswer("The exchange's factory did not answer getPool: is it Uniswap v3's?")
    return any(result.data)


def quote_call(exchange: Exchange, hop: Hop, amount: int) -> Call:
    """Return the call that asks what `amount` of what a pool pays out costs.

    It must not be a static call.  It reverts where the pool does not have that much.
    """
    words = _words(hop.token_in, hop.token_out, amount, hop.fee, 0)
    return Call(to=exchange.quoter, data=QUOTE + words)


def decode_quote(data: bytes) -> int:
    """Return what must be put in.  Raises `BadAnswer`."""
    if len(data) != 4 * WORD:
        raise BadAnswer("The exchange's quoter did not answer a quote: is it Uniswap's QuoterV2?")
    return int.from_bytes(data[:WORD], "big")


def encode_path(hops: Sequence[Hop]) -> bytes:
    """Return token, fee, token, ... packed."""
    if not hops:
        return b""
    parts = [bytes.fromhex(hops[0].token_in[2:])]
    for hop in hops:
        parts += (hop.fee.to_bytes(3, "big"), bytes.fromhex(hop.token_out[2:]))
    return b"".join(parts)


def _words(*values: Address | int) -> bytes:
    return b"".join((int(v, 16) if isinstance(v, str) else v).to_bytes(WORD, "big") for v in values)
