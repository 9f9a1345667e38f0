"""The whole body of an HTTP answer, and no more than that of a foreign one."""

import aiohttp


class TooLong(ValueError):  # noqa: N818 - it reads as what it is
    """The body has more bytes than are read."""


async def whole(response: aiohttp.ClientResponse, cap_bytes: int) -> bytes:
    """Return all of it: a body may come in pieces, and one read is one piece.

    Raises `TooLong` as soon as there is more than `cap_bytes`, without reading on.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > cap_bytes:
            raise TooLong(f"more than {cap_bytes:,} bytes")
        parts.append(part)
    return b"".join(parts)
