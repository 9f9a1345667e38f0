"""The presets: made from the address book, complete, and each name used once."""

import gzip
import json
import re
from pathlib import Path

import pytest

from keeper import presets
from keeper.presets import build

BOOK = Path(__file__).parents[2] / "shared/data/aave_address_book_4.68.1.json.gz"


def test_every_market_can_be_named_and_found() -> None:
    names = [market.name for chain in presets.chains().values() for market in chain.markets]

    assert len(names) == len(set(names)) == len(presets.markets()) >= 31
    for market in presets.markets().values():
        assert re.fullmatch(r"aave-v3-[a-z0-9-]+", market.name)
        assert re.fullmatch(r"0x[0-9a-f]{40}", market.addresses_provider)
        assert market.protocol == "aave_v3"


def test_chain_ids_are_different_and_names_fit_a_variable() -> None:
    ids = [chain.chain_id for chain in presets.chains().values()]

    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in presets.chains())


@pytest.mark.parametrize(
    ("chain", "chain_id", "main"),
    [
        ("ethereum", 1, "aave-v3-ethereum"),
        ("base", 8453, "aave-v3-base"),
        ("bnb", 56, "aave-v3-bnb"),
        ("base_sepolia", 84532, "aave-v3-base-sepolia"),
    ],
)
def test_the_first_market_is_the_main_one(chain: str, chain_id: int, main: str) -> None:
    found = presets.chains()[chain]

    assert (found.chain_id, found.markets[0].name) == (chain_id, main)


def test_a_constant_of_the_book_becomes_a_name() -> None:
    assert build.market_name("AaveV3BaseSepoliaLido") == "aave-v3-base-sepolia-lido"
    assert build.market_name("AaveV3EthereumEtherFi") == "aave-v3-ethereum-etherfi"


def test_other_things_in_the_book_are_left_out() -> None:
    provider = "0xE20fCBdBfFC4Dd138cE8b2E6FBb6CB49777ad64D"
    book = {
        "AaveV2Ethereum": {"CHAIN_ID": 1},
        "ChainlinkBase": {"FEED": "0x"},
        "AaveV3Base": {
            "CHAIN_ID": 8453,
            "POOL_ADDRESSES_PROVIDER": provider,
            "POOL": "0x" + "A" * 40,
        },
    }

    document = build.presets(book, "1.2.3")

    assert list(document["chains"]) == ["base"]
    assert document["chains"]["base"]["markets"][0]["addresses_provider"] == provider.lower()


@pytest.mark.skipif(not BOOK.exists(), reason="the address book is not beside the checkout")
def test_the_presets_are_what_the_script_makes_of_the_book() -> None:
    book = json.loads(gzip.decompress(BOOK.read_bytes()))

    shipped = json.loads((Path(presets.__file__).parent / "aave_v3.json").read_text())
    assert shipped == build.presets(book, "4.68.1")
