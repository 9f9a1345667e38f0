"""Revert data in words, whatever a contract puts there."""

import json
from importlib.resources import files

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.execution.reverts import SWAP_FAILED, words


def error(text: str) -> bytes:
    return bytes.fromhex("08c379a0") + encode(["string"], [text])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it gives no reason"),
        (error("ERC20: transfer amount exceeds balance"), "ERC20: transfer amount exceeds balance"),
        (error("45"), "health factor not below threshold (45)"),  # Aave 3.0 to 3.3
        (error(""), "it gives no reason"),
        (error("a\nb\x1b[31m\u202e"), "a?b?[31m???"),
        (error("x" * 500), "x" * 160 + "..."),
        (
            bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big"),
            "arithmetic overflow or underflow",
        ),
        (bytes.fromhex("4e487b71") + (0x99).to_bytes(32, "big"), "panic 0x99"),
        (bytes.fromhex("930bb771"), "health factor not below threshold"),  # `cast sig`
        (
            bytes.fromhex("fb8f41b2")
            + encode(["address", "uint256", "uint256"], ["0x" + "ab" * 20, 3, 5]),
            f"ERC20 insufficient allowance (0x{'ab' * 20}, 3, 5)",
        ),
        (bytes.fromhex("fb8f41b2"), "ERC20 insufficient allowance"),
        (bytes.fromhex("deadbeef"), "custom error 0xdeadbeef"),
        (SWAP_FAILED + encode(["bytes"], [error("no\x1bliquidity")]), "swap failed: no?liquidity"),
        (SWAP_FAILED + encode(["bytes"], [b""]), "swap failed: it gives no reason"),
        (
            SWAP_FAILED + encode(["bytes"], [SWAP_FAILED + encode(["bytes"], [error("x")])]),
            "swap failed: within a swap",
        ),
        (SWAP_FAILED, "swap failed"),
        (SWAP_FAILED + b"\xff" * 400, "swap failed: custom error 0xffffffff"),
        (b"\x01", "custom error 0x01"),
        (bytes.fromhex("08c379a0"), "it gives no reason"),
    ],
)
def test_revert_data_is_said_in_words(data: bytes, said: str) -> None:
    assert words(data) == said


@given(st.sampled_from(["", "08c379a0", "4e487b71", "fb8f41b2"]), st.binary(max_size=400))
def test_no_revert_data_breaks_or_floods_the_line(selector: str, body: bytes) -> None:
    said = words(bytes.fromhex(selector) + body)

    assert said.isascii()
    assert said.isprintable()
    assert len(said) <= 400


@pytest.mark.parametrize("contract", ["liquidator", "deleverager"])
def test_every_error_of_our_contracts_is_known(contract: str) -> None:
    path = files("keeper.execution").joinpath(f"{contract}.json")
    errors = [e for e in json.loads(path.read_text("ascii"))["abi"] if e["type"] == "error"]

    for error in errors:
        kinds = ",".join(i["type"] for i in error["inputs"])
        said = words(keccak(text=f"{error['name']}({kinds})")[:4])
        assert not said.startswith("custom error"), error["name"]
    assert len(errors) > 10
