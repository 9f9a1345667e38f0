"""Calldata from a compiled contract's ABI: the few words a deployer needs."""

from collections.abc import Mapping, Sequence
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from keeper.devnet.artifacts import Artifact


def encode_call(contract: Artifact, name: str, *arguments: Any) -> bytes:
    """Selector and arguments of ``name``; overloads are told apart by their number of arguments.

    Raises `ValueError` when the ABI has no such function or more than one.
    """
    entry = _function(contract, name, len(arguments))
    types = [type_of(part) for part in entry["inputs"]]
    selector = keccak(text=f"{entry['name']}({','.join(types)})")[:4]
    return bytes(selector) + encode(types, arguments)


def decode_answer(contract: Artifact, name: str, arguments: int, answer: bytes) -> Any:
    """What a call of ``name`` answered: one value as it is, several as a tuple."""
    entry = _function(contract, name, arguments)
    values = decode([type_of(part) for part in entry["outputs"]], answer)
    return values[0] if len(values) == 1 else values


def encode_constructor(contract: Artifact, *arguments: Any) -> bytes:
    """The constructor's arguments, to be appended to the creation code."""
    entries = [entry for entry in contract.abi if entry["type"] == "constructor"]
    inputs: Sequence[Mapping[str, Any]] = entries[0]["inputs"] if entries else ()
    if len(inputs) != len(arguments):
        raise ValueError(f"{contract.name}'s constructor takes {len(inputs)} arguments")
    return encode([type_of(part) for part in inputs], arguments)


def type_of(part: Mapping[str, Any]) -> str:
    """The canonical type of an ABI parameter: tuples spelled out."""
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(type_of(p) for p in part["components"]) + ")" + kind.removeprefix("tuple")


def _function(contract: Artifact, name: str, arguments: int) -> Mapping[str, Any]:
    found = [
        entry
        for entry in contract.abi
        if entry["type"] == "function"
        and entry["name"] == name
        and len(entry["inputs"]) == arguments
    ]
    if len(found) != 1:
        raise ValueError(f"{contract.name} has {len(found)} functions {name} of {arguments}")
    return found[0]
