"""JSON-RPC over a Unix socket, as nodes on the same machine offer it: ``ipc:///path/geth.ipc``.

Nodes write JSON values one after another, some with a line feed between them and some without.  A
connection carries one request at a time, so whatever is whole is the answer; several are open where
several requests are on their way.  A connection whose request was given up is closed: its answer
may still come.

A subscription has a connection of its own: `keeper.chain.pushed`.
"""

import asyncio
import errno
import os
import sys
from collections import deque
from typing import Final

import msgspec

CHUNK_BYTES: Final = 256 * 1024
PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""The longest path of a socket: the system takes 108 or 104 bytes with the one that ends it."""
IDLE_MOST: Final = 8
"""Connections kept open for the next requests."""

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(path: str) -> _Connection:
    """Connect to the socket at `path`.  Raises OSError, with the reason in words."""
    length = len(os.fsencode(path))
    if length > PATH_BYTES:
        raise OSError(
            errno.ENAMETOOLONG,
            f"its path has {length} bytes, and a Unix socket's has {PATH_BYTES} at the most",
        )
    return await asyncio.open_unix_connection(path)


class TooLong(Exception):  # noqa: N818 - it reads as what it is
    """The answer has more bytes than are read."""


class Ipc:
    """One node's socket."""

    def __init__(self, path: str, *, cap_bytes: int) -> None:
        """`cap_bytes`: the longest answer that is read.  Nothing is opened before it is needed."""
        self._path = path
        self._cap_bytes = cap_bytes
        self._idle: deque[_Connection] = deque()

    async def exchange(self, payload: bytes) -> bytes:
        """Send one request or batch and return what came back, JSON or not.

        Raises OSError when the socket is not there or closes, TooLong.
        """
        reader, writer = await self._connection()
        try:
            writer.write(payload + b"\n")
            await writer.drain()
            body = await self._answer(reader)
        except BaseException:  # undone, then raised on
            writer.close()
            raise
        if len(self._idle) < IDLE_MOST:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return body

    async def close(self) -> None:
        """Close what is open."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def _connection(self) -> _Connection:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await connected(self._path)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        found = bytearray()
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError(
                    None, "the socket was closed before the answer was whole"
                )
            found += chunk
            if len(found) > self._cap_bytes:
                raise TooLong
            if chunk.rstrip()[-1:] in (b"}", b"]") and _whole(found):
                return bytes(found)


def _whole(found: bytearray) -> bool:
    """Whether `found` is a JSON value to its end, or can never become one."""
    try:
        msgspec.json.decode(found, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" not in str(error)
    return True
