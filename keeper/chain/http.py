"""What an HTTP answer says besides its body: how long to wait, and what it is if no JSON-RPC."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_AFTER_CAP_S: Final = 10.0
"""The longest a node's own wish to be left alone is granted."""


def kind(body: bytes) -> str:
    """Return what a body is that is no JSON-RPC, in words."""
    head = body[:64].lstrip()
    if not head:
        return "nothing"
    return "HTML" if head.startswith(b"<") else "something that is not JSON-RPC"


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, between 0 and the cap; None without one."""
    if value is None:
        return None
    try:
        wanted = float(value)
    except ValueError:
        try:
            wanted = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(wanted, 0.0), RETRY_AFTER_CAP_S) if wanted == wanted else None  # noqa: PLR0124 - NaN is not equal to itself
