"""JSON-RPC as nodes send it, typed, and its way into the words of `keeper.model`.

Every field that is used is checked here: what does not fit its type raises `BadAnswer` naming the
method and the field, so that nothing further in has to doubt a number.
"""

import string
from typing import Any, Final, TypeVar

import msgspec

from keeper.errors import BadAnswer
from keeper.log import without_secrets
from keeper.model import Address, BlockRef, Hash, Log, Receipt
from keeper.units import Wei

T = TypeVar("T")

_HEX: Final = frozenset(string.hexdigits)
_UINT64_DIGITS: Final = 16
_UINT256_DIGITS: Final = 64
_LOOKED_AT: Final = 4096
"""Characters of what a node said that are looked at for secrets: far more than are shown."""


BlockTag = BlockRef | int | str
"""A block pinned by its hash, a number, or ``latest``, ``safe``, ``finalized``, ``pending``."""


class RpcFault(msgspec.Struct, frozen=True):
    """The `error` member of a JSON-RPC answer; all of it optional, nodes differ."""

    code: int | float | str | None = None
    message: str | None = None
    data: Any = None


class Envelope(msgspec.Struct, frozen=True):
    """One JSON-RPC answer; `result` stays raw until its type is known."""

    id: int | float | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: RpcFault | None = None


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """A block header: of eth_getBlockBy* and of newHeads."""

    number: str
    hash: str
    parent_hash: str
    timestamp: str
    base_fee_per_gas: str | None = None
    logs_bloom: str | None = None
    # What its hash is made of besides, as it came: `keeper.chain.sealed`
    sha3_uncles: Any = None
    miner: Any = None
    state_root: Any = None
    transactions_root: Any = None
    receipts_root: Any = None
    difficulty: Any = None
    gas_limit: Any = None
    gas_used: Any = None
    extra_data: Any = None
    mix_hash: Any = None
    nonce: Any = None
    withdrawals_root: Any = None
    blob_gas_used: Any = None
    excess_blob_gas: Any = None
    parent_beacon_block_root: Any = None
    requests_hash: Any = None


class WireLog(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of eth_getLogs."""

    address: str
    topics: list[str]
    data: str
    block_number: str
    block_hash: str
    log_index: str
    removed: bool = False


class ReceiptLogs(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of eth_getBlockReceipts, as much of it as is used."""

    logs: list[WireLog]
    block_hash: str | None = None


class WireReceipt(msgspec.Struct, frozen=True, rename="camel"):
    """eth_getTransactionReceipt, as much of it as is used."""

    transaction_hash: str
    block_number: str | None
    block_hash: str | None
    gas_used: str
    status: str
    effective_gas_price: str = "0x0"
    to: str | None = None
    logs: list[WireLog] = []


class FeeHistory(msgspec.Struct, frozen=True, rename="camel"):
    """eth_feeHistory; the last base fee is the next block's."""

    base_fee_per_gas: list[str]
    reward: list[list[str]] | None = None


def convert(raw: bytes | msgspec.Raw, type_: type[T], what: str) -> T:
    """Return the JSON `raw` as `type_`.  Raises BadAnswer naming `what`."""
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"The node's answer to {what} is malformed: {error}.") from error


def at_block(block: BlockTag) -> str | dict[str, object]:
    """Return the block parameter: EIP-1898 by hash and canonical for a `BlockRef`."""
    match block:
        case BlockRef():
            return {"blockHash": block.hash, "requireCanonical": True}
        case int():
            return hex(block)
        case str():
            return block


def quantity(text: object, what: str, *, digits: int = _UINT64_DIGITS) -> int:
    """Return a hex quantity of at most `digits` hex digits.  Raises BadAnswer naming `what`."""
    if (
        isinstance(text, str)
        and text.startswith("0x")
        and 0 < len(text) - 2 <= digits
        and _HEX.issuperset(text[2:])
    ):
        return int(text, 16)
    raise BadAnswer(f"The node's answer has no number for {what}, but {clip(text)}.")


