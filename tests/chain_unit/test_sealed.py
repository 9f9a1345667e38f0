"""Headers that are proved by their hash."""

from typing import Any

import msgspec
import pytest
import rlp
from eth_utils.crypto import keccak

from keeper.chain.bloom import Blooms
from keeper.chain.sealed import _FIELDS, _LATER, is_sealed, kept
from keeper.chain.wire import Header, block_ref
from tests.chain_unit.standin import Chain, header, sealed_header

EMPTY = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
GENESIS: dict[str, Any] = {
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": EMPTY,
    "receiptsRoot": EMPTY,
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
}
"""The first block of Ethereum."""


def sealed(fields: dict[str, Any]) -> bool:
    return is_sealed(msgspec.convert(fields, Header))


def test_the_first_block_of_ethereum_is_proved_by_the_hash_that_everybody_knows() -> None:
    assert sealed(GENESIS)
    assert sealed(GENESIS | {"hash": GENESIS["hash"].upper().replace("0X", "0x")})


PRAGUE = sealed_header(Chain(10).head, 1 << 77)
LATER = ("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas",
         "parentBeaconBlockRoot", "requestsHash")  # fmt: skip


def test_a_header_of_prague_is_proved() -> None:
    assert sealed(PRAGUE)


@pytest.mark.parametrize("name", sorted(PRAGUE.keys() - {"size"}))
def test_a_header_with_any_field_changed_proves_nothing(name: str) -> None:
    changed = PRAGUE[name][:-1] + ("1" if PRAGUE[name][-1] != "1" else "2")

    assert not sealed(PRAGUE | {name: changed})


@pytest.mark.parametrize(
    "name",
    sorted(PRAGUE.keys() - {"size", "logsBloom"} - header(Chain().head).keys() | {"extraData"}),
)
@pytest.mark.parametrize("odd", [None, 7, "0xz", [], {"a": 1}])
def test_a_header_with_an_odd_field_is_read_and_proves_nothing(name: str, odd: Any) -> None:
    assert not sealed(PRAGUE | {name: odd})


@pytest.mark.parametrize("endless", ["0x" + "ab" * 500_000, [["0x"] * 1_000]])
def test_of_a_header_with_an_endless_field_only_the_hash_is_kept(endless: Any) -> None:
    told = msgspec.convert(PRAGUE | {"extraData": endless}, Header)

    assert not is_sealed(kept(told))
    assert kept(told).hash == told.hash
    assert len(msgspec.json.encode(kept(told))) < 700


def test_of_an_ordinary_header_all_is_kept() -> None:
    told = msgspec.convert(PRAGUE, Header)

    assert kept(told) is told
    assert is_sealed(kept(told))


@pytest.mark.parametrize("what", ["number", "parentHash", "timestamp"])
@pytest.mark.parametrize("lie_first", [False, True])
def test_a_block_is_proved_as_its_hash_was_made_and_no_other(what: str, *, lie_first: bool) -> None:
    lie = PRAGUE | {what: "0x" + "7" * 64 if what == "parentHash" else "0x77"}
    headers = [msgspec.convert(fields, Header) for fields in (PRAGUE, lie)]
    blooms = Blooms()
    for told in reversed(headers) if lie_first else headers:
        blooms.note(told)

    assert blooms.true(block_ref(headers[0]).hash) == block_ref(headers[0])


@pytest.mark.parametrize("bare", [False, True])
def test_a_block_without_a_header_that_proves_it_is_not_proved(*, bare: bool) -> None:
    block = Chain(10).head
    blooms = Blooms()
    if bare:
        blooms.note(msgspec.convert(header(block) | {"logsBloom": PRAGUE["logsBloom"]}, Header))

    assert blooms.true(block.hash) is None


def test_a_field_that_stands_in_another_ones_place_proves_nothing() -> None:
    bare = {name: PRAGUE[name] for name in PRAGUE if name not in LATER}
    fee = PRAGUE["baseFeePerGas"]
    hash_ = hash_of(bare | {"baseFeePerGas": fee})

    assert sealed(bare | {"hash": hash_, "baseFeePerGas": fee})
    assert not sealed(bare | {"hash": hash_, "blobGasUsed": fee})


def hash_of(fields: dict[str, Any]) -> str:
    """Return the hash of a header whose last field is the base fee."""
    read = [*_FIELDS, _LATER[0]]
    header_ = msgspec.convert(fields, Header)
    items = [encode(getattr(header_, name), name) for name, encode in read]
    return "0x" + keccak(rlp.encode(items)).hex()
