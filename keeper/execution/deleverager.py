"""Our deleverager contract, as bytes: its creation code, its orders, its mandates.

Source: contracts/src/Deleverager.sol; ``./run lens`` compiles it into deleverager.json beside this
file, and a test holds the one against the other.  It has no owner and its only argument is the
exchange: at the same address for everybody on a chain.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from eth_utils.crypto import keccak

from keeper.errors import BadAnswer
from keeper.execution.liquidator import PROXY, WORD, intent_word, word
from keeper.model import Address, Call, SignedPermit

SALT: Final = keccak(text="keeper deleverager 2")
SPEAKS: Final = 2
"""The version that is deployed: it takes the orders that are written here, and permits."""
UNDERSTOOD: Final = (1, 2)
"""Versions that take these orders; the first takes no permits."""
TAKES_PERMITS: Final = 2
"""The first version that does."""
_HEAD_WORDS: Final = 10
_PERMIT_WORDS: Final = 5


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


DELEVERAGE: Final = _selector(
    "deleverage((bytes32,address,address,address,address,uint256,uint256,uint256,uint256,bytes))"
)
DELEVERAGE_WITH_PERMIT: Final = _selector(
    "deleverageWithPermit((bytes32,address,address,address,address,uint256,uint256,uint256,uint256,"
    "bytes),(uint256,uint256,uint8,bytes32,bytes32))"
)
VERSION: Final = _selector("version()")
FACTORY: Final = _selector("factory()")
MANDATES: Final = _selector("mandates(address,address,address)")
ALLOWANCE: Final = _selector("allowance(address,address)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One deleverage, as the contract takes it."""

    intent_id: str
    pool: Address
    account: Address
    collateral: Address
    debt: Address
    repay: int
    """Raw units of the debt."""
    max_sold: int
    """Raw units of the collateral."""
    min_health: int
    """Wad."""
    deadline: int
    path: bytes
    """Of Uniswap, collateral to debt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """What a borrower lets an operator do; amounts in base units."""

    until: int
    max_cost_bps: int
    below: int
    """Wad: acts while the health factor is below this."""
    per_transaction: int
    per_day: int


@cache
def creation_code() -> bytes:
    """Return the contract as compiled, without its argument."""
    document = json.loads(files("keeper.execution").joinpath("deleverager.json").read_text("ascii"))
    return bytes.fromhex(document["bytecode"].removeprefix("0x"))


def encode_order(order: Order, permit: SignedPermit | None = None) -> bytes:
    """Return the calldata of ``deleverage(order)``; with a permit of ``deleverageWithPermit``."""
    if permit is None:
        return DELEVERAGE + word(WORD) + _packed(order)
    of = permit.permit
    signed = (word(of.value), word(of.deadline), word(permit.v), permit.r, permit.s)
    offset = word((1 + _PERMIT_WORDS) * WORD)
    return b"".join((DELEVERAGE_WITH_PERMIT, offset, *signed, _packed(order)))


def _packed(order: Order) -> bytes:
    head = (
        intent_word(order.intent_id),
        *map(word, (order.pool, order.account, order.collateral, order.debt)),
        *map(word, (order.repay, order.max_sold, order.min_health, order.deadline)),
        word(_HEAD_WORDS * WORD),
    )
    padding = bytes(-len(order.path) % WORD)
    return b"".join((*head, word(len(order.path)), order.path, padding))


def mandate_call(contract: Address, account: Address, operator: Address, pool: Address) -> Call:
    """Return the read of what `account` lets `operator` do in `pool`."""
    return Call(to=contract, data=MANDATES + b"".join(map(word, (account, operator, pool))))


def decode_mandate(data: bytes) -> Mandate:
    """Return its answer.  Raises `BadAnswer`."""
    if len(data) != 5 * WORD:
        raise BadAnswer("The deleverager did not answer for a mandate: is it ours?")
    words = [int.from_bytes(data[i : i + WORD], "big") for i in range(0, len(data), WORD)]
    return Mandate(
        until=words[0],
        max_cost_bps=words[1],
        below=words[2],
        per_transaction=words[3],
        per_day=words[4],
    )


def allowance_call(token: Address, owner: Address, spender: Address) -> Call:
    """Return the read of what `spender` may take of `owner`'s `token`."""
    return Call(to=token, data=ALLOWANCE + word(owner) + word(spender))


def deployment(factory: Address) -> tuple[Call, Address]:
    """Return the call that deploys it, and where it comes to be."""
    code = creation_code() + word(factory)
    hashed = keccak(b"\xff" + bytes.fromhex(PROXY[2:]) + SALT + keccak(code))
    return Call(to=PROXY, data=SALT + code), Address("0x" + hashed[12:].hex())
