"""What the chain says of transactions that carry several intents, held against what was told.

It reads calldata, events and receipts of the canonical chain, and the lines of the provider of
messages; never the keeper's database.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from bench.crash_batches import MOST_GAS_WEI

Ask = Callable[..., Any]
"""A method and its parameters."""

ABI: Final = {
    (entry["type"], entry.get("name")): entry
    for entry in json.loads(files("keeper.execution").joinpath("liquidator.json").read_text())[
        "abi"
    ]
}
"""Of the contract that is deployed."""


def _kind(argument: dict[str, Any]) -> str:
    """Return its type as a signature has it."""
    if not argument["type"].startswith("tuple"):
        return str(argument["type"])
    inner = ",".join(_kind(part) for part in argument["components"])
    return f"({inner}){argument['type'].removeprefix('tuple')}"


def _signed(kind: str, name: str) -> bytes:
    return keccak(text=f"{name}({','.join(map(_kind, ABI[kind, name]['inputs']))})")


_ONE: Final = _signed("function", "liquidate")[:4]
_EACH: Final = _signed("function", "liquidateEach")[:4]
_DONE: Final = "0x" + _signed("event", "Liquidated").hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """One transaction of ours on the canonical chain."""

    carried: tuple[bytes, ...]
    """The intents, as the contract knows them."""
    done: frozenset[bytes]
    """Those that it says are done."""
    paid_wei: int
    most_wei: int
    """Gas limit times maximum fee."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What the chain and what was told say together."""

    transactions: int = 0
    """That carried something."""
    several: int = 0
    """Of them, those that carried more than one."""
    carried: int = 0
    """Intents in those."""
    failed: int = 0
    """Intents that were mined and not done."""
    again: int = 0
    """Intents that were mined more than once."""
    untold: int = 0
    """Intents that were mined and nobody heard of."""
    misjudged: int = 0
    """Intents of which something else was told than the receipt's events say."""
    paid_wei: int = 0
    past_caps: int = 0
    """Transactions that might have cost more than one may."""
    said: dict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))


def mined(ask: Ask, signer: str, contract: str) -> Iterator[Mined]:
    """Yield all canonical transactions of `signer`."""
    for number in range(int(ask("eth_blockNumber"), 16) + 1):
        for tx in ask("eth_getBlockByNumber", hex(number), True)["transactions"]:  # noqa: FBT003 - the method's own
            if tx["from"].lower() != signer.lower():
                continue
            receipt = ask("eth_getTransactionReceipt", tx["hash"])
            ours = [log["topics"] for log in receipt["logs"] if log["address"].lower() == contract]
            yield Mined(
                carried=tuple(_carried(bytes.fromhex(tx["input"][2:]))),
                done=frozenset(bytes.fromhex(t[1][2:]) for t in ours if t[0] == _DONE),
                paid_wei=int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16),
                most_wei=int(tx["gas"], 16) * int(tx["maxFeePerGas"], 16),
            )


def _carried(data: bytes) -> Iterable[bytes]:
    """Return the intents in calldata of the contract; nothing for what is none."""
    for called, name in ((_ONE, "liquidate"), (_EACH, "liquidateEach")):
        if data[:4] == called:
            inputs = ABI["function", name]["inputs"]
            first = decode([_kind(argument) for argument in inputs], data[4:])[0]
            return [order[0] for order in ((first,) if called == _ONE else first)]
    return ()


def held_against(transactions: Iterable[Mined], lines: Sequence[Sequence[str]]) -> Found:
    """Hold what was told, ``what number intent_id`` a line, against what was mined."""
    found = Found()
    for what, _, name in lines:
        found.said[keccak(text=name)].add(what)
    times: Counter[bytes] = Counter()
    done: set[bytes] = set()
    for tx in transactions:
        times.update(tx.carried)
        done |= tx.done
        found.transactions += bool(tx.carried)
        found.several += len(tx.carried) > 1
        found.carried += len(tx.carried) if len(tx.carried) > 1 else 0
        found.paid_wei += tx.paid_wei
        found.past_caps += tx.most_wei > MOST_GAS_WEI
    found.again = sum(count - 1 for count in times.values())
    found.failed = len(times.keys() - done)
    for word in times:
        right = {"confirmed"} if word in done else {"reverted"}
        told = found.said.get(word, set())
        found.untold += not told
        found.misjudged += bool(told) and told != right
    for word, told in found.said.items():
        found.misjudged += word not in times and bool(told - {"abandoned"})
    return found
