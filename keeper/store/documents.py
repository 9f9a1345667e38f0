"""Dataclasses as documents of plain values, and back.  Pure."""

import hashlib
from typing import Any, TypeVar

import msgspec

from keeper.store.types import Damaged, canonical

T = TypeVar("T")


def document(value: object) -> Any:
    """Plain values of a dataclass; bytes become ``0x`` text, integers stay integers."""
    return _hexed(msgspec.to_builtins(value, builtin_types=(bytes,)))


def _hexed(value: Any) -> Any:
    match value:
        case bytes():
            return f"0x{value.hex()}"
        case dict():
            return {key: _hexed(item) for key, item in value.items()}
        case _:
            return value


def read_document(name: str, value: Any, kind: type[T]) -> T:
    """The dataclass a document was made from.  Raises `Damaged` naming the column."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, TypeError) as error:
        raise Damaged(f"{name}: what is stored is not a {kind.__name__}: {error}") from error


def digest(value: object) -> str:
    """``0x`` and the SHA-256 of the canonical JSON of `value`."""
    return f"0x{hashlib.sha256(canonical(value).encode()).hexdigest()}"
