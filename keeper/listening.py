"""What is said where a port of ours cannot be had."""

import errno
import socket
from typing import Final

from keeper.errors import ConfigError, KeeperError, Unavailable

_MAY_PASS: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, socket.EAI_AGAIN})
"""Another process has the port, or the network is not up yet."""


def cannot_listen(section: str, host: str, port: int, error: OSError) -> KeeperError:
    """Return what is said where the port that `section` configures cannot be had."""
    key = "telegram.webhook_port" if section == "telegram" else f"{section}.port"
    kind = Unavailable if error.errno in _MAY_PASS else ConfigError
    return kind(
        f"{section}: cannot listen on {host} port {port} ({error.strerror}): stop what holds it, "
        f"or choose another {key}, or 0 for any free one"
    )
