"""In which block a read was run, by its own word."""

from dataclasses import replace

from eth_utils.crypto import keccak

from keeper.chain.place import UNKNOWN, Place, Places
from keeper.model import BlockRef, Hash
from tests.chain_unit.standin import Chain, block_hash

CHAIN = Chain(30)
BLOCK = CHAIN.blocks[21]


def seen(block: BlockRef) -> Place:
    return Place(number=block.number, timestamp=block.timestamp, parent_hash=block.parent_hash)


def test_a_read_of_the_block_asked_for_is_taken() -> None:
    assert Places().contradiction(BLOCK, seen(BLOCK)) == ""


def test_a_read_of_a_later_block_is_seen_by_its_time_from_the_first_one_on() -> None:
    why = Places().contradiction(BLOCK, seen(CHAIN.blocks[22]))

    assert why == (
        "it was run in a block 22 of the time 1700000264, asked for was block 21 of 1700000252"
    )


def test_another_block_of_the_same_second_is_seen_by_its_number() -> None:
    places = Places()
    assert places.contradiction(BLOCK, seen(BLOCK)) == ""

    why = places.contradiction(BLOCK, replace(seen(BLOCK), number=22))

    assert why == "it was run in block 22, asked for was block 21"


def test_another_block_of_the_same_number_and_second_is_seen_by_its_parent() -> None:
    places = Places()
    assert places.contradiction(BLOCK, seen(BLOCK)) == ""

    other = replace(seen(BLOCK), parent_hash=block_hash(20, "b"))

    assert "on top of block 0x" in places.contradiction(BLOCK, other)


def test_where_contracts_see_other_numbers_and_hashes_the_time_alone_decides() -> None:
    places = Places()  # as on Arbitrum: number and hashes are Ethereum's
    ethereum = replace(seen(BLOCK), number=9_000_001, parent_hash=block_hash(9_000_000, "e"))

    assert places.contradiction(BLOCK, ethereum) == ""
    assert places.contradiction(BLOCK, replace(ethereum, number=9_000_002)) == ""
    assert places.contradiction(BLOCK, replace(ethereum, timestamp=1)) != ""


def test_a_node_that_knows_no_hash_is_not_held_to_it() -> None:
    places = Places()
    assert places.contradiction(BLOCK, seen(BLOCK)) == ""

    assert places.contradiction(BLOCK, replace(seen(BLOCK), parent_hash=UNKNOWN)) == ""
    anvil = Hash("0x" + keccak(text="20").hex())  # after it loaded a state
    assert places.contradiction(BLOCK, replace(seen(BLOCK), parent_hash=anvil)) == ""
    other = Hash("0x" + keccak(text="21").hex())
    assert places.contradiction(BLOCK, replace(seen(BLOCK), parent_hash=other)) != ""
