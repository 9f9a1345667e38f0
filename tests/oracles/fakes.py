"""Contracts made of a table, and a driver for `Steps` that counts its batches."""

from collections.abc import Mapping
from typing import TypeVar

from keeper.model import Address, Asset, BlockRef, Call, CallResult, Failed, Feed, Hash, Returned
from keeper.oracles.abi import SELECTORS
from keeper.oracles.learning import GET_ROUND_DATA
from keeper.ports import Steps

T = TypeVar("T")

NOW = 1_763_680_121
REVERTED = Failed("execution reverted")
_NAMES = {selector: name for name, selector in SELECTORS.items()}

Contract = Mapping[str, CallResult]


def address(n: int) -> Address:
    return Address(f"0x{0xABC0 << 140 | n:040x}")


def asset(n: int, symbol: str = "WETH") -> Asset:
    return Asset(address=address(0xA000 + n), symbol=symbol, decimals=18)


def block(timestamp: int = NOW) -> BlockRef:
    return BlockRef(
        number=21_400_117,
        hash=Hash("0x" + "b7" * 32),
        parent_hash=Hash("0x" + "b6" * 32),
        timestamp=timestamp,
    )


def feed_of(**changes: object) -> Feed:
    fields: dict[str, object] = {
        "address": address(0xFEED),
        "description": "USDC/USD",
        "decimals": 8,
        "heartbeat_s": 86_400,
    }
    return Feed(**(fields | changes))  # type: ignore[arg-type]


def word(value: int) -> Returned:
    return Returned(value.to_bytes(32, "big", signed=value < 0))


def points_to(target: Address) -> Returned:
    return word(int(target, 16))


def text(value: bytes | str) -> Returned:
    data = value if isinstance(value, bytes) else value.encode()
    padded = data + b"\0" * (-len(data) % 32)
    return Returned((32).to_bytes(32, "big") + len(data).to_bytes(32, "big") + padded)


def round_data(answer: int = 99_987_001, updated_at: int = NOW - 41, round_id: int = 3) -> Returned:
    words = (round_id, answer, updated_at - 9, updated_at, round_id)
    return Returned(b"".join(w.to_bytes(32, "big", signed=w < 0) for w in words))


def feed(called: str = "ETH / USD", /, **functions: CallResult) -> Contract:
    """A Chainlink proxy."""
    return {
        "latestRoundData": round_data(),
        "latestAnswer": word(99_987_001),
        "decimals": word(8),
        "description": text(called),
        "aggregator": points_to(address(0xA66)),
        **functions,
    }


def adapter(called: str = "Capped wstETH / ETH / USD", /, **functions: CallResult) -> Contract:
    """An adapter: it answers a price, never a round."""
    return {
        "latestAnswer": word(3_012_34567890),
        "decimals": word(8),
        "description": text(called),
        **functions,
    }


class Chain:
    """Answers calls from contracts; an address without a contract answers no bytes."""

    def __init__(self, contracts: Mapping[Address, Contract]) -> None:
        self.contracts = contracts
        self.batches: list[tuple[Call, ...]] = []

    def answer(self, call: Call) -> CallResult:
        contract = self.contracts.get(call.to)
        if contract is None:
            return Returned(b"")
        if len(call.data) > 4:  # with an argument: answers by number
            assert call.data[:4] == GET_ROUND_DATA
            name = f"getRoundData({int.from_bytes(call.data[4:], 'big')})"
            return contract.get(name, REVERTED)
        return contract.get(_NAMES[call.data], REVERTED)

    def drive(self, steps: Steps[T]) -> T:
        try:
            calls = next(steps)
            while True:
                self.batches.append(calls)
                calls = steps.send(tuple(self.answer(c) for c in calls))
        except StopIteration as done:
            result: T = done.value
            return result
