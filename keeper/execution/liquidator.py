"""Our liquidator contract, as bytes: its creation code, its orders, what it answers.

Source: contracts/src/Liquidator.sol; ``./run lens`` compiles it into liquidator.json beside this
file, and a test holds the one against the other.  It is deployed through the deterministic
deployment proxy, so that its address is known before anything is sent and one deployment cannot
become two.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from eth_utils.crypto import keccak

from keeper.errors import BadAnswer
from keeper.model import Address, Call, Log

PROXY: Final = Address("0x4e59b44847b379578588920ca78fbf26c0b4956c")
"""The deterministic deployment proxy: salt and creation code in, CREATE2.  On almost every chain,
at this address, since one published transaction with no owner deployed it."""
SALT: Final = keccak(text="keeper liquidator 4")
WORD: Final = 32
_HEAD_WORDS: Final = 10


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


_ORDER: Final = "(bytes32,address,address,address,address,address,uint256,uint256,uint256,bytes)"
LIQUIDATE: Final = _selector(f"liquidate({_ORDER})")
LIQUIDATE_EACH: Final = _selector(f"liquidateEach({_ORDER}[],uint256[])")
_SWAP: Final = "(address,address,uint256,uint256,bytes)"
LIQUIDATE_OVER: Final = _selector(f"liquidateOver({_ORDER},{_SWAP})")
LIQUIDATED: Final = "0x" + keccak(text="Liquidated(bytes32,address,address,uint256)").hex()
FAILED: Final = "0x" + keccak(text="Failed(bytes32,address,bytes)").hex()
VERSION: Final = _selector("version()")
SPEAKS: Final = 4
"""The version whose orders `encode_order` writes."""
OWNER: Final = _selector("owner()")
FACTORY: Final = _selector("factory()")
CALLERS: Final = _selector("callers(address)")
POOLS: Final = _selector("pools(address)")
TARGETS: Final = _selector("targets(address)")
SPENDERS: Final = _selector("spenders(address)")
SETTERS: Final = {
    "caller": ("setCaller", CALLERS, _selector("setCaller(address,bool)")),
    "market": ("setPool", POOLS, _selector("setPool(address,bool)")),
    "target": ("setTarget", TARGETS, _selector("setTarget(address,bool)")),
    "spender": ("setSpender", SPENDERS, _selector("setSpender(address,bool)")),
}
"""By role: the name of what lists an address in it, what tells whether it is, what lists it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One liquidation, as the contract takes it."""

    intent_id: str
    pool: Address
    account: Address
    collateral: Address
    debt: Address
    debt_token: Address | None
    """The market's token of that debt, where all of it is repaid: no more is borrowed than that."""
    amount: int
    """The most that is borrowed and offered, raw units of the debt."""
    min_profit: int
    """Raw units of the collateral."""
    deadline: int
    path: bytes
    """Of Uniswap, collateral to debt; empty when both are one token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A sale elsewhere than over Uniswap v3, as the contract takes it."""

    target: Address
    """Whom the contract calls."""
    spender: Address
    """Who may take what is sold meanwhile."""
    sold: int
    """Raw units of the collateral: exactly what is approved."""
    min_bought: int
    """Raw units of the debt: what must have come, as the contract measures it."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one order among several, as the contract answers."""

    done: bool
    profit: int
    """Raw units of the collateral."""
    gas: int
    """Before refunds."""
    reason: bytes
    """Revert data, the first 256 bytes of it; empty when done."""


@cache
def creation_code() -> bytes:
    """Return the contract as compiled, without its arguments."""
    document = json.loads(files("keeper.execution").joinpath("liquidator.json").read_text("ascii"))
    return bytes.fromhex(document["bytecode"].removeprefix("0x"))


def intent_word(intent_id: str) -> bytes:
    """Return the 32 bytes by which the contract knows an intent."""
    return keccak(text=intent_id)


def encode_order(order: Order) -> bytes:
    """Return the calldata of ``liquidate(order)``."""
    return LIQUIDATE + word(WORD) + _packed(order)


def encode_over(order: Order, swap: Swap) -> bytes:
    """Return the calldata of ``liquidateOver(order, swap)``; the order's path must be empty."""
    first = _packed(order)
    head = word(2 * WORD) + word(2 * WORD + len(first))
    amounts = (swap.sold, swap.min_bought, 5 * WORD, len(swap.data))
    fields = (word(swap.target), word(swap.spender), *map(word, amounts))
    padding = bytes(-len(swap.data) % WORD)
    return b"".join((LIQUIDATE_OVER, head, first, *fields, swap.data, padding))


