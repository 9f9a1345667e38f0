"""What each node can do and cannot, and what that costs: for `keeper check` and for the start.

Every question is one cheap request to every node; a node that refuses a question has the finding,
one that does not answer at all has only that.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from keeper.chain import lens, multicall, wire
from keeper.chain.fallback import IDENTITY, ZERO_ADDRESS, plain_call
from keeper.chain.history import FIRST_RANGE_BLOCKS
from keeper.chain.lens import Shares
from keeper.chain.place import Places
from keeper.chain.provider import NoAnswer
from keeper.chain.rpc import Rpc
from keeper.chain.subscription import Subscription
from keeper.chain.urls import redact
from keeper.chain.wire import at_block
from keeper.errors import BadAnswer, KeeperError, RpcError
from keeper.model import BlockRef, Call

OLD_BLOCKS: Final = 10_000
"""State so old is wanted of a node that is to find where a market was deployed."""
STALE_BLOCKS: Final = 10
"""A newest block older than so many block times is old news."""


class Grade(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `keeper check`."""

    node: str
    """Scheme and host, never more."""
    grade: Grade
    says: str
    """What was found and what it costs, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One thing that a node is asked for, and what it means if it says no."""

    method: str
    params: Sequence[Any]
    grade: Grade
    cost: str


async def examine(
    rpc: Rpc,
    ws_urls: Sequence[str] | None,
    *,
    block_time_s: float,
    now: Callable[[], float] | None = time.time,
) -> tuple[Finding, ...]:
    """Ask every node what it can do.  A node without a complaint has one `OK`.

    `ws_urls`: None leaves them out.  `now`: unix seconds; None does not ask how old heads are.
    Raises RpcError only when no node at all answers.
    """
    head = await rpc.block("latest")
    heads = await rpc.each_block("latest")
    compared = await rpc.each_block(max(0, min(_numbers(heads), default=head.number) - 1))
    health = rpc.health
    complaints: list[list[Finding]] = [[] for _ in rpc.names]
    for index, (name, answer) in enumerate(zip(rpc.names, heads, strict=True)):
        if isinstance(answer, RpcError):
            complaints[index].append(Finding(node=name, grade=Grade.FAILED, says=str(answer)))
            continue
        age_s = now() - answer.timestamp if answer is not None and now is not None else 0.0
        if age_s > max(60.0, STALE_BLOCKS * block_time_s):
            says = f"its newest block is {age_s:,.0f} s old: it is not synced, or the chain stands"
            complaints[index].append(Finding(node=name, grade=Grade.FAILED, says=says))
        if health[index].reason:
            complaints[index].append(
                Finding(node=name, grade=Grade.WARNING, says=health[index].reason)
            )
    hashes = {block.hash for block in compared if isinstance(block, BlockRef)}
    if len(hashes) > 1:
        complaints[0].append(
            Finding(
                node=", ".join(rpc.names),
                grade=Grade.FAILED,
                says="the nodes have different blocks of the same number: one is on an old fork; "
                "nothing is sent until they agree",
            )
        )
    for question in _questions(head):
        await _ask(rpc, question, complaints)
    await _reads(rpc, head, complaints)
    await _syncing(rpc, complaints)
    found = [finding for one in complaints for finding in one]
    found += [
        Finding(node=name, grade=Grade.OK, says=f"block {health[index].head or head.number:,}")
        for index, name in enumerate(rpc.names)
        if not complaints[index]
    ]
    if ws_urls is not None:
        found += await _sockets(rpc, ws_urls, block_time_s)
    return tuple(found)


def _numbers(answers: Sequence[BlockRef | RpcError | None]) -> list[int]:
    return [answer.number for answer in answers if isinstance(answer, BlockRef)]


def _questions(head: BlockRef) -> tuple[_Question, ...]:
    return (
        _Question(
            method="eth_getLogs",
            params=[{"blockHash": head.hash, "address": ZERO_ADDRESS}],
            grade=Grade.WARNING,
            cost="takes no block hash for logs: they are asked for by number and checked, one more "
            "request a block",
        ),
        _Question(
            method="eth_getLogs",
            params=[
                {
                    "fromBlock": hex(max(0, head.number - FIRST_RANGE_BLOCKS + 1)),
                    "toBlock": hex(head.number),
                    "address": ZERO_ADDRESS,
                }
            ],
            grade=Grade.WARNING,
            cost=f"refuses the logs of {FIRST_RANGE_BLOCKS:,} blocks in one request: history is "
            "read in shorter ranges, so the first start takes many more requests; set "
            "deployment_block, or use a node with wider ranges for it",
        ),
        _Question(
            method="eth_getBalance",
            params=[ZERO_ADDRESS, hex(max(0, head.number - OLD_BLOCKS))],
            grade=Grade.WARNING,
            cost="has no old state: set deployment_block of each market, or the start of its "
            "history cannot be found",
        ),
        _Question(
            method="eth_getBlockReceipts",
            params=[head.hash],
            grade=Grade.WARNING,
            cost="gives no receipts of a block: logs that it leaves out are found by the sweep "
            "only, or at another node",
        ),
        _Question(
            method="eth_getBlockByNumber",
            params=["finalized", False],
            grade=Grade.WARNING,
            cost="does not say what is final: a reorg past finality cannot be noticed",
        ),
    )


