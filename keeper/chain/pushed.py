"""A connection on which a node speaks unasked: a WebSocket, or a Unix socket of this machine.

Both carry whole JSON texts.  A WebSocket frames them; on a Unix socket nodes write one after
another, some with a line feed between them and some without, so they are told apart by where a
value ends.
"""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp

from keeper.chain.ipc import connected
from keeper.chain.urls import guarded, ipc_path

MESSAGE_CAP_BYTES: Final = 4 * 1024 * 1024
OPEN_TIMEOUT_S: Final = 5.0
CHUNK_BYTES: Final = 64 * 1024
_SPACE: Final = " \t\r\n"
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
"""Says where a value ends, and makes no number of its digits: Python refuses more than 4,300."""


class Pushed(Protocol):
    """An open connection."""

    async def send(self, text: str) -> None:
        """Send one JSON text.  Raises OSError, aiohttp.ClientError."""
        ...

    async def receive(self) -> str | None:
        """Return the next JSON text; None when the node has closed.

        Raises OSError for a Unix socket that is broken or brings what is no JSON.
        """
        ...


def session() -> aiohttp.ClientSession:
    """Return a session for `opened`; to be closed."""
    no_redirects = aiohttp.TraceConfig()
    no_redirects.on_request_redirect.append(_refuse)
    return aiohttp.ClientSession(connector=guarded(), trace_configs=[no_redirects])


async def _refuse(
    _session: aiohttp.ClientSession, _context: object, told: aiohttp.TraceRequestRedirectParams
) -> None:
    """Raise for a redirect, which `ws_connect` would follow: to another host, with our key."""
    raise aiohttp.WSServerHandshakeError(
        told.response.request_info,
        told.response.history,
        status=told.response.status,
        message="redirects elsewhere",
        headers=told.response.headers,
    )


@asynccontextmanager
async def opened(over: aiohttp.ClientSession, url: str) -> AsyncIterator[Pushed]:
    """Connect to `url`, in bounded time even where nobody answers the handshake.

    Raises OSError, aiohttp.ClientError, TimeoutError.
    """
    if (path := ipc_path(url)) is not None:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            reader, writer = await connected(path)
        try:
            yield _UnixSocket(reader, writer)
        finally:
            writer.close()
        return
    async with asyncio.timeout(OPEN_TIMEOUT_S):
        socket = await over.ws_connect(
            url,
            heartbeat=15.0,
            max_msg_size=MESSAGE_CAP_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        )
    async with socket:
        yield _WebSocket(socket)


def why(error: Exception) -> str:
    """Return what kept a connection from being opened: the end of a sentence about the node."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return _refused(error.status, error.message)
    if isinstance(error, TimeoutError) and not error.strerror:
        return f"did not answer within {OPEN_TIMEOUT_S:g} s"
    return f"cannot be reached ({reason_of(error)})"


def reason_of(error: Exception) -> str:
    """Return the system's words for an error, or else its name."""
    return getattr(error, "strerror", None) or type(error).__name__


def _refused(status: int, message: str) -> str:
    """Return what the HTTP status means that came instead of a WebSocket."""
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return f"refuses the key of its URL (HTTP status {status})"
        case HTTPStatus.NOT_FOUND:
            return f"has no WebSocket at the path of its URL (HTTP status {status})"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return f"asks to be called less often ({status})"
        case HTTPStatus.SWITCHING_PROTOCOLS:
            return f"does not open the WebSocket as it should ({message})"
        case _ if 300 <= status < 400:
            return f"redirects elsewhere (HTTP status {status}), which is not followed"
        case _:
            return f"opens no WebSocket (HTTP status {status})"


class _WebSocket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, text: str) -> None:
        await self._socket.send_str(text)

    async def receive(self) -> str | None:
        frame = await self._socket.receive()
        return frame.data if frame.type is aiohttp.WSMsgType.TEXT else None


class _UnixSocket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    async def send(self, text: str) -> None:
        self._writer.write(text.encode() + b"\n")
        await self._writer.drain()

    async def receive(self) -> str | None:
        while (text := self._next()) is None:
            if len(self._rest) > MESSAGE_CAP_BYTES:
                raise OSError(None, f"said more than {MESSAGE_CAP_BYTES:,} bytes at once")
            chunk = await self._reader.read(CHUNK_BYTES)
            if not chunk:
                return None
            self._rest += self._utf8.decode(chunk)
        return text

    def _next(self) -> str | None:
        """Take the first whole value off what came; None where there is none yet."""
        self._rest = self._rest.lstrip(_SPACE)
        if not self._rest:
            return None
        if self._rest[0] not in "{[":
            raise OSError(None, "said what is no JSON-RPC")
        try:
            _, end = _DECODER.raw_decode(self._rest)
        except (ValueError, RecursionError):  # nonsense grows until the cap
            return None
        text, self._rest = self._rest[:end], self._rest[end:]
        return text