def amount(text: object, what: str) -> int:
    """Return a hex quantity that may have 256 bits."""
    return quantity(text, what, digits=_UINT256_DIGITS)


def octets(text: object, what: str) -> bytes:
    """Return hex data as bytes.  Raises BadAnswer naming `what`."""
    if isinstance(text, str) and text.startswith("0x"):
        try:
            data = bytes.fromhex(text[2:])
        except ValueError:
            data = b""
        if 2 * len(data) == len(text) - 2:  # fromhex skips white space
            return data
    raise BadAnswer(f"The node's answer has no hex data for {what}, but {clip(text)}.")


def hash32(text: object, what: str) -> Hash:
    """Return a 32-byte hash in lower case.  Raises BadAnswer naming `what`."""
    if isinstance(text, str) and len(text) == 66 and text[:2] == "0x" and _HEX.issuperset(text[2:]):
        return Hash(text.lower())
    raise BadAnswer(f"The node's answer has no hash for {what}, but {clip(text)}.")


def address20(text: object, what: str) -> Address:
    """Return an address in lower case.  Raises BadAnswer naming `what`."""
    if isinstance(text, str) and len(text) == 42 and text[:2] == "0x" and _HEX.issuperset(text[2:]):
        return Address(text.lower())
    raise BadAnswer(f"The node's answer has no address for {what}, but {clip(text)}.")


def clip(value: object, most: int = 60) -> str:
    """Return `value` as one short line that is safe to show."""
    text = without_secrets((value if isinstance(value, str) else repr(value))[:_LOOKED_AT])
    line = "".join(char if char.isprintable() else " " for char in text[: most + 1])
    return repr(line if len(line) <= most else line[:most] + "...")


def block_ref(header: Header) -> BlockRef:
    """Return `header` as the rest of the house names a block."""
    base_fee = header.base_fee_per_gas
    return BlockRef(
        number=quantity(header.number, "the block's number"),
        hash=hash32(header.hash, "the block's hash"),
        parent_hash=hash32(header.parent_hash, "the block's parentHash"),
        timestamp=quantity(header.timestamp, "the block's timestamp"),
        base_fee_wei=Wei(0 if base_fee is None else amount(base_fee, "the block's baseFeePerGas")),
    )


def log(wire: WireLog) -> Log:
    """Return one log, every field checked."""
    return Log(
        address=address20(wire.address, "a log's address"),
        topics=tuple([hash32(topic, "a log's topic") for topic in wire.topics]),
        data=octets(wire.data, "a log's data"),
        block_number=quantity(wire.block_number, "a log's blockNumber"),
        block_hash=hash32(wire.block_hash, "a log's blockHash"),
        log_index=quantity(wire.log_index, "a log's logIndex"),
    )


def receipt(wire: WireReceipt) -> Receipt:
    """Return one receipt.  Raises BadAnswer for a status that is neither 0 nor 1."""
    status = quantity(wire.status, "the receipt's status")
    if status not in (0, 1):
        raise BadAnswer(f"The receipt of {clip(wire.transaction_hash)} has the status {status}.")
    return Receipt(
        tx_hash=hash32(wire.transaction_hash, "the receipt's transactionHash"),
        block_number=quantity(wire.block_number, "the receipt's blockNumber"),
        block_hash=hash32(wire.block_hash, "the receipt's blockHash"),
        succeeded=status == 1,
        gas_used=quantity(wire.gas_used, "the receipt's gasUsed"),
        effective_gas_price_wei=Wei(
            amount(wire.effective_gas_price, "the receipt's effectiveGasPrice")
        ),
        logs=_of_the_called(wire),
    )


def _of_the_called(wire: WireReceipt) -> tuple[Log, ...]:
    """Return what the contract said that the transaction went to; others' words are left out."""
    if wire.to is None:
        return ()
    called = wire.to.lower()
    return tuple(log(one) for one in wire.logs if one.address.lower() == called)
