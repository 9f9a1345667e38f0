"""The channel that is always there: messages as log events."""

import logging

import structlog

from keeper.model import Message, Severity

log = structlog.get_logger(__name__)


class LogChannel:
    """Says messages in the log; ``log:`` is its only chat.  Never fails."""

    prefix = "log"

    async def send(self, message: Message, *, reply_to: str = "") -> None:  # noqa: ARG002 - the port's signature
        """Write the message at its severity, without the sign its first line begins with."""
        level = {
            Severity.INFO: logging.INFO,
            Severity.WARNING: logging.WARNING,
            Severity.CRITICAL: logging.ERROR,
        }[message.severity]
        log.log(
            level,
            "message.said",
            kind=message.kind,
            severity=message.severity.value,
            text=_words(message),
        )


def _words(message: Message) -> str:
    sign, space, rest = message.text.partition(" ")
    return rest if space and not sign.isascii() and not sign[0].isalnum() else message.text
