"""One value of the configuration: read exactly, or refused in words that follow its key.

Decimals never pass through a float.  Messages are the end of a sentence that begins with the
place and the key: "keeper.toml: [thresholds] info" + " must be ...".
"""

import ipaddress
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer, SecretStr

from keeper.metadata import is_metadata_host
from keeper.model import Address
from keeper.units import Base, Wad, Wei


def exact(value: object, decimals: int) -> int:
    """Return `value` times ``10**decimals``, exactly; raises ValueError where it is not whole."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f'must be a decimal number such as "1.05", not {value!r}')  # noqa: TRY004 - pydantic reports ValueError only
    text = str(value).strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f'must be a decimal number such as "1.05", not {text!r}') from None
    if not number.is_finite() or number < 0 or number.adjusted() > 60:
        raise ValueError(f"must be a decimal number from 0 up, not {text!r}")
    scaled = Fraction(number) * Fraction(10**decimals)
    if scaled.denominator != 1:
        raise ValueError(f"has more than {decimals} decimals: {text!r}")
    return int(scaled)


def decimal_text(value: int, decimals: int) -> str:
    """Return ``"1.3"`` for 13 * 10**17 and 18 decimals: the inverse of `exact`."""
    whole, part = divmod(value, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".") if part else str(whole)


def _scaled(decimals: int) -> tuple[Any, ...]:
    return (
        BeforeValidator(lambda value: exact(value, decimals)),
        PlainSerializer(lambda value: decimal_text(value, decimals), when_used="json-unless-none"),
    )


_WAD = _scaled(18)
_BASE = _scaled(8)

WadValue = Annotated[Wad, _WAD[0], _WAD[1]]
"""A decimal such as ``"1.05"``, 18 decimals."""

UsdValue = Annotated[Base, _BASE[0], _BASE[1]]
"""US dollars, 8 decimals: the base unit of Aave v3 markets."""

EthValue = Annotated[Wei, _WAD[0], _WAD[1]]
"""The chain's own coin, 18 decimals."""


def address(value: object) -> Address:
    """Return the lower-case address; mixed case must carry the right EIP-55 checksum."""
    if not isinstance(value, str):
        raise ValueError(f"must be an address in quotes, not {value!r}")  # noqa: TRY004 - pydantic reports ValueError only
    text = value.strip()
    if re.fullmatch(r"0[xX][0-9a-fA-F]{40}", text) is None:
        raise ValueError(f"must be an address, 0x and 40 hex digits, not {text!r}")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()):
        from eth_utils.address import to_checksum_address  # noqa: PLC0415 - slow to import

        right = to_checksum_address("0x" + digits.lower())
        if "0x" + digits != right:
            raise ValueError(
                f"{text} has a wrong checksum, so a digit may be mistyped: it would be {right}"
            )
    return Address("0x" + digits.lower())


AddressValue = Annotated[Address, BeforeValidator(address)]


def _node_url(value: object, schemes: tuple[str, ...]) -> str:
    # The URL itself is never repeated: it may hold a key.
    if not isinstance(value, str):
        raise ValueError(f"must be a URL in quotes starting with {schemes[0]}://")  # noqa: TRY004 - pydantic reports ValueError only
    text = value.strip()
    if "ipc" in schemes and text.startswith(("/", "ipc:///")):  # a socket of this machine
        return text if text.startswith("ipc:") else f"ipc://{text}"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in schemes or not host or re.search(r"\s", text):
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        said = f"{parts.scheme}://" if parts.scheme and "://" in text else "something else"
        raise ValueError(f"must be a URL starting with {allowed}, not {said}")
    if is_metadata_host(host):
        raise ValueError(f"must not point at {host}, where clouds hand out credentials")
    return text


def _several(value: object) -> object:
    """Take ``a,b`` for a list, as an environment variable would have it."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _or_none(value: object) -> object:
    """Take an empty text for nothing: it is how people leave a line open."""
    return None if isinstance(value, str) and not value.strip() else value


OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_or_none)]
OptionalPath = Annotated[Path | None, BeforeValidator(_or_none)]
OptionalAddress = Annotated[AddressValue | None, BeforeValidator(_or_none)]
OptionalInt = Annotated[int | None, BeforeValidator(_or_none)]
NodeUrls = Annotated[
    tuple[Annotated[str, BeforeValidator(lambda v: _node_url(v, ("https", "http", "ipc")))], ...],
    BeforeValidator(_several),
]
WsUrls = Annotated[
    tuple[Annotated[str, BeforeValidator(lambda v: _node_url(v, ("wss", "ws", "ipc")))], ...],
    BeforeValidator(_several),
]


def _https_url(value: object) -> str:
    """Take what carries a key over the network only encrypted; on this machine it may go plain."""
    text = _node_url(value, ("https", "http"))
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.scheme == "http" and host != "localhost" and not _is_loopback(host):
        raise ValueError(f"must start with https://: a key would go to {host} in the open")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


HttpsUrl = Annotated[str, BeforeValidator(_https_url)]
HttpUrl = Annotated[str, BeforeValidator(lambda v: _node_url(v, ("https", "http")))]
Names = Annotated[tuple[str, ...], BeforeValidator(_several)]
Addresses = Annotated[tuple[AddressValue, ...], BeforeValidator(_several)]
Ids = Annotated[
    tuple[int, ...],
    BeforeValidator(lambda v: (v,) if isinstance(v, int) and not isinstance(v, bool) else v),
    BeforeValidator(_several),
]