def decode_profit(answer: bytes) -> tuple[int, int]:
    """Return what ``liquidate`` or ``liquidateOver`` answers: profit in the collateral, and what
    a sale brought above the loan in the debt (0 of the former).  Raises `BadAnswer`.
    """
    if len(answer) not in (WORD, 2 * WORD):
        raise BadAnswer(f"The liquidator answered {len(answer)} bytes, not what it left.")
    return int.from_bytes(answer[:WORD], "big"), int.from_bytes(answer[WORD:], "big")


def encode_orders(orders: Sequence[Order], gas_limits: Sequence[int]) -> bytes:
    """Return the calldata of ``liquidateEach(orders, gas_limits)``, one limit for each order."""
    packed = [_packed(order) for order in orders]
    offsets, at = [], len(packed) * WORD
    for one in packed:
        offsets.append(word(at))
        at += len(one)
    first = b"".join((word(len(packed)), *offsets, *packed))
    limits = b"".join((word(len(gas_limits)), *map(word, gas_limits)))
    return LIQUIDATE_EACH + word(2 * WORD) + word(2 * WORD + len(first)) + first + limits


def decode_results(answer: bytes, count: int) -> tuple[Result, ...]:
    """Return what ``liquidateEach`` answers for `count` orders.  Raises `BadAnswer`."""

    def number(at: int) -> int:
        if at < 0 or at + WORD > len(answer):
            raise BadAnswer(f"The liquidator's answer of {len(answer)} bytes is not of {count}.")
        return int.from_bytes(answer[at : at + WORD], "big")

    start = number(0)
    if number(start) != count:
        raise BadAnswer(f"The liquidator answers for {number(start)} orders of {count}.")
    results = []
    for i in range(count):
        at = start + WORD + number(start + WORD + i * WORD)
        said = at + number(at + 3 * WORD)
        size = number(said)
        results.append(
            Result(
                done=number(at) == 1,
                profit=number(at + WORD),
                gas=number(at + 2 * WORD),
                reason=answer[said + WORD : said + WORD + min(size, len(answer))],
            )
        )
    return tuple(results)


def done_by(logs: Sequence[Log], contract: Address) -> dict[bytes, bytes | None]:
    """Return by intent word what `contract` says of each order: None done, else why it failed."""
    said: dict[bytes, bytes | None] = {}
    for log in logs:
        if log.address != contract or len(log.topics) < 2:
            continue
        intent = bytes.fromhex(log.topics[1][2:])
        if log.topics[0] == LIQUIDATED:
            said[intent] = None
        elif log.topics[0] == FAILED:
            size = int.from_bytes(log.data[WORD : 2 * WORD], "big")
            said.setdefault(intent, log.data[2 * WORD : 2 * WORD + min(size, len(log.data))])
    return said


def _packed(order: Order) -> bytes:
    head = (
        intent_word(order.intent_id),
        *map(word, (order.pool, order.account, order.collateral, order.debt)),
        word(order.debt_token or 0),
        *map(word, (order.amount, order.min_profit, order.deadline)),
        word(_HEAD_WORDS * WORD),
    )
    padding = bytes(-len(order.path) % WORD)
    return b"".join((*head, word(len(order.path)), order.path, padding))


def deployment(
    owner: Address,
    factory: Address,
    callers: Sequence[Address],
    pools: Sequence[Address],
    *,
    targets: Sequence[Address] = (),
    spenders: Sequence[Address] = (),
) -> tuple[Call, Address]:
    """Return the call that deploys it, and where it comes to be."""
    offsets, lists = [], []
    at = 2 + 4
    for addresses in (callers, pools, targets, spenders):
        offsets.append(word(at * WORD))
        lists += [word(len(addresses)), *map(word, addresses)]
        at += 1 + len(addresses)
    arguments = b"".join((word(owner), word(factory), *offsets, *lists))
    code = creation_code() + arguments
    hashed = keccak(b"\xff" + bytes.fromhex(PROXY[2:]) + SALT + keccak(code))
    return Call(to=PROXY, data=SALT + code), Address("0x" + hashed[12:].hex())


def word(value: Address | int) -> bytes:
    """Return one word of calldata."""
    return (int(value, 16) if isinstance(value, str) else value).to_bytes(WORD, "big")