async def _ask(rpc: Rpc, question: _Question, complaints: list[list[Finding]]) -> None:
    answers = await rpc.each(question.method, question.params, _anything)
    for index, answer in enumerate(answers):
        said_no = isinstance(answer, RpcError) and not isinstance(answer, NoAnswer)
        if not said_no and answer is not None:  # null is a no as well
            continue
        complaints[index].append(
            Finding(node=rpc.names[index], grade=question.grade, says=question.cost)
        )


async def _reads(rpc: Rpc, head: BlockRef, complaints: list[list[Finding]]) -> None:
    """Find out by which way (`keeper.chain.ways`) each node is read, and what that costs."""
    code = lens.encode([Call(to=IDENTITY, data=b"k")], Shares())
    packed = [{"from": ZERO_ADDRESS, "data": "0x" + code.hex()}, at_block(head)]
    there = [multicall.address_on(rpc.expected_chain_id), at_block(head)]
    lenses = await rpc.each("eth_call", packed, _anything)
    plain = await rpc.each(*plain_call(head), _anything)
    codes = await rpc.each("eth_getCode", there, _anything)
    for index, name in enumerate(rpc.names):
        if isinstance(lenses[index], NoAnswer) or isinstance(plain[index], NoAnswer):
            continue
        grade, says = _way(lenses[index], plain[index], codes[index], head)
        if says:
            complaints[index].append(Finding(node=name, grade=grade, says=says))


def _way(lens_said: Any, plain_said: Any, code: Any, head: BlockRef) -> tuple[Grade, str]:
    """Return what is to be said of a node's reads, or nothing."""
    try:
        text = lens_said.data if isinstance(lens_said, RpcError) else lens_said
        place, results = lens.decode(wire.octets(text, "a packed read"), 1, Shares())
    except BadAnswer:
        if isinstance(plain_said, RpcError):
            return Grade.FAILED, "reads nothing pinned to a block hash: it cannot be used"
        if isinstance(code, str) and len(code) > 2:
            return Grade.WARNING, (
                "refuses the packed read: it is read through Multicall3, where a contract that "
                "burns gas costs more requests"
            )
        return Grade.WARNING, (
            "refuses the packed read and has no Multicall3: every value is an eth_call of its own, "
            "so raise calls_per_second or use another node"
        )
    if why := Places().contradiction(head, place):
        return Grade.FAILED, f"answers reads of a block from another one ({why}): use another node"
    if not results:
        return Grade.WARNING, (
            "runs an eth_call with too little gas for packed reads: every value is an eth_call of "
            "its own, so raise its RPC gas cap or use another node"
        )
    return Grade.OK, ""


async def _syncing(rpc: Rpc, complaints: list[list[Finding]]) -> None:
    answers = await rpc.each("eth_syncing", [], _anything)
    for index, answer in enumerate(answers):
        if isinstance(answer, RpcError) or answer is False or answer is None:
            continue
        says = "is still syncing: what it answers is old"
        complaints[index].append(Finding(node=rpc.names[index], grade=Grade.FAILED, says=says))


def _anything(raw: msgspec.Raw) -> Any:
    return wire.convert(raw, Any, "a question")


async def _sockets(rpc: Rpc, ws_urls: Sequence[str], block_time_s: float) -> list[Finding]:
    if not ws_urls:
        late_s = min(2.0, max(0.1, block_time_s / 3))
        says = f"no ws_urls: heads are polled, each up to {late_s:.2g} s late"
        return [Finding(node="websocket", grade=Grade.WARNING, says=says)]
    found = []
    for url in ws_urls:
        grade, says = Grade.OK, "pushes heads"
        try:
            await Subscription.prove(url, rpc.expected_chain_id)
        except KeeperError as error:
            grade, says = Grade.WARNING, f"{error} Heads come from another one, or are polled."
        found.append(Finding(node=redact(url), grade=grade, says=says))
    return found
