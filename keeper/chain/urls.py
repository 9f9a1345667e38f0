"""Which URLs a node may have, and what of them may be shown.

    https://HOST, http://HOST       JSON-RPC over HTTP
    wss://HOST, ws://HOST           new heads
    ipc:///path/geth.ipc            JSON-RPC and new heads over a Unix socket of this machine

A provider's key is usually in the path, the query or the user part of its URL, so only scheme and
host are ever printed.  Addresses that cloud machines serve credentials from are refused: as
written, after a name was resolved, and when a connection is about to be opened.
"""

import errno
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from keeper.errors import ConfigError
from keeper.metadata import is_metadata_address, is_metadata_host

IPC: Final = "ipc://"


def ipc_path(url: str) -> str | None:
    """Return the path of the Unix socket that `url` names, or None for another URL."""
    return url.removeprefix(IPC) if url.startswith(IPC) else None


def redact(url: str) -> str:
    """Return scheme, host and port of `url`: all of it that may be logged or shown.

    The path of a socket is no secret.
    """
    if (path := ipc_path(url)) is not None:
        return IPC + path
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "<malformed URL>"
    if not parts.scheme or not host:
        return "<malformed URL>"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def check_url(url: str, *, schemes: tuple[str, ...] = ("http", "https", "ipc")) -> str:
    """Return `url` if a node may be asked there.

    Raises ConfigError for another scheme, a missing host, and metadata addresses.
    """
    if "ipc" in schemes and (path := ipc_path(url)) is not None:
        if not path.startswith("/"):
            raise ConfigError(f"The RPC URL {redact(url)} must have a whole path: ipc:///PATH.")
        return url
    wanted = " or ".join(f"{scheme}://" for scheme in schemes if scheme != "ipc")
    try:
        parts: SplitResult = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"An RPC URL is malformed: write it as {wanted}HOST[:PORT].") from error
    if parts.scheme not in schemes or not host:
        raise ConfigError(f"The RPC URL {redact(url)} is not usable here: it must be {wanted}HOST.")
    if is_metadata_host(host):
        raise ConfigError(
            f"The RPC URL {redact(url)} is a cloud metadata address: give the address of a node."
        )
    return url


class GuardedResolver(AbstractResolver):
    """Names are resolved as usual; one that leads to a metadata address does not resolve."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.  Raises OSError for a refused one."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            _refuse_metadata(host, result["host"])
        return results

    async def close(self) -> None:
        await self._inner.close()


def guarded(*, limit_per_host: int = 0) -> aiohttp.TCPConnector:
    """Return a connector that opens nothing to a metadata address, however it was come by."""
    return aiohttp.TCPConnector(
        resolver=GuardedResolver(), socket_factory=_socket, limit_per_host=limit_per_host
    )


def _socket(where: aiohttp.AddrInfoType) -> socket.socket:
    """Make a socket for one address, not connected yet.  Raises OSError for a refused one."""
    family, kind, protocol, _, address = where
    host = str(address[0])
    _refuse_metadata(host, host)
    return socket.socket(family, kind, protocol)


def _refuse_metadata(host: str, address: str) -> None:
    if is_metadata_address(address):
        raise OSError(errno.EACCES, f"{host} leads to a cloud metadata address")
