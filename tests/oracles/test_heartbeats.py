import pytest

from keeper.model import Address
from keeper.oracles.heartbeats import parse, published

ETH_USD = Address("0x5f4ec3df9cbd43714fe2740f5e3616155c5b8419")
ETH_USD_READ_BY_AAVE = Address("0x5424384b256154046e9667ddfaaa5e550145215e")
NOWHERE = Address("0x" + "77" * 20)

TWO_PROXIES = """
[sources.here]
what = "a test"
[feeds]
5 = [
  ["0x1111111111111111111111111111111111111111", "USDC / USD", 86400, 0.25, "here"],
  ["0x2222222222222222222222222222222222222222", "USDC / USD", 82800, 0.25, "here"],
]
"""


def test_eth_usd_beats_every_hour_on_ethereum_and_every_twenty_minutes_on_base() -> None:
    on_ethereum = published().of(1, ETH_USD, "ETH / USD")
    on_base = published().of(8453, NOWHERE, "ETH / USD")

    assert on_ethereum is not None
    assert on_base is not None
    assert (on_ethereum.heartbeat_s, on_base.heartbeat_s) == (3600, 1200)


def test_the_secondary_proxy_that_aave_reads_is_known() -> None:
    row = published().of(1, ETH_USD_READ_BY_AAVE, "")

    assert row is not None
    assert (row.heartbeat_s, row.deviation_percent) == (3600, 0.5)


def test_the_same_description_on_another_chain_says_nothing() -> None:
    assert published().of(31337, ETH_USD, "ETH / USD") is None


def test_every_row_has_a_source_and_a_sane_figure() -> None:
    rows = published().by_address

    assert len(rows) > 500
    assert all(60 <= row.heartbeat_s <= 40 * 86_400 and row.source for row in rows.values())
    assert all(len(a) == 42 and a == a.lower() for _, a in rows)


def test_under_an_unknown_address_the_fastest_of_the_description_counts() -> None:
    row = parse(TWO_PROXIES).of(5, NOWHERE, "usdc-usd")

    assert row is not None
    assert row.heartbeat_s == 82_800


def test_a_row_without_a_known_source_is_refused() -> None:
    with pytest.raises(ValueError, match="no such row can be"):
        parse(TWO_PROXIES.replace('86400, 0.25, "here"', '86400, 0.25, "hearsay"'))
