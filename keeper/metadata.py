"""Where clouds hand out credentials to whoever asks: no URL of ours leads there.

The address has many spellings.  A host is judged as it is written, as it reads once full-width
digits and ideographic full stops are plain ones, as C libraries read numbers (``0xa9fea9fe``), and
as IPv6 in which an IPv4 address is embedded.
"""

import socket
import unicodedata
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import unquote

HOSTS: Final = frozenset(
    {"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"}
)
"""Names under which clouds serve credentials."""

ADDRESSES: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
"""Most clouds'; AWS's for containers; Alibaba's, Azure's, Oracle's; AWS's and Google's by IPv6."""

_EMBEDDING: Final = tuple(
    IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
"""Whose last 32 bits are an IPv4 address: RFC 4291, 2765, 6052, 8215."""
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")


def is_metadata_host(host: str) -> bool:
    """Tell whether `host`, of a URL, is a name or address that clouds serve credentials from.

    What is neither ASCII nor has a plain form is passed over, as the libraries do that connect.
    """
    plain = unicodedata.normalize("NFKC", unquote(host).translate(_DOTS))
    plain = "".join(c for c in plain if c.isascii()).strip("[]").rstrip(".").lower()
    return plain in HOSTS or is_metadata_address(plain)


def is_metadata_address(text: str) -> bool:
    """Tell whether `text` is an IP address that clouds serve credentials from.

    Link-local addresses are, with or without an IPv6 address around them.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        try:
            address = IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return False
    if address.is_link_local or address in ADDRESSES:
        return True
    if isinstance(address, IPv4Address):
        return False
    return any(inner.is_link_local or inner in ADDRESSES for inner in _embedded(address)) or any(
        inner in ADDRESSES for inner in _perhaps_embedded(address)
    )


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Return the IPv4 addresses that `address` leads to by its form."""
    value = int(address)
    isatap = (value >> 32) & 0xFFFF_FFFF in _ISATAP
    if isatap or any(address in network for network in _EMBEDDING):
        yield IPv4Address(value & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _perhaps_embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Return those that a translator with a prefix of its own would take it for (RFC 6052)."""
    octets = address.packed
    yield IPv4Address(octets[12:16])
    without_u = octets[:8] + octets[9:]  # bits 64 to 71 are left out
    for start in (4, 5, 6, 7, 8):
        yield IPv4Address(without_u[start : start + 4])
