"""Column types that check what they are given, and name the column when it does not fit.

A SQLModel ``table=True`` class validates nothing, so the last check before a value leaves is
here.  Whatever is written comes back equal on SQLite and on PostgreSQL, 2**256-1 included.
`Unfit` is a `JournalError`: a value that cannot be stored is never half stored.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import BigInteger, Dialect, LargeBinary, Numeric, String, Text
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator, TypeEngine

from keeper.errors import JournalError
from keeper.units import UINT256_MAX

DIGITS: Final = 78
"""Decimal digits of 2**256-1."""
UINT63_MAX: Final = 2**63 - 1
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Unfit(JournalError, DontWrapMixin):  # noqa: N818 - it reads as what it is
    """A value is not what its column holds; nothing was written."""


class Damaged(JournalError, DontWrapMixin):  # noqa: N818 - named for what happened
    """What a column holds is not what was written there."""


def unsigned(name: str, value: object, most: int) -> int:
    """Return `value` if it is an int (no bool) from 0 to `most`; raises `Unfit` naming `name`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit(f"{name}: {value!r:.80} is not an integer; nothing was written")
    if not 0 <= value <= most:
        raise Unfit(f"{name}: {value} is not between 0 and {most}; nothing was written")
    return value


def hex_text(name: str, value: object, size: int) -> str:
    """Return `value` if it is ``0x`` and the lower-case hex digits of `size` bytes."""
    if not isinstance(value, str) or not re.fullmatch(f"0x[0-9a-f]{{{2 * size}}}", value):
        raise Unfit(
            f"{name}: {value!r:.80} is not 0x and {2 * size} lower-case hex digits; "
            "nothing was written"
        )
    return value


def canonical(value: object) -> str:
    """The one JSON text of `value`: keys sorted, no blanks, ASCII only, integers of any size.

    ASCII because PostgreSQL refuses NUL and lone surrogates, which a token may have in its symbol.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


class Uint256(TypeDecorator[int]):
    """An unsigned 256-bit integer: 78 padded digits on SQLite, NUMERIC(78,0) on PostgreSQL.

    Both keep order under ``<`` and ``max``.  SQLite has no sum for it: add up in Python.
    """

    impl = String
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__(DIGITS)
        self.name = name

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        wide = Numeric(DIGITS, 0) if dialect.name == "postgresql" else String(DIGITS)
        return dialect.type_descriptor(wide)

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        number = unsigned(self.name, value, UINT256_MAX)
        return Decimal(number) if dialect.name == "postgresql" else f"{number:0{DIGITS}d}"

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None or isinstance(value, Decimal):
            return None if value is None else int(value)
        if not isinstance(value, str) or len(value) != DIGITS or not value.isdecimal():
            raise Damaged(f"{self.name}: {value!r:.100} was not written by keeper")
        return int(value)


class Uint63(TypeDecorator[int]):
    """Block numbers, nonces, gas, chain seconds: unsigned, and what both databases can add up."""

    impl = BigInteger
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else unsigned(self.name, value, UINT63_MAX)


class Hex(TypeDecorator[str]):
    """``0x`` and lower-case hex digits of exactly `size` bytes: 20 an address, 32 a hash."""

    impl = String
    cache_ok = True

    def __init__(self, name: str, size: int) -> None:
        super().__init__(2 + 2 * size)
        self.name = name
        self.size = size

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else hex_text(self.name, value, self.size)


class Words(TypeDecorator[str]):
    """Text, chain-supplied pieces included: NUL and lone surrogates become U+FFFD."""

    impl = Text
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        if not isinstance(value, str):
            raise Unfit(f"{self.name}: {value!r:.80} is not text; nothing was written")
        return _UNSTORABLE.sub("\ufffd", value)


class Document(TypeDecorator[Any]):
    """Plain values as `canonical` JSON text, the same bytes on both databases."""

    impl = Text
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        try:
            return canonical(value)
        except (TypeError, ValueError) as error:
            raise Unfit(f"{self.name}: {error}; nothing was written") from error

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        try:
            return json.loads(value)
        except ValueError as error:
            raise Damaged(f"{self.name}: {value!r:.60} is not JSON: {error}") from error


class Blob(TypeDecorator[bytes]):
    """Bytes, stored as they came."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is not None and not isinstance(value, bytes):
            raise Unfit(f"{self.name}: {type(value).__name__} is not bytes; nothing was written")
        return value
