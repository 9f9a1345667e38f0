"""Revert data in words: `Error(string)`, `Panic(uint256)`, and custom errors by their selector.

The names of `reverts.json` are those that the protocols publish; selectors are computed from
them.  Everything here was chosen by a contract that may be hostile: lengths are capped and what is
not printable ASCII is not printed.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Final

from eth_utils.crypto import keccak

ERROR: Final = bytes.fromhex("08c379a0")
PANIC: Final = bytes.fromhex("4e487b71")
SWAP_FAILED: Final = keccak(text="SwapFailed(bytes)")[:4]
"""Of our liquidator: what an exchange that it called said."""
LONGEST_TEXT: Final = 160
MOST_ARGUMENTS: Final = 4

PANICS: Final = {
    0x01: "an assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "a value that its enum does not have",
    0x22: "a storage byte array is corrupt",
    0x31: "pop from an empty array",
    0x32: "array index out of bounds",
    0x41: "too much memory",
    0x51: "call of an empty function pointer",
}


def words(data: bytes) -> str:
    """Return what `data` says, in at most a line; never raises."""
    if not data:
        return "it gives no reason"
    selector, body = data[:4], data[4:]
    if selector == ERROR:
        return _error(body)
    if selector == PANIC and len(body) >= 32:
        code = int.from_bytes(body[:32], "big")
        return PANICS.get(code, f"panic {hex(code)[:12]}")
    if selector == SWAP_FAILED and len(body) >= 64:
        inner = body[64 : 64 + int.from_bytes(body[32:64], "big")]
        # one within another is only a selector: it was not ours
        return "swap failed: " + (words(inner) if inner[:4] != SWAP_FAILED else "within a swap")
    name = _custom().get(selector)
    if name is None:
        return f"custom error 0x{selector.hex()}"
    return f"{_sentence(name)}{_arguments(name, body)}"


def _error(body: bytes) -> str:
    """Decode the string of `Error(string)`; Aave 3.0 to 3.3 put a number there."""
    length = int.from_bytes(body[32:64], "big")
    text = body[64 : 64 + min(length, LONGEST_TEXT)].decode("ascii", errors="replace")
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    if not shown:
        return "it gives no reason"
    if code := _aave_codes().get(shown):
        return f"{code.lower().replace('_', ' ')} ({shown})"
    return shown + ("..." if length > LONGEST_TEXT else "")


def _sentence(signature: str) -> str:
    """Return ``HealthFactorNotBelowThreshold()`` as ``health factor not below threshold``."""
    name = signature.partition("(")[0]
    parts = re.findall(r"[A-Z]+\d*(?![a-z])|[A-Z][a-z0-9]*", name)
    return " ".join(part if part.isupper() and len(part) > 1 else part.lower() for part in parts)


def _arguments(signature: str, body: bytes) -> str:
    types = signature.partition("(")[2].rstrip(")")
    shown = []
    for i, kind in enumerate(types.split(",")[:MOST_ARGUMENTS] if types else ()):
        word = body[32 * i : 32 * i + 32]
        if len(word) < 32:
            break
        shown.append(
            "0x" + word[12:].hex() if kind == "address" else str(int.from_bytes(word, "big"))
        )
    return f" ({', '.join(shown)})" if shown else ""


@cache
def _table() -> dict[str, object]:
    text = files("keeper.execution").joinpath("reverts.json").read_text(encoding="ascii")
    table: dict[str, object] = json.loads(text)
    return table


@cache
def _custom() -> dict[bytes, str]:
    names = _table()["custom"]
    assert isinstance(names, list)
    return {keccak(text=name)[:4]: name for name in names}


@cache
def _aave_codes() -> dict[str, str]:
    codes = _table()["aave_codes"]
    assert isinstance(codes, dict)
    return codes
