"""What this room asks of a node, and the hex of JSON-RPC.

`Node` is met by `keeper.chain.rpc.Rpc` and by the fakes of the tests.  Reads may be retried and
failed over by the node; `send_raw` must be tried once only, and whatever it raises is a hint.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from keeper.errors import BadAnswer, RpcError
from keeper.model import Address, BlockRef, Hash, Receipt
from keeper.units import Wei


class Node(Protocol):
    """One chain, as the executor sees it."""

    async def call(self, method: str, params: list[Any], /) -> Any:
        """Result of a read.  Raises `RpcError` with the node's own `code` and `data`."""
        ...

    async def send_raw(self, raw: bytes, /) -> Hash:
        """Hand over a signed transaction, once.  An error does not mean that it was not taken."""
        ...

    async def receipt(self, tx_hash: Hash, /) -> Receipt | None:
        """The receipt in the node's canonical chain, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What the chain says about the signer at one block."""

    block: BlockRef
    chain_id: int
    nonce: int
    """Transactions of the signer mined up to `block`, read by its hash."""
    pending_nonce: int
    """The same with the node's own pool: a hint, other nodes may know more or less."""
    balance_wei: Wei
    tip_wei: Wei
    """Priority fee the node suggests; 0 where it has no suggestion."""


def quantity(value: int) -> str:
    """Return `value` as JSON-RPC writes integers."""
    return hex(value)


def parse_quantity(value: object, what: str) -> int:
    """Read an integer of an answer.  Raises `BadAnswer` naming `what`."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return int(value, 16)
        except ValueError:
            pass
    raise BadAnswer(f"{what}: the node answered {str(value)[:40]!r}, which is not an integer.")


def parse_bytes(value: object, what: str) -> bytes:
    """Read bytes of an answer.  Raises `BadAnswer` naming `what`."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    raise BadAnswer(f"{what}: the node answered {str(value)[:40]!r}, which is not hex.")


def pinned(block: BlockRef) -> dict[str, Any]:
    """Return the EIP-1898 block parameter: this very block, or an error if it is orphaned."""
    return pinned_to(block.hash)


def pinned_to(block_hash: Hash) -> dict[str, Any]:
    """Return the same for a block of which only the hash is known."""
    return {"blockHash": block_hash, "requireCanonical": True}


async def nonce_at(node: Node, address: Address, block: BlockRef) -> int:
    """Return how many transactions of `address` were mined up to `block`."""
    answer = await node.call("eth_getTransactionCount", [address, pinned(block)])
    return parse_quantity(answer, f"nonce of {address}")


async def nonce_at_height(node: Node, address: Address, number: int) -> int:
    """Return the same at a height of the node's canonical chain."""
    answer = await node.call("eth_getTransactionCount", [address, quantity(max(number, 0))])
    return parse_quantity(answer, f"nonce of {address}")


async def footing(node: Node, address: Address, block: BlockRef) -> Footing:
    """Read, all at once, what a signature at `block` has to stand on.  Raises `RpcError`."""
    chain_id, nonce, pending, balance, tip = await asyncio.gather(
        node.call("eth_chainId", []),
        nonce_at(node, address, block),
        node.call("eth_getTransactionCount", [address, "pending"]),
        node.call("eth_getBalance", [address, pinned(block)]),
        suggested_tip(node),
    )
    return Footing(
        block=block,
        chain_id=parse_quantity(chain_id, "eth_chainId"),
        nonce=nonce,
        pending_nonce=parse_quantity(pending, f"pending nonce of {address}"),
        balance_wei=Wei(parse_quantity(balance, f"balance of {address}")),
        tip_wei=tip,
    )


class Ground:
    """What a signature stands on, read once per block."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._read: tuple[Address, Footing] | None = None

    async def at(self, block: BlockRef, address: Address) -> Footing:
        """Return the footing of `address` at `block`.  Raises `RpcError`."""
        if self._read is not None:
            whose, last = self._read
            if whose == address and last.block.hash == block.hash:
                return last
        read = await footing(self._node, address, block)
        self._read = (address, read)
        return read


async def suggested_tip(node: Node) -> Wei:
    """Return the priority fee the node suggests, 0 where it does not say."""
    try:
        answer = await node.call("eth_maxPriorityFeePerGas", [])
    except RpcError:
        return Wei(0)
    return Wei(parse_quantity(answer, "eth_maxPriorityFeePerGas"))
