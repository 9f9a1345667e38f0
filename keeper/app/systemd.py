"""Readiness and watchdog for systemd: one datagram to the socket it names, nothing without one.

Source: ``sd_notify(3)``.
"""

import os
import socket


def notify(state: str) -> None:
    """Send `state`, such as ``READY=1`` or ``WATCHDOG=1``; silent where systemd is not."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(state.encode(), address)
    except OSError:
        return
